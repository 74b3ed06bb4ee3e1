package tracker

import (
	"cmp"
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"usher/internal/sleep"
	"usher/meeting"
)

// request is an input on its way to a meeting.
type request struct {
	input  meeting.TimedInput
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
	timer   *time.Timer                     // of the meeting's next deadline

	// These are guarded by t.mu.
	queue   []request
	working bool
	missed  time.Time     // of the first input that was dropped since the last resync
	urgent  chan struct{} // to be closed once a command waits; nil: that is done, or nobody needs it

	// Only the working goroutine touches these.
	asked    meeting.DesiredState // what Rooms were last asked for
	kicks    bool                 // whether Rooms were last asked to kick somebody
	recorded bool                 // whether Recorders last got a meeting with recordings
}

func newActor(t *Tracker, m meeting.Meeting) *actor {
	a := &actor{t: t}
	a.meeting.Store(&m)
	a.timer = time.AfterFunc(time.Hour, func() { a.post(request{input: timed(time.Now(), meeting.Tick{})}) })
	a.timer.Stop() // until there is a deadline
	return a
}

// knows reports whether an input says nothing new, as most presences do: clients
// send one for each change of what usher does not read.
func (a *actor) knows(in meeting.Input) bool {
	seen, is := in.(meeting.Seen)
	if !is {
		return false
	}
	a.t.mu.Lock()
	upToDate := !a.working && a.missed.IsZero()
	a.t.mu.Unlock()
	return upToDate && a.meeting.Load().Knows(seen.Occupant)
}

// post queues a request and reports whether there was room for it.
func (a *actor) post(r request) bool {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	// Run clears t.run before it waits for the goroutines, so none is started after
	// that.
	if a.t.run == nil {
		return false
	}
	if len(a.queue) >= MaxQueue {
		if r.done == nil {
			a.missed = cmp.Or(a.missed, r.input.At)
		}
		return false
	}
	r.since = time.Now()
	a.queue = append(a.queue, r)
	if r.urgent {
		a.hurry()
	}
	if !a.working {
		a.working = true
		ctx := a.t.run
		a.t.work.Go(func() { a.work(ctx) })
	}
	return true
}

// hurry has the commit under way go ahead of those that no command waits for.
// t.mu is held.
func (a *actor) hurry() {
	if a.urgent != nil {
		close(a.urgent)
		a.urgent = nil
	}
}

// do queues a command and waits for its outcome.
func (a *actor) do(ctx context.Context, f meeting.Input) (meeting.Meeting, error) {
	if a.t.StoreFailing() || !a.t.Running() {
		return meeting.Meeting{}, meeting.ErrUnavailable
	}
	done := make(chan outcome, 1)
	if !a.post(request{input: timed(time.Now(), f), done: done, urgent: true}) {
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
		batch, urgent, missed := a.take()
		resync = resync || missed
		if len(batch) == 0 {
			if resync {
				a.t.rooms.Resync(a.meeting.Load().Room)
			}
			return
		}
		a.batch(ctx, urgent, batch)
	}
}

// take returns what waits, and whether something was dropped; with nothing to do
// the goroutine must end. urgent is closed once a command waits, in the batch or
// behind it.
func (a *actor) take() (batch []request, urgent chan struct{}, missed bool) {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	batch, a.queue = a.queue, nil
	if missed = !a.missed.IsZero(); missed {
		batch = append(batch, request{input: timed(a.missed, meeting.SightLost{}), since: time.Now()})
		a.missed = time.Time{}
	}
	a.working = len(batch) > 0
	urgent = make(chan struct{})
	a.urgent = urgent
	if slices.ContainsFunc(batch, func(r request) bool { return r.urgent }) {
		a.hurry()
	}
	return batch, urgent, missed
}

// batch applies what waits, stores the change, in several commits if it is a
// large one, and does what follows from each.
func (a *actor) batch(ctx context.Context, urgent <-chan struct{}, batch []request) {
	defer a.survivePanic(ctx, batch)
	since := batch[0].since
	for len(batch) > 0 {
		c, accepted, rest := a.apply(*a.meeting.Load(), batch)
		if err := a.store(ctx, urgent, c, since); err != nil {
			a.commitFailed(ctx, batch, err)
			return
		}
		next := c.Meeting
		if was := a.meeting.Swap(&next); was.ID != next.ID {
			a.t.register(a, next)
		}
		a.settle()
		for _, r := range accepted {
			r.answer(outcome{meeting: next})
		}
		batch = rest
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

// apply returns the commit of as many inputs of the batch as maxWrites allows,
// the requests that were not refused, and those that are for the next commit;
// those that were refused have their answer. A request whose change needs further
// commits is among both: what it decides is in the first.
func (a *actor) apply(m meeting.Meeting, batch []request) (c meeting.Commit, accepted, rest []request) {
	first := batch[0].input
	c = meeting.Commit{Op: meeting.NewID("op_", first.At, first.Seed, 0), From: m.Version, Meeting: m}
	writes, each := 0, maxWrites // of the last event; as long as there is none, the most
	for rest = batch; len(rest) > 0 && writes < maxWrites; {
		r := rest[0]
		r.input.TriggerDelay, r.input.Notice = a.t.opts.TriggerDelay, a.t.opts.Notice
		r.input.MaxEvents = max(1, (maxWrites-writes)/each)
		m, fx, err := meeting.Apply(c.Meeting, r.input)
		if err != nil {
			a.refuse(rest[:1], err)
			rest = rest[1:]
			continue
		}
		c.Meeting = m
		c.Add(fx)
		for _, e := range fx.Events {
			endpoints := a.t.route(e)
			c.Routes = append(c.Routes, endpoints)
			each = 1 + len(endpoints)
			writes += each
		}
		accepted = append(accepted, r)
		if fx.More {
			rest[0].input.Seed = meeting.NewSeed() // for new ids
		} else {
			rest = rest[1:]
		}
	}
	if people := c.Meeting.People; cap(people) > len(people)+len(people)/4+1 {
		// Grown by doubling while many came in. Meetings are many and stay, so
		// what is not used would add up.
		c.Meeting.People = slices.Clone(people)
	}
	return c, accepted, rest
}

// store commits the change, if there is one, and deletes a meeting that is to be
// forgotten.
func (a *actor) store(ctx context.Context, urgent <-chan struct{}, c meeting.Commit, since time.Time) error {
	if c.Meeting.Version != c.From {
		if err := a.t.insist(ctx, urgent, func() error { return a.t.commit(ctx, &c) }); err != nil {
			return err
		}
		if a.t.opts.Committed != nil {
			a.t.opts.Committed(c, time.Since(since))
		}
	}
	if c.Meeting.Forgotten && c.Meeting.Closed {
		return a.t.insist(ctx, urgent, func() error { return a.t.store.Forget(ctx, c.Meeting.ID) })
	}
	return nil
}

// commitFailed takes back a change that the store refused for good.
func (a *actor) commitFailed(ctx context.Context, batch []request, err error) {
	a.refuse(batch, err)
	_, exists := errors.AsType[*meeting.ExistsError](err)
	_, held := errors.AsType[*meeting.RoomHeldError](err)
	switch {
	case exists, held, ctx.Err() != nil:
	case errors.Is(err, meeting.ErrFenced):
		a.t.stop(err)
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
	if !sleep.For(ctx, maxRetry) {
		return
	}
	a.t.mu.Lock()
	a.missed = cmp.Or(a.missed, failed[0].input.At)
	a.t.mu.Unlock()
	a.timer.Reset(0)
}

// settle does what follows from the meeting's state alone: what is wanted of
// the room, and the next deadline.
func (a *actor) settle() {
	m, now := *a.meeting.Load(), time.Now()
	if m.ID == "" {
		return
	}
	// Each one who is on the way is news.
	if w := m.DesiredState(now); w != a.asked || w == meeting.WantSoon {
		a.asked = w
		a.t.ask(a, m.Room, func() { a.t.rooms.Want(m.Room, w) })
	}
	if who := m.ToKick(now); len(who) > 0 || a.kicks {
		a.kicks = len(who) > 0
		a.t.ask(a, m.Room, func() { a.t.rooms.Evict(m.Room, who) })
	}
	a.timer.Stop()
	if next := m.Deadline(now); !next.IsZero() {
		a.timer.Reset(next.Sub(now))
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

// register makes a new meeting one of those at hand.
func (t *Tracker) register(a *actor, m meeting.Meeting) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[m.ID], t.byRoom[m.Room] = a, a
}

// ask has the rooms do what a meeting wants. The store gives a room away with
// the commit that closes its meeting, so the next meeting of the room may have
// said what it wants before the old one gets here: its wishes count.
func (t *Tracker) ask(a *actor, room string, do func()) {
	t.wants.Lock()
	defer t.wants.Unlock()
	if t.ofRoom(room) == a {
		do()
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
