package muc_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"usher/meeting"
	"usher/muc"
)

// TestHiddenAddressesMeanNothingIsKnown has a host who makes the room hide real
// addresses. Whoever changes or comes then is nobody whom usher knows, and nobody has
// left: the view is stale until the room shows them again, which usher sees to.
func TestHiddenAddressesMeanNothingIsKnown(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.set(func() { s.rooms["standup"].hides = true })
		s.join("standup", "aa", person{name: "Ada L."})
		s.join("standup", "bb", person{name: "Bob"})
		time.Sleep(time.Second)
		got := seen.take()
		if got[0] != "sight lost" || got[len(got)-1] != "roster aa bb focus" || slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, "gone") }) {
			t.Errorf("observed %q, want the sight lost, a roster in the end, and nobody gone", got)
		}
		if got := s.affiliation("standup"); got != "member" {
			t.Errorf("usher is %s, want member", got)
		}
	})
}

// TestRoomThatGoesOnHidingAddresses cannot be changed: usher looks as its owner,
// every few seconds, and says that what it knows is old in between.
func TestRoomThatGoesOnHidingAddresses(t *testing.T) {
	for _, w := range []meeting.DesiredState{meeting.WantFollow, meeting.WantRegain} {
		story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
			s.focus("standup")
			s.join("standup", "aa", person{})
			s.set(func() { s.rooms["standup"].hides, s.rooms["standup"].stubborn = true, true })
			r.Want("standup", w)
			for i := range 30 {
				time.Sleep(2 * time.Second)
				s.join("standup", "aa", person{name: strings.Repeat("a", i+1)})
			}
			time.Sleep(10 * time.Second)
			got := seen.take()
			if got[0] != "sight lost" || !slices.Contains(got, "roster aa focus") {
				t.Errorf("observed %q, want the sight lost first, and rosters", got)
			}
			for _, line := range got {
				if strings.HasPrefix(line, "gone") {
					t.Errorf("observed %q although nobody left", line)
				}
			}
			if n := s.count("grant"); n > 40 {
				t.Errorf("%d grants in 70 s, want a few each five seconds", n)
			}
			if got := s.affiliation("standup"); got != "member" {
				t.Errorf("usher is %s, want member", got)
			}
		})
	}
}

// TestRecorderLeftBehind has a recorder in the room whose Jibri is dead: it is put
// out when everybody has left, and usher does not come back for it.
func TestRecorderLeftBehind(t *testing.T) {
	recorder := person{jid: "recorder@hidden.meet.jitsi/x"}
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.join("standup", "jibri", recorder)
		s.leave("standup", "aa", "")
		time.Sleep(6 * time.Second)
		want(t, seen, "seen jibri", "gone aa left", "gone jibri kicked")
		if got := s.humans("standup"); s.usherIn("standup") || len(got) > 0 {
			t.Errorf("usher in: %v, with %q, want neither in the room", s.usherIn("standup"), got)
		}
		// One that cannot be kicked keeps usher neither in nor coming back.
		s.join("standup", "aa", person{})
		s.join("standup", "jibri", recorder)
		time.Sleep(2 * time.Second)
		s.set(func() { s.noKicks = true })
		s.leave("standup", "aa", "")
		time.Sleep(6 * time.Second)
		joins := s.count("presence")
		time.Sleep(5 * time.Minute)
		if n := s.count("presence") - joins; s.usherIn("standup") || n > 0 {
			t.Errorf("usher in: %v, after %d presences; want it out, and to stay out", s.usherIn("standup"), n)
		}
		s.join("standup", "bb", person{})
		time.Sleep(11 * time.Second)
		if !s.usherIn("standup") {
			t.Error("usher did not come back for a human")
		}
	})
}

// TestLiveStreamOfAnEmptyRoom is given the time in which Jibri ends it.
func TestLiveStreamOfAnEmptyRoom(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.join("standup", "jibri", person{jid: "recorder@hidden.meet.jitsi/x", mode: "stream"})
		s.leave("standup", "aa", "")
		time.Sleep(40 * time.Second)
		if got := s.humans("standup"); !s.usherIn("standup") || len(got) != 1 {
			t.Errorf("usher in: %v, with %q; want both in the room after 40 s", s.usherIn("standup"), got)
		}
		time.Sleep(10 * time.Second)
		if got := s.humans("standup"); s.usherIn("standup") || len(got) > 0 {
			t.Errorf("usher in: %v, with %q; want neither after 50 s", s.usherIn("standup"), got)
		}
	})
}
