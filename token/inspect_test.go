package token

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

func TestRules(t *testing.T) {
	hs, other, rs, otherRS := secretKey(t, secret), secretKey(t, strings.ToUpper(secret)), rsaKey(t, 0), rsaKey(t, 1)
	header := object{"alg": "HS256", "typ": "JWT"}
	payload := object{
		"iss": "usher-app", "aud": "jitsi", "sub": "meet.jitsi", "room": "one",
		"nbf": now.Unix() - 60, "exp": now.Unix() + 600, "jti": "id",
		"context": object{"user": object{"id": "u1"}, "features": object{"recording": "true"}},
	}
	good := forge(t, header, payload, hs)
	head := func(change object, key *Key) string { return forge(t, with(header, change), payload, key) }
	body := func(change object) string { return forge(t, header, with(payload, change), hs) }
	context := func(c object) string { return body(object{"context": c}) }
	null := json.RawMessage("null")
	parts := strings.Split(good, ".")

	tests := []struct {
		name   string
		token  string
		key    *Key
		weight Weight
		text   string // begins with this, or has it after a "…"
	}{
		{"good", good, hs, "", ""},

		{"nothing", "", hs, Refused, "it has 1 parts"},
		{"two parts", parts[0] + "." + parts[1], hs, Refused, "it has 2 parts"},
		{"four parts", good + ".x", hs, Refused, "it has 4 parts"},
		{"encrypted", "a.b.c.d.e", hs, Refused, "it has 5 parts"},
		{"padding", parts[0] + "==." + parts[1] + "." + parts[2], hs, Refused, "its header is not base64url"},
		{"other alphabet", parts[0] + "." + parts[1] + ".+/", hs, Refused, "its signature is not base64url"},
		{"line break", parts[0] + ".\n" + parts[1] + "." + parts[2], hs, Refused, "its payload is not base64url"},
		{"header no object", forgeText(t, `"JWT"`, `{}`, hs), hs, Refused, "its header is not a JSON object"},
		{"payload no object", forgeText(t, `{}`, `[]`, hs), hs, Refused, "its payload is not a JSON object"},
		{"payload null", forgeText(t, `{}`, `null`, hs), hs, Refused, "its payload is not a JSON object"},
		{"payload cut off", forgeText(t, `{}`, `{"iss":`, hs), hs, Refused, "its payload is not a JSON object"},
		{"too long", body(object{"x": strings.Repeat("x", MaxToken)}), hs, Refused, "…so 7168 are the most"},

		{"no typ", head(object{"typ": nil}, hs), hs, Refused, "header typ is missing"},
		{"typ in lower case", head(object{"typ": "jwt"}, hs), hs, Refused, `header typ is "jwt"`},
		{"alg none", head(object{"alg": "none"}, nil), hs, Refused, `header alg is "none"`},
		{"alg NONE with a signature", head(object{"alg": "NONE"}, hs), hs, Refused, `header alg is "NONE"`},
		{"no alg", head(object{"alg": nil}, hs), hs, Refused, "header alg is missing"},
		{"alg a number", head(object{"alg": 256}, hs), hs, Refused, "header alg is 256"},
		{"alg HS512", head(object{"alg": "HS512"}, hs), hs, Refused, `header alg is "HS512"; the site's key is for HS256`},
		{"alg RS256 for a secret", head(object{"alg": "RS256", "kid": "x"}, rs), hs, Refused, `header alg is "RS256"`},
		{"alg HS256 for a public key", head(object{"kid": rs.id}, hs), rs, Refused, `header alg is "HS256"; the site's key is for RS256`},
		{"no kid", head(object{"alg": "RS256"}, rs), rs, Refused, "header kid is missing"},
		{"kid empty", head(object{"alg": "RS256", "kid": ""}, rs), rs, Refused, `header kid is ""`},
		{"kid of another key", head(object{"alg": "RS256", "kid": otherRS.id}, rs), rs, Refused, `header kid is "` + otherRS.id},
		{"RS256 good", head(object{"alg": "RS256", "kid": rs.id}, rs), rs, "", ""},
		{"wrong secret", head(nil, other), hs, Refused, "the signature is not"},
		{"no signature", head(nil, nil), hs, Refused, "the signature is not"},
		{"payload swapped", parts[0] + "." + strings.Split(body(object{"room": "one", "x": 1}), ".")[1] + "." + parts[2], hs, Refused, "the signature is not"},
		{"signed by another RSA key", head(object{"alg": "RS256", "kid": rs.id}, otherRS), rs, Refused, "the signature is not"},

		{"no exp", body(object{"exp": nil}), hs, Unsafe, "claim exp is missing"},
		{"exp a string", body(object{"exp": "1795342200"}), hs, Refused, `claim exp is "1795342200"`},
		{"exp null", body(object{"exp": null}), hs, Refused, "claim exp is null"},
		{"exp now", body(object{"exp": now.Unix()}), hs, Refused, "it expired 0 s ago"},
		{"exp past", body(object{"exp": now.Unix() - 90}), hs, Refused, "it expired 90 s ago"},
		{"exp in a month", body(object{"exp": now.Add(MaxTTL).Unix()}), hs, "", ""},
		{"exp later", body(object{"exp": now.Add(MaxTTL).Unix() + 1}), hs, Unsafe, "it lives for 31 days"},
		{"exp in milliseconds", body(object{"exp": now.UnixMilli()}), hs, Unsafe, "it lives for"},
		{"exp never", body(object{"exp": 1e300}), hs, Unsafe, "it lives for"},
		{"no nbf", body(object{"nbf": nil}), hs, "", ""},
		{"nbf now", body(object{"nbf": now.Unix()}), hs, "", ""},
		{"nbf in a second", body(object{"nbf": now.Unix() + 1}), hs, Refused, "it is valid in 1 s only"},
		{"nbf a string", body(object{"nbf": "0"}), hs, Refused, `claim nbf is "0"`},

		{"no iss", body(object{"iss": nil}), hs, Refused, "claim iss is missing"},
		{"other iss", body(object{"iss": "app"}), hs, Refused, `claim iss is "app"; Prosody wants its app_id "usher-app"`},
		{"no aud", body(object{"aud": nil}), hs, Refused, "claim aud is missing"},
		{"other aud", body(object{"aud": "x"}), hs, Refused, `claim aud is "x"`},
		{"aud a list", body(object{"aud": []string{"jitsi"}}), hs, Refused, "claim aud is a list"},
		{"no sub", body(object{"sub": nil}), hs, Refused, "claim sub is missing"},
		{"other sub", body(object{"sub": "meet.example.org"}), hs, Refused, `claim sub is "meet.example.org"`},
		{"sub in upper case", body(object{"sub": "Meet.Jitsi"}), hs, "", ""},
		{"any sub", body(object{"sub": "*"}), hs, Unsafe, `claim sub is "*"`},

		{"no room", body(object{"room": nil}), hs, Refused, "claim room is missing"},
		{"room empty", body(object{"room": ""}), hs, Refused, `claim room is ""`},
		{"room a number", body(object{"room": 1}), hs, Refused, "claim room is 1"},
		{"other room", body(object{"room": "two"}), hs, Refused, `claim room is "two"; it does not open "one"`},
		{"room in upper case", body(object{"room": "ONE"}), hs, "", ""},
		{"room with its domain", body(object{"room": "one@muc.meet.jitsi"}), hs, Refused, `claim room is "one@muc.meet.jitsi"; it must be the name alone`},
		{"any room", body(object{"room": "*"}), hs, Unsafe, `claim room is "*"`},
		{"pattern", context(object{"room": object{"regex": true}}), hs, Unsafe, "context.room.regex is true"},

		{"no context", body(object{"context": nil}), hs, Note, "claim context is missing"},
		{"context empty", context(object{}), hs, "", ""},
		{"user no object", context(object{"user": "u1"}), hs, Note, `context.user is "u1"`},
		{"user id a number", context(object{"user": object{"id": 7}}), hs, Note, "context.user.id is 7"},
		{"user avatar null", context(object{"user": object{"avatar": null}}), hs, Note, "context.user.avatar is null"},
		{"moderator outside", body(object{"moderator": true}), hs, Note, "claim moderator does nothing; it is read from context.user.moderator"},
		{"moderator in context", context(object{"moderator": true}), hs, Note, "claim context.moderator does nothing"},
		{"features of a user", context(object{"user": object{"features": "all"}}), hs, Note, "claim context.user.features does nothing; it is read from context.features"},
		{"moderator in Python", context(object{"user": object{"moderator": "True"}}), hs, Note, `context.user.moderator is "True"; only true`},
		{"affiliation admin", context(object{"user": object{"affiliation": "admin"}}), hs, Note, `context.user.affiliation is "admin"; only "owner"`},
		{"affiliation teacher", context(object{"user": object{"affiliation": "teacher"}}), hs, "", ""},
		{"moderator no", context(object{"user": object{"moderator": "false", "affiliation": "member"}}), hs, "", ""},
		{"moderator true", context(object{"user": object{"moderator": true}}), hs, "", ""},
		{"bell in the name", context(object{"user": object{"name": "\a"}}), hs, Refused, "context.user.name has control characters"},
		{"features no object", context(object{"features": []string{"recording"}}), hs, Note, "context.features is ["},
		{"unknown feature", context(object{"features": object{"fly": true}}), hs, Note, `context.features has "fly"`},
		{"feature yes", context(object{"features": object{"recording": "yes"}}), hs, Note, `context.features.recording is "yes"`},
		{"feature an object", context(object{"features": object{"recording": object{}}}), hs, Note, "context.features.recording is {}"},
		{"features with booleans", context(object{"features": object{"recording": true, "lobby": false, "room": "true"}}), hs, "", ""},
		{"long values are cut", body(object{"iss": strings.Repeat("é", 999)}), hs, Refused, `claim iss is "` + strings.Repeat("é", 39) + "…;"},

		{"no key: signature not checked", head(nil, other), nil, "", ""},
		{"no key: alg none", head(object{"alg": "none"}, nil), nil, Refused, `header alg is "none"`},
		{"no key: RS256", head(object{"alg": "RS256", "kid": "x"}, rs), nil, "", ""},
		{"no key: RS256 without kid", head(object{"alg": "RS256"}, rs), nil, Refused, "header kid is missing"},
		{"no key: other alg", head(object{"alg": "ES256"}, other), nil, Refused, `header alg is "ES256"; Prosody takes one algorithm`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := Inspect(now, tt.token, Expect{Site: site, Key: tt.key, Room: "one"}).Findings
			var got Finding
			if len(found) > 0 {
				got = found[0]
			}
			if len(found) > 1 || got.Weight != tt.weight {
				t.Errorf("Inspect = %v, want one finding %q", found, tt.weight)
			}
			if rest, inside := strings.CutPrefix(tt.text, "…"); inside && !strings.Contains(got.Text, rest) || !inside && !strings.HasPrefix(got.Text, tt.text) {
				t.Errorf("text = %q, want %q", got.Text, tt.text)
			}
		})
	}
}

// What is not known is not compared.
func TestInspectKnowingNothing(t *testing.T) {
	text := issue(t, newIssuer(t, secretKey(t, secret)), Claims{Room: "one"})
	if got := Inspect(now, text, Expect{}).Findings; len(got) > 0 {
		t.Errorf("Inspect = %v, want nothing", got)
	}
}

func TestInspectFindsEverything(t *testing.T) {
	text := forge(t, object{"alg": "none"}, object{}, nil)
	var got []string
	for _, f := range Inspect(now, text, Expect{}).Findings {
		got = append(got, strings.Join(strings.Fields(f.Text)[:2], " "))
	}
	want := []string{"header typ", "header alg", "claim exp", "claim iss", "claim aud", "claim sub", "claim room", "claim context"}
	if !slices.Equal(got, want) {
		t.Errorf("findings on %q, want %q", got, want)
	}
}

// Whatever is signed with the right key and let in must pass a second judge,
// written from the rules anew, and whatever is found is short and readable.
func FuzzInspect(f *testing.F) {
	hs := secretKey(f, secret)
	i := newIssuer(f, hs)
	whole := issue(f, i, Claims{Room: "one", Host: true, User: User{Name: "José 😀"}})
	f.Add(part(f, whole, 0), part(f, whole, 1), "one", true)
	f.Add(`{"alg":"none","typ":"JWT"}`, `{"exp":1e400,"room":"*"}`, "one", true)
	f.Add(`{"alg":"HS256","typ":"JWT","alg":"none"}`, `{"aud":["jitsi"],"exp":-1,"nbf":null}`, "*", true)
	f.Add(`{"alg":"HS256","typ":"JWT"}`, `{"iss":"usher-app","aud":"jitsi","sub":"meet.jitsi","room":"ONE","exp":1e300}`, "one", true)
	f.Add("a.b.c", "", "", false)
	f.Add(whole, "", "one", false)
	f.Fuzz(func(t *testing.T, header, payload, room string, sign bool) {
		text := header + payload // as it comes from outside
		if sign {
			text = forgeText(t, header, payload, hs)
		}
		seen := Inspect(now, text, Expect{Site: site, Key: hs, Room: room})
		refused := room == "" // any room will do then
		for _, finding := range seen.Findings {
			if len(finding.Text) > 600 || !utf8.ValidString(finding.Text) {
				t.Errorf("text of %d bytes: %q", len(finding.Text), finding.Text)
			}
			refused = refused || finding.Weight != Note
		}
		if !refused && !secondJudge(text, room) {
			t.Errorf("let in: %s", text)
		}
	})
}

// secondJudge tells by other means than the package whether a token is right.
func secondJudge(text, room string) bool {
	c := jwt.MapClaims{}
	parsed, err := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(),
		jwt.WithIssuer(site.AppID), jwt.WithTimeFunc(func() time.Time { return now }),
	).ParseWithClaims(text, c, func(*jwt.Token) (any, error) { return []byte(secret), nil })
	sub, _ := c["sub"].(string)
	claim, _ := c["room"].(string)
	return err == nil && parsed.Header["typ"] == "JWT" && c["aud"] == site.Audience &&
		strings.EqualFold(sub, site.Domain) && strings.EqualFold(claim, room)
}
