package webhook

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"usher/meeting"
)

// What the queue and the store exchange: what it begins with, what came of
// deliveries, and the events that it has no room for.

// load takes what the store holds for an endpoint: the meetings that have a
// list, and what is known of retries. Nothing is sent before.
func (q *queue) load(endpoint string, meetings []string, retries map[string]meeting.Retry, h meeting.Health, now time.Time) {
	e := q.of(endpoint)
	e.loaded = true
	e.Health, e.since, e.acceptedAt = h, ago(now, h.Since), ago(now, h.Accepted)
	for id, r := range retries {
		counts := now.Add(r.Due)
		e.of(id).tries = tries{Retry: r, refusedAt: ago(now, r.Refused), countsFrom: counts, due: counts}
	}
	for _, id := range meetings {
		e.of(id).more = true
	}
	for _, l := range e.meetings {
		if l.more && l.due.After(now) {
			q.wait(l)
		} else {
			l.enqueue()
		}
	}
}

func ago(now time.Time, d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return now.Add(-d)
}

// takeAcks returns what is to be stored since the last time.
func (q *queue) takeAcks(now time.Time) (all []meeting.Acks) {
	q.finished, q.syncAt = 0, time.Time{}
	for _, e := range q.turns {
		if len(e.acks)+len(e.retries)+len(e.tried) == 0 && !e.changed {
			continue
		}
		acks := meeting.Acks{Endpoint: e.id, Tried: e.tried, Retries: map[string]meeting.Retry{}}
		for _, ack := range e.acks {
			acks.Done = append(acks.Done, *ack)
		}
		for id := range e.retries {
			acks.Retries[id] = e.meetings[id].retry(now)
		}
		if e.changed {
			h := e.Health
			h.Since, h.Accepted = since(e.since, now), 0
			if e.Failures+e.Refusals > 0 {
				h.Accepted = since(e.acceptedAt, now)
			}
			acks.Health = &h
		}
		clear(e.acks)
		clear(e.retries)
		e.changed, e.tried = false, nil
		all = append(all, acks)
	}
	return all
}

// remember has takeAcks return how long waits still are: a leader after this one
// counts them from what was stored last.
func (q *queue) remember() {
	for _, e := range q.endpoints {
		for l := e.in[waiting].Front(); l != nil; l = l.Next() {
			e.retries[l.Value.(*meetingQueue).id] = true
		}
		e.changed = e.changed || e.Failing
	}
}

// retry returns what a leader after this one needs to know of a list's first
// event. l may be nil: nothing.
func (l *meetingQueue) retry(now time.Time) (r meeting.Retry) {
	if l == nil {
		return r
	}
	r = l.Retry
	r.Refused, r.Due = since(l.refusedAt, now), max(l.countsFrom.Sub(now), 0)
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
		if q.endpoints[id].Failing {
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

func (q *queue) forgetGap(endpoint, meetingID string, now time.Time) {
	e := q.of(endpoint)
	if l := e.meetings[meetingID]; l != nil && l.state == idle {
		delete(e.meetings, meetingID)
		e.retries[meetingID] = true
		q.syncSoon(now)
	}
}

// reread makes a list due and has it read from the store before more of it is
// sent, because the store is about to put events there that the queue is not
// handed.
func (q *queue) reread(endpoint, meetingID string) {
	l := q.of(endpoint).of(meetingID)
	l.forget()
	l.more = true
	if l.state == ready || l.state == idle || l.state == waiting {
		l.move(unread)
	}
}

// fetches returns which lists are to be read; each has to be answered by
// fetched. What takeAcks returned just before must be stored first, because
// lists are read from their beginning.
func (q *queue) fetches(now time.Time) (wishes []fetch) {
	for _, e := range q.endpoints {
		room := maxInMemory - e.inMemory
		n := min(e.in[unread].Len(), fetchMeetings, max(room, MaxPerEndpoint))
		if n == 0 || !q.mayStart(e, now) || e.Stalled && e.in[reading].Len()+e.in[ready].Len() > 0 {
			continue
		}
		f := fetch{endpoint: e.id, limit: min(max(room/n, 1), fetchEach)}
		if e.Stalled {
			n, f.limit = 1, 1
		}
		for range n {
			l := e.first(unread)
			l.move(reading)
			l.more = false
			f.meetings = append(f.meetings, l.id)
		}
		wishes = append(wishes, f)
	}
	return wishes
}

// fetched takes what fetches asked for: the first events of each list, or why
// the store did not say.
func (q *queue) fetched(f fetch, lists [][]json.RawMessage, failed error) {
	e := q.endpoints[f.endpoint]
	for i, id := range f.meetings {
		if e == nil || e.meetings[id] == nil || e.meetings[id].state != reading {
			continue // removed meanwhile
		}
		l := e.meetings[id]
		if failed != nil {
			l.more = true
			l.enqueue()
			continue
		}
		for _, text := range lists[i] {
			ev := readEvent(text)
			l.events, l.lastSeq = append(l.events, ev), max(l.lastSeq, ev.Seq)
		}
		e.inMemory += len(l.events)
		l.more = l.more || len(l.events) == f.limit
		if len(l.events) > 0 {
			l.move(ready) // of a stalled endpoint too: it is the probe
		} else {
			l.enqueue()
		}
	}
}

// storeEmptied says that the store has lost all lists, and returns the events in
// memory by endpoint and meeting. What waited in the store waits no more.
func (q *queue) storeEmptied(now time.Time) map[string]map[string][]json.RawMessage {
	all := map[string]map[string][]json.RawMessage{}
	for _, e := range q.endpoints {
		lists := map[string][]json.RawMessage{}
		for _, l := range e.meetings {
			for _, ev := range l.events {
				lists[l.id] = append(lists[l.id], ev.text)
			}
			if l.more { // what followed in the store
				l.Gap, l.GapUntil = true, max(l.GapUntil, l.lastSeq+1)
			}
			if l.state == waiting {
				l.tries = tries{Retry: meeting.Retry{Gap: true, GapUntil: l.GapUntil}}
				l.enqueue()
			}
			e.retries[l.id] = true
		}
		e.changed = true
		all[e.id] = lists
	}
	q.syncSoon(now)
	return all
}
