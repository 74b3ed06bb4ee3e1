package muc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
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
		case is(err, stanza.ItemNotFound) && (rm.want == meeting.WantRegain || rm.listed):
			return r.endedUnseen(rm) // even if it was there for a moment when usher tried to come back
		case is(err, stanza.ItemNotFound), err == nil && !ready:
			rm.failures = 0
			r.lobbyOutside(ctx, rm, err == nil)
			return rm.probeInterval()
		case err != nil:
			return r.failed(rm, err)
		}
	}
	err := r.enterPrepared(ctx, rm)
	switch {
	case err == nil:
		r.metrics.entries.WithLabelValues("ok").Inc()
		rm.wasInside, rm.alone, rm.listed, rm.failures = false, false, false, 0
		r.solved(CheckEntry, rm)
		delete(r.problems, CheckControl)
		rm.lobby.unread, rm.lobby.lookAt = true, time.Time{}
		rm.checkAt = time.Now() // compared with the server's lists next
		return 0
	case is(err, stanza.ServiceUnavailable) && r.controlUp:
		return r.readLists(ctx, rm, err)
	case back:
		return r.reentryRefused(ctx, rm, err)
	}
	return r.failed(rm, err)
}

// entryDelay returns how long to wait before the room is looked at.
func (r *Rooms) entryDelay(rm *room) time.Duration {
	if !r.occupantUp || !r.controlUp && !rm.wasInside {
		if rm.listed {
			rm.listed = false
			r.cfg.Observe(rm.name, time.Now(), meeting.SightLost{})
		}
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

// remedies is how many refusals of one entry are answered; each needs one.
const remedies = 3

// enterPrepared enters the room. What a refusal asks for, it brings along the next
// time (XEP-0045 §7.2): another nick, the room's password, membership.
func (r *Rooms) enterPrepared(ctx context.Context, rm *room) error {
	rm.nick = r.cfg.Site.Nick
	password := ""
	for tries := 0; ; tries++ {
		err := r.enter(ctx, rm, password)
		var remedy error
		switch {
		case err == nil || tries == remedies:
			return err
		case is(err, stanza.Conflict):
			rm.nick = fmt.Sprintf("%s_%04x", r.cfg.Site.Nick, rand.N(1<<16))
		case is(err, stanza.NotAuthorized):
			password, remedy = r.password(ctx, rm.name)
		case is(err, stanza.RegistrationRequired), is(err, stanza.Forbidden):
			remedy = r.grant(ctx, rm.name, member)
		default:
			return err
		}
		if remedy != nil {
			return fmt.Errorf("%w, and: %w", err, remedy)
		}
	}
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
	focus, humans := false, 0
	for _, it := range items {
		switch o, _ := r.cfg.Site.occupant(it.Nick, it.presence()); o.Kind {
		case meeting.KindFocus:
			focus = true
		case meeting.KindHuman:
			humans++
		}
	}
	return focus && (!alone || humans > 0 || rm.want == meeting.WantKeep), nil
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
	switch {
	case rm.phase == inside:
		return nil // if need be at the last moment
	case rm.phase != entering:
		return err
	case errors.Is(err, errNoAnswer):
		// The server may still hold the join back: make sure that we are not let in
		// later, and that the answer to this is not taken for one to the next try.
		rm.phase = leaving
		_ = r.awaitSelf(ctx, rm, leaveTimeout, "unavailable")
	case ctx.Err() != nil:
		_ = r.sendPresence(context.WithoutCancel(ctx), rm, "unavailable")
	}
	rm.reset()
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
	if rm.failures == 1 {
		r.note(slog.LevelWarn, "cannot enter a room, trying again", "room", rm.name, "err", err)
	}
	if rm.failures < failuresToReport {
		return retry(rm.failures)
	}
	r.problem(CheckEntry, Problem{rm.name, "usher is not let in: " + err.Error(), "look at what Prosody's log says of " + r.address(rm.name) + "; usher tries again by itself"})
	if errors.As(err, new(stanza.Error)) {
		return refusedInterval
	}
	return retry(rm.failures)
}

// readLists handles a room that is full: its roles are listed on the control stream
// instead, until there is a place. It returns when to go on.
func (r *Rooms) readLists(ctx context.Context, rm *room, refusal error) time.Duration {
	items, err := r.list(ctx, rm.name, allRoles...)
	if err != nil {
		return r.failed(rm, refusal)
	}
	r.metrics.entries.WithLabelValues("failed").Inc()
	_, domain, _ := splitAddress(r.cfg.Site.OccupantJID)
	r.problem(CheckEntry, Problem{rm.name, "it is full, and usher follows it by lists only, some seconds late: " + refusal.Error(),
		fmt.Sprintf("have muc_access_whitelist of %s in Prosody hold %q", r.cfg.Site.MUC, domain)})
	var roster meeting.Roster
	for _, it := range items {
		o, _ := r.cfg.Site.occupant(it.Nick, it.presence())
		roster.Occupants = append(roster.Occupants, o)
		if o.Kind == meeting.KindFocus {
			// Nothing can be concluded about recordings.
			roster.Focus = meeting.FocusSays{Here: true, Status: "not seen"}
		}
	}
	rm.listed, rm.lostAt, rm.wasInside, rm.failures = true, time.Now(), false, 0
	r.cfg.Observe(rm.name, time.Now(), roster)
	return fullInterval
}
