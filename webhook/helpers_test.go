package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/internal/memorystore"
	"usher/meeting"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// joinedEvent is what a participant's joining looks like, about 600 bytes.
func joinedEvent(mtg string, seq int) json.RawMessage {
	at := meeting.Time{Time: time.Now()}
	data, err := json.Marshal(meeting.Event{
		ID: fmt.Sprintf("evt_%s_%06d", mtg, seq), Type: meeting.ParticipantJoined, Timestamp: at,
		APIVersion: meeting.APIVersion, MeetingID: mtg, SessionID: "ses_01JDB2W8Z3W5V6S0Q5M2T8K4AR",
		Seq: int64(seq), StateVersion: int64(seq),
		Data: meeting.Data{
			Participant: &meeting.ParticipantInfo{Person: meeting.Person{
				ID: "prt_01JDB2W8Z3W5V6S0Q5M2T8K4AR", Kind: meeting.KindHuman, Role: meeting.RoleParticipant,
				Name: "José <b>&😀", UserID: "u-17", JoinedAt: at, Audio: meeting.MediaOff,
			}, Connections: 1},
			Occupancy: &meeting.Occupancy{},
		},
	})
	if err != nil {
		panic(err)
	}
	return data
}

// fill puts n events into the lists of the given number of meetings, in turn.
func fill(t testing.TB, st Store, endpoint string, meetings, n int) {
	t.Helper()
	for i := range min(meetings, n) {
		mtg := fmt.Sprintf("mtg_%04d", i)
		var events []json.RawMessage
		for seq := 1; i+(seq-1)*meetings < n; seq++ {
			events = append(events, joinedEvent(mtg, seq))
		}
		// One list at a time: a call of the store may not take long.
		if err := st.Requeue(context.Background(), endpoint, map[string][]json.RawMessage{mtg: events}, false); err != nil {
			t.Fatal(err)
		}
	}
}

// site is a registry and a deliverer over a memory store whose requests go to a
// function. It works in a synctest bubble.
type site struct {
	t        *testing.T
	st       *memorystore.Memory
	reg      *prometheus.Registry
	registry *Registry
	d        *Deliverer
	logs     *lockedBuffer
	stop     func() // ends Run and waits for it

	answer func(r *http.Request, body []byte) *http.Response

	mu   sync.Mutex
	seen []received
}

// received is one try as the receiver saw it.
type received struct {
	at     time.Duration // since the site was made
	path   string
	id     string
	body   string
	header http.Header
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func logTo(b *lockedBuffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// status returns an answer; headers come in pairs.
func status(code int, headers ...string) *http.Response {
	r := &http.Response{StatusCode: code, Header: http.Header{}, Body: http.NoBody}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// hiddenPart is in the test endpoint's URL and must be in no log and no error.
const hiddenPart = "s3cr3t-in-the-path"

// newSite runs a deliverer with one configured endpoint, whk_crm, until the
// test ends.
func newSite(t *testing.T, answer func(r *http.Request, body []byte) *http.Response, change ...func(*timing)) *site {
	t.Helper()
	st := new(memorystore.Memory)
	return newSiteOf(t, st, st, Endpoint{Secrets: []Secret{NewSecret()}}, answer, change...)
}

// newSiteOf is newSite for what an endpoint is besides its name and URL, over a
// store that stands before the one in memory.
func newSiteOf(t *testing.T, memory *memorystore.Memory, st Store, e Endpoint, answer func(r *http.Request, body []byte) *http.Response, change ...func(*timing)) *site {
	t.Helper()
	e.Name, e.URL = "crm", "https://crm.example/"+hiddenPart
	s := &site{t: t, st: memory, reg: prometheus.NewRegistry(), logs: new(lockedBuffer), answer: answer}
	var err error
	s.registry, err = NewRegistry(Config{
		Store: st, Registerer: s.reg, Dialects: allDialects,
		Log:       logTo(s.logs),
		Endpoints: []Endpoint{e},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.d = NewDeliverer(s.registry)
	for _, f := range change {
		f(&s.d.timing)
	}
	start := time.Now()
	s.d.sender.transports["https"] = roundTripper(func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.seen = append(s.seen, received{time.Since(start), r.URL.Path, r.Header.Get("webhook-id"), string(body), r.Header})
		s.mu.Unlock()
		return s.answer(r, body), r.Context().Err()
	})
	s.stop = lead(t, s.d)
	t.Cleanup(s.stop)
	return s
}

// lead has a deliverer run and lead until the function it returns is called, and
// returns once it leads.
func lead(t testing.TB, d *Deliverer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- d.Run(ctx) }()
	go func() { done <- d.Lead(ctx) }()
	for d.locked(func(*queue, time.Time) {}) != nil {
		time.Sleep(time.Millisecond)
	}
	return sync.OnceFunc(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("run = %v", err)
			}
		}
	})
}

// commit puts events into a list, and hands them to the deliverer.
func commit(t testing.TB, d *Deliverer, endpoint, mtg string, events ...json.RawMessage) {
	t.Helper()
	for _, text := range events {
		if err := d.registry.store.Requeue(context.Background(), endpoint, map[string][]json.RawMessage{mtg: {text}}, false); err != nil {
			t.Fatal(err)
		}
		_ = d.update(func(q *queue, _ time.Time) { q.add(endpoint, mtg, readEvent(text)) })
	}
}

// seldom lets a site look around so seldom that days pass quickly.
func seldom(t *timing) { t.refresh = time.Minute }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// put commits events of one meeting for whk_crm.
func (s *site) put(mtg string, first, n int) {
	s.t.Helper()
	for seq := first; seq < first+n; seq++ {
		s.lay(mtg, joinedEvent(mtg, seq))
	}
}

// lay commits events of a meeting.
func (s *site) lay(mtg string, events ...json.RawMessage) {
	s.t.Helper()
	commit(s.t, s.d, "whk_crm", mtg, events...)
}

// requests returns what the receiver has seen so far.
func (s *site) requests() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.seen...)
}

// attempts returns the whole delivery log, or the dead letters, oldest first.
func (s *site) attempts(dead bool) []Attempt {
	s.t.Helper()
	time.Sleep(2 * flushInterval)
	var all []Attempt
	for cursor := ""; ; {
		page, next, err := s.registry.Attempts(context.Background(), "whk_crm", dead, cursor, 100)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, a := range page {
			all = append([]Attempt{a}, all...)
		}
		if cursor = next; cursor == "" {
			return all
		}
	}
}

// raw makes one event of a text.
func raw(text string) []json.RawMessage { return []json.RawMessage{json.RawMessage(text)} }
