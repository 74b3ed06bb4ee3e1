package muc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

// errOut ends the wait for our own presence when usher is out of the room.
var errOut = errors.New("muc: put out of the room or disconnected")

// tryToEnter looks whether the room exists and enters it. It returns when to look
// again.
func (r *Rooms) tryToEnter(ctx context.Context, rm *room) time.Duration {
	if wait := r.entryDelay(rm); wait > 0 {
		return wait
	}
	back := rm.wasInside
	if !back {
		ready, err := r.ready(ctx, rm)
		switch {
		case is(err, stanza.ItemNotFound) && rm.want == meeting.WantRegain:
			return r.endedUnseen(rm) // even if it was there for a moment when usher tried to come back
		case is(err, stanza.ItemNotFound), err == nil && !ready:
			return rm.probeInterval()
		case err != nil:
			return r.failed(rm, err)
		}
	}
	err := r.enterWithPassword(ctx, rm)
	switch {
	case err == nil:
		r.metrics.entries.WithLabelValues("ok").Inc()
		rm.wasInside, rm.alone, rm.failures = false, false, 0
		delete(r.problems, "entry")
		delete(r.problems, "control")
		rm.checkAt = time.Now() // compared with the server's lists next
		return 0
	case back:
		return r.reentryRefused(ctx, rm, err)
	}
	return r.failed(rm, err)
}

// entryDelay returns how long to wait before the room is looked at.
func (r *Rooms) entryDelay(rm *room) time.Duration {
	if !r.occupantUp || !r.controlUp && !rm.wasInside {
		return notByTime // every room is looked at when a stream comes up
	}
	if wait := time.Until(rm.retryAt); wait > 0 {
		return wait
	}
	if !rm.mayProbe && !rm.wasInside && time.Since(rm.expected) > expectFor {
		r.probes.add(rm, time.Now())
		return notByTime
	}
	rm.mayProbe = false
	return 0
}

// enterWithPassword enters the room, with its password if it has one.
func (r *Rooms) enterWithPassword(ctx context.Context, rm *room) error {
	err := r.enter(ctx, rm, "")
	if !is(err, stanza.NotAuthorized) {
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
	case time.Now().Before(rm.warmUntil):
		return warmInterval
	}
	return coldInterval
}

// endedUnseen takes note that a room has ended while usher could not see it, and
// returns when to look again. The server keeps rooms in memory: if it dropped
// both streams at once it has restarted; if only ours was lost, the room ended
// meanwhile.
func (r *Rooms) endedUnseen(rm *room) time.Duration {
	reason := meeting.LeftDisconnected
	if r.controlEnded.After(rm.lostAt.Add(-restartWithin)) {
		reason = meeting.LeftServerShutdown
	}
	r.roomGone(rm, time.Now(), reason)
	return warmInterval
}

// ready reports whether the room may be entered: as a member, for that gets usher
// into a members-only room and past a lobby, and not before the focus, whose arrival is what sets a Jitsi room up. A room that does not
// exist is the server's item-not-found.
func (r *Rooms) ready(ctx context.Context, rm *room) (bool, error) {
	roles, alone := []string{"moderator"}, rm.alone
	if alone {
		roles = allRoles
	}
	r.metrics.probes.Inc()
	if err := r.grant(ctx, rm.name, member); err != nil {
		r.noAdministrator(err)
		return false, fmt.Errorf("grant membership: %w", err)
	}
	items, err := r.list(ctx, rm.name, roles...)
	if err != nil {
		return false, fmt.Errorf("list occupants: %w", err)
	}
	focus, others := false, 0
	for _, it := range items {
		if bare := bareJID(it.JID); bare == r.cfg.Site.FocusJID {
			focus = true
		} else if bare != r.cfg.Site.OccupantJID {
			others++
		}
	}
	return focus && (!alone || others > 0), nil
}

var allRoles = []string{"moderator", "participant", "visitor"}

// enter joins the room and blocks until we are in, were refused, or the
// joinTimeout is over.
func (r *Rooms) enter(ctx context.Context, rm *room, password string) error {
	err := r.unlocked(func() error {
		select {
		case r.slots <- struct{}{}:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	if err != nil {
		return err
	}
	defer func() { <-r.slots }()
	rm.phase, rm.view, rm.roster, rm.focus = entering, map[string]seen{}, []meeting.Occupant{}, meeting.FocusSays{}
	rm.since, rm.visited, rm.emptySince, rm.unmoderated = time.Now(), false, time.Time{}, time.Time{}

	err = r.awaitSelf(ctx, rm, joinTimeout, "", r.cfg.Site.join(password)...)
	if errors.Is(err, errNoAnswer) || ctx.Err() != nil {
		// The server may still hold the join back: make sure that we are not let in later.
		_ = r.sendPresence(context.WithoutCancel(ctx), rm, "unavailable")
	}
	if err != nil && rm.phase == entering {
		rm.reset()
	}
	return err
}

// reentryRefused finds out what became of a room that usher was in before its
// stream ended and is not let into again.
func (r *Rooms) reentryRefused(ctx context.Context, rm *room, refusal error) time.Duration {
	if !r.occupantUp {
		return notByTime
	}
	err := r.grant(ctx, rm.name, member)
	if is(err, stanza.ItemNotFound) {
		return r.endedUnseen(rm)
	}
	if err == nil {
		// It exists; enter it like one found for the first time.
		rm.wasInside = false
		err = refusal
	}
	return r.failed(rm, err)
}

// failed takes note of a failed look or entry and returns when to try again.
func (r *Rooms) failed(rm *room, err error) time.Duration {
	if r.run == nil || r.run.Err() != nil || !r.occupantUp || !r.controlUp {
		return notByTime // every room is looked at when a stream comes up; the streams report their own errors
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
