package sim

import (
	"context"
	"errors"
	"slices"

	"mellium.im/xmpp/stanza"
)

// Invitation is one offer of media that the focus sent to a member.
type Invitation struct {
	Nick      string
	JID       string // real full JID
	Outcome   Outcome
	Condition string // of a refusal (RFC 6120 §8.3.3)
}

// Outcome is what became of an [Invitation].
type Outcome string

// Outcomes of an invitation.
const (
	OutcomePending  Outcome = "pending"  // no answer yet
	OutcomeAccepted Outcome = "accepted" //
	OutcomeRefused  Outcome = "refused"  // answered with an error
	OutcomeSilent   Outcome = "silent"   // not answered in time; Jicofo takes it for a yes
)

// onJoined is JitsiMeetConferenceImpl.onMemberJoined: ask what the newcomer
// can do, then invite it, or everybody when nobody has been yet. Whoever is a
// member counts, services, visitors and bots included. Call it without the
// lock; it blocks for the answer.
func (c *conference) onJoined(m *member) {
	c.discover(m)
	c.focus.mu.Lock()
	defer c.focus.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	switch {
	case !slices.Contains(c.members, m) || c.ctx.Err() != nil:
	case m.role == visitor || len(c.members) < minParticipants:
	case len(c.invited) == 0:
		for _, one := range c.members {
			c.invite(one)
		}
	default:
		c.invite(m)
	}
}

// discover asks for features, once for each caps hash (XEP-0115); whoever
// says none is asked every time, and holds up its own invitation.
func (c *conference) discover(m *member) {
	f := c.focus
	f.mu.Lock()
	caps := m.caps
	known := f.knownCaps[caps]
	f.mu.Unlock()
	if known {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, f.cfg.ReplyTimeout)
	defer cancel()
	if err := f.rooms.As("").IQ(ctx, c.room+"/"+m.nick, "get", discoInfo{}, nil); err != nil {
		f.cfg.Site.log().Info("no features, taking the usual ones", "room", c.room, "nick", m.nick, "err", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.knownCaps[caps] = caps != ""
}

// invite sends the offer. An error ends the member's session: it is asked
// again only when the conference starts anew. Silence is taken for a yes.
func (c *conference) invite(m *member) {
	if c.invited[m] {
		return
	}
	c.invited[m] = true
	c.setProperty(propertyBridges, "1") // the bridge gives it a place first
	f := c.focus
	record := &Invitation{Nick: m.nick, JID: m.jid, Outcome: OutcomePending}
	f.invitations[c.room] = append(f.invitations[c.room], record)
	f.effects.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, f.cfg.ReplyTimeout)
		defer cancel()
		to, sid := c.room+"/"+m.nick, "sim-"+m.nick
		offer := jingle{Action: "session-initiate", SID: sid, Content: &jingleContent{"initiator", "audio"}}
		err := f.rooms.As("").IQ(ctx, to, "set", offer, nil)
		refused, isRefused := errors.AsType[stanza.Error](err)
		f.mu.Lock()
		switch {
		case err == nil:
			record.Outcome = OutcomeAccepted
		case isRefused:
			record.Outcome, record.Condition = OutcomeRefused, string(refused.Condition)
			delete(c.invited, m)
		default:
			record.Outcome = OutcomeSilent
		}
		f.changed.ring()
		f.mu.Unlock()
		if isRefused {
			// Whatever the answer to this is, the session is over.
			_ = f.rooms.As("").IQ(ctx, to, "set", jingle{Action: "session-terminate", SID: sid}, nil)
		}
	})
}
