package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher/internal/stack/stacktest"
	"usher/meeting"
	"usher/storage"
)

// scriptTools is what finalize.sh may use besides curl or wget.
var scriptTools = []string{
	"sh", "openssl", "cat", "date", "od", "cut", "sed", "tail", "wc", "mktemp", "cmp", "mv", "rm", "sleep", "dirname", "uname", "awk", "setsid",
}

// script runs prosody-config/finalize.sh with those tools alone, and waits until
// everything it was given is closed.
func (h *jibriHost) script(client string, env []string, args ...string) (output string, took time.Duration, err error) {
	h.t.Helper()
	bin := h.t.TempDir()
	for _, tool := range append(scriptTools, client) {
		path, err := exec.LookPath(tool)
		must(h.t, err) // make test installs what is not there
		if tool == "sleep" && h.sleep != "" {
			path = h.sleep
		}
		must(h.t, os.Symlink(path, filepath.Join(bin, tool)))
	}
	path, err := filepath.Abs("../../prosody-config/finalize.sh")
	must(h.t, err)
	cmd := exec.Command("/bin/sh", append([]string{path}, args...)...)
	cmd.Env = append([]string{
		"PATH=" + bin, "TMPDIR=" + h.t.TempDir(), "USHER_URL=" + h.server.URL + "/", "USHER_RECORDER=jibri-1",
		"USHER_RECORDER_SECRET=" + recorderSecret, "USHER_FINALIZE_LOG=" + h.scriptLog(),
	}, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	err = cmd.Run()
	return out.String(), time.Since(start), err
}

func (h *jibriHost) scriptLog() string { return filepath.Join(h.target, "script.log") }

func (h *jibriHost) readScriptLog() string {
	text, _ := os.ReadFile(h.scriptLog()) // not there yet
	return string(text)
}

// begun finds the processes of scripts in the log; each leads a group.
var begun = regexp.MustCompile(`begun by process (\d+)`)

// endScripts ends those that a failed test would leave behind, for a day.
func (h *jibriHost) endScripts() {
	for _, m := range begun.FindAllStringSubmatch(h.readScriptLog(), -1) {
		if pid, err := strconv.Atoi(m[1]); err == nil && h.t.Failed() {
			_ = syscall.Kill(-pid, syscall.SIGTERM)
		}
	}
}

// TestFinalizeScript proves that the script hands over as usher finalize does
// where files are shared, with either program for HTTP, and does not keep Jibri
// waiting.
func TestFinalizeScript(t *testing.T) {
	stacktest.Needed(t)
	for _, client := range []string{"curl", "wget"} {
		t.Run(client, func(t *testing.T) {
			h := newJibriHost(t, "shared")
			t.Cleanup(h.endScripts)
			const odd = `a "quoted" $(touch x) \ 'name'; été.mp4`
			dir := h.record("one", "first")
			must(t, os.WriteFile(filepath.Join(dir, odd), []byte("second one"), 0o600))
			must(t, os.WriteFile(filepath.Join(dir, "empty.mp4"), nil, 0o600))
			must(t, os.WriteFile(filepath.Join(dir, "line\nfeed.mp4"), []byte("x"), 0o600))
			must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link.mp4")))
			tries := 0
			h.status = func(storage.Report) int { // each call is made twice
				if tries++; tries%2 == 1 {
					return http.StatusServiceUnavailable
				}
				return http.StatusOK
			}
			h.hang = make(chan struct{})
			out, took, err := h.script(client, nil, dir)
			if err != nil || out != "" || took > hookTime {
				t.Fatalf("%v after %v: %s", err, took, out)
			}
			close(h.hang)
			h.until("closed and stored", func(told []storage.Report) bool { return len(told) == 2 })
			if closed := h.told[0]; closed.Phase != storage.PhaseClosed || closed.JibriSession != "one" {
				t.Errorf("told %+v", closed)
			}
			stored := h.told[1]
			if stored.Phase != storage.PhaseStored || len(stored.Files) != 2 {
				t.Fatalf("told %+v", stored)
			}
			got := stored.Files[slices.IndexFunc(stored.Files, func(f meeting.RecordingFile) bool { return f.Name == odd })]
			want := meeting.RecordingFile{
				Name: odd, Dir: "one", Storage: meeting.StorageFile, Path: "one/" + odd, Size: int64(len("second one")),
				SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte("second one"))), Recorder: "jibri-1", StoredAt: got.StoredAt,
			}
			if got != want || time.Since(got.StoredAt).Abs() > time.Minute {
				t.Errorf("file = %+v, want %+v", got, want)
			}
			h.await("the script says so", func() bool { return strings.Contains(h.readScriptLog(), "handed over") })
			if log := h.readScriptLog(); strings.Contains(log, recorderSecret) || !strings.Contains(log, "status 503, will try again") {
				t.Errorf("log = %s", log)
			}
		})
	}
}

// TestFinalizeScriptWaits proves that a file may grow for as long as with the
// program, that a directory without one is given up sooner, and that the log is
// beside the directory, not where others may write. Nobody really sleeps.
func TestFinalizeScriptWaits(t *testing.T) {
	for what, tt := range map[string]struct {
		sleep string // a look's
		want  storage.Phase
	}{
		"a file that grows": {`n=$(wc -l <"$dir/a.mp4"); [ "$n" -ge 200 ] || echo more >>"$dir/a.mp4"`, storage.PhaseStored},
		"no file":           {`: >"$dir/a.mp4"`, storage.PhaseLost},
	} {
		t.Run(what, func(t *testing.T) {
			h := newJibriHost(t, "shared")
			h.sleep = filepath.Join(t.TempDir(), "sleep")
			dir := h.record("one", "1\n")
			must(t, os.WriteFile(h.sleep, []byte("#!/bin/sh\ndir="+dir+"\n"+tt.sleep+"\n"), 0o700))
			if out, _, err := h.script("curl", []string{"USHER_FINALIZE_LOG="}, dir); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			h.until("closed and "+string(tt.want), func(told []storage.Report) bool { return len(told) == 2 })
			if got := h.told[1].Phase; got != tt.want {
				t.Errorf("usher was told %s, want %s", got, tt.want)
			}
			if log, err := os.ReadFile(filepath.Join(h.recordings, "usher-finalize.log")); err != nil || len(log) == 0 {
				t.Errorf("the log is %q, %v", log, err)
			}
		})
	}
}

// TestFinalizeScriptWithoutLog proves that a recording is handed over also where
// no log can be written.
func TestFinalizeScriptWithoutLog(t *testing.T) {
	h := newJibriHost(t, "shared")
	if out, _, err := h.script("curl", []string{"USHER_FINALIZE_LOG=/nowhere/log"}, h.record("one", "1")); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.stored("one")
}

// TestFinalizeScriptSigns has keys that are hard to make a signature with in a
// shell; it ends with a refusal, which is final.
func TestFinalizeScriptSigns(t *testing.T) {
	stacktest.Needed(t)
	for what, secret := range map[string]string{
		"bytes that cancel out": `6666\\\\6666\\\\%s%d$(x)"'`,
		"a block exactly":       strings.Repeat("k", 64),
		"more than a block":     strings.Repeat("key", 50),
	} {
		t.Run(what, func(t *testing.T) {
			h := newJibriHost(t, "shared")
			t.Cleanup(h.endScripts)
			h.secret = secret
			var got []storage.Phase
			h.status = func(w storage.Report) int {
				got = append(got, w.Phase)
				return http.StatusGone
			}
			file := filepath.Join(t.TempDir(), "secret")
			must(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
			if out, _, err := h.script("curl", []string{"USHER_RECORDER_SECRET=", "USHER_RECORDER_SECRET_FILE=" + file}, h.record("one", "1")); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			h.await("the refusal", func() bool { return strings.Contains(h.readScriptLog(), "usher does not want it: status 410") })
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(got) != 1 || got[0] != storage.PhaseClosed {
				t.Errorf("usher got %q", got)
			}
		})
	}
}

func TestFinalizeScriptRefuses(t *testing.T) {
	h := newJibriHost(t, "shared")
	t.Cleanup(h.endScripts)
	for what, tt := range map[string]struct {
		env, args []string
		want      string
	}{
		"no directory":    {nil, nil, "needs a session directory"},
		"two":             {nil, []string{"/a", "/b"}, "needs a session directory"},
		"dots":            {nil, []string{"/srv/.."}, "no session directory"},
		"a quote":         {nil, []string{`/srv/a"b`}, "no session directory"},
		"a line feed":     {nil, []string{"/srv/a\nb"}, "no session directory"},
		"root":            {nil, []string{"/"}, "no session directory"},
		"no secret":       {[]string{"USHER_RECORDER_SECRET="}, []string{"/srv/abc"}, "USHER_RECORDER_SECRET is missing"},
		"no url":          {[]string{"USHER_URL="}, []string{"/srv/abc"}, "USHER_URL is missing"},
		"recorder's name": {[]string{"USHER_RECORDER=a\nb"}, []string{"/srv/abc"}, "USHER_RECORDER may have"},
	} {
		if out, _, err := h.script("curl", tt.env, tt.args...); err == nil || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v %s; want %q", what, err, out, tt.want)
		}
	}
	if log := h.readScriptLog(); log != "" {
		t.Errorf("begun: %s", log)
	}
}
