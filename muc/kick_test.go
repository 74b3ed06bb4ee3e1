package muc_test

import (
	"errors"
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
		s.set(func() { s.rooms["standup"].owner = false }) // somebody took it away
		// One connection has just gone by itself.
		if err := r.Kick(t.Context(), "standup", []string{"aa", "gone", "ab"}, "enough"); err != nil {
			t.Error(err)
		}
		want(t, seen, "gone aa kicked", "gone ab kicked")
	})
}
