package app

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
		got = checkWebClient(t.Context(), srv.URL, "hidden.meet.jitsi")
		// USHER_SITE_URL is where links lead: it is not to be changed for this.
		if !strings.Contains(got.Seen, "cannot be read") || !strings.Contains(got.Do, srv.URL+"/config.js has config.hiddenDomain = 'hidden.meet.jitsi'") {
			t.Errorf("%s: with the site down: problem %q", tt.name, got)
		}
	}
}

// TestWebClientIsWatched: what is wrong is reported, and soon no longer when it is
// mended, as by a web server that starts after usher; then once an hour is enough.
func TestWebClientIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		problems := []muc.Problem{{Seen: "cannot be read"}, {Seen: "hides no domain"}, {}, {}}
		ctx, cancel := context.WithCancel(t.Context())
		start, checks := time.Now(), 0
		check := func(context.Context) muc.Problem { checks++; return problems[checks-1] }
		var got []string
		watchWebClient(ctx, check, func(p muc.Problem) {
			got = append(got, fmt.Sprintf("%v %s", time.Since(start), p.Seen))
			if checks == len(problems) {
				cancel()
			}
		})
		want := []string{"0s cannot be read", "15s hides no domain", "30s ", "1h0m30s "}
		if !slices.Equal(got, want) {
			t.Errorf("reported %q, want %q", got, want)
		}
	})
}
