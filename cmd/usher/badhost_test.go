package main

import (
	"strings"
	"testing"

	"usher/component"
	"usher/internal/sim"
	"usher/internal/stack"
	"usher/meeting"
)

// badHost is a host who acts against usher as an owner of the room may.
type badHost struct {
	*component.Sender
	scene *scene
	room  string
}

// badHost has Mallory elected to be the host, with Bob in the room.
func (s *scene) badHost() (*badHost, *sim.Person) {
	s.t.Helper()
	ada, bob := s.person("Ada", "u-ada"), s.person("Bob", "u-bob")
	s.enter(ada)
	h := &badHost{s.login(stack.GuestDomain), s, s.room + "@" + stack.MUCDomain}
	must(s.t, h.Send(within(s.t), "presence", h.room+"/mallory", "", element("http://jabber.org/protocol/muc", "x", ""),
		element("http://jabber.org/protocol/nick", "nick", "Mallory")))
	s.counts(2)
	s.enter(bob)
	must(s.t, ada.Leave(within(s.t)))
	s.until("Mallory is the host", func() bool { return bob.Occupants()["mallory"].Affiliation == "owner" })
	s.counts(2)
	return h, bob
}

// item changes a role or an affiliation (XEP-0045 §8, §9).
func (h *badHost) item(attributes string) {
	h.scene.t.Helper()
	must(h.scene.t, h.IQ(within(h.scene.t), h.room, "set", element("http://jabber.org/protocol/muc#admin", "query", "<item "+attributes+"/>"), nil))
}

// owner sends what only owners may (XEP-0045 §10).
func (h *badHost) owner(inside string) {
	h.scene.t.Helper()
	must(h.scene.t, h.IQ(within(h.scene.t), h.room, "set", element("http://jabber.org/protocol/muc#owner", "query", inside), nil))
}

// configure changes the room by its form: "whois=moderators".
func (h *badHost) configure(settings ...string) {
	h.scene.t.Helper()
	form := "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>"
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		form += "<field var='muc#roomconfig_" + name + "'><value>" + value + "</value></field>"
	}
	h.owner(form + "</x>")
}

// TestHostUsesEveryRightAgainstUsher proves that nobody is reported as left, and what
// people do is still seen, whatever a host does to usher: it comes back in, has the
// room show addresses again, and does not stay what the host made it.
func TestHostUsesEveryRightAgainstUsher(t *testing.T) {
	s := newScene(t)
	mallory, bob := s.badHost()
	usher := "jid='" + stack.Usher.JID() + "'"
	hidden := func() {
		seen := s.metric(`usher_untrusted_presence_total{kind="address"}`)
		must(t, bob.RaiseHand(within(t)))
		s.until("a presence came without an address", func() bool { return s.metric(`usher_untrusted_presence_total{kind="address"}`) > seen })
		must(t, bob.LowerHand(within(t)))
	}
	mallory.item("affiliation='member' jid='" + bareOf(bob.JID()) + "'")
	for _, right := range []struct {
		name string
		use  func()
	}{
		{"hides addresses from what is no moderator", func() {
			for range 2 { // the second time after sightInterval
				mallory.configure("whois=moderators")
				mallory.item("affiliation='none' " + usher)
				mallory.item("role='visitor' nick='usher'")
				hidden()
				s.counts(2)
			}
		}},
		{"kicks it", func() { mallory.item("role='none' nick='usher'") }},
		{"bans it", func() { mallory.item("affiliation='outcast' " + usher) }},
		{"lets in only members who know a password", func() {
			mallory.configure("membersonly=1", "roomsecret=hush")
			mallory.item("affiliation='none' " + usher)
		}},
		{"takes its voice away", func() {
			mallory.configure("moderatedroom=1")
			mallory.item("role='visitor' nick='usher'")
		}},
		{"makes it an owner", func() { mallory.item("affiliation='owner' " + usher) }},
	} {
		right.use()
		s.counts(2)
		must(t, bob.RaiseHand(within(t)))
		s.until("Bob's hand is seen although the host "+right.name, func() bool { return s.handUp("Bob") })
		must(t, bob.LowerHand(within(t)))
		s.until("usher is a member although the host "+right.name, func() bool { return bob.Occupants()["usher"].Affiliation == "member" })
	}
	s.tells("session.started", "joined Ada", "joined Mallory", "joined Bob", "left Ada left")

	mallory.owner("<destroy><reason>over</reason></destroy>")
	s.tellsThen([]string{"session.started", "joined Ada", "joined Mallory", "joined Bob", "left Ada left"}, "left Bob destroyed", "left Mallory destroyed")
	s.counts(0)
	must(t, bob.Join(within(t)))
	s.counts(1)
	s.oneSession()
}

func (s *scene) handUp(name string) bool {
	for _, p := range s.people() {
		if p.Name == name && p.HandSince != (meeting.Time{}) {
			return true
		}
	}
	return false
}

func bareOf(jid string) string {
	bare, _, _ := strings.Cut(jid, "/")
	return bare
}
