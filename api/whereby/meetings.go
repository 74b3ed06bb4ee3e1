package whereby

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"usher/api"
	"usher/meeting"
	"usher/meeting/service"
	"usher/token"
)

const (
	// endGrace is how long after its end date a meeting goes on, as
	// Whereby's rooms do.
	endGrace = time.Hour
	// endDateKey is where the metadata keeps the end date of a meeting that was
	// made here: what is given back is what was given, not the end of the room.
	endDateKey = "whereby_end_date"
	// maxPrefix, in bytes, is generous: names of rooms are cut, not
	// refused, but nobody means one of a page's length.
	maxPrefix = 200
)

// meetingBody is a meeting as Whereby shows it.
type meetingBody struct {
	MeetingID     string        `json:"meetingId"`
	RoomName      string        `json:"roomName"`
	RoomURL       string        `json:"roomUrl"`
	StartDate     meeting.Time  `json:"startDate"`
	EndDate       *meeting.Time `json:"endDate"` // null: it has none, which only native meetings can
	HostRoomURL   string        `json:"hostRoomUrl,omitempty"`
	ViewerRoomURL string        `json:"viewerRoomUrl,omitempty"`
}

// createBody is the body that makes a meeting. What is not there is accepted,
// and what is not looked at may have any type.
type createBody struct {
	EndDate           *string    `json:"endDate"`
	IsLocked          any        `json:"isLocked,omitempty"`
	RoomNamePrefix    string     `json:"roomNamePrefix,omitempty"`
	TemplateType      string     `json:"templateType,omitempty"`
	Recording         recordBody `json:"recording,omitempty"`
	LiveTranscription any        `json:"liveTranscription,omitempty"`
	Streaming         any        `json:"streaming,omitempty"`
	Fields            any        `json:"fields,omitempty"` // names: a list, or a text with commas
}

// recordBody is what a meeting is to do about recording.
type recordBody struct {
	Type         string          `json:"type,omitempty"`
	StartTrigger meeting.Trigger `json:"startTrigger,omitempty"`
	Destination  *destination    `json:"destination,omitempty"`
}

// fieldsOf returns the names of the fields that a query asks for besides the usual
// ones.
func fieldsOf(r *http.Request) string {
	q := r.URL.Query()
	return fmt.Sprint(q["fields"], q["fields[]"])
}

func (f *facade) createMeeting(w http.ResponseWriter, r *http.Request) (any, error) {
	var body createBody
	if err := readJSON(w, r, &body); err != nil {
		return nil, err
	}
	if len(body.RoomNamePrefix) > maxPrefix {
		return nil, refuse("roomNamePrefix is too long")
	}
	end, err := readEndDate(body.EndDate, time.Now())
	if err != nil {
		return nil, err
	}
	policy, ignored, err := f.policy(body.Recording)
	if err != nil {
		return nil, err
	}
	locked := body.IsLocked == true
	ignored["isLocked"] = locked && !f.Lobby
	ignored["liveTranscription"] = body.LiveTranscription != nil
	ignored["streaming"] = body.Streaming != nil
	asked := fmt.Sprint(body.Fields)
	if body.TemplateType == "viewerMode" {
		ignored["templateType"] = true
		asked += " hostRoomUrl viewerRoomUrl"
	}
	m, err := f.Create(r.Context(), meeting.Created{
		// Whereby takes spaces out of a prefix; RoomName sees to the rest.
		Room:     token.RoomName(strings.Join(strings.Fields(body.RoomNamePrefix), "")),
		Limits:   meeting.Limits{EndAt: end.Add(endGrace), Lobby: locked && f.Lobby},
		Policy:   policy,
		Key:      api.KeyID(r.Context()),
		Metadata: map[string]string{endDateKey: end.Format(time.RFC3339Nano)},
	})
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(ignored, func(_ string, asked bool) bool { return !asked })
	if len(ignored) > 0 {
		w.Header().Set(Ignored, strings.Join(slices.Sorted(maps.Keys(ignored)), ", "))
	}
	return f.show(r.Context(), m, asked)
}

// dateForms are what clients send as a date: RFC 3339 with any fraction, what
// languages make of one without a zone, which is UTC, and what JavaScript's Date
// prints with toUTCString and toString (ECMA-262 section 21.4.4).
var dateForms = []string{
	time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700",
	time.DateOnly, "Mon, 02 Jan 2006 15:04:05 GMT", "Mon Jan 02 2006 15:04:05 GMT-0700",
}

func readEndDate(text *string, now time.Time) (time.Time, error) {
	if text == nil {
		return time.Time{}, refuse("endDate is required")
	}
	date, _, _ := strings.Cut(*text, " (") // the zone's name behind toString
	for _, layout := range dateForms {
		end, err := time.Parse(layout, date)
		switch {
		case err != nil:
			continue
		case !end.After(now):
			return time.Time{}, refuse("endDate must be in the future")
		case end.Year() > api.MaxYear:
			return time.Time{}, refuse("endDate is too far in the future")
		}
		return end.UTC().Truncate(time.Millisecond), nil
	}
	return time.Time{}, refuse("endDate must be a date such as 2026-11-22T18:00:00.000Z")
}

var startTriggers = []meeting.Trigger{"", meeting.TriggerNone, meeting.TriggerPrompt, meeting.TriggerAutomatic, meeting.TriggerSecond}

// policy returns what the meeting does about recording by itself, and what is
// asked for that usher does not do.
func (f *facade) policy(asked recordBody) (p meeting.RecordingPolicy, ignored map[string]bool, err error) {
	ignored = map[string]bool{}
	if !slices.Contains(startTriggers, asked.StartTrigger) {
		return p, nil, refuse("recording.startTrigger must be none, prompt, automatic or automatic-2nd-participant")
	}
	switch asked.Type {
	case "", "none", "local": // local: Jitsi's client records by itself, usher has no part in it
		return p, ignored, nil
	case "cloud":
	default:
		return p, nil, refuse("recording.type must be none, local or cloud")
	}
	p.Trigger = asked.StartTrigger
	switch d := asked.Destination; {
	case d == nil || d.Provider == "whereby":
	case !f.Destinations || !d.hasKey():
		ignored["recording.destination"] = true
	case !d.valid():
		return p, nil, refuse("recording.destination is not a bucket with an access key")
	default:
		p.Destination = f.SealDestination(meeting.Destination(d.bucket))
	}
	return p, ignored, nil
}

func (f *facade) listMeetings(r *http.Request, cursor string, limit int) (shown []meetingBody, next string, err error) {
	list, next, err := f.List(r.Context(), meeting.Filter{Room: roomOf(r)}, cursor, limit)
	for _, m := range slices.DeleteFunc(list, isDeleted) {
		one, err := f.show(r.Context(), m, fieldsOf(r))
		if err != nil {
			return nil, "", err
		}
		shown = append(shown, one)
	}
	return inOrder(r, shown), next, err
}

// isDeleted reports whether an app has done away with the meeting. One whose
// time is over can still be seen, as long as it is kept.
func isDeleted(m meeting.Meeting) bool {
	return m.EndReason == meeting.EndRequested
}

func (f *facade) getMeeting(_ http.ResponseWriter, r *http.Request) (any, error) {
	m, err := f.Load(r.Context(), r.PathValue("id"))
	if err == nil && isDeleted(m) {
		err = meeting.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return f.show(r.Context(), m, fieldsOf(r))
}

// deleteMeeting ends a meeting. What happened in it is kept, as Whereby does;
// the answer is the same whether there was one or not.
func (f *facade) deleteMeeting(_ http.ResponseWriter, r *http.Request) (any, error) {
	_, err := f.Do(r.Context(), r.PathValue("id"), meeting.Ended{Reason: meeting.EndRequested})
	if errors.Is(err, meeting.ErrEnded) || errors.Is(err, meeting.ErrNotFound) {
		err = nil
	}
	return nil, err
}

// show returns the meeting with links to it, which it makes if need be. asked has
// the names of the fields that are wanted besides.
func (f *facade) show(ctx context.Context, m meeting.Meeting, asked string) (meetingBody, error) {
	url, err := f.roomURL(ctx, m)
	if err != nil {
		return meetingBody{}, err
	}
	shown := meetingBody{
		MeetingID: m.ID, RoomName: roomName(m.Room), RoomURL: url,
		StartDate: meeting.Time{Time: m.CreatedAt}, EndDate: meeting.TimeOrNull(endDate(m)),
	}
	if strings.Contains(asked, "viewerRoomUrl") {
		shown.ViewerRoomURL = shown.RoomURL // Jitsi's client has no way in without a microphone
	}
	if strings.Contains(asked, "hostRoomUrl") {
		var code string
		code, err = f.OwnLink(ctx, m.ID, service.RoleHost)
		_, key, _ := strings.Cut(code, "-")
		shown.HostRoomURL = shown.RoomURL + "?" + api.RoomKey + "=" + key
	}
	return shown, err
}

// roomURL returns the guests' link. Apps take its path for the room's name, so it
// is that where this API has made the name, which nobody can guess.
func (f *facade) roomURL(ctx context.Context, m meeting.Meeting) (string, error) {
	if m.Metadata[endDateKey] != "" {
		if url, ok, err := f.RoomURL(ctx, m); ok || err != nil {
			return url, err
		}
	}
	code, err := f.OwnLink(ctx, m.ID, service.RoleGuest)
	return f.JoinURL(code), err
}

// endDate returns the date that an app gave, or else the end of the meeting.
func endDate(m meeting.Meeting) time.Time {
	given, err := time.Parse(time.RFC3339Nano, m.Metadata[endDateKey])
	if err == nil && given.Add(endGrace).Equal(m.EndAt) {
		return given
	}
	return m.EndAt // made, or moved, over the native API
}
