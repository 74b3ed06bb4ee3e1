package muc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

// refusedError says that the room did not let usher in.
type refusedError struct{ condition string }

func (e *refusedError) Error() string { return "muc: entry refused: " + e.condition }

// tryToEnter looks whether the room exists and enters it. It returns when to look
// again.
func (r *Rooms) tryToEnter(ctx context.Context, rm *room) time.Duration {
	r.mu.Lock()
	ready := r.occupantUp && (r.controlUp || rm.wasInside)
	back, alone, interval := rm.wasInside, rm.alone, rm.probeInterval()
	wait := time.Until(rm.retryAt)
	if ready && wait <= 0 && !back && time.Since(rm.expected) > expectFor {
		wait = rm.probe.wait(r.probes)
	}
	r.mu.Unlock()
	if !ready {
		return coldInterval // every room is looked at when a stream comes up
	}
	if wait > 0 {
		return wait
	}
	if !back {
		ready, err := r.ready(ctx, rm.name, alone)
		switch {
		case is(err, stanza.ItemNotFound):
			return r.absent(rm, interval)
		case err != nil:
			return r.failed(rm, err)
		case !ready:
			return interval
		}
	}
	switch err := r.enterWithPassword(ctx, rm); {
	case err == nil:
		return r.entered(rm)
	case back:
		return r.reentryRefused(ctx, rm, err)
	default:
		return r.failed(rm, err)
	}
}

// enterWithPassword enters the room, with its password if it has one.
func (r *Rooms) enterWithPassword(ctx context.Context, rm *room) error {
	err := r.enter(ctx, rm, "")
	var refused *refusedError
	if !errors.As(err, &refused) || refused.condition != "not-authorized" {
		return err
	}
	password, err := r.password(ctx, rm.name)
	if err != nil {
		return err
	}
	return r.enter(ctx, rm, password)
}

// probeInterval returns how soon to look again for a room that does not exist.
func (rm *room) probeInterval() time.Duration {
	switch since := time.Since(rm.expected); {
	case since < expectFastFor:
		return expectFast
	case since < expectFor:
		return expectSlow
	case rm.want == meeting.WantSoon, time.Now().Before(rm.warmUntil):
		return warmInterval
	}
	return coldInterval
}

// absent takes note that the room does not exist, and returns when to look
// again. Whoever was in it when usher lost sight of it is out, even if it was
// there for a moment when usher tried to come back.
func (r *Rooms) absent(rm *room, interval time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rm.want == meeting.WantRegain {
		r.roomGone(rm, time.Now(), r.goneReason(rm))
		return warmInterval
	}
	return interval
}

// ready reports whether the room may be entered: as its owner, and not before
// the focus, whose arrival is what sets a Jitsi room up. A room that does not
// exist is the server's item-not-found.
func (r *Rooms) ready(ctx context.Context, name string, alone bool) (bool, error) {
	r.metrics.probes.Inc()
	if err := r.grant(ctx, name); err != nil {
		r.noAdministrator(err)
		return false, fmt.Errorf("grant ownership: %w", err)
	}
	roles := []string{"moderator"}
	if alone {
		roles = allRoles
	}
	items, err := r.list(ctx, name, roles...)
	if err != nil {
		return false, fmt.Errorf("list occupants: %w", err)
	}
	focus, others := false, 0
	for _, it := range items {
		if bare := bareJID(it.JID); bare == r.site.FocusJID {
			focus = true
		} else if bare != r.site.OccupantJID {
			others++
		}
	}
	return focus && (!alone || others > 0), nil
}

var allRoles = []string{"moderator", "participant", "visitor"}

// enter joins the room and blocks until we are in, were refused, or the
// joinTimeout is over.
func (r *Rooms) enter(ctx context.Context, rm *room, password string) error {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	arrived := make(chan error, 1)
	r.mu.Lock()
	rm.phase, rm.arrived = entering, arrived
	rm.view, rm.burst, rm.order = map[string]seen{}, map[string]meeting.Occupant{}, nil
	rm.says = meeting.FocusSays{}
	rm.since, rm.visited, rm.emptySince, rm.unmoderated = time.Now(), false, time.Time{}, time.Time{}
	r.mu.Unlock()

	ctx, cancel := context.WithTimeoutCause(ctx, joinTimeout, errNoAnswer)
	defer cancel()
	self := r.site.address(rm.name) + "/" + r.site.Nick
	err := r.occupant.Send(ctx, "presence", self, "", r.site.join(password)...)
	if err == nil {
		select {
		case err = <-arrived:
		case <-ctx.Done():
			err = context.Cause(ctx)
			// The server may still hold the join back: make sure that we are not let in later.
			_ = r.occupant.Send(context.WithoutCancel(ctx), "presence", self, "unavailable")
		}
	}
	if err != nil {
		r.mu.Lock()
		if rm.phase == entering {
			rm.reset()
		}
		r.mu.Unlock()
	}
	return err
}

// entered takes stock after an entry and returns when to look at the room next.
func (r *Rooms) entered(rm *room) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.metrics.entries.WithLabelValues("ok").Inc()
	rm.wasInside, rm.alone, rm.failures = false, false, 0
	delete(r.problems, "entry")
	delete(r.problems, "control")
	rm.checkAt = time.Now() // checked against the server's lists next
	return 0
}

// reentryRefused finds out what became of a room that usher was in before its
// stream ended and is not let into again.
func (r *Rooms) reentryRefused(ctx context.Context, rm *room, refusal error) time.Duration {
	r.mu.Lock()
	up := r.occupantUp
	r.mu.Unlock()
	if !up {
		return coldInterval
	}
	err := r.grant(ctx, rm.name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if is(err, stanza.ItemNotFound) {
		r.roomGone(rm, time.Now(), r.goneReason(rm))
		return warmInterval
	}
	if err == nil {
		// It exists; enter it like one found for the first time.
		rm.wasInside = false
		err = refusal
	}
	return r.failedLocked(rm, err)
}

// failed takes note of a failed look or entry and returns when to try again.
func (r *Rooms) failed(rm *room, err error) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failedLocked(rm, err)
}

func (r *Rooms) failedLocked(rm *room, err error) time.Duration {
	if r.run == nil || r.run.Err() != nil || !r.occupantUp || !r.controlUp {
		return coldInterval // the streams report their own errors
	}
	r.metrics.entries.WithLabelValues("failed").Inc()
	rm.failures++
	switch rm.failures {
	case 1:
		r.log.Warn("cannot enter a room, trying again", "room", rm.name, "err", err)
	case failuresToReport:
		r.problem("entry", "room "+rm.name+": "+err.Error())
	}
	return retry(rm.failures)
}
