package meeting

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of the tracker.
const (
	// MaxQueue is how many events may wait for one meeting. A room of a
	// thousand that changes all at once stays below it while the store is quick.
	MaxQueue = 1024
	// minRetry and maxRetry bound the wait between two tries of a commit: the
	// first is about a round trip to a store that has just come back, the last
	// keeps an outage, or a change that fails each time, from becoming a flood.
	minRetry = 20 * time.Millisecond
	maxRetry = time.Second
	// factCommits and commandCommits are the most commits under way at a time:
	// of what rooms say, and of meetings in which a command of an app waits. The
	// store works off one after the other, so more would only wait there, each
	// with its timeout running: at the start all meetings commit at once.
	// Together they leave a quarter of the store's sixteen connections to the
	// lease and to those who read.
	factCommits    = 8
	commandCommits = 4
)

// Rooms does what meetings want done about their rooms. Its methods return at
// once.
type Rooms interface {
	// Want says what is to be done about a room from now on.
	Want(room string, w Want)
	// PutOut names those who are in a room and must not be, in place of those
	// named before: they are to be kicked as soon as usher is in it as well.
	PutOut(room string, who []Kick)
	// Resync asks for a [Roster], because presences of the room were dropped.
	Resync(room string)
}

// Recorders starts and stops recordings. Its methods return at once.
type Recorders interface {
	// Work says that the recordings of a meeting have changed, or that the
	// meeting was loaded: see [Meeting.ToStart] and [Meeting.ToStop].
	Work(m Meeting)
}

// Options configure a Tracker; the zero value is usable.
type Options struct {
	Recorders Recorders    // nil: nothing is recorded
	Log       *slog.Logger // nil discards
	// Route names the webhook endpoints that are to get a notice; nil: none.
	Route func(Notice) []string
	// Committed is called after each commit, on the meeting's goroutine, with
	// the time since the oldest event in it was handed over. It must not block.
	Committed func(Commit, time.Duration)
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

	mu     sync.RWMutex
	byID   map[string]*actor
	byRoom map[string]*actor
	run    context.Context // of Run; nil before it and after it
	work   sync.WaitGroup  // goroutines that work off queues

	// wants keeps what two meetings of one room want in order. It is taken
	// before mu and before whatever guards the rooms.
	wants sync.Mutex

	// facts and commands hold a value for each commit under way, see factCommits.
	facts, commands chan struct{}

	failing atomic.Bool // the store did not answer the last call, which is tried again
	fatal   chan error
}

// NewTracker returns a tracker that does nothing until Run.
func NewTracker(store Store, rooms Rooms, opts Options) *Tracker {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Tracker{
		store: store, rooms: rooms, opts: opts,
		byID: map[string]*actor{}, byRoom: map[string]*actor{},
		facts: make(chan struct{}, factCommits), commands: make(chan struct{}, commandCommits),
		fatal: make(chan error, 1),
	}
}

// Run loads the meetings that are not over and works on them until ctx ends or
// another process takes over ([ErrFenced]); it returns once no goroutine of
// the tracker is left. ready is called when the meetings are loaded.
func (t *Tracker) Run(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	meetings, err := t.load(ctx)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return err
	}
	var loaded []*actor
	t.mu.Lock()
	t.run = ctx
	for _, m := range meetings {
		a := newActor(t, m)
		t.byID[m.ID] = a
		if m.HoldsRoom() {
			t.byRoom[m.Room] = a
		}
		loaded = append(loaded, a)
	}
	t.mu.Unlock()
	for _, a := range loaded {
		// What happened while usher was away is for the next roster to tell.
		// Handling this also gives each meeting its deadline and its want.
		a.post(request{event: newEvent(a.meeting.Load().lastSeen(), SightLost{})})
	}
	ready()

	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case err = <-t.fatal:
	}
	cancel()
	t.mu.Lock()
	t.run = nil
	for _, a := range t.byID {
		a.stopTimer()
	}
	t.mu.Unlock()
	t.work.Wait()
	t.mu.Lock()
	clear(t.byID)
	clear(t.byRoom)
	t.mu.Unlock()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// load reads the open meetings, waiting for the store if need be.
func (t *Tracker) load(ctx context.Context) (meetings []Meeting, err error) {
	never := func() <-chan struct{} { return nil }
	err = t.insist(ctx, never, func() error {
		meetings, err = t.store.Open(ctx)
		return err
	})
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return meetings, err
}

// Observe hands over what a room said at the given time. It never blocks: when
// too much waits already, the fact is dropped and the room listed anew later.
// Facts about rooms without a meeting are dropped.
func (t *Tracker) Observe(room string, at time.Time, f Fact) {
	t.mu.RLock()
	a := t.byRoom[room]
	t.mu.RUnlock()
	if a != nil && !a.post(request{event: newEvent(at, f)}) {
		if t.opts.Dropped != nil {
			t.opts.Dropped()
		}
	}
}

// Create makes a meeting and blocks until it is stored, or ctx ends. Errors:
// [ExistsError], [RoomHeldError], [ErrUnavailable].
func (t *Tracker) Create(ctx context.Context, c Created) (Meeting, error) {
	a := newActor(t, Meeting{})
	return a.do(ctx, c)
}

// Do applies a command to a meeting and blocks until it is stored, or ctx
// ends: then the outcome is open and ErrUnavailable is returned. Errors:
// [ErrNotFound], [ErrEnded], [ErrBusy], [ErrUnavailable].
func (t *Tracker) Do(ctx context.Context, id string, f Fact) (Meeting, error) {
	t.mu.RLock()
	a := t.byID[id]
	t.mu.RUnlock()
	if a != nil {
		return a.do(ctx, f)
	}
	m, err := t.store.Load(ctx, id)
	switch {
	case err != nil:
		return Meeting{}, err
	case !t.Running():
		return Meeting{}, ErrUnavailable
	}
	if m.HoldsRoom() || len(m.Recordings) > 0 {
		// Being made just now, or by another process: not ours to change yet.
		return Meeting{}, ErrUnavailable
	}
	return t.again(m).do(ctx, f)
}

// again returns the actor of a meeting that was over, back among those at hand
// until what is asked of it is done.
func (t *Tracker) again(m Meeting) *actor {
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
func (t *Tracker) Room(room string) (Meeting, bool) {
	t.mu.RLock()
	a := t.byRoom[room]
	t.mu.RUnlock()
	if a == nil {
		return Meeting{}, false
	}
	return *a.meeting.Load(), true
}

// Each calls f with every meeting at hand as last committed, in no order.
func (t *Tracker) Each(f func(Meeting)) {
	t.mu.RLock()
	actors := make([]*actor, 0, len(t.byID))
	for _, a := range t.byID {
		actors = append(actors, a)
	}
	t.mu.RUnlock()
	for _, a := range actors {
		f(*a.meeting.Load())
	}
}

// Rewrite writes every meeting at hand anew, with its people and its recordings,
// because the store has lost what it held. It blocks until each is stored, or
// ctx ends; what is not stored by then goes on being tried. Error:
// [ErrUnavailable] while the meetings are not loaded.
func (t *Tracker) Rewrite(ctx context.Context) error {
	if !t.Running() {
		return ErrUnavailable
	}
	t.mu.RLock()
	left := slices.Collect(maps.Values(t.byID))
	t.mu.RUnlock()
	all := len(left)
	done := make(chan outcome, all)
	for len(left) > 0 {
		left = slices.DeleteFunc(left, func(a *actor) bool {
			return a.post(request{event: newEvent(time.Now(), StoreReset{}), done: done})
		})
		if len(left) > 0 && !sleep(ctx, maxRetry) { // their queues are full
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
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.run != nil
}

// StoreFailing reports whether the store did not answer the last call, which is
// being tried again.
func (t *Tracker) StoreFailing() bool { return t.failing.Load() }

// forget deletes a meeting, trying again like commit.
func (t *Tracker) forget(ctx context.Context, urgent func() <-chan struct{}, id string) error {
	return t.insist(ctx, urgent, func() error { return t.store.Forget(ctx, id) })
}

// commit stores the change, trying again for as long as the store may come
// back and the tracker runs. What urgent returns is closed once a command waits
// for that.
func (t *Tracker) commit(ctx context.Context, urgent func() <-chan struct{}, c Commit) error {
	return t.insist(ctx, urgent, func() error {
		err := t.store.Commit(ctx, c)
		var conflict *ConflictError
		if errors.As(err, &conflict) && conflict.Stored < c.From {
			if c.Meeting.Forgotten && c.Meeting.Closed {
				return nil // was asked for twice, and is done
			}
			// The store has forgotten: what is at hand is the truth.
			t.opts.Log.Warn("store lost a meeting, writing it anew",
				"meeting_id", c.Meeting.ID, "version", c.Meeting.Version, "stored", conflict.Stored)
			c = whole(c)
			err = t.store.Commit(ctx, c)
		}
		return err
	})
}

// insist calls the store until it answers, or ctx ends.
func (t *Tracker) insist(ctx context.Context, urgent func() <-chan struct{}, call func() error) error {
	for wait := minRetry; ; wait = min(2*wait, maxRetry) {
		err := t.inTurn(ctx, urgent, call)
		switch {
		case ctx.Err() != nil:
			return err
		case !errors.Is(err, ErrUnavailable): // a refusal is an answer too
			if t.failing.CompareAndSwap(true, false) {
				t.opts.Log.Info("store answers again")
			}
			return err
		}
		if t.failing.CompareAndSwap(false, true) {
			t.opts.Log.Error("store does not answer, changes wait", "err", err)
		}
		if !sleep(ctx, wait) {
			return ErrUnavailable
		}
	}
}

// inTurn makes a call of the store when fewer than the most are under way; one
// for which a command waits goes ahead of what rooms say.
func (t *Tracker) inTurn(ctx context.Context, urgent func() <-chan struct{}, call func() error) error {
	turns := t.facts
	select {
	case turns <- struct{}{}:
	default:
		if turns = t.wait(ctx, urgent()); turns == nil {
			return context.Cause(ctx)
		}
	}
	defer func() { <-turns }()
	return call()
}

// wait waits for a turn, and returns where it was taken; nil when ctx ends.
func (t *Tracker) wait(ctx context.Context, urgent <-chan struct{}) chan struct{} {
	select {
	case t.facts <- struct{}{}:
		return t.facts
	case <-urgent:
	case <-ctx.Done():
		return nil
	}
	select {
	case t.facts <- struct{}{}:
		return t.facts
	case t.commands <- struct{}{}:
		return t.commands
	case <-ctx.Done():
		return nil
	}
}

// whole makes the commit one that needs nothing of what was stored before.
func whole(c Commit) Commit {
	c.Whole = true
	stored := map[string]bool{}
	for _, p := range c.People {
		stored[p.ID] = true
	}
	add := func(p Participant) {
		if p.SessionID != "" && !stored[p.ID] {
			c.People = append(c.People, p)
		}
	}
	for _, p := range c.Meeting.People {
		add(p)
	}
	for _, p := range c.Meeting.Left {
		add(*p)
	}
	if s := c.Meeting.Session; s.ID != "" && len(c.Sessions) == 0 {
		c.Sessions = append(c.Sessions, s)
	}
	for _, r := range c.Meeting.Recordings {
		c.Recordings = replace(c.Recordings, r, func(q Recording) bool { return q.ID == r.ID })
	}
	return c
}

// newEvent stamps a fact.
func newEvent(at time.Time, f Fact) Event {
	return Event{At: at.UTC().Truncate(time.Millisecond), Seed: NewSeed(), Fact: f}
}

// sleep waits and reports whether ctx still holds.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
