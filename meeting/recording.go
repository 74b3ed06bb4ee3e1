package meeting

import (
	"cmp"
	"slices"
	"time"
)

// RecordingState is how far a recording has come.
type RecordingState string

// States of a recording, in the order in which it passes through them. From
// each of the first six it may also fail or be aborted.
const (
	RecordingRequested  RecordingState = "requested"  // asked for; a start is tried as soon as it is its turn
	RecordingQueued     RecordingState = "queued"     // no recorder was free; waits in line
	RecordingStarting   RecordingState = "starting"   // the focus was asked, or is about to be
	RecordingOn         RecordingState = "recording"  // the focus says that it records
	RecordingStopping   RecordingState = "stopping"   // it is to end; its recorder has not left yet
	RecordingProcessing RecordingState = "processing" // its recorder has left; its file is awaited
	RecordingAvailable  RecordingState = "available"  // its file is where apps can get it
	RecordingFailed     RecordingState = "failed"     // there is no file, and none is expected
	RecordingAborted    RecordingState = "aborted"    // ended on purpose before it began
)

// Settled reports whether nothing more is expected of a recording in the state.
func (s RecordingState) Settled() bool {
	return s == RecordingAvailable || s == RecordingFailed || s == RecordingAborted
}

// Active reports whether a recording in the state records or is on the way to
// it: a meeting has at most one such of each mode.
func (s RecordingState) Active() bool {
	switch s {
	case RecordingRequested, RecordingQueued, RecordingStarting, RecordingOn:
		return true
	}
	return false
}

// waiting reports whether a recording in the state still has to be started.
func (s RecordingState) waiting() bool { return s == RecordingRequested || s == RecordingQueued }

// RecordingMode is what becomes of what is recorded.
type RecordingMode string

// Modes. Jibri knows live streams as well, which are no recordings: see
// [LiveStream].
const (
	ModeFile   RecordingMode = "file"   // picture and mixed sound, by a recorder
	ModeTracks RecordingMode = "tracks" // each person's own sound, from the bridges
	ModeLevels RecordingMode = "levels" // only who spoke when, from the bridges
)

// RecordingReason says why a recording waits, ended, or has no file.
type RecordingReason string

// Reasons to wait, while queued.
const (
	ReasonBusy       RecordingReason = "recorders_busy" // all record
	ReasonNoRecorder RecordingReason = "no_recorders"   // the site has none that works
	ReasonStream     RecordingReason = "live_stream"    // the meeting is streamed live: one at a time
)

// Reasons to stop.
const (
	StopRequested   RecordingReason = "requested"         // an app asked
	StopParticipant RecordingReason = "participant"       // somebody in the meeting did
	StopEmpty       RecordingReason = "empty"             // the last human left
	StopMeetingEnd  RecordingReason = "meeting_ended"     //
	StopMaxLength   RecordingReason = "max_length"        //
	StopRecorder    RecordingReason = "recorder"          // it stopped by itself, without an error
	StopFailure     RecordingReason = "failure"           // see the recording's failure
	StopRoomGone    RecordingReason = "room_gone"         // the room ended
	StopUnconfirmed RecordingReason = "stop_not_answered" // nobody confirmed that it stopped
	StopNotice      RecordingReason = "notice_ended"      // nothing informs people of it any more
)

// onPurpose reports whether somebody wanted the recording to end, so that it must
// not go on.
func (why RecordingReason) onPurpose() bool {
	switch why {
	case StopRequested, StopParticipant, StopEmpty, StopMeetingEnd, StopMaxLength:
		return true
	}
	return false
}

// Reasons for failing.
const (
	FailQueueTimeout RecordingReason = "queue_timeout"  // no recorder became free in time
	FailStartTimeout RecordingReason = "start_timeout"  // none began to record in time
	FailNoAnswer     RecordingReason = "no_answer"      // the focus said nothing
	FailNotAllowed   RecordingReason = "not_allowed"    // the focus does not let usher record
	FailRefused      RecordingReason = "refused"        // the focus took the request for wrong
	FailRecorder     RecordingReason = "recorder_error" // it broke, and no other was free
	FailFocusLost    RecordingReason = "focus_lost"     // the focus restarted and knows nothing of it
	FailFileMissing  RecordingReason = "file_missing"   // no file came in time
	FailHandOver     RecordingReason = "hand_over"      // the file could not be stored; see detail
	FailDisk         RecordingReason = "disk"           // nothing can be written; see detail
)

// Recording is one recording of a meeting, with the files that came of it.
type Recording struct {
	RecordingStatus
	Room string `json:"room"` // of the meeting; names its files
	// GivenUp are the ids that Jibri had for earlier tries to start it. Whatever recorder
	// still comes for one of them has no business in the room.
	GivenUp []string  `json:"given_up,omitempty"`
	Since   time.Time `json:"since"` // of the state
	By      Requester `json:"by"`
	// QueueUntil is when it fails unless a recorder has taken it; NoQueue fails
	// it as soon as none is free.
	QueueUntil time.Time     `json:"queue_until,omitzero"`
	NoQueue    bool          `json:"no_queue,omitempty"`
	MaxLength  time.Duration `json:"max_length,omitempty"` // 0: as long as it likes
	// NotBefore is the earliest time for the next try to start it.
	NotBefore time.Time `json:"not_before,omitzero"`
	// Attempts counts the starts that the focus was asked for, but not those for
	// which no recorder was free.
	Attempts int `json:"attempts"`
	// Restarts counts how often in a row a recorder died and another recording
	// took over, this one included.
	Restarts int `json:"restarts,omitempty"`
	// Doubt is since when nothing vouches that it goes on, zero otherwise.
	Doubt time.Time `json:"doubt,omitzero"`
	// Unknown says that the focus knows nothing of it, so nobody will stop its
	// recorder.
	Unknown bool `json:"unknown,omitempty"`
	// Waits says why it is queued, Stop why it ended or is to.
	Waits RecordingReason `json:"waits,omitempty"`
	Stop  RecordingReason `json:"stop,omitempty"`
	// Deserted says that its recorder stopped because nobody was in the main room.
	Deserted bool            `json:"deserted,omitempty"`
	Files    []RecordingFile `json:"files,omitempty"`
	// Parts are those of a recording from bridges, Notice who informs people of it.
	Parts  []RecordingPart `json:"parts,omitempty"`
	Notice Notice          `json:"notice,omitempty"`
	// Destination is that of the policy under which it was asked for.
	Destination string `json:"destination,omitempty"`
	// Deleted is when an app deleted it; its files are gone, or are going.
	Deleted time.Time `json:"deleted,omitzero"`
}

// RecordingFile is one file of a recording. There is more than one when a
// recorder died and another went on.
type RecordingFile struct {
	Name     string        `json:"name"`    // as the recorder called it
	Dir      string        `json:"dir"`     // name of the recorder's session directory
	Storage  string        `json:"storage"` // "file" or "s3"
	Bucket   string        `json:"bucket,omitempty"`
	Path     string        `json:"path"` // below the recordings' directory, or the object's name
	Size     int64         `json:"size"` // bytes
	SHA256   string        `json:"sha256"`
	Duration time.Duration `json:"duration,omitempty"` // 0: not known
	Recorder string        `json:"recorder"`           // who handed it over
	StoredAt time.Time     `json:"stored_at"`
	// Owner says whose bucket it is in, where the app had brought one along; empty:
	// the site's, or not noted because the file is of an earlier usher.
	Owner FileOwner `json:"owner,omitempty"`
	// Track says whose sound it is, of a recording from bridges; nil for its
	// manifest.
	Track *Track `json:"track,omitempty"`
	// Attendance is the path of a file beside it that says who was in the session
	// when, in the same storage and bucket; empty: there is none.
	Attendance string `json:"attendance,omitempty"`
}

// FileOwner is whose storage a file is in.
type FileOwner string

// Owners of storage.
const (
	OwnerSite FileOwner = "site"
	OwnerApp  FileOwner = "app"
)

// Kinds of storage.
const (
	StorageFile = "file" // a directory that usher may see as well
	StorageS3   = "s3"
)

// Requester is who asked for a recording.
type Requester struct {
	Type RequesterType `json:"type" enum:"app,trigger,participant,restart"`
	Name string        `json:"name,omitempty" doc:"The API key, the trigger, the participant, or the recording that this one continues"`
}

// RequesterType is the kind of a requester.
type RequesterType string

// Requesters.
const (
	ByApp         RequesterType = "app"
	ByTrigger     RequesterType = "trigger"
	ByParticipant RequesterType = "participant" // in the Jitsi client
	ByRestart     RequesterType = "restart"     // a recorder died while people were in
)

// Trigger says when a meeting begins to record by itself.
type Trigger string

// Triggers, with Whereby's names.
const (
	TriggerNone      Trigger = "none"
	TriggerPrompt    Trigger = "prompt"                    // people are asked to, in the client
	TriggerAutomatic Trigger = "automatic"                 // from the first human on
	TriggerSecond    Trigger = "automatic-2nd-participant" // from the second human on
)

// RecordingPolicy is what a meeting does about recording by itself. The zero
// value records nothing unless somebody asks.
type RecordingPolicy struct {
	Trigger Trigger `json:"trigger,omitempty"` // empty: none
	// QueueTimeout is how long a recording waits for a recorder; 0:
	// [QueueTimeout].
	QueueTimeout time.Duration `json:"queue_timeout,omitempty"`
	MaxLength    time.Duration `json:"max_length,omitempty"` // 0: no limit
	Priority     int           `json:"priority,omitempty"`
	// Modes are what the trigger records; empty: a file.
	Modes []RecordingMode `json:"modes,omitempty"`
	// Destination is where an app wants its files, sealed by package api; empty:
	// where the site puts all of them. No app or event ever sees it.
	Destination string `json:"destination,omitempty"`
}

// humans returns from how many humans on the policy records by itself; 0: never.
func (p RecordingPolicy) humans() int {
	switch p.Trigger {
	case TriggerAutomatic:
		return 1
	case TriggerSecond:
		return 2
	}
	return 0
}

// modes returns what the trigger records.
func (p RecordingPolicy) modes() []RecordingMode {
	if len(p.Modes) == 0 {
		return []RecordingMode{ModeFile}
	}
	return p.Modes
}

// FocusSays is what the focus last said about the room's recording. Its zero
// value: the focus is not there, or usher does not know.
type FocusSays struct {
	Here bool `json:"here,omitempty"`
	// Session is Jibri's id of the recording it speaks of, empty if of none;
	// Status is "on" or "off" then.
	Session string `json:"session,omitempty"`
	Status  string `json:"status,omitempty"`
	// Stream says that it is a live stream instead of a recording.
	Stream  bool   `json:"stream,omitempty"`
	Failure string `json:"failure,omitempty"` // "error" or "busy", with off
	// Initiator is the nick of who started or stopped it, if somebody did.
	Initiator string `json:"initiator,omitempty"`
}

// What the focus says (jitsi-xmpp-extensions, RecordingStatus).
const (
	focusOn  = "on"
	focusOff = "off"
)

// FocusSaid is what the focus's presence says now.
type FocusSaid struct{ Focus FocusSays }

// RecordingWanted asks for a recording; if one of the mode is active, that one it
// is. Refused with [ErrNotLive] while no session is open, with [ErrNoBridges] and
// [ErrNoNotice] for a mode that the site does not have, or not now.
type RecordingWanted struct {
	By           Requester
	Mode         RecordingMode  // empty: file
	Priority     *int           // nil: the meeting's
	QueueTimeout *time.Duration // nil: the meeting's
	MaxLength    *time.Duration // nil: the meeting's
	NoQueue      bool
}

func (FocusSaid) input()       {}
func (RecordingWanted) input() {}

// Refusal is what came of asking the focus to start a recording.
type Refusal string

// Refusals.
const (
	RefusedBusy       Refusal = "busy"         // all recorders are busy: queue
	RefusedNone       Refusal = "no_recorders" // there are none: queue
	RefusedNotReady   Refusal = "not_ready"    // the focus or usher is not in the room: again in a moment
	RefusedExists     Refusal = "exists"       // somebody else's start came first: that recording is it
	RefusedNotAllowed Refusal = "not_allowed"  // usher is no moderator in the focus's eyes
	RefusedBroken     Refusal = "broken"       // recorders failed one after another
	RefusedSilent     Refusal = "silent"       // no answer, which may mean anything
	RefusedInvalid    Refusal = "invalid"      // the request was wrong, and would be again
)

// recording returns the place of a recording at hand, or -1.
func (m Meeting) recording(id string) int {
	return slices.IndexFunc(m.Recordings, func(r Recording) bool { return r.ID == id })
}

// firstRecording returns the first recording at hand that is wanted.
func (m Meeting) firstRecording(wanted func(Recording) bool) (Recording, bool) {
	if i := slices.IndexFunc(m.Recordings, wanted); i >= 0 {
		return m.Recordings[i], true
	}
	return Recording{}, false
}

// ActiveRecording returns the recording of the mode that records or is on the way
// to it.
func (m Meeting) ActiveRecording(mode RecordingMode) (Recording, bool) {
	return m.firstRecording(func(r Recording) bool { return r.State.Active() && r.Mode.orFile() == mode.orFile() })
}

// AtHand returns a recording that the meeting has at hand: one that is not
// settled, or was a moment ago.
func (m Meeting) AtHand(id string) (Recording, bool) {
	return m.firstRecording(func(r Recording) bool { return r.ID == id })
}

// ToStart reports whether the focus is to be asked to start a recording to a file, and
// from when on. That holds until there is an answer ([RecordingAccepted],
// [RecordingRefused]), so after a restart of usher it is asked again. Nobody is
// to be asked while the focus is not in the room, or the room cannot be seen.
func (m Meeting) ToStart() (r Recording, from time.Time, ok bool) {
	if !m.Focus.Here || !m.StaleSince.IsZero() || m.deserted() {
		return Recording{}, time.Time{}, false // a recorder leaves an empty main room
	}
	if slices.ContainsFunc(m.Recordings, func(r Recording) bool { return r.State == RecordingStopping && !r.Mode.FromBridge() }) {
		return Recording{}, time.Time{}, false // one after the other: the focus knows one per room
	}
	streams := m.streams()
	r, ok = m.firstRecording(func(r Recording) bool {
		wanted := r.State.waiting() && !streams || r.State == RecordingStarting && r.JibriSession == "" && !r.failing()
		return wanted && !r.Mode.FromBridge()
	})
	return r, r.NotBefore, ok
}

// ToStop returns the recording that the focus is to be asked to stop. It knows
// one per room, so asking may end another one than is meant.
func (m Meeting) ToStop() (Recording, bool) {
	if !m.Focus.Here || m.Focus.streams() || !m.StaleSince.IsZero() || m.State() == StateEnded {
		return Recording{}, false // it would stop the live stream
	}
	return m.firstRecording(func(r Recording) bool {
		its := r.JibriSession != "" && r.JibriSession == m.Focus.Session
		other := r.JibriSession != "" && !its && m.Focus.Status == focusOn
		return r.State == RecordingStopping && !r.Mode.FromBridge() && !r.Unknown && !other && !(its && m.Focus.Status == focusOff)
	})
}

// BeforeInQueue orders recordings that wait for a recorder: by priority, then
// by who asked first. A meeting has one of them at most, so none can take the
// place of others by asking often.
func BeforeInQueue(a, b Recording) int {
	return cmp.Or(
		cmp.Compare(b.Priority, a.Priority),
		a.RequestedAt.Compare(b.RequestedAt.Time),
		cmp.Compare(a.ID, b.ID),
	)
}
