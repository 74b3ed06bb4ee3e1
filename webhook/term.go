package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"usher/meeting"
)

// term is one stretch of delivering. Each try has a goroutine, which goes on
// with the next one; run's own goroutine alone talks to the store.
type term struct {
	d    *Deliverer
	work chan struct{} // has room for one: there is something for the store
	// storing is held while lists are changed or read in the store, so that the
	// queue sees both in order.
	storing sync.Mutex

	mu       sync.Mutex
	queue    *queue
	stopped  bool
	timer    *time.Timer
	timerAt  time.Time
	flushing bool            // a flush is on its way
	flight   context.Context // of tries
	flying   sync.WaitGroup
	changed  bool // the registry has changed

	broken bool // the store failed last time; of run's goroutine
}

func newTerm(d *Deliverer) *term {
	return &term{d: d, work: make(chan struct{}, 1), queue: newQueue(d.timing, random), changed: true}
}

// run delivers until ctx ends, and returns [meeting.ErrFenced] when another
// process leads.
func (t *term) run(ctx context.Context) error {
	flight, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	t.mu.Lock()
	t.flight = flight
	t.mu.Unlock()
	// At once, though a call of the store may take a while to end.
	unhook := context.AfterFunc(ctx, func() { t.stop(cut) })
	err := t.serve(ctx)
	if unhook() {
		t.stop(cut)
	}
	if err != nil {
		cut()
	}
	t.flying.Wait()
	if err == nil {
		last, end := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
		defer end()
		t.mu.Lock()
		t.queue.remember()
		t.mu.Unlock()
		_ = t.sync(last) // what is not acknowledged comes again
	}
	return err
}

// stop starts nothing more, and cuts off what is under way after drainTime.
func (t *term) stop(cut func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	if t.timer != nil {
		t.timer.Stop()
	}
	time.AfterFunc(drainTime, cut)
}

// serve does what the store has to do with deliveries, until ctx ends or another
// process leads.
func (t *term) serve(ctx context.Context) error {
	tidy := time.NewTicker(tidyInterval)
	defer tidy.Stop()
	for {
		err := errors.Join(t.arrange(ctx), t.sync(ctx))
		if errors.Is(err, meeting.ErrFenced) {
			return meeting.ErrFenced
		}
		t.report(ctx, err)
		select {
		case <-ctx.Done():
			return nil
		case <-tidy.C:
			t.report(ctx, t.tidy(ctx))
		case <-t.work:
		}
	}
}

// report says once that the store fails, and has what it did not do done again.
func (t *term) report(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		if !t.broken {
			t.d.registry.log.Warn("cannot keep account of webhook deliveries", "err", err)
		}
		time.AfterFunc(t.d.timing.storeRetry, t.poke)
	}
	t.broken = err != nil
}

// poke says that there is something for the store.
func (t *term) poke() {
	select {
	case t.work <- struct{}{}:
	default: // it has not looked yet
	}
}

// start starts what is due. t.mu is held.
func (t *term) start(now time.Time) {
	for _, d := range t.next(now) {
		t.fly(d)
	}
}

func (t *term) fly(d *delivery) {
	t.flying.Go(func() {
		for d != nil {
			d = t.deliver(d)
		}
	})
}

// next returns what is due, and arranges for what comes later. t.mu is held.
func (t *term) next(now time.Time) []*delivery {
	if t.stopped || t.flight == nil {
		return nil
	}
	due := t.queue.next(now)
	if at, ok := t.queue.wake(); ok && (!at.Equal(t.timerAt) || t.timer == nil) {
		t.timerAt = at
		if t.timer != nil {
			t.timer.Stop()
		}
		t.timer = time.AfterFunc(at.Sub(now), func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.timerAt = time.Time{}
			t.start(time.Now())
		})
	}
	switch {
	case t.queue.syncDue == atOnce:
		t.poke()
	case t.queue.syncDue == soon && !t.flushing:
		t.flushing = true
		time.AfterFunc(t.d.timing.flush, t.poke)
	}
	return due
}

// deliver makes one try, and returns another one that is due.
func (t *term) deliver(d *delivery) (another *delivery) {
	e, err := t.d.registry.Get(d.endpoint)
	var o outcome
	a := cancelled
	if err == nil && e.Disabled == nil {
		o = t.d.try(t.flight, e, d)
		a = answerOf(o, e.dialect)
		if o.status == 0 && t.flight.Err() != nil {
			a = cancelled
		}
	}

	t.mu.Lock()
	now := time.Now()
	r := t.queue.finish(d, a, o.ask, now)
	due := t.next(now)
	for i := 1; i < len(due); i++ {
		t.fly(due[i])
	}
	t.mu.Unlock()
	t.ended(e, d, r, o)
	if len(due) > 0 {
		return due[0]
	}
	return nil
}

// ended tells of a try in the delivery log, the metrics and the log.
func (t *term) ended(e Endpoint, d *delivery, r result, o outcome) {
	registry := t.d.registry
	switch r.result {
	case "":
		return
	case meeting.Skipped:
		registry.metrics.skipped(e.label())
		return
	}
	a := newAttempt(d.event.envelope, r.number, r.result, o)
	a.MeetingID = d.meeting
	record, _ := json.Marshal(a) // always encodes
	t.mu.Lock()
	t.queue.log(d.endpoint, meeting.Tried{Record: record, Event: d.event.text, Dead: r.result == meeting.GivenUp})
	t.mu.Unlock()
	registry.metrics.tried(e.label(), d.event.envelope, r.result, o)
	if r.result == meeting.Delivered && !r.ended {
		return
	}
	log := registry.log.With("endpoint", d.endpoint)
	about := log.With("event", a.EventID, "meeting_id", a.MeetingID, "attempt", a.Number, "status", o.status, "reason", o.reason)
	if o.err != nil && o.reason != reasonBroken { // which may quote what the endpoint said
		about = about.With("err", o.err)
	}
	switch r.result {
	case meeting.GivenUp:
		about.Error("webhook event is given up")
	case meeting.Failed:
		about.Debug("webhook delivery failed")
	}
	switch {
	case r.began:
		log.Warn("webhook endpoint fails, deliveries wait", "since", r.since)
	case r.ended:
		log.Info("webhook endpoint is back")
	}
	if r.disable != "" {
		t.disable(d.endpoint, r.disable)
	}
}

// disable stops deliveries until somebody enables the endpoint again.
func (t *term) disable(endpoint, reason string) {
	log := t.d.registry.log.With("endpoint", endpoint, "reason", reason)
	if err := t.d.registry.Disable(t.flight, endpoint, reason); err != nil {
		log.Warn("cannot disable webhook endpoint", "err", err) // the next answer says it again
		return
	}
	log.Error("webhook endpoint is disabled, enable it when it is mended")
}
