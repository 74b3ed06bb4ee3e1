package handover

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBrokenEntries proves that what cannot be read stops nothing and is kept
// for a person to see.
func TestBrokenEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		dir := s.record("abc", "a.mp4", pictures)
		for i, text := range []string{
			"", "{", "null", `{"dir":"relative/abc"}`, `{"dir":"/etc/.."}`, `{"dir":"/etc/passwd"}`,
			strings.Repeat(" ", maxEntry+1), `{"dir":"` + dir + `"}`, // under another name
		} {
			for _, folder := range []string{inbox, work} {
				must(t, os.WriteFile(filepath.Join(s.cfg.SpoolDir, folder, folder+string(rune('a'+i))+".json"), []byte(text), 0o600))
			}
		}
		must(t, os.WriteFile(filepath.Join(s.cfg.SpoolDir, inbox, ".part-1"), []byte("{"), 0o600)) // a hook was killed
		s.hook(dir)
		s.work()
		s.told("abc closed, abc stored")
		broken, err := filepath.Glob(filepath.Join(s.cfg.SpoolDir, refused, "*.broken"))
		if err != nil || len(broken) != 16 {
			t.Errorf("%d entries set aside, want 16 (%v)\n%s", len(broken), err, s.log.String())
		}
	})
}

func TestDoneIsForgottenInTime(t *testing.T) {
	s := newSite(t, Shared)
	dir := s.record("abc")
	must(t, s.spool.write(done, key(dir), entry{Dir: dir}))
	must(t, s.spool.write(lost, key(dir), entry{Dir: dir}))
	s.spool.forget(time.Now().Add(keepDone - time.Hour))
	s.entries(done, 1)
	s.spool.forget(time.Now().Add(keepDone + time.Hour))
	s.entries(done, 0)
	s.entries(lost, 1)
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
