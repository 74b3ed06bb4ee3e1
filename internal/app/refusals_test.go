package app

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"log/slog"

	"usher/api"
)

// TestRefusals: a server of the site that calls with a wrong secret is one line a
// minute, is counted, and is in /readyz for a while.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := newRefusals(slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
		check := func(state api.CheckState, says ...string) {
			t.Helper()
			f := r.check().Run(t.Context())
			if f.State != state {
				t.Errorf("readyz: %+v, want %s", f, state)
			}
			for _, want := range says {
				if !strings.Contains(f.Seen+f.Do, want) {
					t.Errorf("readyz: %+v, want %q in it", f, want)
				}
			}
		}
		check(api.CheckOK)
		for range 90 { // seconds
			r.note(api.PartReservations)
			r.note(api.PartReservations)
			time.Sleep(time.Second)
		}
		check(api.CheckWarn, "USHER_RESERVATION_TOKEN", "reservations_api_headers")
		r.note(api.PartJibriHook)
		check(api.CheckWarn, "USHER_RESERVATION_TOKEN", "USHER_JIBRI_HOOK_SECRET", "JIBRI_WEBHOOK_SUBSCRIBERS")
		if got := testutil.ToFloat64(r.count.WithLabelValues(string(api.PartReservations))); got != 180 {
			t.Errorf("counted %v, want 180", got)
		}
		if n := strings.Count(log.String(), "\n"); n != 3 {
			t.Errorf("%d lines in 90 s, want two about the token and one about the hook:\n%s", n, &log)
		}
		time.Sleep(refusalNoted)
		check(api.CheckOK)
	})
}
