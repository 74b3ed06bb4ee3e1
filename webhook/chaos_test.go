package webhook

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher/internal/stack/stacktest"
	"usher/store"
)

// ledger is a receiver that notes what arrives and often misbehaves.
type ledger struct {
	mu      sync.Mutex
	bodies  map[string]string // by id
	last    map[string]int64  // highest seq, by meeting
	repeats int
	wrong   []string
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // its sender was killed half way
	}
	l.note(r.Header.Get("webhook-id"), body)
	switch n := rand.IntN(1000); {
	case n < 10:
		w.WriteHeader(http.StatusInternalServerError)
	case n < 15:
		time.Sleep(50 * time.Millisecond)
	case n < 16: // longer than the sender waits
		select {
		case <-time.After(2 * chaosTimeout):
		case <-r.Context().Done():
		}
	}
}

// note checks that each meeting's events come one after the other when they come
// first; each may come again.
func (l *ledger) note(id string, body []byte) {
	var n struct {
		ID        string `json:"id"`
		MeetingID string `json:"meeting_id"`
		Seq       int64  `json:"seq"`
	}
	err := json.Unmarshal(body, &n)
	l.mu.Lock()
	defer l.mu.Unlock()
	was, known := l.bodies[id]
	switch last := l.last[n.MeetingID]; {
	case err != nil || n.ID != id:
		l.wrong = append(l.wrong, fmt.Sprintf("%s arrived as %s", id, body))
	case known && was != string(body):
		l.wrong = append(l.wrong, fmt.Sprintf("%s arrived as %s and as %s", id, was, body))
	case known:
		l.repeats++
	case n.Seq != last+1:
		l.wrong = append(l.wrong, fmt.Sprintf("%s: %d arrived after %d", n.MeetingID, n.Seq, last))
	}
	l.bodies[id] = string(body)
	l.last[n.MeetingID] = max(l.last[n.MeetingID], n.Seq)
}

func (l *ledger) arrived() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.bodies)
}

// TestChaos delivers 20,000 events of 200 meetings through processes of which
// each loses the lead to the next one after some hundred events, and is killed
// before or after that, to a receiver that is slow or fails now and then, from a Redis
// that hangs once.
func TestChaos(t *testing.T) {
	const meetings, total = 200, 20_000
	redis := stacktest.Redis(t)
	st, err := store.NewRedis(store.Config{URL: redis.URL, Site: "chaos"})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := st.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := &ledger{bodies: map[string]string{}, last: map[string]int64{}}
	srv := httptest.NewUnstartedServer(l)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	defer srv.Close()
	fill(t, st, "whk_crm", meetings, total)

	start := func() *exec.Cmd {
		cmd, _ := startChild(t, delivererEnv+"="+redis.URL+" "+srv.URL)
		return cmd
	}
	kill := func(c *exec.Cmd) {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	leader := start()
	kills, enough := 0, 0
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for deadline := time.Now().Add(3 * time.Minute); ; <-tick.C {
		b, err := st.Backlog(t.Context(), "whk_crm")
		if err != nil {
			t.Fatal(err)
		}
		if b.Meetings == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d arrived, backlog %+v", l.arrived(), total, b)
		}
		if l.arrived() < enough {
			continue // a busy machine takes its time
		}
		enough = l.arrived() + total/40
		if kills%2 == 0 {
			kill(leader)
			leader = start()
		} else {
			next := start()
			time.Sleep(100 * time.Millisecond) // both deliver until the old one finds out
			kill(leader)
			leader = next
		}
		if kills++; kills == 2 { // longer than a call of the store may take
			redis.Signal(syscall.SIGSTOP)
			time.Sleep(700 * time.Millisecond)
			redis.Signal(syscall.SIGCONT)
		}
	}
	if got := l.arrived(); got != total {
		t.Errorf("%d events arrived, want %d", got, total)
	}
	for i, wrong := range l.wrong {
		if i == 10 {
			t.Errorf("and %d more", len(l.wrong)-i)
			break
		}
		t.Error(wrong)
	}
	dead, err := st.Attempts(t.Context(), "whk_crm", true, "", 1)
	if err != nil || len(dead) > 0 {
		t.Errorf("dead letters = %+v, %v; want none", dead, err)
	}
	// Of each process what it had in flight or not acknowledged, and of each event
	// that failed or timed out one more.
	if most := (kills+1)*(flushAfter+MaxPerEndpoint) + total/20; l.repeats > most {
		t.Errorf("%d events arrived again, want %d at most", l.repeats, most)
	}
	t.Logf("%d processes were killed, %d events arrived again", kills, l.repeats)
}
