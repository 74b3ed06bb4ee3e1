package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"usher/internal/apitest"
	"usher/meeting"
	"usher/meeting/service"
	"usher/meeting/tracker"
	"usher/store"
	"usher/token"
	"usher/webhook"
)

var (
	_ tracker.Store = (*apitest.Store)(nil)
	_ wholeStore    = (*apitest.Store)(nil)
	_ wholeStore    = (*store.Redis)(nil)
)

// wholeStore is all that is asked of a store.
type wholeStore interface {
	service.Store
	Store
	webhook.Store
}

const (
	testKey   = apitest.Key
	testToken = "reservation-0123456789"
)

// site is the handler under test with a real tracker behind it.
type site struct {
	t         testing.TB
	store     *apitest.Store
	tracker   *tracker.Tracker
	handler   http.Handler
	svc       *service.Service
	registry  *webhook.Registry
	deliverer *webhook.Deliverer
	feed      *Feed
	metrics   *prometheus.Registry
	log       *apitest.Buffer

	refused   []SitePart        // who came with a wrong secret
	expected  []string          // rooms that Expect was called with
	breakouts map[string]string // main rooms, by the name of a breakout room
	kicked    []string          // what Kick was called with
	kickErr   error
	stopFeed  func() // and wait until it has ended
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
	apitest.Run(s.t, s.tracker)
	feeding, stop := context.WithCancel(context.Background())
	fed := make(chan struct{})
	go func() { defer close(fed); _ = s.feed.Run(feeding) }()
	s.stopFeed = func() { stop(); <-fed }
	s.until(func() bool { s.feed.mu.Lock(); defer s.feed.mu.Unlock(); return s.feed.listeners != nil })
	s.t.Cleanup(func() { s.stopFeed() })
}

// newStandby is a site whose tracker does not run.
func newStandby(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, store: apitest.NewStore(), log: &apitest.Buffer{}}
	s.feed = NewFeed(s.store, slog.New(slog.DiscardHandler))
	s.tracker = tracker.New(s.store, apitest.NoRooms{}, tracker.Options{})
	s.serve(func(*testConfig) {})
	return s
}

// serve makes the handler anew, with a configuration that differs.
func (s *site) serve(change func(*testConfig)) {
	s.t.Helper()
	s.metrics = prometheus.NewRegistry()
	cfg := testConfig{
		Config: Config{
			Feed: s.feed, Recorders: noRecorders{}, Speakers: adaSpeaks{},
			Keys: []string{"another-key-of-this-site", testKey}, ReservationToken: testToken,
			Refused:  func(p SitePart) { s.refused = append(s.refused, p) },
			Expect:   func(room string) { s.expected = append(s.expected, room) },
			MainRoom: func(breakout string) (string, bool) { room, ok := s.breakouts[breakout]; return room, ok },
			Log:      slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Metrics:  s.metrics, Version: "test",
		},
		Leader: leader{s.tracker, s}, Store: s.store, Tokens: apitest.NewIssuer(s.t),
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
	return response{apitest.Send(s.handler, method, target, body, headers), s.t}
}

// into checks the status and decodes the body.
func (r response) into(status int, v any) {
	r.t.Helper()
	apitest.Into(r.t, r.ResponseRecorder, status, v)
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
func (s *site) until(what func() bool) { s.t.Helper(); apitest.Until(s.t, what) }

// create makes a meeting and returns it.
func (s *site) create(body string) anyMap {
	s.t.Helper()
	var m anyMap
	s.do("POST", "/v1/meetings", body).into(http.StatusCreated, &m)
	return m
}

var human, verify = apitest.Human, apitest.Verify

// observe lets the tracker see an input and waits until the store has it.
func (s *site) observe(room string, f meeting.Input) {
	s.t.Helper()
	apitest.Observe(s.t, s.tracker, room, f)
}
