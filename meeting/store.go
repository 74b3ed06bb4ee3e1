package meeting

import (
	"context"
	"encoding/json"
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
	// Routes has, for each notice, the webhook endpoints that are to get it.
	Routes [][]string
	// Whole replaces whatever is stored, From unheeded: the store has lost
	// what it once had. Effects.People then holds everybody at hand.
	Whole bool
}

// Store keeps meetings. Its methods are safe for concurrent use.
//
// Every error that may pass when tried again wraps [ErrUnavailable].
type Store interface {
	// Commit stores the change: the meeting, its people and sessions, the
	// notices in the event log and in the lists of endpoints. Other errors: [ErrFenced],
	// [ConflictError], and for a new meeting [ExistsError] when its room or
	// external id is taken, or [RoomHeldError], see [Meeting.RoomHeldUntil].
	Commit(ctx context.Context, c Commit) error
	// Open returns the meetings that are not over (see [Meeting.Over]), each
	// with the people of its open session.
	Open(ctx context.Context) ([]Meeting, error)
	// Forget deletes a meeting that is over, with its sessions and people; one
	// that is not there is no error.
	Forget(ctx context.Context, id string) error
	// Load returns one meeting, with the people of its open session, or
	// [ErrNotFound].
	Load(ctx context.Context, id string) (Meeting, error)
}

// LogEntry is one notice in the store's event log.
type LogEntry struct {
	ID     string          // place in the log, as in 1732330000000-0; ids ascend
	Notice json.RawMessage // JSON of a [Notice], as it was committed
}

// Filter chooses meetings. Empty fields choose all; the others must all hold.
type Filter struct {
	State      State
	ExternalID string
	Room       string
}

// Matches reports whether the meeting is one of those chosen.
func (f Filter) Matches(m Meeting) bool {
	return (f.State == "" || f.State == m.State()) &&
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
