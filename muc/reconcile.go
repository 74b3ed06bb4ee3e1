package muc

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

// compare holds who usher believes to be in the room against the server's own
// lists, and asks for the roster again when they differ.
//
// The lists come on one stream and presences on the other, so a list may be
// ahead of presences that say the same: the self-ping after it waits for those.
func (r *Rooms) compare(ctx context.Context, rm *room) {
	items, err := r.list(ctx, rm.name, allRoles...)
	rm.checkAt = time.Now().Add(retryMax) // should something go wrong
	if err != nil && !is(err, stanza.ItemNotFound) {
		return // the control stream has trouble of its own
	}
	if err := r.selfPing(ctx, rm); err != nil {
		r.notIn(rm, err)
		return
	}
	now := time.Now()
	rm.checkAt = now.Add(checkInterval)
	if rm.phase != inside || !rm.differs(items, r.cfg.Site.OccupantJID) {
		rm.confirmedAt = now
		return
	}
	// The changes that the roster brings happened since the last confirmation.
	r.cfg.Observe(rm.name, rm.confirmedAt, meeting.SightLost{})
	r.metrics.resyncs.WithLabelValues("differs").Inc()
	r.resync(ctx, rm)
}

// resync joins again while inside, which makes the room (Prosody's) send all
// presences to usher again and none to anybody else, and blocks until they have
// come. It reports whether the meeting has the roster.
func (r *Rooms) resync(ctx context.Context, rm *room) bool {
	if rm.phase != inside {
		return false
	}
	rm.roster, rm.selfSeen, rm.blind = []meeting.Occupant{}, false, false
	err := r.sendPresence(ctx, rm, "", r.cfg.Site.join("")...)
	if err == nil {
		// Our own presence may come for other reasons too, so the answer to a
		// question asked after the join marks the end.
		err = r.selfPing(ctx, rm)
	}
	if err != nil {
		r.notIn(rm, err)
		return false
	}
	if rm.phase != inside || rm.roster == nil {
		return false // kicked out meanwhile
	}
	if !rm.selfSeen {
		// Our own presence comes last (XEP-0045 §7.2.2). Without it no presence was
		// sent, which does not mean that nobody is in.
		r.note(slog.LevelWarn, "a room does not say who is in it", "room", rm.name)
		rm.roster = nil
		return false
	}
	if rm.blind {
		rm.roster = nil
		return false
	}
	rm.view = map[string]seen{}
	for _, o := range rm.roster {
		rm.view[o.Nick] = newSeen(o)
	}
	if _, _, focus := rm.humans(); !focus {
		rm.focus, rm.visitors = meeting.FocusSays{}, 0
	}
	r.reportRoster(rm, time.Now())
	r.scheduleLeave(rm, time.Now())
	return true
}

// regainSight has a room that hides addresses show them again: its form says that
// only moderators see them, and usher is none. Where the form cannot be
// changed, usher looks as an owner.
func (r *Rooms) regainSight(ctx context.Context, rm *room) {
	rm.sightAt = time.Now().Add(sightInterval)
	err := r.showAddresses(ctx, rm.name)
	if r.resync(ctx, rm) || rm.phase != inside {
		return
	}
	r.note(slog.LevelWarn, "a room hides who is in it, looking as its owner", "room", rm.name, "err", err)
	rm.blind = true
	_ = r.own(ctx, rm.name, func() error { r.resync(ctx, rm); return nil })
}

// notIn handles a failed self-ping: the room says that usher is not in it
// (XEP-0410 §3), or the stream has ended, which is handled elsewhere.
// Item-not-found may also mean a change of usher's own nick under way (§3.1),
// but usher never changes its nick inside a room.
func (r *Rooms) notIn(rm *room, err error) {
	if rm.phase == inside && (is(err, stanza.NotAcceptable) || is(err, stanza.ItemNotFound)) {
		r.note(slog.LevelWarn, "usher is not in a room that it believed to be in", "room", rm.name)
		r.metrics.resyncs.WithLabelValues("not_in").Inc()
		r.loseSight(rm)
	}
}

// differs reports whether the server's lists and our view disagree.
func (rm *room) differs(items []item, ourselves string) bool {
	listed := 0
	for _, it := range items {
		if bareJID(it.JID) == ourselves {
			continue
		}
		s, known := rm.view[it.Nick]
		if !known || s.jid != it.JID {
			return true
		}
		listed++
	}
	return listed != len(rm.view)
}

// noModerator reports humans without a moderator on a site that elects one:
// Jicofo takes usher for the room's owner, which happens when its trusted
// domains lack usher's.
func (r *Rooms) noModerator(rm *room) {
	if humans, moderators, _ := rm.humans(); r.cfg.Site.ElectsModerator && humans > 0 && moderators == 0 {
		_, domain, _ := splitAddress(r.cfg.Site.OccupantJID)
		r.problem(CheckModerator, Problem{rm.name, fmt.Sprintf("no human became moderator within %v", moderatorWithin),
			fmt.Sprintf("have Jicofo's jicofo.xmpp.trusted-domains hold %q (JICOFO_TRUSTED_DOMAINS), and restart Jicofo; "+
				"where the site elects nobody, USHER_ELECTS_MODERATOR=false", domain)})
	}
}

// noAdministrator reports that the MUC refuses the control stream's verbs.
func (r *Rooms) noAdministrator(err error) {
	if is(err, stanza.Forbidden) || is(err, stanza.NotAllowed) || is(err, stanza.NotAuthorized) {
		r.problem(CheckControl, Problem{"", "usher is no administrator of " + r.cfg.Site.MUC + ": " + err.Error(), r.cfg.Site.AdminLine()})
	}
}

// solved takes back what a self-check found about the room.
func (r *Rooms) solved(check string, rm *room) {
	if r.problems[check].Room == rm.name {
		delete(r.problems, check)
	}
}

// problem notes what a self-check found. Whoever looks at the problems logs them.
func (r *Rooms) problem(check string, p Problem) {
	r.metrics.problems.WithLabelValues(check).Inc()
	r.problems[check] = p
}
