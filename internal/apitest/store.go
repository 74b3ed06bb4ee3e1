package apitest

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"usher/internal/memorystore"
	"usher/meeting"
)

// Store is a store in memory that fails as long as a test says so.
type Store struct {
	*memorystore.Memory
	// Spoil is the place of an event that cannot be read.
	Spoil string
	// Listed is how many meetings were listed.
	Listed atomic.Int64

	mu  sync.Mutex
	err error // answers everything while set
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{Memory: new(memorystore.Memory)} }

// Fail lets everything be answered with err from now on; nil: as usual.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *Store) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Commit is Memory's, or fails.
func (s *Store) Commit(ctx context.Context, c meeting.Commit) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.Memory.Commit(ctx, c)
}

// Load is Memory's, or fails.
func (s *Store) Load(ctx context.Context, id string) (meeting.Meeting, error) {
	m, err := s.Memory.Load(ctx, id)
	return m, cmp.Or(s.fault(), err)
}

// List is Memory's, or fails.
func (s *Store) List(ctx context.Context, f meeting.Filter, cursor string, limit int) ([]meeting.Meeting, string, error) {
	list, next, err := s.Memory.List(ctx, f, cursor, limit)
	s.Listed.Add(int64(len(list)))
	return list, next, cmp.Or(s.fault(), err)
}

// Session is Memory's, or fails.
func (s *Store) Session(ctx context.Context, id string) (meeting.Session, error) {
	session, err := s.Memory.Session(ctx, id)
	return session, cmp.Or(s.fault(), err)
}

// Events is Memory's, or fails.
func (s *Store) Events(ctx context.Context, after string, limit int) ([]meeting.LogEntry, error) {
	entries, err := s.Memory.Events(ctx, after, limit)
	for i := range entries {
		if entries[i].ID == s.Spoil {
			entries[i].Event = nil
		}
	}
	return entries, cmp.Or(s.fault(), err)
}

// Follow is Memory's, or fails.
func (s *Store) Follow(ctx context.Context, deliver func([]meeting.LogEntry) bool) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.Memory.Follow(ctx, deliver)
}

// Link is Memory's, or fails.
func (s *Store) Link(ctx context.Context, meetingID, hash string) ([]byte, error) {
	link, err := s.Memory.Link(ctx, meetingID, hash)
	return link, cmp.Or(s.fault(), err)
}

// Recording is Memory's, or fails.
func (s *Store) Recording(ctx context.Context, id string) (meeting.Recording, error) {
	r, err := s.Memory.Recording(ctx, id)
	return r, cmp.Or(s.fault(), err)
}

// RecordingOf is Memory's, or fails.
func (s *Store) RecordingOf(ctx context.Context, jibriSession string) (meeting.Recording, error) {
	r, err := s.Memory.RecordingOf(ctx, jibriSession)
	return r, cmp.Or(s.fault(), err)
}

// Recordings is Memory's, or fails.
func (s *Store) Recordings(ctx context.Context, f meeting.RecordingFilter, cursor string, limit int) ([]meeting.Recording, string, error) {
	list, next, err := s.Memory.Recordings(ctx, f, cursor, limit)
	return list, next, cmp.Or(s.fault(), err)
}

// APIKeys is Memory's, or fails.
func (s *Store) APIKeys(ctx context.Context) (map[string][]byte, error) {
	keys, err := s.Memory.APIKeys(ctx)
	return keys, cmp.Or(s.fault(), err)
}

// Claim is Memory's, or fails.
func (s *Store) Claim(ctx context.Context, name string, value []byte, life time.Duration) ([]byte, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return s.Memory.Claim(ctx, name, value, life)
}

// Panicky is a store with a bug.
type Panicky struct{ *Store }

// Load panics.
func (Panicky) Load(context.Context, string) (meeting.Meeting, error) { panic("a bug") }
