package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"usher/meeting"
)

const (
	// pollInterval is how often the due lanes of an endpoint are looked up when
	// nothing wakes it: what other processes commit is found by that.
	pollInterval = time.Second
	// storeRetry is the wait after the store has failed.
	storeRetry = 250 * time.Millisecond
	// backlogInterval is how often what waits is measured: once per scrape.
	backlogInterval = 15 * time.Second
)

// Deliverer posts what waits in the lanes of the endpoints in its book. Safe
// for concurrent use.
type Deliverer struct {
	book   *Book
	sender *sender
	timing timing
	name   string // of this process in tokens of claims

	mu      sync.Mutex
	runners map[string]*runner // by endpoint
}

// NewDeliverer returns a deliverer that does nothing until Run.
func NewDeliverer(b *Book) *Deliverer {
	return &Deliverer{
		book: b, sender: newSender(b.guard), timing: defaultTiming, name: rand.Text(),
		runners: map[string]*runner{},
	}
}

// Run delivers until ctx ends, then waits for the tries in flight, [Timeout] at
// most, and hands in what came of them. It also keeps the book up to date. It
// returns nil.
func (d *Deliverer) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer d.sender.close()
	defer running.Wait()
	running.Go(func() { d.measure(ctx) })
	refresh := time.NewTicker(d.timing.refresh)
	defer refresh.Stop()
	failing := false
	for {
		err := d.book.refresh(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing { // said once
			d.book.log.Warn("cannot read webhook endpoints, going by those known", "err", err)
		}
		failing = err != nil
		d.arrange(ctx, &running)
		select {
		case <-refresh.C:
		case <-d.book.changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// Wake says that something was committed for an endpoint. It returns at once;
// without it the notice leaves within [pollInterval].
func (d *Deliverer) Wake(endpoint string) {
	d.mu.Lock()
	r := d.runners[endpoint]
	d.mu.Unlock()
	if r != nil {
		select {
		case r.wake <- struct{}{}:
		default: // it has not looked yet
		}
	}
}

// Failing returns the ids of the endpoints that fail at the moment, in order,
// as this process last heard of them. It does no I/O.
func (d *Deliverer) Failing() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []string
	for id, r := range d.runners {
		if r.failing.Load() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// arrange starts a runner for each endpoint that is enabled and has none, and
// stops those of the others.
func (d *Deliverer) arrange(ctx context.Context, running *sync.WaitGroup) {
	endpoints := d.book.page.Load().byID
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, r := range d.runners {
		if e, known := endpoints[id]; !known || e.Disabled != nil {
			r.stop()
		}
	}
	for id, e := range endpoints {
		if d.runners[id] != nil || e.Disabled != nil {
			continue
		}
		r := newRunner(d, id)
		var its context.Context
		its, r.stop = context.WithCancel(ctx)
		d.runners[id] = r
		running.Go(func() {
			defer r.stop()
			r.run(its)
			d.ended(ctx, id)
		})
	}
}

// ended lets go of a runner. A later look at the book starts another if the
// endpoint is enabled by then.
func (d *Deliverer) ended(ctx context.Context, id string) {
	d.mu.Lock()
	delete(d.runners, id)
	d.mu.Unlock()
	if _, err := d.book.Get(id); errors.Is(err, ErrNotFound) && ctx.Err() == nil {
		// Until a moment ago this process may have committed notices for it.
		if err := d.book.store.DeleteEndpoint(ctx, id); err != nil {
			d.book.log.Warn("cannot remove what is left of a webhook endpoint", "endpoint", id, "err", err)
		}
	}
}

// Test posts a webhook.test notice to an endpoint, disabled or not, and returns
// what came of it, after [Timeout] at most. It is not retried and in no log.
// Errors: [ErrNotFound].
func (d *Deliverer) Test(ctx context.Context, id string) (Attempt, error) {
	e, err := d.book.Get(id)
	if err != nil {
		return Attempt{}, err
	}
	m, err := newMessage(testNotice(time.Now()), false)
	if err != nil {
		return Attempt{}, err
	}
	o := d.try(ctx, e, m)
	result := meeting.Failed
	if o.ok() {
		result = meeting.Delivered
	}
	return newAttempt(m, "", 1, result, o), nil
}

// try renders and posts a message once.
func (d *Deliverer) try(ctx context.Context, e Endpoint, m message) outcome {
	r, err := render(e, m, time.Now())
	switch {
	case errors.Is(err, errNothing):
		return outcome{reason: reasonNothing}
	case err != nil:
		return outcome{reason: reasonNotice, err: err}
	}
	return d.sender.post(ctx, e, r)
}

// measure keeps the gauges of what waits up to date until ctx ends.
func (d *Deliverer) measure(ctx context.Context) {
	tick := time.NewTicker(backlogInterval)
	defer tick.Stop()
	for {
		type waiting struct {
			notices int
			oldest  time.Duration
			down    bool
		}
		all := map[string]waiting{apiLabel: {}}
		for id, e := range d.book.page.Load().byID {
			b, err := d.book.store.Backlog(ctx, id)
			if err != nil {
				break // the store is measured elsewhere
			}
			w := all[e.label()]
			w.notices += b.Notices
			if !b.Oldest.IsZero() {
				w.oldest = max(w.oldest, time.Since(b.Oldest))
			}
			w.down = w.down || e.Disabled != nil || !b.FailingSince.IsZero()
			all[e.label()] = w
		}
		for label, w := range all {
			d.book.metrics.waits(label, w.notices, w.oldest, !w.down)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
