package muc_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/muc"
)

// story runs Rooms against the stand-in server, in virtual time.
func story(t *testing.T, site muc.Site, f func(t *testing.T, s *server, r *muc.Rooms, seen *observed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, seen := newServer(), &observed{}
		r := muc.New(muc.Config{Site: site, Control: control{s}, Occupant: occupant{s}, Observe: seen.observe})
		s.listener = r
		done := make(chan struct{}, 2)
		go func() { s.deliver(ctx); done <- struct{}{} }()
		go func() { _ = r.Run(ctx); done <- struct{}{} }()
		synctest.Wait()
		r.ControlUp()
		r.OccupantUp()
		f(t, s, r, seen)
		cancel()
		<-done
		<-done
	})
}

// follow has usher in a room with one person and the focus.
func follow(s *server, r *muc.Rooms, seen *observed) {
	s.focus("standup")
	s.join("standup", "aa", person{})
	r.Want("standup", meeting.WantFollow)
	synctest.Wait()
	seen.take()
}

func want(t *testing.T, seen *observed, lines ...string) {
	t.Helper()
	synctest.Wait()
	if got := seen.take(); !slices.Equal(got, lines) {
		t.Errorf("observed %q, want %q", got, lines)
	}
}

func TestAnnouncedRoomIsEnteredAtOnceAndNeverBeforeTheFocus(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		r.Want("standup", meeting.WantFollow)
		time.Sleep(time.Second)
		r.Expect("standup")
		time.Sleep(40 * time.Millisecond)
		// A room without its focus, as when somebody broke the rules.
		s.join("standup", "aa", person{name: "Ada"})
		s.inAfter(t, 200*time.Millisecond, false, "usher came in before the focus")
		s.focus("standup")
		time.Sleep(60 * time.Millisecond)
		want(t, seen, "roster aa focus")
		if n := s.count("presence"); n != 1 {
			t.Errorf("usher sent %d presences, want one join", n)
		}
		s.join("standup", "bb", person{name: "Bob"})
		s.leave("standup", "aa", "<status code='307'/>")
		want(t, seen, "seen bb", "gone aa kicked")
	})
}

func TestRoomIsFoundWithoutAnnouncement(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		r.Want("standup", meeting.WantFollow)
		time.Sleep(time.Second)
		s.focus("standup")
		s.join("standup", "aa", person{})
		time.Sleep(10 * time.Second) // coldPace
		want(t, seen, "roster aa focus")
	})
}

func TestLeavesWhenTheLastHumanHasLeft(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{})
		r.Want("standup", meeting.WantFollow)
		want(t, seen, "roster aa focus")
		s.leave("standup", "aa", "")
		s.inAfter(t, 4*time.Second, true, "usher left at once, want a stay of 5 s while the focus is in")
		s.inAfter(t, 2*time.Second, false, "usher still in 6 s after the last human, which keeps the conference alive")
		s.inAfter(t, 20*time.Second, false, "usher came back to a room without humans")
		// The focus is still there when somebody comes back.
		s.join("standup", "bb", person{})
		time.Sleep(2 * time.Second)
		want(t, seen, "gone aa left", "roster bb focus")
	})
}

func TestLeavesWithTheFocus(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{})
		r.Want("standup", meeting.WantFollow)
		synctest.Wait()
		s.leave("standup", "aa", "")
		s.leave("standup", "focus", "")
		s.inAfter(t, 100*time.Millisecond, false, "usher keeps a room alive that everybody else has left")
	})
}

func TestLeavesARoomThatNobodyComesTo(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		r.Want("standup", meeting.WantFollow)
		s.inAfter(t, 29*time.Second, true, "usher left within 29 s")
		s.inAfter(t, 2*time.Second, false, "usher still in after 31 s without a human")
	})
}

func TestJoinThatIsNeverAnsweredIsTakenBack(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.set(func() { s.silent = true })
		r.Want("standup", meeting.WantFollow)
		time.Sleep(16 * time.Second)
		if s.count("presence unavailable") != 1 {
			t.Error("no unavailable after 15 s of silence")
		}
		s.set(func() { s.silent = false })
		time.Sleep(16 * time.Second)
		want(t, seen, "roster focus")
	})
}

func TestPasswordIsReadFromTheRoomsForm(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{})
		s.set(func() { s.rooms["standup"].password = "hush" })
		r.Want("standup", meeting.WantFollow)
		want(t, seen, "roster aa focus")
	})
}

func TestComesBackAfterBeingPutOut(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.putOut("standup", "<status code='307'/>")
		s.join("standup", "bb", person{})
		time.Sleep(time.Second)
		want(t, seen, "sight lost", "roster aa bb focus")
	})
}

func TestDestroyedRoomTakesEverybodyWithIt(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.destroyRoom("standup")
		want(t, seen, "room gone destroyed")
	})
}

func TestEndedMeetingClosesItsRoom(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.dropControl()
		r.Want("standup", meeting.WantClosed)
		time.Sleep(time.Minute)
		if s.humans("standup") == nil {
			t.Fatal("the room ended without an administrator")
		}
		s.raiseControl()
		synctest.Wait()
		if got := seen.take(); !slices.Contains(got, "room gone destroyed") || s.humans("standup") != nil {
			t.Errorf("observed %q with %v in, want the room gone", got, s.humans("standup"))
		}
		r.Want("standup", meeting.WantNothing)
	})
}

func TestLostPresencesAreFoundByTheServersLists(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{})
		r.Want("standup", meeting.WantFollow)
		time.Sleep(time.Second)
		seen.take()
		s.set(func() { s.lose = true })
		s.join("standup", "bb", person{})
		s.leave("standup", "aa", "")
		s.set(func() { s.lose = false })
		time.Sleep(61 * time.Second) // checkPace
		want(t, seen, "sight lost", "seen bb", "seen focus", "roster bb focus")
		joins := s.count("presence")
		time.Sleep(5 * time.Minute)
		if n := s.count("presence"); n != joins {
			t.Errorf("%d more joins although the lists agree, want none", n-joins)
		}
	})
}

// TestRenameOfSomebodyUnknown: there is nothing to rename, and nothing that a
// later look at the room could miss.
func TestRenameOfSomebodyUnknown(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{})
		r.Want("standup", meeting.WantFollow)
		time.Sleep(time.Second)
		seen.take()
		s.set(func() {
			s.tell("standup", "bb", "unavailable", "<x xmlns='http://jabber.org/protocol/muc#user'>"+
				"<item affiliation='none' role='participant' nick='cc' jid='bb@meet.jitsi/web'/><status code='303'/></x>")
		})
		joins := s.count("presence")
		time.Sleep(61 * time.Second) // checkPace
		if n := s.count("presence"); n != joins {
			t.Errorf("%d more joins because of a rename, want none", n-joins)
		}
	})
}

func TestOverloadIsAnsweredWithARoster(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{})
		r.Want("standup", meeting.WantFollow)
		time.Sleep(time.Second)
		seen.take()
		r.Resync("standup")
		synctest.Wait()
		got := seen.take()
		if len(got) == 0 || got[len(got)-1] != "roster aa focus" {
			t.Errorf("observed %q, want it to end with the roster", got)
		}
	})
}

func TestServerRestartEmptiesItsRooms(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.restart()
		want(t, seen, "sight lost")
		time.Sleep(3 * time.Second)
		s.raiseControl()
		s.raiseOccupant()
		time.Sleep(time.Second)
		want(t, seen, "room gone server_shutdown")
		s.focus("standup")
		s.join("standup", "bb", person{})
		time.Sleep(2 * time.Second) // warmPace
		want(t, seen, "roster bb focus")
	})
}

func TestRoomThatEndsBeforeUsherIsBackIsToldGone(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{})
		r.Want("standup", meeting.WantFollow)
		synctest.Wait()
		s.dropOccupant()
		r.Want("standup", meeting.WantRegain)
		want(t, seen, "roster aa focus", "sight lost")
		// It is still there when usher comes back, but gone before usher is in.
		s.set(func() { s.silent = true })
		s.raiseOccupant()
		time.Sleep(20 * time.Second)
		s.destroyRoom("standup")
		time.Sleep(20 * time.Second)
		if got := seen.take(); !slices.Contains(got, "room gone disconnected") {
			t.Errorf("observed %q, want the room gone", got)
		}
	})
}

func TestThousandRoomsAreRegainedAtOnce(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		names := make([]string, 1000)
		for i := range names {
			names[i] = "room" + string(rune('a'+i/100)) + string(rune('a'+i/10%10)) + string(rune('a'+i%10))
			s.focus(names[i])
			s.join(names[i], "aa", person{})
			r.Want(names[i], meeting.WantRegain)
		}
		time.Sleep(time.Second)
		if got := len(seen.take()); got != 1000 {
			t.Errorf("%d rosters within a second, want 1000", got)
		}
	})
}

func TestHumanWithoutModeratorIsReported(t *testing.T) {
	elects := site
	elects.ElectsModerator = true
	story(t, elects, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{})
		r.Want("standup", meeting.WantFollow)
		time.Sleep(4 * time.Second)
		if p := r.Problems(); len(p) != 0 {
			t.Errorf("problems %v within 5 s", p)
		}
		time.Sleep(3 * time.Second)
		if p := r.Problems(); !strings.Contains(p[muc.CheckModerator].Do, `trusted-domains hold "hidden.meet.jitsi"`) {
			t.Errorf("problems %v, want one about the moderator", p)
		}
		s.join("standup", "aa", person{role: "moderator"})
		synctest.Wait()
		if p := r.Problems(); len(p) != 0 {
			t.Errorf("problems %v after the election", p)
		}
	})
}

func TestSomebodyWhoPutsUsherOutEachTimeIsNoFlood(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{role: "moderator"})
		r.Want("standup", meeting.WantFollow)
		for range 600 { // a minute
			s.putOut("standup", "<status code='307'/>")
			time.Sleep(100 * time.Millisecond)
		}
		if n := s.count("presence"); n > 30 {
			t.Errorf("%d joins in a minute, want fewer and fewer", n)
		}
		s.inAfter(t, time.Minute, true, "usher never came back")
	})
}

func TestResyncThatTheRoomRefusesTakesNobodyOut(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{})
		r.Want("standup", meeting.WantFollow)
		time.Sleep(time.Second)
		seen.take()
		s.set(func() { s.silent = true }) // the room is deaf to joins
		before := s.count("presence")
		r.Resync("standup")
		time.Sleep(10 * time.Second)
		want(t, seen)
		if n := s.count("presence") - before; n < 2 || n > 20 {
			t.Errorf("%d joins in 10 s, want about one a second", n)
		}
		s.set(func() { s.silent = false })
		time.Sleep(2 * time.Second)
		want(t, seen, "seen aa", "seen focus", "roster aa focus")
	})
}

func TestRoomThatUsherMayNotEndIsAProblemOfTheSite(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.set(func() { s.noAdmin = true })
		r.Want("standup", meeting.WantClosed)
		synctest.Wait()
		if p := r.Problems(); !strings.Contains(p[muc.CheckControl].Do, `Component "muc.meet.jitsi" in Prosody hold admins = { "ctl@usher.meet.jitsi", "focus@auth.meet.jitsi" }`) {
			t.Errorf("problems %v, want one about the administrator", p)
		}
	})
}

func TestStaysWhileARecordingIsToEnd(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		r.Want("standup", meeting.WantStay)
		s.leave("standup", "aa", "")
		s.inAfter(t, 10*time.Second, true, "usher left before the recording had ended")
		r.Want("standup", meeting.WantFollow)
		s.inAfter(t, time.Second, false, "usher stays although nothing holds it any more")

		s.join("standup", "bb", person{})
		time.Sleep(2 * time.Second)
		r.Want("standup", meeting.WantStay)
		s.leave("standup", "bb", "")
		s.inAfter(t, 46*time.Second, false, "usher stays for ever, which keeps the conference alive")
	})
}

// TestStaysForARecorderWithoutTheFocus has a focus that went while a recorder
// goes on: only usher can put it out.
func TestStaysForARecorderWithoutTheFocus(t *testing.T) {
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		r.Want("standup", meeting.WantStay)
		s.leave("standup", "aa", "")
		s.leave("standup", "focus", "")
		s.inAfter(t, 20*time.Second, true, "usher left before the recording had ended")
		r.Want("standup", meeting.WantFollow)
		s.inAfter(t, 100*time.Millisecond, false, "usher keeps a room alive that everybody else has left")
	})
}

func TestProblemFoundElsewhere(t *testing.T) {
	story(t, site, func(t *testing.T, _ *server, r *muc.Rooms, _ *observed) {
		set := muc.Problem{Seen: "people see usher", Do: "hide it"}
		r.SetProblem(muc.CheckHiddenDomain, set)
		if got := r.Problems()[muc.CheckHiddenDomain]; got != set {
			t.Errorf("problem %q, want the one that was set", got)
		}
		r.SetProblem(muc.CheckHiddenDomain, muc.Problem{})
		if p := r.Problems(); len(p) != 0 {
			t.Errorf("problems %v after it was solved, want none", p)
		}
	})
}

// TestLogOutsideTheLock: a log that does not take what is written holds up nobody
// but who logs.
func TestLogOutsideTheLock(t *testing.T) {
	writing, free := make(chan struct{}), make(chan struct{})
	s, seen := newServer(), &observed{}
	r := muc.New(muc.Config{Site: site, Control: control{s}, Occupant: occupant{s}, Observe: seen.observe,
		Log: slog.New(slog.NewTextHandler(writeFunc(func(p []byte) (int, error) {
			close(writing)
			<-free
			return len(p), nil
		}), nil))})
	s.listener = r
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	defer close(free)
	running.Go(func() { s.deliver(ctx) })
	running.Go(func() { _ = r.Run(ctx) })
	r.ControlUp()
	r.OccupantUp()
	s.focus("standup")
	s.join("standup", "aa", person{})
	r.Want("standup", meeting.WantFollow)
	for !s.usherIn("standup") {
		time.Sleep(time.Millisecond)
	}
	s.putOut("standup", "<status code='307'/>")
	<-writing
	got := make(chan map[string]muc.Problem, 1)
	running.Go(func() { got <- r.Problems() })
	select {
	case <-got:
	case <-time.After(10 * time.Second):
		t.Error("while something is logged nobody is answered")
	}
}

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(p []byte) (int, error) { return f(p) }
