package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"usher/meeting"
)

const (
	// flushInterval is the most that an acknowledgement waits: what is delivered
	// in that time comes again if this process is killed.
	flushInterval = 100 * time.Millisecond
	// flushAfter is how many tries end before acknowledgements go at once.
	flushAfter = 256
	// drainTime is how long tries under way may take once this process stops
	// leading: most answers come sooner. What is cut off comes again.
	drainTime = 250 * time.Millisecond
	// lastFlush bounds the last acknowledgements. Together with drainTime it is
	// well within the time that a lease outlasts its leader.
	lastFlush = time.Second
	// backlogInterval is how often what waits is measured: once per scrape.
	backlogInterval = 15 * time.Second
)

// Deliverer posts the events that wait for the endpoints in its registry, while this
// process leads. Safe for concurrent use.
type Deliverer struct {
	registry *Registry
	sender   *sender
	timing   timing

	mu   sync.Mutex
	term *term // nil while another process leads
}

// NewDeliverer returns a deliverer that does nothing until Run and Lead.
func NewDeliverer(b *Registry) *Deliverer {
	return &Deliverer{registry: b, sender: newSender(b.guard), timing: defaultTiming}
}

// Run keeps the registry and the metrics up to date until ctx ends. It returns nil.
func (d *Deliverer) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer d.sender.close()
	defer running.Wait()
	running.Go(func() { d.measure(ctx) })
	refresh := time.NewTicker(d.timing.refresh)
	defer refresh.Stop()
	failing := false
	for {
		err := d.registry.refresh(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing { // said once
			d.registry.log.Warn("cannot read webhook endpoints, going by those known", "err", err)
		}
		failing = err != nil
		select {
		case <-refresh.C:
		case <-d.registry.changed:
			if t := d.leading(); t != nil {
				t.endpointsChanged()
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// Lead delivers until ctx ends; then it starts nothing more, lets tries under
// way end for [drainTime], cuts off the others and returns nil within
// [drainTime] and [lastFlush]. It returns [meeting.ErrFenced] when another
// process leads.
func (d *Deliverer) Lead(ctx context.Context) error {
	t := newTerm(d)
	d.mu.Lock()
	d.term = t
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.term = nil
		d.mu.Unlock()
	}()
	return t.run(ctx)
}

func (d *Deliverer) leading() *term {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.term
}

// Committed takes the events of a change that has just been committed. It
// returns at once.
func (d *Deliverer) Committed(c meeting.Commit) {
	t := d.leading()
	if t == nil {
		return
	}
	events := make([]*event, len(c.Events))
	for i, n := range c.Events {
		if i < len(c.Routes) && len(c.Routes[i]) > 0 {
			text, _ := json.Marshal(n) // always encodes: it just was
			events[i] = &event{envelope: envelope{n.ID, n.Type, n.MeetingID, n.Timestamp.Time, n.Seq}, text: text}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, endpoints := range c.Routes {
		for _, endpoint := range endpoints {
			t.queue.add(endpoint, c.Meeting.ID, events[i])
		}
	}
	t.start(time.Now())
}

// RetryNow makes all that waits for an endpoint due now, as if it had never
// failed. It does nothing while another process leads.
func (d *Deliverer) RetryNow(id string) {
	if t := d.leading(); t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.queue.retryNow(id)
		t.start(time.Now())
	}
}

// Rewrite puts the undelivered events that are in memory back into a store that
// was emptied, in front of what has been committed since. Events that were only
// in the store are lost: what an endpoint had no room for in memory, and all of
// a list whose first event was to be tried again later. It may be repeated.
// Errors: [meeting.ErrUnavailable], also while another process leads, and
// [meeting.ErrFenced].
func (d *Deliverer) Rewrite(ctx context.Context) error {
	if t := d.leading(); t != nil {
		return t.rewrite(ctx)
	}
	return meeting.ErrUnavailable
}

// Failing returns the ids of the endpoints that fail at the moment, in order;
// none while another process leads. It does no I/O.
func (d *Deliverer) Failing() []string {
	t := d.leading()
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queue.fails()
}

// Retry delivers once more what a try of the log or of the dead letters was
// about. If that still waits as the first event of its meeting it is due now, or
// at the next probe while the endpoint fails; otherwise it goes behind what
// waits. Errors: [ErrNotFound], [meeting.ErrUnavailable], also while another
// process leads.
func (d *Deliverer) Retry(ctx context.Context, id, attempt string) error {
	a, ev, err := d.registry.attempt(ctx, id, attempt)
	if err != nil {
		return err
	}
	t := d.leading()
	if t == nil {
		return meeting.ErrUnavailable
	}
	return t.requeue(ctx, id, map[string][]json.RawMessage{a.MeetingID: {ev}})
}

// Replay delivers once more what was committed in the given time and what the
// endpoint wants now, and returns how many events that are. They go behind what
// waits, so they arrive after newer ones. The event log reaches back seven days.
// When it fails, some may be on their way already. Errors: those of Retry.
func (d *Deliverer) Replay(ctx context.Context, id string, from, to time.Time) (replayed int, err error) {
	e, err := d.registry.Get(id)
	if err != nil {
		return 0, err
	}
	t := d.leading()
	if t == nil {
		return 0, meeting.ErrUnavailable
	}
	err = d.registry.store.Between(ctx, from, to, func(events []json.RawMessage) error {
		lists, n := map[string][]json.RawMessage{}, 0
		for _, text := range events {
			ev := readEvent(text) // what cannot be read is nothing to send
			if !ev.bad && e.Wants(ev.Type, ev.MeetingID) {
				lists[ev.MeetingID] = append(lists[ev.MeetingID], text)
				n++
			}
		}
		if n == 0 {
			return nil
		}
		err := t.requeue(ctx, id, lists)
		if err == nil {
			replayed += n
		}
		return err
	})
	return replayed, err
}

// Test posts a webhook.test event to an endpoint, disabled or not, and returns
// what came of it, after [Timeout] at most. It is not retried and in no log.
// Errors: [ErrNotFound].
func (d *Deliverer) Test(ctx context.Context, id string) (Attempt, error) {
	e, err := d.registry.Get(id)
	if err != nil {
		return Attempt{}, err
	}
	ev := readEvent(testEvent(time.Now()))
	o := d.try(ctx, e, &delivery{event: ev})
	result := meeting.Failed
	if o.ok() {
		result = meeting.Delivered
	}
	return newAttempt(ev.envelope, 1, result, o), nil
}

// try renders and posts an event once.
func (d *Deliverer) try(ctx context.Context, e Endpoint, one *delivery) outcome {
	r, err := render(e, one, time.Now())
	switch {
	case errors.Is(err, errNothing):
		return outcome{reason: reasonNothing}
	case err != nil:
		return outcome{reason: reasonEvent, err: err}
	}
	return d.sender.post(ctx, e, r)
}

// measure keeps the gauges of what waits up to date until ctx ends.
func (d *Deliverer) measure(ctx context.Context) {
	tick := time.NewTicker(backlogInterval)
	defer tick.Stop()
	for {
		type waiting struct {
			events int
			oldest time.Duration
			down   bool
		}
		all := map[string]waiting{apiLabel: {}}
		for id, e := range d.registry.page.Load().byID {
			b, err := d.registry.store.Backlog(ctx, id)
			if err != nil {
				break // the store is measured elsewhere
			}
			w := all[e.label()]
			w.events += b.Events
			if !b.Oldest.IsZero() {
				w.oldest = max(w.oldest, time.Since(b.Oldest))
			}
			w.down = w.down || e.Disabled != nil || !b.FailingSince.IsZero()
			all[e.label()] = w
		}
		for label, w := range all {
			d.registry.metrics.waits(label, w.events, w.oldest, !w.down)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// random is the queue's.
func random() float64 { return rand.Float64() }
