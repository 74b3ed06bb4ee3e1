package handover

import (
	"context"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/storage"
)

// TestNewerWorker proves that a worker leaves to a newer one what it would have
// to try again, and that this one has the settings of its own time.
func TestNewerWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		s.hook(s.record("one", "a.mp4", pictures), s.record("two", "a.mp4", pictures))
		old := s.worker()
		old.settings = func() (Settings, error) {
			wrong := s.cfg
			wrong.URL = "http://nobody.test"
			return wrong, nil
		}
		ended := make(chan error, 1)
		go func() { ended <- old.Run(t.Context()) }()
		time.Sleep(time.Hour)
		start := time.Now()
		s.work()
		if took := time.Since(start); took > 2*siteLookInterval+growInterval {
			t.Errorf("handed over after %v, want %v at most", took, 2*siteLookInterval+growInterval)
		}
		must(t, <-ended)
		if len(s.calls) != 4 {
			t.Errorf("%d calls, want closed and stored of each: %+v", len(s.calls), s.calls)
		}
		s.jobs(done, 2)
	})
}

// TestNewerWorkerWaits proves that it does not touch what an older one is at,
// which finishes what goes well.
func TestNewerWorkerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		slow := func(w *Worker) *Worker {
			w.storage = func(c Settings, _ *meeting.Destination) (storage.Storage, error) {
				return slowly{storage.Folder(c.TargetDir)}, nil
			}
			return w
		}
		s.hook(s.record("one", "a.mp4", pictures))
		start := time.Now()
		ended := make(chan error, 1)
		go func() { ended <- slow(s.worker()).Run(t.Context()) }()
		time.Sleep(storingTime / 2)
		s.hook(s.record("two", "a.mp4", "other "+pictures))
		must(t, slow(s.worker()).Run(t.Context()))
		must(t, <-ended)
		s.told("one closed, two closed, one stored, two stored")
		if took := time.Since(start); took > 2*storingTime {
			t.Errorf("took %v: one was stored twice, or two waited for it", took)
		}
		has(t, s.target, name+"-2.mp4", name+".mp4")
	})
}

// storingTime is how long it takes to store a file slowly.
const storingTime = time.Hour

type slowly struct{ storage.Folder }

func (s slowly) Put(ctx context.Context, file *storage.File, stem string) (meeting.RecordingFile, error) {
	time.Sleep(storingTime)
	return s.Folder.Put(ctx, file, stem)
}

// TestFilesAtOnce proves that a worker moves the files of no more than atOnce
// directories at the same time.
func TestFilesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		const sessions = 2 * atOnce
		for i := range sessions {
			s.hook(s.record("session"+strconv.Itoa(i), "a.mp4", pictures))
		}
		w := s.worker()
		w.storage = func(c Settings, _ *meeting.Destination) (storage.Storage, error) {
			return slowly{storage.Folder(c.TargetDir)}, nil
		}
		start := time.Now()
		must(t, w.Run(t.Context()))
		want := sessions / atOnce * storingTime
		if took := time.Since(start); took < want || took > want+10*time.Minute {
			t.Errorf("took %v, want %v and a little", took, want)
		}
		s.jobs(done, sessions)
	})
}

// TestManyWorkers proves that any number of them at once do each job once.
func TestManyWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		ended := make(chan error)
		const sessions, workers = 5, 5
		for i := range sessions {
			s.hook(s.record("session"+strconv.Itoa(i), "a.mp4", pictures))
		}
		for range workers {
			go func() { ended <- s.worker().Run(t.Context()) }()
		}
		for range workers {
			must(t, <-ended)
		}
		s.jobs(done, sessions)
		stored := 0
		for _, c := range s.calls {
			if c.Phase == storage.PhaseStored {
				stored++
			}
		}
		if stored != sessions {
			t.Errorf("usher was told %d times that files are stored, want once for each of %d sessions", stored, sessions)
		}
	})
}

// TestSettingsPutRight proves that a worker goes on with them at its next try.
func TestSettingsPutRight(t *testing.T) {
	for what, spoil := range map[string]func(*Settings){
		"another secret":     func(c *Settings) { c.RecorderSecret = "another-of-some-length" },
		"no settings at all": func(c *Settings) { *c = Settings{} },
		"no target":          func(c *Settings) { c.TargetDir = "/nowhere" },
		"recordings":         func(c *Settings) { c.RecordingsDir = "/nowhere" },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, Move)
			s.hook(s.record("abc", "a.mp4", pictures))
			right := s.cfg
			spoil(&s.cfg)
			time.AfterFunc(time.Hour, func() { s.change(func(c *Settings) { *c = right }) })
			start := time.Now()
			s.work()
			s.told("abc closed, abc stored")
			if took := time.Since(start); took < time.Hour || took > time.Hour+2*maxWait {
				t.Errorf("%s: took %v, want one try after an hour", what, took)
			}
		})
	}
}

// TestSettingsBrokenMeanwhile proves that a recording is not given up because the
// settings could not be read for days while it was stored.
func TestSettingsBrokenMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		must(t, os.Remove(s.target))
		s.hook(s.record("abc", "a.mp4", pictures))
		right := s.cfg
		time.AfterFunc(time.Hour, func() {
			must(t, os.Mkdir(s.target, 0o700))
			s.change(func(c *Settings) { *c = Settings{} })
		})
		time.AfterFunc(2*storeTimeout, func() { s.change(func(c *Settings) { *c = right }) })
		s.work()
		s.told("abc closed, abc stored")
		has(t, s.target, name+".mp4")
	})
}

// TestStoringEndsAlsoWithNewWorkers proves that the time for storing goes on
// when another worker takes over, as after each recording.
func TestStoringEndsAlsoWithNewWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		s.cfg.TargetDir = "/nowhere"
		s.hook(s.record("abc", "a.mp4", pictures))
		start := time.Now()
		for range 30 {
			ctx, stop := context.WithTimeout(t.Context(), time.Hour)
			must(t, s.worker().Run(ctx))
			stop()
		}
		s.jobs(lost, 1)
		if s.last().Phase != storage.PhaseLost || time.Since(start) < storeTimeout {
			t.Errorf("told %s last after %v", s.last().Phase, time.Since(start))
		}
	})
}

// TestCalledAgainMeanwhile proves that a call for a directory that is being
// handed over is not lost: it may have a further file.
func TestCalledAgainMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		dir := s.record("abc", "a.mp4", pictures)
		s.hook(dir)
		w := s.worker()
		w.storage = func(c Settings, _ *meeting.Destination) (storage.Storage, error) {
			return slowly{storage.Folder(c.TargetDir)}, nil
		}
		time.AfterFunc(storingTime/2, func() {
			s.record("abc", "b.mp4", "more "+pictures)
			s.hook(dir)
		})
		must(t, w.Run(t.Context()))
		s.told("abc closed, abc stored, abc closed, abc stored")
		if got := len(s.last().Files); got != 2 {
			t.Errorf("%d files, want 2: %+v", got, s.last().Files)
		}
		s.jobs(done, 1)
	})
}

// TestAnswersOfSomebodyElse proves that neither a refusal nor a success counts
// that is not usher's.
