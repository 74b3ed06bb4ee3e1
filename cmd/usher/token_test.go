package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/golang-jwt/jwt/v5"

	"usher/config"
	"usher/internal/app"
	"usher/token"
)

const jwtSecret = "0123456789abcdef0123456789abcdef"

// tokenCLI parses the arguments as the program does and runs the command on
// in; it returns what was printed.
func tokenCLI(t *testing.T, env map[string]string, in string, args ...string) (string, error) {
	t.Helper()
	for _, v := range os.Environ() { // the developer's own settings
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "USHER_") {
			t.Setenv(name, "") // puts it back after the test
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	var c cli
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	parser, err := kong.New(&c, config.Options(lookup)...)
	if err != nil {
		t.Fatal(err)
	}
	command, err := parser.Parse(append([]string{"token"}, args...))
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	switch {
	case strings.HasPrefix(command.Command(), "token create"):
		err = c.Token.Create.create(&out, time.Now())
	case strings.HasPrefix(command.Command(), "token public-key"):
		err = c.Token.Public.write(&out)
	default:
		err = c.Token.Inspect.inspect(strings.NewReader(in), &out, time.Now())
	}
	return out.String(), err
}

func TestTokenCommands(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := rsa.GenerateKey(rand.Reader, token.MinRSABits)
	if err != nil {
		t.Fatal(err)
	}
	private := file("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	secretEnv := map[string]string{"USHER_JWT_SECRET_FILE": file("secret", jwtSecret+"\n")}

	for name, with := range map[string]struct {
		env  map[string]string
		args []string
	}{
		"secret in a file": {secretEnv, nil},
		"RSA key":          {nil, []string{"--jwt-key-file", private}},
	} {
		t.Run(name, func(t *testing.T) {
			site := append([]string{"--jwt-app-id", "app"}, with.args...)
			text, err := tokenCLI(t, with.env, "", append([]string{"create", "--room", "One", "--name", "Zoë", "--host"}, site...)...)
			if err != nil {
				t.Fatal(err)
			}
			out, err := tokenCLI(t, with.env, text, append([]string{"inspect", "--room", "one"}, site...)...)
			if err != nil || !strings.Contains(out, "\ngood ") || !strings.Contains(out, `"name": "Zoë"`) {
				t.Errorf("inspect: %v, %s; want good", err, out)
			}
			out, err = tokenCLI(t, with.env, "", append([]string{"inspect", "--room", "two", strings.TrimSpace(text)}, site...)...)
			if err == nil || !strings.Contains(out, `refused    claim room is "one"; it does not open "two"`) {
				t.Errorf("inspect for another room: %v, %s; want refused", err, out)
			}
			out, err = tokenCLI(t, nil, text, "inspect")
			if err != nil || !strings.Contains(out, "signature  not checked") {
				t.Errorf("inspect without a key: %v, %s; want it said", err, out)
			}
			for _, life := range []struct {
				flags []string
				want  time.Duration
			}{{nil, 24 * time.Hour}, {[]string{"--ttl=90m"}, 90 * time.Minute}} {
				text, err := tokenCLI(t, with.env, "", slices.Concat([]string{"create", "--room=one"}, life.flags, site)...)
				if err != nil {
					t.Fatal(err)
				}
				if got := lifeOf(t, text); got != life.want {
					t.Errorf("token create %v: lives %v, want %v", life.flags, got, life.want)
				}
			}
			out, err = tokenCLI(t, with.env, "", append([]string{"create", "--room", "One", "--site-url", "https://meet.example.org", "--url"}, site...)...)
			if err != nil || !strings.HasPrefix(out, "https://meet.example.org/one#jwt=ey") {
				t.Errorf("create --url = %s, %v", out, err)
			}
		})
	}
}

// lifeOf returns how long after its making a token expires.
func lifeOf(t *testing.T, text string) time.Duration {
	t.Helper()
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(strings.TrimSpace(text), &claims); err != nil {
		t.Fatal(err)
	}
	return claims.ExpiresAt.Sub(claims.IssuedAt.Time)
}

func TestTokenCommandsRefuse(t *testing.T) {
	site := []string{"--jwt-app-id=app", "--jwt-secret=" + jwtSecret}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no room", append([]string{"create"}, site...), "--room"},
		{"no key", []string{"create", "--room=a", "--jwt-app-id=app"}, "jwt-secret or jwt-key-file is missing"},
		{"no app id", []string{"create", "--room=a", "--jwt-secret=" + jwtSecret}, "jwt-app-id is missing"},
		{"short secret", []string{"create", "--room=a", "--jwt-secret=Sh0rt"}, "5 bytes, at least 32"},
		{"both keys", append([]string{"create", "--room=a", "--jwt-key-file=x"}, site...), "both set"},
		{"no such file", []string{"create", "--room=a", "--jwt-key-file=/nonexistent"}, "jwt-key-file"},
		{"any room", append([]string{"create", "--room=*"}, site...), "one room"},
		{"negative ttl", append([]string{"create", "--room=a", "--ttl=-1m"}, site...), "expired"},
		{"url without a site", append([]string{"create", "--room=a", "--url"}, site...), "https://"},
		{"nothing to inspect", append([]string{"inspect"}, site...), "no token"},
	}
	for _, tt := range tests {
		out, err := tokenCLI(t, nil, " \n", tt.args...)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error()+out, "Sh0rt") {
			t.Errorf("%s: %q, %v; want %q", tt.name, out, err, tt.want)
		}
	}
}

func TestInspectKeepsControlCharactersFromTheTerminal(t *testing.T) {
	out, err := tokenCLI(t, nil, "eyJ0eXAiOiJcdTAwMWJbMmoifQ.eyJyb29tIjoiwps3bSJ9.", "inspect") // a raw CSI, U+009B, in room
	if err == nil || !strings.Contains(out, `"room": "�7m"`) || strings.ContainsAny(out, "\u009b\x1b") {
		t.Errorf("inspect = %q, %v; want U+FFFD for control characters", out, err)
	}
}

// A secret that is too short is told before anything is started.
func TestServeRefusesAShortSecret(t *testing.T) {
	cfg := config.Config{ComponentAddr: "127.0.0.1:5347", ComponentDomain: "usher.meet.jitsi", ComponentSecret: "secret", Jitsi: config.Jitsi{JWTAppID: "app", JWTSecret: "Sh0rt"}}
	err := app.Run(context.Background(), cfg, newLog(os.Stderr, 0), func(app.Addresses) { t.Error("it listens") })
	if err == nil || !strings.Contains(err.Error(), "5 bytes, at least 32") {
		t.Errorf("serve: %v, want the secret refused", err)
	}
}

// TestPublicKeyCommand checks a token with nothing but what the command wrote.
func TestPublicKeyCommand(t *testing.T) {
	dir := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, token.MinRSABits)
	must(t, err)
	private := filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600))

	path, err := tokenCLI(t, nil, "", "public-key", "--jwt-key-file", private, "--dir", dir)
	must(t, err)
	file, err := os.ReadFile(strings.TrimSpace(path))
	must(t, err)
	block, _ := pem.Decode(file)
	if block == nil {
		t.Fatalf("%s is no PEM file", file)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	must(t, err)
	if !key.PublicKey.Equal(public) {
		t.Error("the file holds another key")
	}
	set, err := tokenCLI(t, nil, "", "public-key", "--jwks", "--jwt-key-file", private)
	if err != nil || !strings.Contains(set, `"kty":"RSA"`) || strings.Contains(set, `"d":`) {
		t.Errorf("key set %s, %v", set, err)
	}
	if _, err := tokenCLI(t, nil, "", "public-key", "--jwt-secret", jwtSecret); err == nil || strings.Contains(err.Error(), jwtSecret) {
		t.Errorf("shared secret: %v, want an error that does not tell it", err)
	}
}
