package muc_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/muc"
)

func TestKick(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		if err := r.Kick(t.Context(), "standup", []string{"aa"}, ""); !errors.Is(err, meeting.ErrUnavailable) {
			t.Errorf("kick out of a room that usher is not in = %v, want ErrUnavailable", err)
		}
		r.Want("standup", meeting.WantFollow)
		s.focus("standup")
		for _, nick := range []string{"aa", "ab", "bb"} {
			s.join("standup", nick, person{name: "Ada"})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		seen.take()
		s.set(func() { s.affiliate("standup", "none") }) // somebody took it away
		// One connection has just gone by itself.
		if err := r.Kick(t.Context(), "standup", []string{"aa", "gone", "ab"}, "enough"); err != nil {
			t.Error(err)
		}
		want(t, seen, "gone aa kicked", "gone ab kicked")
	})
}

// TestEvict names people who must not be in: they are kicked as soon as usher
// is in, again when they come back, and once more after a kick that failed.
func TestEvict(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		r.Evict("elsewhere", []meeting.Kick{{Nick: "aa"}}) // nobody follows it
		r.Want("standup", meeting.WantFollow)
		r.Evict("standup", []meeting.Kick{{Nick: "aa", Reason: "noise"}, {Nick: "gone"}})
		s.focus("standup")
		s.join("standup", "aa", person{name: "Ada"})
		s.join("standup", "bb", person{name: "Bob"})
		pause := func() {
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		pause()
		if got := s.humans("standup"); !slices.Equal(got, []string{"bb"}) || s.count("kick") != 2 {
			t.Errorf("in the room: %q after %d kicks, want Bob alone after 2", got, s.count("kick"))
		}
		s.join("standup", "aa", person{name: "Ada"})
		pause()
		if got := s.humans("standup"); len(got) != 2 {
			t.Errorf("in the room: %q, want both: nobody was named since", got)
		}
		s.set(func() { s.noKicks = true })
		r.Evict("standup", []meeting.Kick{{Nick: "aa"}})
		pause()
		if got := s.humans("standup"); len(got) != 2 {
			t.Fatalf("in the room: %q, want both while the server does not kick", got)
		}
		s.set(func() { s.noKicks = false })
		pause()
		if got := s.humans("standup"); !slices.Equal(got, []string{"bb"}) {
			t.Errorf("in the room: %q, want Bob alone", got)
		}
		kicks := s.count("kick")
		pause()
		if got := s.count("kick"); got != kicks {
			t.Errorf("%d more kicks of nobody", got-kicks)
		}
		seen.take()
		// Named and not in any more: nobody else is put out in their place.
		r.Evict("standup", []meeting.Kick{{Nick: "aa"}})
		r.Evict("standup", nil)
		s.join("standup", "aa", person{name: "Eve"})
		pause()
		if got := s.humans("standup"); len(got) != 2 {
			t.Errorf("in the room: %q, want both", got)
		}
	})
}

// TestKickIsTriedAgain has kicks that fail, while the one to kick is named again
// and again, as with each change of the meeting.
func TestKickIsTriedAgain(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.set(func() { s.noKicks = true })
		for range 100 {
			r.Evict("standup", []meeting.Kick{{Nick: "aa"}})
			time.Sleep(100 * time.Millisecond)
		}
		if n := s.count("kick"); n < 4 || n > 6 {
			t.Errorf("%d kicks in 10 s, want one every 2 s", n)
		}
		r.Evict("standup", nil) // gone by themselves
		time.Sleep(3 * time.Second)
		s.set(func() { s.noKicks = false })
		r.Evict("standup", []meeting.Kick{{Nick: "aa"}})
		synctest.Wait()
		if got := s.humans("standup"); len(got) > 0 {
			t.Errorf("in the room: %q, want nobody: the next kick is made at once", got)
		}
	})
}
