package tracker

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"usher/meeting"
)

// request is an event on its way to a meeting.
type request struct {
	event  meeting.TimedInput
	since  time.Time    // when it was handed over
	done   chan outcome // nil: nobody waits; holds one answer
	urgent bool         // a command of an app
}

type outcome struct {
	meeting meeting.Meeting
	err     error
}

// answer says what came of the request, if somebody waits and has not heard.
func (r request) answer(o outcome) {
	select {
	case r.done <- o:
	default:
	}
}

// actor is one meeting with its queue. The goroutine that works off the queue
// exists only while there is work.
type actor struct {
	t       *Tracker
	meeting atomic.Pointer[meeting.Meeting] // as last committed

	mu      sync.Mutex
	queue   []request
	working bool
	missed  time.Time // of the first input that was dropped since the last resync
	timer   *time.Timer
	urgent  chan struct{} // closed when a command joins the queue; nil: nobody waits for that

	// Only the working goroutine touches these.
	asked    meeting.DesiredState // what Rooms were last asked for
	kicks    bool                 // whether Rooms were last asked to kick somebody
	recorded bool                 // whether Recorders last got a meeting with recordings
}

func newActor(t *Tracker, m meeting.Meeting) *actor {
	a := &actor{t: t}
	a.meeting.Store(&m)
	return a
}

// post queues a request and reports whether there was room for it.
func (a *actor) post(r request) bool {
	// Run clears t.run under t.mu before it waits for the goroutines, so none is
	// started after that.
	a.t.mu.RLock()
	defer a.t.mu.RUnlock()
	if a.t.run == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) >= MaxQueue {
		if r.done == nil {
			a.miss(r.event.At)
		}
		return false
	}
	r.since = time.Now()
	a.queue = append(a.queue, r)
	if r.urgent && a.urgent != nil {
		close(a.urgent)
		a.urgent = nil
	}
	if !a.working {
		a.working = true
		ctx := a.t.run
		a.t.work.Go(func() { a.work(ctx) })
	}
	return true
}

// do queues a command and waits for its outcome.
func (a *actor) do(ctx context.Context, f meeting.Input) (meeting.Meeting, error) {
	if a.t.StoreFailing() || !a.t.Running() {
		return meeting.Meeting{}, meeting.ErrUnavailable
	}
	done := make(chan outcome, 1)
	if !a.post(request{event: newEvent(time.Now(), f), done: done, urgent: true}) {
		return meeting.Meeting{}, meeting.ErrBusy
	}
	select {
	case o := <-done:
		return o.meeting, o.err
	case <-ctx.Done():
		return meeting.Meeting{}, errors.Join(meeting.ErrUnavailable, context.Cause(ctx))
	}
}

// work works off the queue, everything that waits in one commit, until it is
// empty.
func (a *actor) work(ctx context.Context) {
	resync := false
	for {
		a.mu.Lock()
		batch := a.queue
		a.queue = nil
		if !a.missed.IsZero() {
			batch = append(batch, request{event: newEvent(a.missed, meeting.SightLost{}), since: time.Now()})
			a.missed, resync = time.Time{}, true
		}
		if len(batch) == 0 {
			a.working = false
			a.mu.Unlock()
			if resync {
				a.t.rooms.Resync(a.meeting.Load().Room)
			}
			return
		}
		a.mu.Unlock()
		a.batch(ctx, batch)
	}
}

// urgency returns what is closed once a command waits, in the batch or behind it.
func (a *actor) urgency(batch []request) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.urgent = nil
	urgent := make(chan struct{})
	isUrgent := func(r request) bool { return r.urgent }
	if slices.ContainsFunc(batch, isUrgent) || slices.ContainsFunc(a.queue, isUrgent) {
		close(urgent)
	} else {
		a.urgent = urgent
	}
	return urgent
}

// miss notes that an input was dropped. a.mu is held.
func (a *actor) miss(at time.Time) {
	if a.missed.IsZero() {
		a.missed = at
	}
}

// batch applies what waits, stores the change, and does what follows from it.
func (a *actor) batch(ctx context.Context, batch []request) {
	defer a.survivePanic(ctx, batch)
	was := *a.meeting.Load()
	next, fx, accepted := a.apply(was, batch)
	if err := a.store(ctx, was, next, fx, batch); err != nil {
		a.commitFailed(ctx, batch, err)
		return
	}
	a.meeting.Store(&next)
	if was.ID != next.ID {
		a.t.register(a, next)
	}
	a.settle()
	for _, r := range accepted {
		r.answer(outcome{meeting: next})
	}
}

// survivePanic is deferred by batch. One meeting's trouble stays its own: what
// is committed still holds.
func (a *actor) survivePanic(ctx context.Context, batch []request) {
	p := recover()
	if p == nil {
		return
	}
	a.t.opts.Log.Error("panic while working on a meeting", "meeting_id", a.meeting.Load().ID,
		"panic", p, "stack", string(debug.Stack()))
	if a.t.opts.Panicked != nil {
		a.t.opts.Panicked()
	}
	a.refuse(batch, meeting.ErrUnavailable)
	a.startOver(ctx, batch)
}

// apply returns the meeting after all events of the batch, and the requests
// that were not refused; those that were have their answer.
func (a *actor) apply(m meeting.Meeting, batch []request) (next meeting.Meeting, fx meeting.Effects, accepted []request) {
	next = m
	for _, r := range batch {
		m, f, err := meeting.Apply(next, r.event)
		if err != nil {
			a.refuse([]request{r}, err)
			continue
		}
		next = m
		fx.Add(f)
		accepted = append(accepted, r)
	}
	if cap(next.People) > len(next.People)+len(next.People)/4+1 {
		// Grown by doubling while many came in. Meetings are many and stay, so
		// what is not used would add up.
		next.People = slices.Clone(next.People)
	}
	return next, fx, accepted
}

// store commits the change, if there is one, and deletes a meeting that is to be
// forgotten.
func (a *actor) store(ctx context.Context, was, next meeting.Meeting, fx meeting.Effects, batch []request) error {
	urgent := func() <-chan struct{} { return a.urgency(batch) }
	if next.Version != was.Version {
		first := batch[0].event
		c := meeting.Commit{Op: meeting.NewID("op_", first.At, first.Seed, 0), From: was.Version, Meeting: next, Effects: fx}
		for _, n := range fx.Events {
			var endpoints []string
			if a.t.opts.Route != nil {
				endpoints = a.t.opts.Route(n)
			}
			c.Routes = append(c.Routes, endpoints)
		}
		if err := a.t.commit(ctx, urgent, c); err != nil {
			return err
		}
		if a.t.opts.Committed != nil {
			a.t.opts.Committed(c, time.Since(batch[0].since))
		}
	}
	if next.Forgotten && next.Closed {
		return a.t.forget(ctx, urgent, next.ID)
	}
	return nil
}

// commitFailed takes back a change that the store refused for good.
func (a *actor) commitFailed(ctx context.Context, batch []request, err error) {
	a.refuse(batch, err)
	var exists *meeting.ExistsError
	var held *meeting.RoomHeldError
	switch {
	case errors.As(err, &exists), errors.As(err, &held), ctx.Err() != nil:
	case errors.Is(err, meeting.ErrFenced):
		select {
		case a.t.fatal <- err:
		default:
		}
	default:
		id := a.meeting.Load().ID
		a.t.opts.Log.Error("commit refused, reading the meeting anew", "meeting_id", id, "err", err)
		if m, err := a.t.store.Load(ctx, id); err == nil {
			a.meeting.Store(&m)
		}
		a.startOver(ctx, batch)
	}
}

func (a *actor) refuse(batch []request, err error) {
	for _, r := range batch {
		r.answer(outcome{err: err})
	}
}

// startOver has the room listed anew after changes that could not be made, and
// looks at deadlines again, for one may have been among them. What failed once
// may well fail again, so it waits first.
func (a *actor) startOver(ctx context.Context, failed []request) {
	if !sleep(ctx, maxRetry) {
		return
	}
	a.mu.Lock()
	a.miss(failed[0].event.At)
	a.mu.Unlock()
	a.post(request{event: newEvent(time.Now(), meeting.Tick{})})
}

// settle does what follows from the meeting's state alone: what is wanted of
// the room, and the next deadline.
func (a *actor) settle() {
	m, now := *a.meeting.Load(), time.Now()
	if m.ID == "" {
		return
	}
	if w := m.DesiredState(now); w != a.asked {
		a.asked = w
		a.t.ask(a, m.Room, func() { a.t.rooms.Want(m.Room, w) })
	}
	if who := m.ToKick(now); len(who) > 0 || a.kicks {
		a.kicks = len(who) > 0
		a.t.ask(a, m.Room, func() { a.t.rooms.PutOut(m.Room, who) })
	}
	a.stopTimer()
	if next := m.Deadline(now); !next.IsZero() {
		a.mu.Lock()
		a.timer = time.AfterFunc(next.Sub(now), func() {
			a.post(request{event: newEvent(time.Now(), meeting.Tick{})})
		})
		a.mu.Unlock()
	}
	if len(m.Recordings) > 0 || a.recorded {
		a.recorded = len(m.Recordings) > 0
		if a.t.opts.Recorders != nil {
			a.t.opts.Recorders.Work(m)
		}
	}
	if !m.HoldsRoom() {
		a.t.letGo(a, m)
	}
}

func (a *actor) stopTimer() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
}

// register makes a new meeting one of those at hand.
func (t *Tracker) register(a *actor, m meeting.Meeting) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[m.ID], t.byRoom[m.Room] = a, a
}

// ask tells the rooms what a meeting wants. The store gives a room away with
// the commit that closes its meeting, so the next meeting of the room may have
// said what it wants before the old one gets here: its word counts.
func (t *Tracker) ask(a *actor, room string, tell func()) {
	t.wants.Lock()
	defer t.wants.Unlock()
	t.mu.RLock()
	holder := t.byRoom[room]
	t.mu.RUnlock()
	if holder == a {
		tell()
	}
}

// letGo drops a meeting whose room is gone from those of rooms, and one that is
// over from those at hand; the store keeps it.
func (t *Tracker) letGo(a *actor, m meeting.Meeting) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.Over() || m.Forgotten {
		delete(t.byID, m.ID)
	}
	if t.byRoom[m.Room] == a {
		delete(t.byRoom, m.Room)
	}
}
