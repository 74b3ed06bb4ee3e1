package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"usher/config"
)

// TestPrecedence: a flag beats the environment, which beats the file; empty is unset.
func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	file, secret := filepath.Join(dir, "usher.json"), filepath.Join(dir, "secret")
	write(t, file, `{"muc": "file.example", "component_secret": "file", "apiKey": ["`+key+`", "`+key+`,2"], "api-burst": 1000000, "trust-identity": true, "hidden-domain": "", "site": null}`)
	write(t, secret, "secret-file\n")
	for name, tt := range map[string]struct {
		env         map[string]string
		args        []string
		muc, secret string
	}{
		"file":               {nil, nil, "file.example", "file"},
		"environment":        {map[string]string{"USHER_MUC": "env.example", "USHER_COMPONENT_SECRET": "env"}, nil, "env.example", "env"},
		"file of a variable": {map[string]string{"USHER_COMPONENT_SECRET_FILE": secret}, nil, "file.example", "secret-file"},
		"empty variables":    {map[string]string{"USHER_MUC": "", "USHER_COMPONENT_SECRET": "", "USHER_COMPONENT_SECRET_FILE": ""}, nil, "file.example", "file"},
		"flag":               {map[string]string{"USHER_MUC": "env.example"}, []string{"--muc=flag.example"}, "flag.example", "file"},
	} {
		for where, given := range map[string]func(env map[string]string) (map[string]string, []string){
			"flag":     func(env map[string]string) (map[string]string, []string) { return env, []string{"--config=" + file} },
			"variable": func(env map[string]string) (map[string]string, []string) { return with(env, "USHER_CONFIG", file), nil },
		} {
			env, args := given(tt.env)
			c, err := parse(t, env, append(args, tt.args...)...)
			if err != nil || c.MUC != tt.muc || string(c.ComponentSecret) != tt.secret {
				t.Errorf("%s, config by %s: muc is %s and component-secret %s, %v; want %s and %s", name, where, c.MUC, string(c.ComponentSecret), err, tt.muc, tt.secret)
			}
			if len(c.APIKeys) != 2 || string(c.APIKeys[1]) != key+",2" || c.APIBurst != 1_000_000 || !c.TrustIdentity || c.HiddenDomain != "hidden.meet.jitsi" || c.Site != "main" {
				t.Errorf("%s, config by %s: keys %q, burst %d, trust %v, hidden %s, site %s; want the file's, and the defaults of what is empty there", name, where, c.APIKeys, c.APIBurst, c.TrustIdentity, c.HiddenDomain, c.Site)
			}
		}
	}
}

// TestUnreadableSettings: what cannot be read is refused with its file and line, or
// its variable, and what it should be; no secret is quoted.
func TestUnreadableSettings(t *testing.T) {
	dir := t.TempDir()
	file, empty := filepath.Join(dir, "usher.json"), filepath.Join(dir, "empty")
	write(t, empty, " \n")
	for _, tt := range []struct {
		file string
		env  map[string]string
		want []string
	}{
		{file: `{"muc": "a.b",` + "\n" + `"component_secrte": "h1dden"}`, want: []string{"usher.json:2: ", `"component_secrte"`, "did you mean component-secret?"}},
		{file: `{"nothing-like-it": 1}`, want: []string{"usher.json:1: there is no setting"}},
		{file: "muc: a.b\n", want: []string{"usher.json:1: not a JSON object"}},
		{file: `["a"]`, want: []string{"usher.json:1: not a JSON object"}},
		{file: `{"muc":"a.b"}}`, want: []string{"usher.json:1: something follows the object"}},
		{file: "{\"muc\": \"a.b\",\n", want: []string{"usher.json:2: it ends in the middle"}},
		{file: "{\"muc\": \"a.b\",\n\"component-secret\": \"h1dd", want: []string{"usher.json:2: it ends in the middle"}},
		{file: "", want: []string{"usher.json:1: it ends in the middle"}},
		{file: "{\"muc\": \"a.b\",\n\"api-key\": [\"h1dden\",]}", want: []string{"usher.json:2: invalid character ']'"}},
		{file: `{"muc": "a.b"} {}`, want: []string{"usher.json:1: something follows"}},
		{file: "{\"muc\": \"a.b\",\n\"MUC\": \"c.d\"}", want: []string{`usher.json:2: "MUC" was set in line 1 already`}},
		{file: "{\n\"api-burst\": \"many\"}", want: []string{"usher.json:2: api-burst: expected a valid", "1 or more"}},
		{file: "{\n\"recorder-key\": [\"h1dden-h1dden-h1dden\"]}", want: []string{"usher.json:2: recorder-key: it must be given as NAME=VALUE"}},
		{file: `{"recorder-key": {"jibri-1": "h1dden"}}`, want: []string{"usher.json:1: recorder-key: it must be a text, or a list of texts"}},
		{file: `{"webhooks": [{"name": "crm", "scrt": "h1dden"}]}`, want: []string{"usher.json:1: webhooks: ", `"scrt"`}},
		{env: map[string]string{"USHER_CONFIG": filepath.Join(dir, "nowhere.json")}, want: []string{"config: ", "nowhere.json: no such file"}},
		{env: map[string]string{"USHER_RECORDER_KEY": "h1dden-h1dden-h1dden"}, want: []string{"USHER_RECORDER_KEY: it must be given as NAME=VALUE"}},
		{env: map[string]string{"USHER_API_RATE": "h1gh", "USHER_LOG_LEVEL": "loud"}, want: []string{"USHER_API_RATE: ", "USHER_LOG_LEVEL: ", "debug, info, warn or error"}},
		{env: map[string]string{"USHER_JWT_SECRET": "h1dden", "USHER_JWT_SECRET_FILE": empty}, want: []string{"USHER_JWT_SECRET and USHER_JWT_SECRET_FILE are both set"}},
		{env: map[string]string{"USHER_JWT_SECRET_FILE": empty}, want: []string{"USHER_JWT_SECRET_FILE: " + empty + " is empty"}},
		{env: map[string]string{"USHER_JWT_SECRET_FILE": dir}, want: []string{"USHER_JWT_SECRET_FILE: ", "is a directory"}},
	} {
		env := with(tt.env, "USHER_COMPONENT_SECRET", "s")
		if tt.env == nil {
			write(t, file, tt.file)
			env = with(env, "USHER_CONFIG", file)
		}
		_, err := parse(t, env)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "h1dd") {
				t.Errorf("%s%v: %v; want %q in it, and no secret", tt.file, tt.env, err, want)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct{ flag, want string }{
		{"--site-url=meet.example.org", "site-url is"},
		{"--site-url=https://", "site-url is"},
		{"--site-url=https://meet.example.org/?x", "site-url is"},
		{"--public-url=meet.example.org:443", "public-url is"},
		{"--public-url=ftp://meet.example.org", "public-url is"},
		{"--component-addr=prosody", "component-addr is"},
		{"--client-addr=:5222", "client-addr is"},
		{"--client-addr=prosody:99999", "client-addr is"},
		{"--listen=8480", "listen is"},
		{"--admin-listen=localhost", "admin-listen is"},
		{"--admin-listen=", "admin-listen is"},
		{"--whereby-addr=[::1]", "whereby-addr is"},
		{"--site-url=https://meet.example.org/jitsi/", ""},
		{"--public-url=http://127.0.0.1:8480", ""},
		{"--listen=:8480", ""},
		{"--whereby-addr=[::1]:0", ""},
		{"--component-addr=xmpp.meet.jitsi:5347", ""},
	} {
		_, err := parse(t, nil, "--component-secret=s", "--api-key="+key, tt.flag)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.flag, err, tt.want)
		}
	}
}

// TestUnknownVariables: one that looks like a setting and is none is said, with the
// setting that may be meant; those of the things around usher are not.
func TestUnknownVariables(t *testing.T) {
	var c withConfigFile
	parser, err := kong.New(&c, config.Options(os.LookupEnv)...)
	if err != nil {
		t.Fatal(err)
	}
	for variable, want := range map[string]string{
		"USHER_SITEURL=https://x":          "there is no setting USHER_SITEURL, did you mean USHER_SITE_URL?",
		"USHER_REDIS_URI=h1dden":           "there is no setting USHER_REDIS_URI, did you mean USHER_REDIS_URL?",
		"USHER_COMPONENT_SECERT_FILE=/x":   "there is no setting USHER_COMPONENT_SECERT_FILE, did you mean USHER_COMPONENT_SECRET?",
		"USHER_QWERTZUIOP=1":               "there is no setting USHER_QWERTZUIOP",
		"USHER_MISTYPED=":                  "",
		"USHER_SITE_URL=https://x":         "",
		"USHER_CONFIG=/x":                  "",
		"USHER_COMPONENT_SECRET_FILE=/x":   "",
		"USHER_SERVICE_HOST=10.0.0.1":      "",
		"USHER_ADMIN_SERVICE_PORT_HTTP=1":  "",
		"USHER_PORT_8480_TCP=tcp://x:8480": "",
		"USHER_COMPONENT_PORT=5347":        "",
		"USHER_DOMAIN=usher.meet.jitsi":    "",
		"OTHER=1":                          "",
	} {
		if got := strings.Join(config.UnknownVariables(parser.Model, []string{variable}), "; "); got != want {
			t.Errorf("%s: %q, want %q", variable, got, want)
		}
	}
}

// with returns a copy of the environment with one variable more.
func with(env map[string]string, name, value string) map[string]string {
	more := map[string]string{name: value}
	for n, v := range env {
		more[n] = v
	}
	return more
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
