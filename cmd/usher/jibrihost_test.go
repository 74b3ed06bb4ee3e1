package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher/storage"
	"usher/token"
)

const (
	recorderSecret = "a-secret-of-some-length"
	// hookTime tells a hook that leaves at once from one that waits for a usher who
	// hangs, for the 10 s of a call; a machine under load takes seconds to start it.
	hookTime = 8 * time.Second
	// handOverTime is the patience with a detached worker.
	handOverTime = 30 * time.Second
)

// jibriHost is a recorder's host: directories, and the real program as a hook.
type jibriHost struct {
	t                         *testing.T
	spool, recordings, target string
	config, secret            string
	sleep                     string // in the place of sleep(1), for the script
	env                       []string

	mu      sync.Mutex
	told    []storage.Report
	changed chan struct{}
	// hang, if not nil, keeps usher from answering until it is closed.
	hang   chan struct{}
	status func(storage.Report) int // nil: 200
	server *httptest.Server
}

func newJibriHost(t *testing.T, how string) *jibriHost {
	base := t.TempDir()
	h := &jibriHost{
		t: t, spool: filepath.Join(base, "spool"), recordings: filepath.Join(base, "recordings"), target: filepath.Join(base, "target"),
		config: filepath.Join(base, "finalize.json"), secret: recorderSecret, changed: make(chan struct{}, 1),
		env: []string{
			// The race detector would have each process wait a second before it ends.
			beUsher(), "PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0",
			"USHER_RECORDER_SECRET=" + recorderSecret, // the last one: a test takes it away
		},
	}
	for _, dir := range []string{h.recordings, h.target} {
		must(t, os.Mkdir(dir, 0o700))
	}
	h.server = httptest.NewServer(h)
	t.Cleanup(h.server.Close)
	t.Cleanup(func() { h.kill() })
	h.configure(map[string]any{
		"url": h.server.URL, "recorder": "jibri-1", "spool_dir": h.spool, "recordings_dir": h.recordings,
		"handover": how, "target_dir": h.target,
	})
	return h
}

func (h *jibriHost) configure(settings map[string]any) {
	text, err := json.Marshal(settings)
	must(h.t, err)
	must(h.t, os.WriteFile(h.config, text, 0o600))
}

// set changes one setting of the file.
func (h *jibriHost) set(name, value string) {
	text, err := os.ReadFile(h.config)
	must(h.t, err)
	var settings map[string]any
	must(h.t, json.Unmarshal(text, &settings))
	settings[name] = value
	h.configure(settings)
}

// ServeHTTP is usher.
func (h *jibriHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	hang := h.hang
	h.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			return
		}
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = token.VerifyCallback(h.secret, r.Header.Get(token.CallbackRecorder),
			r.Header.Get(token.CallbackTimestamp), r.Header.Get(token.CallbackSignature), body, time.Now())
	}
	if err != nil {
		problem(w, http.StatusUnauthorized, "recorder_signature")
		return
	}
	var what storage.Report
	must(h.t, json.Unmarshal(body, &what))
	if what.Phase == storage.PhaseCheck {
		_ = json.NewEncoder(w).Encode(storage.Answer{Usher: "v1"})
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.status != nil {
		if status := h.status(what); status != http.StatusOK {
			problem(w, status, "no")
			return
		}
	}
	h.told = append(h.told, what)
	select {
	case h.changed <- struct{}{}:
	default:
	}
	if what.Phase == storage.PhaseClosed {
		_ = json.NewEncoder(w).Encode(storage.Answer{
			RecordingID: "rec_1", MeetingID: "mtg_1", Room: what.JibriSession, StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// problem answers with an error of usher's.
func problem(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"code":%q}`, code)
}

// record makes a session directory with one file.
func (h *jibriHost) record(session string, content string) string {
	dir := filepath.Join(h.recordings, session)
	must(h.t, os.MkdirAll(dir, 0o700))
	must(h.t, os.WriteFile(filepath.Join(dir, "a.mp4"), []byte(content), 0o600))
	return dir
}

// finalize runs the hook as Jibri does, and waits until everything it was given
// is closed.
func (h *jibriHost) finalize(args ...string) (output string, took time.Duration, err error) {
	h.t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"finalize", "--config", h.config}, args...)...)
	cmd.Env = h.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	inherited, given, err := os.Pipe() // something that whoever called left open
	must(h.t, err)
	defer inherited.Close()
	cmd.ExtraFiles = []*os.File{given}
	start := time.Now()
	err = cmd.Start()
	given.Close()
	must(h.t, err)
	err = cmd.Wait() // which reads until stdout and stderr are closed
	_, err2 := io.ReadAll(inherited)
	must(h.t, err2)
	return out.String(), time.Since(start), err
}

// hook runs the hook, which must answer in time.
func (h *jibriHost) hook(args ...string) {
	h.t.Helper()
	out, took, err := h.finalize(args...)
	if err != nil || out != "" || took > hookTime {
		h.t.Fatalf("finalize %q: %v after %v: %s", args, err, took, out)
	}
}

// until waits for usher to have been told something.
func (h *jibriHost) until(what string, ok func(told []storage.Report) bool) {
	h.t.Helper()
	giveUp := time.After(handOverTime)
	for {
		h.mu.Lock()
		told := slices.Clone(h.told)
		h.mu.Unlock()
		if ok(told) {
			return
		}
		select {
		case <-h.changed:
		case <-giveUp:
			log, _ := os.ReadFile(filepath.Join(h.spool, "finalize.log"))
			h.t.Fatalf("not within %v: %s; usher was told %+v\n%s", handOverTime, what, told, log)
		}
	}
}

// stored waits for the files of sessions to be handed over.
func (h *jibriHost) stored(sessions ...string) {
	h.t.Helper()
	h.until(fmt.Sprint("stored ", sessions), func(told []storage.Report) bool {
		return !slices.ContainsFunc(sessions, func(s string) bool {
			return !slices.ContainsFunc(told, func(w storage.Report) bool {
				return w.JibriSession == s && w.Phase == storage.PhaseStored && len(w.Files) == 1
			})
		})
	})
}

// workers returns the detached processes of this host.
func (h *jibriHost) workers() (pids []int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, line := range lines {
		args, err := os.ReadFile(line)
		if err == nil && bytes.Contains(args, []byte("\x00--worker\x00--spool-dir="+h.spool+"\x00")) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(line)))
			must(h.t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// kill ends the workers as kill -9 does, waits until they are gone, and reports
// whether there was one.
func (h *jibriHost) kill() (killed bool) {
	h.await("no worker is left", func() bool {
		left := h.workers()
		for _, pid := range left {
			killed = true
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone by now
		}
		return len(left) == 0
	})
	return killed
}

func (h *jibriHost) await(what string, ok func() bool) {
	h.t.Helper()
	giveUp := time.After(handOverTime)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-giveUp:
			h.t.Fatalf("not within %v: %s", handOverTime, what)
		}
	}
}

// noted returns how many directories are still to be worked off.
func (h *jibriHost) noted() int { return pendingJobs(h.t, h.spool) }

// pendingJobs returns how many jobs of a spool are still to be done.
func pendingJobs(t *testing.T, spool string) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(spool, "*", "job.json"))
	must(t, err)
	n := 0
	for _, path := range found {
		text, err := os.ReadFile(path)
		must(t, err)
		var job struct{ State string }
		must(t, json.Unmarshal(text, &job))
		if job.State == "pending" {
			n++
		}
	}
	return n
}
