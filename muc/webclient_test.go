package muc

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
		r := New(Config{Site: testSite})
		got := r.checkWebClient(t.Context(), srv.URL)
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: problem %q, want %q", tt.name, got, tt.want)
		}
		srv.Close()
		if got := r.checkWebClient(t.Context(), srv.URL); !strings.Contains(got, "cannot be read") {
			t.Errorf("%s: with the site down: problem %q", tt.name, got)
		}
	}
}
