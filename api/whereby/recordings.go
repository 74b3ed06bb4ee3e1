package whereby

import (
	"cmp"
	"context"
	"errors"
	"net/http"
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

// canBeHad reports whether Whereby would show the recording: one to a file, once that
// is there.
func canBeHad(rec meeting.Recording) bool {
	return rec.State == meeting.RecordingAvailable && !rec.Mode.FromBridge() && rec.Deleted.IsZero() && len(rec.Files) > 0
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

func (f *facade) listRecordings(r *http.Request, cursor string, limit int) (shown []recordingBody, next string, err error) {
	chosen := meeting.RecordingFilter{State: meeting.RecordingAvailable}
	var list []meeting.Recording
	if room := roomOf(r); room == "" {
		list, next, err = f.Recordings(r.Context(), chosen, cursor, limit)
	} else {
		list, next, err = service.ThroughMeetings(r.Context(), f.Service, meeting.Filter{Room: room}, cursor, limit,
			func(m meeting.Meeting, cursor string, limit int) ([]meeting.Recording, string, error) {
				chosen.MeetingID = m.ID
				return f.Recordings(r.Context(), chosen, cursor, limit)
			})
	}
	for _, rec := range list {
		if canBeHad(rec) {
			shown = append(shown, shownRecording(rec))
		}
	}
	return inOrder(r, shown), next, err
}

// recording returns the one of the path if it can be had.
func (f *facade) recording(r *http.Request) (meeting.Recording, error) {
	rec, err := f.Recording(r.Context(), r.PathValue("id"))
	if err == nil && !canBeHad(rec) {
		err = meeting.ErrNotFound
	}
	return rec, err
}

func (f *facade) getRecording(_ http.ResponseWriter, r *http.Request) (any, error) {
	rec, err := f.recording(r)
	return shownRecording(rec), err
}

func (f *facade) linkRecording(_ http.ResponseWriter, r *http.Request) (any, error) {
	seconds, err := number(r, "validForSeconds", linkSeconds, maxLinkSeconds)
	if err != nil {
		return nil, err
	}
	rec, err := f.recording(r)
	if err != nil {
		return nil, err
	}
	url, expires, err := f.FileLink(r.Context(), rec, rec.MainFile(), time.Duration(seconds)*time.Second)
	return linkBody{url, expires.UnixMilli()}, err
}

// linkBody is a link to a file.
type linkBody struct {
	AccessLink string `json:"accessLink"`
	Expires    int64  `json:"expires" doc:"Unix time, milliseconds"`
}

// bulkBody is the body that deletes recordings.
type bulkBody struct {
	IDs []string `json:"recordingIds" nullable:"false"`
}

func (f *facade) deleteRecording(_ http.ResponseWriter, r *http.Request) (any, error) {
	return nil, f.removeRecording(r.Context(), r.PathValue("id"))
}

// removeRecording deletes a recording that can be had, or was deleted with a file
// left; of any other it is no error, as with Whereby. Nor is a file that usher
// does not reach: for that there is no answer of Whereby's.
func (f *facade) removeRecording(ctx context.Context, id string) error {
	rec, err := f.Recording(ctx, id)
	if errors.Is(err, meeting.ErrNotFound) || err == nil && (rec.State != meeting.RecordingAvailable || rec.Mode.FromBridge() || len(rec.Files) == 0) {
		return nil
	}
	if err == nil {
		err = f.RemoveRecording(ctx, rec)
	}
	if errors.Is(err, service.ErrNoFiles) {
		return nil
	}
	return err
}

func (f *facade) deleteRecordings(w http.ResponseWriter, r *http.Request) (any, error) {
	var body bulkBody
	if err := readJSON(w, r, &body); err != nil {
		return nil, err
	}
	return nil, f.removeRecordings(r.Context(), body.IDs)
}

func (f *facade) removeRecordings(ctx context.Context, ids []string) error {
	if len(ids) > maxBulkDelete {
		return refuse("recordingIds has more than " + strconv.Itoa(maxBulkDelete) + " elements")
	}
	for _, id := range ids {
		if err := f.removeRecording(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
