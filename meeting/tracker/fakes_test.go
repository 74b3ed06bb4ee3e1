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

// fakeStore records commits and fails as it is told.
type fakeStore struct {
	mu      sync.Mutex
	open    []meeting.Meeting
	commits []meeting.Commit
	fail    func(meeting.Commit) error // nil: store it
	refuse  int                        // how often Open fails first
}

func (s *fakeStore) Commit(_ context.Context, c meeting.Commit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(c); err != nil {
			return err
		}
	}
	s.commits = append(s.commits, c)
	return nil
}

func (s *fakeStore) Open(context.Context) ([]meeting.Meeting, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse > 0 {
		s.refuse--
		return nil, fmt.Errorf("%w: down", meeting.ErrUnavailable)
	}
	return s.open, nil
}

func (s *fakeStore) Forget(context.Context, string) error { return nil }

func (s *fakeStore) Load(_ context.Context, id string) (meeting.Meeting, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range slices.Backward(s.commits) {
		if c.Meeting.ID == id {
			return c.Meeting, nil
		}
	}
	return meeting.Meeting{}, meeting.ErrNotFound
}

func (s *fakeStore) failWith(f func(meeting.Commit) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// told returns the types of all events stored so far.
func (s *fakeStore) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var types []string
	for _, c := range s.commits {
		for _, n := range c.Events {
			types = append(types, string(n.Type))
		}
	}
	return strings.Join(types, " ")
}

// fakeRooms records what meetings want.
type fakeRooms struct {
	mu     sync.Mutex
	calls  []string
	resync func() // nil: no roster comes
}

func (r *fakeRooms) Want(room string, w meeting.DesiredState) {
	r.add(fmt.Sprintf("want %s %d", room, w))
}

func (r *fakeRooms) Evict(room string, who []meeting.Kick) {
	r.add(fmt.Sprintf("put out %s %v", room, who))
}

func (r *fakeRooms) Resync(room string) {
	r.add("resync " + room)
	if r.resync != nil {
		time.AfterFunc(time.Millisecond, r.resync) // what the server takes
	}
}

func (r *fakeRooms) add(call string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
}

func (r *fakeRooms) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

// tracking runs a tracker in virtual time.
func tracking(t *testing.T, store *fakeStore, opts tracker.Options, f func(t *testing.T, tr *tracker.Tracker, rooms *fakeRooms)) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		rooms := &fakeRooms{}
		tr := tracker.New(store, rooms, opts)
		done := make(chan struct{})
		go func() { err = tr.Run(ctx, func() {}); close(done) }()
		synctest.Wait()
		f(t, tr, rooms)
		cancel()
		<-done
	})
	return err
}

// apply returns the meeting after the input, which must not be refused.
func apply(t *testing.T, m meeting.Meeting, at time.Time, f meeting.Input) meeting.Meeting {
	t.Helper()
	m, _, err := meeting.Apply(m, meeting.TimedInput{At: at, Input: f})
	if err != nil {
		t.Fatalf("%#v: %v", f, err)
	}
	return m
}

func create(t *testing.T, tr *tracker.Tracker, c meeting.Created) meeting.Meeting {
	t.Helper()
	m, err := tr.Create(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func see(tr *tracker.Tracker, nick string) {
	tr.Observe("standup", time.Now(), meeting.Seen{Occupant: meeting.Occupant{Nick: nick, JID: nick + "@meet.jitsi/1", Kind: meeting.KindHuman}})
}
