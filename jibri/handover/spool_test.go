package handover

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestBrokenJobs proves that what cannot be read stops nothing and is kept for a
// person to see.
func TestBrokenJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		dir := s.record("abc", "a.mp4", pictures)
		texts := []string{
			"", "{", "null", "[]", `{"dir":"relative/abc"}`, `{"dir":"/etc/.."}`, `{"dir":"/etc/passwd","state":"pending"}`,
			strings.Repeat(" ", maxJob+1), `{"dir":"` + dir + `","state":"pending"}`, // under another name
		}
		for i, text := range texts {
			folder := filepath.Join(s.cfg.SpoolDir, "job"+strconv.Itoa(i))
			must(t, os.Mkdir(folder, 0o700))
			must(t, os.WriteFile(filepath.Join(folder, jobFile), []byte(text), 0o600))
		}
		must(t, os.Mkdir(filepath.Join(s.cfg.SpoolDir, "killed.0123456789ab"), 0o700)) // a hook was, before it wrote
		own := filepath.Join(s.cfg.SpoolDir, key(dir))
		for _, text := range []string{"{", `{"dir":"` + dir + `","state":"x"}`} {
			must(t, os.MkdirAll(own, 0o700))
			must(t, os.WriteFile(filepath.Join(own, jobFile), []byte(text), 0o600))
			must(t, os.WriteFile(filepath.Join(own, jobFile+".part"), []byte("{"), 0o600)) // another was, while it wrote
			s.hook(dir)
			has(t, own, jobFile, jobFile+".broken")
			if kept, err := os.ReadFile(filepath.Join(own, jobFile+".broken")); err != nil || string(kept) != text {
				t.Errorf("set aside: %q, %v, want %q", kept, err, text)
			}
		}
		s.work()
		s.told("abc closed, abc stored")
		if got := strings.Count(s.log.String(), "level=ERROR"); got != 1 {
			t.Errorf("%d errors are logged, want one that names all\n%s", got, s.log.String())
		}
		for i := range texts {
			if name := "job" + strconv.Itoa(i); !strings.Contains(s.log.String(), name) {
				t.Errorf("the log does not name %s", name)
			}
		}
	})
}

// TestFullSpool proves that what is in the spool stays whole when nothing more
// can be written, and that the hook says so.
func TestFullSpool(t *testing.T) {
	s := newSite(t, Shared)
	dir := s.record("abc")
	s.hook(dir)
	before, err := s.spool.read(key(dir))
	must(t, err)
	part := filepath.Join(s.cfg.SpoolDir, key(dir), jobFile+".part")
	must(t, os.Symlink("/dev/full", part))
	if err := s.spool.Add(dir); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Add: %v, want %v", err, syscall.ENOSPC)
	}
	if after, err := s.spool.read(key(dir)); err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("the job is %+v, %v, want %+v", after, err, before)
	}
	s.hook(dir) // there is space again
	if after, err := s.spool.read(key(dir)); err != nil || !after.AddedAt.After(before.AddedAt) {
		t.Errorf("the job is %+v, %v, want one called for later than %v", after, err, before.AddedAt)
	}
}

func TestDoneIsForgottenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		dir, other := s.record("abc", "a.mp4", pictures), s.record("def")
		s.hook(dir, other)
		s.work() // other has no file
		s.jobs(done, 1)
		s.jobs(lost, 1)
		time.Sleep(doneRetention - time.Hour)
		s.work()
		s.jobs(done, 1)
		time.Sleep(2 * time.Hour)
		var workers sync.WaitGroup // which come at the same time
		for range 10 {
			workers.Go(s.work)
		}
		workers.Wait()
		s.jobs(done, 0)
		s.jobs(lost, 1)
		s.hook(dir) // the job is new
		s.work()
		s.jobs(done, 1)
	})
}

func TestSettings(t *testing.T) {
	good := newSite(t, Shared).cfg
	for what, tt := range map[string]struct {
		change func(*Settings)
		want   string
	}{
		"good":            {func(*Settings) {}, ""},
		"no url":          {func(s *Settings) { s.URL = "" }, "url must be"},
		"url of a file":   {func(s *Settings) { s.URL = "file:///etc" }, "url must be"},
		"no host":         {func(s *Settings) { s.URL = "http://" }, "url must be"},
		"recorder":        {func(s *Settings) { s.Recorder = "a=b" }, "recorder must be"},
		"short secret":    {func(s *Settings) { s.RecorderSecret = "h1dden" }, "recorder-secret"},
		"handover":        {func(s *Settings) { s.HandOver = "ftp" }, "handover must be"},
		"no target":       {func(s *Settings) { s.HandOver, s.TargetDir = Move, "" }, "target-dir"},
		"no bucket":       {func(s *Settings) { s.HandOver = S3 }, "s3-bucket"},
		"two at the time": {func(s *Settings) { s.URL, s.HandOver = "", "ftp" }, "url must be where usher's API is, such as http://usher.internal:8480\nhandover"},
	} {
		s := good
		tt.change(&s)
		err := s.Check()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "h1dden")) {
			t.Errorf("%s: %v, want %q", what, err, tt.want)
		}
	}
	field, ok := reflect.TypeFor[Settings]().FieldByName("SpoolDir")
	if got := field.Tag.Get("default"); !ok || got != SpoolDir {
		t.Errorf("default of spool-dir = %q, want %q", got, SpoolDir)
	}
}
