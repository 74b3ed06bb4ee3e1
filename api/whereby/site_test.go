package whereby_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/api"
	"usher/api/whereby"
	"usher/internal/memorystore"
	"usher/internal/tokentest"
	"usher/meeting"
	"usher/meeting/service"
	"usher/meeting/tracker"
	"usher/token"
	"usher/webhook"
)

const (
	testKey        = "key-0123456789abcdef"
	recorderSecret = "secret-of-recorder-j1"
)

type (
	anyMap = map[string]any
	Link   = service.Link
)

// faultyStore is a store that fails as long as a test says so.
type faultyStore struct {
	*memorystore.Memory
	mu  sync.Mutex
	err error
}

func (s *faultyStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *faultyStore) List(ctx context.Context, f meeting.Filter, cursor string, limit int) ([]meeting.Meeting, string, error) {
	list, next, err := s.Memory.List(ctx, f, cursor, limit)
	s.mu.Lock()
	defer s.mu.Unlock()
	return list, next, cmp.Or(s.err, err)
}

// panicky is a store with a bug.
type panicky struct{ wholeStore }

func (panicky) Load(context.Context, string) (meeting.Meeting, error) { panic("a bug") }

type wholeStore interface {
	service.Store
	api.Store
	webhook.Store
}

type noRooms struct{}

func (noRooms) Want(string, meeting.DesiredState) {}
func (noRooms) Resync(string)                     {}
func (noRooms) Evict(string, []meeting.Kick)      {}

// leader is the process under test. Nobody is kicked here.
type leader struct{ *tracker.Tracker }

func (leader) Kick(context.Context, string, []string, string) error { return nil }

// fakeFiles is a storage in memory.
type fakeFiles struct {
	content map[string]string
	err     error // answers everything while set
}

func (f *fakeFiles) Open(_ context.Context, file meeting.RecordingFile) (io.ReadSeekCloser, error) {
	if _, ok := f.content[file.Path]; !ok {
		return nil, cmp.Or(f.err, fs.ErrNotExist)
	}
	return nil, cmp.Or(f.err, errors.New("not read here"))
}

func (f *fakeFiles) Link(_ context.Context, file meeting.RecordingFile, valid time.Duration) (string, error) {
	return "https://files.example.org/" + file.Path + "?a=1&b=<2>&valid=" + valid.String(), f.err
}

func (f *fakeFiles) Remove(_ context.Context, file meeting.RecordingFile) error {
	if f.err == nil {
		delete(f.content, file.Path)
	}
	return f.err
}

// site is all of usher's HTTP side with a real tracker behind it.
type site struct {
	t       testing.TB
	store   *faultyStore
	tracker *tracker.Tracker
	svc     *service.Service
	handler http.Handler
	metrics *prometheus.Registry
	log     *lockedBuffer
}

// testConfig is what a test may want otherwise.
type testConfig struct {
	api.Config
	Store        wholeStore
	Files        service.Files
	Tokens       *token.Issuer
	SealSecret   string
	PublicURL    string
	Destinations bool
	Lobby        bool
}

// newSite starts a tracker, which ends with the test.
func newSite(t testing.TB) *site {
	t.Helper()
	s := newStandby(t)
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.tracker.Run(ctx, func() { close(ready) }) }()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("tracker ended with %v", err)
		}
	})
	return s
}

// newStandby is a site whose tracker does not run.
func newStandby(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, store: &faultyStore{Memory: new(memorystore.Memory)}, log: &lockedBuffer{}}
	s.tracker = tracker.New(s.store, noRooms{}, tracker.Options{})
	s.serve(func(*testConfig) {})
	return s
}

// serve makes the handler anew, with a configuration that differs.
func (s *site) serve(change func(*testConfig)) {
	s.t.Helper()
	s.metrics = prometheus.NewRegistry()
	cfg := testConfig{Store: s.store, Tokens: newIssuer(s.t), PublicURL: "https://usher.example.org/"}
	cfg.Keys, cfg.Metrics = []string{testKey}, s.metrics
	cfg.Expect = func(string) {}
	cfg.Log = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	change(&cfg)
	s.svc = service.New(service.Config{
		Leader: leader{s.tracker}, Store: cfg.Store, Files: cfg.Files, Tokens: cfg.Tokens, SealSecret: cfg.SealSecret,
		SiteURL: "https://meet.example.org", PublicURL: cfg.PublicURL, Log: api.RequestLog(cfg.Log),
	})
	registry, err := webhook.NewRegistry(webhook.Config{Store: cfg.Store})
	if err != nil {
		s.t.Fatal(err)
	}
	cfg.Service, cfg.Config.Store, cfg.Webhooks = s.svc, cfg.Store, registry
	cfg.Platforms = []api.Platform{whereby.New(whereby.Config{Service: s.svc, Destinations: cfg.Destinations, Lobby: cfg.Lobby})}
	if s.handler, err = api.New(cfg.Config); err != nil {
		s.t.Fatal(err)
	}
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

type response struct {
	*httptest.ResponseRecorder
	t testing.TB
}

// do sends a request with the API key.
func (s *site) do(method, target, body string) response {
	s.t.Helper()
	return s.as(testKey, method, target, body)
}

// as sends a request with another key.
func (s *site) as(key, method, target, body string) response {
	s.t.Helper()
	return s.send(method, target, body, "Bearer "+key, "application/json")
}

func (s *site) send(method, target, body, authorization, contentType string) response {
	s.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", authorization)
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return response{w, s.t}
}

// click opens a join link as a browser does.
func (s *site) click(url string) response {
	s.t.Helper()
	return s.send("GET", strings.TrimPrefix(url, "https://usher.example.org"), "", "", "")
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

// page checks that the answer is a page for people with these words.
func (r response) page(status int, words string) {
	r.t.Helper()
	if r.Code != status || !strings.Contains(r.Body.String(), words) {
		r.t.Errorf("page: %d %s, want %d and %q", r.Code, r.Body, status, words)
	}
}

// makeKey makes a key over the API.
func (s *site) makeKey(name, scopes string) (key api.APIKey) {
	s.t.Helper()
	s.do("POST", "/v1/api-keys", `{"name":"`+name+`","scopes":[`+scopes+`]}`).into(http.StatusCreated, &key)
	return key
}

// create makes a meeting over the native API and returns it.
func (s *site) create(body string) anyMap {
	s.t.Helper()
	var m anyMap
	s.do("POST", "/v1/meetings", body).into(http.StatusCreated, &m)
	return m
}

// handOver is a signed call of the recorder j1.
func (s *site) handOver(body any) response {
	s.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	timestamp, signature := token.SignCallback(recorderSecret, "j1", time.Now(), data)
	r := httptest.NewRequest("POST", "/internal/jibri/recordings", bytes.NewReader(data))
	r.Header.Set(token.CallbackRecorder, "j1")
	r.Header.Set(token.CallbackTimestamp, timestamp)
	r.Header.Set(token.CallbackSignature, signature)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return response{w, s.t}
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

// observe lets the tracker see an input and waits until the store has it.
func (s *site) observe(room string, f meeting.Input) {
	s.t.Helper()
	before, _ := s.tracker.Room(room)
	s.tracker.Observe(room, time.Now(), f)
	s.until(func() bool { m, _ := s.tracker.Room(room); return m.Version > before.Version })
}

// human is somebody in a room.
func human(nick string) meeting.Occupant {
	return meeting.Occupant{Nick: nick, JID: nick + "@meet.jitsi/x", Kind: meeting.KindHuman, Role: meeting.RoleParticipant}
}

// tokenSite is what the tokens of tests have in common.
var tokenSite = token.Site{AppID: "app", Audience: "jitsi", Domain: "meet.jitsi"}

func tokenKey(t testing.TB) *token.Key {
	t.Helper()
	key, err := token.SecretKey("a-secret-of-at-least-32-characters")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newIssuer(t testing.TB) *token.Issuer {
	t.Helper()
	issuer, err := token.NewIssuer(tokenSite, tokenKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// verify returns what a token says if it opens the room at the time now.
func verify(t testing.TB, now time.Time, text, room string) (token.Claims, error) {
	t.Helper()
	return tokentest.Verify(now, text, token.Expect{Site: tokenSite, Key: tokenKey(t), Room: room})
}

var testFile = meeting.RecordingFile{
	Name: "a.mp4", Dir: "s1", Storage: meeting.StorageFile, Path: "standup-2026.mp4", Size: 10, SHA256: fmt.Sprintf("%064d", 7),
}
