package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"usher/internal/sleep"
	"usher/internal/workers"
	"usher/meeting"
)

// Lead delivers until ctx ends; then it starts nothing more, lets tries under
// way end for [drainTime], cuts off the others and returns nil within
// [drainTime] and [lastFlush]. It returns [meeting.ErrFenced] when another
// process leads. Tries have goroutines; that of Lead talks to the store.
func (d *Deliverer) Lead(ctx context.Context) error {
	leading, stop := context.WithCancel(ctx)
	defer stop()
	flight, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	// At once, though a call of the store may take a while to end.
	context.AfterFunc(leading, func() { time.AfterFunc(drainTime, cut) })
	d.storing.Lock()
	d.unstored = nil
	d.storing.Unlock()
	d.mu.Lock()
	d.queue, d.leading, d.flight, d.wakeAt = newQueue(d.timing, rand.Float64), leading, flight, time.Time{}
	d.flying = workers.New()
	d.timer = time.AfterFunc(0, func() { _ = d.update(func(*queue, time.Time) {}) })
	d.mu.Unlock()

	err := d.serve(leading)
	stop()
	if err != nil {
		cut()
	}
	d.mu.Lock()
	d.timer.Stop() // whoever holds the lock may start the last tries
	d.mu.Unlock()
	d.flying.Wait()
	if err == nil {
		last, end := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
		defer end()
		_ = d.locked(func(q *queue, _ time.Time) { q.remember() })
		_ = d.sync(last) // what is not acknowledged comes again
	}
	d.mu.Lock()
	d.queue = nil
	d.mu.Unlock()
	return err
}

// serve does what the store has to do with deliveries, until ctx ends or another
// process leads.
func (d *Deliverer) serve(ctx context.Context) error {
	tidy := time.NewTicker(tidyInterval)
	defer tidy.Stop()
	var arranged *snapshot
	for failing, untidy := false, false; ; {
		var failed error
		if s := d.registry.snapshot.Load(); s != arranged {
			if failed = d.arrange(ctx, s); failed == nil {
				arranged = s
			}
		}
		failed = errors.Join(failed, d.sync(ctx))
		if untidy {
			failed = errors.Join(failed, d.tidy(ctx))
		}
		if errors.Is(failed, meeting.ErrFenced) {
			return meeting.ErrFenced
		}
		if failed != nil && !failing && ctx.Err() == nil { // said once
			d.registry.log.Warn("cannot keep account of webhook deliveries", "err", failed)
		}
		if failing = failed != nil; failing {
			d.pokeLater(ctx) // what was not done is to be done again
		}
		untidy = false
		select {
		case <-ctx.Done():
			return nil
		case <-tidy.C:
			untidy = true
		case <-d.registry.changed:
		case <-d.work:
		}
	}
}

// poke says that there is something for the store.
func (d *Deliverer) poke() { sleep.Wake(d.work) }

// pokeLater does the same once the store has had time to come back, or ctx has
// ended.
func (d *Deliverer) pokeLater(ctx context.Context) {
	sleep.For(ctx, d.timing.storeRetry)
	d.poke()
}

// due returns what is to be tried now, and arranges for what comes later. d.mu is
// held.
func (d *Deliverer) due(now time.Time) (starts []*delivery) {
	if d.leading.Err() != nil {
		return nil
	}
	starts = d.queue.next(now)
	if at := d.queue.syncAt; !at.IsZero() && !at.After(now) {
		d.queue.syncAt = time.Time{}
		d.poke()
	}
	if at := d.queue.wake(); !at.IsZero() && !at.Equal(d.wakeAt) {
		d.wakeAt = at
		d.timer.Reset(at.Sub(now))
	}
	return starts
}

// start makes tries, each followed by one that is due after it.
func (d *Deliverer) start(starts []*delivery) {
	for _, one := range starts {
		d.flying.Go(func() {
			for next := d.deliver(one); len(next) > 0; next = d.deliver(next[0]) {
				d.start(next[1:])
			}
		})
	}
}

// deliver makes one try, and returns what is due after it.
func (d *Deliverer) deliver(one *delivery) (next []*delivery) {
	id := one.list.endpoint.id
	e, err := d.registry.Get(id)
	var o outcome
	a := cancelled
	if err == nil && e.Disabled == nil {
		o = d.try(d.flight, e, one)
		if o.status != 0 || d.flight.Err() == nil {
			a = answerOf(o, e.dialect)
		}
	}
	attempt := newAttempt(one.event, o)
	attempt.MeetingID = one.list.id
	var r result
	_ = d.locked(func(q *queue, now time.Time) {
		if r = q.finish(one, a, o.ask, now); r.result != "" && r.result != meeting.Skipped {
			attempt.Number, attempt.Result = r.number, r.result
			record, _ := json.Marshal(attempt) // always encodes
			q.of(id).tried = append(q.of(id).tried, meeting.Tried{Record: record, Event: one.event.text, Dead: r.result == meeting.GivenUp})
		}
		next = d.due(now)
	})
	if r.result != "" {
		d.registry.metrics.tried(e.label(), one.event, r.result, o)
	}
	if r.result == meeting.GivenUp || r.result == meeting.Failed || r.ended {
		d.report(id, attempt, r, o)
	}
	return next
}

// report logs what came of a try, if it is worth it, and disables an endpoint
// that is not to be called again.
func (d *Deliverer) report(id string, a Attempt, r result, o outcome) {
	log := d.registry.log.With("endpoint", id)
	if r.result == meeting.GivenUp || r.result == meeting.Failed {
		about := log.With("event", a.EventID, "meeting_id", a.MeetingID, "attempt", a.Number, "status", o.status, "reason", o.reason)
		if o.err != nil && o.reason != reasonBroken { // which may quote what the endpoint said
			about = about.With("err", o.err)
		}
		if r.result == meeting.GivenUp {
			about.Error("webhook event is given up")
		} else {
			about.Debug("webhook delivery failed")
		}
	}
	switch {
	case r.began:
		log.Warn("webhook endpoint fails, deliveries wait", "since", r.since)
	case r.ended:
		log.Info("webhook endpoint is back")
	}
	if r.disable == "" {
		return
	}
	if err := d.registry.Disable(d.flight, id, r.disable); err != nil {
		log.Warn("cannot disable webhook endpoint", "reason", r.disable, "err", err) // the next answer says it again
		return
	}
	log.Error("webhook endpoint is disabled, enable it when it is mended", "reason", r.disable)
}
