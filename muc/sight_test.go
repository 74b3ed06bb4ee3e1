package muc_test

import (
	"fmt"
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

// TestPresencesThatSayNotWho has the room send presences without an item, with two,
// and without a nick: nobody comes or goes because of them, and where it cannot be
// said who it was, the view is stale until the room's roster has said who is in.
func TestPresencesThatSayNotWho(t *testing.T) {
	const (
		x     = "<x xmlns='http://jabber.org/protocol/muc#user'>%s</x>"
		aa    = "<item affiliation='none' role='participant' jid='aa@meet.jitsi/web'/>"
		focus = "<item affiliation='owner' role='moderator' jid='focus@auth.meet.jitsi/focus'/>"
		empty = "<item affiliation='none' role='participant' jid=''/>"
	)
	for _, tt := range []struct{ name, nick, typ, children string }{
		{"of somebody who is in, without x", "aa", "", "<nick xmlns='http://jabber.org/protocol/nick'>Ada L.</nick>"},
		{"of somebody who is in, without an item", "aa", "", fmt.Sprintf(x, "")},
		{"of somebody who is in, with two items", "aa", "", fmt.Sprintf(x, aa+focus)},
		{"of somebody who is in, with two x", "aa", "", fmt.Sprintf(x, aa) + fmt.Sprintf(x, focus)},
		{"of somebody who is in, with an empty address", "aa", "", fmt.Sprintf(x, empty)},
		{"of somebody new, without an item", "bb", "", fmt.Sprintf(x, "")},
		{"of somebody new, with two items", "bb", "", fmt.Sprintf(x, aa+focus)},
		{"of the focus, without an item", "focus", "", fmt.Sprintf(x, "")},
		{"a leave without x", "aa", "unavailable", ""},
		{"a leave without an item", "aa", "unavailable", fmt.Sprintf(x, "<status code='307'/>")},
		{"a leave with two items", "aa", "unavailable", fmt.Sprintf(x, aa+focus)},
		{"the focus's leave without an item", "focus", "unavailable", fmt.Sprintf(x, "")},
		{"another nick without an item", "aa", "unavailable", fmt.Sprintf(x, "<status code='303'/>")},
		{"another nick that is empty", "aa", "unavailable", fmt.Sprintf(x, strings.Replace(aa, "role", "nick='' role", 1)+"<status code='303'/>")},
		{"an empty nick", "", "", fmt.Sprintf(x, aa)},
		{"a leave with an empty nick", "", "unavailable", fmt.Sprintf(x, aa)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
				follow(s, r, seen)
				s.set(func() { s.tell("standup", tt.nick, tt.typ, tt.children) })
				time.Sleep(time.Second)
				got := seen.take()
				for _, line := range got {
					if line != "sight lost" && line != "seen aa" && line != "seen focus" && line != "roster aa focus" {
						t.Errorf("%q, want nobody to come or go", line)
					}
				}
				if tt.nick != "" && (len(got) < 2 || got[0] != "sight lost" || got[len(got)-1] != "roster aa focus") {
					t.Errorf("observed %q, want the sight lost first, and the roster in the end", got)
				}
			})
		})
	}
}
