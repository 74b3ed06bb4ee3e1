package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"usher/meeting"
	"usher/meeting/tracker"
)

// toAll routes the events of a meeting's end to n endpoints.
func toAll(n int) (endpoints []string, route func(meeting.Event) []string) {
	for i := range n {
		endpoints = append(endpoints, fmt.Sprint("whk_", i))
	}
	return endpoints, func(e meeting.Event) []string {
		switch e.Type {
		case meeting.ParticipantLeft, meeting.SessionEnded, meeting.MeetingEnded:
			return endpoints
		}
		return nil
	}
}

func crowd(n int) meeting.Roster {
	var r meeting.Roster
	for i := range n {
		r.Occupants = append(r.Occupants, human(fmt.Sprint("n", i), "").Occupant)
	}
	return r
}

// filled makes a meeting with n people.
func filled(t *testing.T, tr *tracker.Tracker, n int) meeting.Meeting {
	t.Helper()
	m, err := tr.Create(t.Context(), meeting.Created{Room: "a"})
	if err != nil {
		t.Fatal(err)
	}
	tr.Observe("a", time.Now(), crowd(n))
	until(t, "all are in", func() bool { m, _ = tr.Room("a"); return len(m.People) == n })
	return m
}

// isWholeEnd checks that a list has the end of a meeting with n people: each left
// once, then the session and the meeting ended, with no number missing.
func isWholeEnd(t *testing.T, r *Redis, endpoint string, m meeting.Meeting, n int) {
	t.Helper()
	list := must(r.ReadQueues(t.Context(), endpoint, []string{m.ID}, 1000))(t)[0]
	left := map[string]bool{}
	for i, body := range list {
		var e meeting.Event
		if err := json.Unmarshal(body, &e); err != nil {
			t.Fatal(err)
		}
		if e.Seq != m.Seq+int64(i)+1 {
			t.Errorf("%s: event %d has seq %d, want %d", endpoint, i, e.Seq, m.Seq+int64(i)+1)
		}
		want := meeting.ParticipantLeft
		switch i {
		case n:
			want = meeting.SessionEnded
		case n + 1:
			want = meeting.MeetingEnded
		}
		if e.Type != want {
			t.Errorf("%s: event %d is %s, want %s", endpoint, i, e.Type, want)
		}
		if p := e.Data.Participant; p != nil {
			if left[p.ID] || p.LeftReason != meeting.LeftDestroyed {
				t.Errorf("%s: %s left again, or with reason %s", endpoint, p.ID, p.LeftReason)
			}
			left[p.ID] = true
		}
	}
	if len(list) != n+2 {
		t.Errorf("%s: %d events of the end, want %d", endpoint, len(list), n+2)
	}
}

// TestLargeEndKeepsTheLease ends a meeting of three hundred people, of which three
// hundred endpoints are to hear, on a real Redis under a leader with the times of
// production: whoever asked gets an answer in time, everything is stored, and the
// lease is not lost meanwhile.
func TestLargeEndKeepsTheLease(t *testing.T) {
	const people, requestTimeout = 300, 12 * time.Second // of package api
	endpoints, route := toAll(300)
	srv := startServer(t)
	r := srv.open()
	if err := r.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	trackers, done := make(chan *tracker.Tracker, 9), make(chan error, 1)
	go func() {
		done <- r.Lead(ctx, "a", func(ctx context.Context) error {
			tr := tracker.New(r, nowhere{}, tracker.Options{Route: route})
			return tr.Run(ctx, func() { trackers <- tr })
		}, nothing)
	}()
	tr := wait(t, trackers)
	m := filled(t, tr, people)

	srv.do("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "1000")
	request, stop := context.WithTimeout(t.Context(), requestTimeout)
	defer stop()
	start := time.Now()
	ended, err := tr.Do(request, m.ID, meeting.Ended{Reason: meeting.EndRequested})
	if err != nil || ended.State() != meeting.StateEnded {
		t.Errorf("ending it: %s, %v", ended.State(), err)
	}
	answered := time.Since(start)
	until(t, "everybody is let go", func() bool { m, _ := tr.Room("a"); return len(m.People) == 0 })
	took := time.Since(start)
	var longest time.Duration
	for _, call := range must(srv.raw.SlowLogGet(t.Context(), 1000).Result())(t) {
		longest = max(longest, call.Duration)
	}
	t.Logf("answered after %v, all stored after %v, the longest call took Redis %v", answered, took, longest)
	for _, endpoint := range []string{endpoints[0], endpoints[299]} {
		isWholeEnd(t, r, endpoint, m, people)
	}
	if len(trackers) > 0 || !tr.Running() {
		t.Errorf("%d further terms, running: %v; want the lease kept", len(trackers), tr.Running())
	}
	cancel()
	if err := wait(t, done); err != nil {
		t.Errorf("Lead = %v", err)
	}
}

// dyingStore is the store of a process that is killed at a commit, before it is
// carried out or before it is answered.
type dyingStore struct {
	*Redis
	left int // commits until then
	lost bool
}

func (s *dyingStore) Commit(ctx context.Context, c meeting.Commit) error {
	s.left--
	if s.left < 0 {
		return meeting.ErrFenced
	}
	err := s.Redis.Commit(ctx, c)
	if s.left == 0 && !s.lost {
		return errors.Join(err, meeting.ErrFenced)
	}
	return err
}

// TestCrashBetweenPartsOfAChange kills the process that ends a large meeting
// between any two of its commits. The next one finishes the end, with nothing
// lost and nothing repeated.
func TestCrashBetweenPartsOfAChange(t *testing.T) {
	const people, parts = 25, 5
	endpoints, route := toAll(1000)
	srv := startServer(t)
	for _, lost := range []bool{true, false} {
		for after := 1; after < parts || after == parts && !lost; after++ {
			t.Run(fmt.Sprintf("after %d, the next is lost: %v", after, lost), func(t *testing.T) {
				r := srv.open()
				dying := &dyingStore{Redis: r, left: 1000, lost: lost}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				run := func(store tracker.Store) (*tracker.Tracker, chan error) {
					tr := tracker.New(store, nowhere{}, tracker.Options{Route: route})
					ready, done := make(chan struct{}), make(chan error, 1)
					go func() { done <- tr.Run(ctx, func() { close(ready) }) }()
					wait(t, ready)
					return tr, done
				}
				tr, done := run(dying)
				m := filled(t, tr, people)
				dying.left = after
				_, _ = tr.Do(t.Context(), m.ID, meeting.Ended{Reason: meeting.EndRequested}) // nobody heard the answer
				if err := wait(t, done); !errors.Is(err, meeting.ErrFenced) {
					t.Fatalf("the first process ended with %v", err)
				}
				half := must(r.Load(t.Context(), m.ID))(t)
				if half.State() != meeting.StateEnded || (half.Session.ID == "") != (after == parts) {
					t.Errorf("stored is a meeting that is %s with session %q, want its end under way but for the last part", half.State(), half.Session.ID)
				}

				next, done := run(r)
				until(t, "everybody is let go", func() bool { m, _ := next.Room("a"); return m.State() == meeting.StateEnded && len(m.People) == 0 })
				for _, endpoint := range []string{endpoints[0], endpoints[999]} {
					isWholeEnd(t, r, endpoint, m, people)
				}
				next.Observe("a", time.Now(), meeting.RoomGone{Reason: meeting.LeftDestroyed})
				until(t, "the meeting is over", func() bool { _, ok := next.Room("a"); return !ok })
				all := must(r.Participants(t.Context(), m.Session.ID))(t)
				if len(all) != people {
					t.Errorf("%d people are stored, want %d", len(all), people)
				}
				for _, p := range all {
					if !p.LeftAt.Equal(half.EndedAt) {
						t.Errorf("%s is stored as having left at %v, want when the meeting ended, %v", p.ID, p.LeftAt, half.EndedAt)
					}
				}
				cancel()
				if err := wait(t, done); err != nil {
					t.Errorf("Run = %v", err)
				}
				srv.do("FLUSHALL") // these are large
			})
		}
	}
}
