// Package memorystore is a store for tests that is gone with its process. The
// conformance suite of package store compares it with Redis.
package memorystore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"usher/meeting"
)

// Memory keeps what store.Redis keeps, in which nothing expires. No other process
// can share it, so whoever asks leads, and nobody is fenced.
//
// Its methods do what those of Redis do, never fail for want of it, and are safe
// for concurrent use. The zero value is empty and ready.
type Memory struct {
	mu        sync.Mutex
	meetings  map[string]storedMeeting
	sessions  map[string]meeting.Session
	recorded  map[string]meeting.Recording              // by id
	people    map[string]map[string]meeting.Participant // by session, by id
	log       []json.RawMessage
	grown     chan struct{}                           // closed when the log grows; nil: nobody waits for that
	queues    map[string]map[string][]json.RawMessage // by endpoint, by meeting
	forwarded map[string]bool                         // by id of the event
	health    map[string]meeting.Health               // by endpoint
	attempts  map[string][]meeting.Tried              // by endpoint
	dead      map[string][]meeting.Tried              // likewise

	documents        map[string]json.RawMessage // of endpoints
	disabled         map[string]json.RawMessage // why and since when
	endpointsVersion int
	places           int                          // given out in logs of tries
	replies          map[string][]byte            // by name
	apiKeys          map[string][]byte            // by slot
	links            map[string]map[string][]byte // by meeting, by hash of the code
	held             map[string]time.Time         // until when, by room
}

// storedMeeting is a meeting without people, and what a commit checks.
type storedMeeting struct {
	meeting.Meeting
	op string
}

// Commit stores the change. Errors: [meeting.ConflictError],
// [meeting.ExistsError] and [meeting.RoomHeldError].
func (s *Memory) Commit(_ context.Context, c meeting.Commit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := c.Meeting
	stored, known := s.meetings[m.ID]
	switch {
	case known && stored.op == c.Op:
		return nil
	case c.Whole:
	case stored.Version != c.From:
		return &meeting.ConflictError{Stored: stored.Version}
	case !known:
		if err := s.refusesNew(c); err != nil {
			return err
		}
	}
	if stored.HoldsRoom() && !m.HoldsRoom() {
		if until := m.RoomHeldUntil(); until.After(s.held[m.Room]) {
			put(&s.held, m.Room, until)
		}
	}
	m.People = nil
	put(&s.meetings, m.ID, storedMeeting{m, c.Op})
	for _, changed := range c.Sessions {
		put(&s.sessions, changed.ID, changed)
	}
	s.commitPeople(c)
	for _, rec := range c.Recordings {
		rec.Files = slices.Clone(rec.Files)
		put(&s.recorded, rec.ID, rec)
	}
	s.commitEvents(c)
	return nil
}

// refusesNew returns why a meeting that is new cannot be stored, or nil.
func (s *Memory) refusesNew(c meeting.Commit) error {
	if id := s.taken(c.Meeting); id != "" {
		return &meeting.ExistsError{ID: id}
	}
	if until := s.held[c.Meeting.Room]; until.After(time.Now()) && !c.ReuseRoom {
		return &meeting.RoomHeldError{Until: until}
	}
	return nil
}

func (s *Memory) commitEvents(c meeting.Commit) {
	if len(c.Events) > 0 && s.grown != nil {
		close(s.grown)
		s.grown = nil
	}
	for _, n := range c.Events {
		s.log = append(s.log, encode(n))
	}
	for i, endpoints := range c.Routes {
		for _, endpoint := range endpoints {
			s.push(endpoint, c.Meeting.ID, encode(c.Events[i]))
		}
	}
}

func (s *Memory) commitPeople(c meeting.Commit) {
	of := map[string]bool{}
	for _, changed := range c.Sessions {
		of[changed.ID] = true
	}
	for _, p := range c.People {
		of[p.SessionID] = true
	}
	for id := range of {
		if c.Whole {
			maps.DeleteFunc(s.people[id], func(_ string, p meeting.Participant) bool { return p.Present() })
		}
	}
	for _, p := range c.People {
		people := s.people[p.SessionID]
		p.Connections = slices.Clone(p.Connections)
		put(&people, p.ID, p)
		put(&s.people, p.SessionID, people)
	}
}

// taken returns the meeting that has the room of a new one, or its external id.
func (s *Memory) taken(m meeting.Meeting) string {
	for id, other := range s.meetings {
		if other.Room == m.Room && other.HoldsRoom() {
			return id
		}
	}
	for id, other := range s.meetings {
		if other.ExternalID == m.ExternalID && m.ExternalID != "" {
			return id
		}
	}
	return ""
}

// Open returns the meetings that are not both ended and closed, each with the
// people of its open session.
func (s *Memory) Open(context.Context) ([]meeting.Meeting, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []meeting.Meeting
	for _, m := range s.meetings {
		if !m.Meeting.Over() {
			all = append(all, s.withPeople(m))
		}
	}
	slices.SortFunc(all, func(a, b meeting.Meeting) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// Over returns those of the meetings that have both ended and closed, or are not
// there.
func (s *Memory) Over(_ context.Context, meetings []string) (map[string]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := map[string]bool{}
	for _, id := range meetings {
		m, ok := s.meetings[id]
		over[id] = !ok || m.Meeting.Over()
	}
	return over, nil
}

// Load returns one meeting with the people of its open session, or
// [meeting.ErrNotFound].
func (s *Memory) Load(_ context.Context, id string) (meeting.Meeting, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.meetings[id]
	if !ok {
		return meeting.Meeting{}, meeting.ErrNotFound
	}
	return s.withPeople(m), nil
}

func (s *Memory) withPeople(m storedMeeting) meeting.Meeting {
	if m.Session.ID != "" {
		m.People, m.Left = meeting.AtHand(s.everybody(m.Session.ID))
	}
	return m.Meeting
}

// everybody returns the people of a session in the order of joining.
func (s *Memory) everybody(session string) []meeting.Participant {
	people := slices.Collect(maps.Values(s.people[session]))
	for i := range people {
		people[i].Connections = slices.Clone(people[i].Connections)
	}
	slices.SortFunc(people, func(a, b meeting.Participant) int {
		return cmp.Or(a.JoinedAt.Compare(b.JoinedAt.Time), cmp.Compare(a.ID, b.ID))
	})
	return people
}

// List returns a page of the meetings chosen, like store.Redis.List.
func (s *Memory) List(_ context.Context, f meeting.Filter, cursor string, limit int) (page []meeting.Meeting, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []meeting.Meeting
	for _, m := range s.meetings {
		if f.Matches(m.Meeting) {
			all = append(all, s.withPeople(m))
		}
	}
	slices.SortFunc(all, func(a, b meeting.Meeting) int {
		if f.State == meeting.StateEnded && f.Room == "" && f.ExternalID == "" {
			if by := b.EndedAt.Compare(a.EndedAt); by != 0 {
				return by
			}
		}
		return strings.Compare(b.ID, a.ID)
	})
	page, next = cutAfter(all, cursor, limit, func(m meeting.Meeting) string { return m.ID })
	return page, next, nil
}

// Sessions returns a page of a meeting's sessions, newest first, like
// store.Redis.Sessions.
func (s *Memory) Sessions(_ context.Context, meetingID, cursor string, limit int) (page []meeting.Session, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []meeting.Session
	for _, session := range s.sessions {
		if session.MeetingID == meetingID {
			all = append(all, session)
		}
	}
	slices.SortFunc(all, func(a, b meeting.Session) int { return strings.Compare(b.ID, a.ID) })
	page, next = cutAfter(all, cursor, limit, func(s meeting.Session) string { return s.ID })
	return page, next, nil
}

// Session returns one session, or [meeting.ErrNotFound].
func (s *Memory) Session(_ context.Context, id string) (meeting.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, ok := s.sessions[id]
	if !ok {
		return meeting.Session{}, meeting.ErrNotFound
	}
	return session, nil
}

// Participants returns everybody of a session in the order of joining.
func (s *Memory) Participants(_ context.Context, sessionID string) ([]meeting.Participant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.everybody(sessionID), nil
}

// Events returns the events that follow a place in the log, like
// store.Redis.Events.
func (s *Memory) Events(_ context.Context, after string, limit int) ([]meeting.LogEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := 0
	if after != "" {
		if !place.MatchString(after) {
			return nil, fmt.Errorf("%w: %q", ErrCursor, after)
		}
		number, _, _ := strings.Cut(after, "-")
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCursor, err)
		}
		first = min(n, len(s.log))
	}
	var entries []meeting.LogEntry
	for i := first; i < min(first+pageSize(limit), len(s.log)); i++ {
		entries = append(entries, s.entry(i))
	}
	return entries, nil
}

// Ping never fails.
func (s *Memory) Ping(context.Context) error { return nil }

// Lead runs led at once and returns its error.
func (s *Memory) Lead(ctx context.Context, _ string, led, _ func(ctx context.Context) error) error {
	return led(ctx)
}

// Close does nothing.
func (s *Memory) Close() error { return nil }

// Forget deletes everything about a meeting that is over.
func (s *Memory) Forget(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.meetings, id)
	delete(s.links, id)
	for session, v := range s.sessions {
		if v.MeetingID == id {
			delete(s.sessions, session)
			delete(s.people, session)
		}
	}
	for rec, v := range s.recorded {
		if v.MeetingID == id {
			delete(s.recorded, rec)
		}
	}
	return nil
}

// Findings returns nothing.
func (s *Memory) Findings() []string { return nil }

// put sets a value in a map that may not have been made yet.
func put[V any](m *map[string]V, key string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = v
}

// cutAfter returns the page of a sorted list that follows the cursor.
func cutAfter[T any](all []T, cursor string, limit int, id func(T) string) (page []T, next string) {
	if cursor != "" {
		from := 1 + slices.IndexFunc(all, func(v T) bool { return id(v) == cursor })
		if from == 0 { // it has changed its state since
			from = slices.IndexFunc(all, func(v T) bool { return id(v) < cursor })
		}
		if from < 0 {
			return nil, ""
		}
		all = all[from:]
	}
	if limit = pageSize(limit); len(all) > limit {
		return all[:limit], id(all[limit-1])
	}
	return all, ""
}

// ErrCursor refuses a place in the event log that cannot be one.
var ErrCursor = errors.New("memorystore: not a place in the event log")

// maxPage is the most that one call lists, as in package store.
const maxPage = 100

var place = regexp.MustCompile(`^[0-9]{1,19}(-[0-9]{1,19})?$`)

func pageSize(limit int) int { return min(max(limit, 1), maxPage) }

// encode returns v as JSON. The types of package meeting always encode.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("memorystore: encode %T: %v", v, err))
	}
	return b
}
