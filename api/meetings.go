package api

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

const (
	// MaxStartAge is how far in the past start_at may lie. A start that is a
	// few hours old is an app that was slow, or a meeting made after the fact;
	// one from last week is a wrong unit or a wrong year.
	MaxStartAge = 24 * time.Hour
	// MaxMetadata, in bytes of keys and values, keeps a meeting's metadata from
	// becoming the bulk of every webhook that carries the meeting.
	MaxMetadata = 16 << 10
)

// newMeeting is the body that makes a meeting. Its limits in length leave room
// in the room's address and in the store's keys.
type newMeeting struct {
	_          struct{}   `json:"-" additionalProperties:"false"`
	Room       string     `json:"room,omitempty" maxLength:"100" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]*$" doc:"Name of the room, made lower case. Missing: a random one that nobody can guess"`
	NamePrefix string     `json:"name_prefix,omitempty" maxLength:"40" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]*$" doc:"Begins the random name, made lower case; not together with room"`
	ExternalID string     `json:"external_id,omitempty" maxLength:"200" doc:"The app's own id. It is unique: making the meeting again answers 409 with the id of the first"`
	StartAt    *time.Time `json:"start_at,omitempty" nullable:"true" doc:"People are let in from then on; missing or null: at once"`
	EndAt      *time.Time `json:"end_at,omitempty" nullable:"true" doc:"The meeting ends by itself then; missing or null: never"`
	// DepartureTimeoutS is the linger of the meeting's sessions.
	DepartureTimeoutS int64             `json:"departure_timeout_s,omitempty" minimum:"1" maximum:"86400" default:"60" doc:"Seconds that a session stays open after the last human has left; long enough for a page reload"`
	Metadata          map[string]string `json:"metadata,omitempty" maxProperties:"50" doc:"The app's own, given back with the meeting; at most 16 KiB"`
}

var _ huma.ResolverWithPath = (*newMeeting)(nil)

// Resolve tells huma what is wrong beyond what the schema says.
func (b *newMeeting) Resolve(_ huma.Context, body *huma.PathBuffer) []error {
	var errs []error
	wrong := func(field, detail string) {
		errs = append(errs, &huma.ErrorDetail{Location: body.With(field), Message: detail})
	}
	now, start, end := time.Now(), instant(b.StartAt), instant(b.EndAt)
	if b.Room != "" && b.NamePrefix != "" {
		wrong("name_prefix", "not together with room")
	}
	if b.StartAt != nil && start.Before(now.Add(-MaxStartAge)) {
		wrong("start_at", "more than a day in the past")
	}
	if b.EndAt != nil {
		switch {
		case !end.After(now):
			wrong("end_at", "must be in the future")
		case b.StartAt != nil && !end.After(start):
			wrong("end_at", "must be after start_at")
		}
	}
	size := 0
	for k, v := range b.Metadata {
		size += len(k) + len(v)
	}
	if size > MaxMetadata {
		wrong("metadata", "too large")
	}
	return errs
}

// instant returns the time as a meeting holds it, zero for none.
func instant(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}

// room returns the name that was asked for, or one with more than 96 random
// bits in letters and digits that no client changes.
func (b *newMeeting) room() string {
	name := b.Room
	if name == "" {
		name = rand.Text()
		if b.NamePrefix != "" {
			name = b.NamePrefix + "-" + name
		}
	}
	return strings.ToLower(name)
}

// oneMeeting is an output of huma's.
type oneMeeting struct{ Body meeting.MeetingInfo }

// createdMeeting is an output of huma's.
type createdMeeting struct {
	Location string `header:"Location"`
	Body     meeting.MeetingInfo
}

func (v *v1) registerMeetings(a huma.API) {
	create := operation("create-meeting", http.MethodPost, "/v1/meetings", "Make a meeting",
		http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge)
	create.DefaultStatus = http.StatusCreated
	huma.Register(a, create, v.createMeeting)
	huma.Register(a, operation("list-meetings", http.MethodGet, "/v1/meetings", "List meetings"), v.listMeetings)
	huma.Register(a, operation("get-meeting", http.MethodGet, "/v1/meetings/{id}", "See a meeting",
		http.StatusNotFound), v.getMeeting)
	huma.Register(a, operation("end-meeting", http.MethodPost, "/v1/meetings/{id}/end",
		"End a meeting for good: everybody out, and nobody in again", http.StatusNotFound), v.endMeeting)
}

func (v *v1) createMeeting(ctx context.Context, in *struct{ Body newMeeting }) (*createdMeeting, error) {
	m, err := v.commands.Create(ctx, meeting.Created{
		Room: in.Body.room(), ExternalID: in.Body.ExternalID, Metadata: in.Body.Metadata,
		Limits: meeting.Limits{
			StartAt: instant(in.Body.StartAt), EndAt: instant(in.Body.EndAt),
			Linger: time.Duration(in.Body.DepartureTimeoutS) * time.Second,
		},
	})
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return &createdMeeting{Location: "/v1/meetings/" + m.ID, Body: m.Info()}, nil
}

func (v *v1) listMeetings(ctx context.Context, in *struct {
	State      string `query:"state" enum:"created,live,ended"`
	ExternalID string `query:"external_id" maxLength:"200"`
	Room       string `query:"room" maxLength:"100"`
	Paging
}) (*page[meeting.MeetingInfo], error) {
	list, next, err := v.reads.List(ctx, meeting.Filter{
		State: meeting.State(in.State), ExternalID: in.ExternalID, Room: strings.ToLower(in.Room),
	}, in.Cursor, in.Limit)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return newPage(list, next, meeting.Meeting.Info), nil
}

func (v *v1) getMeeting(ctx context.Context, in *ByID) (*oneMeeting, error) {
	m, err := v.reads.Load(ctx, in.ID)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return &oneMeeting{Body: m.Info()}, nil
}

// endMeeting may be repeated: a meeting that is over is given as it is.
func (v *v1) endMeeting(ctx context.Context, in *ByID) (*oneMeeting, error) {
	m, err := v.commands.Do(ctx, in.ID, meeting.Ended{Reason: meeting.EndRequested})
	if errors.Is(err, meeting.ErrEnded) {
		m, err = v.reads.Load(ctx, in.ID)
	}
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return &oneMeeting{Body: m.Info()}, nil
}
