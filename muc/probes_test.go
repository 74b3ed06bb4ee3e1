package muc_test

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/muc"
)

// idle makes meetings whose rooms nobody opens. From here the test runs on one
// processor: the race detector of Go 1.26 crashes when the timers of a bubble start
// some two hundred goroutines at once on several (golang.org/issue/78156).
func idle(t *testing.T, r *muc.Rooms, n int) {
	t.Helper()
	before := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	for i := range n {
		r.Want(fmt.Sprintf("quiet%d", i), meeting.WantFollow)
	}
}

// entered returns how long it takes until usher is in the room.
func entered(t *testing.T, s *server, room string) time.Duration {
	t.Helper()
	began := time.Now()
	for !s.usherIn(room) {
		if time.Since(began) > 10*time.Minute {
			t.Fatalf("usher is not in %s after 10 minutes", room)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// TestIdleMeetingsDelayNobody has ten thousand meetings that nobody comes to, made
// at once or long ago, while others are made, handed out and left.
func TestIdleMeetingsDelayNobody(t *testing.T) {
	open := func(s *server, room string) {
		s.focus(room)
		s.join(room, "aa", person{})
	}
	for name, since := range map[string]time.Duration{"just made": time.Second, "old": 5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			story(t, site, func(t *testing.T, s *server, r *muc.Rooms, _ *observed) {
				idle(t, r, 10_000)
				time.Sleep(since)
				within := func(what string, limit time.Duration, room string) {
					t.Helper()
					if took := entered(t, s, room); took > limit {
						t.Errorf("a room %s is entered after %v, want within %v", what, took, limit)
					}
				}
				r.Want("new", meeting.WantFollow)
				time.Sleep(20 * time.Second)
				open(s, "new")
				within("of a new meeting", 1100*time.Millisecond, "new")

				r.Want("quiet77", meeting.WantSoon)
				time.Sleep(90 * time.Second)
				open(s, "quiet77")
				within("that somebody was invited to", 1100*time.Millisecond, "quiet77")

				s.leave("new", "aa", "")
				s.leave("new", "focus", "")
				time.Sleep(90 * time.Second)
				open(s, "new")
				within("that people had left", 1100*time.Millisecond, "new")

				open(s, "quiet4711")
				within("without any sign", 10_000/40*time.Second, "quiet4711")
			})
		})
	}
}

// TestBusyRoomsLeaveProbesForOthers has more rooms that people are about to enter
// than there are probes.
func TestBusyRoomsLeaveProbesForOthers(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, _ *observed) {
		idle(t, r, 300)
		time.Sleep(2 * time.Minute)
		for i := range 200 {
			r.Want(fmt.Sprintf("soon%d", i), meeting.WantSoon)
		}
		time.Sleep(time.Second)
		s.focus("quiet299")
		s.join("quiet299", "aa", person{})
		if took := entered(t, s, "quiet299"); took > 31*time.Second {
			t.Errorf("an idle room is entered after %v, want 31 s at most: ten idle ones are looked at each second", took)
		}
		s.focus("soon0")
		s.join("soon0", "aa", person{})
		r.Want("soon0", meeting.WantSoon) // somebody else is invited
		if took := entered(t, s, "soon0"); took > 1100*time.Millisecond {
			t.Errorf("the room with the last invitation is entered after %v, want about a second", took)
		}
	})
}

func TestLookingForRoomsIsBounded(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, _ *observed) {
		idle(t, r, 2000)
		time.Sleep(20 * time.Second)
		if n := s.count("grant"); n > 50*20+50 || n < 50*20-50 {
			t.Errorf("%d probes in 20 s, want 50/s", n)
		}
		for i := range 2000 { // gone before their turn comes
			r.Want(fmt.Sprintf("quiet%d", i), meeting.WantNothing)
		}
		synctest.Wait()
		before := s.count("grant")
		time.Sleep(20 * time.Second)
		if n := s.count("grant") - before; n != 0 {
			t.Errorf("%d probes for rooms that no meeting wants, want none", n)
		}
	})
}
