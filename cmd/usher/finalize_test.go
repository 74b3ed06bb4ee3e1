package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher/internal/stack/stacktest"
	"usher/storage"
	"usher/token"
)

const (
	recorderSecret = "a-secret-of-some-length"
	// hookTime is how long a hook may keep Jibri waiting.
	hookTime = 2 * time.Second
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

// TestFinalizeAnswersAtOnce proves that Jibri does not wait for usher, even
// when usher says nothing at all, and that a detached process goes on.
func TestFinalizeAnswersAtOnce(t *testing.T) {
	stacktest.Needed(t)
	h := newJibriHost(t, "shared")
	h.hang = make(chan struct{})
	one, two := h.record("one", "1"), h.record("two", "2")
	h.hook(one)
	h.await("a worker", func() bool { return len(h.workers()) == 1 })
	pid := h.workers()[0]
	if sid, err := getsid(pid); err != nil || sid != pid {
		t.Errorf("the worker %d is in session %d, want its own (%v)", pid, sid, err)
	}
	h.hook(two) // while that one works
	if h.noted() != 2 {
		t.Errorf("%d noted, want 2", h.noted())
	}
	close(h.hang)
	h.stored("one", "two")
	h.await("the worker ends", func() bool { return len(h.workers()) == 0 })
	h.hook(one) // once more
	h.until("told again", func(told []storage.Report) bool { return len(told) >= 6 })
	h.await("all done", func() bool { return h.noted() == 0 })
}

// TestFinalizeWhileUsherIsDown proves that the call is made up for.
func TestFinalizeWhileUsherIsDown(t *testing.T) {
	stacktest.Needed(t)
	h := newJibriHost(t, "move")
	addr := h.server.Listener.Addr().String()
	h.server.Close()
	h.hook(h.record("one", "1"))
	h.await("a failed try", func() bool {
		log, _ := os.ReadFile(filepath.Join(h.spool, "finalize.log"))
		return strings.Contains(string(log), "connection refused")
	})
	ln, err := net.Listen("tcp", addr)
	must(t, err)
	h.server = &httptest.Server{Listener: ln, Config: &http.Server{Handler: h}}
	h.server.Start()
	t.Cleanup(h.server.Close)
	h.stored("one")
	log, err := os.ReadFile(filepath.Join(h.spool, "finalize.log"))
	must(t, err)
	if strings.Contains(string(log), recorderSecret) {
		t.Error("the log holds the secret")
	}
}

// TestFinalizeKilled proves that kill -9 of the worker at whatever instant loses
// nothing, stores nothing twice and leaves nothing half done.
func TestFinalizeKilled(t *testing.T) {
	stacktest.Needed(t)
	h := newJibriHost(t, "move")
	const sessions = 12
	// killWithin is the time after a worker was seen within which it is killed: a
	// directory takes it a second.
	const killWithin = 1300 * time.Millisecond
	var names []string
	killed := 0
	for i := range sessions {
		name := fmt.Sprintf("session%d", i)
		names = append(names, name)
		h.hook(h.record(name, strings.Repeat(name, 1000)))
		h.await("a worker, or nothing to do", func() bool { return len(h.workers()) > 0 || h.noted() == 0 })
		time.Sleep(rand.N(killWithin))
		if h.kill() {
			killed++
		}
	}
	h.hook("--resume")
	h.stored(names...)
	h.await("all done", func() bool { return h.noted() == 0 })
	if killed < sessions/4 {
		t.Errorf("killed %d times only", killed)
	}
	found, err := os.ReadDir(h.target)
	must(t, err)
	if len(found) != sessions {
		t.Errorf("%d files in the target, want %d: %v", len(found), sessions, found)
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(h.target, name+"-2026-01-02T03:04:05Z.mp4"))
		if err != nil || string(text) != strings.Repeat(name, 1000) {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
	}
}

// TestFinalizeWithWrongSettings proves that they are said, and that the
// directory is handed over once they are right: Jibri calls once.
func TestFinalizeWithWrongSettings(t *testing.T) {
	stacktest.Needed(t)
	for what, tt := range map[string]struct {
		spoil func(*jibriHost)
		want  string
	}{
		"a value": {func(h *jibriHost) {
			h.configure(map[string]any{"url": h.server.URL, "handover": "ftp", "spool_dir": h.spool})
		}, "handover must be"},
		"no secret":          {func(h *jibriHost) { h.env = h.env[:3] }, "recorder-secret is missing"},
		"no file of secrets": {func(h *jibriHost) { h.env = append(h.env[:3:3], "USHER_RECORDER_SECRET_FILE=/nowhere") }, "USHER_RECORDER_SECRET_FILE"},
		"a broken file": {func(h *jibriHost) {
			must(h.t, os.WriteFile(h.config, []byte(`{"spool_dir": "`+h.spool+`",}`), 0o600))
		}, "invalid character"},
		"no file": {func(h *jibriHost) {
			must(h.t, os.Remove(h.config))
			h.env = append(h.env, "USHER_SPOOL_DIR="+h.spool)
		}, "no such file"},
	} {
		t.Run(what, func(t *testing.T) {
			h := newJibriHost(t, "shared")
			text, err := os.ReadFile(h.config)
			must(t, err)
			env := slices.Clone(h.env)
			tt.spoil(h)
			out, took, err := h.finalize(h.record("one", "1"))
			if err == nil || !strings.Contains(out, tt.want) || !strings.Contains(out, h.spool) || took > hookTime {
				t.Errorf("%v after %v: %s; want %q", err, took, out, tt.want)
			}
			if strings.Contains(out, recorderSecret) {
				t.Errorf("the secret shows in %s", out)
			}
			if h.noted() != 1 {
				t.Errorf("%d noted, want the directory", h.noted())
			}
			must(t, os.WriteFile(h.config, text, 0o600))
			h.env = env
			h.hook("--resume")
			h.stored("one")
		})
	}
}

// TestFinalizeRefusesNames proves that nothing but a session directory is
// noted.
func TestFinalizeRefusesNames(t *testing.T) {
	h := newJibriHost(t, "shared")
	for _, args := range [][]string{{h.recordings + "/../etc"}, {h.recordings + "/a b"}, {"/"}, {}, {""}} {
		if out, _, err := h.finalize(args...); err == nil || out == "" {
			t.Errorf("finalize %q: %v %s", args, err, out)
		}
	}
	if h.noted() != 0 {
		t.Errorf("%d noted", h.noted())
	}
	h.hook("--resume") // nothing to do
	h.await("a worker without work ends", func() bool { return len(h.workers()) == 0 })
}

// TestFinalizeSettingsPutRight proves that the next call hands over with the
// settings as they are then, wherever they come from, also what was noted before.
func TestFinalizeSettingsPutRight(t *testing.T) {
	const wrong = "wrong-wrong-wrong-wrong"
	for what, tt := range map[string]struct {
		spoil, mend func(*jibriHost)
		args        []string // of the first call
	}{
		"in the file": {
			func(h *jibriHost) { h.env = h.env[:3]; h.set("recorder_secret", wrong) },
			func(h *jibriHost) { h.set("recorder_secret", recorderSecret) }, nil,
		},
		"in the environment": {
			func(h *jibriHost) { h.env = append(h.env[:3:3], "USHER_RECORDER_SECRET="+wrong) },
			func(h *jibriHost) { h.env = append(h.env[:3:3], "USHER_RECORDER_SECRET="+recorderSecret) }, nil,
		},
		"a flag":    {func(*jibriHost) {}, func(*jibriHost) {}, []string{"--recorder-secret=" + wrong}},
		"the URL":   {func(h *jibriHost) { h.set("url", "http://127.0.0.1:1") }, func(h *jibriHost) { h.set("url", h.server.URL) }, nil},
		"the place": {func(h *jibriHost) { h.set("target_dir", "/nowhere") }, func(h *jibriHost) { h.set("target_dir", h.target) }, nil},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := newJibriHost(t, "move")
			tt.spoil(h)
			h.hook(append(tt.args, h.record("one", "1"))...)
			h.await("a failed try", func() bool {
				log, _ := os.ReadFile(filepath.Join(h.spool, "finalize.log"))
				return bytes.Contains(log, []byte("will try again"))
			})
			if args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", h.workers()[0])); err != nil || bytes.Contains(args, []byte("wrong")) {
				t.Errorf("the worker's arguments show the secret: %q, %v", args, err)
			}
			tt.mend(h)
			h.hook(h.record("two", "2"))
			h.stored("one", "two")
			h.await("the workers end", func() bool { return len(h.workers()) == 0 })
			if h.noted() != 0 {
				t.Errorf("%d noted, want none", h.noted())
			}
		})
	}
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

func TestFinalizeCheck(t *testing.T) {
	h := newJibriHost(t, "move")
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) // 200 to all
	t.Cleanup(stranger.Close)
	if out, _, err := h.finalize("--check"); err != nil || !strings.Contains(out, "is usher v1 and takes what jibri-1 hands over") {
		t.Errorf("check: %v %s", err, out)
	}
	for flag, want := range map[string]string{
		"--recorder-secret=another-of-some-length": "recorder or recorder-secret: ",
		"--url=http://127.0.0.1:1":                 "url: ",
		"--url=" + stranger.URL:                    "url: ",
		"--target-dir=/nowhere":                    "target-dir: ",
		"--recordings-dir=/nowhere":                "recordings-dir: ",
		"--spool-dir=/proc/self":                   "spool-dir: ",
	} {
		if out, _, err := h.finalize("--check", flag); err == nil || !strings.Contains(out, want) {
			t.Errorf("check %s: %v %s, want %q", flag, err, out, want)
		}
	}
	if found, err := os.ReadDir(h.target); err != nil || len(found) != 0 || h.noted() != 0 {
		t.Errorf("left behind: %v, %v and %d jobs", found, err, h.noted())
	}
}

// getsid returns the session of a process: the sixth field of its stat, behind
// the name, which is in parentheses (proc_pid_stat(5)).
func getsid(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))[3])
}
