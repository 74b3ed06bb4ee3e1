package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/sleep"
	"usher/meeting"
)

// quick are the times of a lease in tests against a real server: long enough
// for a machine that is busy, short enough to wait for.
var quick = leaseTimes{
	ttl: 8 * time.Second, renew: 200 * time.Millisecond, retry: 50 * time.Millisecond, demote: 5 * time.Second, poll: 50 * time.Millisecond,
	mirror: 100 * time.Millisecond,
}

// nothing is what a process writes anew that has no meetings.
func nothing(context.Context) error { return nil }

func (s *server) openQuick(site string) *Redis {
	s.t.Helper()
	r := s.openSite(site)
	r.times = quick
	if err := r.Begin(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// leader is a Lead under way.
type leader struct {
	store  *Redis
	cancel context.CancelFunc
	began  chan struct{} // one value each time led begins
	lost   chan error    // the cause each time its context ends
	done   chan error    // what Lead returned
}

// lead starts a leader that leads until it is told to stop or loses the lease.
func lead(t *testing.T, r *Redis, holder string) *leader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &leader{r, cancel, make(chan struct{}, 9), make(chan error, 9), make(chan error, 1)}
	go func() {
		l.done <- r.Lead(ctx, holder, func(ctx context.Context) error {
			l.began <- struct{}{}
			<-ctx.Done()
			l.lost <- context.Cause(ctx)
			return nil
		}, nothing)
	}()
	t.Cleanup(cancel)
	return l
}

func (l *leader) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	if err := wait(t, l.done); err != nil {
		t.Errorf("Lead = %v, want nil", err)
	}
}

// wait returns what comes through the channel.
func wait[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("waited too long")
	}
	return v
}

func TestLeaseTakeover(t *testing.T) {
	srv := startServer(t)
	a := lead(t, srv.openQuick("one"), "a")
	wait(t, a.began)
	b := lead(t, srv.openQuick("one"), "b")
	time.Sleep(2 * quick.renew)
	if len(b.began) > 0 {
		t.Fatal("two lead at the same time")
	}
	a.stop(t) // gives the lease back
	wait(t, b.began)
	if a, b := a.store.fence.Load(), b.store.fence.Load(); b <= a {
		t.Errorf("fencing number went from %d to %d, want it to grow", a, b)
	}
	other := lead(t, srv.openQuick("two"), "other")
	wait(t, other.began) // another site, another lease
	other.stop(t)
	b.stop(t)
}

func TestLeaseLeftBehind(t *testing.T) {
	srv := startServer(t)
	r := srv.openQuick("one")
	srv.do("SET", r.keys.leader(), "a host 17", "PX", 1000*patience.Milliseconds())
	srv.do("SET", r.keys.fence(), "17")
	if got, err := r.Holder(t.Context()); got != "a host" || err != nil {
		t.Errorf("holder %q, %v, want a host", got, err)
	}
	a := lead(t, r, "a host")
	wait(t, a.began)
	a.stop(t)

	// A namesake that is alive loses the lease, and does not take it back.
	first := lead(t, srv.openQuick("one"), "a")
	wait(t, first.began)
	second := lead(t, srv.openQuick("one"), "a")
	wait(t, second.began)
	if err := wait(t, first.lost); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("cause = %v, want ErrLeaseLost", err)
	}
	time.Sleep(4 * quick.renew)
	if len(first.began) > 0 || len(second.lost) > 0 {
		t.Error("two of the same name take the lease from each other")
	}
	first.stop(t)
	second.stop(t)
}

func TestLeaseEmptiedServer(t *testing.T) {
	srv := startServer(t)
	a := lead(t, srv.openQuick("one"), "a")
	wait(t, a.began)
	fence := a.store.fence.Load()
	srv.do("FLUSHALL")
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		held, _ := srv.raw.Get(t.Context(), a.store.keys.leader()).Result()
		if strings.HasPrefix(held, "a ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the lease was not taken again")
		}
	}
	if got, _ := srv.raw.Get(t.Context(), a.store.keys.fence()).Int64(); got != fence {
		t.Errorf("fencing number = %d, want %d as before", got, fence)
	}
	if len(a.lost) > 0 {
		t.Errorf("lost the lease: %v", <-a.lost)
	}

	// Somebody else was quicker: their number is the higher one all the same.
	srv.do("FLUSHALL")
	b := srv.openQuick("one")
	for deadline := time.Now().Add(patience); ; srv.do("FLUSHALL") {
		got, _, err := b.lease(t.Context(), acquireScript, "b x", 1000*patience.Milliseconds(), "", newEpoch(), true, schema)
		if err != nil || time.Now().After(deadline) {
			t.Fatal("cannot take the lease", err)
		}
		if got > fence {
			break
		}
	}
	if err := wait(t, a.lost); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("cause = %v, want ErrLeaseLost", err)
	}
	a.stop(t)
}

func TestLeaseHungServer(t *testing.T) {
	srv := startServer(t)
	r := srv.openQuick("one")
	r.times.demote, r.times.ttl = time.Second, time.Hour
	a := lead(t, r, "a")
	wait(t, a.began)
	srv.Signal(syscall.SIGSTOP)
	err := wait(t, a.lost)
	time.Sleep(2 * callTimeout) // it asks for the lease, and gives up
	srv.Signal(syscall.SIGCONT) // that is carried out now
	if !errors.Is(err, ErrLeaseLost) || !errors.Is(err, meeting.ErrUnavailable) {
		t.Errorf("cause = %v, want ErrLeaseLost for want of Redis", err)
	}
	wait(t, a.began) // leads again, and need not wait for a lease of its own to run out
	a.stop(t)
}

// TestLeaseNeedsNoMemory proves that a full Redis keeps its leader, and gets a
// new one, also when it has lost the lease.
func TestLeaseNeedsNoMemory(t *testing.T) {
	srv := startServer(t)
	a, other := lead(t, srv.openQuick("one"), "a"), srv.openQuick("one")
	wait(t, a.began)
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, a.store, c)
	srv.do("CONFIG", "SET", "maxmemory", "1mb")
	if err := a.store.Commit(t.Context(), s.apply(human("ada", ""))); !errors.Is(err, meeting.ErrUnavailable) {
		t.Fatalf("commit to a full Redis = %v, want ErrUnavailable", err)
	}
	if got := a.store.Findings(); len(got) != 1 || !strings.Contains(got[0].Seen, "Redis is full") {
		t.Errorf("findings = %q, want that Redis is full", got)
	}
	renewed := func() bool {
		ttl := srv.raw.PTTL(t.Context(), a.store.keys.leader()).Val()
		return ttl > 2*quick.renew && ttl > quick.ttl-quick.renew
	}
	srv.do("PEXPIRE", a.store.keys.leader(), quick.demote.Milliseconds())
	until(t, "the lease is renewed", renewed)
	srv.do("DEL", a.store.keys.leader())
	until(t, "the lease is taken again", renewed)
	if len(a.lost) > 0 {
		t.Errorf("lost the lease: %v", <-a.lost)
	}
	b := lead(t, other, "b")
	a.stop(t)
	wait(t, b.began)
	b.stop(t)
}

// TestLeaseMargin: what a leader began before it stopped leading has ended when
// another may begin.
func TestLeaseMargin(t *testing.T) {
	if end := leaseDemote + longestCall; end >= LeaseTTL {
		t.Errorf("the last call may take until %v after the last renewal, want less than the %v of the lease", end, LeaseTTL)
	}
}

func TestLeadReturns(t *testing.T) {
	srv := startServer(t)
	r := srv.openQuick("one")
	broken := errors.New("broken")
	if err := r.Lead(t.Context(), "a", func(context.Context) error { return broken }, nothing); !errors.Is(err, broken) {
		t.Errorf("Lead = %v, want %v", err, broken)
	}
	terms := 0
	err := r.Lead(t.Context(), "a", func(context.Context) error {
		terms++
		if terms == 1 {
			return meeting.ErrFenced
		}
		return nil
	}, nothing)
	if err != nil || terms != 2 {
		t.Errorf("Lead = %v after %d terms, want nil after a second one", err, terms)
	}
	if n := must(srv.raw.Exists(t.Context(), r.keys.leader()).Result())(t); n != 0 {
		t.Error("the lease was not given back")
	}
}

// TestKeep holds the real times of the lease to account, without waiting.
func TestKeep(t *testing.T) {
	hang := func(ctx context.Context) (bool, error) { <-ctx.Done(); return false, ctx.Err() }
	slow := func(ctx context.Context) (bool, error) { time.Sleep(2 * time.Second); return true, nil }
	tests := []struct {
		name  string
		renew []func(context.Context) (bool, error) // in turn; the last one goes on
		want  time.Duration                         // of leading, 0: for ever
	}{
		{"renewed", []func(context.Context) (bool, error){func(context.Context) (bool, error) { return true, nil }}, 0},
		{"slow but renewed", []func(context.Context) (bool, error){slow}, 0},
		{"taken by another", []func(context.Context) (bool, error){func(context.Context) (bool, error) { return false, nil }}, leaseRenew},
		{"fails", []func(context.Context) (bool, error){func(context.Context) (bool, error) { return false, errors.New("no") }}, leaseDemote},
		{"hangs", []func(context.Context) (bool, error){hang}, leaseDemote},
		{"fails once", []func(context.Context) (bool, error){
			func(context.Context) (bool, error) { return false, errors.New("no") },
			func(context.Context) (bool, error) { return true, nil },
		}, 0},
		// The renewal that took two seconds counts from when it was sent.
		{"slow, then hangs", []func(context.Context) (bool, error){slow, hang}, leaseRenew + leaseDemote},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const forever = time.Hour
				ctx, cancel := context.WithTimeout(t.Context(), forever)
				defer cancel()
				start, calls := time.Now(), 0
				err := keep(ctx, defaultLeaseTimes, start, func(ctx context.Context) (bool, error) {
					calls++
					return tt.renew[min(calls, len(tt.renew))-1](ctx)
				})
				led := time.Since(start)
				if tt.want == 0 {
					if err != nil || led < forever {
						t.Errorf("lost after %v: %v, want kept", led, err)
					}
					return
				}
				if !errors.Is(err, ErrLeaseLost) || led != tt.want {
					t.Errorf("led for %v: %v, want lost after %v", led, err, tt.want)
				}
			})
		})
	}
}

// TestKeepOverAnOutage: a Redis that is away for a little less than three seconds
// costs nothing, whenever that begins and whether it refuses or hangs.
func TestKeepOverAnOutage(t *testing.T) {
	const outage = 2900 * time.Millisecond
	for name, away := range map[string]func(ctx context.Context, back time.Duration) (bool, error){
		"refuses": func(context.Context, time.Duration) (bool, error) { return false, errors.New("no") },
		"hangs": func(ctx context.Context, back time.Duration) (bool, error) {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			sleep.For(ctx, back)
			return ctx.Err() == nil, ctx.Err()
		},
	} {
		for begin := time.Duration(0); begin < 2*time.Second; begin += 37 * time.Millisecond {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				err := keep(ctx, defaultLeaseTimes, start, func(ctx context.Context) (bool, error) {
					if at := time.Since(start) - begin; at >= 0 && at < outage {
						return away(ctx, outage-at)
					}
					return true, nil
				})
				if err != nil {
					t.Errorf("Redis %s for %v, %v after the lease was taken: %v, want it kept", name, outage, begin, err)
				}
			})
		}
	}
}

// TestNewerSchema proves that a program does not lead, nor wait to lead, where a
// newer one has led, whether or not that one is still there; and that a schema
// that is lost with everything else is stored again.
func TestNewerSchema(t *testing.T) {
	srv := startServer(t)
	r := srv.openQuick("one")
	l := lead(t, r, "a")
	wait(t, l.began)
	if got := srv.raw.Get(t.Context(), r.keys.schema()).Val(); got != strconv.Itoa(schema) {
		t.Errorf("schema = %q, want %d", got, schema)
	}
	srv.do("FLUSHALL")
	until(t, "the schema is stored again", func() bool {
		return srv.raw.Get(t.Context(), r.keys.schema()).Val() == strconv.Itoa(schema)
	})
	srv.do("SET", r.keys.schema(), schema+1)
	for _, while := range []string{"the newer one leads", "nobody leads"} {
		never := func(context.Context) error { t.Error("led"); return nil }
		err := srv.openQuick("one").Lead(t.Context(), "b", never, nothing)
		if want := fmt.Sprintf("schema %d, and this program knows %d", schema+1, schema); !errors.Is(err, ErrNewerSchema) || !strings.Contains(err.Error(), want) {
			t.Errorf("Lead while %s = %v, want ErrNewerSchema that says %q", while, err, want)
		}
		if while == "the newer one leads" {
			l.stop(t)
		}
	}
}
