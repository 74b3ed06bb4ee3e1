package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

// change is a field of a body that changes something: absent, null or a value.
// Null reads as the zero value, which takes a limit away.
type change[T any] struct {
	given bool
	value T
}

// UnmarshalJSON notes that the field is there.
func (c *change[T]) UnmarshalJSON(data []byte) error {
	c.given = true
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	return json.Unmarshal(data, &c.value)
}

// Schema gives huma that of a T or null.
func (change[T]) Schema(r huma.Registry) *huma.Schema {
	s := *huma.SchemaFromType(r, reflect.TypeFor[T]())
	s.Nullable = true
	return &s
}

// pointer returns the value for a check; nil when there is none.
func (c change[T]) pointer(isNone bool) *T {
	if !c.given || isNone {
		return nil
	}
	return &c.value
}

// changed returns what the field says as the core wants it; nil: as it is.
func changed[T, V any](c change[T], convert func(T) V) *V {
	if !c.given {
		return nil
	}
	v := convert(c.value)
	return &v
}

// meetingChanges is the body that changes a meeting.
type meetingChanges struct {
	_                 struct{}                  `json:"-" additionalProperties:"false"`
	StartAt           change[time.Time]         `json:"start_at,omitempty" doc:"People are let in from then on; null: at once"`
	EndAt             change[time.Time]         `json:"end_at,omitempty" doc:"The meeting ends by itself then; null: never"`
	MaxDurationS      change[int64]             `json:"max_duration_s,omitempty" minimum:"0" maximum:"2678400" doc:"The meeting ends this many seconds after its first session began; 0 or null: no limit"`
	EmptyTimeoutS     change[int64]             `json:"empty_timeout_s,omitempty" minimum:"0" maximum:"2678400" doc:"The meeting ends after this many seconds without a session; 0 or null: never"`
	DepartureTimeoutS change[int64]             `json:"departure_timeout_s,omitempty" minimum:"1" maximum:"86400" doc:"Seconds that a session stays open after the last human has left; null: 60"`
	MaxParticipants   change[int]               `json:"max_participants,omitempty" minimum:"0" maximum:"10000" doc:"How many people the room takes; 0 or null: the site's own limit. People who are in stay in"`
	Recording         change[newPolicy]         `json:"recording,omitempty" doc:"Replaces what the meeting does about recording by itself; null: nothing"`
	Metadata          change[map[string]string] `json:"metadata,omitempty" maxProperties:"50" doc:"Replaces all that was there; null: none"`
}

var _ huma.ResolverWithPath = (*meetingChanges)(nil)

// Resolve gives huma what is wrong beyond what the schema says. Whether the new
// times fit those that stay, the core knows.
func (b *meetingChanges) Resolve(_ huma.Context, body *huma.PathBuffer) []error {
	check := checks{body: body, now: time.Now()}
	start, end := b.StartAt.pointer(b.StartAt.value.IsZero()), b.EndAt.pointer(b.EndAt.value.IsZero())
	check.startAt(start)
	check.endAt(end, start)
	check.metadata(b.Metadata.value)
	return check.errs
}

func (b *meetingChanges) empty() bool {
	return !b.StartAt.given && !b.EndAt.given && !b.MaxDurationS.given && !b.EmptyTimeoutS.given &&
		!b.DepartureTimeoutS.given && !b.MaxParticipants.given && !b.Metadata.given && !b.Recording.given
}

func (v *v1) patchMeeting(ctx context.Context, in *struct {
	ByID
	IfMatch string `header:"If-Match" maxLength:"64" doc:"Refuse with 412 unless the meeting's settings have this ETag"`
	Body    meetingChanges
}) (*oneMeeting, error) {
	if _, err := v.svc.Load(ctx, in.ID); err != nil {
		return nil, err
	}
	if in.Body.empty() {
		return nil, NewProblem(http.StatusUnprocessableEntity, "nothing to change")
	}
	settings, err := ifMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	at := func(t time.Time) time.Time { return instant(&t) }
	same := func(n int) int { return n }
	return shown(v.svc.Do(ctx, in.ID, meeting.Patched{
		IfSettings: settings,
		StartAt:    changed(in.Body.StartAt, at), EndAt: changed(in.Body.EndAt, at),
		MaxDuration:     changed(in.Body.MaxDurationS, duration),
		EmptyTimeout:    changed(in.Body.EmptyTimeoutS, duration),
		Linger:          changed(in.Body.DepartureTimeoutS, duration),
		MaxParticipants: changed(in.Body.MaxParticipants, same),
		Policy:          changed(in.Body.Recording, newPolicy.policy),
		Metadata:        changed(in.Body.Metadata, func(m map[string]string) map[string]string { return m }),
	}))
}

// etag names the version of the meeting's settings (RFC 9110 §8.8.3). People who
// come and go do not change it, or If-Match would hardly ever hold.
func etag(m meeting.Meeting) string {
	return `"` + strconv.FormatInt(m.Settings(), 10) + `"`
}

// ifMatch returns the version of the settings that an If-Match header asks for (RFC 9110
// §13.1.1), 0 for any. What no meeting's ETag can be, a weak one too, matches
// nothing: [meeting.ErrVersion].
func ifMatch(header string) (int64, error) {
	header = strings.TrimSpace(header)
	if header == "" || header == "*" {
		return 0, nil
	}
	inner, isQuoted := strings.CutPrefix(header, `"`)
	number, isClosed := strings.CutSuffix(inner, `"`)
	version, err := strconv.ParseInt(number, 10, 64)
	if err != nil || version < 1 || !isQuoted || !isClosed {
		return 0, meeting.ErrVersion
	}
	return version, nil
}
