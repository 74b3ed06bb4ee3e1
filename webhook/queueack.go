package webhook

import (
	"time"

	"usher/meeting"
)

// Times of delivery that others should know of.
const (
	// ProbeInterval is the time between tries while an endpoint fails: most of
	// its outages are restarts, and it should not wait long once it is back.
	ProbeInterval = 15 * time.Second
	// DisableAfter is how long an endpoint may fail without one success until it
	// is disabled: well past the schedule and a long weekend, and an end to
	// what Redis has to hold for it.
	DisableAfter = 5 * 24 * time.Hour
	// jitter spreads what failed at the same time: waits are longer or shorter
	// by up to this part.
	jitter = 0.1
	// failingAfter is how many failures in a row make an endpoint a failing one:
	// more than chance brings together where a few of a hundred fail. The second
	// failure of one event does it too, if nothing succeeded in between, because
	// a quiet endpoint would otherwise need minutes to show that it is down.
	failingAfter = 5
	// storeRetry is the wait after the store has failed.
	storeRetry = 250 * time.Millisecond
)

// schedule has the wait before each try of an event (Standard Webhooks 1.0.0,
// "Deliverability and reliability"), 75 h in all.
var schedule = []time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
	5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// refusals has the waits where the endpoint accepts other events but not this
// one, 15 minutes in all: it may not know the meeting yet. Longer would only
// hold up the meeting's other events.
var refusals = []time.Duration{0, 5 * time.Second, 55 * time.Second, 4 * time.Minute, 10 * time.Minute}

// timing are the times above; tests change them.
type timing struct {
	schedule, refusals []time.Duration
	probe              time.Duration
	refresh            time.Duration // of the endpoints, from the store
	flush              time.Duration // most that an acknowledgement waits
	storeRetry         time.Duration
}

var defaultTiming = timing{
	schedule: schedule, refusals: refusals, probe: ProbeInterval,
	refresh: refreshInterval, flush: flushInterval, storeRetry: storeRetry,
}

// result is what the queue makes of a try that has ended.
type result struct {
	result meeting.DeliveryResult // empty: the try does not count as one
	number int                    // of the try; the same again for one that does not use up any
	// began and ended say that the endpoint is failing from now on, or no longer.
	began, ended bool
	since        time.Time
	disable      string // why the endpoint is to be disabled
}

// finish ends a delivery. ask is how long the endpoint asked to be left alone.
func (q *queue) finish(d *delivery, a answer, ask time.Duration, now time.Time) result {
	q.inFlight--
	if d.unproven {
		q.unproven--
	}
	l, e := d.list, d.list.endpoint
	if q.endpoints[e.id] != e {
		return result{} // the endpoint was deleted
	}
	r := result{number: l.Failures + l.Refusals + 1}
	was := e.Failing
	switch a {
	case accepted:
		r.result = meeting.Delivered
		q.accept(e, d, now)
		q.ack(d, false)
	case nothing:
		r.result = meeting.Skipped
		q.ack(d, l.Gap)
	case unsendable:
		r.result = meeting.GivenUp
		q.ack(d, true)
	case cancelled:
		l.due = now.Add(q.timing.storeRetry)
		q.wait(l)
	default:
		r.result = q.nack(d, a, ask, now)
		if a == gone {
			r.disable = DisabledGone
		} else if !e.since.IsZero() && now.Sub(e.since) > DisableAfter {
			r.disable = DisabledFailing
		}
	}
	r.began, r.ended, r.since = e.Failing && !was, was && !e.Failing, e.since
	q.syncSoon(now)
	if q.finished++; q.finished >= flushAfter {
		q.sync(now)
	}
	return r
}

// accept notes that the endpoint accepted something. What all encodings say alike
// shows nothing of the one that it wants.
func (q *queue) accept(e *endpointQueue, d *delivery, now time.Time) {
	e.proven, e.acceptedAt = true, now
	switch {
	case e.Failing:
		q.retryNow(e.id, now)
	case e.Failures+e.Refusals > 0:
		e.recovered()
	}
	variant := d.variant
	if d.encodings > 0 && d.alike {
		variant += e.Variant%d.encodings - variant%d.encodings
	}
	if e.Variant != variant {
		e.Variant, e.changed = variant, true
	}
}

// ack removes the first event of a list. gap says that the next one has to say
// gap.
func (q *queue) ack(d *delivery, gap bool) {
	l, e := d.list, d.list.endpoint
	if l.Failures+l.Refusals > 0 || l.Gap || gap {
		e.retries[l.id] = true
	}
	if len(l.events) > 0 { // else they were forgotten meanwhile
		l.events[0] = nil
		l.events = l.events[1:]
		e.inMemory--
	}
	next := meeting.Retry{Gap: gap}
	if l.Gap && d.event.Seq < l.GapUntil {
		next = meeting.Retry{Gap: true, GapUntil: l.GapUntil}
	}
	l.tries = tries{Retry: next}
	if e.acks[l.id] == nil {
		e.acks[l.id] = &meeting.Ack{MeetingID: l.id}
	}
	e.acks[l.id].Last = d.event.name()
	e.acks[l.id].Count++
	l.enqueue()
}

// nack counts a failure and puts the list aside, or gives its first event up.
func (q *queue) nack(d *delivery, a answer, ask time.Duration, now time.Time) meeting.DeliveryResult {
	l := d.list
	if a == refused && l.refusedAt.IsZero() {
		l.refusedAt = now
	}
	// Only an endpoint that accepts others can mean this event.
	ofEvent := a == refused && l.endpoint.acceptedAt.After(l.refusedAt)
	waits, tries := q.timing.schedule, &l.Failures
	if ofEvent {
		waits, tries = q.timing.refusals, &l.Refusals
	}
	last := false
	if !now.Before(l.countsFrom) {
		*tries++
		if last = *tries >= len(waits); !last {
			l.countsFrom = now.Add(max(jittered(waits[*tries], q.random()), ask))
		}
	}
	if l.due = l.countsFrom; ask > 0 || l.due.Before(now) {
		l.due = now.Add(ask)
	}
	if a == refused || a == denied {
		l.variant += max(1, d.encodings) // the next key
	}
	if !ofEvent {
		q.blame(l, a, ask, now)
	}
	if last {
		q.ack(d, true)
		return meeting.GivenUp
	}
	l.endpoint.retries[l.id] = true
	q.wait(l)
	return meeting.Failed
}

// blame counts a failure of the endpoint. One that refuses answers, so other
// meetings' events are still sent to it.
func (q *queue) blame(l *meetingQueue, a answer, ask time.Duration, now time.Time) {
	e := l.endpoint
	if e.since.IsZero() {
		e.since = now
	}
	e.changed = true
	row := &e.Failures
	if a == refused {
		row = &e.Refusals
	} else {
		e.proven = false
		if a == gone {
			ask = max(ask, q.timing.probe) // until it is disabled
		}
		q.pause(e, ask, now)
	}
	*row++
	if *row < failingAfter && (*row < 2 || l.Failures < 2) {
		return
	}
	if !e.Failing {
		e.Failing = true
		q.probe(e, now)
	}
	if a != refused && !e.Stalled {
		e.Stalled = true
		e.forgetReady()
	}
}

// jittered spreads a wait; random is from 0 up to 1.
func jittered(d time.Duration, random float64) time.Duration {
	return time.Duration(float64(d) * (1 + jitter*(2*random-1)))
}
