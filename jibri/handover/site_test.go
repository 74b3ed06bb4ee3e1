package handover

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/storage"
	"usher/token"
)

const (
	recorder = "jibri-1"
	secret   = "a-secret-of-some-length"
	pictures = "moving pictures"

	siteLookInterval = 10 * time.Minute
)

var startedAt = time.Date(2026, 1, 2, 4, 4, 5, 600e6, time.FixedZone("", 3600))

// site is a recorder's host, with a stand-in for usher at the other end.
type site struct {
	t          *testing.T
	cfg        Settings
	spool      *Spool
	log        logText
	logger     *slog.Logger
	recordings string
	target     string
	answer     storage.Answer
	// status is what usher answers a phase with; 200 if nil, no connection if 0.
	status       func(storage.Report) int
	growInterval time.Duration

	mu    sync.Mutex
	calls []storage.Report // that usher took
	tries int
}

func newSite(t *testing.T, how string) *site {
	t.Helper()
	base := t.TempDir()
	s := &site{t: t, recordings: filepath.Join(base, "recordings"), target: filepath.Join(base, "target"), growInterval: growInterval}
	s.cfg = Settings{
		URL: "http://usher.test", Recorder: recorder, RecorderSecret: secret,
		SpoolDir: filepath.Join(base, "spool"), RecordingsDir: s.recordings, HandOver: how, TargetDir: s.target,
	}
	s.answer = storage.Answer{RecordingID: "rec_1", MeetingID: "mtg_1", Room: "standup", StartedAt: startedAt}
	must(t, s.cfg.Check())
	for _, dir := range []string{s.recordings, s.target} {
		must(t, os.Mkdir(dir, 0o700))
	}
	var err error
	s.spool, err = OpenSpool(s.cfg.SpoolDir)
	must(t, err)
	s.logger = slog.New(slog.NewTextHandler(&s.log, nil))
	return s
}

// record makes a session directory with files, given as name and content in
// turn, and returns its path.
func (s *site) record(session string, files ...string) string {
	s.t.Helper()
	dir := filepath.Join(s.recordings, session)
	must(s.t, os.MkdirAll(dir, 0o700))
	for i := 0; i < len(files); i += 2 {
		must(s.t, os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600))
	}
	return dir
}

// hook does what the hook does for each directory.
func (s *site) hook(dirs ...string) {
	s.t.Helper()
	for _, dir := range dirs {
		must(s.t, s.spool.Add(dir))
	}
}

// worker returns one that looks at the spool more rarely than in earnest: time
// is virtual, its looks are not.
func (s *site) worker() *Worker {
	w := NewWorker(s.spool, s.settings, s.logger, s)
	w.lookInterval, w.growInterval = siteLookInterval, s.growInterval
	return w
}

// settings are those of the site as they are now.
func (s *site) settings() (Settings, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg, s.cfg.Check()
}

// change changes the settings.
func (s *site) change(change func(*Settings)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.cfg)
}

// work runs a worker until nothing is left to do.
func (s *site) work() {
	s.t.Helper()
	must(s.t, s.worker().Run(s.t.Context()))
}

// RoundTrip is usher.
func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	if r.URL.Host != "usher.test" {
		return nil, errors.New("no such host")
	}
	h := r.Header
	if s.cfg.RecorderSecret != secret { // a test has it wrong
		return problem(http.StatusUnauthorized), nil
	}
	err = token.VerifyCallback(secret, h.Get(token.CallbackRecorder), h.Get(token.CallbackTimestamp), h.Get(token.CallbackSignature), body, time.Now())
	if err != nil || r.Method != http.MethodPost || r.URL.String() != "http://usher.test/internal/jibri/recordings" || h.Get(token.CallbackRecorder) != recorder {
		s.t.Errorf("%s %s by %q: %v", r.Method, r.URL, h.Get(token.CallbackRecorder), err)
	}
	var what storage.Report
	if err := json.Unmarshal(body, &what); err != nil {
		s.t.Errorf("%s: %v", body, err)
	}
	status := http.StatusOK
	if s.status != nil {
		status = s.status(what)
	}
	switch {
	case status == 0:
		return nil, errors.New("connection refused")
	case status >= 400:
		return problem(status), nil
	case status != http.StatusOK:
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}, nil
	}
	s.calls = append(s.calls, what)
	w := httptest.NewRecorder()
	if what.Phase == storage.PhaseClosed {
		_ = json.NewEncoder(w).Encode(s.answer)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
	return w.Result(), nil
}

// problem is an error of usher's.
func problem(status int) *http.Response {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.WriteString(`{"code":"no","detail":"no"}`)
	return w.Result()
}

// told are the phases that usher took.
func (s *site) told(want string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []string
	for _, c := range s.calls {
		got = append(got, c.JibriSession+" "+string(c.Phase))
	}
	if strings.Join(got, ", ") != want {
		s.t.Errorf("usher was told %q, want %q\n%s", got, want, s.log.String())
	}
}

// last returns what usher was told last.
func (s *site) last() storage.Report {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) == 0 {
		s.t.Fatal("usher was told nothing")
	}
	return s.calls[len(s.calls)-1]
}

// jobs checks how many jobs of the spool stand like that.
func (s *site) jobs(how state, want int) {
	s.t.Helper()
	jobs, err := s.spool.jobs()
	must(s.t, err)
	got := 0
	for _, j := range jobs {
		if j.State == how {
			got++
		}
	}
	if got != want {
		s.t.Errorf("%d jobs are %s, want %d: %+v\n%s", got, how, want, jobs, s.log.String())
	}
}

// files lists a directory, hidden files included.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func has(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Errorf("%s has %q, want %q", dir, got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logText is a log that a test may read while it is written.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
