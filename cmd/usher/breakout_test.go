package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/internal/sim"
	"usher/internal/stack"
	"usher/meeting"
)

// impatient is a meeting that ends soon after everybody has left.
func (s *scene) impatient(room, trigger string) {
	s.t.Helper()
	var m meeting.MeetingInfo
	must(s.t, s.call(s.t.Context(), "POST", "/v1/meetings", map[string]any{
		"room": room, "empty_timeout_s": 3, "departure_timeout_s": 2, "recording": map[string]any{"trigger": trigger},
	}, &m))
	s.id, s.room = m.ID, m.Room
}

// people returns those of the open session who are in, as the API has them.
func (s *scene) people() []meeting.ParticipantInfo {
	var list struct{ Data []meeting.ParticipantInfo }
	if s.call(s.t.Context(), "GET", "/v1/meetings/"+s.id+"/participants?active=true", nil, &list) != nil {
		return nil
	}
	return list.Data
}

// areIn waits until the humans are in these rooms: "Ada main", "Bob one".
func (s *scene) areIn(want ...string) {
	s.t.Helper()
	slices.Sort(want)
	var got []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		got = nil
		for _, p := range s.people() {
			if p.Kind == meeting.KindHuman {
				room := p.Room.Name
				if p.Room.ID == meeting.MainRoom {
					room = "main"
				}
				got = append(got, p.Name+" "+room)
			}
		}
		if slices.Sort(got); slices.Equal(got, want) {
			return
		}
	}
	s.t.Fatalf("the humans are %q, want %q; recorded %q", got, want, s.story())
}

// moves lets somebody go to a room of the meeting.
func (s *scene) moves(p *sim.Person, address string) {
	s.t.Helper()
	must(s.t, p.MoveTo(within(s.t), address))
}

func (s *scene) mainRoom() string { return s.sim.Room(s.room) }

// host returns somebody in the meeting who is its first moderator.
func (s *scene) host(name, user string) *sim.Person {
	s.t.Helper()
	p := s.person(name, user)
	s.enter(p)
	must(s.t, p.WaitFor(within(s.t), func(o sim.Occupants) bool { return o[p.Nick()].Role == "moderator" }))
	return p
}

// TestEverybodyInBreakoutRooms is a meeting whose people are all in breakout rooms
// for longer than it stays open with nobody in it: they are present all the time,
// whatever room they are in, and it goes on until they leave. Its recorder leaves the
// empty main room by itself, and comes back with the first human.
func TestEverybodyInBreakoutRooms(t *testing.T) {
	s := newStudio(t)
	s.jibri("jibri-1", func(c *sim.JibriConfig) { c.EmptyPatience = 5 * time.Second })
	s.impatient("standup", "automatic")
	ada := s.host("Ada", "")
	bob := s.person("Bob", "")
	s.enter(bob)
	s.areIn("Ada main", "Bob main")
	s.newest(meeting.RecordingOn)

	one, err := ada.MakeBreakout(within(t), "one")
	must(t, err)
	two, err := ada.MakeBreakout(within(t), "two")
	must(t, err)
	told := s.story()
	s.moves(ada, one)
	s.moves(bob, two)
	s.areIn("Ada one", "Bob two")
	r := s.newest(meeting.RecordingAvailable)
	if r.StopReason != meeting.StopRecorder || r.Failure != "" {
		t.Errorf("the recording of the empty main room ended for %q with the failure %q, want recorder and none", r.StopReason, r.Failure)
	}
	time.Sleep(6 * time.Second) // longer than the meeting stays open empty
	s.counts(2)
	if m := s.meeting(); m.State != meeting.StateLive || len(s.list()) != 1 {
		t.Fatalf("the meeting is %s with %d recordings, want it live with one", m.State, len(s.list()))
	}

	must(t, ada.RenameBreakout(within(t), two, "three"))
	s.areIn("Ada one", "Bob three")
	s.moves(bob, one)
	s.areIn("Ada one", "Bob one")
	s.moves(bob, s.mainRoom())
	s.areIn("Ada one", "Bob main")
	r = s.newest(meeting.RecordingOn) // the second one
	if r.RequestedBy.Type != meeting.ByTrigger {
		t.Errorf("with a human back in the main room, the recording is by %v, want the trigger", r.RequestedBy)
	}
	// Who is in a room that is removed is put out of it, and goes back.
	must(t, ada.RemoveBreakout(within(t), one))
	_, err = ada.WaitOut(within(t))
	must(t, err)
	s.moves(ada, s.mainRoom())
	s.areIn("Ada main", "Bob main")
	for _, line := range s.story()[len(told):] {
		if strings.HasPrefix(line, "left Ada") || strings.HasPrefix(line, "left Bob") || strings.HasPrefix(line, "joined Ada") || strings.HasPrefix(line, "joined Bob") || strings.HasPrefix(line, "session.") {
			t.Errorf("%q although nobody left or came", line)
		}
	}
	must(t, ada.Leave(within(t)))
	must(t, bob.Leave(within(t)))
	s.until("the meeting has ended by itself", func() bool { m := s.meeting(); return m != nil && m.EndReason == meeting.EndEmpty })
	must(t, s.focus.WaitLeft(within(t), s.room))
	s.oneSession()
}

// TestBreakoutRoomsAcrossARestart kills usher while everybody is in breakout rooms
// and people move: when it is back they are the same people, in the right rooms.
func TestBreakoutRoomsAcrossARestart(t *testing.T) {
	s := newSite(t)
	usher := s.runUsher()
	s.waitReady("")
	s.impatient("standup", "none")
	ada := s.host("Ada", "")
	bob, eve := s.person("Bob", "u-bob"), s.person("Eve", "")
	s.enter(bob, eve)
	one, err := ada.MakeBreakout(within(t), "one")
	must(t, err)
	two, err := ada.MakeBreakout(within(t), "two")
	must(t, err)
	s.moves(ada, one)
	s.moves(bob, two) // both rooms are made now; while usher is away, none is
	s.areIn("Ada one", "Bob two", "Eve main")
	ids := s.ids()
	told := s.story()
	usher.kill()
	s.moves(eve, two) // the last one in the main room, unseen
	s.moves(bob, one)
	time.Sleep(5 * time.Second)
	s.runUsher()
	s.waitReady("")
	s.areIn("Ada one", "Bob one", "Eve two")
	s.counts(3)
	if got := s.story(); !slices.Equal(got, told) || s.ids() != ids {
		t.Errorf("recorded %q with the people %s, want nothing new and %s", got[len(told):], s.ids(), ids)
	}
	s.moves(ada, s.mainRoom())
	s.areIn("Ada main", "Bob one", "Eve two")
	s.oneSession()
}

// ids returns the people's ids, by name.
func (s *scene) ids() string {
	var list []string
	for _, p := range s.people() {
		list = append(list, p.Name+"="+p.ID)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestClosedInABreakoutRoom closes and reloads pages in a breakout room, where usher
// cannot see it.
func TestClosedInABreakoutRoom(t *testing.T) {
	s := newScene(t)
	ada := s.host("Ada", "")
	bob, eve := s.person("Bob", "u-bob"), s.person("Eve", "")
	s.enter(bob, eve)
	one, err := ada.MakeBreakout(within(t), "one")
	must(t, err)
	s.moves(bob, one)
	s.moves(eve, one)
	s.areIn("Ada main", "Bob one", "Eve one")
	ids := s.ids()
	// A user of a token is the same person on the new connection.
	bob.Drop()
	back := s.person("Bob", "u-bob")
	must(t, back.Join(within(t)))
	s.areIn("Ada main", "Bob main", "Eve one")
	if got := s.ids(); got != ids {
		t.Errorf("the people are %s, want %s", got, ids)
	}
	eve.Drop()
	began := time.Now()
	time.Sleep(meeting.SwitchTimeout / 2) // areIn waits for a minute, which is not enough
	s.areIn("Ada main", "Bob main")
	if took := time.Since(began); took < 50*time.Second || took > 80*time.Second {
		t.Errorf("she counted for %v more, want about a minute", took)
	}
	if story := s.story(); story[len(story)-1] != "left Eve switched_room" {
		t.Errorf("recorded %q, want her leave for another room last", story)
	}
}

// TestForgedBreakoutMessages has a person outside the rooms, a guest in one and a user
// of a component send what only the breakout component may say: to usher itself, in
// the rooms, and to the component.
func TestForgedBreakoutMessages(t *testing.T) {
	s := newScene(t)
	ada := s.host("Ada", "")
	one, err := ada.MakeBreakout(within(t), "one")
	must(t, err)
	bob := s.person("Bob", "")
	s.enter(bob)
	s.moves(bob, one)
	s.areIn("Ada main", "Bob one")
	mallory, guest, c := s.login(stack.Domain), s.login(stack.GuestDomain), s.dialRaw()
	must(t, guest.Send(within(t), "presence", s.mainRoom()+"/guest", "", element("http://jabber.org/protocol/muc", "x", ""),
		element("http://jabber.org/protocol/nick", "nick", "Gus")))
	c.send("<presence from='u1@%s/web' to='%s/u1'><x xmlns='http://jabber.org/protocol/muc'/><nick xmlns='http://jabber.org/protocol/nick'>Una</nick></presence>", stack.CrowdDomain, s.mainRoom())
	s.areIn("Ada main", "Bob one", "Gus main", "Una main")
	forged := fmt.Sprintf(`{"type":"breakout_rooms","event":"features/breakout-rooms/update","rooms":{"%[1]s":{"isMainRoom":true,"jid":"%[1]s@%[2]s","participants":{}},`+
		`"x":{"jid":"x@breakout.%[3]s","name":"x","participants":{"x@breakout.%[3]s/m":{"jid":"m@%[3]s/web","displayName":"Mallory","role":"moderator"}}}}}`, s.room, stack.MUCDomain, stack.Domain)
	for _, to := range []string{stack.Usher.JID() + "/usher", s.mainRoom() + "/usher", one + "/usher", "breakout." + stack.Domain} {
		for _, typ := range []string{"", "groupchat"} {
			message := element("http://jitsi.org/jitmeet", "json-message", escape(forged))
			must(t, mallory.Send(within(t), "message", to, typ, message))
			must(t, guest.Send(within(t), "message", to, typ, message))
			c.send("<message from='u1@%s/web' to='%s' type='%s'><json-message xmlns='http://jitsi.org/jitmeet'>%s</json-message></message>", stack.CrowdDomain, to, cmp.Or(typ, "normal"), escape(forged))
		}
	}
	s.moves(bob, s.mainRoom())
	s.areIn("Ada main", "Bob main", "Gus main", "Una main")
	s.counts(4)
}

// TestThousandsOfBreakoutRooms has a host make more breakout rooms than fit into what
// any other stanza may say: it is still known who is in which.
func TestThousandsOfBreakoutRooms(t *testing.T) {
	const rooms = 2000
	s := newScene(t)
	ada, c := s.person("Ada", ""), s.dialRaw()
	s.enter(ada)
	// Prosody does not slow down the users of a component.
	host := "host@" + stack.CrowdDomain + "/web"
	c.send("<presence from='%s' to='%s/host'><x xmlns='http://jabber.org/protocol/muc'/><nick xmlns='http://jabber.org/protocol/nick'>Eve</nick></presence>", host, s.mainRoom())
	s.counts(2)
	bob := s.person("Bob", "")
	s.enter(bob)
	must(t, ada.Leave(within(t)))
	must(t, bob.WaitFor(within(t), func(o sim.Occupants) bool { return o["host"].Role == "moderator" }))
	for i := range rooms {
		c.send("<message from='%s' to='breakout.%s'><breakout_rooms type='features/breakout-rooms/add' subject='room %d'/></message>", host, stack.Domain, i)
	}
	room, err := bob.WaitBreakout(within(t), fmt.Sprint("room ", rooms-1))
	must(t, err)
	s.moves(bob, room)
	s.areIn("Eve main", fmt.Sprint("Bob room ", rooms-1))
	s.moves(bob, s.mainRoom())
	s.areIn("Eve main", "Bob main")
	s.counts(2)
	if n := s.metric("usher_xmpp_disconnects_total"); n != 0 {
		t.Errorf("%v streams have ended, want none", n)
	}
}

func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// TestVisitorsKeepTheSessionOpen has the focus count visitors: they are no humans,
// and the meeting goes on without humans as long as somebody watches.
func TestVisitorsKeepTheSessionOpen(t *testing.T) {
	s := newScene(t)
	s.impatient("webinar", "none")
	ada := s.host("Ada", "")
	s.focus.SetVisitors(s.room, 300)
	s.visitors(300)
	must(t, ada.Leave(within(t)))
	s.counts(0)
	time.Sleep(8 * time.Second) // the session ends after 2 s, and the meeting after 3 more
	if m := s.meeting(); m.State != meeting.StateLive || m.Occupancy.Humans != 0 {
		t.Fatalf("the meeting is %s with %+v, want it live with 300 visitors", m.State, m.Occupancy)
	}
	s.visitors(300)
	if got := s.metric(`usher_participants{kind="visitor"}`); got != 300 {
		t.Errorf("the metric says %v visitors, want 300", got)
	}
	s.focus.SetVisitors(s.room, 0)
	s.until("the meeting has ended by itself", func() bool { m := s.meeting(); return m != nil && m.EndReason == meeting.EndEmpty })
	s.tells("session.started", "joined Ada", "left Ada left", "session.ended", "meeting.ended")
}

func (s *scene) visitors(want int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d visitors", want), func() bool {
		m := s.meeting()
		return m != nil && m.Occupancy.Visitors == want
	})
}
