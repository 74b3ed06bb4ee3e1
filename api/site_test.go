package api

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/meeting"
)

// fakeStore keeps everything in maps and slices, newest last.
type fakeStore struct {
	mu       sync.Mutex
	err      error // answers everything while set
	meetings []meeting.Meeting
	sessions []meeting.Session
	people   []meeting.Participant
}

var (
	_ meeting.Store = (*fakeStore)(nil)
	_ Reads         = (*fakeStore)(nil)
	_ Commands      = (*meeting.Tracker)(nil)
)

func (s *fakeStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func put[T any](list []T, v T, id func(T) string) []T {
	if i := slices.IndexFunc(list, func(o T) bool { return id(o) == id(v) }); i >= 0 {
		list[i] = v
		return list
	}
	return append(list, v)
}

func (s *fakeStore) Commit(_ context.Context, c meeting.Commit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	for _, m := range s.meetings {
		same := m.Room == c.Meeting.Room || m.ExternalID != "" && m.ExternalID == c.Meeting.ExternalID
		if c.From == 0 && same {
			return &meeting.ExistsError{ID: m.ID}
		}
	}
	s.meetings = put(s.meetings, c.Meeting, func(m meeting.Meeting) string { return m.ID })
	for _, v := range c.Sessions {
		s.sessions = put(s.sessions, v, func(v meeting.Session) string { return v.ID })
	}
	for _, v := range c.People {
		s.people = put(s.people, v, func(v meeting.Participant) string { return v.ID })
	}
	return nil
}

func (s *fakeStore) Forget(context.Context, string) error { return nil }

func (s *fakeStore) Open(context.Context) ([]meeting.Meeting, error) { return nil, nil }

func (s *fakeStore) Load(_ context.Context, id string) (meeting.Meeting, error) {
	list, _, err := pick(s, &s.meetings, "", 1, func(m meeting.Meeting) (string, bool) { return m.ID, m.ID == id })
	if err == nil && len(list) == 0 {
		err = meeting.ErrNotFound
	}
	if err != nil {
		return meeting.Meeting{}, err
	}
	return list[0], nil
}

func (s *fakeStore) List(_ context.Context, f meeting.Filter, cursor string, limit int) ([]meeting.Meeting, string, error) {
	return pick(s, &s.meetings, cursor, limit, func(m meeting.Meeting) (string, bool) {
		return m.ID, f.Matches(m)
	})
}

func (s *fakeStore) Sessions(_ context.Context, meetingID, cursor string, limit int) ([]meeting.Session, string, error) {
	return pick(s, &s.sessions, cursor, limit, func(v meeting.Session) (string, bool) { return v.ID, v.MeetingID == meetingID })
}

func (s *fakeStore) Session(_ context.Context, id string) (meeting.Session, error) {
	list, _, err := pick(s, &s.sessions, "", 1, func(v meeting.Session) (string, bool) { return v.ID, v.ID == id })
	if err == nil && len(list) == 0 {
		err = meeting.ErrNotFound
	}
	if err != nil {
		return meeting.Session{}, err
	}
	return list[0], nil
}

func (s *fakeStore) Participants(_ context.Context, sessionID string) ([]meeting.Participant, error) {
	list, _, err := pick(s, &s.people, "", 1000, func(p meeting.Participant) (string, bool) { return p.ID, p.SessionID == sessionID })
	slices.Reverse(list)
	return list, err
}

// pick returns what matches, newest first, from after the cursor's element on.
func pick[T any](s *fakeStore, all *[]T, cursor string, limit int, match func(T) (string, bool)) (list []T, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := ""
	for _, v := range slices.Backward(*all) {
		id, ok := match(v)
		switch {
		case cursor != "":
			if id == cursor {
				cursor = ""
			}
		case ok && len(list) == limit:
			return list, last, s.err
		case ok:
			list, last = append(list, v), id
		}
	}
	return list, "", s.err
}

type noRooms struct{}

func (noRooms) Want(string, meeting.Want) {}
func (noRooms) Resync(string)             {}

const (
	testKey   = "key-0123456789abcdef"
	testToken = "reservation-0123456789"
)

// site is the handler under test with a real tracker behind it.
type site struct {
	t       testing.TB
	store   *fakeStore
	tracker *meeting.Tracker
	handler http.Handler
	metrics *prometheus.Registry
	log     *bytes.Buffer

	expected []string // rooms that Expect was called with
}

// newSite starts a tracker, which ends with the test.
func newSite(t testing.TB) *site {
	t.Helper()
	s := newStandby(t)
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.tracker.Run(ctx, func() { close(ready) }) }()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("tracker ended with %v", err)
		}
	})
	return s
}

// newStandby is a site whose tracker does not run.
func newStandby(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, store: &fakeStore{}, metrics: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	s.tracker = meeting.NewTracker(s.store, noRooms{}, meeting.Options{})
	var err error
	s.handler, err = New(Config{
		Commands: s.tracker, Reads: s.store,
		Keys: []string{"another-key-of-this-site", testKey}, ReservationToken: testToken,
		Expect:  func(room string) { s.expected = append(s.expected, room) },
		Log:     slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics: s.metrics, Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type response struct {
	*httptest.ResponseRecorder
	t testing.TB
}

// do sends a request with the API key; "" sends no body.
func (s *site) do(method, target, body string) response {
	s.t.Helper()
	return s.send(method, target, body, "Bearer "+testKey, "application/json")
}

func (s *site) send(method, target, body, authorization, contentType string) response {
	s.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return response{w, s.t}
}

// into checks the status and decodes the body.
func (r response) into(status int, v any) {
	r.t.Helper()
	if r.Code != status {
		r.t.Fatalf("status = %d, want %d: %s", r.Code, status, r.Body)
	}
	if err := json.Unmarshal(r.Body.Bytes(), v); err != nil {
		r.t.Fatalf("decode %s: %v", r.Body, err)
	}
}

// problem checks that the answer is a complete problem of the status.
func (r response) problem(status int) Problem {
	r.t.Helper()
	var p Problem
	r.into(status, &p)
	if got := r.Header().Get("Content-Type"); got != problemType {
		r.t.Errorf("Content-Type = %q, want %q", got, problemType)
	}
	id := r.Header().Get("X-Request-Id")
	if p.Status != status || p.Title == "" || p.Code == "" || p.RequestID != id || id == "" {
		r.t.Errorf("problem %+v is not complete (X-Request-Id %q)", p, id)
	}
	return p
}

type anyMap = map[string]any

// create makes a meeting and returns it.
func (s *site) create(body string) anyMap {
	s.t.Helper()
	var m anyMap
	s.do("POST", "/v1/meetings", body).into(http.StatusCreated, &m)
	return m
}

// human is somebody in a room.
func human(nick string) meeting.Occupant {
	return meeting.Occupant{Nick: nick, JID: nick + "@meet.jitsi/x", Kind: meeting.KindHuman, Role: meeting.RoleParticipant}
}

// observe lets the tracker see a fact and waits until the store has it.
func (s *site) observe(room string, f meeting.Fact) {
	s.t.Helper()
	before, _ := s.tracker.Room(room)
	s.tracker.Observe(room, time.Now(), f)
	for range 1000 {
		if m, _ := s.tracker.Room(room); m.Version > before.Version {
			return
		}
		time.Sleep(time.Millisecond)
	}
	s.t.Fatalf("nothing came of %#v", f)
}
