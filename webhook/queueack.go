package webhook

import (
	"maps"
	"slices"
	"time"

	"usher/meeting"
)

// unsaved is what the store is to be told of an endpoint.
type unsaved struct {
	acks    map[string]*meeting.Ack
	retries map[string]bool // meetings whose retry state changed
	health  bool            // the endpoint's own did
	tried   []meeting.Tried
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
	e := q.endpoints[d.endpoint]
	if e == nil || e.meetings[d.meeting] == nil || e.meetings[d.meeting].state != inFlight {
		return result{} // the endpoint was deleted
	}
	l := e.meetings[d.meeting]
	r := result{number: l.failures + l.refusals + 1}
	was := e.failing
	switch a {
	case accepted:
		r.result = meeting.Delivered
		q.accept(e, d.variant, now)
		q.ack(l, d, false)
	case nothing:
		r.result = meeting.Skipped
		q.ack(l, d, l.gap)
	case unsendable:
		r.result = meeting.GivenUp
		q.ack(l, d, true)
	case cancelled:
		l.due = now.Add(q.timing.storeRetry)
		q.wait(l)
	default:
		r.result = q.nack(l, d, a, ask, now)
		r.disable = e.hopeless(a, now)
	}
	r.began, r.ended, r.since = e.failing && !was, was && !e.failing, e.since
	q.sync(soon)
	if q.finished++; q.finished >= flushAfter {
		q.sync(atOnce)
	}
	return r
}

// accept notes that the endpoint accepted something.
func (q *queue) accept(e *endpointQueue, variant int, now time.Time) {
	e.proven, e.acceptedAt = true, now
	switch {
	case e.failing:
		q.retryNow(e.id)
	case e.failures+e.refusals > 0:
		e.failures, e.refusals, e.since, e.health = 0, 0, time.Time{}, true
	}
	if e.variant != variant {
		e.variant, e.health = variant, true
	}
}

// ack removes the first event of a list. gap says that the next one has to say
// gap.
func (q *queue) ack(l *meetingQueue, d *delivery, gap bool) {
	e := l.endpoint
	if l.failures+l.refusals > 0 || l.gap || gap {
		put(&e.retries, l.id, true)
	}
	if len(l.events) > 0 { // else they were forgotten meanwhile
		l.events[0] = nil
		l.events = l.events[1:]
		e.inMemory--
	}
	l.settled(gap)
	if e.acks[l.id] == nil {
		put(&e.acks, l.id, &meeting.Ack{MeetingID: l.id})
	}
	e.acks[l.id].Last = d.event.name()
	e.acks[l.id].Count++
	l.enqueue()
}

// settled forgets what was known of the first event; see ack.
func (l *meetingQueue) settled(gap bool) {
	l.refusedAt, l.failures, l.refusals, l.variant = time.Time{}, 0, 0, 0
	l.countsFrom, l.due, l.gap = time.Time{}, time.Time{}, gap
}

// nack counts a failure and puts the list aside, or gives its first event up.
func (q *queue) nack(l *meetingQueue, d *delivery, a answer, ask time.Duration, now time.Time) meeting.DeliveryResult {
	if a == refused && l.refusedAt.IsZero() {
		l.refusedAt = now
	}
	// Only an endpoint that accepts others can mean this event.
	ofEvent := a == refused && l.endpoint.acceptedAt.After(l.refusedAt)
	waits, tries := q.timing.schedule, &l.failures
	if ofEvent {
		waits, tries = q.timing.refusals, &l.refusals
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
		l.variant++
	}
	if !ofEvent {
		q.blame(l, a, ask, now)
	}
	if last {
		q.ack(l, d, true)
		return meeting.GivenUp
	}
	put(&l.endpoint.retries, l.id, true)
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
	e.health = true
	row := &e.failures
	if a == refused {
		row = &e.refusals
	} else {
		e.proven = false
		if a == gone {
			ask = max(ask, q.timing.probe) // until it is disabled
		}
		q.pause(e, ask, now)
	}
	*row++
	if *row < failingAfter && (*row < 2 || l.failures < 2) {
		return
	}
	if !e.failing {
		e.failing = true
		q.probe(e, now)
	}
	if a != refused && !e.stalled {
		e.stalled = true
		e.forgetReady()
	}
}

// hopeless returns why the endpoint is to be disabled, if it is.
func (e *endpointQueue) hopeless(a answer, now time.Time) string {
	switch {
	case a == gone:
		return DisabledGone
	case !e.since.IsZero() && now.Sub(e.since) > DisableAfter:
		return DisabledFailing
	}
	return ""
}

// sync asks for takeAcks and fetches.
func (q *queue) sync(due syncDue) { q.syncDue = max(q.syncDue, due) }

// log notes an entry of the delivery log, to be stored with the next acks.
func (q *queue) log(endpoint string, t meeting.Tried) {
	if e := q.endpoints[endpoint]; e != nil {
		e.tried = append(e.tried, t)
		q.sync(soon)
	}
}

// takeAcks returns what is to be stored since the last time.
func (q *queue) takeAcks(now time.Time) (all []meeting.Acks) {
	q.finished, q.syncDue = 0, never
	for _, e := range q.endpoints {
		if len(e.acks)+len(e.retries)+len(e.tried) == 0 && !e.health {
			continue
		}
		acks := meeting.Acks{Endpoint: e.id, Tried: e.tried, Retries: map[string]meeting.Retry{}}
		for _, ack := range e.acks {
			acks.Done = append(acks.Done, *ack)
		}
		for id := range e.retries {
			acks.Retries[id] = e.meetings[id].retry(now)
		}
		if e.health {
			acks.Health = &meeting.Health{
				Since: since(e.since, now), Failures: e.failures, Refusals: e.refusals,
				Failing: e.failing, Stalled: e.stalled, Variant: e.variant,
			}
			if e.failures+e.refusals > 0 {
				acks.Health.Accepted = since(e.acceptedAt, now)
			}
		}
		e.unsaved = unsaved{}
		all = append(all, acks)
	}
	return all
}

// putBack takes acks that could not be stored, for the next takeAcks.
func (q *queue) putBack(acks meeting.Acks) {
	e := q.endpoints[acks.Endpoint]
	if e == nil {
		return
	}
	for _, ack := range acks.Done {
		if later := e.acks[ack.MeetingID]; later != nil {
			later.Count += ack.Count
		} else {
			put(&e.acks, ack.MeetingID, &ack)
		}
	}
	for id := range acks.Retries {
		put(&e.retries, id, true)
	}
	e.health = e.health || acks.Health != nil
	e.tried = append(acks.Tried, e.tried...)
	q.sync(soon)
}

// remember has takeAcks return how long waits still are: a leader after this one
// counts them from what was stored last.
func (q *queue) remember() {
	for _, e := range q.endpoints {
		for l := e.in[waiting].Front(); l != nil; l = l.Next() {
			put(&e.retries, l.Value.(*meetingQueue).id, true)
		}
		e.health = e.health || e.failing
	}
}

// retry returns what a leader after this one needs to know of a list's first
// event. l may be nil: nothing.
func (l *meetingQueue) retry(now time.Time) (r meeting.Retry) {
	if l == nil {
		return r
	}
	r = meeting.Retry{Refused: since(l.refusedAt, now), Failures: l.failures, Refusals: l.refusals, Gap: l.gap}
	if l.countsFrom.After(now) {
		r.Due = l.countsFrom.Sub(now)
	}
	return r
}

// since returns how long something is ago, at least a moment; 0: it never was.
func since(at, now time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return max(now.Sub(at), 1)
}

// fails returns the ids of the endpoints that are failing, in order.
func (q *queue) fails() (ids []string) {
	for _, id := range slices.Sorted(maps.Keys(q.endpoints)) {
		if q.endpoints[id].failing {
			ids = append(ids, id)
		}
	}
	return ids
}

// rest returns the meetings of an endpoint of which nothing waits but that their
// next event has to say gap, and reports whether nothing else is left to do for
// it. forgetGap ends that for a meeting that has no next event.
func (q *queue) rest(endpoint string) (gaps []string, done bool) {
	e := q.endpoints[endpoint]
	if e == nil {
		return nil, false
	}
	for id, l := range e.meetings {
		if l.state == idle {
			gaps = append(gaps, id)
		}
	}
	return gaps, e.loaded && len(e.acks) == 0 && len(gaps) == len(e.meetings)
}

func (q *queue) forgetGap(endpoint, meetingID string) {
	e := q.of(endpoint)
	if l := e.meetings[meetingID]; l != nil && l.state == idle {
		delete(e.meetings, meetingID)
		put(&e.retries, meetingID, true)
		q.sync(soon)
	}
}
