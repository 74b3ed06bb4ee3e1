package api

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAdmin(t *testing.T) {
	prosody := Finding{CheckOK, "up", ""}
	role := RoleLeader
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "usher_meetings", Help: "x"}))
	rooms := prometheus.NewRegistry()
	rooms.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "usher_rooms_truncated", Help: "x"}))
	h := Admin(reg, rooms, func() Health {
		return Health{role, "hidden", []Check{
			{"prosody", func(context.Context) Finding { return prosody }},
			{"redis", func(context.Context) Finding { return Finding{CheckOK, "answers", ""} }},
		}}
	})
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
	redis := `{"name":"redis","state":"ok","seen":"answers"}]}`
	check("/readyz", 200, `{"ready":true,"state":"ok","role":"leader","mode":"hidden","checks":[{"name":"prosody","state":"ok","seen":"up"},`+redis)
	prosody = Finding{CheckWarn, "any certificate is taken", "set USHER_TLS_CA_FILE"}
	check("/readyz", 200, `{"ready":true,"state":"warn","role":"leader","mode":"hidden","checks":[`+
		`{"name":"prosody","state":"warn","seen":"any certificate is taken","do":"set USHER_TLS_CA_FILE"},`+redis)
	check("/readyz?role=leader", 200, `"role":"leader"`)
	prosody = Finding{CheckFail, "connection refused", "start Prosody"}
	check("/readyz", 503, `{"ready":false,"state":"fail","role":"leader"`)
	prosody, role = Finding{CheckOK, "up", ""}, RoleStandby
	check("/readyz", 200, `"role":"standby"`)
	check("/readyz?role=leader", 503, `"role":"standby"`)
	check("/livez", 200, "ok")
	check("/metrics", 200, "usher_meetings 0")
	check("/metrics/rooms", 200, "usher_rooms_truncated 0")
	check("/debug/pprof/", 200, "goroutine")
	check("/debug/pprof/cmdline", 404, "")
	check("/v1/meetings", 404, "")
}

func TestReadinessOutwaitsHungChecks(t *testing.T) {
	hung := Check{"hung", func(ctx context.Context) Finding { <-ctx.Done(); return Finding{CheckFail, ctx.Err().Error(), ""} }}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if got := (Health{Checks: []Check{hung, hung}}).Look(ctx); got.Ready || len(got.Checks) != 2 || got.Checks[1].Seen == "" {
		t.Errorf("readiness = %+v, want two failed checks", got)
	}
}
