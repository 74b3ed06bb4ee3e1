package webhook

import (
	"container/list"
	"slices"
	"time"

	"usher/meeting"
)

// Bounds of the queue.
const (
	// MaxInFlight is how many tries run at the same time, of all endpoints
	// together: a hundred kilobytes each at most, with its connection.
	MaxInFlight = 256
	// MaxPerEndpoint is how many of them may be of one endpoint. At 10 ms each it
	// still gets 1,600 a second.
	MaxPerEndpoint = 16
	// maxUnproven is how many may be of endpoints that did not accept what they
	// were sent last, so that those which hang leave room for those which answer.
	maxUnproven = MaxInFlight / 2
	// maxInMemory is how many events of one endpoint are kept in memory, some
	// half a megabyte; the others are read from the store when their turn comes.
	maxInMemory = 500
	// fetchMeetings and fetchEach bound what one read of an endpoint's lists asks
	// for: a few milliseconds of the store's time.
	fetchMeetings = 128
	fetchEach     = 64
)

// delivery is one try that is to be made now.
type delivery struct {
	list     *meetingQueue
	event    *event
	gap      bool
	variant  int // of the request; see [endpointQueue]
	unproven bool

	// The rest is set once the request was made.
	encodings int  // how many its dialect has; 0: it is in none
	alike     bool // all of them make the same of the event
}

// fetch is a wish to read the first events of some lists.
type fetch struct {
	endpoint string
	meetings []string
	limit    int // most events of each
}

// queue decides what is sent next: in order per endpoint and meeting, after
// failures by the schedule, and fair among endpoints. It does no I/O and knows
// no clock; times come in. It is not safe for concurrent use.
type queue struct {
	timing    timing
	random    func() float64 // from 0 up to 1, for the jitter
	endpoints map[string]*endpointQueue
	turns     []*endpointQueue // all of them
	turn      int              // whose turn it is
	timers    []timer          // the earliest first

	inFlight, unproven int
	finished           int // tries since the last takeAcks
	// syncAt is when something has to be stored or read; zero: nothing has, or
	// that is under way.
	syncAt time.Time
}

// timer says when to look again. It may be out of date.
type timer struct {
	at   time.Time
	list *meetingQueue // that is due then; nil: an endpoint is
}

func newQueue(t timing, random func() float64) *queue {
	return &queue{timing: t, random: random, endpoints: map[string]*endpointQueue{}}
}

// state is what a meeting's list is at.
type state int

const (
	idle    state = iota // nothing waits
	ready                // to be sent, and in memory
	unread               // to be sent, and to be read first
	waiting              // to be tried again later; nothing is in memory
	reading
	inFlight // its first event is
	states   // number of states
)

// endpointQueue is what waits for one endpoint.
type endpointQueue struct {
	id       string
	loaded   bool // what the store holds is known
	disabled bool
	meetings map[string]*meetingQueue
	in       [states]list.List // those by state, the longest there first; not the idle ones
	inMemory int               // events

	// Health is kept in the store; in place of its durations, which were right
	// when it was loaded, are since and acceptedAt. Its Variant is that of the
	// request that was accepted last: variants are the ways in which a dialect can
	// say and sign the same event.
	meeting.Health
	since      time.Time // the first failure in a row
	acceptedAt time.Time
	proven     bool      // it accepted what it was sent last
	probeAt    time.Time // while it fails: when one that waits is tried earlier
	paused     time.Time // nothing is sent before

	// What the store does not know yet.
	acks    map[string]*meeting.Ack // by meeting
	retries map[string]bool         // meetings whose tries changed
	changed bool                    // what is known of the endpoint itself did
	tried   []meeting.Tried
}

// meetingQueue is the list of one meeting's events for one endpoint.
type meetingQueue struct {
	endpoint *endpointQueue
	id       string
	state    state
	place    *list.Element
	events   []*event // the first of the list, as far as they are in memory
	more     bool     // others follow in the store
	lastSeq  int64    // highest seq that was in memory
	tries
}

// tries is what is known of the first event of a list. Retry is kept in the
// store; in place of its durations are refusedAt and countsFrom.
type tries struct {
	meeting.Retry
	refusedAt  time.Time // first time
	countsFrom time.Time // a try before then uses up none
	due        time.Time
	variant    int // tries since the endpoint's variant was refused
}

// of returns the queue of an endpoint, made if need be.
func (q *queue) of(endpoint string) *endpointQueue {
	e := q.endpoints[endpoint]
	if e == nil {
		e = &endpointQueue{
			id: endpoint, meetings: map[string]*meetingQueue{},
			acks: map[string]*meeting.Ack{}, retries: map[string]bool{},
		}
		q.endpoints[endpoint] = e
		q.turns = append(q.turns, e)
	}
	return e
}

// of returns the list of a meeting, made if need be.
func (e *endpointQueue) of(id string) *meetingQueue {
	l := e.meetings[id]
	if l == nil {
		l = &meetingQueue{endpoint: e, id: id}
		e.meetings[id] = l
	}
	return l
}

// move puts a list into a state. One that is idle is forgotten, unless its next
// event is to say gap.
func (l *meetingQueue) move(to state) {
	if l.state != idle {
		l.endpoint.in[l.state].Remove(l.place)
	}
	if l.state = to; to != idle {
		l.place = l.endpoint.in[to].PushBack(l)
	} else if !l.Gap {
		delete(l.endpoint.meetings, l.id)
	}
}

// enqueue makes a list due.
func (l *meetingQueue) enqueue() {
	if l.endpoint.Stalled || l.endpoint.disabled {
		l.forget()
	}
	switch {
	case len(l.events) > 0:
		l.move(ready)
	case l.more:
		l.move(unread)
	default:
		l.move(idle)
	}
}

// forget drops a list's events from memory; they are in the store.
func (l *meetingQueue) forget() {
	if len(l.events) > 0 {
		l.endpoint.inMemory -= len(l.events)
		l.events, l.more = nil, true
	}
}

// forgetReady drops all events that are due from memory.
func (e *endpointQueue) forgetReady() {
	for e.in[ready].Len() > 0 {
		l := e.first(ready)
		l.forget()
		l.move(unread)
	}
}

func (e *endpointQueue) first(s state) *meetingQueue { return e.in[s].Front().Value.(*meetingQueue) }

// wait puts a list aside until it is due.
func (q *queue) wait(l *meetingQueue) {
	l.forget()
	l.more = true
	l.move(waiting)
	q.lookAgain(l.due, l)
}

// add takes an event of a meeting that was just committed.
func (q *queue) add(endpoint, meetingID string, ev *event) {
	e := q.of(endpoint)
	l := e.of(meetingID)
	if ev.Seq > l.lastSeq { // else it was read from the store already
		l.lastSeq = ev.Seq
		l.more = l.more || !e.loaded || e.disabled || e.Stalled || l.state == reading || e.inMemory >= maxInMemory
		if !l.more {
			l.events = append(l.events, ev)
			e.inMemory++
		}
	}
	if l.state == idle {
		l.enqueue()
	}
}

// remove forgets an endpoint. What is in flight for it ends without effect.
func (q *queue) remove(endpoint string) {
	delete(q.endpoints, endpoint)
	q.turns = slices.DeleteFunc(q.turns, func(e *endpointQueue) bool { return e.id == endpoint })
}

// disable stops what is sent to an endpoint, or lets it go on, as if it had
// never failed.
func (q *queue) disable(endpoint string, disabled bool, now time.Time) {
	e := q.of(endpoint)
	if e.disabled == disabled {
		return
	}
	e.disabled = disabled
	if disabled {
		e.forgetReady()
	} else {
		q.retryNow(endpoint, now)
	}
}

// retryNow makes all that waits for an endpoint due, as if it had never failed.
func (q *queue) retryNow(endpoint string, now time.Time) {
	e := q.of(endpoint)
	e.recovered()
	e.paused = time.Time{}
	for e.in[waiting].Len() > 0 {
		e.first(waiting).enqueue()
	}
	q.syncSoon(now)
}

// recovered forgets the failures of an endpoint.
func (e *endpointQueue) recovered() {
	e.Health, e.since, e.changed = meeting.Health{Variant: e.Variant}, time.Time{}, true
}

// next returns what is to be tried now; finish ends each.
func (q *queue) next(now time.Time) (starts []*delivery) {
	q.expire(now)
	for passed := 0; passed < len(q.turns) && q.inFlight < MaxInFlight; passed++ {
		q.turn = (q.turn + 1) % len(q.turns)
		if l := q.pick(q.turns[q.turn], now); l != nil {
			starts = append(starts, q.start(l, now))
			passed = -1
		}
	}
	return starts
}

// mayStart reports whether the endpoint may get a try more.
func (q *queue) mayStart(e *endpointQueue, now time.Time) bool {
	running := e.in[inFlight].Len()
	switch {
	case !e.loaded, e.disabled, now.Before(e.paused):
		return false
	case e.Stalled && (running > 0 || now.Before(e.probeAt)):
		return false
	case !e.proven && q.unproven >= maxUnproven:
		return false
	}
	// Nobody gets more than what he leaves for others.
	return running < min(MaxPerEndpoint, MaxInFlight-q.inFlight)
}

// pick returns the list of the endpoint whose first event is to be sent now.
func (q *queue) pick(e *endpointQueue, now time.Time) *meetingQueue {
	if !q.mayStart(e, now) {
		return nil
	}
	if e.Failing && e.in[waiting].Len() > 0 && e.in[unread].Len()+e.in[reading].Len()+e.in[ready].Len() == 0 && !now.Before(e.probeAt) {
		e.first(waiting).enqueue()
	}
	switch {
	case e.in[ready].Len() > 0:
		if e.in[unread].Len() > 0 {
			q.syncSoon(now)
		}
		return e.first(ready)
	case e.in[unread].Len() > 0:
		q.sync(now)
	}
	return nil
}

func (q *queue) start(l *meetingQueue, now time.Time) *delivery {
	e := l.endpoint
	l.move(inFlight)
	if e.Failing && !now.Before(e.probeAt) {
		q.probe(e, now)
	}
	d := &delivery{list: l, event: l.events[0], gap: l.Gap, variant: e.Variant + l.variant, unproven: !e.proven}
	q.inFlight++
	if d.unproven {
		q.unproven++
	}
	return d
}

// probe sets the time of the next probe.
func (q *queue) probe(e *endpointQueue, now time.Time) {
	e.probeAt = now.Add(q.timing.probe)
	q.lookAgain(e.probeAt, nil)
}

// pause has nothing sent to the endpoint for a while.
func (q *queue) pause(e *endpointQueue, d time.Duration, now time.Time) {
	if until := now.Add(d); d > 0 && until.After(e.paused) {
		e.paused = until
		q.lookAgain(until, nil)
	}
}

// lookAgain has next called at a time, for a list that is due then, if not nil.
func (q *queue) lookAgain(at time.Time, l *meetingQueue) {
	i, _ := slices.BinarySearchFunc(q.timers, at, func(t timer, at time.Time) int { return t.at.Compare(at) })
	q.timers = slices.Insert(q.timers, i, timer{at, l})
}

// wake returns when next has to be called, or something stored or read, even if
// nothing happens; zero: never.
func (q *queue) wake() time.Time {
	if len(q.timers) > 0 && (q.syncAt.IsZero() || q.timers[0].at.Before(q.syncAt)) {
		return q.timers[0].at
	}
	return q.syncAt
}

// expire makes the lists due whose wait is over.
func (q *queue) expire(now time.Time) {
	past := 0
	for past < len(q.timers) && !q.timers[past].at.After(now) {
		l := q.timers[past].list
		if l != nil && l.state == waiting && !l.due.After(now) { // else it was tried meanwhile
			l.enqueue()
		}
		past++
	}
	q.timers = slices.Delete(q.timers, 0, past)
}

// sync asks for takeAcks and fetches at a time, or earlier.
func (q *queue) sync(at time.Time) {
	if q.syncAt.IsZero() || at.Before(q.syncAt) {
		q.syncAt = at
	}
}

// syncSoon asks for them within the time that an acknowledgement may wait.
func (q *queue) syncSoon(now time.Time) { q.sync(now.Add(q.timing.flush)) }
