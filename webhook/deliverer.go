package webhook

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"usher/internal/workers"
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
	work     chan struct{} // has room for one: there is something for the store

	// storing is held while lists are changed or read in the store, so that the
	// queue sees both in order.
	storing  sync.Mutex
	unstored []meeting.Acks // that the store could not take yet

	mu      sync.Mutex
	queue   *queue          // nil while another process leads
	leading context.Context // nothing is started once it has ended
	flight  context.Context // of tries
	flying  *workers.Group
	timer   *time.Timer // starts what is due
	wakeAt  time.Time   // for which it is set
}

// NewDeliverer returns a deliverer that does nothing until Run and Lead.
func NewDeliverer(r *Registry) *Deliverer {
	return &Deliverer{registry: r, sender: newSender(r.guard), timing: defaultTiming, work: make(chan struct{}, 1)}
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
		case <-ctx.Done():
			return nil
		}
	}
}

// locked calls f with the queue, or returns [meeting.ErrUnavailable] while
// another process leads.
func (d *Deliverer) locked(f func(q *queue, now time.Time)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return meeting.ErrUnavailable
	}
	f(d.queue, time.Now())
	return nil
}

// update does the same and then starts what is due.
func (d *Deliverer) update(f func(q *queue, now time.Time)) error {
	return d.locked(func(q *queue, now time.Time) {
		f(q, now)
		d.start(d.due(now))
	})
}

// Committed takes the events of a change that has just been committed. It
// returns at once.
func (d *Deliverer) Committed(c meeting.Commit) {
	_ = d.update(func(q *queue, _ time.Time) {
		for i, endpoints := range c.Routes {
			if len(endpoints) == 0 {
				continue
			}
			n := &c.Events[i]
			ev := &event{ID: n.ID, Type: n.Type, MeetingID: n.MeetingID, Timestamp: n.Timestamp.Time, Seq: n.Seq, text: n.Text()}
			for _, endpoint := range endpoints {
				q.add(endpoint, c.Meeting.ID, ev)
			}
		}
	})
}

// RetryNow makes all that waits for an endpoint due now, as if it had never
// failed. It does nothing while another process leads.
func (d *Deliverer) RetryNow(id string) {
	_ = d.update(func(q *queue, now time.Time) { q.retryNow(id, now) })
}

// Failing returns the ids of the endpoints that fail at the moment, in order;
// none while another process leads. It does no I/O.
func (d *Deliverer) Failing() (ids []string) {
	_ = d.locked(func(q *queue, _ time.Time) { ids = q.fails() })
	return ids
}

// Retry delivers once more what a try of the log or of the dead letters was
// about. If that still waits as the first event of its meeting it is due now, or
// at the next probe while the endpoint fails; otherwise it goes behind what
// waits. Errors: [ErrNotFound], [meeting.ErrUnavailable], also while another
// process leads.
func (d *Deliverer) Retry(ctx context.Context, id, attempt string) error {
	a, err := d.registry.attempt(ctx, id, attempt)
	if err != nil {
		return err
	}
	return d.requeue(ctx, id, map[string][]json.RawMessage{a.MeetingID: {a.event}})
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
	if err := d.locked(func(*queue, time.Time) {}); err != nil {
		return 0, err
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
		err := d.requeue(ctx, id, lists)
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
	return d.Send(ctx, id, testEvent(time.Now()))
}

// Send posts an event to an endpoint as [Deliverer.Test] does, whether it wants such
// events or not.
func (d *Deliverer) Send(ctx context.Context, id string, event json.RawMessage) (Attempt, error) {
	e, err := d.registry.Get(id)
	if err != nil {
		return Attempt{}, err
	}
	ev := readEvent(event)
	a := newAttempt(ev, d.try(ctx, e, &delivery{event: ev}))
	if a.Status/100 == 2 {
		a.Result = meeting.Delivered
	}
	return a, nil
}

// try renders and posts an event once and blocks for [Timeout] at most. A receiver
// that does not believe the signature is at once sent the dialect's other encoding,
// where that makes something else of the event: it may verify what it has read and
// written again.
func (d *Deliverer) try(ctx context.Context, e Endpoint, one *delivery) outcome {
	ctx, cancel := context.WithTimeout(ctx, d.sender.timeout)
	defer cancel()
	r, err := render(ctx, e, one, time.Now())
	if err != nil {
		return outcome{reason: reasonEvent, err: err}
	}
	o := d.sender.post(r)
	if o.status != http.StatusUnauthorized || one.encodings == 0 || one.alike {
		return o
	}
	other := *one
	other.variant += (one.variant+1)%one.encodings - one.variant%one.encodings
	if r, err = render(ctx, e, &other, time.Now()); err == nil {
		if again := d.sender.post(r); again.status/100 == 2 {
			one.variant, o = other.variant, again
		}
	}
	return o
}

// measure keeps the gauges of what waits up to date until ctx ends.
func (d *Deliverer) measure(ctx context.Context) {
	tick := time.NewTicker(backlogInterval)
	defer tick.Stop()
	for {
		type waiting struct{ events, oldest, down float64 }
		all := map[string]waiting{apiLabel: {}}
		for _, e := range d.registry.List() {
			b, err := d.registry.store.Backlog(ctx, e.ID)
			if err != nil {
				break // the store is measured elsewhere
			}
			w := all[e.label()]
			w.events += float64(b.Events)
			if !b.Oldest.IsZero() {
				w.oldest = max(w.oldest, time.Since(b.Oldest).Seconds())
			}
			if e.Disabled != nil || !b.FailingSince.IsZero() {
				w.down = 1
			}
			all[e.label()] = w
		}
		m := d.registry.metrics
		for label, w := range all {
			m.backlog.WithLabelValues(label).Set(w.events)
			m.oldest.WithLabelValues(label).Set(w.oldest)
			m.up.WithLabelValues(label).Set(1 - w.down)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
