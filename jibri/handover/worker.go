package handover

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"usher/meeting"
)

const (
	// lookPace is how often a worker looks for new notes while it works: recorders
	// take minutes between two recordings.
	lookPace = 5 * time.Second
	// atOnce is how many directories have their files moved at the same time:
	// more would only share the same disk and line.
	atOnce = 2
)

// Worker works off a spool. Call [Worker.Run] once.
type Worker struct {
	spool *Spool
	cfg   Settings
	log   *slog.Logger
	call  caller
	slots chan struct{} // of length atOnce
	// shelf returns where files go; see [newShelf].
	shelf func(*meeting.Destination) (shelf, error)
}

// NewWorker returns a worker. transport is nil outside tests.
func NewWorker(spool *Spool, s Settings, log *slog.Logger, transport http.RoundTripper) *Worker {
	return &Worker{
		spool: spool, cfg: s, log: log, call: newCaller(s, transport),
		slots: make(chan struct{}, atOnce),
		shelf: func(to *meeting.Destination) (shelf, error) { return newShelf(s, to) },
	}
}

// Run works until nothing is left to do or ctx ends. It returns at once when
// another worker has the spool: that one sees new notes, too.
func (w *Worker) Run(ctx context.Context) error {
	for {
		lock, ok, err := w.spool.lock()
		if err != nil || !ok {
			return err
		}
		err = w.workOff(ctx)
		_ = lock.Close()
		if err != nil || ctx.Err() != nil {
			return err
		}
		// A hook that came in the last moment found the spool locked.
		if more, err := w.spool.Pending(); err != nil || !more {
			return err
		}
	}
}

// workOff starts a course for each entry, and waits for all.
func (w *Worker) workOff(ctx context.Context) error {
	w.spool.forget(time.Now())
	look := time.NewTicker(lookPace)
	defer look.Stop()
	busy := map[string]bool{}
	ended := make(chan string)
	for {
		err := w.begin(ctx, busy, ended)
		if len(busy) == 0 {
			return err
		}
		if err != nil {
			w.log.Error("read the spool", "err", err)
		}
		select {
		case key := <-ended:
			delete(busy, key)
		case <-look.C:
		case <-ctx.Done():
			for range busy {
				<-ended
			}
			return nil
		}
	}
}

// begin starts a course for what has none.
func (w *Worker) begin(ctx context.Context, busy map[string]bool, ended chan<- string) error {
	err := w.spool.takeIn(busy)
	names, err2 := w.spool.names(work)
	for _, name := range names {
		if busy[name] {
			continue
		}
		e, err3 := w.spool.read(work, name)
		if errors.Is(err3, fs.ErrNotExist) {
			continue
		} else if err3 != nil {
			err = errors.Join(err, err3, w.spool.setAside(work, name))
			continue
		}
		busy[name] = true
		go func() {
			c := &course{Worker: w, entry: e, log: w.log.With("dir", e.Dir)}
			c.run(ctx)
			ended <- name
		}()
	}
	return errors.Join(err, err2)
}

// maxLog is how long the log of a spool gets before it is begun anew, in bytes:
// tens of thousands of recordings. The last one is kept.
const maxLog = 10 << 20

// Log opens the file that a detached worker writes into.
func (s *Spool) Log() (*os.File, error) {
	path := filepath.Join(s.dir, "finalize.log")
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		_ = os.Rename(path, path+".1")
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}
