package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"usher/internal/memorystore"
	"usher/meeting"
	"usher/meeting/tracker"
)

// contract is what both stores offer.
type contract interface {
	tracker.Store
	Over(ctx context.Context, meetings []string) (map[string]bool, error)
	List(ctx context.Context, f meeting.Filter, cursor string, limit int) ([]meeting.Meeting, string, error)
	Sessions(ctx context.Context, meetingID, cursor string, limit int) ([]meeting.Session, string, error)
	Session(ctx context.Context, id string) (meeting.Session, error)
	Participants(ctx context.Context, sessionID string) ([]meeting.Participant, error)
	Recording(ctx context.Context, id string) (meeting.Recording, error)
	RecordingOf(ctx context.Context, jibriSession string) (meeting.Recording, error)
	Recordings(ctx context.Context, f meeting.RecordingFilter, cursor string, limit int) ([]meeting.Recording, string, error)
	Events(ctx context.Context, after string, limit int) ([]meeting.LogEntry, error)
	Claim(ctx context.Context, name string, value []byte, life time.Duration) ([]byte, error)
	Keep(ctx context.Context, name string, value []byte, life time.Duration) error
	Release(ctx context.Context, name string) error
	PutLink(ctx context.Context, meetingID, hash string, link []byte, most int) (bool, error)
	Link(ctx context.Context, meetingID, hash string) ([]byte, error)
	Links(ctx context.Context, meetingID string) (map[string][]byte, error)
	APIKeys(ctx context.Context) (map[string][]byte, error)
	AddAPIKey(ctx context.Context, slot string, key []byte) (bool, error)
	RemoveAPIKey(ctx context.Context, slot string, key []byte) error
	Follow(ctx context.Context, deliver func([]meeting.LogEntry) bool) error
	Ping(ctx context.Context) error
	Lead(ctx context.Context, holder string, led, rewrite func(ctx context.Context) error) error
	Close() error
}

var (
	_ contract = (*Redis)(nil)
	_ contract = (*memorystore.Memory)(nil)
)

// scene is one meeting as the tracker would have it: inputs go through Apply,
// and each makes one commit.
type scene struct {
	t      testing.TB
	m      meeting.Meeting
	now    time.Time
	routes []string // endpoints that get every event
}

var seeds atomic.Uint64

func newScene(t testing.TB, c meeting.Created) (*scene, meeting.Commit) {
	t.Helper()
	s := &scene{t: t, now: time.Now().UTC().Truncate(time.Millisecond)}
	return s, s.apply(c)
}

// apply returns the commit that the input leads to, one second after the last.
func (s *scene) apply(f meeting.Input) meeting.Commit {
	s.t.Helper()
	s.now = s.now.Add(time.Second)
	ev := meeting.TimedInput{At: s.now, Input: f}
	binary.BigEndian.PutUint64(ev.Seed[:], seeds.Add(1)) // ids of one millisecond ascend
	next, fx, err := meeting.Apply(s.m, ev)
	if err != nil {
		s.t.Fatalf("apply %T: %v", f, err)
	}
	c := meeting.Commit{
		Op: meeting.NewID("op_", ev.At, ev.Seed, 0), From: s.m.Version, Meeting: next, Effects: fx,
	}
	for range fx.Events {
		c.Routes = append(c.Routes, s.routes)
	}
	s.m = next
	return c
}

// later lets time pass.
func (s *scene) later(d time.Duration) *scene {
	s.now = s.now.Add(d)
	return s
}

// play commits what the inputs lead to.
func (s *scene) play(store tracker.Store, inputs ...meeting.Input) {
	s.t.Helper()
	for _, f := range inputs {
		commit(s.t, store, s.apply(f))
	}
}

func commit(t testing.TB, store tracker.Store, c meeting.Commit) {
	t.Helper()
	if err := store.Commit(context.Background(), c); err != nil {
		t.Fatalf("commit of version %d: %v", c.Meeting.Version, err)
	}
}

// human is somebody in the room; a user id makes them recognisable.
func human(nick, userID string) meeting.Seen {
	return meeting.Seen{Occupant: meeting.Occupant{
		Nick: nick, JID: nick + "@meet.jitsi/web", Kind: meeting.KindHuman, Role: meeting.RoleParticipant,
		UserID: userID, Name: "Name of " + nick, Audio: meeting.MediaOff,
	}}
}

func raised(nick, userID string) meeting.Seen {
	s := human(nick, userID)
	s.Occupant.HandRaised = 1732330000000
	return s
}

func gone(nick string) meeting.Gone {
	return meeting.Gone{Nick: nick, Reason: meeting.LeftByChoice}
}

// must returns v, failing the test on an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// page is the result of a listing.
type page[T any] struct {
	items []T
	next  string
}

func paged[T any](items []T, next string, err error) (page[T], error) {
	return page[T]{items, next}, err
}

// sameMeeting compares a stored meeting with the one that was committed.
// Recorders that came before any session are not stored.
func sameMeeting(t testing.TB, got, want meeting.Meeting) {
	t.Helper()
	if got, want := string(encode(got)), string(encode(want)); got != want {
		t.Errorf("stored meeting is\n%s, want\n%s", got, want)
	}
	people := slices.DeleteFunc(slices.Clone(want.People), func(p meeting.Participant) bool { return p.SessionID == "" })
	if len(got.People) != len(people) {
		t.Errorf("stored meeting has %d people, want %d", len(got.People), len(people))
		return
	}
	for i := range people {
		if got, want := string(encode(got.People[i])), string(encode(people[i])); got != want {
			t.Errorf("stored person %d is\n%s, want\n%s", i, got, want)
			return
		}
	}
	left := func(m meeting.Meeting) string {
		return string(encode(slices.SortedFunc(slices.Values(m.Left), func(a, b *meeting.Participant) int { return cmp.Compare(a.ID, b.ID) })))
	}
	if got, want := left(got), left(want); got != want {
		t.Errorf("stored as having left are\n%s, want\n%s", got, want)
	}
}

func idsOf(meetings []meeting.Meeting) []string {
	var ids []string
	for _, m := range meetings {
		ids = append(ids, m.ID)
	}
	return ids
}

// said is what the focus says of a recording that Jibri knows by the name.
func said(session, status string) meeting.FocusSaid {
	f := meeting.FocusSays{Here: true, Status: status}
	if session != "" {
		f.Session = "j-" + session
	}
	return meeting.FocusSaid{Focus: f}
}

// file is that a file of the newest such recording was handed over.
func (s *scene) file(session string) meeting.RecordingInput {
	f := meeting.RecordingInput{Kind: meeting.RecordingStored, JibriSession: session, Recorder: "jibri1", Files: []meeting.RecordingFile{
		{Name: "a.mp4", Dir: session, Storage: meeting.StorageFile, Path: session + "/a.mp4", Size: 1},
	}}
	for _, r := range s.m.Recordings {
		if r.JibriSession == session {
			f.Recording = r
		}
	}
	return f
}
