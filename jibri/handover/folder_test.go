package handover

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"usher/storage"
)

func TestSessionDirectories(t *testing.T) {
	s := newSite(t, Shared)
	outside := filepath.Join(s.target, "abc")
	must(t, os.MkdirAll(outside, 0o700))
	s.record("abc", "a.mp4", pictures)
	s.record("abc/inner", "a.mp4", pictures)
	other := filepath.Join(filepath.Dir(s.recordings), "other-name")
	must(t, os.Symlink(s.recordings, other))
	for _, tt := range []struct {
		dir string
		ok  bool
	}{
		{s.recordings + "/abc", true},
		{s.recordings + "//abc/", true},
		{other + "/abc", true},
		{outside, false},
		{s.recordings, false},
		{s.recordings + "/abc/inner", false},
		{s.recordings + "/../recordings/abc", false},
		{s.recordings + "/abc/..", false},
		{s.recordings + "/abc\x00", false},
		{s.recordings + "/abc def", false},
		{s.recordings + "/abc\n", false},
		{s.recordings + "/.abc", false},
		{s.recordings + "/" + strings.Repeat("a", 129), false},
		{"/", false}, {".", false}, {"", false},
	} {
		f, err := openFolder(tt.dir, s.recordings)
		if (err == nil) != tt.ok {
			t.Errorf("%q: %v, want ok %v", tt.dir, err, tt.ok)
		}
		if err == nil {
			f.Close()
		}
	}
	for _, dir := range []string{s.recordings + "/../abc", s.recordings + "/a\x00", s.recordings + "/a b", "/", "", ".."} {
		if err := s.spool.Add(dir); err == nil {
			t.Errorf("the spool takes %q", dir)
		}
	}
	s.jobs(pending, 0)
}

// TestOnlyPlainFiles proves that links and pipes are neither followed nor
// waited for.
func TestOnlyPlainFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		dir := s.record("abc", "real.mp4", pictures)
		must(t, os.WriteFile(filepath.Join(s.target, "secret.mp4"), []byte("secret"), 0o600))
		must(t, os.Symlink(filepath.Join(s.target, "secret.mp4"), filepath.Join(dir, "link.mp4")))
		must(t, os.Symlink("real.mp4", filepath.Join(dir, "near.mp4")))
		must(t, os.Mkdir(filepath.Join(dir, "folder.mp4"), 0o700))
		must(t, syscall.Mkfifo(filepath.Join(dir, "pipe.mp4"), 0o600))
		must(t, syscall.Mkfifo(filepath.Join(dir, "metadata.json"), 0o600))
		s.hook(dir)
		s.work()
		s.told("abc closed, abc stored")
		has(t, s.target, "secret.mp4", name+".mp4")
		has(t, dir, "folder.mp4", "link.mp4", "metadata.json", "near.mp4", "pipe.mp4")
		f, err := openFolder(dir, s.recordings)
		must(t, err)
		defer f.Close()
		for _, name := range []string{"link.mp4", "near.mp4", "pipe.mp4", "folder.mp4", "../../target/secret.mp4"} {
			if _, _, err := storage.OpenPlain(f, name); err == nil {
				t.Errorf("%q can be opened", name)
			}
		}
	})
}

func TestMetadata(t *testing.T) {
	const mtg, rec = "mtg_01ARZ3NDEKTSV4RRFFQ69G5FAV", "rec_01ARZ3NDEKTSV4RRFFQ69G5FAV"
	good := fmt.Sprintf(`{"meeting_url":"https://x/y","participants":[],"usher":{"meeting_id":%q,"recording_id":%q}}`, mtg, rec)
	for what, tt := range map[string]struct {
		text string
		ok   bool
	}{
		"as it should be": {good, true},
		"without ours":    {`{"meeting_url":"https://x/y"}`, false},
		"not JSON":        {"<metadata/>", false},
		"cut off":         {good[:len(good)-2], false},
		"empty":           {"", false},
		"huge":            {`{"a":"` + strings.Repeat("a", maxMetadata) + `",` + good[1:], false},
		"deep":            {strings.Repeat("[", 100_000), false},
		"a list":          {"[" + good + "]", false},
		"null":            {`{"usher":null}`, false},
		"numbers":         {`{"usher":{"meeting_id":1,"recording_id":2}}`, false},
		"one of two":      {`{"usher":{"recording_id":"` + rec + `"}}`, false},
		"a path":          {strings.ReplaceAll(good, mtg, "../../etc"), false},
		"a line feed":     {strings.ReplaceAll(good, mtg, `mtg_a\nb`), false},
		"too long":        {strings.ReplaceAll(good, mtg, "mtg_"+strings.Repeat("A", 61)), false},
		"bytes":           {"\xff\xfe\x00", false},
	} {
		s := newSite(t, Shared)
		dir := s.record("abc", "metadata.json", tt.text)
		f, err := openFolder(dir, "")
		must(t, err)
		gotM, gotR := ids(f)
		f.Close()
		if ok := gotM == mtg && gotR == rec; ok != tt.ok || !ok && gotM+gotR != "" {
			t.Errorf("%s: ids %q %q, want them: %v", what, gotM, gotR, tt.ok)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("standup", "a.mp4", 1)
	f.Add("../../etc/passwd", "..", 2)
	f.Add("Größe/\x00\n", strings.Repeat("é", 300), 100)
	f.Add("", ".mp4", 1)
	f.Fuzz(func(t *testing.T, room, file string, n int) {
		file = strings.ReplaceAll(file[:min(len(file), 251)], "/", "_") // else it is no name of a file
		for _, at := range []time.Time{startedAt, {}} {
			file := file + ".mp4" // only media is handed over
			got := stem(storage.Answer{Room: room, StartedAt: at}, file) + fmt.Sprintf("-%d.webm", min(max(n, 1), 100))
			if got != filepath.Base(got) || !filepath.IsLocal(got) || len(got) > 255 || strings.ContainsAny(got, "/\x00\n") || got == ".mp4" {
				t.Errorf("%q and %q make %q", room, file, got)
			}
		}
	})
}

// TestDuration has a program in ffprobe's place that answers as it does; what
// it may be asked is in ffprobe's own manual.
func TestDuration(t *testing.T) {
	bin := t.TempDir()
	media := filepath.Join(t.TempDir(), "a.mp4")
	must(t, os.WriteFile(media, []byte(pictures), 0o600))
	file, err := os.Open(media)
	must(t, err)
	defer file.Close()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for _, tt := range []struct {
		script string
		want   time.Duration
	}{
		{"echo 12.345678", 12346 * time.Millisecond},
		{"echo N/A", 0}, {"echo NaN", 0}, {"echo Inf", 0}, {"echo -5", 0}, {"echo 1e300", 0}, {"exit 1", 0},
		{"echo 1; exit 1", 0}, {"yes 1", 0}, {"yes 1 | head -c 100000", 0},
		{`[ "$(cat /dev/fd/3)" = "` + pictures + `" ] && echo 7`, 7 * time.Second},
		{`case "$*" in "-v error -protocol_whitelist file -show_entries format=duration -of csv=p=0 /dev/fd/3") echo 8;; esac`, 8 * time.Second},
	} {
		if strings.HasPrefix(tt.script, "yes 1") && !strings.Contains(tt.script, "|") {
			tt.script = "timeout 0.1 " + tt.script
		}
		must(t, os.WriteFile(filepath.Join(bin, "ffprobe"), []byte("#!/bin/sh\n"+tt.script+"\n"), 0o700))
		if got := duration(t.Context(), file); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.script, got, tt.want)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if got := duration(t.Context(), file); got != 0 {
		t.Errorf("without ffprobe: %v", got)
	}
}

// TestWhoWasThere: what usher says of the session lies beside the recording, whatever
// the directory holds of that name, and the directory is gone then.
func TestWhoWasThere(t *testing.T) {
	const who = `{"attendees":[{"name":"Ada"}]}`
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		s.answer.Attendance = json.RawMessage(who)
		dir := s.record("abc", "a.mp4", pictures, "b.mp4", "more "+pictures, "metadata.json", "{}")
		outside := filepath.Join(s.target, "their")
		must(t, os.WriteFile(outside, []byte("precious"), 0o600))
		must(t, os.Symlink(outside, filepath.Join(dir, "participants.json")))
		s.hook(dir)
		s.work()
		s.told("abc closed, abc stored")
		if first := s.calls[0]; !first.Attendance {
			t.Errorf("%+v does not ask who was there", first)
		}
		has(t, s.target, name+"-2.mp4", name+".mp4", name+".participants.json", "their")
		has(t, s.recordings)
		for file, want := range map[string]string{name + ".participants.json": who, "their": "precious"} {
			if text, err := os.ReadFile(filepath.Join(s.target, file)); err != nil || string(text) != want {
				t.Errorf("%s holds %q, %v; want %s", file, text, err, want)
			}
		}
		if f := s.last().Files; len(f) != 2 || f[0].Attendance != name+".participants.json" || f[1].Attendance != f[0].Attendance {
			t.Errorf("files = %+v, want both to name it", f)
		}
		// Called again, with other news: the first stays the only one.
		s.answer.Attendance = json.RawMessage(`{"attendees":[]}`)
		s.hook(s.record("abc", "c.mp4", "later "+pictures))
		s.work()
		has(t, s.target, name+"-2.mp4", name+"-3.mp4", name+".mp4", name+".participants.json", "their")
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		s.answer.Attendance = json.RawMessage(who)
		dir := s.record("abc", "a.mp4", pictures)
		s.hook(dir)
		s.work()
		has(t, dir, "a.mp4", "participants.json")
		if f := s.last().Files; len(f) != 1 || f[0].Attendance != "abc/participants.json" {
			t.Errorf("files = %+v, want it to name the file beside it", f)
		}
		// A directory is no reason to keep a recording back.
		dir = s.record("def/participants.json", "x", "x")
		dir = s.record(filepath.Base(filepath.Dir(dir)), "a.mp4", pictures)
		s.hook(dir)
		s.work()
		s.told("abc closed, abc stored, def closed, def stored")
		if f := s.last().Files; len(f) != 1 || f[0].Attendance != "" || !strings.Contains(s.log.String(), "cannot store who was in the session") {
			t.Errorf("files = %+v, want none beside it, and a line in the log", f)
		}
	})
}
