// Package jibri has meetings recorded: it asks the focus (Jicofo) to start and
// stop recordings and watches the pool of recorders (Jibri) for a free one.
//
// What a recording is and what follows from an answer is the business of
// package meeting; the files are handed over in packages below this one.
package jibri

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"usher/internal/sleep"
	"usher/meeting"
)

// reportInterval is the wait before an outcome is reported again that a meeting
// could not take in.
const reportInterval = time.Second

// Config configures a Scheduler; all fields but Log and Metrics are required.
type Config struct {
	Occupant Stream // in the rooms
	MUC      string // domain of the main MUC
	Pool     *Pool
	// Do reports to a meeting what came of a request and blocks until that is
	// stored; see tracker.Tracker.Do.
	Do func(ctx context.Context, meetingID string, f meeting.Input) (meeting.Meeting, error)
	// Own calls do while usher is an owner of the room, which is whom the focus
	// obeys, and once more when that is refused; see muc.Rooms.Own.
	Own     func(ctx context.Context, room string, do func() error) error
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Scheduler starts and stops the recordings of all meetings, each start as soon
// as a recorder is free for it. It implements tracker.Recorders; its methods
// are safe for concurrent use. What is done when is decided by situation.plan.
type Scheduler struct {
	cfg      Config
	log      *slog.Logger
	requests *prometheus.CounterVec
	wake     chan struct{} // of length 1
	calls    sync.WaitGroup

	mu sync.Mutex
	situation
	wait time.Duration // the last one that led to retryAt
}

// NewScheduler returns a Scheduler that does nothing until Run.
func NewScheduler(cfg Config) *Scheduler {
	s := &Scheduler{
		cfg: cfg, log: cmp.Or(cfg.Log, slog.New(slog.DiscardHandler)),
		wake: make(chan struct{}, 1), situation: situation{tasks: map[string]*task{}},
		requests: promauto.With(cfg.Metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "usher_jibri_requests_total", Help: "Requests to the focus, by what came of them.",
		}, []string{"verb", "result"}),
	}
	for _, result := range []string{
		"ok", "busy", "no_recorders", "not_ready", "exists", "not_allowed", "broken", "silent", "invalid",
	} {
		s.requests.WithLabelValues("start", result)
	}
	for _, result := range []string{"ok", "unknown", "failed"} {
		s.requests.WithLabelValues("stop", result)
	}
	cfg.Pool.wake = s.freed
	return s
}

// Work notes what is to be done for a meeting now (tracker.Recorders).
func (s *Scheduler) Work(m meeting.Meeting) {
	s.mu.Lock()
	t := s.tasks[m.ID]
	due := hasWork(m)
	switch {
	case t != nil:
		t.m = m
		if !due && !t.calling {
			delete(s.tasks, m.ID)
		}
	case due:
		s.tasks[m.ID] = &task{id: m.ID, m: m}
	}
	s.mu.Unlock()
	if due {
		s.wakeUp()
	}
}

// underWay are the states of recordings on their way to their start or their end.
var underWay = []meeting.RecordingState{
	meeting.RecordingRequested, meeting.RecordingQueued, meeting.RecordingStarting, meeting.RecordingStopping,
}

// hasWork reports whether a recording of the meeting to a file is under way. Most are not:
// they go on, or are over.
func hasWork(m meeting.Meeting) bool {
	return slices.ContainsFunc(m.Recordings, func(r meeting.Recording) bool {
		return !r.Mode.FromBridge() && slices.Contains(underWay, r.State)
	})
}

// Queue returns the recordings that wait for a recorder, the next one first.
func (s *Scheduler) Queue() []meeting.Recording {
	s.mu.Lock()
	defer s.mu.Unlock()
	var queue []meeting.Recording
	for _, t := range s.tasks {
		if r, ok := t.m.ActiveRecording(meeting.ModeFile); ok && r.State == meeting.RecordingQueued && r.Waits != meeting.ReasonStream {
			queue = append(queue, r)
		}
	}
	slices.SortFunc(queue, meeting.BeforeInQueue)
	return queue
}

// Run works until ctx ends, and returns once nothing of it is left running.
// Recordings go on.
func (s *Scheduler) Run(ctx context.Context) error {
	defer s.calls.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Stop()
		if next := s.schedule(ctx, time.Now()); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		select {
		case <-s.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Scheduler) wakeUp() { sleep.Wake(s.wake) }

// freed is called when a recorder may have become free.
func (s *Scheduler) freed() {
	s.mu.Lock()
	s.retryAt, s.wait = time.Time{}, 0
	s.mu.Unlock()
	s.wakeUp()
}

// schedule makes the calls that are due and returns when the next one is.
func (s *Scheduler) schedule(ctx context.Context, now time.Time) (next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = slices.DeleteFunc(s.taken, func(until time.Time) bool { return !now.Before(until) })
	s.now, s.recorders = now, s.cfg.Pool.count(now)
	p := s.plan()
	for _, t := range p.stop {
		r, _ := t.m.ToStop()
		t.stopAt = now.Add(stopInterval)
		s.call(t, func() { s.stop(ctx, t, r) })
	}
	for _, t := range p.start {
		r := t.recording()
		t.startedAt = now
		s.call(t, func() { s.start(ctx, t, r) })
	}
	for _, t := range p.wait {
		r := t.recording()
		s.call(t, func() {
			s.report(ctx, t, meeting.RecordingInput{Kind: meeting.RecordingWaits, Recording: r, Reason: p.reason})
		})
	}
	return p.next
}

// call runs f with nothing else going on for the meeting. s.mu is held.
func (s *Scheduler) call(t *task, f func()) {
	t.calling = true
	s.calls.Go(func() {
		f()
		s.mu.Lock()
		t.calling, t.startedAt = false, time.Time{}
		if !hasWork(t.m) {
			delete(s.tasks, t.id)
		}
		s.mu.Unlock()
		s.wakeUp()
	})
}

// start has one recording started, and reports to its meeting what came of it.
func (s *Scheduler) start(ctx context.Context, t *task, r meeting.Recording) {
	if !s.report(ctx, t, meeting.RecordingInput{Kind: meeting.RecordingTried, Recording: r}) {
		return
	}
	answer, err := s.askStart(ctx, r)
	if err != nil {
		return // this process stops leading; the next one asks again
	}
	log := s.log.With("room", r.Room, "meeting_id", r.MeetingID, "recording_id", r.ID)
	result := "ok"
	if answer.Kind == meeting.RecordingAccepted {
		log.Info("recorder found", "jibri_session_id", answer.JibriSession)
	} else {
		result = string(answer.Refusal)
		log.Info("recording not started", "reason", answer.Refusal, "detail", answer.Detail)
	}
	s.learn(answer.Refusal)
	s.requests.WithLabelValues("start", result).Inc()
	s.report(ctx, t, answer)
}

// learn notes what an answer of the focus says of the recorders in general, and
// when to ask for one again. An empty refusal: it has found one.
func (s *Scheduler) learn(refusal meeting.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch refusal {
	case "":
		s.taken = append(s.taken, now.Add(settleTime))
		s.retryAt, s.wait, s.shortage = time.Time{}, 0, ""
		return
	case meeting.RefusedBusy:
		s.shortage = meeting.ReasonBusy
	case meeting.RefusedNone:
		s.shortage = meeting.ReasonNoRecorder
	default:
		return // about this meeting alone
	}
	s.wait = retryWait(s.wait, s.cfg.Pool.count(now).visible)
	s.retryAt = now.Add(s.wait)
}

// stop has one recording stopped. That it is over comes from the room.
func (s *Scheduler) stop(ctx context.Context, t *task, r meeting.Recording) {
	unknown, err := s.askStop(ctx, r)
	log, result := s.log.With("room", r.Room, "meeting_id", r.MeetingID, "recording_id", r.ID), "ok"
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		result = "failed"
		log.Warn("cannot stop a recording, trying again", "err", err)
	case unknown:
		result = "unknown"
		// A focus that has restarted knows nothing of a recorder that goes on.
		log.Info("the focus knows nothing of a recording that is to end")
	}
	s.requests.WithLabelValues("stop", result).Inc()
	if unknown {
		s.report(ctx, t, meeting.RecordingInput{Kind: meeting.RecordingUnknown, Recording: r})
	}
}

// report gives an input to the task's meeting, again and again while it cannot
// take it in, and returns whether it did.
func (s *Scheduler) report(ctx context.Context, t *task, f meeting.Input) bool {
	for {
		_, err := s.cfg.Do(ctx, t.id, f)
		if err == nil {
			return true
		}
		if !errors.Is(err, meeting.ErrUnavailable) && !errors.Is(err, meeting.ErrBusy) {
			return false
		}
		if !sleep.For(ctx, reportInterval) {
			return false
		}
	}
}
