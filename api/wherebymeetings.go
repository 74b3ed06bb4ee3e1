package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"usher/meeting"
	"usher/token"
)

const (
	// wherebyGrace is how long after its end date a meeting goes on, as
	// Whereby's rooms do.
	wherebyGrace = time.Hour
	// wherebyEnd is where the metadata keeps the end date of a meeting that was
	// made here: what is given back is what was given, not the end of the room.
	wherebyEnd = "whereby_end_date"
	// maxWherebyPrefix, in bytes, is generous: names of rooms are cut, not
	// refused, but nobody means one of a page's length.
	maxWherebyPrefix = 200
	// roomKey is the query parameter that makes a guest's link a host's, as
	// Whereby has it: apps append &displayName=… to the one and ?… to the other,
	// and what is left without the query is the guest's.
	roomKey = "roomKey"
	// maxWherebyYear keeps dates within what RFC 3339 and JSON can say.
	maxWherebyYear = 9000
)

// wherebyMeeting is a meeting as Whereby shows it.
type wherebyMeeting struct {
	MeetingID     string        `json:"meetingId"`
	RoomName      string        `json:"roomName"`
	RoomURL       string        `json:"roomUrl"`
	StartDate     meeting.Time  `json:"startDate"`
	EndDate       *meeting.Time `json:"endDate"` // null: it has none, which only native meetings can
	HostRoomURL   string        `json:"hostRoomUrl,omitempty"`
	ViewerRoomURL string        `json:"viewerRoomUrl,omitempty"`
}

// wherebyCreate is the body that makes a meeting. What is not there is accepted,
// and what is not looked at may have any type.
type wherebyCreate struct {
	EndDate           *string         `json:"endDate"`
	IsLocked          json.RawMessage `json:"isLocked"`
	RoomNamePrefix    string          `json:"roomNamePrefix"`
	TemplateType      string          `json:"templateType"`
	Recording         *wherebyRecord  `json:"recording"`
	LiveTranscription json.RawMessage `json:"liveTranscription"`
	Streaming         json.RawMessage `json:"streaming"`
	Fields            wherebyFields   `json:"fields"`
}

// wherebyRecord is what a meeting is to do about recording.
type wherebyRecord struct {
	Type         string              `json:"type"`
	StartTrigger meeting.Trigger     `json:"startTrigger"`
	Destination  *wherebyDestination `json:"destination"`
}

// wherebyFields are fields asked for besides the usual ones.
type wherebyFields []string

// UnmarshalJSON takes a list, or one name by itself.
func (f *wherebyFields) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*f = strings.Split(one, ",")
		return nil
	}
	return json.Unmarshal(data, (*[]string)(f))
}

// fieldsOf returns the fields that a query asks for.
func fieldsOf(r *http.Request) (f wherebyFields) {
	q := r.URL.Query()
	for _, list := range slices.Concat(q["fields"], q["fields[]"]) {
		f = append(f, strings.Split(list, ",")...)
	}
	return f
}

func (f wherebyFields) has(name string) bool { return slices.Contains(f, name) }

func (f *facade) createMeeting(w http.ResponseWriter, r *http.Request, _ string) error {
	if f.v.tickets == nil {
		return errNoTokens()
	}
	data, err := readBody(r)
	if err != nil {
		return err
	}
	var body wherebyCreate
	if err := decodeJSON(data, &body); err != nil {
		return wrong("the body is wrong: " + err.Error())
	}
	if len(body.RoomNamePrefix) > maxWherebyPrefix {
		return wrong("roomNamePrefix is too long")
	}
	end, err := wherebyEndDate(body.EndDate, time.Now())
	if err != nil {
		return err
	}
	var ignored []string
	policy, err := f.policy(body.Recording, &ignored)
	if err != nil {
		return err
	}
	for name, asked := range map[string]bool{
		"isLocked":          string(body.IsLocked) == "true",
		"liveTranscription": present(body.LiveTranscription),
		"streaming":         present(body.Streaming),
	} {
		if asked {
			ignored = append(ignored, name)
		}
	}
	fields := body.Fields
	if body.TemplateType == "viewerMode" {
		ignored = append(ignored, "templateType")
		fields = append(fields, "hostRoomUrl", "viewerRoomUrl")
	}
	m, err := f.v.commands.Create(r.Context(), meeting.Created{
		// Whereby takes spaces out of a prefix; RoomName sees to the rest.
		Room:     token.RoomName(strings.Join(strings.Fields(body.RoomNamePrefix), "")),
		Limits:   meeting.Limits{EndAt: end.Add(wherebyGrace)},
		Policy:   policy,
		Metadata: map[string]string{wherebyEnd: end.Format(time.RFC3339Nano)},
	})
	if err != nil {
		return err
	}
	shown, err := f.show(r.Context(), m, fields)
	if err != nil {
		return err
	}
	if len(ignored) > 0 {
		slices.Sort(ignored)
		w.Header().Set(ignoredHeader, strings.Join(ignored, ", "))
	}
	writeWhereby(w, http.StatusCreated, shown)
	return nil
}

// present reports whether a field is there and is not null.
func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// wherebyDates are what clients send as a date: RFC 3339 with any fraction, and
// what languages make of one without a zone, which is UTC.
var wherebyDates = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700"}

func wherebyEndDate(text *string, now time.Time) (time.Time, error) {
	if text == nil {
		return time.Time{}, wrong("endDate is required")
	}
	for _, layout := range wherebyDates {
		end, err := time.Parse(layout, *text)
		switch {
		case err != nil:
			continue
		case !end.After(now):
			return time.Time{}, wrong("endDate must be in the future")
		case end.Year() > maxWherebyYear:
			return time.Time{}, wrong("endDate is too far in the future")
		}
		return instant(&end), nil
	}
	return time.Time{}, wrong("endDate must be a date such as 2026-11-22T18:00:00.000Z")
}

// policy returns what the meeting does about recording by itself, and adds to
// ignored what usher does not do.
func (f *facade) policy(asked *wherebyRecord, ignored *[]string) (meeting.RecordingPolicy, error) {
	var p meeting.RecordingPolicy
	if asked == nil {
		return p, nil
	}
	switch asked.StartTrigger {
	case "", meeting.TriggerNone, meeting.TriggerPrompt, meeting.TriggerAutomatic, meeting.TriggerSecond:
	default:
		return p, wrong("recording.startTrigger must be none, prompt, automatic or automatic-2nd-participant")
	}
	switch asked.Type {
	case "", "none", "local": // local: Jitsi's client records by itself, usher has no part in it
		return p, nil
	case "cloud":
	default:
		return p, wrong("recording.type must be none, local or cloud")
	}
	p.Trigger = asked.StartTrigger
	if d := asked.Destination; d != nil && d.Provider != "whereby" {
		if !f.destinations || !d.complete() {
			*ignored = append(*ignored, "recording.destination")
			return p, nil
		}
		if p.Destination = f.seals.seal(d); p.Destination == "" {
			return p, wrong("recording.destination is not a bucket with an access key")
		}
	}
	return p, nil
}

func (f *facade) listMeetings(w http.ResponseWriter, r *http.Request, _ string) error {
	if f.v.tickets == nil {
		return errNoTokens()
	}
	cursor, limit, err := paging(r, wherebyPage)
	if err != nil {
		return err
	}
	list, next, err := f.v.reads.List(r.Context(), meeting.Filter{Room: roomOf(r)}, cursor, limit)
	if err != nil {
		return err
	}
	var shown []wherebyMeeting
	for _, m := range list {
		if isDeleted(m) {
			continue
		}
		one, err := f.show(r.Context(), m, fieldsOf(r))
		if err != nil {
			return err
		}
		shown = append(shown, one)
	}
	writeWherebyList(w, shown, next)
	return nil
}

// isDeleted reports whether an app has done away with the meeting. One whose
// time is over can still be seen, as long as it is kept.
func isDeleted(m meeting.Meeting) bool {
	return m.Forgotten || m.EndReason == meeting.EndRequested
}

func (f *facade) getMeeting(w http.ResponseWriter, r *http.Request, id string) error {
	if f.v.tickets == nil {
		return errNoTokens()
	}
	m, err := f.v.load(r.Context(), id)
	if err == nil && isDeleted(m) {
		err = meeting.ErrNotFound
	}
	if err != nil {
		return err
	}
	shown, err := f.show(r.Context(), m, fieldsOf(r))
	if err != nil {
		return err
	}
	writeWhereby(w, http.StatusOK, shown)
	return nil
}

// deleteMeeting ends a meeting. What happened in it is kept, as Whereby does;
// the answer is the same whether there was one or not.
func (f *facade) deleteMeeting(w http.ResponseWriter, r *http.Request, id string) error {
	_, err := f.v.commands.Do(r.Context(), id, meeting.Ended{Reason: meeting.EndRequested})
	if err != nil && !errors.Is(err, meeting.ErrEnded) && !errors.Is(err, meeting.ErrNotFound) {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// show returns the meeting with links to it, which it makes if need be.
func (f *facade) show(ctx context.Context, m meeting.Meeting, fields wherebyFields) (wherebyMeeting, error) {
	code, err := f.code(ctx, m, false)
	if err != nil {
		return wherebyMeeting{}, err
	}
	url := f.v.publicURL + doorPath + code
	shown := wherebyMeeting{
		MeetingID: m.ID, RoomName: shownRoom(m.Room), RoomURL: url,
		StartDate: meeting.Time{Time: m.CreatedAt}, EndDate: timeOrNull(endDate(m)),
	}
	if fields.has("hostRoomUrl") {
		host, err := f.code(ctx, m, true)
		if err != nil {
			return wherebyMeeting{}, err
		}
		_, key, _ := strings.Cut(host, "-")
		shown.HostRoomURL = url + "?" + roomKey + "=" + key
	}
	if fields.has("viewerRoomUrl") {
		shown.ViewerRoomURL = url // Jitsi's client has no way in without a microphone
	}
	return shown, nil
}

// endDate returns the date that an app gave, or else the end of the meeting.
func endDate(m meeting.Meeting) time.Time {
	given, err := time.Parse(time.RFC3339Nano, m.Metadata[wherebyEnd])
	if err == nil && given.Add(wherebyGrace).Equal(m.EndAt) {
		return given
	}
	return m.EndAt // made, or moved, over the native API
}

// code returns that of the meeting's join link for hosts or for guests, which it
// makes if need be. It follows from the meeting, because only a hash of it is
// kept and it must be shown again.
func (f *facade) code(ctx context.Context, m meeting.Meeting, host bool) (string, error) {
	code := f.seals.linkCode(m.ID, host)
	hash := token.Hash(code)
	_, err := f.v.links.Link(ctx, m.ID, hash)
	if errors.Is(err, meeting.ErrNotFound) {
		err = f.makeLink(ctx, m, hash, host)
	}
	return code, err
}

func (f *facade) makeLink(ctx context.Context, m meeting.Meeting, hash string, host bool) error {
	var seed meeting.Seed
	_, _ = rand.Read(seed[:]) // never fails (crypto/rand)
	now := time.Now()
	stored, err := f.v.putLink(ctx, m.ID, hash, link{
		ID: meeting.NewID("lnk_", now, seed, 0), Host: host, Created: now.UTC(),
	})
	if err == nil && !stored {
		return newProblem(http.StatusConflict, "the meeting has too many links already")
	}
	return err
}
