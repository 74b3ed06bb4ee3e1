package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"usher/meeting"
)

const (
	// How long a link to a file is good, in seconds, unless asked otherwise, and
	// at most: both are Whereby's.
	wherebyLinkSeconds    = 3600
	maxWherebyLinkSeconds = 43200
	// maxBulkDelete is how many recordings one request may delete: what is
	// asked for at once is done before the answer.
	maxBulkDelete = 100
)

// wherebyRecording is a recording as Whereby shows it.
type wherebyRecording struct {
	RecordingID     string       `json:"recordingId"`
	RoomSessionID   string       `json:"roomSessionId"`
	RoomName        string       `json:"roomName"`
	Filename        string       `json:"filename"`
	StartDate       meeting.Time `json:"startDate"`
	EndDate         meeting.Time `json:"endDate"`
	SizeInMegaBytes int64        `json:"sizeInMegaBytes"` // whole ones, rounded up
}

// canBeHad reports whether Whereby would show the recording: once its file is there.
func canBeHad(rec meeting.Recording) bool {
	return rec.State == meeting.RecordingAvailable && rec.Deleted.IsZero() && len(rec.Files) > 0
}

func shownRecording(rec meeting.Recording) wherebyRecording {
	file := rec.MainFile()
	end := rec.StoppedAt
	if end.IsZero() {
		end = rec.SettledAt
	}
	const megabyte = 1_000_000
	return wherebyRecording{
		RecordingID: rec.ID, RoomSessionID: rec.SessionID, RoomName: shownRoom(rec.Room), Filename: file.Path,
		StartDate: meeting.Time{Time: rec.StartedAt}, EndDate: meeting.Time{Time: end},
		SizeInMegaBytes: (file.Size + megabyte - 1) / megabyte,
	}
}

func (f *facade) listRecordings(w http.ResponseWriter, r *http.Request, _ string) error {
	cursor, limit, err := paging(r, wherebyPage)
	if err != nil {
		return err
	}
	var list []meeting.Recording
	var next string
	chosen := meeting.RecordingFilter{State: meeting.RecordingAvailable}
	if room := roomOf(r); room == "" {
		list, next, err = f.v.recordings.Recordings(r.Context(), chosen, cursor, limit)
	} else {
		next, err = f.v.throughMeetings(r.Context(), meeting.Filter{Room: room}, cursor, limit,
			func(m meeting.Meeting, cursor string, limit int) (int, string, error) {
				chosen.MeetingID = m.ID
				some, left, err := f.v.recordings.Recordings(r.Context(), chosen, cursor, limit)
				list = append(list, some...)
				return len(some), left, err
			})
	}
	if err != nil {
		return err
	}
	var shown []wherebyRecording
	for _, rec := range list {
		if canBeHad(rec) {
			shown = append(shown, shownRecording(rec))
		}
	}
	if ascending(r) {
		slices.Reverse(shown)
	}
	writeWherebyList(w, shown, next)
	return nil
}

// recording returns one that can be had.
func (f *facade) recording(ctx context.Context, id string) (meeting.Recording, error) {
	rec, err := f.v.recordings.Recording(ctx, id)
	if err == nil && !canBeHad(rec) {
		err = meeting.ErrNotFound
	}
	return rec, err
}

func (f *facade) getRecording(w http.ResponseWriter, r *http.Request, id string) error {
	rec, err := f.recording(r.Context(), id)
	if err != nil {
		return err
	}
	writeWhereby(w, http.StatusOK, shownRecording(rec))
	return nil
}

func (f *facade) linkRecording(w http.ResponseWriter, r *http.Request, id string) error {
	seconds, err := number(r.URL.Query().Get("validForSeconds"), wherebyLinkSeconds, maxWherebyLinkSeconds)
	if err != nil {
		return wrong("validForSeconds must be a number from 1 to " + strconv.Itoa(maxWherebyLinkSeconds))
	}
	rec, err := f.recording(r.Context(), id)
	if err != nil {
		return err
	}
	url, expires, err := f.v.files.link(r.Context(), rec, rec.MainFile(), time.Duration(seconds)*time.Second)
	if err != nil {
		return err
	}
	writeWhereby(w, http.StatusOK, struct {
		AccessLink string `json:"accessLink"`
		Expires    int64  `json:"expires"` // Unix time, milliseconds
	}{url, expires.UnixMilli()})
	return nil
}

func (f *facade) deleteRecording(w http.ResponseWriter, r *http.Request, id string) error {
	if err := f.removeRecording(r.Context(), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// removeRecording deletes a recording that can be had, or was deleted with a file
// left; of any other it is no error, as with Whereby. Nor is a file that usher
// does not reach: for that there is no answer of Whereby's.
func (f *facade) removeRecording(ctx context.Context, id string) error {
	rec, err := f.v.recordings.Recording(ctx, id)
	switch {
	case errors.Is(err, meeting.ErrNotFound), err == nil && (rec.State != meeting.RecordingAvailable || len(rec.Files) == 0):
		return nil
	case err != nil:
		return err
	}
	err = f.v.files.remove(ctx, rec)
	if p := new(Problem); errors.As(err, &p) && p.Status == http.StatusNotImplemented {
		return nil
	}
	return err
}

func (f *facade) deleteRecordings(w http.ResponseWriter, r *http.Request, _ string) error {
	data, err := readBody(r)
	if err != nil {
		return err
	}
	var body struct {
		IDs []string `json:"recordingIds"`
	}
	if err := decodeJSON(data, &body); err != nil {
		return wrong("the body is wrong: " + err.Error())
	}
	if len(body.IDs) > maxBulkDelete {
		return wrong("recordingIds has more than " + strconv.Itoa(maxBulkDelete) + " elements")
	}
	for _, id := range body.IDs {
		if err := f.removeRecording(r.Context(), id); err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
