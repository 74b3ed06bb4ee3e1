package muc_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/muc"
)

// TestRefusalsAreAnswered has rooms that refuse usher for reasons that it can do
// something about: it comes back with what they ask for.
func TestRefusalsAreAnswered(t *testing.T) {
	for name, refuse := range map[string]func(*fakeRoom){
		"the nick is taken": func(fr *fakeRoom) { fr.people["usher"] = person{jid: "eve@meet.jitsi/web", role: "participant"} },
		"a password":        func(fr *fakeRoom) { fr.password = "hush" },
		"members only":      func(fr *fakeRoom) { fr.members = true },
		"banned":            func(fr *fakeRoom) { fr.affil = "outcast" },
		"all of it": func(fr *fakeRoom) {
			fr.people["usher"] = person{jid: "eve@meet.jitsi/web", role: "participant"}
			fr.password, fr.members, fr.affil = "hush", true, "outcast"
		},
	} {
		// A room that is new to usher, and one that it was in before its stream ended.
		for _, w := range []meeting.DesiredState{meeting.WantFollow, meeting.WantRegain} {
			t.Run(name, func(t *testing.T) {
				story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
					s.focus("standup")
					s.join("standup", "aa", person{})
					s.set(func() { refuse(s.rooms["standup"]) })
					r.Want("standup", w)
					time.Sleep(100 * time.Millisecond)
					if !s.usherIn("standup") || len(r.Problems()) > 0 {
						t.Fatalf("usher in the room: %v, problems: %v; want it in, and none", s.usherIn("standup"), r.Problems())
					}
					wanted := "roster aa focus"
					if s.rooms["standup"].people["usher"].jid != "" {
						wanted += " usher"
					}
					want(t, seen, wanted)
					// Its own nick is known in whatever follows.
					time.Sleep(2 * time.Minute)
					if err := r.Kick(t.Context(), "standup", []string{"aa"}, ""); err != nil {
						t.Error(err)
					}
					want(t, seen, "gone aa kicked")
					s.leave("standup", "usher", "")
					time.Sleep(10 * time.Second)
					if s.usherIn("standup") {
						t.Error("usher is still in a room without people")
					}
				})
			})
		}
	}
}

// TestFullRoomIsFollowedByLists has a room without a seat for usher: who is in is
// known nevertheless, /readyz names the room, and usher enters when it can.
func TestFullRoomIsFollowedByLists(t *testing.T) {
	for _, w := range []meeting.DesiredState{meeting.WantFollow, meeting.WantRegain} {
		story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
			s.focus("standup")
			s.join("standup", "aa", person{})
			s.join("standup", "bb", person{})
			s.set(func() { s.rooms["standup"].seats = 2 })
			r.Want("standup", w)
			time.Sleep(time.Second)
			want(t, seen, "roster aa bb focus")
			if p := r.Problems()[muc.CheckEntry]; p.Room != "standup" || !strings.Contains(p.Seen, "it is full") || !strings.Contains(p.Do, `muc_access_whitelist of muc.meet.jitsi in Prosody hold "hidden.meet.jitsi"`) {
				t.Errorf("problem %q, want one that names the room, and what mends it", p)
			}
			s.join("retro", "cc", person{})
			s.focus("retro")
			r.Want("retro", meeting.WantFollow) // entering another room solves nothing
			synctest.Wait()
			if r.Problems()[muc.CheckEntry].Seen == "" || !s.usherIn("retro") {
				t.Errorf("problems %v, want the full room still there", r.Problems())
			}
			seen.take()
			s.leave("standup", "bb", "")
			s.join("standup", "dd", person{})
			time.Sleep(5 * time.Second)
			want(t, seen, "roster aa dd focus")
			s.dropControl()
			time.Sleep(5 * time.Second)
			want(t, seen, "sight lost")
			s.raiseControl()
			time.Sleep(time.Second)
			want(t, seen, "roster aa dd focus")
			s.leave("standup", "dd", "")
			time.Sleep(6 * time.Second)
			want(t, seen, "roster aa focus")
			if !s.usherIn("standup") || len(r.Problems()) > 0 {
				t.Errorf("usher in the room: %v, problems: %v; want it in, and none", s.usherIn("standup"), r.Problems())
			}
		})
	}
}

// TestFullRoomThatEndsUnseen has everybody leave between two lists.
func TestFullRoomThatEndsUnseen(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{})
		s.set(func() { s.rooms["standup"].seats = 1 })
		r.Want("standup", meeting.WantFollow)
		time.Sleep(time.Second)
		s.destroyRoom("standup")
		time.Sleep(6 * time.Second)
		want(t, seen, "roster aa focus", "room gone disconnected")
		if p := r.Problems(); len(p) > 0 {
			t.Errorf("problems %v of a room that is gone", p)
		}
	})
}

// TestRefusalWithoutRemedy is a finding, and tried again rarely.
func TestRefusalWithoutRemedy(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{})
		s.set(func() { s.rooms["standup"].refuses = "not-acceptable" })
		r.Want("standup", meeting.WantFollow)
		time.Sleep(time.Minute)
		if p := r.Problems()[muc.CheckEntry]; p.Room != "standup" || !strings.Contains(p.Seen, "not-acceptable") {
			t.Errorf("problem %q, want one that names the room and the refusal", p)
		}
		time.Sleep(time.Hour)
		if n := s.count("presence"); n > 5+13 {
			t.Errorf("%d tries to enter in an hour, want five and one every five minutes", n)
		}
		s.set(func() { s.rooms["standup"].refuses = "" })
		time.Sleep(5*time.Minute + time.Second)
		if !s.usherIn("standup") || len(r.Problems()) > 0 {
			t.Errorf("usher in the room: %v, problems: %v; want it in, and none", s.usherIn("standup"), r.Problems())
		}
	})
}
