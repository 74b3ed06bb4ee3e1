package handover

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"usher/meeting"
	"usher/storage"
)

const (
	// lookInterval is the time between two looks at the spool: a newer worker is
	// kept waiting no longer than that.
	lookInterval = 2 * time.Second
	// atOnce is how many directories a worker moves the files of at the same time:
	// more would only share the same disk and line.
	atOnce = 2
)

// Worker works off a spool. Call [Worker.Run] once.
type Worker struct {
	spool *Spool
	// settings returns them as they are now.
	settings  func() (Settings, error)
	log       *slog.Logger
	transport http.RoundTripper
	slots     *semaphore.Weighted // of size atOnce
	again     context.Context     // ended once a newer worker, or none, is to try again
	logged    string              // what is wrong with the spool, as it was logged last

	// What tests shorten or have fail; see the constants of these names, and
	// [newStorage].
	lookInterval, growInterval time.Duration
	storage                    func(Settings, *meeting.Destination) (storage.Storage, error)
}

// NewWorker returns a worker. It asks for the settings before each try, so that
// one that is put right counts from then on. transport is nil outside tests.
func NewWorker(spool *Spool, settings func() (Settings, error), log *slog.Logger, transport http.RoundTripper) *Worker {
	return &Worker{
		spool: spool, settings: settings, log: log, transport: transport, slots: semaphore.NewWeighted(atOnce),
		lookInterval: lookInterval, growInterval: growInterval, storage: newStorage,
	}
}

// Run works until nothing is left to do, ctx ends or a newer worker has taken
// over. Every call of the hook starts a worker with the arguments and the
// environment of that call; those before it finish what goes well and leave to it
// whatever they would have to try again.
func (w *Worker) Run(ctx context.Context) error {
	self, err := w.spool.takeOver()
	if err != nil {
		return err
	}
	defer self.Close()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	again, retire := context.WithCancel(ctx)
	defer retire() // before it waits
	w.again = again
	look := time.NewTimer(w.lookInterval)
	defer look.Stop()
	for w.spool.isNewest(self) && w.begin(ctx, &tasks, look) {
		select {
		case <-look.C:
			look.Reset(w.lookInterval)
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// begin starts what is to be done and nobody is at: neither another process nor
// a task of this one. It reports whether anything is still to be done. When a
// task has ended it has the spool looked at at once.
func (w *Worker) begin(ctx context.Context, tasks *sync.WaitGroup, look *time.Timer) (left bool) {
	jobs, err := w.spool.jobs()
	problems := []error{err}
	for _, j := range jobs {
		name := key(j.Dir)
		if j.State == done && time.Since(j.SettledAt) > doneRetention {
			// Unless the hook has been called since it was listed. Another worker may
			// have dropped it.
			problems = append(problems, w.spool.change(j.Dir, func(now *job) bool { return now.Dir != "" && now.State != done }))
		}
		if j.State != pending {
			continue
		}
		left = true
		lock, err := w.spool.lock(name)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue
		} else if err != nil {
			problems = append(problems, err)
			continue
		}
		tasks.Go(func() {
			defer look.Reset(0)
			defer lock.Close()
			// It may have been done since it was listed.
			if j, err := w.spool.read(name); err == nil && j.State == pending {
				t := &task{Worker: w, job: j, log: w.log.With("dir", j.Dir)}
				t.run(ctx)
			}
		})
	}
	if err := errors.Join(problems...); err != nil && err.Error() != w.logged { // once, while it stays the same
		w.logged = err.Error()
		w.log.Error("the spool, or a part of it, is left alone", "err", err)
	}
	return left
}
