package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"usher/api"
)

// TestHealthcheck asks as an image does: by the address that usher serve listens
// on, whichever form that has.
func TestHealthcheck(t *testing.T) {
	var down api.Finding
	usher := httptest.NewServer(api.Admin(prometheus.NewRegistry(), prometheus.NewRegistry(), func() api.Health {
		return api.Health{Role: api.RoleLeader, Mode: "hidden", Checks: []api.Check{
			{Name: "recorders", Run: func(context.Context) api.Finding {
				return api.Finding{State: api.CheckWarn, Seen: "not in sight", Do: "set USHER_BREWERY_PASSWORD"}
			}},
			{Name: "occupant", Run: func(context.Context) api.Finding { return down }},
		}}
	}))
	defer usher.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	addr := usher.Listener.Addr().String()
	_, port, err := net.SplitHostPort(addr)
	must(t, err)

	fine := api.Finding{State: api.CheckOK, Seen: "up"}
	refused := api.Finding{State: api.CheckFail, Seen: "down: secret or password refused", Do: "create the account"}
	for _, tt := range []struct {
		at   string
		live bool
		down api.Finding
		out  string   // in what it prints
		errs []string // in its error; none: no error
	}{
		{at: addr, down: fine, out: "ready: leader, hidden\nwarn recorders: not in sight\n     -> set USHER_BREWERY_PASSWORD\n"},
		{at: "0.0.0.0:" + port, down: fine, out: "ready: leader"},
		{at: ":" + port, down: fine, out: "ready: leader"},
		{at: addr, down: refused, errs: []string{"not ready\nfail occupant: down: secret or password refused\n     -> create the account\nwarn recorders: not in sight\n"}},
		{at: addr, down: refused, live: true, out: "ok"},
		{at: other.Listener.Addr().String(), errs: []string{"USHER_ADMIN_LISTEN", "is not usher", "404"}},
		{at: "127.0.0.1:1", errs: []string{"USHER_ADMIN_LISTEN", "refused"}},
		{at: "9480", errs: []string{"USHER_ADMIN_LISTEN"}},
	} {
		down = tt.down
		var out strings.Builder
		c := healthcheckCommand{AdminListen: tt.at, Live: tt.live}
		err := c.ask(t.Context(), &out)
		if (err == nil) != (tt.errs == nil) || !strings.Contains(out.String(), tt.out) {
			t.Errorf("%+v: prints %q, error %v; want %q in it, errors %q", c, out.String(), err, tt.out, tt.errs)
			continue
		}
		for _, want := range tt.errs {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: error %q, want %q in it", c, err, want)
			}
		}
	}
}

// TestHealthcheckNeedsNoOtherSetting: an image's check has the environment of
// usher serve, and nothing else.
func TestHealthcheckNeedsNoOtherSetting(t *testing.T) {
	t.Setenv("USHER_ADMIN_LISTEN", "127.0.0.1:1")
	err := run(t.Context(), []string{"healthcheck"}, os.LookupEnv, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("usher healthcheck = %v, want it to try the address of the environment", err)
	}
}
