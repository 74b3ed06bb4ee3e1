package muc

import (
	"encoding/xml"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

// Presence handles a presence of the occupant's stream; see component.Handler.
func (r *Rooms) Presence(d *xml.Decoder, start xml.StartElement) {
	at := time.Now()
	var p presence
	err := d.DecodeElement(&p, &start)
	name, domain, nick := splitAddress(p.From)
	drop := func(reason string) { r.metrics.dropped.WithLabelValues(reason).Inc() }
	r.mu.Lock()
	defer r.unlock()
	rm := r.rooms[name]
	switch {
	case err != nil:
		drop("undecodable")
	case domain != r.cfg.Site.MUC:
		drop("foreign")
	case nick == "" && p.Type != "error":
		drop("no_nick")
	case rm == nil || rm.phase == outside:
		drop("not_followed")
	case p.Type == "error":
		if rm.phase == entering {
			rm.signal(fmt.Errorf("muc: entry refused: %w", stanza.Error{Condition: p.condition()}))
		}
	case p.has(statusSelf), bareJID(p.item().JID) == r.cfg.Site.OccupantJID && nick == rm.nick:
		r.selfPresence(rm, at, &p)
	case rm.phase == leaving: // whoever comes now is found when usher probes for the room again
	case !p.identified():
		r.unidentified(rm, at)
	case p.Type != "unavailable":
		r.occupantSeen(rm, at, nick, &p)
	case p.has(statusNick):
		r.renamed(rm, at, nick, p.item().Nick)
	default:
		r.occupantGone(rm, at, p.gone(nick, rm.nick))
	}
}

// report hands over what somebody in the room has done. While usher enters, the
// roster at the end says it all.
func (r *Rooms) report(rm *room, at time.Time, in meeting.Input) {
	if rm.phase != entering {
		r.cfg.Observe(rm.name, at, in)
	}
}

// selfPresence handles what the room says about usher itself.
func (r *Rooms) selfPresence(rm *room, at time.Time, p *presence) {
	if p.Type != "unavailable" {
		rm.role, rm.affil = meeting.Role(p.item().Role), p.item().Affiliation
		rm.selfReported()
		rm.selfSeen = rm.selfSeen || p.has(statusSelf)
		if rm.phase == entering && p.has(statusSelf) {
			// The room sends our own presence after everybody else's (XEP-0045 §7.2.2).
			rm.phase = inside
			r.reportRoster(rm, at)
			r.reportConference(rm, at)
			rm.signal(nil)
		}
		if rm.unaffiliated() {
			r.schedule(rm, 0)
		}
		return
	}
	rm.signal(errOut)
	switch {
	case p.User.Destroy != nil:
		// This one presence ends the room: none comes for the others in it.
		r.roomGone(rm, at, meeting.LeftDestroyed)
	case rm.phase == leaving:
		rm.phase = outside
	default:
		r.note(slog.LevelWarn, "usher was kicked out of a room", "room", rm.name, "reason", p.leftReason())
		if at.Sub(rm.since) > stableAfter {
			rm.evicted = 0
		}
		rm.evicted++
		rm.retryAt = at.Add(retry(rm.evicted))
		r.loseSight(rm)
	}
	r.schedule(rm, retry(rm.failures))
}

// occupantGone handles somebody's leave.
func (r *Rooms) occupantGone(rm *room, at time.Time, gone meeting.Gone) {
	rm.unlist(gone.Nick)
	was := rm.view[gone.Nick].kind // empty for somebody unknown
	delete(rm.view, gone.Nick)
	if was == meeting.KindFocus || was == meeting.KindHuman {
		r.scheduleLeave(rm, at)
	}
	if was == meeting.KindFocus {
		r.focusReported(rm, at, meeting.FocusSays{})
		r.visitorsReported(rm, at, 0)
		r.bridgesReported(rm, at, 0)
	} else {
		r.report(rm, at, gone)
	}
}

// unidentified handles a presence that does not say whose it is, or who they are from
// now on: who is in can then only be guessed until the room has been asked.
func (r *Rooms) unidentified(rm *room, at time.Time) {
	r.metrics.untrusted.WithLabelValues("address").Inc()
	if !rm.blind {
		rm.blind = true
		r.report(rm, at, meeting.SightLost{})
		r.schedule(rm, 0)
	}
}

// occupantSeen handles somebody's arrival or change.
func (r *Rooms) occupantSeen(rm *room, at time.Time, nick string, p *presence) {
	o, doubts := r.cfg.Site.occupant(nick, p)
	for _, doubt := range doubts {
		r.metrics.untrusted.WithLabelValues(doubt).Inc()
	}
	was, known := rm.view[nick]
	if _, host, _ := splitAddress(bareJID(o.JID)); !known && slices.Contains(doubts, doubtFeature) {
		r.note(slog.LevelWarn, "somebody is not believed to be a phone, recorder or transcriber: if the site's own log in at this host, "+
			"it belongs into USHER_TRUSTED_DOMAIN, or into USHER_DIAL_IN_DOMAIN where people do too", "room", rm.name, "host", host)
	}
	if now := newSeen(o); !known || was != now {
		rm.view[nick] = now
		if o.Kind == meeting.KindHuman {
			r.humanSeen(rm, at, known)
		}
	}
	if rm.roster != nil {
		rm.unlist(nick)
		rm.roster = append(rm.roster, o)
	}
	r.report(rm, at, meeting.Seen{Occupant: o})
	if o.Kind == meeting.KindFocus {
		r.focusReported(rm, at, p.focusReport())
		r.visitorsReported(rm, at, p.visitors())
		r.bridgesReported(rm, at, p.bridges())
	}
}

// focusReported passes on what the focus reports about recording, when it is new.
func (r *Rooms) focusReported(rm *room, at time.Time, report meeting.FocusSays) {
	if rm.focus == report {
		return
	}
	rm.focus = report
	r.report(rm, at, meeting.FocusSaid{Focus: report})
}

// renamed handles a change of nick. Of somebody unknown there is nothing to
// rename: the presence under the new nick follows (XEP-0045 §7.6).
func (r *Rooms) renamed(rm *room, at time.Time, from, to string) {
	if was, known := rm.view[from]; known {
		rm.view[to] = was
		delete(rm.view, from)
	}
	for i := range rm.roster {
		if rm.roster[i].Nick == from {
			rm.roster[i].Nick = to
		}
	}
	r.report(rm, at, meeting.NickChanged{From: from, To: to})
}

// reportRoster reports everybody whose presence came since the entry or resync
// began, in the order in which they came.
func (r *Rooms) reportRoster(rm *room, at time.Time) {
	occupants := rm.roster
	rm.roster = nil
	if rm.blind {
		r.cfg.Observe(rm.name, at, meeting.SightLost{})
		return
	}
	rm.rosterDue, rm.confirmedAt = false, at
	r.cfg.Observe(rm.name, at, meeting.Roster{Occupants: occupants, Focus: rm.focus, Visitors: rm.visitors, Breakouts: rm.breakouts})
}

// loseSight takes note that usher cannot see the room although it may go on.
func (r *Rooms) loseSight(rm *room) {
	rm.reset()
	rm.wasInside, rm.lostAt = true, time.Now()
	r.cfg.Observe(rm.name, time.Now(), meeting.SightLost{})
}

// roomGone takes note that the room does not exist any more.
func (r *Rooms) roomGone(rm *room, at time.Time, reason meeting.LeftReason) {
	rm.reset()
	rm.wasInside, rm.listed, rm.lobby = false, false, lobby{}
	r.solved(CheckEntry, rm)
	rm.warmUntil = at.Add(warmFor)
	r.cfg.Observe(rm.name, at, meeting.RoomGone{Reason: reason})
}
