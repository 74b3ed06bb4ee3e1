package whereby

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"usher/meeting"
	"usher/meeting/service"
)

const (
	// How long a link to a file is good, in seconds, unless asked otherwise, and
	// at most: both are Whereby's.
	linkSeconds    = 3600
	maxLinkSeconds = 43200
	// maxBulkDelete is how many recordings one request may delete: what is
	// asked for at once is done before the answer.
	maxBulkDelete = 100
)

// recordingBody is a recording as Whereby shows it.
type recordingBody struct {
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

func shownRecording(rec meeting.Recording) recordingBody {
	file := rec.MainFile()
	const megabyte = 1_000_000
	return recordingBody{
		RecordingID: rec.ID, RoomSessionID: rec.SessionID, RoomName: roomName(rec.Room), Filename: file.Path,
		StartDate: rec.StartedAt, EndDate: cmp.Or(rec.StoppedAt, rec.SettledAt),
		SizeInMegaBytes: (file.Size + megabyte - 1) / megabyte,
	}
}

func (f *facade) listRecordings(w http.ResponseWriter, r *http.Request) error {
	cursor, limit, err := paging(r, usualPage)
	if err != nil {
		return err
	}
	var list []meeting.Recording
	var next string
	chosen := meeting.RecordingFilter{State: meeting.RecordingAvailable}
	if room := roomOf(r); room == "" {
		list, next, err = f.svc.Recordings(r.Context(), chosen, cursor, limit)
	} else {
		list, next, err = service.ThroughMeetings(r.Context(), f.svc, meeting.Filter{Room: room}, cursor, limit,
			func(m meeting.Meeting, cursor string, limit int) ([]meeting.Recording, string, error) {
				chosen.MeetingID = m.ID
				return f.svc.Recordings(r.Context(), chosen, cursor, limit)
			})
	}
	if err != nil {
		return err
	}
	var shown []recordingBody
	for _, rec := range list {
		if canBeHad(rec) {
			shown = append(shown, shownRecording(rec))
		}
	}
	if ascending(r) {
		slices.Reverse(shown)
	}
	return writeList(w, shown, next)
}

// recording returns one that can be had.
func (f *facade) recording(ctx context.Context, id string) (meeting.Recording, error) {
	rec, err := f.svc.Recording(ctx, id)
	if err == nil && !canBeHad(rec) {
		err = meeting.ErrNotFound
	}
	return rec, err
}

func (f *facade) getRecording(w http.ResponseWriter, r *http.Request) error {
	rec, err := f.recording(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	write(w, http.StatusOK, shownRecording(rec))
	return nil
}

func (f *facade) linkRecording(w http.ResponseWriter, r *http.Request) error {
	seconds, err := number(r.URL.Query().Get("validForSeconds"), linkSeconds, maxLinkSeconds)
	if err != nil {
		return refuse("validForSeconds must be a number from 1 to " + strconv.Itoa(maxLinkSeconds))
	}
	rec, err := f.recording(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	url, expires, err := f.svc.FileLink(r.Context(), rec, rec.MainFile(), time.Duration(seconds)*time.Second)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, struct {
		AccessLink string `json:"accessLink"`
		Expires    int64  `json:"expires"` // Unix time, milliseconds
	}{url, expires.UnixMilli()})
	return nil
}

func (f *facade) deleteRecording(w http.ResponseWriter, r *http.Request) error {
	if err := f.removeRecording(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	write(w, http.StatusNoContent, nil)
	return nil
}

// removeRecording deletes a recording that can be had, or was deleted with a file
// left; of any other it is no error, as with Whereby. Nor is a file that usher
// does not reach: for that there is no answer of Whereby's.
func (f *facade) removeRecording(ctx context.Context, id string) error {
	rec, err := f.svc.Recording(ctx, id)
	switch {
	case errors.Is(err, meeting.ErrNotFound), err == nil && (rec.State != meeting.RecordingAvailable || len(rec.Files) == 0):
		return nil
	case err != nil:
		return err
	}
	err = f.svc.RemoveRecording(ctx, rec)
	if errors.Is(err, service.ErrNoFiles) {
		return nil
	}
	return err
}

func (f *facade) deleteRecordings(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		IDs []string `json:"recordingIds"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if len(body.IDs) > maxBulkDelete {
		return refuse("recordingIds has more than " + strconv.Itoa(maxBulkDelete) + " elements")
	}
	for _, id := range body.IDs {
		if err := f.removeRecording(r.Context(), id); err != nil {
			return err
		}
	}
	write(w, http.StatusNoContent, nil)
	return nil
}
