// Package jibri has meetings recorded: it asks the focus (Jicofo) to start and
// stop recordings and watches the pool of recorders (Jibri) for a free one.
//
// What a recording is and what follows from an answer is the business of
// package meeting; the files are handed over in packages below this one.
package jibri

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"usher/meeting"
)

const (
	// blindPace is how often the focus is asked for a recorder while all are
	// busy and usher cannot see them. Each time costs it next to nothing.
	blindPace = 5 * time.Second
	// blindPatience is how long the others then wait for the answer to one: most
	// come at once, but the focus gives each recorder 15 s.
	blindPatience = 3 * time.Second
	// After the focus found all recorders busy although usher sees an idle one,
	// it is asked again after busyMin, doubling up to busyMax: it does not choose
	// one within 0.2 s of the last time, nor within a minute of a failure.
	busyMin = time.Second
	busyMax = 10 * time.Second
	// settleTime is how long a recorder that was just found counts as taken unless
	// one has become busy meanwhile: its presence comes within milliseconds,
	// before the focus's answer or after it.
	settleTime = 2 * time.Second
	// stopPace is how often the focus is told to stop until it says off.
	stopPace = 2 * time.Second
	// tellPace is the wait before an outcome is told again that a meeting could
	// not take in.
	tellPace = time.Second
)

// Config configures a Desk; all fields but Log and Metrics are required.
type Config struct {
	Occupant Stream // in the rooms
	MUC      string // domain of the main MUC
	Pool     *Pool
	// Do tells a meeting what came of a request and blocks until that is
	// stored; see [meeting.Tracker.Do].
	Do func(ctx context.Context, meetingID string, f meeting.Fact) (meeting.Meeting, error)
	// Own makes usher an owner of the room again.
	Own     func(ctx context.Context, room string) error
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Desk starts and stops the recordings of all meetings: the next in line as soon
// as a recorder is free for it. It implements [meeting.Recorders]; its methods
// are safe for concurrent use.
type Desk struct {
	cfg      Config
	focus    focus
	log      *slog.Logger
	requests *prometheus.CounterVec
	wake     chan struct{} // of length 1
	calls    sync.WaitGroup

	mu    sync.Mutex
	tasks map[string]*task // by meeting
	// taken are recorders that were found within settleTime, by its end.
	taken   []time.Time
	nextTry time.Time     // no start before that: all were busy
	pause   time.Duration // the last one that led to nextTry
	busy    meeting.RecordingReason
}

// task is what is to be done for one meeting.
type task struct {
	id       string // of the meeting
	m        meeting.Meeting
	calling  bool      // something is under way
	starting time.Time // since when the focus is being asked for a recorder
	stopAt   time.Time // the next time it is told to stop
}

// NewDesk returns a Desk that does nothing until Run.
func NewDesk(cfg Config) *Desk {
	d := &Desk{
		cfg: cfg, focus: focus{cfg.Occupant, cfg.MUC}, log: cfg.Log,
		wake: make(chan struct{}, 1), tasks: map[string]*task{},
		requests: promauto.With(cfg.Metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "usher_jibri_requests_total", Help: "Requests to the focus, by what came of them.",
		}, []string{"verb", "result"}),
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	for _, result := range []string{
		"ok", "busy", "no_recorders", "not_ready", "exists", "not_allowed", "broken", "silent", "invalid",
	} {
		d.requests.WithLabelValues("start", result)
	}
	for _, result := range []string{"ok", "unknown", "failed"} {
		d.requests.WithLabelValues("stop", result)
	}
	cfg.Pool.wake = d.freed
	return d
}

// Work notes what is to be done for a meeting now (meeting.Recorders).
func (d *Desk) Work(m meeting.Meeting) {
	d.mu.Lock()
	t := d.tasks[m.ID]
	due := hasWork(m)
	switch {
	case t != nil:
		t.m = m
		if !due && !t.calling {
			delete(d.tasks, m.ID)
		}
	case due:
		d.tasks[m.ID] = &task{id: m.ID, m: m}
	}
	d.mu.Unlock()
	if due {
		d.poke()
	}
}

// hasWork reports whether a recording of the meeting is on its way to its start
// or its end. Most are not: they go on, or are over.
func hasWork(m meeting.Meeting) bool {
	return slices.ContainsFunc(m.Recordings, func(r meeting.Recording) bool {
		switch r.State {
		case meeting.RecordingRequested, meeting.RecordingQueued, meeting.RecordingStarting, meeting.RecordingStopping:
			return true
		}
		return false
	})
}

// Queue returns the recordings that wait for a recorder, the next one first.
func (d *Desk) Queue() []meeting.Recording {
	d.mu.Lock()
	defer d.mu.Unlock()
	var queue []meeting.Recording
	for _, t := range d.tasks {
		if r, ok := t.m.ActiveRecording(); ok && r.State == meeting.RecordingQueued {
			queue = append(queue, r)
		}
	}
	slices.SortFunc(queue, meeting.BeforeInQueue)
	return queue
}

// Run works until ctx ends, and returns once nothing of it is left running.
// Recordings go on.
func (d *Desk) Run(ctx context.Context) error {
	defer d.calls.Wait()
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		alarm.Stop()
		if next := d.turn(ctx, time.Now()); !next.IsZero() {
			alarm.Reset(time.Until(next))
		}
		select {
		case <-d.wake:
		case <-alarm.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (d *Desk) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// freed is called when a recorder may have become free.
func (d *Desk) freed() {
	d.mu.Lock()
	d.nextTry, d.pause = time.Time{}, 0
	d.mu.Unlock()
	d.poke()
}

// turn makes the calls that are due and returns when the next one is.
func (d *Desk) turn(ctx context.Context, now time.Time) (next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	earliest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	var line []*task
	starting, quick := 0, 0
	for _, t := range d.tasks {
		r, stop := t.m.ToStop()
		_, from, start := t.m.ToStart()
		switch {
		case t.calling && t.starting.IsZero():
		case t.calling:
			starting++
			if late := t.starting.Add(blindPatience); now.Before(late) {
				quick++
				earliest(late)
			}
		case stop && now.Before(t.stopAt):
			earliest(t.stopAt)
		case stop:
			t.stopAt = now.Add(stopPace)
			d.call(t, func() { d.stop(ctx, t, r) })
		case start && now.Before(from):
			earliest(from)
		case start:
			line = append(line, t)
		}
	}
	slices.SortFunc(line, func(a, b *task) int { return meeting.BeforeInQueue(a.next(), b.next()) })

	d.taken = slices.DeleteFunc(d.taken, func(until time.Time) bool { return !now.Before(until) })
	free, turned, seen := d.cfg.Pool.free(now)
	places := free - max(len(d.taken)-turned, 0) - starting
	if !seen {
		places = 1 - quick // one after the other, or the order of the line is lost
	}
	if now.Before(d.nextTry) {
		places = 0
		if len(line) > 0 {
			earliest(d.nextTry)
		}
	}
	for i, t := range line {
		r := t.next()
		if i < places {
			t.starting = now
			d.call(t, func() { d.start(ctx, t, r) })
			continue
		}
		why := d.busy
		if seen {
			why = meeting.ReasonBusy
		}
		if why != "" && (r.State != meeting.RecordingQueued || r.Waits != why) && r.State != meeting.RecordingStarting {
			d.call(t, func() { d.tell(ctx, t, meeting.RecordingWaits{ID: r.ID, Reason: why}) })
		}
	}
	if len(line) > max(places, 0) && len(d.taken) > 0 {
		earliest(d.taken[0])
	}
	return next
}

// next returns the recording of the task that is to be started.
func (t *task) next() meeting.Recording {
	r, _, _ := t.m.ToStart()
	return r
}

// call runs f with nothing else going on for the meeting. d.mu is held.
func (d *Desk) call(t *task, f func()) {
	t.calling = true
	d.calls.Go(func() {
		f()
		d.mu.Lock()
		t.calling, t.starting = false, time.Time{}
		if !hasWork(t.m) {
			delete(d.tasks, t.id)
		}
		d.mu.Unlock()
		d.poke()
	})
}

// start has one recording started, and tells its meeting what came of it.
func (d *Desk) start(ctx context.Context, t *task, r meeting.Recording) {
	if !d.tell(ctx, t, meeting.RecordingTried{ID: r.ID}) {
		return
	}
	session, refusal, detail, err := d.focus.start(ctx, r)
	if err == nil && refusal == meeting.RefusedNotAllowed {
		// Somebody took our ownership away since the last check.
		if d.cfg.Own(ctx, r.Room) == nil {
			session, refusal, detail, err = d.focus.start(ctx, r)
		}
	}
	if err != nil {
		return // we are going; the next process asks again
	}
	log := d.log.With("room", r.Room, "meeting_id", r.MeetingID, "recording_id", r.ID)
	if refusal != "" {
		d.requests.WithLabelValues("start", string(refusal)).Inc()
		log.Info("recording not started", "reason", refusal, "detail", detail)
		d.refused(refusal)
		d.tell(ctx, t, meeting.RecordingRefused{ID: r.ID, Refusal: refusal, Detail: detail})
		return
	}
	d.requests.WithLabelValues("start", "ok").Inc()
	log.Info("recorder found", "jibri_session_id", session)
	d.found()
	d.tell(ctx, t, meeting.RecordingAccepted{ID: r.ID, JibriSession: session})
}

// found notes that the focus has found a recorder.
func (d *Desk) found() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken = append(d.taken, time.Now().Add(settleTime))
	d.nextTry, d.pause, d.busy = time.Time{}, 0, ""
}

// refused notes when to ask for a recorder again.
func (d *Desk) refused(refusal meeting.Refusal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch refusal {
	case meeting.RefusedBusy:
		d.busy = meeting.ReasonBusy
	case meeting.RefusedNone:
		d.busy = meeting.ReasonNoRecorder
	default:
		return // about this meeting alone
	}
	if _, _, seen := d.cfg.Pool.free(time.Now()); seen {
		d.pause = min(max(2*d.pause, busyMin), busyMax)
	} else {
		d.pause = blindPace
	}
	d.nextTry = time.Now().Add(d.pause)
}

// stop has one recording stopped. That it is over comes from the room.
func (d *Desk) stop(ctx context.Context, t *task, r meeting.Recording) {
	unknown, err := d.focus.stop(ctx, r)
	log := d.log.With("room", r.Room, "meeting_id", r.MeetingID, "recording_id", r.ID)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		d.requests.WithLabelValues("stop", "failed").Inc()
		log.Warn("cannot stop a recording, trying again", "err", err)
	case unknown:
		d.requests.WithLabelValues("stop", "unknown").Inc()
		// A focus that has restarted knows nothing of a recorder that goes on.
		log.Info("the focus knows nothing of a recording that is to end")
		d.tell(ctx, t, meeting.RecordingUnknown{ID: r.ID})
	default:
		d.requests.WithLabelValues("stop", "ok").Inc()
	}
}

// tell hands a fact to a meeting, again and again while it cannot take it, and
// reports whether the meeting did.
func (d *Desk) tell(ctx context.Context, t *task, f meeting.Fact) bool {
	for {
		_, err := d.cfg.Do(ctx, t.id, f)
		if err == nil {
			return true
		}
		if !errors.Is(err, meeting.ErrUnavailable) && !errors.Is(err, meeting.ErrBusy) {
			return false
		}
		timer := time.NewTimer(tellPace)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}
