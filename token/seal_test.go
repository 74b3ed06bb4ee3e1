package token_test

import (
	"errors"
	"regexp"
	"testing"

	"usher/token"
)

func TestSeal(t *testing.T) {
	const secret, plain = "a-secret-of-some-length", `{"secret_key":"SK José <b>&😀"}`
	sealed := token.Seal(secret, "destination", []byte(plain))
	if got, err := token.Unseal(secret, "destination", sealed); err != nil || string(got) != plain {
		t.Errorf("unsealed %q, %v, want what was sealed", got, err)
	}
	if again := token.Seal(secret, "destination", []byte(plain)); again == sealed {
		t.Error("sealing twice gives the same text, so equal contents show")
	}
	flipped := []byte(sealed)
	flipped[20] ^= 1
	for name, tt := range map[string][3]string{
		"another secret":  {secret + "x", "destination", sealed},
		"another purpose": {secret, "link", sealed},
		"changed":         {secret, "destination", string(flipped)},
		"cut":             {secret, "destination", sealed[:len(sealed)-4]},
		"too short":       {secret, "destination", "AAAA"},
		"empty":           {secret, "destination", ""},
		"not base64":      {secret, "destination", "///"},
	} {
		if got, err := token.Unseal(tt[0], tt[1], tt[2]); !errors.Is(err, token.ErrSealed) || got != nil {
			t.Errorf("%s: %q, %v, want ErrSealed", name, got, err)
		}
	}
}

func TestCodeFor(t *testing.T) {
	code := token.CodeFor("secret", "mtg_1 host")
	if !regexp.MustCompile(`^[A-Z2-7]{26,}$`).MatchString(code) {
		t.Errorf("code = %q, want 26 letters and digits or more", code)
	}
	if token.CodeFor("secret", "mtg_1 host") != code {
		t.Error("the code changes")
	}
	for _, other := range []string{token.CodeFor("secret", "mtg_1 guest"), token.CodeFor("secret", "mtg_2 host"), token.CodeFor("secret2", "mtg_1 host")} {
		if other == code {
			t.Error("two purposes or secrets give one code")
		}
	}
}
