package tracker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/meeting/tracker"
)

// slowStore takes its time for each commit and counts those under way.
type slowStore struct {
	fakeStore
	counting      sync.Mutex
	underWay, top int
	order         []string // rooms, as they were committed
}

func (s *slowStore) Commit(ctx context.Context, c meeting.Commit) error {
	s.count(1)
	time.Sleep(time.Millisecond)
	s.count(-1)
	s.counting.Lock()
	s.order = append(s.order, c.Meeting.Room)
	s.counting.Unlock()
	return s.fakeStore.Commit(ctx, c)
}

func (s *slowStore) count(n int) {
	s.counting.Lock()
	defer s.counting.Unlock()
	s.underWay += n
	s.top = max(s.top, s.underWay)
}

// liveMeetings are as many meetings, each with somebody in it.
func liveMeetings(n int) []meeting.Meeting {
	var all []meeting.Meeting
	for i := range n {
		id := fmt.Sprint(i)
		all = append(all, meeting.Meeting{
			ID: "mtg_" + id, Room: "room" + id, Version: 3, Session: meeting.Session{SessionInfo: meeting.SessionInfo{ID: "ses_" + id}},
			People: []meeting.Participant{{Person: meeting.Person{ID: "prt_" + id, SessionID: "ses_" + id, Kind: meeting.KindHuman, UserID: "u" + id}, Connections: []meeting.Occupant{{Nick: "aa"}}}},
		})
	}
	return all
}

// TestTrackerBoundsCommits proves that at the start, when all meetings commit
// at once, few commits are under way at a time, and that commands do not wait
// behind all of them: neither one for a new meeting nor one for a meeting whose
// own commit is in line.
func TestTrackerBoundsCommits(t *testing.T) {
	const meetings, most = 5000, 12
	store := &slowStore{fakeStore: fakeStore{open: liveMeetings(meetings)}}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		tr := tracker.New(store, &fakeRooms{}, tracker.Options{})
		done := make(chan error, 1)
		go func() { done <- tr.Run(ctx, func() {}) }()
		synctest.Wait()
		begin := time.Now()
		create(t, tr, meeting.Created{Room: "new"})
		patched := map[string]string{"a": "b"}
		if _, err := tr.Do(t.Context(), "mtg_4999", meeting.Patched{Metadata: &patched}); err != nil {
			t.Errorf("a change of a meeting in line: %v", err)
		}
		if took := time.Since(begin); took > 20*time.Millisecond {
			t.Errorf("two commands took %v beside %d commits of 1 ms, want them to go ahead", took, meetings)
		}
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if store.top > most {
		t.Errorf("%d commits under way at a time, want %d at most", store.top, most)
	}
	if got := len(store.order); got != meetings+2 {
		t.Errorf("%d commits, want %d", got, meetings+2)
	}
	if i := slices.Index(store.order, "new"); i > 100 {
		t.Errorf("a new meeting was commit %d, want it among the first", i)
	}
}

// TestTrackerRewritesAllMeetings proves that each meeting at hand is stored
// whole again, and apps are told, when the store has lost them.
func TestTrackerRewritesAllMeetings(t *testing.T) {
	open := liveMeetings(20)
	open[0].Recordings = []meeting.Recording{{RecordingStatus: meeting.RecordingStatus{ID: "rec_0", MeetingID: "mtg_0", State: meeting.RecordingProcessing}}}
	open[1].People, open[1].Session, open[1].EndedAt = nil, meeting.Session{}, time.Unix(1, 0) // its room is still to close
	store := &fakeStore{open: open}
	_ = tracking(t, store, tracker.Options{}, func(t *testing.T, tr *tracker.Tracker, _ *fakeRooms) {
		store.commits = nil
		written := map[string]bool{}
		store.failWith(func(c meeting.Commit) error {
			if !c.Whole && !written[c.Meeting.ID] {
				return &meeting.ConflictError{Stored: 0}
			}
			written[c.Meeting.ID] = true
			return nil
		})
		if err := tr.Rewrite(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(store.commits) != len(open) || strings.Count(store.told(), "store.reset") != len(open)-1 {
			t.Errorf("%d commits that tell %q, want one for each of %d meetings, and store.reset but for the one that has ended", len(store.commits), store.told(), len(open))
		}
		for _, c := range store.commits {
			switch {
			case !c.Whole:
				t.Errorf("%s was not written whole", c.Meeting.ID)
			case c.Meeting.ID == "mtg_0" && len(c.Recordings) != 1:
				t.Errorf("%d recordings of %s, want the one that is not settled", len(c.Recordings), c.Meeting.ID)
			case c.Meeting.ID != "mtg_1" && (len(c.People) != 1 || len(c.Sessions) != 1):
				t.Errorf("%d people and %d sessions of %s, want one each", len(c.People), len(c.Sessions), c.Meeting.ID)
			}
		}
	})
}
