package meeting

import (
	"cmp"
	"time"
)

// PolicyInfo is a recording policy as apps see it.
type PolicyInfo struct {
	Trigger       Trigger         `json:"trigger" enum:"none,prompt,automatic,automatic-2nd-participant" doc:"When the meeting begins to record by itself; prompt asks people to, in the client"`
	QueueTimeoutS int64           `json:"queue_timeout_s" doc:"Seconds that a recording waits for a recorder before it fails"`
	MaxLengthS    int64           `json:"max_length_s" doc:"A recording ends after this many seconds; 0: no limit"`
	Priority      int             `json:"priority" doc:"Recordings of meetings with a higher one get a recorder first"`
	Modes         []RecordingMode `json:"modes,omitempty" enum:"file,tracks,levels" doc:"What the trigger records; missing: file"`
}

// Info returns the policy as apps see it.
func (p RecordingPolicy) Info() PolicyInfo {
	return PolicyInfo{
		Trigger:       cmp.Or(p.Trigger, TriggerNone),
		QueueTimeoutS: int64(cmp.Or(p.QueueTimeout, QueueTimeout) / time.Second),
		MaxLengthS:    int64(p.MaxLength / time.Second), Priority: p.Priority, Modes: p.Modes,
	}
}

// RecordingStatus is what apps see of a recording as it is stored.
type RecordingStatus struct {
	ID        string `json:"id"` // rec_ and a ULID
	MeetingID string `json:"meeting_id"`
	SessionID string `json:"session_id"` // of the meeting's session that it began in
	// JibriSession is empty until the focus says. Files are found by it.
	JibriSession string          `json:"jibri_session_id,omitempty" doc:"Jibri's own id, once the focus has told"`
	Mode         RecordingMode   `json:"mode" enum:"file,tracks,levels" doc:"file: picture and mixed sound, by a recorder; tracks: each person's own sound, from the video bridges; levels: only who spoke when"`
	State        RecordingState  `json:"state" enum:"requested,queued,starting,recording,stopping,processing,available,failed,aborted"`
	Priority     int             `json:"priority"` // higher goes first
	RequestedAt  Time            `json:"requested_at"`
	StartedAt    Time            `json:"started_at" nullable:"true"` // the focus said on
	StoppedAt    Time            `json:"stopped_at" nullable:"true"` // its recorder had left, or was taken for gone
	SettledAt    Time            `json:"settled_at" nullable:"true" doc:"When it became available, failed or aborted"`
	Failure      RecordingReason `json:"failure,omitempty" enum:"queue_timeout,recorders_busy,no_recorders,live_stream,start_timeout,no_answer,not_allowed,refused,recorder_error,focus_lost,file_missing,hand_over,disk" doc:"What went wrong; one that stopped with an error may still have a file"`
	Detail       string          `json:"detail,omitempty" doc:"More about the failure, for people"`
	Recorder     string          `json:"recorder,omitempty" doc:"The recorder that handed its file over"`
	// InterruptedSince is of recordings from bridges.
	InterruptedSince Time `json:"interrupted_since,omitzero" doc:"Since when no bridge has sent what is said; missing while one does"`
}

// RecordingInfo is a recording as apps see it.
type RecordingInfo struct {
	RecordingStatus
	RequestedBy Requester       `json:"requested_by"`
	QueueReason RecordingReason `json:"queue_reason,omitempty" enum:"recorders_busy,no_recorders,live_stream" doc:"Why it waits"`
	QueueUntil  *Time           `json:"queue_until" doc:"It fails then unless it has a recorder; null while it waits for the end of a live stream"`
	Attempt     int             `json:"attempt" doc:"How often the focus was asked to start it and found a recorder, or failed to"`
	StopReason  RecordingReason `json:"stop_reason,omitempty" enum:"requested,participant,empty,meeting_ended,max_length,recorder,failure,room_gone,stop_not_answered,notice_ended"`
	Files       []FileInfo      `json:"files" nullable:"false"`
	Parts       []RecordingPart `json:"parts,omitempty" doc:"Of a recording from bridges: stretches with files of their own"`
	DeletedAt   *Time           `json:"deleted_at,omitempty"`
}

// MainFile returns the file that stands for the recording, the zero value when
// it has none. When a recorder died and another went on there is more than one,
// and the largest has most of it.
func (r Recording) MainFile() RecordingFile {
	return largest(r.Files, func(f RecordingFile) int64 { return f.Size })
}

// MainFile returns what [Recording.MainFile] does.
func (r RecordingInfo) MainFile() FileInfo {
	return largest(r.Files, func(f FileInfo) int64 { return f.Size })
}

// largest returns the first file of the greatest size.
func largest[F any](files []F, size func(F) int64) (most F) {
	for i, f := range files {
		if i == 0 || size(f) > size(most) {
			most = f
		}
	}
	return most
}

// FileInfo is a file of a recording as apps see it.
type FileInfo struct {
	Name      string  `json:"name" doc:"Name of the file or object"`
	Storage   string  `json:"storage" enum:"file,s3"`
	Bucket    string  `json:"bucket,omitempty"`
	Size      int64   `json:"size" doc:"Bytes"`
	SHA256    string  `json:"sha256"`
	DurationS float64 `json:"duration_s,omitempty" doc:"Seconds; missing when the recorder could not tell"`
	StoredAt  Time    `json:"stored_at"`
	Track     *Track  `json:"track,omitempty" doc:"Whose sound it is, of a recording from bridges; missing for its manifest"`
}

// Info returns the recording as apps see it.
func (r Recording) Info() RecordingInfo {
	info := RecordingInfo{
		RecordingStatus: r.RecordingStatus, RequestedBy: r.By, Attempt: r.Attempts,
		StopReason: r.Stop, Files: []FileInfo{}, Parts: r.Parts, DeletedAt: TimeOrNull(r.Deleted),
	}
	info.Mode = r.Mode.orFile()
	if r.State.waiting() {
		info.QueueReason = r.Waits
		if r.Waits != ReasonStream && !r.Mode.FromBridge() {
			info.QueueUntil = TimeOrNull(r.QueueUntil)
		}
	}
	for _, f := range r.Files {
		info.Files = append(info.Files, FileInfo{
			Name: f.Path, Storage: f.Storage, Bucket: f.Bucket, Size: f.Size, SHA256: f.SHA256,
			DurationS: f.Duration.Seconds(), StoredAt: Time{f.StoredAt}, Track: f.Track,
		})
	}
	return info
}
