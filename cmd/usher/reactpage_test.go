package main

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"usher/internal/sim"
)

// externalAPI stands in for the script of a Jitsi site that makes the iframe
// (jitsi-meet, modules/API/external/external_api.js). It makes the address by
// the same rules: the room in the path, the token in the query, the API's number
// and the settings in the fragment, each value as JSON.
const externalAPI = `
window.JitsiMeetExternalAPI = class {
  constructor(domain, options) {
    let hash = '#jitsi_meet_external_api_id=0';
    for (const [key, value] of Object.entries(options.configOverwrite ?? {})) {
      hash += '&config.' + key + '=' + encodeURIComponent(JSON.stringify(value));
    }
    const frame = document.createElement('iframe');
    frame.allow = 'camera; microphone; display-capture; autoplay; clipboard-write';
    frame.src = 'https://' + domain + '/' + options.roomName + '?jwt=' + options.jwt + hash;
    options.parentNode.appendChild(frame);
  }
  on() {}
};`

// TestReactExample opens examples/react in a real Chromium with a link of
// usher's, and joins the meeting with the token that ends up in the iframe's
// address. What a Jitsi server would do in the iframe is not there.
func TestReactExample(t *testing.T) {
	page := httptest.NewServer(http.FileServer(http.Dir(buildReactExample(t))))
	t.Cleanup(page.Close)
	jitsi := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/external_api.js" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write([]byte(externalAPI))
		}
	}))
	t.Cleanup(jitsi.Close)
	s := newScene(t, "--site-url="+jitsi.URL)
	var link struct{ ID, URL string }
	must(t, s.call(t.Context(), "POST", "/v1/meetings/"+s.id+"/links",
		map[string]any{"user": map[string]any{"id": "u-ada", "name": "José <b>&😀"}}, &link))

	text := dumpPage(t, page.URL+"/#"+link.URL)
	m := regexp.MustCompile(`<iframe[^>]* src="([^"]*)"`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("the page shows no meeting: %s", text)
	}
	src, err := url.Parse(html.UnescapeString(m[1]))
	must(t, err)
	if want := strings.TrimPrefix(jitsi.URL, "https://"); src.Scheme != "https" || src.Host != want || src.Path != "/"+s.room {
		t.Errorf("the iframe shows %s, want room %s on %s", src, s.room, want)
	}
	if got := s.meeting().Occupancy.PendingJoins; got != 1 {
		t.Errorf("%d people on the way, want the one with the page", got)
	}
	ada := sim.NewPerson(s.sim, s.room, "Ada", src.Query().Get("jwt"))
	t.Cleanup(ada.Drop)
	s.enter(ada)
	s.counts(1)

	must(t, s.call(t.Context(), "DELETE", "/v1/meetings/"+s.id+"/links/"+link.ID, nil, nil))
	if text := dumpPage(t, page.URL+"/#"+link.URL); !strings.Contains(text, "withdrawn") || strings.Contains(text, "<iframe") {
		t.Errorf("with a revoked link the page shows %s", text)
	}
}

// buildReactExample builds the example as its README says, in a copy, and
// returns the folder to serve.
func buildReactExample(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS("../../examples/react")))
	for _, args := range [][]string{{"ci", "--ignore-scripts", "--no-audit", "--no-fund"}, {"run", "build"}} {
		cmd := exec.CommandContext(t.Context(), "npm", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("npm %s: %v\n%s", args[0], err, out)
		}
	}
	return filepath.Join(dir, "build")
}

// dumpPage returns what the page has become once its scripts have worked for
// ten seconds of their own clock. The browser finds no hosts but loopback.
func dumpPage(t *testing.T, address string) string {
	t.Helper()
	var problems strings.Builder
	cmd := exec.CommandContext(within(t), "chromium", "--headless", "--no-sandbox", "--disable-gpu",
		"--user-data-dir="+t.TempDir(), "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--ignore-certificate-errors",
		"--virtual-time-budget=10000", "--dump-dom", address)
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, problems.String())
	}
	return string(out)
}
