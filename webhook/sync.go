package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"usher/meeting"
)

// tidyInterval is how often endpoints of one meeting, and meetings whose next
// event has to say gap, are compared with the meetings that there still are.
const tidyInterval = time.Minute

// sync stores what came of deliveries, and reads the events whose turn it is.
// What fails is left for the next time.
func (d *Deliverer) sync(ctx context.Context) error {
	d.storing.Lock()
	defer d.storing.Unlock()
	return d.syncLocked(ctx)
}

// syncLocked does so; d.storing is held.
func (d *Deliverer) syncLocked(ctx context.Context) error {
	var fetches []fetch
	failed := d.locked(func(q *queue, now time.Time) {
		d.unstored = append(d.unstored, q.takeAcks(now)...)
		if d.leading.Err() == nil {
			fetches = q.fetches(now)
		}
	})
	refused := map[string]bool{} // endpoints whose further acks have to wait
	d.unstored = slices.DeleteFunc(d.unstored, func(a meeting.Acks) bool {
		if !refused[a.Endpoint] {
			err := d.registry.store.Ack(ctx, a)
			failed, refused[a.Endpoint] = errors.Join(failed, err), err != nil
		}
		return !refused[a.Endpoint]
	})
	for _, f := range fetches {
		var lists [][]json.RawMessage
		if failed == nil { // else lists may not be as the queue thinks
			lists, failed = d.registry.store.ReadQueues(ctx, f.endpoint, f.meetings, f.limit)
		}
		_ = d.update(func(q *queue, _ time.Time) { q.fetched(f, lists, failed) })
	}
	return failed
}

// arrange has the queue know the endpoints that the registry knows, and removes
// what is kept for others: they were deleted, or have left the configuration.
func (d *Deliverer) arrange(ctx context.Context, s *snapshot) error {
	kept, failed := d.registry.store.QueuedEndpoints(ctx)
	var unloaded []string
	_ = d.update(func(q *queue, now time.Time) {
		// Until a moment ago events may have been committed for those in memory.
		kept = slices.AppendSeq(kept, maps.Keys(q.endpoints))
		for _, e := range s.all {
			q.disable(e.ID, e.Disabled != nil, now)
			if !q.of(e.ID).loaded {
				unloaded = append(unloaded, e.ID)
			}
		}
	})
	for _, id := range unloaded {
		meetings, retries, health, err := d.registry.store.LoadQueue(ctx, id)
		if err == nil {
			err = d.update(func(q *queue, now time.Time) { q.load(id, meetings, retries, health, now) })
		}
		failed = errors.Join(failed, err)
	}
	for _, id := range kept {
		if _, known := s.byID[id]; !known && !slices.Contains(s.unreadable, id) {
			d.registry.log.Info("removing what waits for a webhook endpoint that is no more", "endpoint", id)
			failed = errors.Join(failed, d.forget(ctx, id))
		}
	}
	return failed
}

// forget removes what is kept for an endpoint.
func (d *Deliverer) forget(ctx context.Context, id string) error {
	d.storing.Lock()
	defer d.storing.Unlock()
	_ = d.locked(func(q *queue, _ time.Time) { q.remove(id) })
	d.unstored = slices.DeleteFunc(d.unstored, func(a meeting.Acks) bool { return a.Endpoint == id })
	return d.registry.store.DeleteEndpoint(ctx, id)
}

// tidy removes the endpoints of one meeting once it is over and they are done,
// and forgets that an event should say gap when its meeting can have none.
func (d *Deliverer) tidy(ctx context.Context) error {
	gaps, ends := d.untidy()
	meetings := maps.Clone(gaps)
	maps.Copy(meetings, ends)
	over, err := d.registry.store.Over(ctx, slices.Collect(maps.Keys(meetings)))
	if err != nil {
		return err
	}
	_ = d.update(func(q *queue, now time.Time) {
		for mtg, endpoints := range gaps {
			for _, id := range endpoints {
				if over[mtg] {
					q.forgetGap(id, mtg, now)
				}
			}
		}
	})
	for mtg, endpoints := range ends {
		for _, id := range endpoints {
			if !over[mtg] {
				continue
			}
			if err := d.registry.Delete(ctx, id); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
	}
	return nil
}

// untidy returns, by meeting, the endpoints whose next event has to say gap, and
// those that are removed when it is over.
func (d *Deliverer) untidy() (gaps, ends map[string][]string) {
	gaps, ends = map[string][]string{}, map[string][]string{}
	for _, e := range d.registry.snapshot.Load().all {
		var meetings []string
		var done bool
		_ = d.locked(func(q *queue, _ time.Time) { meetings, done = q.rest(e.ID) })
		for _, mtg := range meetings {
			gaps[mtg] = append(gaps[mtg], e.ID)
		}
		dead := e.Disabled != nil && (e.Disabled.Reason == DisabledGone || e.Disabled.Reason == DisabledFailing)
		if e.MeetingID != "" && (done || dead) {
			ends[e.MeetingID] = append(ends[e.MeetingID], e.ID)
		}
	}
	return gaps, ends
}

// Rewrite puts the undelivered events that are in memory back into a store that
// was emptied, in front of what has been committed since. Events that were only
// in the store are lost: what an endpoint had no room for in memory, and all of
// a list whose first event was to be tried again later. It may be repeated.
// Errors: [meeting.ErrUnavailable], also while another process leads, and
// [meeting.ErrFenced].
func (d *Deliverer) Rewrite(ctx context.Context) error {
	d.storing.Lock()
	defer d.storing.Unlock()
	var all map[string]map[string][]json.RawMessage
	err := d.update(func(q *queue, now time.Time) { all = q.storeEmptied(now) })
	for endpoint, lists := range all {
		if err := d.registry.store.Requeue(ctx, endpoint, lists, true); err != nil {
			return err
		}
	}
	return err
}

// requeue puts events at the end of their meetings' lists, except those that are
// the first ones there, and makes the lists due.
func (d *Deliverer) requeue(ctx context.Context, endpoint string, lists map[string][]json.RawMessage) error {
	d.storing.Lock()
	defer d.storing.Unlock()
	// An acknowledgement of the same event from before must not be stored later.
	if err := d.syncLocked(ctx); err != nil {
		d.poke()
		return err
	}
	err := d.update(func(q *queue, _ time.Time) {
		for id := range lists {
			q.reread(endpoint, id)
		}
	})
	if err != nil {
		return err
	}
	return d.registry.store.Requeue(ctx, endpoint, lists, false)
}
