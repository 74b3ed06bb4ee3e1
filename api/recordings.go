package api

import (
	"context"
	"errors"
	"net/http"
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

// RecordingReads answers about recordings from the store, like [Reads].
type RecordingReads interface {
	Recording(ctx context.Context, id string) (meeting.Recording, error)
	// RecordingOf returns the recording that Jibri knows by this session id.
	RecordingOf(ctx context.Context, jibriSession string) (meeting.Recording, error)
	Recordings(ctx context.Context, f meeting.RecordingFilter, cursor string, limit int) ([]meeting.Recording, string, error)
}

// newPolicy is what a meeting does about recording by itself, as it comes in.
type newPolicy struct {
	_             struct{} `json:"-" additionalProperties:"false"`
	Trigger       string   `json:"trigger,omitempty" enum:"none,prompt,automatic,automatic-2nd-participant" default:"none" doc:"When the meeting begins to record by itself; prompt asks people to, in the client"`
	QueueTimeoutS int64    `json:"queue_timeout_s,omitempty" minimum:"1" maximum:"86400" default:"1800" doc:"Seconds that a recording waits for a recorder before it fails"`
	MaxLengthS    int64    `json:"max_length_s,omitempty" minimum:"0" maximum:"2678400" doc:"A recording ends after this many seconds; 0: no limit"`
	Priority      int      `json:"priority,omitempty" minimum:"-100" maximum:"100" doc:"Recordings of meetings with a higher one get a recorder first"`
}

func (p newPolicy) policy() meeting.RecordingPolicy {
	return meeting.RecordingPolicy{
		Trigger: meeting.Trigger(p.Trigger), QueueTimeout: duration(p.QueueTimeoutS),
		MaxLength: duration(p.MaxLengthS), Priority: p.Priority,
	}
}

// newRecording is the body that asks for a recording.
type newRecording struct {
	_             struct{} `json:"-" additionalProperties:"false"`
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

func (v *v1) registerRecordings(a huma.API) {
	start := operation(ScopeRecordingsWrite, "start-recording", http.MethodPost, "/v1/meetings/{id}/recordings",
		"Ask for a recording. 202: it is under way, or waits in line; 200: there is one already, which is given",
		http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge)
	start.DefaultStatus = http.StatusAccepted
	start.Responses = map[string]*huma.Response{"200": {
		Description: "There is one already",
		Content: map[string]*huma.MediaType{"application/json": {
			Schema: a.OpenAPI().Components.Schemas.Schema(typeOf[meeting.RecordingInfo](), true, ""),
		}},
	}}
	huma.Register(a, start, v.startRecording)
	huma.Register(a, operation(ScopeMeetingsRead, "list-meeting-recordings", http.MethodGet, "/v1/meetings/{id}/recordings",
		"List the recordings of a meeting", http.StatusNotFound), v.meetingRecordings)
	huma.Register(a, operation(ScopeMeetingsRead, "list-recordings", http.MethodGet, "/v1/recordings",
		"List recordings"), v.listRecordings)
	huma.Register(a, operation(ScopeMeetingsRead, "get-recording", http.MethodGet, "/v1/recordings/{id}",
		"See a recording", http.StatusNotFound), v.getRecording)
	huma.Register(a, operation(ScopeRecordingsWrite, "stop-recording", http.MethodPost, "/v1/recordings/{id}/stop",
		"Stop a recording, or take it out of the queue. One that is over is given as it is", http.StatusNotFound), v.stopRecording)
	remove := operation(ScopeRecordingsWrite, "delete-recording", http.MethodDelete, "/v1/recordings/{id}",
		"Delete a recording that is settled, and its files", http.StatusNotFound, http.StatusConflict)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(a, remove, v.deleteRecording)
	huma.Register(a, operation(ScopeMeetingsRead, "link-recording", http.MethodGet, "/v1/recordings/{id}/download",
		"Get a link to a file of a recording", http.StatusNotFound, http.StatusNotImplemented), v.linkRecording)
	huma.Register(a, operation(ScopeMeetingsRead, "list-recorders", http.MethodGet, "/v1/recorders",
		"List the site's recorders as far as usher sees them"), v.listRecorders)
	huma.Register(a, operation(ScopeMeetingsRead, "list-recording-queue", http.MethodGet, "/v1/recording-queue",
		"List the recordings that wait for a recorder, the next one first"), v.listQueue)
}

func (v *v1) startRecording(ctx context.Context, in *struct {
	ByID
	Body *newRecording
}) (*oneRecording, error) {
	if _, err := v.load(ctx, in.ID); err != nil {
		return nil, v.fail(ctx, err)
	}
	if in.Body == nil {
		in.Body = &newRecording{}
	}
	start := time.Now().Truncate(time.Millisecond) // what the core keeps
	m, err := v.commands.Do(ctx, in.ID, meeting.RecordingWanted{
		By:       meeting.Requester{Type: meeting.ByApp, Name: exchangeOf(ctx).caller.id},
		Priority: in.Body.Priority, NoQueue: in.Body.NoQueue,
		QueueTimeout: durationOf(in.Body.QueueTimeoutS), MaxLength: durationOf(in.Body.MaxLengthS),
	})
	r, active := m.ActiveRecording()
	switch {
	case errors.Is(err, meeting.ErrNotLive), err == nil && !active:
		p := newProblem(http.StatusConflict, "nobody is in the meeting")
		p.Code = "not_live"
		return nil, p
	case err != nil:
		return nil, v.fail(ctx, err)
	case r.RequestedAt.Before(start):
		return &oneRecording{http.StatusOK, r.Info()}, nil
	}
	return &oneRecording{http.StatusAccepted, r.Info()}, nil
}

func durationOf(seconds *int64) *time.Duration {
	if seconds == nil {
		return nil
	}
	d := duration(*seconds)
	return &d
}

func (v *v1) meetingRecordings(ctx context.Context, in *struct {
	ByID
	Paging
}) (*page[meeting.RecordingInfo], error) {
	if _, err := v.load(ctx, in.ID); err != nil {
		return nil, v.fail(ctx, err)
	}
	return v.recordingsPage(ctx, meeting.RecordingFilter{MeetingID: in.ID}, in.Paging)
}

func (v *v1) listRecordings(ctx context.Context, in *struct {
	State     string `query:"state" enum:"requested,queued,starting,recording,stopping,processing,available,failed,aborted"`
	MeetingID string `query:"meeting_id" maxLength:"64"`
	Paging
}) (*page[meeting.RecordingInfo], error) {
	return v.recordingsPage(ctx, meeting.RecordingFilter{State: meeting.RecordingState(in.State), MeetingID: in.MeetingID}, in.Paging)
}

func (v *v1) recordingsPage(ctx context.Context, f meeting.RecordingFilter, p Paging) (*page[meeting.RecordingInfo], error) {
	list, next, err := v.recordings.Recordings(ctx, f, p.Cursor, p.Limit)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return newPage(list, next, meeting.Recording.Info), nil
}

func (v *v1) getRecording(ctx context.Context, in *ByID) (*oneRecording, error) {
	r, err := v.recording(ctx, in.ID)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return &oneRecording{http.StatusOK, r.Info()}, nil
}

// recording reads one for an app. That of a meeting which is being forgotten is
// gone as well; one that has outlived its meeting is not.
func (v *v1) recording(ctx context.Context, id string) (meeting.Recording, error) {
	r, err := v.recordings.Recording(ctx, id)
	if err != nil {
		return meeting.Recording{}, err
	}
	m, err := v.reads.Load(ctx, r.MeetingID)
	switch {
	case errors.Is(err, meeting.ErrNotFound):
		return r, nil
	case err == nil && m.Forgotten:
		return meeting.Recording{}, meeting.ErrNotFound
	}
	return r, err
}

func (v *v1) stopRecording(ctx context.Context, in *ByID) (*oneRecording, error) {
	r, err := v.recording(ctx, in.ID)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	m, err := v.commands.Do(ctx, r.MeetingID, meeting.RecordingStop{ID: r.ID, Reason: meeting.StopRequested})
	if now, ok := m.AtHand(r.ID); ok && err == nil {
		return &oneRecording{http.StatusOK, now.Info()}, nil
	}
	if err != nil && !errors.Is(err, meeting.ErrNotFound) && !errors.Is(err, meeting.ErrEnded) {
		return nil, v.fail(ctx, err)
	}
	return v.getRecording(ctx, in) // over for so long that the meeting has let go of it
}

func (v *v1) deleteRecording(ctx context.Context, in *ByID) (*struct{}, error) {
	r, err := v.recording(ctx, in.ID)
	if err == nil {
		err = v.files.remove(ctx, r)
	}
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return nil, nil
}

func (v *v1) linkRecording(ctx context.Context, in *struct {
	ByID
	File int   `query:"file" minimum:"0" maximum:"1000" doc:"Which of its files, counted from 0"`
	TTLS int64 `query:"ttl_s" minimum:"1" maximum:"43200" default:"3600" doc:"Seconds that the link is good"`
}) (*struct{ Body FileLink }, error) {
	r, err := v.recording(ctx, in.ID)
	if err == nil && (!r.Deleted.IsZero() || in.File >= len(r.Files)) {
		err = meeting.ErrNotFound
	}
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	file := r.Files[in.File]
	url, expires, err := v.files.link(ctx, r, file, duration(in.TTLS))
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return &struct{ Body FileLink }{FileLink{
		URL: url, Name: file.Path, Size: file.Size, SHA256: file.SHA256, ExpiresAt: meeting.Time{Time: expires},
	}}, nil
}
