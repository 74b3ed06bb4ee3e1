package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher/internal/child"
	"usher/internal/stack/stacktest"
	"usher/meeting"
)

const (
	// behindRedis is how much longer than its Redis usher may be away when the
	// master of that dies.
	behindRedis = 5 * time.Second
	// afterKill and afterStop bound how long nobody answers after the process
	// that led was killed, or was asked to end; most of the first is its lease.
	// On an idle machine they take 5.5 to 7.5 s and 0.1 to 0.6 s.
	afterKill = 10 * time.Second
	afterStop = 3 * time.Second
	// creators make meetings at the same time, each one every createEvery, and
	// createFirst in all before anything is killed.
	creators    = 2
	createEvery = 50 * time.Millisecond
	createFirst = 40
)

// creation is one request for a meeting.
type creation struct {
	began, ended time.Time
	id           string // empty: it failed
}

// creating makes meetings until it is stopped.
type creating struct {
	mu      sync.Mutex
	all     []creation
	stop    chan struct{}
	working sync.WaitGroup
}

// createAll starts making meetings through whichever of the processes answers,
// and returns when some were made.
func (s *scene) createAll(processes ...*process) *creating {
	c := &creating{stop: make(chan struct{})}
	for range creators {
		c.working.Go(func() {
			for {
				for _, p := range processes {
					site := &localSite{at: p.at, cfg: s.cfg}
					var m meeting.MeetingInfo
					one := creation{began: time.Now()}
					if site.call(s.t.Context(), http.MethodPost, "/v1/meetings", map[string]any{}, &m) == nil {
						one.id = m.ID
					}
					one.ended = time.Now()
					c.mu.Lock()
					c.all = append(c.all, one)
					c.mu.Unlock()
				}
				select {
				case <-c.stop:
					return
				case <-time.After(createEvery):
				}
			}
		})
	}
	s.t.Cleanup(c.finish)
	s.until("some meetings are made", func() bool { return c.made() >= createFirst })
	return c
}

// finish stops it and returns when it has ended.
func (c *creating) finish() {
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	c.working.Wait()
}

// made counts the meetings that were made.
func (c *creating) made() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.all {
		if one.id != "" {
			n++
		}
	}
	return n
}

// after returns when the first meeting was made of those asked for after the
// time; zero when there is none yet.
func (c *creating) after(from time.Time) (first time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.all {
		if one.id != "" && one.began.After(from) && (first.IsZero() || one.ended.Before(first)) {
			first = one.ended
		}
	}
	return first
}

// away waits until a meeting is made that was asked for after the time, and
// returns how long that took.
func (s *scene) away(c *creating, from time.Time) time.Duration {
	s.t.Helper()
	s.until("a meeting is made", func() bool { return !c.after(from).IsZero() })
	return c.after(from).Sub(from)
}

// checkLost checks that usher and its event log have each meeting that was
// answered to have been made.
func (s *scene) checkLost(c *creating) {
	s.t.Helper()
	logged := map[string]int{}
	for _, text := range s.wholeLog() {
		var n meeting.Event
		must(s.t, json.Unmarshal([]byte(text), &n))
		if n.Type == meeting.MeetingCreated {
			logged[n.MeetingID]++
		}
	}
	for _, one := range c.all {
		if one.id == "" {
			continue
		}
		if logged[one.id] != 1 {
			s.t.Errorf("meeting %s is in the event log %d times, want once", one.id, logged[one.id])
		}
		if err := s.call(s.t.Context(), http.MethodGet, "/v1/meetings/"+one.id, nil, nil); err != nil {
			s.t.Error(err)
		}
	}
}

// TestRedisMasterKilled kills the redis-server that holds the site, under load:
// once Redis has replaced it, usher is soon back, and has lost nothing.
func TestRedisMasterKilled(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *stacktest.RedisGroup{
		"cluster":   func(t testing.TB) *stacktest.RedisGroup { return stacktest.RedisCluster(t, 3, 3) },
		"sentinels": stacktest.RedisSentinels,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			group := start(t)
			s := newBareSceneAt(t, &child.Redis{URL: group.URL}, "--api-rate=0")
			p := s.runUsher()
			s.until("usher leads", s.leads)
			load := s.createAll(p)

			const key = "probe:{main}"
			master, err := group.Master(t.Context(), key)
			must(t, err)
			master.Kill()
			killed := time.Now()
			must(t, group.WaitMaster(t.Context(), key))
			redis := time.Since(killed)
			usher := s.away(load, killed)
			load.finish()
			if usher > redis+behindRedis {
				t.Errorf("without a store for %v after its master was killed, want at most %v more than the %v that Redis took", usher, behindRedis, redis)
			}
			s.checkLost(load)
			t.Logf("Redis was without a master for %v, usher away for %v; leadership lost %d times; %d meetings made",
				redis, usher, s.log.lines("no longer leading"), load.made())
		})
	}
}

// TestFailover proves that the process that stands by goes on soon after the one
// that led was killed, or told to end. There is no Prosody.
func TestFailover(t *testing.T) {
	t.Parallel()
	s := newBareScene(t, "--api-rate=0")
	standby := "--listen=" + freeAddr(t)
	first := s.runUsher()
	s.until("the first one leads", s.leads)
	second := s.runUsher(standby)
	load := s.createAll(first, second)

	first.kill()
	killed := s.away(load, time.Now())
	s.runUsher() // where the first one was
	from := time.Now()
	must(t, second.Process.Signal(syscall.SIGTERM))
	stopped := s.away(load, from)
	load.finish()
	if killed > afterKill {
		t.Errorf("nobody answered for %v after the leader was killed, want %v at most", killed, afterKill)
	}
	if stopped > afterStop {
		t.Errorf("nobody answered for %v after the leader was told to end, want %v at most", stopped, afterStop)
	}
	s.checkLost(load)
	t.Logf("away for %v after kill -9, for %v after SIGTERM; %d meetings made", killed, stopped, load.made())
}

// lossTold is what an app was told of a meeting.
type lossTold struct {
	mu   sync.Mutex
	seqs map[string]int64 // by event
	gap  bool             // an event has said so
}

func (l *lossTold) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e struct {
		ID  string `json:"id"`
		Seq int64  `json:"seq"`
		Gap bool   `json:"gap"`
	}
	if json.NewDecoder(r.Body).Decode(&e) != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seqs[e.ID] = e.Seq
	l.gap = l.gap || e.Gap
}

// told returns how many events there were, and how many numbers they have.
func (l *lossTold) told() (events, numbers int, gap bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seqs := map[int64]bool{}
	for _, seq := range l.seqs {
		seqs[seq] = true
	}
	return len(l.seqs), len(seqs), l.gap
}

// TestRedisFailsOverToAReplicaThatLags kills a master whose replica misses the
// latest changes. An usher that lives on writes them anew: no meeting is lost. In
// any case apps hear that something may be missing, and no number is used twice.
func TestRedisFailsOverToAReplicaThatLags(t *testing.T) {
	for name, killed := range map[string]bool{"usher lives on": false, "usher is killed, too": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := &lossTold{seqs: map[string]int64{}}
			server := httptest.NewServer(app)
			defer server.Close()
			group := stacktest.RedisSentinels(t)
			s := newBareSceneAt(t, &child.Redis{URL: group.URL}, "--api-rate=0", "--webhook-allow=127.0.0.0/8")
			p := s.runUsher()
			s.until("usher leads", s.leads)
			s.create("early")
			early, limit := s.id, 5
			hook := map[string]any{"url": server.URL + "/", "meeting_id": early}
			must(t, s.call(t.Context(), http.MethodPost, "/v1/webhooks", hook, nil))
			change := func() {
				t.Helper()
				limit++
				had, _, _ := app.told()
				s.until("the meeting is changed", func() bool {
					return s.call(t.Context(), http.MethodPatch, "/v1/meetings/"+early, map[string]any{"max_participants": limit}, nil) == nil
				})
				s.until("the app is told", func() bool { has, _, _ := app.told(); return has > had })
			}
			change()
			master, err := group.Master(t.Context(), "probe")
			must(t, err)
			group.Detach(t)
			change()
			s.create("late")
			late := s.id
			if killed {
				p.kill()
			}
			master.Kill()
			must(t, group.WaitMaster(t.Context(), "probe"))
			if killed {
				s.runUsher()
			} else {
				s.until("usher has found out", func() bool { return s.log.lines("Redis has lost the latest changes") > 0 })
			}
			s.until("usher leads again", s.leads)
			var m meeting.MeetingInfo
			must(t, s.call(t.Context(), http.MethodGet, "/v1/meetings/"+early, nil, &m))
			if got := s.call(t.Context(), http.MethodGet, "/v1/meetings/"+late, nil, nil); !killed && (got != nil || m.MaxParticipants != limit) {
				t.Errorf("the latest meeting: %v, at most %d people in the other one, want it there, and %d", got, m.MaxParticipants, limit)
			}
			change()
			if events, numbers, gap := app.told(); events != numbers || !gap {
				t.Errorf("%d events with %d numbers, gap said: %v; want each its own, and gap", events, numbers, gap)
			}
		})
	}
}
