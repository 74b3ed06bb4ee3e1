package storage

import (
	"encoding/json"
	"regexp"
	"time"

	"usher/meeting"
)

// Limits of a report.
const (
	// MaxFiles is the most files of one directory: Jibri writes one, and one more
	// for each time it is started again for the session.
	MaxFiles = 100
	// MaxDetail is the most of an error, in bytes.
	MaxDetail = 2000
	// MaxAttendance is the most of an attendance, in bytes: some thousand people who
	// all mute and unmute a hundred times have that.
	MaxAttendance = 16 << 20
)

// SessionName is what session directories are called: Jibri makes a name of the
// focus's session id, which is letters and digits.
var SessionName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

// Report is what a recorder's host tells usher about a session directory, as JSON
// in a call that is signed ([token.SignCallback]). Everything in it but
// JibriSession may come from a file that a participant had a hand in.
type Report struct {
	Phase Phase `json:"phase"`
	// JibriSession is the name of the session directory.
	JibriSession string `json:"jibri_session_id"`
	// MeetingID and RecordingID are what metadata.json says, if it says so.
	MeetingID   string                  `json:"meeting_id,omitempty"`
	RecordingID string                  `json:"recording_id,omitempty"`
	Files       []meeting.RecordingFile `json:"files,omitempty"`  // with PhaseStored
	Detail      string                  `json:"detail,omitempty"` // with PhaseLost: why
	// Attendance, with PhaseClosed, asks for that of the session; who does not ask
	// takes no answer of that size.
	Attendance bool `json:"attendance,omitempty"`
}

// Phase is how far the hand-over of a directory has come.
type Phase string

// Phases of a hand-over. Each may be reported more than once.
const (
	PhaseClosed Phase = "closed" // the recording is over; the files are being handed over
	PhaseStored Phase = "stored" // they are where apps can get them
	PhaseLost   Phase = "lost"   // they never will be
	// PhaseCheck says nothing: it asks whether a report would be accepted.
	PhaseCheck Phase = "check"
)

// Answer is usher's answer to PhaseClosed, which says what the files are to be
// named after, and to PhaseCheck. The others have none.
type Answer struct {
	RecordingID string    `json:"recording_id,omitempty"`
	MeetingID   string    `json:"meeting_id,omitempty"`
	Room        string    `json:"room,omitempty"`
	StartedAt   time.Time `json:"started_at,omitzero"` // when the recording began
	// Destination, if there is one, is where the files are to go instead of
	// where the recorder's host puts them.
	Destination *meeting.Destination `json:"destination,omitempty"`
	// Attendance is who was in the session when so far, for a file beside the
	// recording's ([meeting.Attendance]); missing where it was not asked for, or is
	// larger than MaxAttendance.
	Attendance json.RawMessage `json:"attendance,omitempty"`
	Usher      string          `json:"usher,omitempty"` // its version, with PhaseCheck
}
