package api

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode"

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
	// MaxYear keeps dates within what RFC 3339 and JSON can say in any zone, and
	// after something is added to them.
	MaxYear = 9000
)

// Settings are what an app says about a meeting when it makes one, and may change
// as long as it is not over.
type Settings struct {
	_       struct{} `json:"-" additionalProperties:"false"`
	StartAt *Instant `json:"start_at,omitempty" nullable:"true" doc:"People are let in from then on; null: at once"`
	EndAt   *Instant `json:"end_at,omitempty" nullable:"true" doc:"The meeting ends by itself then; null: never"`
	// DepartureTimeoutS is the linger of the meeting's sessions.
	DepartureTimeoutS int64             `json:"departure_timeout_s,omitempty" nullable:"true" minimum:"1" maximum:"86400" doc:"Seconds that a session stays open after the last human has left; long enough for a page reload. 60 unless an app says otherwise; null: that again"`
	MaxDurationS      int64             `json:"max_duration_s,omitempty" nullable:"true" minimum:"0" maximum:"2678400" doc:"The meeting ends this many seconds after its first session began; 0 or null: no limit"`
	EmptyTimeoutS     int64             `json:"empty_timeout_s,omitempty" nullable:"true" minimum:"0" maximum:"2678400" doc:"The meeting ends after this many seconds without a session; 0 or null: never"`
	MaxParticipants   int               `json:"max_participants,omitempty" nullable:"true" minimum:"0" maximum:"10000" doc:"How many people the room takes, where the site lets usher say so; 0 or null: the site's own limit. People who are in stay in"`
	Recording         newPolicy         `json:"recording,omitempty" doc:"What the meeting does about recording by itself. A change replaces all of it; null: nothing"`
	Metadata          map[string]string `json:"metadata,omitempty" nullable:"true" maxProperties:"50" doc:"The app's own, given back with the meeting; at most 16 KiB of text, without control characters but tabs and line breaks in values. A change replaces all that was there; null: none"`
}

// newMeeting is the body that makes a meeting. Its limits in length leave room
// in the room's address and in the store's keys.
type newMeeting struct {
	_          struct{} `json:"-" additionalProperties:"false"`
	Room       string   `json:"room,omitempty" maxLength:"100" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]*$" doc:"Name of the room, made lower case. Missing: a random one that nobody can guess"`
	ReuseRoom  bool     `json:"reuse_room,omitempty" doc:"Take the room although tokens of its last meeting may still open it: for a day after the end of one without an end of its own, for 15 minutes after the end of any other, and as long as a token lives that was made for longer"`
	NamePrefix string   `json:"name_prefix,omitempty" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" doc:"Begins the random name: made lower case, with a hyphen for what is no letter a-z and no digit, and cut at 40 characters; not together with room"`
	Lobby      bool     `json:"lobby,omitempty" doc:"People wait until a host lets them in, where the site lets usher say so; hosts are those with a host's token or link"`
	ExternalID string   `json:"external_id,omitempty" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" doc:"The app's own id. It is unique: making the meeting again answers 409 with the id of the first"`
	Settings
}

var _, _ huma.ResolverWithPath = (*Settings)(nil), (*newMeeting)(nil)

// Resolve gives huma what is wrong beyond what the schema says. Whether times
// that change fit those that stay, the core knows.
func (s *Settings) Resolve(_ huma.Context, body *huma.PathBuffer) (wrong []error) {
	start, end, now := instant(s.StartAt), instant(s.EndAt), time.Now()
	if s.StartAt != nil && start.Before(now.Add(-MaxStartAge)) {
		wrong = append(wrong, wrongField(body, "start_at", "more than a day in the past"))
	}
	for field, at := range map[string]time.Time{"start_at": start, "end_at": end} {
		if at.Year() > MaxYear {
			wrong = append(wrong, wrongField(body, field, "too far in the future"))
		}
	}
	if s.EndAt != nil && !end.After(now) {
		wrong = append(wrong, wrongField(body, "end_at", "must be in the future"))
	} else if s.EndAt != nil && !end.After(start) {
		wrong = append(wrong, wrongField(body, "end_at", "must be after start_at"))
	}
	size := 0
	for k, v := range s.Metadata {
		size += len(k) + len(v)
		if strings.ContainsFunc(k+lineBreaks.Replace(v), unicode.IsControl) {
			wrong = append(wrong, wrongField(body, "metadata", "holds a control character"))
		}
	}
	if size > MaxMetadata {
		wrong = append(wrong, wrongField(body, "metadata", "too large"))
	}
	return wrong
}

// lineBreaks takes out the control characters that values of metadata may hold.
var lineBreaks = strings.NewReplacer("\t", "", "\r", "", "\n", "")

// Resolve adds to what is wrong with the settings.
func (b *newMeeting) Resolve(c huma.Context, body *huma.PathBuffer) []error {
	wrong := b.Settings.Resolve(c, body)
	if token.Reserved(b.Room) {
		wrong = append(wrong, wrongField(body, "room", "the web server keeps this name for itself, so links would not lead into the room; choose another"))
	}
	if b.Room != "" && b.NamePrefix != "" {
		wrong = append(wrong, wrongField(body, "name_prefix", "not together with room"))
	}
	return wrong
}

func wrongField(body *huma.PathBuffer, field, detail string) error {
	return &huma.ErrorDetail{Location: body.With(field), Message: detail}
}

// limits returns what of the settings bounds the meeting.
func (s *Settings) limits() meeting.Limits {
	return meeting.Limits{
		StartAt: instant(s.StartAt), EndAt: instant(s.EndAt),
		MaxDuration:     duration(s.MaxDurationS),
		EmptyTimeout:    duration(s.EmptyTimeoutS),
		Linger:          duration(s.DepartureTimeoutS),
		MaxParticipants: s.MaxParticipants,
	}
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
		"Make a meeting", http.StatusConflict, http.StatusNotImplemented), v.createMeeting)
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
	limits := in.Body.limits()
	if limits.Lobby = in.Body.Lobby; limits.Lobby && !v.server.ReservationLobby {
		return nil, NewProblem(http.StatusNotImplemented, "usher does not know of a lobby on this site: set USHER_RESERVATION_LOBBY where there is one")
	}
	m, err := v.Service.Create(ctx, meeting.Created{
		Room: in.Body.room(), ExternalID: in.Body.ExternalID, Metadata: in.Body.Metadata, Key: KeyID(ctx),
		Policy: in.Body.Recording.policy(), ReuseRoom: in.Body.ReuseRoom, Limits: limits,
	})
	return &createdMeeting{Location: "/v1/meetings/" + m.ID, ETag: etag(m), Body: m.Info()}, err
}

func duration(seconds int64) time.Duration { return time.Duration(seconds) * time.Second }

func (v *v1) listMeetings(ctx context.Context, in *struct {
	State      string `query:"state" enum:"created,live,idle,ended"`
	ExternalID string `query:"external_id" maxLength:"200"`
	Room       string `query:"room" maxLength:"100"`
	MeetingFilter
	Paging
}) (Page[meeting.MeetingInfo], error) {
	f := in.filter()
	f.State, f.ExternalID, f.Room = meeting.State(in.State), in.ExternalID, strings.ToLower(in.Room)
	list, next, err := v.Service.List(ctx, f, in.Cursor, in.Limit)
	return pageOf(list, next, err, meeting.Meeting.Info)
}

// MeetingFilter is the part of an input that chooses meetings by what any of them
// has.
type MeetingFilter struct {
	CreatedAfter  Instant  `query:"created_after" doc:"Only meetings made then or later"`
	CreatedBefore Instant  `query:"created_before" doc:"Only meetings made before"`
	Metadata      []string `query:"metadata,explode" nullable:"false" maxItems:"10" maxLength:"1000" pattern:"^[^:]+:" doc:"Only meetings with this in their metadata, as key:value; may be there several times, and then all of it" example:"[\"team:red\"]"`
}

func (in *MeetingFilter) filter() meeting.Filter {
	f := meeting.Filter{CreatedAfter: instant(&in.CreatedAfter), CreatedBefore: instant(&in.CreatedBefore)}
	for _, pair := range in.Metadata {
		key, value, _ := strings.Cut(pair, ":")
		if f.Metadata == nil {
			f.Metadata = map[string]string{}
		}
		f.Metadata[key] = value
	}
	return f
}

func (v *v1) getMeeting(ctx context.Context, in *ByID) (*oneMeeting, error) {
	return shown(v.Service.Load(ctx, in.ID))
}

func (v *v1) endMeeting(ctx context.Context, in *ByID) (*oneMeeting, error) {
	return shown(v.Service.End(ctx, in.ID))
}

func (v *v1) deleteMeeting(ctx context.Context, in *ByID) (*struct{ Status int }, error) {
	m, err := v.Service.Do(ctx, in.ID, meeting.Ended{Reason: meeting.EndRequested, Forget: true})
	if m.Closed {
		return &struct{ Status int }{http.StatusNoContent}, err
	}
	return &struct{ Status int }{http.StatusAccepted}, err
}
