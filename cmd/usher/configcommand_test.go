package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigInitAndCheck: what init writes of a site passes check, and every
// difference from the site does not.
func TestConfigInitAndCheck(t *testing.T) {
	page := "config.hosts.domain = 'example.org';\nconfig.hosts.muc = 'muc.' + subdomain + 'example.org';\nconfig.hiddenDomain = 'hidden.meet.jitsi';\n"
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page) }))
	defer web.Close()
	file := filepath.Join(t.TempDir(), "usher.env")
	var out strings.Builder
	must(t, (&configInitCommand{SiteURL: web.URL + "/", Out: file}).write(t.Context(), &out))
	written, err := os.ReadFile(file)
	must(t, err)
	env := map[string]string{}
	for line := range strings.Lines(string(written)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			env[name] = value
			t.Setenv(name, value)
		}
	}
	for name, want := range map[string]string{
		"USHER_XMPP_DOMAIN": "example.org", "USHER_MUC": "muc.example.org", "USHER_HIDDEN_DOMAIN": "hidden.meet.jitsi",
		"USHER_FOCUS_JID": "focus@auth.meet.jitsi", "USHER_SITE_URL": web.URL,
	} {
		if env[name] != want {
			t.Errorf("%s = %q, want %q", name, env[name], want)
		}
	}
	for _, name := range initSecrets {
		if len(env[name]) < 40 || strings.Contains(out.String(), env[name]) {
			t.Errorf("%s has %d characters, or is printed; want a long one that only the file has", name, len(env[name]))
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s is %v (%v), want it its owner's alone", file, info.Mode(), err)
	}
	if !strings.Contains(out.String(), "USHER_FOCUS_JID=focus@auth.meet.jitsi") {
		t.Errorf("init prints %q, want what it assumed in it", out.String())
	}
	if err := (&configInitCommand{SiteURL: web.URL, Out: file}).write(t.Context(), io.Discard); err == nil || !strings.HasPrefix(err.Error(), "out: ") {
		t.Errorf("a second init = %v, want it to overwrite nothing", err)
	}

	check := func(args ...string) error {
		return run(t.Context(), append([]string{"config", "check"}, args...), os.LookupEnv, io.Discard)
	}
	must(t, check())
	for name, tt := range map[string]struct {
		args []string
		says []string
	}{
		"rooms that the site does not have": {[]string{"--muc=conference.example.org"}, []string{"muc is", "conference.example.org", "muc.example.org"}},
		"a domain that it does not hide":    {[]string{"--hidden-domain=hidden.example.org", "--xmpp-domain=other.org"}, []string{"hidden-domain is", "xmpp-domain is", "hidden.meet.jitsi"}},
		"a site that does not answer":       {[]string{"--site-url=http://127.0.0.1:1"}, []string{"site-url", "refused"}},
		"an authority that cannot be read":  {[]string{"--tls-ca-file=/nowhere"}, []string{"USHER_TLS_CA_FILE", "/nowhere"}},
		"a secret that is too short":        {[]string{"--jwt-app-id=a", "--jwt-secret=short"}, []string{"jwt-secret"}},
		"an option that there is not":       {[]string{"--site-ulr=x"}, []string{"--site-ulr"}},
		"two mistakes, each said":           {[]string{"--tls-ca-file=/nowhere", "--muc=a.b"}, []string{"USHER_TLS_CA_FILE", "muc is"}},
	} {
		err := check(tt.args...)
		for _, want := range tt.says {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
	}
	page = "<html>Not Jitsi</html>"
	if err := (&configInitCommand{SiteURL: web.URL, Out: file + "2"}).write(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "is it a Jitsi site?") {
		t.Errorf("init from another page = %v", err)
	}
	if _, err := os.Stat(file + "2"); err == nil {
		t.Error("init from another page has written a file")
	}
}
