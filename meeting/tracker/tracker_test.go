package tracker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/meeting/tracker"
)

func TestTrackerTellsRoomsAndKeepsDeadlines(t *testing.T) {
	store := &fakeStore{}
	err := tracking(t, store, tracker.Options{}, func(t *testing.T, tr *tracker.Tracker, rooms *fakeRooms) {
		now := time.Now()
		m := create(t, tr, meeting.Created{Room: "standup", Limits: meeting.Limits{StartAt: now.Add(time.Minute), EndAt: now.Add(time.Hour)}})
		if got := rooms.take(); len(got) != 0 {
			t.Errorf("before the start rooms were told %q", got)
		}
		time.Sleep(time.Minute + time.Second)
		if got := rooms.take(); !slices.Equal(got, []string{fmt.Sprintf("want standup %d", meeting.WantFollow)}) {
			t.Errorf("at the start rooms were told %q", got)
		}
		see(tr, "aa")
		time.Sleep(time.Hour)
		if got, want := store.told(), "meeting.created session.started participant.joined meeting.ending participant.left session.ended meeting.ended"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
		if got := rooms.take(); !slices.Equal(got, []string{fmt.Sprintf("want standup %d", meeting.WantClosed)}) {
			t.Errorf("at the end rooms were told %q", got)
		}
		tr.Observe("standup", time.Now(), meeting.RoomGone{Reason: meeting.LeftDestroyed})
		synctest.Wait()
		if _, ok := tr.Room("standup"); ok {
			t.Error("a meeting that is over and closed is still at hand")
		}
		if _, err := tr.Do(t.Context(), m.ID, meeting.Ended{}); !errors.Is(err, meeting.ErrEnded) {
			t.Errorf("ending it again: %v, want ErrEnded", err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestTrackerRetriesOneCommitUntilTheStoreIsBack(t *testing.T) {
	store := &fakeStore{}
	_ = tracking(t, store, tracker.Options{}, func(t *testing.T, tr *tracker.Tracker, _ *fakeRooms) {
		m := create(t, tr, meeting.Created{Room: "standup"})
		ops := map[string]int{}
		store.failWith(func(c meeting.Commit) error {
			ops[c.Op]++
			return fmt.Errorf("%w: down", meeting.ErrUnavailable)
		})
		see(tr, "aa")
		time.Sleep(time.Second)
		see(tr, "bb")
		if _, err := tr.Do(t.Context(), m.ID, meeting.Ended{}); !errors.Is(err, meeting.ErrUnavailable) {
			t.Errorf("a command meanwhile: %v, want ErrUnavailable", err)
		}
		time.Sleep(time.Minute)
		store.failWith(nil)
		if len(ops) != 1 {
			t.Errorf("%d different operations tried, want the same one again and again", len(ops))
		}
		time.Sleep(2 * time.Second)
		if got, want := store.told(), "meeting.created session.started participant.joined participant.joined"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

func TestTrackerWritesAWholeMeetingAnewWhenTheStoreForgot(t *testing.T) {
	store := &fakeStore{}
	_ = tracking(t, store, tracker.Options{}, func(t *testing.T, tr *tracker.Tracker, _ *fakeRooms) {
		create(t, tr, meeting.Created{Room: "standup"})
		see(tr, "aa")
		see(tr, "cc")
		tr.Observe("standup", time.Now(), meeting.Gone{Nick: "cc"})
		synctest.Wait()
		store.failWith(func(c meeting.Commit) error {
			if c.Whole {
				return nil
			}
			return &meeting.ConflictError{Stored: 0}
		})
		see(tr, "bb")
		synctest.Wait()
		last := store.commits[len(store.commits)-1]
		if !last.Whole || len(last.People) != 3 || len(last.Sessions) != 1 { // cc too, who has left
			t.Errorf("last commit whole=%v with %d people and %d sessions, want all of it", last.Whole, len(last.People), len(last.Sessions))
		}
	})
}

func TestTrackerStopsWhenAnotherLeads(t *testing.T) {
	store := &fakeStore{}
	err := tracking(t, store, tracker.Options{}, func(t *testing.T, tr *tracker.Tracker, _ *fakeRooms) {
		create(t, tr, meeting.Created{Room: "standup"})
		store.failWith(func(meeting.Commit) error { return meeting.ErrFenced })
		see(tr, "aa")
		synctest.Wait()
		if tr.Running() {
			t.Error("still running after a commit was fenced")
		}
	})
	if !errors.Is(err, meeting.ErrFenced) {
		t.Errorf("Run returned %v, want ErrFenced", err)
	}
}

func TestTrackerOverloadDropsPresencesAndAsksForTheRoster(t *testing.T) {
	store := &fakeStore{}
	dropped := 0
	_ = tracking(t, store, tracker.Options{Dropped: func() { dropped++ }}, func(t *testing.T, tr *tracker.Tracker, rooms *fakeRooms) {
		create(t, tr, meeting.Created{Room: "standup"})
		rooms.take()
		blocked := make(chan struct{})
		store.failWith(func(meeting.Commit) error { <-blocked; return nil })
		see(tr, "first")
		synctest.Wait()
		for i := range tracker.MaxQueue {
			see(tr, fmt.Sprint("n", i))
		}
		time.Sleep(time.Minute)
		missed := time.Now()
		for range 5 {
			tr.Observe("standup", time.Now(), meeting.RoomGone{})
			time.Sleep(time.Second)
		}
		close(blocked)
		synctest.Wait()
		if dropped != 5 {
			t.Errorf("%d dropped, want 5", dropped)
		}
		if got, want := rooms.take(), []string{fmt.Sprintf("want standup %d", meeting.WantRegain), "resync standup"}; !slices.Equal(got, want) {
			t.Errorf("rooms were told %q, want %q", got, want)
		}
		if m, _ := tr.Room("standup"); !m.StaleSince.Equal(missed) {
			t.Errorf("stale since %v, want since the first presence that was dropped, %v", m.StaleSince, missed)
		}
	})
}

func TestTrackerSurvivesAPanicOfOneMeeting(t *testing.T) {
	store := &fakeStore{}
	panics := 0
	_ = tracking(t, store, tracker.Options{Panicked: func() { panics++ }}, func(t *testing.T, tr *tracker.Tracker, rooms *fakeRooms) {
		create(t, tr, meeting.Created{Room: "standup"})
		store.failWith(func(meeting.Commit) error { panic("a bug") })
		see(tr, "aa")
		synctest.Wait()
		store.failWith(nil)
		see(tr, "bb")
		time.Sleep(2 * time.Second)
		if got := store.told(); panics != 1 || got != "meeting.created session.started participant.joined" {
			t.Errorf("%d panics, told %q", panics, got)
		}
		if got := rooms.take(); !slices.Contains(got, "resync standup") {
			t.Errorf("rooms were told %q, want a resync", got)
		}
	})
}

func TestTrackerLoadsWhatWasOpen(t *testing.T) {
	came := time.Date(1999, 12, 31, 23, 0, 0, 0, time.UTC) // an hour before the bubble's time begins
	live := meeting.Meeting{
		ID: "mtg_1", Room: "standup", Version: 3, Session: meeting.Session{SessionInfo: meeting.SessionInfo{ID: "ses_1", StartedAt: meeting.Time{Time: came}}},
		People: []meeting.Participant{{Person: meeting.Person{ID: "prt_1", SessionID: "ses_1", Kind: meeting.KindHuman}, ArrivedAt: came, Connections: []meeting.Occupant{{Nick: "aa"}}}},
	}
	ended := meeting.Meeting{ID: "mtg_2", Room: "old", Version: 9, EndedAt: time.Unix(1, 0)}
	store := &fakeStore{open: []meeting.Meeting{live, ended}}
	_ = tracking(t, store, tracker.Options{}, func(t *testing.T, tr *tracker.Tracker, rooms *fakeRooms) {
		got := rooms.take()
		slices.Sort(got)
		want := []string{fmt.Sprintf("want old %d", meeting.WantClosed), fmt.Sprintf("want standup %d", meeting.WantRegain)}
		if !slices.Equal(got, want) {
			t.Errorf("rooms were told %q, want %q", got, want)
		}
		if m, _ := tr.Room("standup"); !m.StaleSince.Equal(came) || m.Occupancy().Humans != 1 {
			t.Errorf("meeting is %+v, want stale since %v with one human", m, came)
		}
	})
}

func TestTrackerTakesCommandsOnceTheStoreAnswersAgain(t *testing.T) {
	store := &fakeStore{refuse: 3}
	_ = tracking(t, store, tracker.Options{}, func(t *testing.T, tr *tracker.Tracker, _ *fakeRooms) {
		time.Sleep(time.Second)
		create(t, tr, meeting.Created{Room: "standup"}) // fails while the store is taken to be down

		tries := 0
		store.failWith(func(meeting.Commit) error {
			if tries++; tries == 1 {
				return fmt.Errorf("%w: down", meeting.ErrUnavailable)
			}
			return &meeting.ExistsError{ID: "mtg_1"}
		})
		if _, err := tr.Create(t.Context(), meeting.Created{Room: "standup"}); !errors.As(err, new(*meeting.ExistsError)) {
			t.Errorf("a second meeting for the room: %v, want ExistsError", err)
		}
		store.failWith(nil)
		create(t, tr, meeting.Created{Room: "retro"})
	})
}

func TestTrackerNextMeetingOfARoomIsFollowed(t *testing.T) {
	var tr *tracker.Tracker
	// The room is free once the end of its first meeting is stored.
	again := func(c meeting.Commit, _ time.Duration) {
		if c.Meeting.Closed {
			_, _ = tr.Create(context.Background(), meeting.Created{Room: "standup"})
		}
	}
	_ = tracking(t, &fakeStore{}, tracker.Options{Committed: again}, func(t *testing.T, tracker *tracker.Tracker, rooms *fakeRooms) {
		tr = tracker
		m := create(t, tr, meeting.Created{Room: "standup"})
		if _, err := tr.Do(t.Context(), m.ID, meeting.Ended{Reason: meeting.EndRequested}); err != nil {
			t.Fatal(err)
		}
		tr.Observe("standup", time.Now(), meeting.RoomGone{Reason: meeting.LeftDestroyed})
		synctest.Wait()
		got := rooms.take()
		if want := fmt.Sprintf("want standup %d", meeting.WantFollow); got[len(got)-1] != want {
			t.Errorf("rooms were told %q, want %q last", got, want)
		}
	})
}

func TestTrackerDoesNotFloodRoomsOverAChangeThatFailsEachTime(t *testing.T) {
	for name, fail := range map[string]func(meeting.Commit) error{
		"refused": func(meeting.Commit) error { return errors.New("store: WRONGTYPE") },
		"panic":   func(meeting.Commit) error { panic("a bug") },
	} {
		t.Run(name, func(t *testing.T) {
			store := &fakeStore{}
			_ = tracking(t, store, tracker.Options{}, func(t *testing.T, tr *tracker.Tracker, rooms *fakeRooms) {
				create(t, tr, meeting.Created{Room: "standup"})
				rooms.take()
				rooms.resync = func() { see(tr, "aa") }
				store.failWith(fail)
				see(tr, "aa")
				time.Sleep(10 * time.Second)
				if n := len(rooms.take()); n < 5 || n > 15 {
					t.Errorf("%d resyncs in 10 s, want about one a second", n)
				}
			})
		})
	}
}

func TestTrackerTriesADeadlineAgainThatCouldNotBeKept(t *testing.T) {
	store := &fakeStore{}
	_ = tracking(t, store, tracker.Options{}, func(t *testing.T, tr *tracker.Tracker, _ *fakeRooms) {
		create(t, tr, meeting.Created{Room: "standup", Limits: meeting.Limits{EndAt: time.Now().Add(time.Minute)}})
		store.failWith(func(meeting.Commit) error { return errors.New("store: WRONGTYPE") })
		time.Sleep(time.Minute + time.Second)
		store.failWith(nil)
		time.Sleep(5 * time.Second)
		if m, _ := tr.Room("standup"); m.State() != meeting.StateEnded {
			t.Errorf("meeting is %s after its end, want ended", m.State())
		}
	})
}

func TestTrackerChangesNoMeetingThatIsSomebodyElses(t *testing.T) {
	store := &fakeStore{commits: []meeting.Commit{{Meeting: meeting.Meeting{ID: "mtg_1", Room: "standup", Version: 1}}}}
	_ = tracking(t, store, tracker.Options{}, func(t *testing.T, tr *tracker.Tracker, rooms *fakeRooms) {
		// As when its commit has been carried out and the answer is on its way.
		if _, err := tr.Do(t.Context(), "mtg_1", meeting.Ended{}); !errors.Is(err, meeting.ErrUnavailable) || len(store.commits) != 1 {
			t.Errorf("ending it: %v after %d commits, want ErrUnavailable and none", err, len(store.commits)-1)
		}
	})
}

func TestTrackerForgetsAMeetingOnce(t *testing.T) {
	over := meeting.Meeting{ID: "mtg_1", Room: "standup", Version: 5, EndedAt: time.Unix(1, 0), Closed: true}
	store := &fakeStore{commits: []meeting.Commit{{Meeting: over}}}
	_ = tracking(t, store, tracker.Options{}, func(t *testing.T, tr *tracker.Tracker, rooms *fakeRooms) {
		// Another request has forgotten it since this one has read it.
		store.failWith(func(c meeting.Commit) error {
			if c.Whole {
				return nil
			}
			return &meeting.ConflictError{Stored: 0}
		})
		if _, err := tr.Do(t.Context(), "mtg_1", meeting.Ended{Forget: true}); err != nil || len(store.commits) != 1 {
			t.Errorf("forgetting it: %v after %d commits, want nothing written anew", err, len(store.commits)-1)
		}
	})
}

// TestTrackerNamesWhomToKick has a user come back to a meeting that was loaded,
// as after a restart.
func TestTrackerNamesWhomToKick(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	loaded := apply(t, meeting.Meeting{}, now, meeting.Created{Room: "standup"})
	loaded = apply(t, loaded, now, meeting.Removed{UserID: "u1", Reason: "noise"})
	store := &fakeStore{open: []meeting.Meeting{loaded}}
	err := tracking(t, store, tracker.Options{}, func(t *testing.T, tr *tracker.Tracker, rooms *fakeRooms) {
		ada := func(nick string) meeting.Seen {
			return meeting.Seen{Occupant: meeting.Occupant{Nick: nick, JID: nick + "@meet.jitsi/1", Kind: meeting.KindHuman, UserID: "u1"}}
		}
		step := func(want string, inputs ...meeting.Input) {
			t.Helper()
			rooms.take()
			for _, f := range inputs {
				tr.Observe("standup", time.Now(), f)
			}
			synctest.Wait()
			got := slices.DeleteFunc(rooms.take(), func(call string) bool { return call[:7] != "put out" })
			if last := append(got, "nothing")[max(0, len(got)-1)]; last != want {
				t.Errorf("after %v rooms hear %q, want it to end with %q", inputs, got, want)
			}
		}
		see(tr, "guest")
		step("put out standup [{aa noise}]", ada("aa"))
		// Gone and back under the same nick, in one commit perhaps: named again.
		step("put out standup [{aa noise}]", meeting.Gone{Nick: "aa"}, ada("aa"))
		step("put out standup []", meeting.Gone{Nick: "aa"})
		step("nothing", meeting.Gone{Nick: "guest"})
	})
	if err != nil {
		t.Error(err)
	}
}
