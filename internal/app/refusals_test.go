package app

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/api"
)

// TestRefusals: a wrong secret of a part of the site is a warning of that part, for
// some time.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRefusals()
		warned := func() (parts []string) {
			for _, c := range r.checks() {
				if f := c.Run(t.Context()); f.State != api.CheckOK {
					parts = append(parts, c.Name+": "+f.Do)
				}
			}
			return parts
		}
		if got := warned(); len(got) != 0 {
			t.Errorf("at first it warns of %q", got)
		}
		r.note(api.PartReservations)
		time.Sleep(refusalNoted)
		if got := warned(); len(got) != 1 || !strings.HasPrefix(got[0], "reservations: set the same USHER_RESERVATION_TOKEN") {
			t.Errorf("it warns of %q, want the token of reservations", got)
		}
		time.Sleep(time.Second)
		if got := warned(); len(got) != 0 {
			t.Errorf("it still warns of %q", got)
		}
	})
}
