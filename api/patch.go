package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"usher/meeting"
)

// meetingChanges is the body that changes a meeting: null reads as the zero value,
// which takes a limit away, and what is not given stays.
type meetingChanges struct {
	Settings
	given map[string]json.RawMessage
}

// UnmarshalJSON notes which fields are there.
func (c *meetingChanges) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &c.given); err != nil {
		return err
	}
	return json.Unmarshal(data, &c.Settings)
}

// ifGiven returns the value if the body has the field, else nil.
func ifGiven[T any](c meetingChanges, field string, value T) *T {
	if _, is := c.given[field]; !is {
		return nil
	}
	return &value
}

func (v *v1) patchMeeting(ctx context.Context, in *struct {
	ByID
	IfMatch string `header:"If-Match" maxLength:"64" doc:"Refuse with 412 unless the meeting's settings have this ETag"`
	Body    meetingChanges
}) (*oneMeeting, error) {
	if _, err := v.svc.Load(ctx, in.ID); err != nil {
		return nil, err
	}
	if len(in.Body.given) == 0 {
		return nil, NewProblem(http.StatusUnprocessableEntity, "nothing to change")
	}
	settings, err := ifMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	limits := in.Body.limits()
	return shown(v.svc.Do(ctx, in.ID, meeting.Patched{
		IfSettings:      settings,
		StartAt:         ifGiven(in.Body, "start_at", limits.StartAt),
		EndAt:           ifGiven(in.Body, "end_at", limits.EndAt),
		MaxDuration:     ifGiven(in.Body, "max_duration_s", limits.MaxDuration),
		EmptyTimeout:    ifGiven(in.Body, "empty_timeout_s", limits.EmptyTimeout),
		Linger:          ifGiven(in.Body, "departure_timeout_s", limits.Linger),
		MaxParticipants: ifGiven(in.Body, "max_participants", limits.MaxParticipants),
		Policy:          ifGiven(in.Body, "recording", in.Body.Recording.policy()),
		Metadata:        ifGiven(in.Body, "metadata", in.Body.Metadata),
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
