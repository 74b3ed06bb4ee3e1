package main

import (
	"strings"
	"testing"
	"time"

	"usher/internal/sim"
	"usher/internal/stack"
	"usher/meeting"
	"usher/token"
)

// dialIn is what a Jigasi says of itself as it enters a room (its JvbConference).
var dialIn = []any{
	element("http://jabber.org/protocol/muc", "x", ""),
	element("http://jabber.org/protocol/nick", "nick", "+49 30 0000000"),
	element("", "features", "<feature var='http://jitsi.org/protocol/jigasi'/><feature var='urn:xmpp:jingle:dtmf:0'/>"),
	element("http://jitsi.org/protocol/jigasi", "initiator", ""),
}

// TestDialInByDomain holds that a phone is one by the host that it comes from: the
// services' own account is believed, and guests, who say the same, only where the
// site's Jigasi logs in as one of them and the settings say so.
func TestDialInByDomain(t *testing.T) {
	for name, tt := range map[string]struct {
		args           []string
		humans, others int
	}{
		"as it comes":             {humans: 2, others: 1},
		"Jigasi comes as a guest": {args: []string{"--dial-in-domain=" + stack.GuestDomain}, humans: 1, others: 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, tt.args...)
			must(t, s.startUsher(t.Context(), newLog(s.log, 0)))
			s.waitReady("")
			var m meeting.MeetingInfo
			must(t, s.call(t.Context(), "POST", "/v1/meetings", map[string]any{"room": "standup", "departure_timeout_s": 1}, &m))
			s.id, s.room = m.ID, m.Room
			ada := s.person("Ada", "u-ada")
			s.enter(ada)
			room := s.room + "@" + stack.MUCDomain
			phone := sim.NewPhone(s.sim, s.room, "+49 30 0000001", stack.Jigasi.JID(), stack.Jigasi.Password)
			t.Cleanup(phone.Drop)
			must(t, phone.Join(within(t)))
			must(t, s.login(stack.GuestDomain).Send(within(t), "presence", room+"/1a2b3c4d", "", dialIn...))
			// Nobody is one by nick alone.
			must(t, s.login(stack.Domain).Send(within(t), "presence", room+"/jigasi", "", dialIn[:2]...))
			s.until("all are counted", func() bool {
				o := s.meeting().Occupancy
				return o.Humans == tt.humans+1 && o.Others == tt.others
			})
			doubts := 2 - tt.others
			if n := s.metric(`usher_untrusted_presence_total{kind="feature"}`); (n > 0) != (doubts > 0) {
				t.Errorf("%v claims counted, want %d or more", n, doubts)
			}
			if told := strings.Contains(s.log.String(), "USHER_DIAL_IN_DOMAIN"); told != (doubts > 0) {
				t.Errorf("the log names the setting: %v, want %v", told, doubts > 0)
			}
		})
	}
}

// TestPhoneKeepsNoSessionOpen has a phone stay that came as a guest, where the
// settings say that phones do: the session ends, and the phone's part in it before.
func TestPhoneKeepsNoSessionOpen(t *testing.T) {
	s := newSite(t, "--dial-in-domain="+stack.GuestDomain)
	must(t, s.startUsher(t.Context(), newLog(s.log, 0)))
	s.waitReady("")
	var m meeting.MeetingInfo
	must(t, s.call(t.Context(), "POST", "/v1/meetings", map[string]any{"room": "standup", "departure_timeout_s": 1}, &m))
	s.id, s.room = m.ID, m.Room
	ada := s.person("Ada", "u-ada")
	s.enter(ada)
	must(t, s.login(stack.GuestDomain).Send(within(t), "presence", s.room+"@"+stack.MUCDomain+"/1a2b3c4d", "", dialIn...))
	s.until("the phone is counted", func() bool { o := s.meeting().Occupancy; return o.Humans == 1 && o.Others == 1 })
	must(t, ada.Leave(within(t)))
	s.tells("session.started", "joined Ada", "joined +49 30 0000000", "left Ada left", "left +49 30 0000000 left", "session.ended")
}

// TestHostIsKnownFromTheFirstPresence has a host by token enter, whom the focus
// makes a moderator a moment later, and a guest.
func TestHostIsKnownFromTheFirstPresence(t *testing.T) {
	s := newScene(t)
	ticket, _, err := s.tokens.Issue(time.Now(), token.Claims{Room: s.room, User: token.User{ID: "u-ada", Name: "Ada"}, Host: true})
	must(t, err)
	ada := sim.NewPerson(s.sim, s.room, "Ada", ticket)
	t.Cleanup(ada.Drop)
	s.enter(ada, s.person("Bob", "u-bob"))
	hosts := map[string]bool{}
	for _, n := range s.events() {
		if n.Type == meeting.ParticipantJoined {
			hosts[n.Data.Participant.Name] = n.Data.Participant.Host
		}
	}
	if !hosts["Ada"] || hosts["Bob"] || len(hosts) != 2 {
		t.Errorf("hosts as they joined: %v, want Ada alone of two", hosts)
	}
	if o := s.meeting().Occupancy; o.Hosts != 1 {
		t.Errorf("occupancy %+v, want one host", o)
	}
}
