package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher/meeting"
)

// unhurried are the times of a lease whose leader looks at the store only when
// something makes it look.
var unhurried = leaseTimes{ttl: 9 * time.Hour, renew: time.Hour, retry: time.Second, demote: 3 * time.Hour, poll: 50 * time.Millisecond, mirror: time.Hour}

// TestAnEmptiedStoreIsNoticedAtOnce proves that the first call that finds
// something missing makes the leader write everything anew, long before it
// renews its lease.
func TestAnEmptiedStoreIsNoticedAtOnce(t *testing.T) {
	srv := startServer(t)
	for name, call := range map[string]func(l *leadingTracker, id string){
		"a commit": func(l *leadingTracker, id string) {
			_, err := l.tracker.Load().Do(t.Context(), id, meeting.Ended{Reason: meeting.EndRequested})
			if err != nil {
				t.Errorf("ending the meeting = %v, want it stored anew", err)
			}
		},
		"a new meeting": func(l *leadingTracker, _ string) {
			must(l.tracker.Load().Create(t.Context(), meeting.Created{Room: "new"}))(t)
		},
		"a read": func(l *leadingTracker, id string) {
			if _, err := l.store.Load(t.Context(), id); !errors.Is(err, meeting.ErrUnavailable) {
				t.Errorf("load = %v, want ErrUnavailable", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv.do("FLUSHALL")
			r := srv.openQuick("one")
			r.times = unhurried
			a := leadTracker(t, r, "a", nil)
			until(t, "a leads", func() bool { return a.terms.Load() == 1 })
			quiet := must(a.tracker.Load().Create(t.Context(), meeting.Created{Room: "quiet"}))(t)
			other := must(a.tracker.Load().Create(t.Context(), meeting.Created{Room: "other"}))(t)
			epoch := srv.raw.Get(t.Context(), r.keys.epoch()).Val()
			srv.do("FLUSHALL")
			call(a, other.ID)
			whole(t, srv, r, epoch)
			must(r.Load(t.Context(), quiet.ID))(t)
			a.stop()
		})
	}
}

// rollBack kills the server, and starts it with what the append-only file held
// when it was called; change is made in between.
func (s *server) rollBack(change func()) {
	s.t.Helper()
	dir := s.raw.ConfigGet(s.t.Context(), "dir").Val()["dir"]
	files, copied := filepath.Join(dir, "appendonlydir"), filepath.Join(s.t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(files)); err != nil {
		s.t.Fatal(err)
	}
	change()
	s.Kill()
	if err := errors.Join(os.RemoveAll(files), os.CopyFS(files, os.DirFS(copied))); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

// TestRedisRestartsUnderALeader: a leader that lives on knows whether Redis has
// lost something. If not, nothing is said, not by the next leader either. If so,
// what it holds is written anew, and what has become of the rest shows as after a
// crash: sequence numbers jump, and events say gap.
func TestRedisRestartsUnderALeader(t *testing.T) {
	for name, tt := range map[string]struct {
		restart func(srv *server, change func())
		then    func(a *leadingTracker) // before the leader looks by itself
		lost    bool
	}{
		"nothing is lost": {
			restart: func(srv *server, change func()) { change(); srv.Kill(); srv.start() },
		},
		"the latest changes are lost": {restart: (*server).rollBack, lost: true},
		"the latest changes are lost, and a commit finds out": {
			restart: (*server).rollBack, lost: true,
			then: func(a *leadingTracker) { a.tracker.Load().Observe("live", time.Now(), human("eve", "")) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := startServer(t)
			r := srv.openQuick("one")
			ctx, k := t.Context(), r.keys
			a := leadTracker(t, r, "a", nil)
			until(t, "a leads", func() bool { return a.terms.Load() == 1 })
			srv.do("SADD", k.queues(), "crm")
			live := must(a.tracker.Load().Create(ctx, meeting.Created{Room: "live"}))(t)
			over := must(a.tracker.Load().Create(ctx, meeting.Created{Room: "over"}))(t)
			var late meeting.Meeting
			tt.restart(srv, func() {
				late = must(a.tracker.Load().Create(ctx, meeting.Created{Room: "late"}))(t)
				a.tracker.Load().Observe("live", time.Now(), human("ada", ""))
				until(t, "Ada is stored", func() bool { m, err := r.Load(ctx, live.ID); return err == nil && len(m.People) == 1 })
				must(a.tracker.Load().Do(ctx, over.ID, meeting.Ended{Reason: meeting.EndRequested}))(t)
			})
			if tt.then != nil {
				tt.then(a)
			}
			want := int64(1)
			if tt.lost {
				want = 2
			}
			until(t, "the leader has found out", func() bool {
				info := srv.raw.Info(ctx, "server").Val()
				run := srv.raw.HGet(ctx, k.redis(), "run_id").Val()
				return run != "" && strings.Contains(info, "run_id:"+run) && a.terms.Load() == want
			})
			until(t, "all meetings are there", func() bool { return len(must(r.Open(ctx))(t)) >= 2 })
			m := must(r.Load(ctx, live.ID))(t)
			if len(m.People) == 0 || m.People[0].Name != "Name of ada" {
				t.Errorf("people of the live meeting = %+v, want Ada", m.People)
			}
			must(r.Load(ctx, late.ID))(t)
			_, retries, _, err := r.LoadQueue(ctx, "crm")
			if err != nil {
				t.Fatal(err)
			}
			if jumped := m.Seq > seqJump; jumped != tt.lost || retries[live.ID].Gap != tt.lost {
				t.Errorf("seq of the live meeting = %d, gap %v; want a jump and gap: %v", m.Seq, retries[live.ID].Gap, tt.lost)
			}
			if resets := len(r.Findings()); resets > 0 != tt.lost {
				t.Errorf("findings = %q, want one: %v", r.Findings(), tt.lost)
			}
			a.stop()
		})
	}
}
