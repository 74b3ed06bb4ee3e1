package meeting

import "time"

// Recorder is one Jibri of the site's pool.
type Recorder struct {
	Name   string // its nick in the brewery, which is Jibri's instance id
	Status RecorderStatus
	Since  time.Time // of the status
	// Source is who told: "brewery" or "webhook".
	Source string
}

// RecorderStatus is what a Jibri of the pool can be asked for.
type RecorderStatus string

// Statuses of recorders.
const (
	RecorderIdle      RecorderStatus = "idle"
	RecorderBusy      RecorderStatus = "busy"
	RecorderUnhealthy RecorderStatus = "unhealthy" // its own check failed; the focus does not ask it
	RecorderGone      RecorderStatus = "gone"      // left the brewery a short while ago
)

// HandOver is what the finalize hook of a Jibri tells usher, as JSON, about a
// session directory. Everything in it but Recorder and JibriSession may come
// from a file that a participant had a hand in.
type HandOver struct {
	Phase HandOverPhase `json:"phase"`
	// JibriSession is the name of the session directory.
	JibriSession string `json:"jibri_session_id"`
	// MeetingID and RecordingID are what metadata.json says, if it says so.
	MeetingID   string          `json:"meeting_id,omitempty"`
	RecordingID string          `json:"recording_id,omitempty"`
	Files       []RecordingFile `json:"files,omitempty"`  // with HandOverStored
	Detail      string          `json:"detail,omitempty"` // with HandOverLost: why
}

// HandOverPhase is how far the hand-over of a directory has come.
type HandOverPhase string

// Phases of a hand-over. Each may be told more than once.
const (
	HandOverClosed HandOverPhase = "closed" // the recording is over; the files are being handed over
	HandOverStored HandOverPhase = "stored" // they are where apps can get them
	HandOverLost   HandOverPhase = "lost"   // they never will be
	// HandOverCheck says nothing: it asks whether a call would be accepted.
	HandOverCheck HandOverPhase = "check"
)

// HandOverCheckAnswer is usher's answer to the phase check.
type HandOverCheckAnswer struct {
	Usher string `json:"usher"` // its version
}

// HandOverAnswer is usher's answer to the phase closed: what the files are to be
// named after.
type HandOverAnswer struct {
	RecordingID string    `json:"recording_id"`
	MeetingID   string    `json:"meeting_id"`
	Room        string    `json:"room"`
	StartedAt   time.Time `json:"started_at"` // when the recording began
	// Destination, if there is one, is where the files are to go instead of
	// where the recorder's host puts them.
	Destination *Destination `json:"destination,omitempty"`
}

// Destination is a bucket of S3 that an app brought along. It never shows what
// is in it when printed.
type Destination struct {
	Endpoint  string `json:"endpoint,omitempty"` // empty: Amazon's
	Region    string `json:"region,omitempty"`
	Bucket    string `json:"bucket"`
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

// String keeps the keys out of logs.
func (Destination) String() string { return "destination" }

// GoString keeps the keys out of %#v as well.
func (Destination) GoString() string { return "destination" }
