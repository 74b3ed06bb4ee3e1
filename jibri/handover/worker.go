package handover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"syscall"
	"time"

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
	slots     chan struct{}   // of length atOnce
	again     context.Context // ended once a newer worker, or none, is to try again
	old       *os.File        // the lock shared with other workers, nil before
	logged    string          // what is wrong with the spool, as it was logged last

	// What tests shorten or have fail; see the constants of these names, and
	// [newStorage].
	lookInterval, growInterval time.Duration
	storage                    func(Settings, *meeting.Destination) (storage.Storage, error)
}

// NewWorker returns a worker. It asks for the settings before each try, so that
// one that is put right counts from then on. transport is nil outside tests.
func NewWorker(spool *Spool, settings func() (Settings, error), log *slog.Logger, transport http.RoundTripper) *Worker {
	return &Worker{
		spool: spool, settings: settings, log: log, transport: transport, slots: make(chan struct{}, atOnce),
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
	defer func() { _ = w.old.Close() }() // nil when it never had it
	again, retire := context.WithCancel(ctx)
	defer retire()
	w.again = again
	look := time.NewTicker(w.lookInterval)
	defer look.Stop()
	busy := map[string]bool{}
	ended := make(chan string)
	for {
		if !w.spool.isNewest(self) {
			retire()
		}
		left := again.Err() == nil && w.begin(ctx, busy, ended)
		if len(busy) == 0 && !left {
			return nil
		}
		select {
		case name := <-ended:
			delete(busy, name)
		case <-look.C:
		case <-ctx.Done():
			for range busy {
				<-ended
			}
			return nil
		}
	}
}

// begin starts what is to be done and not being done. It reports whether
// something is left that another process is at.
func (w *Worker) begin(ctx context.Context, busy map[string]bool, ended chan<- string) (left bool) {
	if w.old == nil {
		var err error
		if w.old, err = w.spool.lock(oldLock, syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
			w.complain(fmt.Errorf("wait for the worker of an earlier version to end; if its settings are wrong, end it: %w", err))
			return true
		}
	}
	problems := []error{w.spool.takeInOld()}
	jobs, err := w.spool.jobs()
	problems = append(problems, err)
	for _, j := range jobs {
		name := key(j.Dir)
		if j.State == done && time.Since(j.SettledAt) > doneRetention {
			w.spool.forget(name)
		}
		if j.State != pending || busy[name] {
			continue
		}
		lock, err := w.spool.own(name)
		if err != nil {
			if !errors.Is(err, syscall.EWOULDBLOCK) {
				problems = append(problems, err)
			}
			left = true
			continue
		}
		busy[name] = true
		go func() {
			// It may have been done since it was listed.
			if j, err := w.spool.read(name); err == nil && j.State == pending {
				t := &task{Worker: w, job: j, log: w.log.With("dir", j.Dir)}
				t.run(ctx)
			}
			_ = lock.Close()
			ended <- name
		}()
	}
	w.complain(errors.Join(problems...))
	return left
}

// complain logs what is wrong with the spool, once while it stays the same.
func (w *Worker) complain(err error) {
	if err != nil && err.Error() != w.logged {
		w.logged = err.Error()
		w.log.Error("the spool, or a part of it, is left alone", "err", err)
	}
}
