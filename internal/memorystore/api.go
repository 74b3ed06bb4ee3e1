package memorystore

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"usher/meeting"
)

// followBlock is how long Follow waits for the log to grow, as in package store.
const followBlock = time.Second

// APIKeys returns all that is stored about API keys, by slot.
func (s *Memory) APIKeys(context.Context) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.apiKeys), nil
}

// AddAPIKey stores a key in the slot and reports whether that was free.
func (s *Memory) AddAPIKey(_ context.Context, slot string, key []byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.apiKeys[slot]; taken {
		return false, nil
	}
	put(&s.apiKeys, slot, key)
	return true, nil
}

// RemoveAPIKey empties the slot if it holds this very key.
func (s *Memory) RemoveAPIKey(_ context.Context, slot string, key []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Equal(s.apiKeys[slot], key) {
		delete(s.apiKeys, slot)
	}
	return nil
}

// Claim stores the value under the name, or returns what is there already.
func (s *Memory) Claim(_ context.Context, name string, value []byte, _ time.Duration) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if there, taken := s.replies[name]; taken {
		return there, nil
	}
	put(&s.replies, name, value)
	return nil, nil
}

// Keep stores the value under the name, whatever is there.
func (s *Memory) Keep(_ context.Context, name string, value []byte, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	put(&s.replies, name, value)
	return nil
}

// Release deletes what is stored under the name.
func (s *Memory) Release(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.replies, name)
	return nil
}

// PutLink stores a join link of the meeting, like store.Redis.PutLink.
func (s *Memory) PutLink(_ context.Context, meetingID, hash string, link []byte, most int) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.meetings[meetingID]; !known {
		return false, meeting.ErrNotFound
	}
	links := s.links[meetingID]
	if _, there := links[hash]; !there && len(links) >= most {
		return false, nil
	}
	put(&links, hash, link)
	put(&s.links, meetingID, links)
	return true, nil
}

// Link returns the meeting's link with the hash, or [meeting.ErrNotFound].
func (s *Memory) Link(_ context.Context, meetingID, hash string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	link, ok := s.links[meetingID][hash]
	if !ok {
		return nil, meeting.ErrNotFound
	}
	return link, nil
}

// Links returns all links of the meeting by hash.
func (s *Memory) Links(_ context.Context, meetingID string) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.links[meetingID]), nil
}

// Recording returns one recording, or [meeting.ErrNotFound].
func (s *Memory) Recording(_ context.Context, id string) (meeting.Recording, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, ok := s.recorded[id]
	if !ok {
		return meeting.Recording{}, meeting.ErrNotFound
	}
	return rec, nil
}

// RecordingOf returns the recording that Jibri knows by this session id, or
// [meeting.ErrNotFound].
func (s *Memory) RecordingOf(_ context.Context, jibriSession string) (meeting.Recording, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rec := range s.recorded {
		if rec.JibriSession == jibriSession && jibriSession != "" {
			return rec, nil
		}
	}
	return meeting.Recording{}, meeting.ErrNotFound
}

// Recordings returns a page of the recordings chosen, like store.Redis.Recordings.
func (s *Memory) Recordings(_ context.Context, f meeting.RecordingFilter, cursor string, limit int) (page []meeting.Recording, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []meeting.Recording
	for _, rec := range s.recorded {
		if f.Matches(rec) {
			all = append(all, rec)
		}
	}
	slices.SortFunc(all, func(a, b meeting.Recording) int {
		return cmp.Or(b.RequestedAt.Compare(a.RequestedAt.Time), cmp.Compare(b.ID, a.ID))
	})
	page, next = cutAfter(all, cursor, limit, func(rec meeting.Recording) string { return rec.ID })
	return page, next, nil
}

// Follow hands over the events that join the event log from now on, like
// store.Redis.Follow.
func (s *Memory) Follow(ctx context.Context, deliver func([]meeting.LogEntry) bool) error {
	s.mu.Lock()
	last := len(s.log)
	s.mu.Unlock()
	var entries []meeting.LogEntry
	for ctx.Err() == nil && deliver(entries) {
		s.mu.Lock()
		if s.grown == nil {
			s.grown = make(chan struct{})
		}
		grown := s.grown
		entries = nil
		for ; last < len(s.log); last++ {
			entries = append(entries, s.entry(last))
		}
		s.mu.Unlock()
		if len(entries) > 0 {
			continue
		}
		pause := time.NewTimer(followBlock)
		select {
		case <-grown:
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
	}
	return nil
}

func (s *Memory) entry(i int) meeting.LogEntry {
	return meeting.LogEntry{ID: strconv.Itoa(i+1) + "-0", Event: s.log[i]}
}
