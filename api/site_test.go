package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/internal/memorystore"
	"usher/meeting"
	"usher/meeting/service"
	"usher/meeting/tracker"
	"usher/store"
	"usher/token"
	"usher/webhook"
)

// faultyStore is a store that fails as long as a test says so.
type faultyStore struct {
	*memorystore.Memory
	mu    sync.Mutex
	err   error  // answers everything while set
	spoil string // place of an event that cannot be read
}

var (
	_ tracker.Store = (*faultyStore)(nil)
	_ wholeStore    = (*faultyStore)(nil)
	_ wholeStore    = (*store.Redis)(nil)
)

// wholeStore is all that is asked of a store.
type wholeStore interface {
	service.Store
	Store
	webhook.Store
}

func newFaultyStore() *faultyStore { return &faultyStore{Memory: new(memorystore.Memory)} }

func (s *faultyStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *faultyStore) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *faultyStore) Commit(ctx context.Context, c meeting.Commit) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.Memory.Commit(ctx, c)
}

func (s *faultyStore) Load(ctx context.Context, id string) (meeting.Meeting, error) {
	m, err := s.Memory.Load(ctx, id)
	return m, cmp.Or(s.fault(), err)
}

func (s *faultyStore) List(ctx context.Context, f meeting.Filter, cursor string, limit int) ([]meeting.Meeting, string, error) {
	list, next, err := s.Memory.List(ctx, f, cursor, limit)
	return list, next, cmp.Or(s.fault(), err)
}

func (s *faultyStore) Session(ctx context.Context, id string) (meeting.Session, error) {
	session, err := s.Memory.Session(ctx, id)
	return session, cmp.Or(s.fault(), err)
}

func (s *faultyStore) Events(ctx context.Context, after string, limit int) ([]meeting.LogEntry, error) {
	entries, err := s.Memory.Events(ctx, after, limit)
	for i := range entries {
		if entries[i].ID == s.spoil {
			entries[i].Event = nil
		}
	}
	return entries, cmp.Or(s.fault(), err)
}

func (s *faultyStore) Follow(ctx context.Context, deliver func([]meeting.LogEntry) bool) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.Memory.Follow(ctx, deliver)
}

func (s *faultyStore) Link(ctx context.Context, meetingID, hash string) ([]byte, error) {
	link, err := s.Memory.Link(ctx, meetingID, hash)
	return link, cmp.Or(s.fault(), err)
}

func (s *faultyStore) Recording(ctx context.Context, id string) (meeting.Recording, error) {
	r, err := s.Memory.Recording(ctx, id)
	return r, cmp.Or(s.fault(), err)
}

func (s *faultyStore) RecordingOf(ctx context.Context, jibriSession string) (meeting.Recording, error) {
	r, err := s.Memory.RecordingOf(ctx, jibriSession)
	return r, cmp.Or(s.fault(), err)
}

func (s *faultyStore) Recordings(ctx context.Context, f meeting.RecordingFilter, cursor string, limit int) ([]meeting.Recording, string, error) {
	list, next, err := s.Memory.Recordings(ctx, f, cursor, limit)
	return list, next, cmp.Or(s.fault(), err)
}

func (s *faultyStore) APIKeys(ctx context.Context) (map[string][]byte, error) {
	keys, err := s.Memory.APIKeys(ctx)
	return keys, cmp.Or(s.fault(), err)
}

func (s *faultyStore) Claim(ctx context.Context, name string, value []byte, life time.Duration) ([]byte, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return s.Memory.Claim(ctx, name, value, life)
}

type noRooms struct{}

func (noRooms) Want(string, meeting.DesiredState) {}
func (noRooms) Resync(string)                     {}
func (noRooms) Evict(string, []meeting.Kick)      {}

const (
	testKey   = "key-0123456789abcdef"
	testToken = "reservation-0123456789"
)

// site is the handler under test with a real tracker behind it.
type site struct {
	t         testing.TB
	store     *faultyStore
	tracker   *tracker.Tracker
	handler   http.Handler
	svc       *service.Service
	registry  *webhook.Registry
	deliverer *webhook.Deliverer
	feed      *Feed
	metrics   *prometheus.Registry
	log       *lockedBuffer

	expected []string // rooms that Expect was called with
	kicked   []string // what Kick was called with
	kickErr  error
	stopFeed func() // and wait until it has ended
}

// newSite starts a tracker, which ends with the test.
func newSite(t testing.TB) *site {
	t.Helper()
	s := newStandby(t)
	s.run()
	return s
}

// run runs the tracker and the feed until the test ends.
func (s *site) run() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.tracker.Run(ctx, func() { close(ready) }) }()
	<-ready
	feeding, stop := context.WithCancel(ctx)
	fed := make(chan struct{})
	go func() { defer close(fed); _ = s.feed.Run(feeding) }()
	s.stopFeed = func() { stop(); <-fed }
	s.until(func() bool { s.feed.mu.Lock(); defer s.feed.mu.Unlock(); return s.feed.listeners != nil })
	s.t.Cleanup(func() {
		s.stopFeed()
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("tracker ended with %v", err)
		}
	})
}

// newStandby is a site whose tracker does not run.
func newStandby(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, store: newFaultyStore(), log: &lockedBuffer{}}
	s.feed = NewFeed(s.store, slog.New(slog.DiscardHandler))
	s.tracker = tracker.New(s.store, noRooms{}, tracker.Options{})
	s.serve(func(*testConfig) {})
	return s
}

// serve makes the handler anew, with a configuration that differs.
func (s *site) serve(change func(*testConfig)) {
	s.t.Helper()
	s.metrics = prometheus.NewRegistry()
	cfg := testConfig{
		Config: Config{
			Feed: s.feed, Recorders: noRecorders{},
			Keys: []string{"another-key-of-this-site", testKey}, ReservationToken: testToken,
			Expect:  func(room string) { s.expected = append(s.expected, room) },
			Log:     slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Metrics: s.metrics, Version: "test",
		},
		Leader: leader{s.tracker, s}, Store: s.store, Tokens: newIssuer(s.t),
	}
	change(&cfg)
	s.svc = service.New(service.Config{
		Leader: cfg.Leader, Store: cfg.Store, Files: cfg.Files, Tokens: cfg.Tokens, SealSecret: cfg.SealSecret,
		SiteURL: "https://meet.example.org", PublicURL: "https://usher.example.org/", Log: RequestLog(cfg.Log),
	})
	var err error
	s.registry, err = webhook.NewRegistry(webhook.Config{
		Store: cfg.Store, Dialects: map[string]webhook.Dialect{webhook.Jitsi: webhook.JitsiDialect()}, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Endpoints: []webhook.Endpoint{{Name: "crm", URL: "https://crm.example/", Secrets: []webhook.Secret{webhook.NewSecret()}}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.deliverer = webhook.NewDeliverer(s.registry)
	cfg.Service, cfg.Config.Store, cfg.Webhooks, cfg.Deliverer = s.svc, cfg.Store, s.registry, s.deliverer
	if s.handler, err = New(cfg.Config); err != nil {
		s.t.Fatal(err)
	}
}

// testConfig is what a test may want otherwise.
type testConfig struct {
	Config
	Leader     service.Leader
	Store      wholeStore
	Files      service.Files
	Tokens     *token.Issuer
	SealSecret string
}

// leader is the process under test.
type leader struct {
	*tracker.Tracker
	*site
}

// lockedBuffer takes the log of requests that run at the same time.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

// Kick notes who is to be put out.
func (s *site) Kick(_ context.Context, room string, nicks []string, reason string) error {
	s.kicked = append(s.kicked, fmt.Sprint(room, nicks, reason))
	return s.kickErr
}

type response struct {
	*httptest.ResponseRecorder
	t testing.TB
}

// do sends a request with the API key; "" sends no body.
func (s *site) do(method, target, body string) response {
	s.t.Helper()
	return s.send(method, target, body, "Bearer "+testKey, "application/json")
}

func (s *site) send(method, target, body, authorization, contentType string) response {
	s.t.Helper()
	return s.sendWith(method, target, body, http.Header{"Authorization": {authorization}, "Content-Type": {contentType}})
}

// sendWith sends a request with the API key and JSON, unless the headers say
// otherwise; an empty one is not sent.
func (s *site) sendWith(method, target, body string, headers http.Header) response {
	s.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+testKey)
	r.Header.Set("Content-Type", "application/json")
	for name, values := range headers {
		r.Header[name] = values
		if values[0] == "" {
			r.Header.Del(name)
		}
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return response{w, s.t}
}

// into checks the status and decodes the body.
func (r response) into(status int, v any) {
	r.t.Helper()
	if r.Code != status {
		r.t.Fatalf("status = %d, want %d: %s", r.Code, status, r.Body)
	}
	if err := json.Unmarshal(r.Body.Bytes(), v); err != nil {
		r.t.Fatalf("decode %s: %v", r.Body, err)
	}
}

// problem checks that the answer is a complete problem of the status.
func (r response) problem(status int) Problem {
	r.t.Helper()
	var p Problem
	r.into(status, &p)
	if got := r.Header().Get("Content-Type"); got != problemType {
		r.t.Errorf("Content-Type = %q, want %q", got, problemType)
	}
	id := r.Header().Get("X-Request-Id")
	if p.Status != status || p.Title == "" || p.Code == "" || p.RequestID != id || id == "" {
		r.t.Errorf("problem %+v is not complete (X-Request-Id %q)", p, id)
	}
	return p
}

// problemCode checks that the answer is a problem with the code.
func (r response) problemCode(status int, code string) {
	r.t.Helper()
	if p := r.problem(status); p.Code != code {
		r.t.Errorf("code = %q, want %q", p.Code, code)
	}
}

type (
	anyMap = map[string]any
	Link   = service.Link
)

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// until waits for something that is about to be.
func (s *site) until(what func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !what(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("it has not come to be")
		}
	}
}

// create makes a meeting and returns it.
func (s *site) create(body string) anyMap {
	s.t.Helper()
	var m anyMap
	s.do("POST", "/v1/meetings", body).into(http.StatusCreated, &m)
	return m
}

// human is somebody in a room.
func human(nick string) meeting.Occupant {
	return meeting.Occupant{Nick: nick, JID: nick + "@meet.jitsi/x", Kind: meeting.KindHuman, Role: meeting.RoleParticipant}
}

// observe lets the tracker see an input and waits until the store has it.
func (s *site) observe(room string, f meeting.Input) {
	s.t.Helper()
	before, _ := s.tracker.Room(room)
	s.tracker.Observe(room, time.Now(), f)
	for range 1000 {
		if m, _ := s.tracker.Room(room); m.Version > before.Version {
			return
		}
		time.Sleep(time.Millisecond)
	}
	s.t.Fatalf("nothing came of %#v", f)
}
