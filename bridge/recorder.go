package bridge

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"usher/internal/sleep"
	"usher/meeting"
)

// reportInterval is the wait before something is reported again that a meeting
// could not take in.
const reportInterval = time.Second

// RecorderConfig configures a Recorder; all fields but Log are required.
type RecorderConfig struct {
	Bridges *Bridges
	Server  *Server // which the caller serves
	URL     string  // ws:// or wss:// and the address under which bridges reach it
	Dir     string  // what is recorded lies here until it is handed over; made if it is missing
	Host    string  // whose disk that is
	Results Results
	// Do reports to a meeting and blocks until that is stored; see tracker.Tracker.Do.
	Do func(ctx context.Context, meetingID string, f meeting.Input) (meeting.Meeting, error)
	// Recording reads a recording that the store has; see service.Store.
	Recording func(ctx context.Context, id string) (meeting.Recording, error)
	Log       *slog.Logger
}

// Recorder makes the recordings of the modes tracks and levels. It implements
// tracker.Recorders; its methods are safe for concurrent use.
//
// What is to be done follows from the meeting ([meeting.Meeting.ToRecord]), each
// recording by a job of its own. So after a restart a recording goes on, in a new
// part: the bridge is asked to stop sending to the old one, whose token went with
// its process.
type Recorder struct {
	cfg  RecorderConfig
	log  *slog.Logger
	work sync.WaitGroup
	busy chan struct{} // holds one for each part that is handed over now

	mu   sync.Mutex
	run  context.Context // of Run; nil before it and after it
	jobs map[string]*job // by recording
}

// NewRecorder returns a Recorder that does nothing until Run.
func NewRecorder(cfg RecorderConfig) *Recorder {
	r := &Recorder{cfg: cfg, log: cmp.Or(cfg.Log, slog.New(slog.DiscardHandler)), jobs: map[string]*job{}, busy: make(chan struct{}, maxHandOvers)}
	cfg.Bridges.appeared = r.bridgeAppeared
	return r
}

// Work notes what is to be done for a meeting now (tracker.Recorders).
func (r *Recorder) Work(m meeting.Meeting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.jobs {
		if j.m.ID == m.ID {
			j.m = m
			j.wakeUp()
		}
	}
	for _, rec := range m.ToRecord() {
		if rec.State != meeting.RecordingProcessing && r.jobs[rec.ID] == nil {
			j := &job{r: r, id: rec.ID, mode: rec.Mode, m: m, wake: make(chan struct{}, 1)}
			r.jobs[rec.ID] = j
			r.start(j)
		}
	}
}

// start has a job work. r.mu is held.
func (r *Recorder) start(j *job) {
	ctx := r.run
	if ctx == nil {
		return // Run does
	}
	r.work.Go(func() {
		j.work(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.jobs, j.id)
	})
}

// Run works until ctx ends, and returns once nothing of it is left running.
// Recordings go on with the next process: what this one has recorded it hands over
// when it runs again.
func (r *Recorder) Run(ctx context.Context) error {
	left := r.leftParts() // before there are new ones
	r.mu.Lock()
	r.run = ctx
	for _, j := range r.jobs {
		r.start(j)
	}
	r.mu.Unlock()
	for _, part := range left {
		r.work.Go(func() { r.handOver(ctx, partFolder.FindStringSubmatch(part)[1], part) })
	}
	<-ctx.Done()
	r.mu.Lock()
	r.run = nil
	r.mu.Unlock()
	r.work.Wait()
	return nil
}

// bridgeAppeared has those that wait for a bridge ask at once.
func (r *Recorder) bridgeAppeared() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.jobs {
		j.wakeUp()
	}
}

// report gives an input to a meeting, again and again while it cannot take it in,
// and returns why it does not.
func (r *Recorder) report(ctx context.Context, meetingID string, in meeting.RecordingInput) error {
	for {
		_, err := r.cfg.Do(ctx, meetingID, in)
		if !errors.Is(err, meeting.ErrUnavailable) && !errors.Is(err, meeting.ErrBusy) {
			return err
		}
		if !sleep.For(ctx, reportInterval) {
			return err
		}
	}
}
