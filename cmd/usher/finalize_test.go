package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"usher/internal/stack/stacktest"
	"usher/storage"
)

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
