package tracker_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/meeting/tracker"
)

// crowd is n people in the room.
func crowd(n int) meeting.Roster {
	var r meeting.Roster
	for i := range n {
		r.Occupants = append(r.Occupants, meeting.Occupant{Nick: fmt.Sprint("n", i), JID: fmt.Sprint("n", i, "@meet.jitsi/1"), Kind: meeting.KindHuman})
	}
	return r
}

// TestTrackerSplitsLargeChanges has three hundred people come and go at once, of
// whom many endpoints are to hear: each commit is bounded and follows from the one
// before. Who ends such a meeting gets the answer, and the room is closed, as soon
// as the end is stored; apps hear it as if it were one commit.
func TestTrackerSplitsLargeChanges(t *testing.T) {
	const people, bound = 300, 5000 // writes of a commit
	for _, endpoints := range []int{0, 1, 300, 1000} {
		t.Run(fmt.Sprint(endpoints, " endpoints"), func(t *testing.T) {
			store := &fakeStore{}
			route := func(meeting.Event) []string { return make([]string, endpoints) }
			err := tracking(t, store, tracker.Options{Route: route}, func(t *testing.T, tr *tracker.Tracker, rooms *fakeRooms) {
				m := create(t, tr, meeting.Created{Room: "standup"})
				tr.Observe("standup", time.Now(), crowd(people))
				for i := range 20 { // and one by one, while those are being stored
					see(tr, fmt.Sprint("late", i))
				}
				synctest.Wait()
				rooms.take()
				before := len(store.commits)
				blocked := make(chan struct{})
				store.failWith(func(meeting.Commit) error {
					if len(store.commits) > before {
						<-blocked
					}
					return nil
				})
				ended, err := tr.Do(t.Context(), m.ID, meeting.Ended{Reason: meeting.EndRequested})
				if err != nil || ended.State() != meeting.StateEnded {
					t.Errorf("ending it: %s, %v", ended.State(), err)
				}
				if got, want := rooms.take(), fmt.Sprintf("want standup %d", meeting.WantClosed); len(got) == 0 || got[0] != want {
					t.Errorf("rooms were told %q once the end is stored, want %q", got, want)
				}
				close(blocked)
				tr.Observe("standup", time.Now(), meeting.RoomGone{Reason: meeting.LeftDestroyed})
				synctest.Wait()
				if _, ok := tr.Room("standup"); ok {
					t.Error("the meeting is still at hand")
				}
			})
			if err != nil {
				t.Error(err)
			}
			var version, seq int64
			left := map[string]int{}
			for _, c := range store.commits {
				writes := len(c.Events)
				for _, endpoints := range c.Routes {
					writes += len(endpoints)
				}
				// The last event, and two more that close it.
				if most := bound + 3*(1+endpoints); writes > most {
					t.Errorf("a commit of %d writes, want %d at most", writes, most)
				}
				if c.From != version || len(c.Routes) != len(c.Events) {
					t.Errorf("a commit from version %d with routes for %d of %d events, want from %d", c.From, len(c.Routes), len(c.Events), version)
				}
				for _, e := range c.Events {
					if e.Seq != seq+1 {
						t.Errorf("%s has seq %d, want %d", e.Type, e.Seq, seq+1)
					}
					seq = e.Seq
					if e.Type == meeting.ParticipantLeft {
						left[e.Data.Participant.ID]++
					}
				}
				version = c.Meeting.Version
			}
			if n := len(store.commits); endpoints < 2 && n > 10 || endpoints > 100 && n < people*2*endpoints/bound {
				t.Errorf("%d commits", n)
			}
			if len(left) != people+20 || seq != int64(1+1+2*len(left)+1+1) {
				t.Errorf("%d people left, %d events; want %d and each once", len(left), seq, people+20)
			}
		})
	}
}
