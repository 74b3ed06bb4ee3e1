package app

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"usher/muc"
)

func TestWebClientHidesOurDomain(t *testing.T) {
	tests := []struct{ name, js, want string }{
		{"docker-jitsi-meet", "config.hosts = {};\nconfig.hiddenDomain = 'hidden.meet.jitsi';\n", ""},
		{"literal", "var config = {\n    hiddenDomain: \"hidden.meet.jitsi\",\n};", ""},
		{"another domain", "config.hiddenDomain = 'recorder.meet.jitsi';", `hides "recorder.meet.jitsi"`},
		{"commented out", "    // hiddenDomain: 'hidden.meet.jitsi',\n", "hides no domain"},
	}
	for _, tt := range tests {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path != "/config.js" {
				http.NotFound(w, req)
				return
			}
			_, _ = w.Write([]byte(tt.js))
		}))
		got := checkWebClient(t.Context(), srv.URL, "hidden.meet.jitsi")
		if (tt.want == "") != (got.Seen == "") || !strings.Contains(got.Seen, tt.want) || tt.want != "" && got.Do == "" {
			t.Errorf("%s: problem %q, want %q", tt.name, got, tt.want)
		}
		srv.Close()
		if got := checkWebClient(t.Context(), srv.URL, "hidden.meet.jitsi"); !strings.Contains(got.Seen, "cannot be read") {
			t.Errorf("%s: with the site down: problem %q", tt.name, got)
		}
	}
}

// TestWebClientIsWatched has a difference reported, and the end of it.
func TestWebClientIsWatched(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("config.hiddenDomain = 'hidden.meet.jitsi';\n"))
	}))
	defer srv.Close()
	for domain, want := range map[string]string{"hidden.meet.jitsi": "", "other.meet.jitsi": "so people see it"} {
		ctx, cancel := context.WithCancel(t.Context())
		got := muc.Problem{Seen: "not reported"}
		watchWebClient(ctx, srv.URL, domain, func(p muc.Problem) { got = p; cancel() })
		if (want == "") != (got.Seen == "") || !strings.Contains(got.Seen, want) {
			t.Errorf("usher in %s: problem %q, want %q", domain, got, want)
		}
	}
}
