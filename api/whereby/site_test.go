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
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/api"
	"usher/api/whereby"
	"usher/internal/apitest"
	"usher/meeting"
	"usher/meeting/service"
	"usher/meeting/tracker"
	"usher/token"
	"usher/webhook"
)

const (
	testKey        = apitest.Key
	recorderSecret = "secret-of-recorder-j1"
)

type (
	anyMap = map[string]any
	Link   = service.Link
)

type wholeStore interface {
	service.Store
	api.Store
	webhook.Store
}

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
	store   *apitest.Store
	tracker *tracker.Tracker
	svc     *service.Service
	handler http.Handler
	routes  *http.ServeMux // of Whereby's API
	metrics *prometheus.Registry
	log     *apitest.Buffer
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
	Upstream     *whereby.Upstream
}

// newSite starts a tracker, which ends with the test.
func newSite(t testing.TB) *site {
	t.Helper()
	s := newStandby(t)
	apitest.Run(t, s.tracker)
	return s
}

// newStandby is a site whose tracker does not run.
func newStandby(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, store: apitest.NewStore(), log: &apitest.Buffer{}}
	s.tracker = tracker.New(s.store, apitest.NoRooms{}, tracker.Options{})
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
	cfg.Platforms = []api.Platform{whereby.New(whereby.Config{Service: s.svc, Destinations: cfg.Destinations, Lobby: cfg.Lobby, Upstream: cfg.Upstream})}
	s.routes = http.NewServeMux()
	for _, route := range cfg.Platforms[0].Routes {
		if route.Summary == "" {
			continue // not in the document
		}
		s.routes.HandleFunc(strings.Replace(route.Pattern, " ", " /whereby", 1), func(http.ResponseWriter, *http.Request) {})
	}
	if s.handler, err = api.New(cfg.Config); err != nil {
		s.t.Fatal(err)
	}
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
	headers := http.Header{"Authorization": {authorization}, "Content-Type": {contentType}}
	r := response{apitest.Send(s.handler, method, target, body, headers), s.t}
	s.matches(method, target, r)
	return r
}

// click opens a join link as a browser does.
func (s *site) click(url string) response {
	s.t.Helper()
	return s.send("GET", strings.TrimPrefix(url, "https://usher.example.org"), "", "", "")
}

// into checks the status and decodes the body.
func (r response) into(status int, v any) {
	r.t.Helper()
	apitest.Into(r.t, r.ResponseRecorder, status, v)
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
func (s *site) until(what func() bool) { s.t.Helper(); apitest.Until(s.t, what) }

// observe lets the tracker see an input and waits until the store has it.
func (s *site) observe(room string, f meeting.Input) {
	s.t.Helper()
	apitest.Observe(s.t, s.tracker, room, f)
}

var human, newIssuer, verify = apitest.Human, apitest.NewIssuer, apitest.Verify

var testFile = meeting.RecordingFile{
	Name: "a.mp4", Dir: "s1", Storage: meeting.StorageFile, Path: "standup-2026.mp4", Size: 10, SHA256: fmt.Sprintf("%064d", 7),
}
