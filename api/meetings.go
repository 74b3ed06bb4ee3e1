package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
	"usher/token"
)

const (
	// MaxStartAge is how far in the past start_at may lie. A start that is a
	// few hours old is an app that was slow, or a meeting made after the fact;
	// one from last week is a wrong unit or a wrong year.
	MaxStartAge = 24 * time.Hour
	// MaxMetadata is in bytes of keys and values; it keeps a meeting's metadata from
	// becoming the bulk of every webhook that carries the meeting.
	MaxMetadata = 16 << 10
)

// newMeeting is the body that makes a meeting. Its limits in length leave room
// in the room's address and in the store's keys.
type newMeeting struct {
	_          struct{}   `json:"-" additionalProperties:"false"`
	Room       string     `json:"room,omitempty" maxLength:"100" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]*$" doc:"Name of the room, made lower case. Missing: a random one that nobody can guess"`
	ReuseRoom  bool       `json:"reuse_room,omitempty" doc:"Take the room although tokens of its last meeting may still open it: for a day after the end of one without an end of its own, for 15 minutes after the end of any other, and as long as a token lives that was made for longer"`
	NamePrefix string     `json:"name_prefix,omitempty" maxLength:"40" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]*$" doc:"Begins the random name, made lower case, with hyphens for dots and underscores; not together with room"`
	ExternalID string     `json:"external_id,omitempty" maxLength:"200" doc:"The app's own id. It is unique: making the meeting again answers 409 with the id of the first"`
	StartAt    *time.Time `json:"start_at,omitempty" nullable:"true" doc:"People are let in from then on; missing or null: at once"`
	EndAt      *time.Time `json:"end_at,omitempty" nullable:"true" doc:"The meeting ends by itself then; missing or null: never"`
	// DepartureTimeoutS is the linger of the meeting's sessions.
	DepartureTimeoutS int64             `json:"departure_timeout_s,omitempty" minimum:"1" maximum:"86400" default:"60" doc:"Seconds that a session stays open after the last human has left; long enough for a page reload"`
	MaxDurationS      int64             `json:"max_duration_s,omitempty" minimum:"0" maximum:"2678400" doc:"The meeting ends this many seconds after its first session began; 0: no limit"`
	EmptyTimeoutS     int64             `json:"empty_timeout_s,omitempty" minimum:"0" maximum:"2678400" doc:"The meeting ends after this many seconds without a session; 0: never"`
	MaxParticipants   int               `json:"max_participants,omitempty" minimum:"0" maximum:"10000" doc:"How many people the room takes, where the site lets usher say so; 0: the site's own limit"`
	Recording         newPolicy         `json:"recording,omitempty" doc:"What the meeting does about recording by itself"`
	Metadata          map[string]string `json:"metadata,omitempty" maxProperties:"50" doc:"The app's own, given back with the meeting; at most 16 KiB"`
}

var _ huma.ResolverWithPath = (*newMeeting)(nil)

// Resolve gives huma what is wrong beyond what the schema says.
func (b *newMeeting) Resolve(_ huma.Context, body *huma.PathBuffer) []error {
	check := checks{body: body, now: time.Now()}
	if b.Room != "" && b.NamePrefix != "" {
		check.wrong("name_prefix", "not together with room")
	}
	check.startAt(b.StartAt)
	check.endAt(b.EndAt, b.StartAt)
	check.metadata(b.Metadata)
	return check.errs
}

// checks collect what is wrong with a body beyond its schema.
type checks struct {
	body *huma.PathBuffer
	now  time.Time
	errs []error
}

func (c *checks) wrong(field, detail string) {
	c.errs = append(c.errs, &huma.ErrorDetail{Location: c.body.With(field), Message: detail})
}

func (c *checks) startAt(start *time.Time) {
	if start != nil && instant(start).Before(c.now.Add(-MaxStartAge)) {
		c.wrong("start_at", "more than a day in the past")
	}
}

func (c *checks) endAt(end, start *time.Time) {
	switch {
	case end == nil:
	case !instant(end).After(c.now):
		c.wrong("end_at", "must be in the future")
	case start != nil && !instant(end).After(instant(start)):
		c.wrong("end_at", "must be after start_at")
	}
}

func (c *checks) metadata(m map[string]string) {
	size := 0
	for k, v := range m {
		size += len(k) + len(v)
	}
	if size > MaxMetadata {
		c.wrong("metadata", "too large")
	}
}

// instant returns the time as a meeting holds it, zero for none.
func instant(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}

// room returns the name that was asked for, or one that nobody can guess.
func (b *newMeeting) room() string {
	if b.Room != "" {
		return strings.ToLower(b.Room)
	}
	return token.RoomName(b.NamePrefix)
}

// oneMeeting is an output of huma's.
type oneMeeting struct {
	ETag string `header:"ETag" doc:"Version of the meeting's settings, for If-Match" example:"\"3\""`
	Body meeting.MeetingInfo
}

// createdMeeting is an output of huma's.
type createdMeeting struct {
	Location string `header:"Location" doc:"Path of the meeting"`
	ETag     string `header:"ETag" doc:"Version of the meeting's settings, for If-Match" example:"\"1\""`
	Body     meeting.MeetingInfo
}

func shown(m meeting.Meeting, err error) (*oneMeeting, error) {
	return &oneMeeting{ETag: etag(m), Body: m.Info()}, err
}

func (v *v1) registerMeetings() {
	handle(v, operation(ScopeMeetingsWrite, http.StatusCreated, "create-meeting", "POST /v1/meetings",
		"Make a meeting", http.StatusConflict), v.createMeeting)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-meetings", "GET /v1/meetings", "List meetings"), v.listMeetings)
	handle(v, operation(ScopeMeetingsRead, http.StatusOK, "get-meeting", "GET /v1/meetings/{id}", "See a meeting"), v.getMeeting)
	handle(v, operation(ScopeMeetingsWrite, http.StatusOK, "patch-meeting", "PATCH /v1/meetings/{id}",
		"Change a meeting that is not over: what is missing stays, null takes a limit away",
		http.StatusConflict, http.StatusPreconditionFailed), v.patchMeeting)
	handle(v, operation(ScopeMeetingsWrite, http.StatusOK, "end-meeting", "POST /v1/meetings/{id}/end",
		"End a meeting for good: everybody out, and nobody in again"), v.endMeeting)
	remove := operation(ScopeMeetingsWrite, http.StatusNoContent, "delete-meeting", "DELETE /v1/meetings/{id}",
		"End a meeting and forget everything about it")
	remove.Responses = map[string]*huma.Response{
		"202": {Description: "Not to be seen any more; deleted as soon as its room is gone"},
	}
	handle(v, remove, v.deleteMeeting)
}

func (v *v1) createMeeting(ctx context.Context, in *body[newMeeting]) (*createdMeeting, error) {
	m, err := v.svc.Create(ctx, meeting.Created{
		Room: in.Body.room(), ExternalID: in.Body.ExternalID, Metadata: in.Body.Metadata,
		Policy: in.Body.Recording.policy(), ReuseRoom: in.Body.ReuseRoom,
		Limits: meeting.Limits{
			StartAt: instant(in.Body.StartAt), EndAt: instant(in.Body.EndAt),
			MaxDuration:     duration(in.Body.MaxDurationS),
			EmptyTimeout:    duration(in.Body.EmptyTimeoutS),
			Linger:          duration(in.Body.DepartureTimeoutS),
			MaxParticipants: in.Body.MaxParticipants,
		},
	})
	return &createdMeeting{Location: "/v1/meetings/" + m.ID, ETag: etag(m), Body: m.Info()}, err
}

func duration(seconds int64) time.Duration { return time.Duration(seconds) * time.Second }

func (v *v1) listMeetings(ctx context.Context, in *struct {
	State      string `query:"state" enum:"created,live,ended"`
	ExternalID string `query:"external_id" maxLength:"200"`
	Room       string `query:"room" maxLength:"100"`
	Paging
}) (Page[meeting.MeetingInfo], error) {
	list, next, err := v.svc.List(ctx, meeting.Filter{
		State: meeting.State(in.State), ExternalID: in.ExternalID, Room: strings.ToLower(in.Room),
	}, in.Cursor, in.Limit)
	return pageOf(list, next, err, meeting.Meeting.Info)
}

func (v *v1) getMeeting(ctx context.Context, in *ByID) (*oneMeeting, error) {
	return shown(v.svc.Load(ctx, in.ID))
}

func (v *v1) endMeeting(ctx context.Context, in *ByID) (*oneMeeting, error) {
	return shown(v.svc.End(ctx, in.ID))
}

func (v *v1) deleteMeeting(ctx context.Context, in *ByID) (*struct{ Status int }, error) {
	m, err := v.svc.Do(ctx, in.ID, meeting.Ended{Reason: meeting.EndRequested, Forget: true})
	if m.Closed {
		return &struct{ Status int }{http.StatusNoContent}, err
	}
	return &struct{ Status int }{http.StatusAccepted}, err
}
