package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"usher/config"
)

const key = "a-key-of-some-length"

func parse(t *testing.T, env map[string]string, args ...string) (config.Config, error) {
	t.Helper()
	var c withConfigFile
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	p, err := kong.New(&c, append(config.Options(lookup), kong.Exit(func(int) { t.Fatal("exited") }))...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Parse(args)
	return c.Config, err
}

func TestDomainsFollowFromTheSites(t *testing.T) {
	c, err := parse(t, nil, "--xmpp-domain=jitsi.example", "--component-secret=s", "--api-key="+key, "--muc=conference.jitsi.example")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.MUC, c.BreakoutDomain, c.HiddenDomain, c.FocusJID, c.ComponentDomain, c.TLSServerName}
	want := "[conference.jitsi.example breakout.jitsi.example hidden.jitsi.example focus@auth.jitsi.example usher.jitsi.example jitsi.example]"
	if fmt.Sprint(got) != want {
		t.Errorf("domains = %v, want %s", got, want)
	}
}

// Ports of the video bridge and of Prometheus are taken on many sites.
func TestListenersKeepOffOthersPorts(t *testing.T) {
	c, err := parse(t, nil, "--component-secret=s", "--api-key="+key)
	if err != nil || c.Listen != "127.0.0.1:8480" || c.AdminListen != "127.0.0.1:9480" {
		t.Errorf("listeners = %s, %s, %v; want 127.0.0.1:8480 and :9480", c.Listen, c.AdminListen, err)
	}
}

func TestEnvironmentAndSecretFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parse(t, map[string]string{
		"USHER_COMPONENT_SECRET_FILE": file, "USHER_API_KEY": key + "," + key + "2", "USHER_XMPP_DOMAIN": "jitsi.example",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.ComponentSecret != "from-a-file" || len(c.APIKeys) != 2 || c.MUC != "muc.jitsi.example" {
		t.Errorf("config = %+v", c)
	}
	_, err = parse(t, map[string]string{"USHER_COMPONENT_SECRET_FILE": file + "-missing", "USHER_API_KEY": key})
	if err == nil || !strings.Contains(err.Error(), "USHER_COMPONENT_SECRET_FILE") {
		t.Errorf("missing file: %v, want an error that names the variable", err)
	}
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = parse(t, map[string]string{"USHER_COMPONENT_SECRET": "s", "USHER_API_KEY": key, "USHER_OCCUPANT_PASSWORD_FILE": file})
	if err == nil || !strings.Contains(err.Error(), "USHER_OCCUPANT_PASSWORD_FILE") {
		t.Errorf("empty file: %v, want an error that names the variable", err)
	}
}

// TestEmptyVariablesAreUnset: container platforms pass each variable of a
// Compose file, also those that nobody has set.
func TestEmptyVariablesAreUnset(t *testing.T) {
	var c withConfigFile
	p, err := kong.New(&c, config.Options(os.LookupEnv)...)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, flag := range p.Model.Flags {
		for _, name := range flag.Envs {
			env[name] = ""
		}
	}
	if len(env) < 40 {
		t.Fatalf("%d variables, want those of all settings", len(env))
	}
	env["USHER_COMPONENT_SECRET_FILE"] = ""
	args := []string{"--component-secret=s", "--api-key=" + key}
	want, err := parse(t, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(t, env, args...)
	if err != nil {
		t.Fatalf("with every variable empty: %v, want none", err)
	}
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("with every variable empty the settings are\n%s, want the defaults\n%s", g, w)
	}
}

func TestEverythingWrongIsSaidAtOnce(t *testing.T) {
	_, err := parse(t, nil)
	if err == nil || !strings.Contains(err.Error(), "component-secret") || !strings.Contains(err.Error(), "api-key") {
		t.Errorf("error = %v, want one about the secret and the key", err)
	}
	if _, err = parse(t, nil, "--component-secret=s", "--api-key=short"); err == nil || strings.Contains(err.Error(), "short") {
		t.Errorf("error = %v, want one that does not tell the key", err)
	}
}

// TestStoreInMemory: the setting is gone, and who still has it is told.
func TestStoreInMemory(t *testing.T) {
	_, err := parse(t, map[string]string{"USHER_STORE": "memory"}, "--component-secret=s", "--api-key="+key)
	if err == nil || !strings.Contains(err.Error(), `store: "memory" is no longer possible`) {
		t.Errorf("error = %v, want one that says what to do", err)
	}
	if _, err := parse(t, map[string]string{"USHER_STORE": "redis"}, "--component-secret=s", "--api-key="+key); err != nil {
		t.Errorf("redis: %v", err)
	}
}

// TestRecorderKeys: each is a name of its own and a secret, which no error shows.
func TestRecorderKeys(t *testing.T) {
	for keys, want := range map[string]string{
		"jibri-1=h1dden":       "the recorder-key of jibri-1 must have 16 characters or more",
		"h1dden-h1dden-h1dden": "--recorder-key: it must be given as NAME=VALUE",
		"j=h1dden-h1dden-h1dden-1,j=h1dden-h1dden-h1dden-2":      "recorder-key names j twice",
		"jibri-1=h1dden-h1dden-h1dden,jibri-2=h1dden-h1dden-h1d": "",
	} {
		c, err := parse(t, nil, "--component-secret=s", "--api-key="+key, "--recorder-key="+keys)
		if want == "" && (err != nil || len(c.RecorderKeys) != 2) || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "h1dden")) {
			t.Errorf("%s: %v, %v; want %q", keys, c.RecorderKeys, err, want)
		}
	}
}

// TestRecordingDelay: one that is no start of a meeting is refused by its name.
func TestRecordingDelay(t *testing.T) {
	for delay, want := range map[string]time.Duration{"": 3 * time.Second, "0s": 0, "1m": time.Minute, "61s": -1, "-1s": -1, "soon": -1} {
		flags := []string{"--component-secret=s", "--api-key=" + key}
		if delay != "" {
			flags = append(flags, "--recording-delay="+delay)
		}
		c, err := parse(t, nil, flags...)
		if want < 0 && (err == nil || !strings.Contains(err.Error(), "recording-delay")) || want >= 0 && (err != nil || c.RecordingDelay != want) {
			t.Errorf("%q: error %v, want %v", delay, err, want)
		}
	}
}

// TestRateLimits: a limit that would refuse every request is refused itself.
func TestRateLimits(t *testing.T) {
	for _, tt := range []struct{ flags, want string }{
		{"--api-burst=0", "api-burst must be 1 or more, not 0"},
		{"--api-burst=-1", "api-burst must be 1 or more, not -1"},
		{"--api-burst=-1 --api-rate=0", "api-burst must be 1 or more, not -1"},
		{"--api-burst=1.5", "--api-burst: expected a valid"},
		{"--api-burst=99999999999999999999", "--api-burst"},
		{"--api-rate=-1", "api-rate must be 0"},
		{"--api-rate=NaN", "api-rate must be 0"},
		{"--api-rate=NaN --api-burst=0", "\napi-burst must be 1 or more"},
		{"--api-rate=+Inf", "api-rate must be 0"},
		{"--api-rate=-Inf", "api-rate must be 0"},
		{"--api-rate=1e-300", "api-rate must be 0"},
		{"--api-rate=1e300", "api-rate must be 0"},
		{"--api-rate=many", "--api-rate: expected a float"},
		{"--api-burst=1", ""},
		{"--api-rate=0.001 --api-burst=1", ""},
		{"--api-rate=0", ""},
		{"--api-rate=0 --api-burst=0", ""},
	} {
		_, err := parse(t, nil, append([]string{"--component-secret=s", "--api-key=" + key}, strings.Fields(tt.flags)...)...)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.flags, err, tt.want)
		}
	}
}

func TestSecretsNeverShow(t *testing.T) {
	const hidden = "hunter2-hunter2"
	s := config.Secret(hidden)
	text, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "s", s, "c", config.Config{ComponentSecret: s})
	shown := fmt.Sprintf("%s %v %s %s", s, s, text, b.String())
	if strings.Contains(shown, hidden) {
		t.Errorf("secret shows in %s", shown)
	}
}

func TestIdentityDomains(t *testing.T) {
	needed := []string{"--component-secret=s", "--api-key=" + key, "--xmpp-domain=Jitsi.example"}
	for _, tt := range []struct{ trust, domains, want string }{
		{"", "", "[]"},
		{"true", "", "[jitsi.example]"},
		{"true", "Guest.jitsi.example, tokens.jitsi.example,", "[guest.jitsi.example tokens.jitsi.example jitsi.example]"},
		{"false", "guest.jitsi.example", "[guest.jitsi.example]"},
	} {
		env := map[string]string{"USHER_IDENTITY_DOMAIN": tt.domains}
		if tt.trust != "" {
			env["USHER_TRUST_IDENTITY"] = tt.trust
		}
		c, err := parse(t, env, needed...)
		if got := fmt.Sprint(c.IdentityDomains); err != nil || got != tt.want {
			t.Errorf("USHER_TRUST_IDENTITY=%s USHER_IDENTITY_DOMAIN=%s: believed are %s, %v, want %s", tt.trust, tt.domains, got, err, tt.want)
		}
	}
}

// TestTrustedDomains reads the hosts whose services are believed: two follow from
// the rest, as in docker-jitsi-meet.
func TestTrustedDomains(t *testing.T) {
	needed := []string{"--component-secret=s", "--api-key=" + key, "--xmpp-domain=Jitsi.example"}
	for _, tt := range []struct{ trusted, dialIn, hidden, want, phones string }{
		{"", "", "", "[hidden.jitsi.example auth.jitsi.example]", "[]"},
		{"", "Guest.jitsi.example", "recorder.jitsi.example", "[recorder.jitsi.example auth.jitsi.example]", "[guest.jitsi.example]"},
		{"Jigasi.jitsi.example, transcriber.jitsi.example", "jitsi.example", "", "[jigasi.jitsi.example transcriber.jitsi.example hidden.jitsi.example auth.jitsi.example]", "[jitsi.example]"},
	} {
		c, err := parse(t, map[string]string{
			"USHER_TRUSTED_DOMAIN": tt.trusted, "USHER_DIAL_IN_DOMAIN": tt.dialIn, "USHER_HIDDEN_DOMAIN": tt.hidden,
		}, needed...)
		if got := fmt.Sprint(c.TrustedDomains); err != nil || got != tt.want || fmt.Sprint(c.DialInDomains) != tt.phones {
			t.Errorf("USHER_TRUSTED_DOMAIN=%s: trusted are %s, for dial-ins %s, %v, want %s and %s", tt.trusted, got, c.DialInDomains, err, tt.want, tt.phones)
		}
	}
	for _, flags := range [][]string{
		{"--trusted-domain=guest.jitsi.example", "--dial-in-domain=guest.jitsi.example"},
		{"--trusted-domain=tokens.jitsi.example", "--identity-domain=tokens.jitsi.example"},
	} {
		if _, err := parse(t, nil, append(needed, flags...)...); err == nil || !strings.Contains(err.Error(), "is where people log in") {
			t.Errorf("%s: %v, want an error that people log in there", flags, err)
		}
	}
}

// TestWhoIsWho holds that nobody is taken for somebody else by a setting that
// cannot be right.
func TestWhoIsWho(t *testing.T) {
	needed := []string{"--component-secret=s", "--api-key=" + key, "--xmpp-domain=jitsi.example"}
	for _, tt := range []struct{ flag, want string }{
		{"--hidden-domain=Jitsi.Example", "hidden-domain is jitsi.example, as xmpp-domain"},
		{"--hidden-domain=muc.jitsi.example", "hidden-domain is muc.jitsi.example, as muc"},
		{"--hidden-domain=usher.jitsi.example", "hidden-domain is usher.jitsi.example, as component-domain"},
		{"--occupant-user=usher@hidden.jitsi.example", "occupant-user is \"usher@hidden.jitsi.example\": only"},
		{"--occupant-user=usher", "occupant-password is missing"},
		{"--identity-domain=x@guest.jitsi.example", "identity-domain"},
		{"--identity-domain=*.jitsi.example", "identity-domain"},
		{"--identity-domain=https://guest.jitsi.example", "identity-domain"},
		{"--trusted-domain=jigasi@auth.jitsi.example", "trusted-domain \"jigasi@auth.jitsi.example\" is not the name of a host"},
		{"--trusted-domain=Jitsi.example", "trusted-domain jitsi.example is where people log in"},
		{"--dial-in-domain=guest.jitsi.example/x", "dial-in-domain"},
		{"--muc=muc@jitsi.example", "muc is \"muc@jitsi.example\", which is not the name of a host"},
		{"--lobby-domain=lobby:jitsi.example", "lobby-domain is"},
		{"--breakout-domain=*.jitsi.example", "breakout-domain is"},
		{"--hidden-domain=hidden@jitsi.example", "hidden-domain is \"hidden@jitsi.example\""},
		{"--component-domain=usher@jitsi.example", "component-domain is \"usher@jitsi.example\""},
	} {
		if _, err := parse(t, nil, append(needed, tt.flag)...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.flag, err, tt.want)
		}
	}
	_, err := parse(t, nil, append(needed, "--xmpp-domain=https://jitsi.example", "--occupant-user=usher")...)
	if want := `xmpp-domain is "https://jitsi.example", which is not the name of a host, such as meet.example.org`; err == nil || err.Error() != want {
		t.Errorf("a URL as xmpp-domain: %v, want %s, and nothing of what follows from it", err, want)
	}
	c, err := parse(t, nil, append(needed, "--hidden-domain=", "--focus-jid=Focus@Auth.jitsi.example", "--occupant-user=", "--occupant-password=p")...)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.OccupantUser+"@"+c.HiddenDomain+" "+c.FocusJID, "usher@hidden.jitsi.example focus@auth.jitsi.example"; got != want {
		t.Errorf("occupant and focus = %q, want %q", got, want)
	}
}
