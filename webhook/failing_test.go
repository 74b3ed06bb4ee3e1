package webhook

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestFailingIsKnown proves that an endpoint counts as failing from its first
// failure until it is back.
func TestFailingIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		s := newSite(t, func(*http.Request, []byte) *http.Response {
			if down.Load() {
				return status(http.StatusServiceUnavailable)
			}
			return status(http.StatusNoContent)
		})
		for _, step := range []struct {
			down bool
			want []string
		}{{false, nil}, {true, []string{"whk_crm"}}, {false, nil}} {
			down.Store(step.down)
			s.put("mtg_1", 1, 1)
			time.Sleep(2 * ProbeInterval)
			synctest.Wait()
			if got := s.d.Failing(); !slices.Equal(got, step.want) {
				t.Errorf("down %v: failing are %v, want %v", step.down, got, step.want)
			}
		}
	})
}
