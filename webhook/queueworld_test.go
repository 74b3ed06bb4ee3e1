package webhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"usher/meeting"
)

// world is what a queue lives in, in virtual time: a store, and endpoints that
// answer.
type world struct {
	t interface {
		Helper()
		Fatalf(format string, args ...any)
		Errorf(format string, args ...any)
	}
	q      *queue
	now    time.Time
	answer func(d *delivery) (a answer, ask, took time.Duration)

	lists   map[string]map[string][]*event // of the store, by endpoint and meeting
	retries map[string]map[string]meeting.Retry
	health  map[string]meeting.Health
	dead    []string // ids
	flights []flight

	arrived []arrival
	most    int // in flight at the same time
}

type flight struct {
	d     *delivery
	ends  time.Time
	a     answer
	ask   time.Duration
	epoch *queue
}

// arrival is a try that the endpoint saw.
type arrival struct {
	at                    time.Duration
	endpoint, meeting, id string
	seq                   int64
	a                     answer
	gap                   bool
}

var dawn = time.Date(2026, 11, 29, 6, 0, 0, 0, time.UTC)

func newWorld(t *testing.T, answer func(d *delivery) (answer, time.Duration, time.Duration)) *world {
	w := &world{
		t: t, now: dawn, answer: answer, lists: map[string]map[string][]*event{},
		retries: map[string]map[string]meeting.Retry{}, health: map[string]meeting.Health{},
	}
	w.takeOver()
	return w
}

// takeOver has a new queue go on from what the store holds; what was in flight
// is lost.
func (w *world) takeOver() {
	w.q, w.flights = newQueue(defaultTiming, func() float64 { return 0.5 }), nil
	for id, lists := range w.lists {
		// As JSON, which is how the store has it.
		var retries map[string]meeting.Retry
		text, _ := json.Marshal(w.retries[id])
		if err := json.Unmarshal(text, &retries); err != nil {
			w.t.Fatalf("retries %s: %v", text, err)
		}
		w.q.load(id, slices.Sorted(maps.Keys(lists)), retries, w.health[id], w.now)
	}
}

// endpoint makes an endpoint that is known.
func (w *world) endpoint(id string) {
	w.lists[id], w.retries[id] = map[string][]*event{}, map[string]meeting.Retry{}
	w.q.load(id, nil, nil, meeting.Health{}, w.now)
}

// commit adds n events of a meeting, numbered from first on.
func (w *world) commit(endpoint, mtg string, first, n int) {
	if w.lists[endpoint] == nil {
		w.endpoint(endpoint)
	}
	for seq := first; seq < first+n; seq++ {
		ev := readEvent(fmt.Appendf(nil, `{"id":"%s-%03d","meeting_id":%q,"seq":%d}`, mtg, seq, mtg, seq))
		w.lists[endpoint][mtg] = append(w.lists[endpoint][mtg], ev)
		w.q.add(endpoint, mtg, ev)
	}
	w.start()
}

func (w *world) start() {
	w.t.Helper()
	for _, d := range w.q.next(w.now) {
		a, ask, took := w.answer(d)
		w.arrived = append(w.arrived, arrival{w.now.Sub(dawn), d.list.endpoint.id, d.list.id, d.event.ID, d.event.Seq, a, d.gap})
		w.flights = append(w.flights, flight{d, w.now.Add(took), a, ask, w.q})
	}
	w.most = max(w.most, len(w.flights))
	if at := w.q.syncAt; !at.IsZero() && !at.After(w.now) {
		w.sync()
	}
}

// sync does what the store is asked for.
func (w *world) sync() {
	acks, fetches := w.q.takeAcks(w.now), w.q.fetches(w.now)
	for _, a := range acks {
		lists := w.lists[a.Endpoint]
		for _, done := range a.Done {
			i := slices.IndexFunc(lists[done.MeetingID], func(ev *event) bool { return ev.name() == done.Last })
			if i != done.Count-1 {
				w.t.Fatalf("%s acks %d events of %s up to %s, which is number %d there", a.Endpoint, done.Count, done.MeetingID, done.Last, i+1)
			}
			if lists[done.MeetingID] = lists[done.MeetingID][i+1:]; len(lists[done.MeetingID]) == 0 {
				delete(lists, done.MeetingID)
			}
		}
		for id, r := range a.Retries {
			if w.retries[a.Endpoint][id] = r; r == (meeting.Retry{}) {
				delete(w.retries[a.Endpoint], id)
			}
		}
		if a.Health != nil {
			w.health[a.Endpoint] = *a.Health
		}
	}
	for _, f := range fetches {
		lists := make([][]json.RawMessage, len(f.meetings))
		for i, id := range f.meetings {
			list := w.lists[f.endpoint][id]
			for _, ev := range list[:min(f.limit, len(list))] {
				lists[i] = append(lists[i], ev.text)
			}
		}
		w.q.fetched(f, lists, nil)
	}
	w.start()
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	for until := w.now.Add(d); ; {
		next := until
		if at := w.q.wake(); !at.IsZero() && at.Before(next) {
			next = at
		}
		i := -1
		for j, f := range w.flights {
			if !f.ends.After(next) {
				next, i = f.ends, j
			}
		}
		if next.After(w.now) {
			w.now = next
		}
		switch {
		case i >= 0:
			f := w.flights[i]
			w.flights = slices.Delete(w.flights, i, i+1)
			r := w.q.finish(f.d, f.a, f.ask, w.now)
			if r.result == meeting.GivenUp {
				w.dead = append(w.dead, f.d.event.ID)
			}
		case !next.Before(until):
			return
		}
		w.start()
	}
}

// of returns the arrivals of one event.
func (w *world) of(id string) (all []arrival) {
	for _, a := range w.arrived {
		if a.id == id {
			all = append(all, a)
		}
	}
	return all
}

func at(all []arrival) (list []time.Duration) {
	for _, a := range all {
		list = append(list, a.at.Round(time.Second))
	}
	return list
}

func (w *world) want(id string, want ...time.Duration) {
	w.t.Helper()
	if got := at(w.of(id)); !slices.Equal(got, want) {
		w.t.Errorf("%s was tried at %v, want %v", id, got, want)
	}
}

const quick = 10 * time.Millisecond
