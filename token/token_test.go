package token

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const secret = "0123456789abcdef0123456789abcdef"

var (
	now  = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	site = Site{AppID: "usher-app", Audience: "jitsi", Domain: "meet.jitsi"}
)

// privateKeys are two RSA keys in PEM, PKCS #1 and #8.
var privateKeys = sync.OnceValue(func() [2][]byte {
	var keys [2][]byte
	for n := range keys {
		key, err := rsa.GenerateKey(rand.Reader, MinRSABits)
		if err != nil {
			panic(err)
		}
		block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
		if n == 1 {
			der, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				panic(err)
			}
			block = &pem.Block{Type: "PRIVATE KEY", Bytes: der}
		}
		keys[n] = pem.EncodeToMemory(block)
	}
	return keys
})

func secretKey(t testing.TB, secret string) *Key {
	t.Helper()
	k, err := SecretKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t testing.TB, n int) *Key {
	t.Helper()
	k, err := RSAKey(privateKeys()[n])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newIssuer(t testing.TB, k *Key) *Issuer {
	t.Helper()
	i, err := NewIssuer(site, k)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func issue(t testing.TB, i *Issuer, c Claims) string {
	t.Helper()
	text, _, err := i.Issue(now, c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// part returns a token's header (0) or payload (1) as it is.
func part(t testing.TB, text string, n int) string {
	t.Helper()
	plain, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[n])
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

type object = map[string]any

// with returns what is in base, changed by change; nil takes a member away.
func with(base, change object) object {
	base = maps.Clone(base)
	for name, value := range change {
		base[name] = value
		if value == nil {
			delete(base, name)
		}
	}
	return base
}

// forge signs any header and payload; with no key the signature is empty.
func forge(t testing.TB, header, payload object, key *Key) string {
	t.Helper()
	h, err1 := json.Marshal(header)
	p, err2 := json.Marshal(payload)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return forgeText(t, string(h), string(p), key)
}

func forgeText(t testing.TB, header, payload string, key *Key) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(header)) + "." + encode([]byte(payload))
	if key == nil {
		return signed + "."
	}
	signature, err := key.method.Sign(signed, key.signer())
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(signature)
}

func TestUntil(t *testing.T) {
	tests := []struct {
		name string
		ttl  time.Duration
		end  time.Time
		want time.Time
	}{
		{"no end known", 0, time.Time{}, now.Add(24 * time.Hour)},
		{"as long as the meeting", 0, now.Add(8 * time.Hour), now.Add(8*time.Hour + 15*time.Minute)},
		{"as long as any token", 0, now.AddDate(70, 0, 0), now.Add(31 * 24 * time.Hour)},
		{"asked for", time.Hour, time.Time{}, now.Add(time.Hour)},
		{"meeting ends later", time.Hour, now.Add(time.Hour), now.Add(time.Hour)},
		{"meeting ends sooner", time.Hour, now.Add(time.Minute), now.Add(16 * time.Minute)},
		{"too long, which Issue refuses", 32 * 24 * time.Hour, time.Time{}, now.Add(32 * 24 * time.Hour)},
		{"meeting is long over", time.Hour, now.Add(-time.Hour), now.Add(-45 * time.Minute)},
	}
	for _, tt := range tests {
		if got := Until(now, tt.ttl, tt.end); !got.Equal(tt.want) {
			t.Errorf("%s: Until = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestWeakOrMissingKeysAreRefused(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(small)})
	rsaKey := func(text string) func() (*Key, error) {
		return func() (*Key, error) { return RSAKey([]byte(text)) }
	}
	tests := []struct {
		name string
		make func() (*Key, error)
		want string
	}{
		{"short secret", func() (*Key, error) { return SecretKey(secret[1:]) }, "31 bytes, at least 32"},
		{"no secret", func() (*Key, error) { return SecretKey("") }, "0 bytes"},
		{"small RSA key", rsaKey(string(weak)), "1024 bits, at least 2048"},
		{"no PEM", rsaKey("s3cr3t"), "no RSA private key in PEM"},
	}
	for _, tt := range tests {
		if k, err := tt.make(); k != nil || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: key %v, error %v; want %q", tt.name, k, err, tt.want)
		}
	}
}

func TestNewIssuerWantsEverything(t *testing.T) {
	k := secretKey(t, secret)
	for _, tt := range []struct {
		name string
		site Site
		key  *Key
	}{
		{"app id", Site{Audience: "jitsi", Domain: "meet.jitsi"}, k},
		{"audience", Site{AppID: "a", Domain: "meet.jitsi"}, k},
		{"domain", Site{AppID: "a", Audience: "jitsi"}, k},
		{"one domain", Site{AppID: "a", Audience: "jitsi", Domain: "*"}, k},
		{"key", site, nil},
	} {
		if _, err := NewIssuer(tt.site, tt.key); err == nil {
			t.Errorf("without %s: no error", tt.name)
		}
	}
}

func TestKeysAreNeverShown(t *testing.T) {
	k := secretKey(t, "Ztop-Ztop-Ztop-Ztop-Ztop-Ztop-Ztop")
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		var out bytes.Buffer
		for _, value := range []any{k, newIssuer(t, k), Expect{Key: k}} {
			fmt.Fprintf(&out, format, value)
		}
		for _, leak := range []string{"Ztop", "90 116 111", "5a746f70"} {
			if strings.Contains(out.String(), leak) {
				t.Errorf("%s shows the secret: %s", format, out.String())
			}
		}
	}
}

// A stranger to the private key checks a token with each published form of it.
func TestPublicKeys(t *testing.T) {
	first, second := rsaKey(t, 0), rsaKey(t, 1)
	if first.id == second.id || len(first.id) != 43 {
		t.Errorf("ids %q and %q, want two thumbprints", first.id, second.id)
	}
	for _, k := range []*Key{first, second} {
		var set struct{ Keys []map[string]string }
		if err := json.Unmarshal(k.JWKS(), &set); err != nil || len(set.Keys) != 1 {
			t.Fatalf("set = %s, %v; want one key", k.JWKS(), err)
		}
		jwk := set.Keys[0]
		if got, want := jwk["kty"]+" "+jwk["alg"]+" "+jwk["use"]+" "+jwk["kid"]+" "+jwk["e"], "RSA RS256 sig "+k.id+" AQAB"; got != want {
			t.Errorf("key = %s, want %s", got, want)
		}
		name, file := k.PublicPEM()
		if len(name) != 64+len(".pem") {
			t.Errorf("file name = %q, want a SHA-256 in hex", name)
		}
		public, err := jwt.ParseRSAPublicKeyFromPEM(file)
		if err != nil {
			t.Fatal(err)
		}
		modulus, err := base64.RawURLEncoding.DecodeString(jwk["n"])
		if err != nil || !bytes.Equal(modulus, public.N.Bytes()) {
			t.Errorf("modulus of the set = %x, want that of the file %x (%v)", modulus, public.N.Bytes(), err)
		}
		text := issue(t, newIssuer(t, k), Claims{Room: "one", Expires: time.Now().Add(time.Hour)})
		parsed, err := jwt.Parse(text, func(*jwt.Token) (any, error) { return public, nil })
		if err != nil || parsed.Header["kid"] != k.id {
			t.Errorf("token with kid %v: %v, want %s and none", parsed.Header["kid"], err, k.id)
		}
	}
	shared := secretKey(t, secret)
	if name, file := shared.PublicPEM(); name != "" || file != nil || shared.JWKS() != nil {
		t.Errorf("file of a secret = %q %q, set = %s; want none", name, file, shared.JWKS())
	}
}

// The example of RFC 7638 §3.1.
func TestThumbprint(t *testing.T) {
	const n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs" +
		"tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI" +
		"SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	modulus, err := base64.RawURLEncoding.DecodeString(n)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := thumbprint(&rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537}), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; got != want {
		t.Errorf("thumbprint = %s, want %s", got, want)
	}
}

func TestURL(t *testing.T) {
	for _, tt := range []struct{ site, room, want string }{
		{"https://meet.example.org", "One", "https://meet.example.org/one#jwt=a.b.c"},
		{"https://meet.example.org/tenant/", "one", "https://meet.example.org/tenant/one#jwt=a.b.c"},
		{"", "one", ""},
		{"meet.example.org", "one", ""},
		{"javascript:alert(1)//", "one", ""},
		{"https://meet.example.org/?a=b", "one", ""},
		{"https://meet.example.org", "../one", ""},
	} {
		got, err := URL(tt.site, tt.room, "a.b.c")
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("URL(%q, %q) = %q, %v; want %q", tt.site, tt.room, got, err, tt.want)
		}
	}
}
