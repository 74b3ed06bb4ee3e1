package muc_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/meeting"
	"usher/muc"
)

// makeBreakouts gives the room a breakout room, as a moderator does in the client.
func (s *server) makeBreakouts(room string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fr := s.rooms[room]; fr != nil && fr.breakouts == nil {
		fr.breakouts = map[string]person{}
	}
	s.sayBreakouts(room)
}

// toBreakout moves somebody out of the main room, as lib-jitsi-meet does.
func (s *server) toBreakout(room, nick string) {
	p, in := s.person(room, nick)
	s.makeBreakouts(room)
	s.leaveSaying(room, nick, "switch_room")
	s.mu.Lock()
	defer s.mu.Unlock()
	if fr := s.rooms[room]; in && fr != nil {
		fr.breakouts[nick] = p
		s.sayBreakouts(room)
	}
}

// fromBreakout takes somebody out of the breakout room, back to the main room or
// away.
func (s *server) fromBreakout(room, nick string, back bool) {
	s.mu.Lock()
	fr := s.rooms[room]
	p, in := person{}, false
	if fr != nil {
		if p, in = fr.breakouts[nick]; in {
			delete(fr.breakouts, nick)
			s.sayBreakouts(room)
		}
	}
	s.mu.Unlock()
	if in && back {
		s.join(room, nick, p)
	}
}

// leaveSaying is leave with a status text.
func (s *server) leaveSaying(room, nick, text string) {
	s.leave(room, nick, "</x><status>"+text+"</status><x>")
}

// inBreakouts returns the nicks in the breakout room, sorted.
func (s *server) inBreakouts(room string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms[room] == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.rooms[room].breakouts))
}

// sayBreakouts is what mod_muc_breakout_rooms does 0.3 s after somebody came or
// left, once the room has had a breakout room. s.mu is held.
func (s *server) sayBreakouts(room string) {
	fr := s.rooms[room]
	if fr == nil || fr.breakouts == nil || fr.saying {
		return
	}
	fr.saying = true
	time.AfterFunc(300*time.Millisecond, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		fr.saying = false
		if s.rooms[room] != fr || !fr.usher || !s.occupantUp {
			return
		}
		text := fr.breakoutMessage(room)
		s.later(func(r *muc.Rooms) {
			d := xml.NewDecoder(strings.NewReader(text))
			tok, _ := d.Token()
			r.Message(d, tok.(xml.StartElement))
		})
	})
}

func (fr *fakeRoom) breakoutMessage(room string) string {
	list := func(address string, people map[string]person) map[string]any {
		all := map[string]any{}
		for nick, p := range people {
			if nick != "focus" {
				all[address+"/"+nick] = map[string]string{"jid": p.jid, "role": p.role, "displayName": p.name}
			}
		}
		return map[string]any{"jid": address, "name": "name of " + address, "participants": all}
	}
	main := list(room+"@muc.meet.jitsi", fr.people)
	main["isMainRoom"] = true
	body, err := json.Marshal(map[string]any{"type": "breakout_rooms", "event": "features/breakout-rooms/update", "rooms": map[string]any{
		room: main, "b-" + room: list("b-"+room+"@breakout.meet.jitsi", fr.breakouts),
	}})
	if err != nil {
		panic(err)
	}
	var text strings.Builder
	if err := xml.EscapeText(&text, body); err != nil {
		panic(err)
	}
	return "<message from='breakout.meet.jitsi'><json-message xmlns='http://jitsi.org/jitmeet'>" + text.String() + "</json-message></message>"
}

func inBreakouts(b meeting.Breakouts) string {
	var nicks []string
	for _, o := range b.Occupants {
		nicks = append(nicks, o.Nick)
	}
	return strings.Join(nicks, " ")
}

// TestStaysWhilePeopleAreInBreakoutRooms has everybody in one: usher stays in the
// empty main room, which is where it hears of them.
func TestStaysWhilePeopleAreInBreakoutRooms(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.toBreakout("standup", "aa")
		time.Sleep(time.Second)
		want(t, seen, "gone aa switched_room", "breakouts aa")
		r.Want("standup", meeting.WantKeep) // as the meeting's state has it
		time.Sleep(3 * time.Hour)
		want(t, seen)
		if !s.usherIn("standup") {
			t.Fatal("usher left although somebody is in a breakout room")
		}
		// Nor does the recorder that has died keep it or drive it out.
		s.join("standup", "jibri", person{jid: "recorder@hidden.meet.jitsi/x"})
		s.inAfter(t, time.Minute, true, "usher left although somebody is in a breakout room")
		s.leave("standup", "jibri", "")
		s.fromBreakout("standup", "aa", true)
		time.Sleep(time.Second)
		r.Want("standup", meeting.WantFollow)
		want(t, seen, "seen jibri", "breakouts aa", "gone jibri left", "seen aa", "breakouts")
		s.leave("standup", "aa", "")
		s.inAfter(t, 6*time.Second, false, "usher stays although nobody is anywhere any more")
	})
}

// TestLeavesWhenNobodyIsElsewhereAnyMore has the meeting say so after a while.
func TestLeavesWhenNobodyIsElsewhereAnyMore(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		r.Want("standup", meeting.WantKeep)
		s.leave("standup", "aa", "")
		s.inAfter(t, time.Hour, true, "usher left although it is to stay")
		r.Want("standup", meeting.WantFollow)
		s.inAfter(t, 100*time.Millisecond, false, "usher stays although nothing keeps it any more")
	})
}

// TestEntersAnEmptyMainRoomForThoseElsewhere is an usher that was restarted, or left
// before the meeting knew where people are.
func TestEntersAnEmptyMainRoomForThoseElsewhere(t *testing.T) {
	for _, w := range []meeting.DesiredState{meeting.WantRegain, meeting.WantKeep} {
		story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
			follow(s, r, seen)
			s.makeBreakouts("standup")
			s.leave("standup", "aa", "")
			s.inAfter(t, 6*time.Second, false, "usher is in although nothing keeps it")
			s.set(func() { s.rooms["standup"].breakouts["aa"] = person{jid: "aa@meet.jitsi/web"} })
			seen.take()
			r.Want("standup", w)
			time.Sleep(time.Second)
			want(t, seen, "roster focus", "breakouts aa")
			r.Want("standup", meeting.WantKeep)
			s.inAfter(t, time.Hour, true, "usher left again although somebody is in a breakout room")
		})
	}
}

// TestRosterHasWhatWasHeardOfBreakoutRooms: the component says nothing to an usher
// that only lists the room anew, because presences or what it said were dropped.
func TestRosterHasWhatWasHeardOfBreakoutRooms(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.join("standup", "bb", person{})
		s.toBreakout("standup", "aa")
		s.join("standup", "focus", person{jid: "focus@auth.meet.jitsi/focus", role: "moderator", properties: counts(3)})
		time.Sleep(time.Second)
		want(t, seen, "seen bb", "gone aa switched_room", "seen focus", "visitors 3", "breakouts aa")
		r.Resync("standup")
		time.Sleep(time.Second)
		want(t, seen, "seen bb", "seen focus", "roster bb focus breakouts aa visitors 3")
		// Of a new stream nothing is known before the component has spoken.
		s.dropOccupant()
		s.raiseOccupant()
		time.Sleep(100 * time.Millisecond)
		want(t, seen, "sight lost", "roster bb focus visitors 3")
		time.Sleep(time.Second)
		want(t, seen, "breakouts aa")
	})
}

func counts(visitors int) string {
	return fmt.Sprintf("<conference-properties xmlns='http://jitsi.org/protocol/focus'><property key='visitors-enabled' value='true'/><property key='visitor-count' value='%d'/></conference-properties>", visitors)
}
