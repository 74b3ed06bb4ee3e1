// Package tracker works on the meetings that are not over: each has a queue of
// inputs, worked off by one goroutine at a time, which is the only writer of its
// meeting. It applies the inputs, commits what they change, and only then does
// what follows from the change.
package tracker

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"usher/internal/sleep"
	"usher/internal/workers"
	"usher/meeting"
)

// Limits of the tracker.
const (
	// MaxQueue is how many inputs may wait for one meeting. A room of a
	// thousand that changes all at once stays below it while the store is quick.
	MaxQueue = 1024
	// minRetry and maxRetry bound the wait between two tries of a commit: the
	// first is about a round trip to a store that has just come back, the last
	// keeps an outage, or a change that fails each time, from becoming a flood.
	minRetry = 20 * time.Millisecond
	maxRetry = time.Second
	// inputCommits and commandCommits are the most commits under way at a time:
	// of what rooms say, and of meetings in which a command of an app waits. The
	// store works off one after the other, so more would only wait there, each
	// with its timeout running: at the start all meetings commit at once.
	// Together they leave a quarter of the store's sixteen connections to the
	// lease and to those who read.
	inputCommits   = 8
	commandCommits = 4
	// maxWrites is how much of what apps are sent one commit stores: each event
	// once in the log, and once more for each endpoint that gets it. A larger change
	// takes several commits. Redis does nothing else during one, and 5,000 values of
	// a kilobyte, which it also appends to its file, take it less than 100 ms on a
	// machine that is busy.
	maxWrites = 5000
)

// Store keeps meetings. Its methods are safe for concurrent use.
//
// Every error that may pass when tried again wraps [meeting.ErrUnavailable].
type Store interface {
	// Commit stores the change: the meeting, its people and sessions, the
	// events in the event log and in the lists of endpoints. Other errors: [meeting.ErrFenced],
	// [meeting.ConflictError], and for a new meeting [meeting.ExistsError] when its room or
	// external id is taken, or [meeting.RoomHeldError], see [meeting.Meeting.RoomHeldUntil].
	Commit(ctx context.Context, c meeting.Commit) error
	// Open returns the meetings that are not over (see [meeting.Meeting.Over]), each
	// with the people of its open session.
	Open(ctx context.Context) ([]meeting.Meeting, error)
	// Forget deletes a meeting that is over, with its sessions and people; one
	// that is not there is no error.
	Forget(ctx context.Context, id string) error
	// Load returns one meeting, with the people of its open session, or
	// [meeting.ErrNotFound].
	Load(ctx context.Context, id string) (meeting.Meeting, error)
}

// Rooms does what meetings want done about their rooms. Its methods return at
// once.
type Rooms interface {
	// Want says what is to be done about a room from now on.
	Want(room string, w meeting.DesiredState)
	// Evict names those who are in a room and must not be, in place of those
	// named before: they are to be kicked as soon as usher is in it as well.
	Evict(room string, who []meeting.Kick)
	// Resync asks for a [meeting.Roster], because presences of the room were dropped.
	Resync(room string)
}

// Recorders starts and stops recordings. Its methods return at once.
type Recorders interface {
	// Work says that the recordings of a meeting have changed, or that the
	// meeting was loaded: see [meeting.Meeting.ToStart] and [meeting.Meeting.ToStop].
	Work(m meeting.Meeting)
}

// Options configure a Tracker; the zero value is usable.
type Options struct {
	Recorders Recorders // nil: nothing is recorded
	// TriggerDelay is how long after the first human a meeting with
	// [meeting.TriggerAutomatic] is recorded.
	TriggerDelay time.Duration
	Notice       meeting.Notice // see [meeting.TimedInput]
	Log          *slog.Logger   // nil discards
	// Route names the webhook endpoints that are to get an event; nil: none.
	Route func(meeting.Event) []string
	// Committed is called after each commit, on the meeting's goroutine, with
	// the time since the oldest input in it was handed over. It must not block.
	Committed func(meeting.Commit, time.Duration)
	// Dropped is called for each presence dropped because MaxQueue was reached.
	Dropped func()
	// Panicked is called after a panic while working on a meeting was survived.
	Panicked func()
}

// Tracker owns the meetings that are not over. Each has a queue of its own,
// worked off by one goroutine at a time: that is the only writer of the
// meeting. Methods are safe for concurrent use.
type Tracker struct {
	store Store
	rooms Rooms
	opts  Options

	mu     sync.Mutex
	byID   map[string]*actor
	byRoom map[string]*actor
	run    context.Context         // of Run; nil before it and after it
	stop   context.CancelCauseFunc // ends run
	work   *workers.Group          // they work off queues

	// wants keeps what two meetings of one room want in order. It is held while
	// Rooms are called, which mu must not be: they call Observe under a lock of
	// theirs.
	wants sync.Mutex

	// inputs and commands hold a value for each commit under way, see inputCommits.
	inputs, commands chan struct{}

	failing atomic.Bool // the store did not answer the last call, which is tried again
}

// New returns a tracker that does nothing until Run.
func New(store Store, rooms Rooms, opts Options) *Tracker {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Tracker{
		store: store, rooms: rooms, opts: opts,
		byID: map[string]*actor{}, byRoom: map[string]*actor{},
		inputs: make(chan struct{}, inputCommits), commands: make(chan struct{}, commandCommits),
	}
}

// Run loads the meetings that are not over and works on them until ctx ends or
// another process takes over ([meeting.ErrFenced]); it returns once no goroutine of
// the tracker is left. ready is called when the meetings are loaded.
func (t *Tracker) Run(ctx context.Context, ready func()) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var open []meeting.Meeting
	err := t.insist(ctx, nil, func() (err error) {
		open, err = t.store.Open(ctx)
		return err
	})
	if err == nil {
		t.start(ctx, stop, open)
		ready()
		<-ctx.Done()
		t.finish()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// start takes in the meetings that are not over.
func (t *Tracker) start(ctx context.Context, stop context.CancelCauseFunc, open []meeting.Meeting) {
	t.mu.Lock()
	t.run, t.stop, t.work = ctx, stop, workers.New()
	for _, m := range open {
		a := newActor(t, m)
		t.byID[m.ID] = a
		if m.HoldsRoom() {
			t.byRoom[m.Room] = a
		}
	}
	t.mu.Unlock()
	for _, a := range t.all() {
		// What happened while usher was away follows from the next roster.
		// Handling this also gives each meeting its deadline and its desired state.
		a.post(request{input: timed(a.meeting.Load().LastSeen(), meeting.SightLost{})})
	}
}

// finish waits until no goroutine is left, and lets all meetings go.
func (t *Tracker) finish() {
	t.mu.Lock()
	t.run = nil
	for _, a := range t.byID {
		a.timer.Stop()
	}
	t.mu.Unlock()
	t.work.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.byID)
	clear(t.byRoom)
}

// all returns the meetings at hand, in no order.
func (t *Tracker) all() []*actor {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Values(t.byID))
}

// ofRoom returns the meeting that has the room, or nil.
func (t *Tracker) ofRoom(room string) *actor {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byRoom[room]
}

// Observe hands over what a room said at the given time. It never blocks: when
// too much waits already, the input is dropped and the room listed anew later.
// What is said of rooms without a meeting are dropped.
func (t *Tracker) Observe(room string, at time.Time, f meeting.Input) {
	a := t.ofRoom(room)
	if a == nil || a.knows(f) {
		return
	}
	if !a.post(request{input: timed(at, f)}) && t.opts.Dropped != nil {
		t.opts.Dropped()
	}
}

// Create makes a meeting and blocks until it is stored, or ctx ends. Errors:
// [meeting.ExistsError], [meeting.RoomHeldError], [meeting.ErrUnavailable].
func (t *Tracker) Create(ctx context.Context, c meeting.Created) (meeting.Meeting, error) {
	return newActor(t, meeting.Meeting{}).do(ctx, c)
}

// Do applies a command to a meeting and blocks until it is stored, or ctx
// ends: then the outcome is open and ErrUnavailable is returned. Errors:
// [meeting.ErrNotFound], [meeting.ErrEnded], [meeting.ErrBusy], [meeting.ErrUnavailable].
func (t *Tracker) Do(ctx context.Context, id string, f meeting.Input) (meeting.Meeting, error) {
	t.mu.Lock()
	a := t.byID[id]
	t.mu.Unlock()
	if a != nil {
		return a.do(ctx, f)
	}
	m, err := t.store.Load(ctx, id)
	switch {
	case err != nil:
		return meeting.Meeting{}, err
	case !t.Running():
		return meeting.Meeting{}, meeting.ErrUnavailable
	}
	if m.HoldsRoom() || len(m.Recordings) > 0 {
		// Being made just now, or by another process: not ours to change yet.
		return meeting.Meeting{}, meeting.ErrUnavailable
	}
	return t.again(m).do(ctx, f)
}

// again returns the actor of a meeting that was over, back among those at hand
// until what is asked of it is done.
func (t *Tracker) again(m meeting.Meeting) *actor {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.byID[m.ID]
	if a == nil {
		a = newActor(t, m)
		t.byID[m.ID] = a
	}
	return a
}

// Room returns the meeting of a room as last committed, without asking the
// store.
func (t *Tracker) Room(room string) (meeting.Meeting, bool) {
	if a := t.ofRoom(room); a != nil {
		return *a.meeting.Load(), true
	}
	return meeting.Meeting{}, false
}

// Each calls f with every meeting at hand as last committed, in no order.
func (t *Tracker) Each(f func(meeting.Meeting)) {
	for _, a := range t.all() {
		f(*a.meeting.Load())
	}
}

// Rewrite writes every meeting at hand anew, with its people and its recordings,
// because the store has lost what it held. It blocks until each is stored, or
// ctx ends; what is not stored by then goes on being tried. Error:
// [meeting.ErrUnavailable] while the meetings are not loaded.
func (t *Tracker) Rewrite(ctx context.Context) error {
	if !t.Running() {
		return meeting.ErrUnavailable
	}
	left := t.all()
	all := len(left)
	done := make(chan outcome, all)
	for len(left) > 0 {
		left = slices.DeleteFunc(left, func(a *actor) bool {
			return a.post(request{input: timed(time.Now(), meeting.StoreReset{}), done: done})
		})
		if len(left) > 0 && !sleep.For(ctx, maxRetry) { // their queues are full
			return context.Cause(ctx)
		}
	}
	for range all {
		select {
		case <-done: // one that was refused for good is in the log
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Running reports whether Run has loaded the meetings and still works on them.
func (t *Tracker) Running() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.run != nil
}

// StoreFailing reports whether the store did not answer the last call, which is
// being tried again.
func (t *Tracker) StoreFailing() bool { return t.failing.Load() }

// route names the endpoints that are to get an event.
func (t *Tracker) route(e meeting.Event) []string {
	if t.opts.Route == nil {
		return nil
	}
	return t.opts.Route(e)
}

// commit stores the change, whole when the store has lost the meeting.
func (t *Tracker) commit(ctx context.Context, c *meeting.Commit) error {
	err := t.store.Commit(ctx, *c)
	conflict, is := errors.AsType[*meeting.ConflictError](err)
	switch {
	case !is || conflict.Stored >= c.From:
		return err
	case c.Meeting.Forgotten && c.Meeting.Closed:
		return nil // was asked for twice, and is done
	}
	// The store has forgotten: what is at hand is the truth.
	t.opts.Log.Warn("store lost a meeting, writing it anew",
		"meeting_id", c.Meeting.ID, "version", c.Meeting.Version, "stored", conflict.Stored)
	*c = c.AsWhole()
	return t.store.Commit(ctx, *c)
}

// insist calls the store until it answers, or ctx ends. Calls for which urgent is
// closed go ahead of others.
func (t *Tracker) insist(ctx context.Context, urgent <-chan struct{}, call func() error) error {
	for wait := minRetry; ; wait = min(2*wait, maxRetry) {
		err := t.inTurn(ctx, urgent, call)
		switch {
		case ctx.Err() != nil:
			return err
		case !errors.Is(err, meeting.ErrUnavailable): // a refusal is an answer too
			if t.failing.CompareAndSwap(true, false) {
				t.opts.Log.Info("store answers again")
			}
			return err
		}
		if t.failing.CompareAndSwap(false, true) {
			t.opts.Log.Error("store does not answer, changes wait", "err", err)
		}
		if !sleep.For(ctx, wait) {
			return meeting.ErrUnavailable
		}
	}
}

// inTurn makes a call of the store when fewer than the most are under way; once
// urgent is closed it may also take the place of a command.
func (t *Tracker) inTurn(ctx context.Context, urgent <-chan struct{}, call func() error) error {
	var commands chan struct{} // nil: not yet
	for {
		select {
		case t.inputs <- struct{}{}:
			defer func() { <-t.inputs }()
			return call()
		case commands <- struct{}{}:
			defer func() { <-t.commands }()
			return call()
		case <-urgent:
			commands, urgent = t.commands, nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// timed stamps an input.
func timed(at time.Time, f meeting.Input) meeting.TimedInput {
	return meeting.TimedInput{At: at.UTC().Truncate(time.Millisecond), Seed: meeting.NewSeed(), Input: f}
}
