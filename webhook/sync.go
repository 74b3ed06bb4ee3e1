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
func (t *term) sync(ctx context.Context) error {
	t.storing.Lock()
	defer t.storing.Unlock()
	return t.syncLocked(ctx)
}

// syncLocked does so; t.storing is held. What fails is left for the next time.
func (t *term) syncLocked(ctx context.Context) (failed error) {
	t.mu.Lock()
	t.flushing = false
	now := time.Now()
	acks := t.queue.takeAcks(now)
	var fetches []fetch
	if !t.stopped {
		fetches = t.queue.fetches(now)
	}
	t.mu.Unlock()
	for _, a := range acks {
		if err := t.d.registry.store.Ack(ctx, a); err != nil {
			failed = errors.Join(failed, err)
			t.mu.Lock()
			t.queue.putBack(a)
			t.mu.Unlock()
		}
	}
	for _, f := range fetches {
		var lists [][]json.RawMessage
		if failed == nil { // else lists may not be as the queue thinks
			lists, failed = t.d.registry.store.ReadQueues(ctx, f.endpoint, f.meetings, f.limit)
		}
		t.fetched(f, lists, failed)
	}
	return failed
}

func (t *term) fetched(f fetch, lists [][]json.RawMessage, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, id := range f.meetings {
		if err != nil {
			t.queue.fetched(f.endpoint, id, nil, true)
			continue
		}
		var events []*event
		for _, text := range lists[i] {
			events = append(events, readEvent(text))
		}
		t.queue.fetched(f.endpoint, id, events, len(events) == f.limit)
	}
	if err == nil { // else report has it done again
		t.start(time.Now())
	}
}

// endpointsChanged says that the registry has changed.
func (t *term) endpointsChanged() {
	t.mu.Lock()
	t.changed = true
	t.mu.Unlock()
	t.poke()
}

// arrange has the queue know the endpoints that the registry knows, and removes what
// is kept for others: they were deleted, or have left the configuration.
func (t *term) arrange(ctx context.Context) error {
	t.mu.Lock()
	changed := t.changed
	t.changed = false
	loaded := map[string]bool{}
	for id, e := range t.queue.endpoints {
		loaded[id] = e.loaded
	}
	t.mu.Unlock()
	if !changed {
		return nil
	}
	kept, failed := t.d.registry.store.QueuedEndpoints(ctx)
	page := t.d.registry.page.Load()
	for id, e := range page.byID {
		failed = errors.Join(failed, t.admit(ctx, e, loaded[id]))
	}
	// Until a moment ago events may have been committed for those in memory.
	for _, id := range slices.AppendSeq(kept, maps.Keys(loaded)) {
		if _, known := page.byID[id]; known || slices.Contains(page.unreadable, id) {
			continue
		}
		t.mu.Lock()
		t.queue.remove(id)
		t.mu.Unlock()
		t.d.registry.log.Info("removing what waits for a webhook endpoint that is no more", "endpoint", id)
		failed = errors.Join(failed, t.d.registry.store.DeleteEndpoint(ctx, id))
	}
	if failed != nil {
		t.mu.Lock()
		t.changed = true
		t.mu.Unlock()
	}
	return failed
}

// admit loads what waits for an endpoint, and has it delivered if the endpoint
// is enabled.
func (t *term) admit(ctx context.Context, e Endpoint, loaded bool) error {
	var (
		meetings []string
		retries  map[string]meeting.Retry
		health   meeting.Health
		err      error
	)
	if !loaded {
		if meetings, retries, health, err = t.d.registry.store.LoadQueue(ctx, e.ID); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if !loaded {
		t.queue.load(e.ID, meetings, retries, health, now)
	}
	t.queue.disable(e.ID, e.Disabled != nil)
	t.start(now)
	return nil
}

// tidy removes the endpoints of one meeting once it is over and they are done,
// and forgets that an event should say gap when its meeting can have none.
func (t *term) tidy(ctx context.Context) error {
	for id, e := range t.d.registry.page.Load().byID {
		t.mu.Lock()
		gaps, done := t.queue.rest(id)
		t.mu.Unlock()
		for _, mtg := range gaps {
			over, err := t.isOver(ctx, mtg)
			if err != nil {
				return err
			}
			if over {
				t.mu.Lock()
				t.queue.forgetGap(id, mtg)
				t.mu.Unlock()
			}
		}
		dead := e.Disabled != nil && (e.Disabled.Reason == DisabledGone || e.Disabled.Reason == DisabledFailing)
		if e.MeetingID == "" || !done && !dead {
			continue
		}
		over, err := t.isOver(ctx, e.MeetingID)
		if over {
			err = t.d.registry.Delete(ctx, id)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// isOver reports whether a meeting can have no further events.
func (t *term) isOver(ctx context.Context, id string) (bool, error) {
	m, err := t.d.registry.store.Load(ctx, id)
	if errors.Is(err, meeting.ErrNotFound) {
		return true, nil
	}
	return m.Over(), err
}

// rewrite puts the events in memory back into a store that was emptied.
func (t *term) rewrite(ctx context.Context) error {
	t.storing.Lock()
	defer t.storing.Unlock()
	t.mu.Lock()
	all := t.queue.storeEmptied()
	t.mu.Unlock()
	for endpoint, lists := range all {
		if err := t.d.registry.store.Requeue(ctx, endpoint, lists, true); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start(time.Now())
	return nil
}

// requeue puts events at the end of their meetings' lists, except those that are
// the first ones there, and makes the lists due.
func (t *term) requeue(ctx context.Context, endpoint string, lists map[string][]json.RawMessage) error {
	t.storing.Lock()
	defer t.storing.Unlock()
	// An acknowledgement of the same event from before must not be stored later.
	if err := t.syncLocked(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	for id := range lists {
		t.queue.reread(endpoint, id)
	}
	t.mu.Unlock()
	err := t.d.registry.store.Requeue(ctx, endpoint, lists, false)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start(time.Now())
	return err
}
