package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"usher/meeting"
	"usher/token"
)

// filePath begins the path of every link to a file.
const filePath = "/d/"

// sealedFile is the purpose of what links to files are sealed for.
const sealedFile = "link to a file"

// Files reads and deletes the finished files of recordings.
type Files interface {
	// Open returns a file's content, to be closed by the caller.
	Open(ctx context.Context, f meeting.RecordingFile) (io.ReadSeekCloser, error)
	// Link returns a URL at which the storage itself gives the file away for a while.
	Link(ctx context.Context, f meeting.RecordingFile, valid time.Duration) (string, error)
	// Remove deletes a file; one that is not there is no error.
	Remove(ctx context.Context, f meeting.RecordingFile) error
}

// files is what is done with the files of recordings, and gives away those that
// have no URL of their own: GET /d/{ticket}.
type files struct {
	store     Files // nil: usher reaches none
	reads     RecordingReads
	commands  Commands
	seals     seals
	publicURL string
	log       *slog.Logger
}

// fileTicket opens one file for a while. It is sealed, so nobody can make one.
type fileTicket struct {
	Recording string    `json:"r"`
	File      int       `json:"f"`
	Expires   time.Time `json:"e"`
}

var errNoFiles = newProblem(http.StatusNotImplemented, "usher does not reach the files of recordings: see recordings-dir and s3-endpoint")

// link returns a link to one file of the recording, and when it ceases to work.
func (h *files) link(ctx context.Context, rec meeting.Recording, file meeting.RecordingFile, valid time.Duration) (url string, expires time.Time, err error) {
	if h.store == nil {
		return "", time.Time{}, errNoFiles
	}
	expires = time.Now().Add(valid).UTC().Truncate(time.Second)
	if file.Storage == meeting.StorageS3 {
		url, err = h.store.Link(ctx, file, valid)
		return url, expires, err
	}
	ticket := fileTicket{Recording: rec.ID, Expires: expires}
	for i, f := range rec.Files {
		if f.Path == file.Path {
			ticket.File = i
		}
	}
	plain, err := json.Marshal(ticket)
	if err != nil {
		return "", time.Time{}, err
	}
	return h.publicURL + filePath + token.Seal(h.seals.secret, sealedFile, plain), expires, nil
}

// remove deletes a recording that is settled, and its files. It may be repeated:
// what could not be deleted the first time is tried again.
func (h *files) remove(ctx context.Context, rec meeting.Recording) error {
	_, err := h.commands.Do(ctx, rec.MeetingID, meeting.RecordingDeleted{Recording: rec})
	if errors.Is(err, meeting.ErrNotSettled) {
		p := newProblem(http.StatusConflict, "the recording is not over, or its file is still awaited")
		p.Code = "not_settled"
		return p
	}
	if err != nil || h.store == nil {
		return err
	}
	for _, file := range rec.Files {
		if err := h.store.Remove(ctx, file); err != nil {
			h.log.Error("cannot delete a recording's file", "request_id", requestID(ctx), "recording_id", rec.ID, "err", err)
			return newProblem(http.StatusServiceUnavailable, "the recording is marked as deleted, its file is still there: try again")
		}
	}
	return nil
}

// ServeHTTP gives a file away, or a part of it (RFC 9110 §14).
func (h *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	plain, err := token.Unseal(h.seals.secret, sealedFile, r.PathValue("ticket"))
	var ticket fileTicket
	if err != nil || json.Unmarshal(plain, &ticket) != nil {
		writeProblem(w, r, newProblem(http.StatusNotFound, "this link is not valid"))
		return
	}
	if !time.Now().Before(ticket.Expires) {
		p := newProblem(http.StatusGone, "this link has expired")
		p.Code = "expired"
		writeProblem(w, r, p)
		return
	}
	rec, err := h.reads.Recording(r.Context(), ticket.Recording)
	var content io.ReadSeekCloser
	if err == nil && (!rec.Deleted.IsZero() || ticket.File >= len(rec.Files)) {
		err = meeting.ErrNotFound
	}
	if err == nil {
		content, err = h.store.Open(r.Context(), rec.Files[ticket.File])
	}
	switch {
	case errors.Is(err, meeting.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		writeProblem(w, r, newProblem(http.StatusNotFound, "the file is not there any more"))
		return
	case err != nil:
		h.log.Error("cannot open a recording's file", "request_id", requestID(r.Context()), "recording_id", ticket.Recording, "err", err)
		writeProblem(w, r, newProblem(http.StatusServiceUnavailable, "this cannot be done right now, try again"))
		return
	}
	defer content.Close()
	file := rec.Files[ticket.File]
	name := path.Base(file.Path)
	head := w.Header()
	head.Set("Content-Type", "application/octet-stream")
	if kind := mime.TypeByExtension(path.Ext(name)); strings.HasPrefix(kind, "video/") {
		head.Set("Content-Type", kind)
	}
	head.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	head.Set("ETag", `"`+file.SHA256+`"`)
	// A large file over a slow line takes longer than any other answer.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	http.ServeContent(w, r, "", file.StoredAt, content)
}
