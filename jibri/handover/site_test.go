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

	"usher/meeting"
	"usher/token"
)

const (
	recorder = "jibri-1"
	secret   = "a-secret-of-some-length"
	pictures = "moving pictures"
)

var startedAt = time.Date(2026, 1, 2, 4, 4, 5, 600e6, time.FixedZone("", 3600))

// site is a recorder's host, with a stand-in for usher at the other end.
type site struct {
	t          *testing.T
	cfg        Settings
	spool      *Spool
	log        strings.Builder
	recordings string
	target     string
	answer     meeting.HandOverAnswer
	// status is what usher answers a phase with; 200 if nil, no connection if 0.
	status func(meeting.HandOver) int

	mu    sync.Mutex
	calls []meeting.HandOver // that usher took
	tries int
}

func newSite(t *testing.T, how string) *site {
	t.Helper()
	base := t.TempDir()
	s := &site{t: t, recordings: filepath.Join(base, "recordings"), target: filepath.Join(base, "target")}
	s.cfg = Settings{
		URL: "http://usher.test", Recorder: recorder, RecorderSecret: secret,
		SpoolDir: filepath.Join(base, "spool"), RecordingsDir: s.recordings, HandOver: how, TargetDir: s.target,
	}
	s.answer = meeting.HandOverAnswer{RecordingID: "rec_1", MeetingID: "mtg_1", Room: "standup", StartedAt: startedAt}
	must(t, s.cfg.Check())
	for _, dir := range []string{s.recordings, s.target} {
		must(t, os.Mkdir(dir, 0o700))
	}
	var err error
	s.spool, err = OpenSpool(s.cfg.SpoolDir)
	must(t, err)
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

func (s *site) worker() *Worker {
	return NewWorker(s.spool, s.cfg, slog.New(slog.NewTextHandler(&s.log, nil)), s)
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
	h := r.Header
	err = token.VerifyCallback(secret, h.Get(token.CallbackRecorder), h.Get(token.CallbackTimestamp), h.Get(token.CallbackSignature), body, time.Now())
	if err != nil || r.Method != http.MethodPost || r.URL.String() != "http://usher.test/internal/jibri/recordings" || h.Get(token.CallbackRecorder) != recorder {
		s.t.Errorf("%s %s by %q: %v", r.Method, r.URL, h.Get(token.CallbackRecorder), err)
	}
	var what meeting.HandOver
	if err := json.Unmarshal(body, &what); err != nil {
		s.t.Errorf("%s: %v", body, err)
	}
	status := http.StatusOK
	if s.status != nil {
		status = s.status(what)
	}
	w := httptest.NewRecorder()
	switch {
	case status == 0:
		return nil, errors.New("connection refused")
	case status != http.StatusOK:
		w.WriteHeader(status)
		_, _ = w.WriteString("no\n")
	default:
		s.calls = append(s.calls, what)
		if what.Phase == meeting.HandOverClosed {
			_ = json.NewEncoder(w).Encode(s.answer)
		}
	}
	return w.Result(), nil
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
func (s *site) last() meeting.HandOver {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) == 0 {
		s.t.Fatal("usher was told nothing")
	}
	return s.calls[len(s.calls)-1]
}

// entries checks how many entries a folder of the spool has.
func (s *site) entries(folder string, want int) {
	s.t.Helper()
	names, err := s.spool.names(folder)
	must(s.t, err)
	if len(names) != want {
		s.t.Errorf("%s has %q, want %d\n%s", folder, names, want, s.log.String())
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
