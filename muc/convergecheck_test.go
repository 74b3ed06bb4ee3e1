package muc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"usher/internal/memorystore"
	"usher/meeting"
	"usher/store"
)

// check says what is wrong with the meeting of a room once all has settled.
func (w *world) check(room string) error {
	m, known := w.tracker.Room(room)
	if !known {
		return fmt.Errorf("%s: the tracker has no meeting", room)
	}
	stored, err := w.store.Load(context.Background(), m.ID)
	if err != nil {
		return err
	}
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(room+": "+format, args...)) }

	there, humans := w.server.people(room), map[string]bool{}
	var recorded []string
	for _, p := range stored.People {
		for _, c := range p.Connections {
			if c.Elsewhere != nil {
				c.UserID = ""
			}
			recorded = append(recorded, c.Nick+" "+c.JID+" "+c.UserID+" "+c.Name)
		}
		if p.Present() {
			humans[p.ID] = true
		}
	}
	slices.Sort(recorded)
	if !slices.Equal(recorded, there) {
		bad("stored are %q, the server has %q", recorded, there)
	}
	if in := w.server.usherIn(room); in != (len(there) > 0) {
		bad("usher in the room: %v, with %d connections of people in it", in, len(there))
	}
	if !stored.StaleSince.IsZero() {
		bad("still stale since %v", stored.StaleSince)
	}
	if live := stored.Session.ID != ""; live != (len(there) > 0) {
		bad("session open: %v, with %d connections of people in the room", live, len(there))
	}
	if stored.Version != m.Version || stored.Seq != m.Seq {
		bad("stored version %d seq %d, at hand %d and %d", stored.Version, stored.Seq, m.Version, m.Seq)
	}
	st, err := w.replay(stored)
	if err != nil {
		bad("event log: %w", err)
	} else if !maps.Equal(st, humans) {
		bad("the event log leaves %v present, stored are %v", st, humans)
	}
	return errors.Join(wrong...)
}

// replay reads the meeting's events as an app does, and returns the ids of
// those it would believe to be present.
func (w *world) replay(m meeting.Meeting) (map[string]bool, error) {
	present, ids, open, seq := map[string]bool{}, map[string]bool{}, "", int64(0)
	peak, came := map[string]int{}, map[string]map[string]bool{}
	for _, n := range w.events(m.ID) {
		seq++
		if n.Seq != seq || ids[n.ID] {
			return nil, fmt.Errorf("event %s has seq %d, want %d and an id of its own", n.Type, n.Seq, seq)
		}
		ids[n.ID] = true
		switch p := n.Data.Participant; n.Type {
		case meeting.SessionStarted:
			if open != "" {
				return nil, fmt.Errorf("seq %d: a session starts in another", seq)
			}
			open, came[n.SessionID] = n.SessionID, map[string]bool{}
		case meeting.SessionEnded:
			if len(present) > 0 || n.SessionID != open {
				return nil, fmt.Errorf("seq %d: session %s ends with %v in, open is %s", seq, n.SessionID, present, open)
			}
			open = ""
		case meeting.ParticipantJoined:
			if present[p.ID] {
				return nil, fmt.Errorf("seq %d: %s joined while in", seq, p.ID)
			}
			present[p.ID], came[n.SessionID][p.ID] = true, true
			peak[n.SessionID] = max(peak[n.SessionID], len(present))
		case meeting.ParticipantLeft:
			if !present[p.ID] {
				return nil, fmt.Errorf("seq %d: %s left while out", seq, p.ID)
			}
			delete(present, p.ID)
		case meeting.ParticipantUpdated:
			if !present[p.ID] {
				return nil, fmt.Errorf("seq %d: %s updated while out", seq, p.ID)
			}
		}
		if n.SessionID != open && n.Type != meeting.SessionEnded {
			return nil, fmt.Errorf("seq %d: %s of session %q while %q is open", seq, n.Type, n.SessionID, open)
		}
		if got := n.Data.Occupancy.Humans; got != len(present) {
			return nil, fmt.Errorf("seq %d: %s tells of %d humans, want %d", seq, n.Type, got, len(present))
		}
	}
	if seq != m.Seq || open != m.Session.ID {
		return nil, fmt.Errorf("log ends at seq %d in session %q, stored are %d and %q", seq, open, m.Seq, m.Session.ID)
	}
	return present, w.sessions(m, peak, came)
}

// sessions compares the stored sessions with what the events told of them.
func (w *world) sessions(m meeting.Meeting, peak map[string]int, came map[string]map[string]bool) error {
	list, _, err := w.store.Sessions(context.Background(), m.ID, "", store.MaxPage)
	if err != nil {
		return err
	}
	if len(list) != len(came) {
		return fmt.Errorf("%d sessions stored, %d told", len(list), len(came))
	}
	for _, s := range list {
		if s.Peak != peak[s.ID] || s.Humans != len(came[s.ID]) {
			return fmt.Errorf("session has peak %d of %d humans, told were %d of %d", s.Peak, s.Humans, peak[s.ID], len(came[s.ID]))
		}
		if open := s.EndedAt.IsZero(); open != (s.ID == m.Session.ID) {
			return fmt.Errorf("session %s open: %v, the meeting's is %q", s.ID, open, m.Session.ID)
		}
	}
	return nil
}

func (w *world) events(id string) []meeting.Event {
	var list []meeting.Event
	for after := ""; ; {
		entries, err := w.store.Events(context.Background(), after, store.MaxPage)
		if err != nil || len(entries) == 0 {
			return list
		}
		for _, e := range entries {
			var n meeting.Event
			if err := json.Unmarshal(e.Event, &n); err != nil {
				panic(err)
			}
			if after = e.ID; n.MeetingID == id {
				list = append(list, n)
			}
		}
	}
}

// faultyStore is a store with one trouble at a time.
type faultyStore struct {
	memorystore.Memory
	mu    sync.Mutex
	fault string
}

const (
	faultRefuses        = "refuses"
	faultStoresSilently = "stores but answers with an error"
	faultHangs          = "hangs"
	faultStoresAndHangs = "stores and hangs"
	// storeTimeout is that of a call to a Redis that hangs.
	storeTimeout = 500 * time.Millisecond
)

func (f *faultyStore) set(fault string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *faultyStore) Commit(ctx context.Context, c meeting.Commit) error {
	fault := f.trouble()
	if fault == "" || fault == faultStoresSilently || fault == faultStoresAndHangs {
		if err := f.Memory.Commit(ctx, c); err != nil {
			return err
		}
	}
	return f.fail(ctx, fault)
}

func (f *faultyStore) Open(ctx context.Context) ([]meeting.Meeting, error) {
	if err := f.fail(ctx, f.trouble()); err != nil {
		return nil, err
	}
	return f.Memory.Open(ctx)
}

func (f *faultyStore) trouble() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fault
}

func (f *faultyStore) fail(ctx context.Context, fault string) error {
	switch fault {
	case "":
		return nil
	case faultHangs, faultStoresAndHangs:
		select {
		case <-ctx.Done():
		case <-time.After(storeTimeout):
		}
	}
	return fmt.Errorf("%w: it %s", meeting.ErrUnavailable, fault)
}
