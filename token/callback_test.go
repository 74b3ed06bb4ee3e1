package token

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestCallbackSignature(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	body := []byte(`{"phase":"closed"}`)
	timestamp, signature := SignCallback("s3cret", "j1", now, body)
	// printf 'j1\n1795694400\n{"phase":"closed"}' | openssl dgst -sha256 -hmac s3cret
	if want := "4507a997d98c5c92857b55975f102c1beef1145dc3f9b75d4c1b5cea352c56b1"; timestamp != "1795694400" || signature != want {
		t.Errorf("signed as %s %s, want %s", timestamp, signature, want)
	}
	for name, c := range map[string]struct {
		secret, recorder, timestamp, signature, body string
		now                                          time.Time
		want                                         error
	}{
		"as made":         {"s3cret", "j1", timestamp, signature, string(body), now, nil},
		"clock behind":    {"s3cret", "j1", timestamp, signature, string(body), now.Add(-callbackWindow), nil},
		"too old":         {"s3cret", "j1", timestamp, signature, string(body), now.Add(callbackWindow + time.Second), ErrCallbackTime},
		"no time":         {"s3cret", "j1", "", signature, string(body), now, ErrCallbackTime},
		"absurd time":     {"s3cret", "j1", strings.Repeat("9", 19), signature, string(body), now, ErrCallbackTime},
		"another second":  {"s3cret", "j1", "1795694401", signature, string(body), now, ErrCallbackSignature},
		"other recorder":  {"s3cret", "j2", timestamp, signature, string(body), now, ErrCallbackSignature},
		"other secret":    {"secret", "j1", timestamp, signature, string(body), now, ErrCallbackSignature},
		"other body":      {"s3cret", "j1", timestamp, signature, `{"phase":"lost"}`, now, ErrCallbackSignature},
		"not hexadecimal": {"s3cret", "j1", timestamp, "zz", string(body), now, ErrCallbackSignature},
		"no signature":    {"s3cret", "j1", timestamp, "", string(body), now, ErrCallbackSignature},
	} {
		if err := VerifyCallback(c.secret, c.recorder, c.timestamp, c.signature, []byte(c.body), c.now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	stamp, signed := SignCallback("", "j1", now, body)
	if err := VerifyCallback("", "j1", stamp, signed, body, now); !errors.Is(err, ErrCallbackSignature) {
		t.Errorf("an empty secret: %v, want %v", err, ErrCallbackSignature)
	}
}
