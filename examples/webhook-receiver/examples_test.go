// Package receiver_test runs the receivers of this folder against what usher
// really sends, and keeps docs/webhooks.md in step with both.
package receiver_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	independent "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"usher/internal/memorystore"
	"usher/internal/stack/stacktest"
	"usher/meeting"
	"usher/webhook"
)

// patience is more than any step may take on a machine that is busy.
const patience = 60 * time.Second

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func TestGoReceiver(t *testing.T) {
	stacktest.Needed(t)
	// Built, not `go run`: that would leave its child behind when it is ended.
	program := filepath.Join(t.TempDir(), "receiver")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./go").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	testReceiver(t, program)
}

func TestPythonReceiver(t *testing.T) { testReceiver(t, "python3", "python/receiver.py") }

func TestNodeReceiver(t *testing.T) { testReceiver(t, "node", "node/receiver.mjs") }

// testReceiver starts a receiver that knows the first secret of an endpoint,
// and lets usher deliver to it, before and while the secret changes and after.
func testReceiver(t *testing.T, command ...string) {
	t.Parallel()
	secret := webhook.NewSecret()
	r := start(t, string(secret.Key), command)
	s := newSite(t, r.url, secret)

	first := s.deliver()
	r.says("event evt_1 participant.joined 1")
	if _, err := s.registry.Rotate(t.Context(), s.endpoint); err != nil {
		t.Fatal(err)
	}
	second := s.deliver()
	r.says("event evt_2 participant.joined 2")
	if n := len(strings.Fields(second.header.Get("Webhook-Signature"))); n != 2 {
		t.Errorf("%d signatures while the secret changes, want 2", n)
	}
	// A second change drops the first secret.
	if _, err := s.registry.Rotate(t.Context(), s.endpoint); err != nil {
		t.Fatal(err)
	}
	if attempt, err := s.deliverer.Test(t.Context(), s.endpoint); err != nil || attempt.Status != http.StatusUnauthorized {
		t.Errorf("with secrets that it does not know: %+v, %v; want 401", attempt, err)
	}

	signed := func(id string, at time.Time, body string) http.Header {
		w, err := independent.NewWebhook(string(secret.Key))
		if err != nil {
			t.Fatal(err)
		}
		signature, err := w.Sign(id, at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return http.Header{
			"Webhook-Id": {id}, "Webhook-Timestamp": {fmt.Sprint(at.Unix())}, "Webhook-Signature": {signature},
		}
	}
	without := func(name string) http.Header {
		h := first.header.Clone()
		h.Del(name)
		return h
	}
	now := time.Now()
	const body = `{"id":"evt_9","type":"meeting.ended","seq":9,"gap":true}`
	for _, tt := range []struct {
		name   string
		header http.Header
		body   string
		status int
		says   string
	}{
		{"the same again", first.header, first.body, 204, "again evt_1"},
		{"another body", first.header, strings.Replace(first.body, "Ada", "Eve", 1), 401, ""},
		{"longer body", first.header, first.body + " ", 401, ""},
		{"another time", replaced(first.header, "Webhook-Timestamp", fmt.Sprint(now.Unix()+1)), first.body, 401, ""},
		{"time is no number", replaced(first.header, "Webhook-Timestamp", "soon"), first.body, 401, ""},
		{"another id", replaced(first.header, "Webhook-Id", "evt_7"), first.body, 401, ""},
		{"no signature", without("Webhook-Signature"), first.body, 401, ""},
		{"no time", without("Webhook-Timestamp"), first.body, 401, ""},
		{"no id", without("Webhook-Id"), first.body, 401, ""},
		{"signature of another version", replaced(first.header, "Webhook-Signature",
			strings.Replace(first.header.Get("Webhook-Signature"), "v1,", "v2,", 1)), first.body, 401, ""},
		{"six minutes old", signed("evt_9", now.Add(-6*time.Minute), body), body, 401, ""},
		{"six minutes early", signed("evt_9", now.Add(6*time.Minute), body), body, 401, ""},
		{"four minutes old, after a gap", signed("evt_9", now.Add(-4*time.Minute), body), body, 204,
			"gap, read the meeting anew: evt_9 meeting.ended 9"},
		{"not JSON", signed("evt_8", now, "{"), "{", 422, ""},
	} {
		if got := post(t, r.url, tt.header, tt.body); got != tt.status {
			t.Errorf("%s: answered %d, want %d", tt.name, got, tt.status)
		}
		if tt.says != "" {
			r.says(tt.says)
		}
	}
	// What was refused was not told: the next thing said is this.
	last := post(t, r.url, second.header, second.body)
	r.says("again evt_2")
	if last != http.StatusNoContent {
		t.Errorf("a repetition is answered %d, want 204", last)
	}
}

func replaced(h http.Header, name, value string) http.Header {
	h = h.Clone()
	h.Set(name, value)
	return h
}

// post returns the status of the answer. It may be called from any goroutine.
func post(t *testing.T, url string, h http.Header, body string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return http.StatusBadGateway
	}
	request.Header = h.Clone()
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return http.StatusBadGateway
	}
	answer.Body.Close()
	return answer.StatusCode
}

// receiver is one of the programs, running.
type receiver struct {
	t     *testing.T
	url   string
	lines <-chan string // what it prints
}

// start runs a receiver until the test ends and waits until it listens.
func start(t *testing.T, secret string, command []string) *receiver {
	t.Helper()
	cmd := exec.Command(command[0], append(command[1:], "127.0.0.1:0")...)
	cmd.Env = append(cmd.Environ(), "WEBHOOK_SECRET="+secret)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, read := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(read)
		defer close(lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait() // killed: that is no news
		if t.Failed() && complaints.Len() > 0 {
			t.Logf("%s complains: %s", command[0], complaints.String())
		}
	})
	r := &receiver{t: t, lines: lines}
	address, ok := strings.CutPrefix(r.line(), "listening on ")
	if !ok {
		t.Fatalf("%s does not say where it listens", command[0])
	}
	r.url = "http://" + address + "/usher"
	return r
}

// line returns the next line, empty when the receiver has ended.
func (r *receiver) line() string {
	r.t.Helper()
	select {
	case line := <-r.lines:
		return line
	case <-time.After(patience):
		r.t.Fatal("the receiver says nothing")
		return ""
	}
}

func (r *receiver) says(want string) {
	r.t.Helper()
	if got := r.line(); got != want {
		r.t.Errorf("receiver says %q, want %q", got, want)
	}
}

// site is usher's side: a registry with one endpoint, and its deliverer. Between it
// and the receiver stands somebody who notes what passes.
type site struct {
	t         *testing.T
	store     *memorystore.Memory
	registry  *webhook.Registry
	deliverer *webhook.Deliverer
	endpoint  string
	passed    chan exchange
	seq       int64
}

// exchange is a delivery and what it was answered.
type exchange struct {
	header http.Header
	body   string
	status int
}

// newSite runs a deliverer to the receiver at url until the test ends.
func newSite(t *testing.T, url string, secret webhook.Secret) *site {
	t.Helper()
	s := &site{t: t, store: new(memorystore.Memory), passed: make(chan exchange, 10)}
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		status := post(t, url, r.Header, string(body))
		s.passed <- exchange{r.Header.Clone(), string(body), status}
		w.WriteHeader(status)
	}))
	t.Cleanup(between.Close)
	var err error
	s.registry, err = webhook.NewRegistry(webhook.Config{Store: s.store, AllowCIDRs: loopback})
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.registry.Create(t.Context(), webhook.Endpoint{URL: between.URL, Secrets: []webhook.Secret{secret}})
	if err != nil {
		t.Fatal(err)
	}
	s.endpoint = e.ID
	s.deliverer = webhook.NewDeliverer(s.registry)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- s.deliverer.Run(ctx) }()
	go func() { done <- s.deliverer.Lead(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	})
	return s
}

// deliver commits one more event and returns its delivery, which was taken.
func (s *site) deliver() exchange {
	s.t.Helper()
	s.seq++
	event := meeting.Event{
		ID: fmt.Sprintf("evt_%d", s.seq), Type: meeting.ParticipantJoined, Timestamp: meeting.Time{Time: time.Now()},
		APIVersion: meeting.APIVersion, MeetingID: "mtg_a", Seq: s.seq, StateVersion: s.seq,
		Data: meeting.Data{Participant: &meeting.ParticipantInfo{Person: meeting.Person{ID: "prt_a", Kind: meeting.KindHuman, Name: "Ada <b>& José 😀"}}},
	}
	c := meeting.Commit{
		Op: event.ID, From: s.seq - 1, Meeting: meeting.Meeting{ID: "mtg_a", Room: "a", Version: s.seq},
		Effects: meeting.Effects{Events: []meeting.Event{event}}, Routes: [][]string{{s.endpoint}},
	}
	if err := s.store.Commit(s.t.Context(), c); err != nil {
		s.t.Fatal(err)
	}
	s.deliverer.Committed(c)
	select {
	case x := <-s.passed:
		if x.status != http.StatusNoContent {
			s.t.Fatalf("a delivery is answered %d, want 204", x.status)
		}
		return x
	case <-time.After(patience):
		s.t.Fatal("nothing was delivered")
		return exchange{}
	}
}
