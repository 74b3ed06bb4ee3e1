package token

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What goes over the wire, to the byte.
func TestIssueGolden(t *testing.T) {
	const (
		head    = `{"iss":"usher-app","sub":"meet.jitsi","exp":1795341600,"nbf":1795341540,"iat":1795341600,"jti":"id-1","aud":"jitsi",`
		limited = `{"create-polls":"true","file-upload":"false","flip":"true","live-translation":"false","livestreaming":"false","outbound-call":"false",` +
			`"recording":"false","send-groupchat":"true","send-private-message":"true","transcription":"false"}`
	)
	allowed := strings.ReplaceAll(limited, "false", "true")
	header := strings.Replace(head, `"exp":1795341600`, `"exp":1795428000`, 1)
	tests := []struct {
		name          string
		claims        Claims
		header, wants string
	}{
		{
			"host",
			Claims{Room: "Standup-1", Host: true, Group: "team", ID: "id-1", User: User{ID: "u1", Name: "José <b>&😀", Email: "j@x.org", Avatar: "https://x.org/j.png"}},
			`{"alg":"HS256","typ":"JWT"}`,
			header + `"room":"standup-1","context":{"user":{"id":"u1","name":"José \u003cb\u003e\u0026😀","email":"j@x.org","avatar":"https://x.org/j.png",` +
				`"affiliation":"owner","moderator":"true"},"features":` + allowed + `,"group":"team"}}`,
		},
		{
			"guest without a name",
			Claims{Room: "standup-1", ID: "id-1", Expires: now.Add(24*time.Hour + 999*time.Millisecond)},
			`{"alg":"HS256","typ":"JWT"}`,
			header + `"room":"standup-1","context":{"user":{"affiliation":"member","moderator":"false"},"features":` + limited + `}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, expires, err := newIssuer(t, secretKey(t, secret)).Issue(now, tt.claims)
			if err != nil {
				t.Fatal(err)
			}
			if got := part(t, text, 0); got != tt.header {
				t.Errorf("header = %s\n  want %s", got, tt.header)
			}
			if got := part(t, text, 1); got != tt.wants {
				t.Errorf("payload = %s\n   want %s", got, tt.wants)
			}
			if want := now.Add(24 * time.Hour); !expires.Equal(want) {
				t.Errorf("expires = %v, want %v", expires, want)
			}
		})
	}
	k := rsaKey(t, 0)
	if got, want := part(t, issue(t, newIssuer(t, k), Claims{Room: "a"}), 0), `{"alg":"RS256","kid":"`+k.id+`","typ":"JWT"}`; got != want {
		t.Errorf("header = %s, want %s", got, want)
	}
}

func TestIssueRefuses(t *testing.T) {
	tests := []struct {
		name   string
		claims Claims
		want   string
	}{
		{"no room", Claims{}, "one room"},
		{"any room", Claims{Room: "*"}, "one room"},
		{"pattern", Claims{Room: "team-.*"}, "one room"},
		{"address of a room", Claims{Room: "a@muc.meet.jitsi"}, "one room"},
		{"other letters", Claims{Room: "caf\u00e9"}, "one room"},
		{"letters that become others in lower case", Claims{Room: "\u212a"}, "one room"}, // Kelvin sign
		{"expired", Claims{Room: "a", Expires: now}, "expired already"},
		{"expires within the second", Claims{Room: "a", Expires: now.Add(999 * time.Millisecond)}, "expired already"},
		{"lives too long", Claims{Room: "a", Expires: now.Add(MaxTTL + time.Second)}, "longer than 744h"},
		{"bell in the name", Claims{Room: "a", User: User{Name: "Bob\a"}}, "user name has control characters"},
		{"bytes in the id", Claims{Room: "a", User: User{ID: "\xff"}}, "user id has"},
		{"not in XML", Claims{Room: "a", Group: "\uffff"}, "group has"},
		{"a million characters", Claims{Room: "a", User: User{Name: strings.Repeat("x", 1e6)}}, "at most 7168"},
	}
	for _, tt := range tests {
		text, _, err := newIssuer(t, secretKey(t, secret)).Issue(now, tt.claims)
		if text != "" || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: token %.20q, error %v; want %q", tt.name, text, err, tt.want)
		}
	}
}

// What is issued is let in, whatever the key and the claims.
func TestIssuedTokensAreGood(t *testing.T) {
	for _, k := range []*Key{secretKey(t, secret), rsaKey(t, 0), rsaKey(t, 1)} {
		for _, c := range []Claims{
			{Room: "one", ID: "id-1", Expires: now.Add(time.Hour), Host: true, Group: "team", User: User{ID: "u1", Name: "José <b>&😀\n", Email: "j@x.org", Avatar: "a"}},
			{Room: "a.b_c-1", ID: "id-2", Expires: now.Add(MaxTTL)},
		} {
			text := issue(t, newIssuer(t, k), c)
			if found := Inspect(now, text, Expect{Site: site, Key: k, Room: strings.ToUpper(c.Room)}).Findings; len(found) > 0 {
				t.Errorf("%v: Inspect = %v, want nothing", k, found)
			}
		}
	}
}

func TestIssueMakesIDs(t *testing.T) {
	i := newIssuer(t, secretKey(t, secret))
	seen := map[string]bool{}
	for range 100 {
		id, _ := Inspect(now, issue(t, i, Claims{Room: "a"}), Expect{}).Claims["jti"].(string)
		if len(id) < 26 || seen[id] {
			t.Fatalf("id = %q, want a new one of 26 characters", id)
		}
		seen[id] = true
	}
}

// The borders of a token's life, to the second and without leeway.
func TestLife(t *testing.T) {
	i := newIssuer(t, secretKey(t, secret))
	text := issue(t, i, Claims{Room: "a", Expires: now.Add(time.Minute)})
	for _, tt := range []struct {
		at   time.Duration
		want string
	}{
		{-61 * time.Second, "[{refused it is valid in 1 s only; until then people hang on the join screen}]"},
		{-60 * time.Second, "[]"},
		{59*time.Second + 999*time.Millisecond, "[]"},
		{60 * time.Second, "[{refused it expired 0 s ago}]"},
	} {
		found := Inspect(now.Add(tt.at), text, Expect{Site: site, Key: i.key, Room: "a"}).Findings
		if got := fmt.Sprint(found); got != tt.want {
			t.Errorf("after %v: %s, want %s", tt.at, got, tt.want)
		}
	}
}
