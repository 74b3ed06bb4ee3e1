package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"usher/meeting"
)

// runner empties the lanes of one endpoint. Its own goroutine talks to the
// store; each try has a goroutine that ends with it.
//
// What came of tries is handed in together with asking for more, so a busy
// endpoint needs less than one call of the store per delivery.
type runner struct {
	d        *Deliverer
	endpoint string
	wake     chan struct{} // has room for one
	stop     context.CancelFunc

	done     chan meeting.Settlement // has room for all in flight
	inFlight int
	settled  []meeting.Settlement // not yet handed in
	calls    int                  // of the store, to tell tokens apart
	failing  atomic.Bool          // as last heard of
	broken   bool                 // the store failed last time
}

func newRunner(d *Deliverer, endpoint string) *runner {
	return &runner{
		d: d, endpoint: endpoint,
		wake: make(chan struct{}, 1), done: make(chan meeting.Settlement, MaxInFlight),
	}
}

// run delivers until ctx ends and nothing is in flight.
func (r *runner) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case s := <-r.done:
			r.ended(s)
		case <-r.wake:
		case <-timer.C:
		case <-ctx.Done():
			r.drain(ctx)
			return
		}
		for len(r.done) > 0 {
			r.ended(<-r.done)
		}
		if r.inFlight < MaxInFlight || len(r.settled) > 0 {
			timer.Reset(r.exchange(ctx))
		}
	}
}

func (r *runner) ended(s meeting.Settlement) {
	r.inFlight--
	r.settled = append(r.settled, s)
}

// drain waits for the tries in flight and hands in what came of them. What
// cannot be handed in is tried again by others once its lease is over.
func (r *runner) drain(ctx context.Context) {
	for r.inFlight > 0 {
		r.ended(<-r.done)
	}
	if len(r.settled) > 0 {
		r.call(ctx, 0)
	}
}

// exchange hands in and takes what there is, and returns when to do so again.
func (r *runner) exchange(ctx context.Context) time.Duration {
	answer, ok := r.call(ctx, MaxInFlight-r.inFlight)
	if !ok {
		return r.d.timing.storeRetry
	}
	for _, c := range answer.Claims {
		r.inFlight++
		go func() { r.done <- r.deliver(ctx, c) }()
	}
	r.observe(ctx, answer)
	if answer.Next < 0 {
		return r.d.timing.poll
	}
	return min(answer.Next, r.d.timing.poll)
}

// call makes one exchange. It goes on when ctx has ended: what it gives out
// must not be lost, and the store answers within seconds or fails.
func (r *runner) call(ctx context.Context, take int) (meeting.Exchanged, bool) {
	r.calls++
	answer, err := r.d.book.store.Exchange(context.WithoutCancel(ctx), meeting.Exchange{
		Endpoint: r.endpoint, Settled: r.settled, Take: take,
		Token: fmt.Sprintf("%s.%d", r.d.name, r.calls),
		Lease: r.d.sender.timeout + r.d.timing.leaseSlack, Probe: r.d.timing.probe,
	})
	if err != nil {
		if !r.broken { // said once
			r.d.book.log.Warn("cannot claim webhook deliveries", "endpoint", r.endpoint, "err", err)
		}
		r.broken = true
		return meeting.Exchanged{}, false
	}
	r.broken = false
	r.settled = r.settled[:0]
	r.d.book.metrics.stale.Add(float64(answer.Stale))
	return answer, true
}

// observe says when the endpoint begins to fail or is back, and disables one
// that has failed for too long.
func (r *runner) observe(ctx context.Context, answer meeting.Exchanged) {
	log := r.d.book.log.With("endpoint", r.endpoint)
	failing := !answer.FailingSince.IsZero()
	switch {
	case failing && time.Since(answer.FailingSince) > DisableAfter:
		r.disable(ctx, DisabledFailing)
	case failing && !r.failing.Load():
		log.Warn("webhook endpoint fails, deliveries wait", "since", answer.FailingSince)
	case !failing && r.failing.Load():
		log.Info("webhook endpoint is back")
	}
	r.failing.Store(failing)
}

// disable stops deliveries until somebody enables the endpoint again.
func (r *runner) disable(ctx context.Context, reason string) {
	log := r.d.book.log.With("endpoint", r.endpoint, "reason", reason)
	if err := r.d.book.Disable(context.WithoutCancel(ctx), r.endpoint, reason); err != nil {
		log.Warn("cannot disable webhook endpoint", "err", err) // the next answer says it again
		return
	}
	log.Error("webhook endpoint is disabled, enable it when it is mended")
}

// deliver tries the head of a lane once and says what becomes of it.
func (r *runner) deliver(ctx context.Context, c meeting.Claim) meeting.Settlement {
	released := meeting.Settlement{MeetingID: c.MeetingID, Token: c.Token, Verdict: meeting.Released}
	e, err := r.d.book.Get(r.endpoint)
	if err != nil || e.Disabled != nil || ctx.Err() != nil {
		return released
	}
	// What has been begun is worth waiting for when ctx ends.
	ctx = context.WithoutCancel(ctx)
	var o outcome
	m, err := newMessage(c.Notice, c.Gap)
	if err != nil {
		o = outcome{reason: reasonNotice, err: err}
	} else {
		m.refusals = c.Refusals
		o = r.d.try(ctx, e, m)
	}
	s := r.d.timing.settle(c, o)
	if o.reason == reasonNothing {
		r.d.book.metrics.skipped(e.label())
		return s
	}
	a := newAttempt(m, c.MeetingID, c.Failures+c.Refusals+1, s.Verdict, o)
	s.Record, _ = json.Marshal(a) // always encodes
	r.d.book.metrics.tried(e.label(), m, s.Verdict, o)
	r.log(a, o)
	if isGone(o) {
		r.disable(ctx, DisabledGone)
	}
	return s
}

// log tells of a try that did not deliver.
func (r *runner) log(a Attempt, o outcome) {
	if o.ok() {
		return
	}
	log := r.d.book.log.With("endpoint", r.endpoint, "event", a.EventID, "meeting_id", a.MeetingID,
		"attempt", a.Number, "status", o.status, "reason", o.reason)
	if o.err != nil && o.reason != reasonBroken { // which may quote what the endpoint said
		log = log.With("err", o.err)
	}
	if a.Result == meeting.GivenUp {
		log.Error("webhook notice is given up")
		return
	}
	log.Debug("webhook delivery failed")
}
