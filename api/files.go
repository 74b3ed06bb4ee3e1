package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"usher/meeting"
	"usher/token"
)

// filePath begins the path of every link to a file.
const filePath = "/d/"

// downloadPatience is how long a client may take none of what it asked for: long
// enough for a phone in a tunnel, and a download goes on where it was cut off.
const downloadPatience = 30 * time.Second

// sealedFile is the purpose of what links to files are sealed for.
const sealedFile = "link to a file"

// Files reads and deletes the finished files of recordings. What is not there is
// [fs.ErrNotExist], and storage that usher was not told how to reach
// [errors.ErrUnsupported]; any other error may pass when tried again.
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
	limits    *limiters // by address
	clients   clients
	log       *slog.Logger
}

// fileTicket opens one file for a while. It is sealed, so nobody can make one.
type fileTicket struct {
	Recording string    `json:"r"`
	File      int       `json:"f"`
	Expires   time.Time `json:"e"`
}

func errNoFiles() *Problem {
	return newProblem(http.StatusNotImplemented, "usher does not reach the files of recordings: see recordings-dir and s3-endpoint")
}

// fail makes an error of [Files] one for the outside. What goes on is doing.
func (h *files) fail(ctx context.Context, err error, doing string, rec meeting.Recording, file meeting.RecordingFile) *Problem {
	if errors.Is(err, errors.ErrUnsupported) {
		return errNoFiles()
	}
	h.log.Error("cannot "+doing+" a recording's file", "request_id", requestID(ctx), "recording_id", rec.ID,
		"storage", file.Storage, "file", file.Path, "err", err)
	if errors.Is(err, fs.ErrNotExist) {
		p := newProblem(http.StatusGone, "the file is not where it was stored any more")
		p.Code = "file_missing"
		return p
	}
	return newProblem(http.StatusServiceUnavailable, "the storage does not answer, try again")
}

// isApps reports whether a file is in the bucket that the meeting's app brought
// along: whose keys are for handing it over alone.
func (h *files) isApps(rec meeting.Recording, file meeting.RecordingFile) bool {
	d, err := h.seals.openDestination(rec.Destination)
	if err != nil || d == nil || file.Storage != meeting.StorageS3 {
		return false
	}
	bucket, _, _ := strings.Cut(d.Bucket, "/")
	return file.Bucket == bucket
}

// link returns a link to one file of the recording, and when it ceases to work.
// Its error is for the outside.
func (h *files) link(ctx context.Context, rec meeting.Recording, file meeting.RecordingFile, valid time.Duration) (url string, expires time.Time, err error) {
	if h.store == nil {
		return "", time.Time{}, errNoFiles()
	}
	if h.isApps(rec, file) {
		return "", time.Time{}, newProblem(http.StatusNotImplemented, "the file is in the app's own bucket, which usher does not read")
	}
	expires = time.Now().Add(valid).UTC().Truncate(time.Second)
	if file.Storage == meeting.StorageS3 {
		if url, err = h.store.Link(ctx, file, valid); err != nil {
			return "", time.Time{}, h.fail(ctx, err, "link to", rec, file)
		}
		return url, expires, nil
	}
	// Better to hear now that it is not there than whoever is given the link.
	content, err := h.store.Open(ctx, file)
	if err != nil {
		return "", time.Time{}, h.fail(ctx, err, "link to", rec, file)
	}
	_ = content.Close() // was only read
	plain, err := json.Marshal(fileTicket{Recording: rec.ID, File: slices.Index(rec.Files, file), Expires: expires})
	if err != nil {
		return "", time.Time{}, err
	}
	return h.publicURL + filePath + token.Seal(h.seals.secret, sealedFile, plain), expires, nil
}

// remove deletes a recording that is settled, and its files. It may be repeated:
// what could not be deleted is tried again then, and until it is gone there is an
// error.
func (h *files) remove(ctx context.Context, rec meeting.Recording) error {
	m, err := h.commands.Do(ctx, rec.MeetingID, meeting.RecordingDeleted{Recording: rec})
	if errors.Is(err, meeting.ErrNotSettled) {
		p := newProblem(http.StatusConflict, "the recording is not over, or its file is still awaited")
		p.Code = "not_settled"
		return p
	}
	if err != nil {
		return err
	}
	if now, atHand := m.AtHand(rec.ID); atHand {
		rec = now // with a file that came meanwhile
	}
	var left error
	for _, file := range rec.Files {
		if h.isApps(rec, file) {
			continue // the app's own to keep or delete
		}
		if h.store == nil {
			return errNoFiles()
		}
		if err := h.store.Remove(ctx, file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			p := h.fail(ctx, err, "delete", rec, file)
			p.Detail = "the recording is marked as deleted, its file is still there: " + p.Detail
			left = p
		}
	}
	return left
}

// ServeHTTP gives a file away, or a part of it (RFC 9110 §14).
func (h *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header() // nosniff and no-store are on every answer
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("X-Robots-Tag", "noindex")
	head.Set("Access-Control-Allow-Origin", "*") // a page may show the video to whoever has the link
	if !h.limits.take(w, h.clients.address(r)) {
		writeProblem(w, r, newProblem(http.StatusTooManyRequests, "more requests than one address may make"))
		return
	}
	rec, file, p := h.find(r.Context(), r.PathValue("ticket"))
	var content io.ReadSeekCloser
	if p == nil {
		var err error
		if content, err = h.store.Open(r.Context(), file); err != nil {
			p = h.fail(r.Context(), err, "open", rec, file)
		}
	}
	if p != nil {
		writeProblem(w, r, p)
		return
	}
	defer func() { _ = content.Close() }() // was only read
	head.Set("Content-Type", videoType(file.Path))
	head.Set("Content-Disposition", attachment(path.Base(file.Path)))
	head.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	head.Set("ETag", `"`+file.SHA256+`"`)
	http.ServeContent(&patient{w, http.NewResponseController(w)}, r, "", file.StoredAt, content)
}

// find returns the file that a ticket is for.
func (h *files) find(ctx context.Context, text string) (rec meeting.Recording, file meeting.RecordingFile, p *Problem) {
	plain, err := token.Unseal(h.seals.secret, sealedFile, text)
	var ticket fileTicket
	if err != nil || json.Unmarshal(plain, &ticket) != nil {
		return rec, file, newProblem(http.StatusNotFound, "this link is not valid")
	}
	if !time.Now().Before(ticket.Expires) {
		p := newProblem(http.StatusGone, "this link has expired")
		p.Code = "expired"
		return rec, file, p
	}
	rec, err = h.reads.Recording(ctx, ticket.Recording)
	if err == nil && (!rec.Deleted.IsZero() || ticket.File < 0 || ticket.File >= len(rec.Files)) {
		err = meeting.ErrNotFound
	}
	switch {
	case errors.Is(err, meeting.ErrNotFound):
		return rec, file, newProblem(http.StatusNotFound, "the file is not there any more")
	case err != nil:
		h.log.Error("cannot find the file of a link", "request_id", requestID(ctx), "recording_id", ticket.Recording, "err", err)
		return rec, file, newProblem(http.StatusServiceUnavailable, "this cannot be done right now, try again")
	}
	return rec, rec.Files[ticket.File], nil
}

// patient lets an answer take as long as its client keeps taking it: the
// server's own deadline is for short ones.
type patient struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(downloadPatience)) // there is none in tests
	return p.ResponseWriter.Write(b)
}

// videoType goes by the endings of recorders' files. The system's own table of
// them is not there in small containers.
func videoType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".mp4":
		return "video/mp4"
	case ".webm":
		return "video/webm"
	case ".mkv":
		return "video/matroska" // RFC 9559
	}
	return "application/octet-stream"
}

// attachment has a browser save the file under its name (RFC 6266 §4.3), and
// those that know no filename* under one in plain ASCII.
func attachment(name string) string {
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' || r == '/' || r == '%' {
			return '_'
		}
		return r
	}, name)
	return `attachment; filename="` + ascii + `"; filename*=UTF-8''` + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}
