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
	IfMatch string `header:"If-Match" maxLength:"1024" doc:"Refuse with 412 unless the meeting's settings have this ETag, or one of these"`
	Body    meetingChanges
}) (*oneMeeting, error) {
	if _, err := v.Service.Load(ctx, in.ID); err != nil {
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
	return shown(v.Service.Do(ctx, in.ID, meeting.Patched{
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

// ifMatch returns the versions of the settings that an If-Match header lists (RFC
// 9110 section 13.1.1), none for any. A weak tag counts as well: it names the same
// settings, and a proxy that compresses answers makes the tags weak on their way to
// the client. What no meeting's ETag can be matches nothing: [meeting.ErrVersion].
func ifMatch(header string) (versions []int64, err error) {
	header = strings.TrimSpace(header)
	if header == "" || header == "*" {
		return nil, nil
	}
	for tag := range strings.SplitSeq(header, ",") {
		inner, isQuoted := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`)
		number, isClosed := strings.CutSuffix(inner, `"`)
		version, err := strconv.ParseInt(number, 10, 64)
		if err == nil && version > 0 && isQuoted && isClosed {
			versions = append(versions, version)
		}
	}
	if len(versions) == 0 {
		return nil, meeting.ErrVersion
	}
	return versions, nil
}
