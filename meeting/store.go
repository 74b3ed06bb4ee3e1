package meeting

import (
	"encoding/json"
	"time"
)

// Commit is one change of one meeting, stored completely or not at all.
type Commit struct {
	// Op names this change. A store that has applied it already says so by
	// succeeding without doing it again, so a commit may be repeated.
	Op string
	// From is the version the change was made from, 0 for a new meeting. The
	// store refuses with [ConflictError] when it holds another.
	From    int64
	Meeting Meeting
	Effects
	// Routes has, for each event, the webhook endpoints that are to get it.
	Routes [][]string
	// Whole replaces whatever is stored, From unheeded: the store has lost
	// what it once had. Effects.People then holds everybody at hand.
	Whole bool
}

// AsWhole returns the commit as one that needs nothing of what was stored before.
func (c Commit) AsWhole() Commit {
	c.Whole = true
	all := Effects{Recordings: c.Meeting.Recordings}
	for _, p := range c.Meeting.People {
		if p.SessionID != "" {
			all.People = append(all.People, p)
		}
	}
	for _, p := range c.Meeting.Left {
		all.People = append(all.People, *p)
	}
	if c.Meeting.Session.ID != "" {
		all.Sessions = []Session{c.Meeting.Session}
	}
	c.Effects.Add(all)
	return c
}

// LogEntry is one event in the store's event log.
type LogEntry struct {
	ID    string          // place in the log, as in 1732330000000-0; ids ascend
	Event json.RawMessage // JSON of a [Event], as it was committed
}

// Filter chooses meetings. Empty fields choose all; the others must all hold.
type Filter struct {
	State      State
	ExternalID string
	Room       string
	// Created at the earliest, and before.
	CreatedAfter, CreatedBefore time.Time
	Metadata                    map[string]string // the meeting's has all of these
}

// Matches reports whether the meeting is one of those chosen.
func (f Filter) Matches(m Meeting) bool {
	for key, value := range f.Metadata {
		if has, there := m.Metadata[key]; !there || has != value {
			return false
		}
	}
	return (f.State == "" || f.State == m.State()) &&
		!m.CreatedAt.Before(f.CreatedAfter) && (f.CreatedBefore.IsZero() || m.CreatedAt.Before(f.CreatedBefore)) &&
		(f.ExternalID == "" || f.ExternalID == m.ExternalID) &&
		(f.Room == "" || f.Room == m.Room)
}

// RecordingFilter chooses recordings. Empty fields choose all; the others must
// all hold.
type RecordingFilter struct {
	MeetingID string
	State     RecordingState
}

// Matches reports whether the recording is one of those chosen.
func (f RecordingFilter) Matches(r Recording) bool {
	return (f.MeetingID == "" || f.MeetingID == r.MeetingID) && (f.State == "" || f.State == r.State)
}
