package api

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAdmin(t *testing.T) {
	var broken error
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "usher_meetings", Help: "x"}))
	h := Admin(reg,
		Check{"redis", func(context.Context) (string, error) { return "answers", nil }},
		Check{"prosody", func(context.Context) (string, error) { return "", broken }},
	)
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	check := func(path string, status int, want string) {
		t.Helper()
		if code, body := get(path); code != status || !strings.Contains(body, want) {
			t.Errorf("GET %s = %d %s, want %d and %s", path, code, body, status, want)
		}
	}
	check("/readyz", 200, `{"ready":true,"checks":[{"name":"redis","ok":true,"detail":"answers"},{"name":"prosody","ok":true}]}`)
	broken = errors.New("connection refused")
	check("/readyz", 503, `{"ready":false,"checks":[{"name":"redis","ok":true,"detail":"answers"},{"name":"prosody","ok":false,"error":"connection refused"}]}`)
	check("/livez", 200, "ok")
	check("/metrics", 200, "usher_meetings 0")
	check("/debug/pprof/", 200, "goroutine")
	check("/debug/pprof/cmdline", 404, "")
	check("/v1/meetings", 404, "")
}

func TestReadinessOutwaitsHungChecks(t *testing.T) {
	hung := Check{"hung", func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if got := runChecks(ctx, []Check{hung, hung}); got.Ready || len(got.Checks) != 2 || got.Checks[1].Error == "" {
		t.Errorf("readiness = %+v, want two failed checks", got)
	}
}
