package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/storage"
)

// inOld puts an entry of a session directory into a folder of a spool as the
// versions without job.json had it.
func (s *site) inOld(folder, session, number string, files ...meeting.RecordingFile) string {
	s.t.Helper()
	dir := filepath.Join(s.recordings, session)
	text, err := json.Marshal(map[string]any{"dir": dir, "added_at": time.Now().Add(-time.Hour).UTC(), "files": files, "detail": ""})
	must(s.t, err)
	must(s.t, os.MkdirAll(filepath.Join(s.cfg.SpoolDir, folder), 0o700))
	path := filepath.Join(s.cfg.SpoolDir, folder, key(dir)+number+".json")
	must(s.t, os.WriteFile(path, text, 0o600))
	return path
}

// TestSpoolOfBefore proves that no recording is lost that a version without
// job.json has noted, and that what it did stays known.
func TestSpoolOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		stored := meeting.RecordingFile{Name: "a.mp4", Dir: "finished", Storage: meeting.StorageFile, Path: "x.mp4", Size: 1}
		for _, session := range []string{"noted", "twice", "begun", "again", "called"} {
			s.record(session, "a.mp4", session+pictures)
		}
		s.inOld("new", "noted", ".1")
		s.inOld("new", "twice", ".1")
		s.inOld("new", "twice", ".2")
		s.inOld("work", "begun", "")
		s.inOld("work", "moved", "", stored) // the worker was killed before it reported that
		s.inOld("done", "again", "", stored)
		s.inOld("new", "again", ".3")
		s.inOld("done", "finished", "", stored)
		s.inOld("lost", "gone", "")
		s.inOld("refused", "unwanted", "")
		s.inOld("done", "called", "", stored)
		s.hook(filepath.Join(s.recordings, "called")) // by this version
		broken := s.inOld("new", "broken", ".1")
		must(t, os.WriteFile(broken, []byte("{"), 0o600))
		wrong := filepath.Join(s.cfg.SpoolDir, "work", "other.0123456789ab.json")
		must(t, os.Rename(s.inOld("work", "wrong", ""), wrong))

		s.work()
		s.jobs(done, 7)
		s.jobs(lost, 1)
		s.jobs(refused, 1)
		s.jobs(pending, 0)
		for session, want := range map[string]int{"noted": 1, "twice": 1, "begun": 1, "moved": 1, "again": 2, "called": 2} {
			got := -1
			for _, c := range s.calls {
				if c.JibriSession == session && c.Phase == storage.PhaseStored {
					got = len(c.Files)
				}
			}
			if got != want {
				t.Errorf("%d files of %s are stored, want %d\n%s", got, session, want, s.log.String())
			}
		}
		has(t, filepath.Dir(broken), filepath.Base(broken)+".broken")
		has(t, filepath.Dir(wrong), filepath.Base(wrong)+".broken")
		for _, folder := range []string{"done", "lost", "refused"} {
			if _, err := os.Stat(filepath.Join(s.cfg.SpoolDir, folder)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder %s is still there: %v", folder, err)
			}
		}
		s.hook(filepath.Join(s.recordings, "finished"))
		s.work()
		if last := s.last(); last.Phase != storage.PhaseStored || len(last.Files) != 1 || last.Files[0] != stored {
			t.Errorf("usher was told %+v last, want where the file of before is", last)
		}
	})
}

// TestWorkerOfBefore proves that workers of the two versions never work at the
// same time.
func TestWorkerOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		s.record("one", "a.mp4", pictures)
		s.inOld("work", "one", "")
		before, err := s.spool.lock("lock", syscall.LOCK_EX|syscall.LOCK_NB)
		must(t, err)
		ended := make(chan error, 2)
		for _, session := range []string{"two", "three"} {
			s.hook(s.record(session, "a.mp4", pictures))
			w := s.worker()
			w.storage = func(Settings, *meeting.Destination) (storage.Storage, error) {
				if _, err := s.spool.lock("lock", syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
					return nil, fmt.Errorf("a worker of before gets the spool: %w", err)
				}
				return nil, nil
			}
			go func() { ended <- w.Run(t.Context()) }()
		}
		time.Sleep(time.Hour)
		s.told("")
		if n := strings.Count(s.log.String(), "worker of an earlier version"); n != 1 && n != 2 {
			t.Errorf("%d times the log speaks of the worker of before, want once for each that waits: %s", n, s.log.String())
		}
		must(t, before.Close())
		must(t, <-ended)
		must(t, <-ended)
		s.jobs(done, 3)
	})
}
