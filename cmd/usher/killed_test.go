package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher/internal/child"
	"usher/internal/stack/stacktest"
	"usher/meeting"
	"usher/store"
	"usher/webhook"
)

const (
	kills = 50
	// killWithin is the time after its first answer within which usher is
	// killed; it commits some fifty events in that.
	killWithin = 150 * time.Millisecond
	// killWorkers keep as many requests under way.
	killWorkers = 4
)

// receipts is what a receiver got and what is wrong with it.
type receipts struct {
	mu      sync.Mutex
	bodies  map[string]string // by id
	last    map[string]int64  // newest seq, by meeting
	repeats int
	wrong   []string
}

// note checks that the events of a meeting come one after the other when they
// come first. Each may come again: whoever sent it was killed before it was
// acknowledged.
func (r *receipts) note(body []byte, _ time.Time) {
	time.Sleep(rand.N(3 * time.Millisecond)) // so that kills find deliveries under way
	var n meeting.Event
	err := json.Unmarshal(body, &n)
	r.mu.Lock()
	defer r.mu.Unlock()
	was, known := r.bodies[n.ID]
	switch last := r.last[n.MeetingID]; {
	case err != nil:
		r.wrong = append(r.wrong, fmt.Sprintf("%s: %v", body, err))
	case known && was != string(body):
		r.wrong = append(r.wrong, fmt.Sprintf("%s arrived as %s and as %s", n.ID, was, body))
	case known:
		r.repeats++
	case n.Seq != last+1:
		r.wrong = append(r.wrong, fmt.Sprintf("%s: %d arrived after %d", n.MeetingID, n.Seq, last))
	}
	r.bodies[n.ID] = string(body)
	r.last[n.MeetingID] = max(r.last[n.MeetingID], n.Seq)
}

func (r *receipts) refused(err error) {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return // its sender was killed half way
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, err.Error())
}

// missing returns how many events of the log have not arrived as they are there.
func (r *receipts) missing(log map[string]string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for id, text := range log {
		if r.bodies[id] != text {
			n++
		}
	}
	return n
}

// TestWebhooksOverKills kills usher with SIGKILL at random moments while apps
// change meetings, and proves that after each restart deliveries go on: every
// event of the log arrives at least once, in order per meeting, and what comes
// twice is the same byte for byte. There is no Prosody: where events come from
// makes no difference to what follows their commit.
func TestWebhooksOverKills(t *testing.T) {
	t.Parallel()
	r := &receipts{bodies: map[string]string{}, last: map[string]int64{}}
	secret := string(webhook.NewSecret().Key)
	in, err := webhook.NewInbox(secret, r.note, r.refused)
	must(t, err)
	receiver := httptest.NewServer(in)
	defer receiver.Close()
	s := newBareScene(t, fmt.Sprintf(`--webhooks=[{"name":"app","url":%q,"secrets":[%q]}]`, receiver.URL, secret), "--webhook-allow=127.0.0.0/8", "--api-rate=0")

	p := s.runUsher()
	l := &appLoad{scene: s, stop: make(chan struct{})}
	at := s.at // the same for all of them but the admin listener
	for range killWorkers {
		l.working.Go(func() { l.work(&localSite{at: at, cfg: s.cfg}) })
	}
	finish := sync.OnceFunc(func() { close(l.stop); l.working.Wait() })
	defer finish()
	begin := time.Now()
	for range kills {
		done := l.done.Load()
		s.until("usher answers", func() bool { return l.done.Load() > done })
		time.Sleep(rand.N(killWithin))
		p.kill()
		p = s.runUsher()
	}
	done := l.done.Load()
	s.until("usher answers", func() bool { return l.done.Load() > done })
	finish()
	took := time.Since(begin)
	log := s.wholeLog()
	s.until("every event has arrived", func() bool { return r.missing(log) == 0 })
	t.Logf("%d kills in %v, %d events, %d of them arrived again; the rest took %v", kills, took, len(log), r.repeats, time.Since(begin)-took)

	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.bodies) != len(log) || len(log) < kills {
		t.Errorf("%d events arrived, the log has %d", len(r.bodies), len(log))
	}
	for i, wrong := range r.wrong {
		if i == 10 {
			t.Errorf("and %d more", len(r.wrong)-i)
			break
		}
		t.Error(wrong)
	}
}

// appLoad is what apps do while usher is killed.
type appLoad struct {
	*scene
	stop    chan struct{}
	working sync.WaitGroup
	done    atomic.Int64 // requests answered well
}

// work makes meetings, and changes and ends them, until it is told to stop.
// Requests that fail are not repeated: some have been carried out all the same.
func (l *appLoad) work(site *localSite) {
	var mine []string
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		var err error
		switch dice := rand.IntN(20); {
		case len(mine) < 10 || dice == 0:
			var m meeting.MeetingInfo
			if err = site.call(l.t.Context(), "POST", "/v1/meetings", map[string]any{}, &m); err == nil {
				mine = append(mine, m.ID)
			}
		case dice == 1:
			id := mine[0]
			mine = mine[1:]
			err = site.call(l.t.Context(), "POST", "/v1/meetings/"+id+"/end", nil, nil)
		default:
			err = site.call(l.t.Context(), "PATCH", "/v1/meetings/"+mine[rand.IntN(len(mine))], map[string]any{
				"metadata": map[string]string{"n": strconv.Itoa(rand.Int())},
			}, nil)
		}
		if err != nil {
			time.Sleep(5 * time.Millisecond) // usher is being started again
			continue
		}
		l.done.Add(1)
	}
}

// newBareScene is a scene of Redis alone, for children without an XMPP server.
func newBareScene(t *testing.T, flags ...string) *scene {
	t.Helper()
	return newBareSceneAt(t, stacktest.Redis(t), flags...)
}

// newBareSceneAt is one with that Redis, of which only the URL is needed.
func newBareSceneAt(t *testing.T, redis *child.Redis, flags ...string) *scene {
	t.Helper()
	s := &scene{t: t, redis: redis, log: &logText{}, localSite: &localSite{}}
	must(t, beginStore(t.Context(), s.redis.URL))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", s.log)
		}
	})
	s.args = append([]string{
		"--redis-url=" + s.redis.URL, "--listen=" + freeAddr(t), "--component-addr=" + freeAddr(t),
		"--component-secret=nobody-is-there", "--api-key=" + "key-of-the-bare-scene",
	}, flags...)
	var err error
	s.cfg, err = localConfig(s.args)
	must(t, err)
	return s
}

// wholeLog returns all that the event log holds, by id.
func (s *scene) wholeLog() map[string]string {
	s.t.Helper()
	rdb, err := store.NewRedis(store.Config{URL: s.redis.URL, Site: s.cfg.Site})
	must(s.t, err)
	defer rdb.Close()
	all := map[string]string{}
	for after := ""; ; {
		entries, err := rdb.Events(s.t.Context(), after, store.MaxPage)
		must(s.t, err)
		if len(entries) == 0 {
			return all
		}
		for _, e := range entries {
			var n meeting.Event
			must(s.t, json.Unmarshal(e.Event, &n))
			after, all[n.ID] = e.ID, string(e.Event)
		}
	}
}
