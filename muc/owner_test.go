package muc_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
	"usher/muc"
)

func (s *server) affiliation(room string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[room].affil
}

func (s *server) grants(room string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rooms[room].grants)
}

// TestOwnerOnlyWhileNeeded has several who need usher to be an owner at overlapping
// times: it is one until the last is done, and a member before and after.
func TestOwnerOnlyWhileNeeded(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		if err := r.Own(t.Context(), "standup", func() error { return nil }); !errors.Is(err, meeting.ErrUnavailable) {
			t.Errorf("Own of a room that usher is not in = %v, want ErrUnavailable", err)
		}
		follow(s, r, seen)
		is := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := s.affiliation("standup"); got != want {
				t.Errorf("usher is %s, want %s", got, want)
			}
		}
		is("member")
		own := func(d time.Duration) {
			if err := r.Own(t.Context(), "standup", func() error { is("owner"); time.Sleep(d); is("owner"); return nil }); err != nil {
				t.Error(err)
			}
		}
		done := make(chan struct{}, 2)
		go func() { own(90 * time.Second); done <- struct{}{} }() // a slow start
		time.Sleep(time.Second)
		own(time.Second)
		is("owner")
		<-done
		is("member")
		own(0)
		own(0)
		time.Sleep(time.Second)
		is("member")
		if got := s.grants("standup"); slices.Contains(got, "none") {
			t.Errorf("usher was %q in turn, want never none", got)
		}
	})
}

// TestOwnershipThatIsTakenAway has somebody take it away before it is used: it is
// taken back once, and only once.
func TestOwnershipThatIsTakenAway(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		refused := stanza.Error{Type: stanza.Auth, Condition: stanza.NotAllowed}
		for times := range 3 {
			tries := 0
			err := r.Own(t.Context(), "standup", func() error {
				if tries++; tries <= times {
					s.set(func() { s.affiliate("standup", "none") })
					return refused
				}
				if got := s.affiliation("standup"); got != "owner" {
					t.Errorf("usher is %s at try %d, want owner", got, tries)
				}
				return nil
			})
			if want := times == 2; errors.Is(err, refused) != want || tries != min(times, 1)+1 {
				t.Errorf("refused %d times: %d tries, then %v", times, tries, err)
			}
			time.Sleep(2 * time.Second)
			if got := s.affiliation("standup"); got != "member" {
				t.Errorf("usher is %s afterwards, want member", got)
			}
		}
	})
}

// TestOwnerUnasked has people make usher what it is not to be.
func TestOwnerUnasked(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		for _, affil := range []string{"owner", "admin", "none"} {
			s.set(func() { s.affiliate("standup", affil) })
			time.Sleep(2 * time.Second)
			if got := s.affiliation("standup"); got != "member" {
				t.Errorf("made %s, usher is %s, want member", affil, got)
			}
		}
		before := s.count("grant")
		for range 100 {
			s.set(func() { s.affiliate("standup", "owner") })
			time.Sleep(100 * time.Millisecond)
		}
		if n := s.count("grant") - before; n < 5 || n > 11 {
			t.Errorf("%d grants in 10 s of somebody who makes usher an owner all the time, want one a second", n)
		}
	})
}

// TestOwnerOfARoomThatIsLeft is a member of it when somebody comes back.
func TestOwnerOfARoomThatIsLeft(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		go func() {
			_ = r.Own(t.Context(), "standup", func() error { time.Sleep(20 * time.Second); return nil })
		}()
		synctest.Wait()
		s.leave("standup", "aa", "")
		time.Sleep(10 * time.Second)
		if got := s.affiliation("standup"); got != "member" || s.usherIn("standup") {
			t.Errorf("usher is %s of the room, in it: %v; want a member who has left", got, s.usherIn("standup"))
		}
		time.Sleep(time.Minute)
	})
}

// TestRoomThatMakesNobodyAnOwner is a finding, and not for ever.
func TestRoomThatMakesNobodyAnOwner(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.set(func() { s.noOwner = true })
		if err := r.Kick(t.Context(), "standup", []string{"aa"}, ""); err == nil || r.Problems()[muc.CheckRole].Seen == "" {
			t.Errorf("a kick without ownership = %v, with the problems %v; want both", err, r.Problems())
		}
		s.set(func() { s.noOwner = false })
		if err := r.Kick(t.Context(), "standup", []string{"aa"}, ""); err != nil || r.Problems()[muc.CheckRole].Seen != "" {
			t.Errorf("a kick = %v, with the problems %v; want neither", err, r.Problems())
		}
	})
}

// TestOwnerSinceACrash has usher die while it was an owner.
func TestOwnerSinceACrash(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{})
		s.set(func() { s.affiliate("standup", "owner") })
		r.Want("standup", meeting.WantRegain)
		time.Sleep(time.Second)
		if got := s.affiliation("standup"); got != "member" || !s.usherIn("standup") {
			t.Errorf("usher is %s, in the room: %v; want a member who is in", got, s.usherIn("standup"))
		}
	})
}
