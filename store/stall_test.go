package store

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// stalled has two processes compete for a lease of the real times, and Redis
// hang for a while, from just after a renewal on.
type stalled struct {
	t       *testing.T
	srv     *server
	leaders [2]*leader // the first one leads
	renewed time.Time  // before which the last renewal was carried out
}

func newStalled(t *testing.T, srv *server) *stalled {
	t.Helper()
	s := &stalled{t: t, srv: srv}
	site := fmt.Sprintf("site%d", sites.Add(1))
	r := srv.openSite(site)
	if err := r.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.leaders[0] = lead(t, r, "a")
	wait(t, s.leaders[0].began)
	s.leaders[1] = lead(t, srv.openSite(site), "b")
	time.Sleep(leasePoll) // it stands by
	return s
}

// stall stops Redis for so long and says whether the leader has stopped leading
// by then, and how long after its last renewal.
func (s *stalled) stall(d time.Duration) (lost bool, after time.Duration) {
	s.t.Helper()
	s.waitRenewal()
	s.srv.Signal(syscall.SIGSTOP)
	defer s.srv.Signal(syscall.SIGCONT)
	thaw := time.NewTimer(time.Until(s.renewed.Add(d)))
	select {
	case <-s.leaders[0].lost:
		after = time.Since(s.renewed)
		<-thaw.C
		return true, after
	case <-thaw.C:
		return false, 0
	}
}

// waitRenewal returns when the lease has just been renewed.
func (s *stalled) waitRenewal() {
	s.t.Helper()
	key := s.leaders[0].store.keys.leader()
	left := s.srv.raw.PTTL(s.t.Context(), key).Val()
	until(s.t, "the lease is renewed", func() bool {
		was := left
		left = s.srv.raw.PTTL(s.t.Context(), key).Val()
		s.renewed = time.Now()
		return left > was
	})
}

// leading counts those who think that they lead.
func (s *stalled) leading() (n int) {
	for _, l := range s.leaders {
		n += int(testutil.ToFloat64(l.store.metrics.leader))
	}
	return n
}

// TestLeaseOverAShortStall proves that a leader goes on while Redis hangs for
// three seconds, as it does to fork. A machine that is busy may take the second
// that is left until it would stop, so it has three tries.
func TestLeaseOverAShortStall(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	for range 3 {
		s := newStalled(t, srv)
		lost, _ := s.stall(3 * time.Second)
		if !lost {
			s.waitRenewal()
			lost = len(s.leaders[0].lost) > 0
		}
		if !lost {
			return
		}
	}
	t.Error("a leader lost the lease because Redis hung for 3 s, three times of three")
}

// TestLeaseOverALongStall proves that a leader whose Redis hangs stops leading
// before its lease can be another's, and that soon after one of two leads again.
func TestLeaseOverALongStall(t *testing.T) {
	t.Parallel()
	s := newStalled(t, startServer(t))
	lost, after := s.stall(10 * time.Second)
	thawed := time.Now()
	if !lost || after >= LeaseTTL {
		t.Fatalf("Redis hung for 10 s, and the leader stopped leading: %v, after %v; want it to, within %v", lost, after, LeaseTTL)
	}
	select {
	case <-s.leaders[0].began:
	case <-s.leaders[1].began:
	case <-time.After(patience):
		t.Fatalf("nobody leads %v after Redis came back", patience)
	}
	again := time.Since(thawed)
	s.waitRenewal()
	if n := s.leading(); n != 1 {
		t.Errorf("%d lead after the thaw, want one", n)
	}
	t.Logf("stopped leading %v after its last renewal; one leads %v after the thaw", after, again)
}
