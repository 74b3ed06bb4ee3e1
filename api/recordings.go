package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

// How long a link to a file is good. The tags below repeat it, and a test
// compares.
const (
	// FileLinkTTL is unless asked otherwise: long enough to download it.
	FileLinkTTL = time.Hour
	// MaxFileLinkTTL is at most: too short to be kept.
	MaxFileLinkTTL = 12 * time.Hour
)

// newPolicy is what a meeting does about recording by itself, as it comes in.
type newPolicy struct {
	_             struct{} `json:"-" additionalProperties:"false" nullable:"true"`
	Trigger       string   `json:"trigger,omitempty" enum:"none,prompt,automatic,automatic-2nd-participant" doc:"When the meeting begins to record by itself; prompt asks people to, in the client. Missing: none"`
	QueueTimeoutS int64    `json:"queue_timeout_s,omitempty" minimum:"1" maximum:"86400" doc:"Seconds that a recording waits for a recorder before it fails. Missing: 1800"`
	MaxLengthS    int64    `json:"max_length_s,omitempty" minimum:"0" maximum:"2678400" doc:"A recording ends after this many seconds; 0: no limit"`
	Priority      int      `json:"priority,omitempty" minimum:"-100" maximum:"100" doc:"Recordings of meetings with a higher one get a recorder first"`
	Modes         []string `json:"modes,omitempty" enum:"file,tracks,levels" uniqueItems:"true" maxItems:"3" doc:"What the trigger records; missing: file"`
}

func (p newPolicy) policy() meeting.RecordingPolicy {
	policy := meeting.RecordingPolicy{
		Trigger: meeting.Trigger(p.Trigger), QueueTimeout: duration(p.QueueTimeoutS),
		MaxLength: duration(p.MaxLengthS), Priority: p.Priority,
	}
	for _, mode := range p.Modes {
		policy.Modes = append(policy.Modes, meeting.RecordingMode(mode))
	}
	return policy
}

// newRecording is the body that asks for a recording.
type newRecording struct {
	_             struct{} `json:"-" additionalProperties:"false"`
	Mode          string   `json:"mode,omitempty" enum:"file,tracks,levels" doc:"tracks and levels come from the video bridges: they need no recorder and never wait. Missing: file"`
	Priority      *int     `json:"priority,omitempty" minimum:"-100" maximum:"100" doc:"Missing: the meeting's"`
	QueueTimeoutS *int64   `json:"queue_timeout_s,omitempty" minimum:"1" maximum:"86400" doc:"Seconds to wait for a recorder. Missing: the meeting's"`
	MaxLengthS    *int64   `json:"max_length_s,omitempty" minimum:"0" maximum:"2678400" doc:"It ends after this many seconds; 0: no limit. Missing: the meeting's"`
	NoQueue       bool     `json:"no_queue,omitempty" doc:"Fail at once when no recorder is free"`
}

// oneRecording is an output of huma's.
type oneRecording struct {
	Status int
	Body   meeting.RecordingInfo
}

// FileLink is where a file can be had for a while.
type FileLink struct {
	URL       string       `json:"url" doc:"Needs no key; takes range requests"`
	Name      string       `json:"name"`
	Size      int64        `json:"size" doc:"Bytes"`
	SHA256    string       `json:"sha256"`
	ExpiresAt meeting.Time `json:"expires_at"`
}

func (v *v1) registerRecordings() {
	start := operation(ScopeRecordingsWrite, http.StatusAccepted, "start-recording", "POST /v1/meetings/{id}/recordings",
		"Ask for a recording. 202: it is under way, or waits in line; 200: there is one of the mode already, which is given", http.StatusConflict, http.StatusNotImplemented)
	start.Responses = map[string]*huma.Response{"200": {
		Description: "There is one already",
		Content: map[string]*huma.MediaType{"application/json": {
			Schema: v.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[meeting.RecordingInfo](), true, ""),
		}},
	}}
	handle(v, start, v.startRecording)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-meeting-recordings", "GET /v1/meetings/{id}/recordings",
		"List the recordings of a meeting"), v.meetingRecordings)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-recordings", "GET /v1/recordings",
		"List recordings"), v.listRecordings)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "get-recording", "GET /v1/recordings/{id}",
		"See a recording"), v.getRecording)
	show(v, operation(ScopeRecordingsWrite, http.StatusOK, "stop-recording", "POST /v1/recordings/{id}/stop",
		"Stop a recording, or take it out of the queue. One that is over is given as it is"), v.stopRecording)
	done(v, operation(ScopeRecordingsWrite, http.StatusNoContent, "delete-recording", "DELETE /v1/recordings/{id}",
		"Delete a recording that is settled, and its files", http.StatusConflict), v.deleteRecording)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "link-recording", "GET /v1/recordings/{id}/download",
		"Get a link to a file of a recording", http.StatusNotImplemented), v.linkRecording)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-recorders", "GET /v1/recorders",
		"List the site's recorders as far as usher sees them"), v.listRecorders)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-recording-queue", "GET /v1/recording-queue",
		"List the recordings that wait for a recorder, the next one first"), v.listQueue)
}

func (v *v1) startRecording(ctx context.Context, in *struct {
	ByID
	Body *newRecording
}) (*oneRecording, error) {
	if in.Body == nil {
		in.Body = &newRecording{}
	}
	r, started, err := v.Service.StartRecording(ctx, in.ID, meeting.RecordingWanted{
		By:   meeting.Requester{Type: meeting.ByApp, Name: KeyID(ctx)},
		Mode: meeting.RecordingMode(in.Body.Mode), Priority: in.Body.Priority, NoQueue: in.Body.NoQueue,
		QueueTimeout: durationOf(in.Body.QueueTimeoutS), MaxLength: durationOf(in.Body.MaxLengthS),
	})
	if started {
		return &oneRecording{http.StatusAccepted, r.Info()}, err
	}
	return &oneRecording{http.StatusOK, r.Info()}, err
}

func durationOf(seconds *int64) *time.Duration {
	if seconds == nil {
		return nil
	}
	return new(duration(*seconds))
}

func (v *v1) meetingRecordings(ctx context.Context, in *pageByID) (page Page[meeting.RecordingInfo], err error) {
	if _, err := v.Service.Load(ctx, in.ID); err != nil {
		return page, err
	}
	return v.recordings(ctx, meeting.RecordingFilter{MeetingID: in.ID}, in.Paging)
}

func (v *v1) listRecordings(ctx context.Context, in *struct {
	State     string `query:"state" enum:"requested,queued,starting,recording,stopping,processing,available,failed,aborted"`
	MeetingID string `query:"meeting_id" maxLength:"64"`
	Paging
}) (Page[meeting.RecordingInfo], error) {
	return v.recordings(ctx, meeting.RecordingFilter{State: meeting.RecordingState(in.State), MeetingID: in.MeetingID}, in.Paging)
}

func (v *v1) recordings(ctx context.Context, f meeting.RecordingFilter, p Paging) (Page[meeting.RecordingInfo], error) {
	list, next, err := v.Service.Recordings(ctx, f, p.Cursor, p.Limit)
	return pageOf(list, next, err, meeting.Recording.Info)
}

func (v *v1) getRecording(ctx context.Context, in *ByID) (meeting.RecordingInfo, error) {
	r, err := v.Service.Recording(ctx, in.ID)
	return r.Info(), err
}

func (v *v1) stopRecording(ctx context.Context, in *ByID) (meeting.RecordingInfo, error) {
	r, err := v.Service.StopRecording(ctx, in.ID)
	return r.Info(), err
}

func (v *v1) deleteRecording(ctx context.Context, in *ByID) error {
	r, err := v.Service.Recording(ctx, in.ID)
	if err != nil {
		return err
	}
	return v.Service.RemoveRecording(ctx, r)
}

func (v *v1) linkRecording(ctx context.Context, in *struct {
	ByID
	File int   `query:"file" minimum:"0" maximum:"1000" doc:"Which of its files, counted from 0"`
	TTLS int64 `query:"ttl_s" minimum:"1" maximum:"43200" default:"3600" doc:"Seconds that the link is good"`
}) (FileLink, error) {
	r, err := v.Service.Recording(ctx, in.ID)
	if err == nil && (!r.Deleted.IsZero() || in.File >= len(r.Files)) {
		err = meeting.ErrNotFound
	}
	if err != nil {
		return FileLink{}, err
	}
	file := r.Files[in.File]
	url, expires, err := v.Service.FileLink(ctx, r, file, duration(in.TTLS))
	return FileLink{URL: url, Name: file.Path, Size: file.Size, SHA256: file.SHA256, ExpiresAt: timeOf(expires)}, err
}
