package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"usher/meeting"
	"usher/token"
)

// FilePath begins the path of every link to a file, below the public URL.
const FilePath = "/d/"

// Purposes, which keep what is sealed with one secret apart.
const (
	sealedFile        = "link to a file"
	sealedDestination = "recording destination"
)

// Files reads and deletes the finished files of recordings. What is not there is
// [fs.ErrNotExist], and storage that usher has no settings for
// [errors.ErrUnsupported]; any other error may pass when tried again.
type Files interface {
	// Open returns a file's content, to be closed by the caller.
	Open(ctx context.Context, f meeting.RecordingFile) (io.ReadSeekCloser, error)
	// Link returns a URL at which the storage itself gives the file away for a while.
	Link(ctx context.Context, f meeting.RecordingFile, valid time.Duration) (string, error)
	// Remove deletes a file; one that is not there is no error.
	Remove(ctx context.Context, f meeting.RecordingFile) error
}

// Recording reads a recording. That of a meeting which is being forgotten is
// gone as well; one that has outlived its meeting is not.
func (s *Service) Recording(ctx context.Context, id string) (meeting.Recording, error) {
	r, err := s.Store.Recording(ctx, id)
	if err != nil {
		return meeting.Recording{}, err
	}
	m, err := s.Store.Load(ctx, r.MeetingID)
	switch {
	case errors.Is(err, meeting.ErrNotFound):
		return r, nil
	case err == nil && m.Forgotten:
		return meeting.Recording{}, meeting.ErrNotFound
	}
	return r, err
}

// StartRecording asks for a recording, and returns the one that is under way
// then; started is false when it was so before. Errors: [meeting.ErrNotLive].
func (s *Service) StartRecording(ctx context.Context, meetingID string, f meeting.RecordingWanted) (r meeting.Recording, started bool, err error) {
	if _, err := s.Load(ctx, meetingID); err != nil {
		return meeting.Recording{}, false, err
	}
	start := time.Now().Truncate(time.Millisecond) // what the core keeps
	m, err := s.Do(ctx, meetingID, f)
	r, active := m.ActiveRecording(f.Mode)
	if err == nil && !active {
		err = meeting.ErrNotLive
	}
	return r, !r.RequestedAt.Before(start), err
}

// StopRecording stops a recording, or takes it out of the queue; one that is over
// is returned as it is.
func (s *Service) StopRecording(ctx context.Context, id string) (meeting.Recording, error) {
	r, err := s.Recording(ctx, id)
	if err != nil {
		return r, err
	}
	m, err := s.Do(ctx, r.MeetingID, meeting.RecordingInput{Kind: meeting.RecordingStop, Recording: r, Reason: meeting.StopRequested})
	if now, ok := m.AtHand(r.ID); ok && err == nil {
		return now, nil
	}
	if err != nil && !errors.Is(err, meeting.ErrNotFound) && !errors.Is(err, meeting.ErrEnded) {
		return r, err
	}
	return s.Recording(ctx, id) // over for so long that the meeting has let go of it
}

// RemoveRecording deletes a recording that is settled, and its files. It may be
// repeated: what could not be deleted is tried again then, and until it is gone
// there is an error. Errors: [meeting.ErrNotSettled], [ErrNoFiles], [ErrFileLeft].
func (s *Service) RemoveRecording(ctx context.Context, rec meeting.Recording) error {
	m, err := s.Do(ctx, rec.MeetingID, meeting.RecordingInput{Kind: meeting.RecordingDeleted, Recording: rec})
	if err != nil {
		return err
	}
	if now, atHand := m.AtHand(rec.ID); atHand {
		rec = now // with a file that came meanwhile
	}
	var left error
	for _, file := range rec.Files {
		if file.Owner == meeting.OwnerApp {
			continue // the app's to keep or delete
		}
		if s.cfg.Files == nil {
			return ErrNoFiles
		}
		err := s.cfg.Files.Remove(ctx, file)
		if beside := file; beside.Attendance != "" && (err == nil || errors.Is(err, fs.ErrNotExist)) {
			beside.Path = file.Attendance
			err = s.cfg.Files.Remove(ctx, beside)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			left = fmt.Errorf("%w: %w", ErrFileLeft, s.storageError(ctx, err, "delete", rec, file))
		}
	}
	return left
}

// storageError makes an error of [Files] one for whoever called the API, and logs
// it with what was being done, such as "open".
func (s *Service) storageError(ctx context.Context, err error, doing string, rec meeting.Recording, file meeting.RecordingFile) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return ErrNoFiles
	}
	s.log.ErrorContext(ctx, "cannot "+doing+" a recording's file", "recording_id", rec.ID,
		"storage", file.Storage, "file", file.Path, "err", err)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrFileMissing
	}
	return ErrStorage
}

// fileTicket opens one file for a while. It is sealed, so nobody can make one.
type fileTicket struct {
	Recording string    `json:"r"`
	File      int       `json:"f"`
	Expires   time.Time `json:"e"`
}

// FileLink returns a link to one file of the recording, and when it ceases to
// work. Errors: [ErrNoFiles], [ErrOwnBucket], [ErrFileMissing], [ErrStorage].
func (s *Service) FileLink(ctx context.Context, rec meeting.Recording, file meeting.RecordingFile, valid time.Duration) (url string, expires time.Time, err error) {
	switch {
	case s.cfg.Files == nil:
		return "", time.Time{}, ErrNoFiles
	case file.Owner == meeting.OwnerApp: // usher has its keys for handing the file over alone
		return "", time.Time{}, ErrOwnBucket
	}
	expires = time.Now().Add(valid).UTC().Truncate(time.Second)
	if file.Storage == meeting.StorageS3 {
		if url, err = s.cfg.Files.Link(ctx, file, valid); err != nil {
			return "", time.Time{}, s.storageError(ctx, err, "link to", rec, file)
		}
		return url, expires, nil
	}
	// Better to hear now that it is not there than whoever is given the link.
	content, err := s.cfg.Files.Open(ctx, file)
	if err != nil {
		return "", time.Time{}, s.storageError(ctx, err, "link to", rec, file)
	}
	_ = content.Close() // was only read
	ticket := s.seal(sealedFile, fileTicket{rec.ID, slices.Index(rec.Files, file), expires})
	return s.cfg.PublicURL + FilePath + ticket, expires, nil
}

// OpenFile returns the file that a ticket of [Service.FileLink] is for, and its
// content, to be closed by the caller. Errors: [ErrBadLink], [ErrExpired],
// [ErrFileGone], and those of FileLink.
func (s *Service) OpenFile(ctx context.Context, text string) (file meeting.RecordingFile, content io.ReadSeekCloser, err error) {
	var ticket fileTicket
	switch {
	case s.unseal(sealedFile, text, &ticket) != nil:
		return file, nil, ErrBadLink
	case !time.Now().Before(ticket.Expires):
		return file, nil, ErrExpired
	}
	rec, err := s.Store.Recording(ctx, ticket.Recording)
	switch {
	case errors.Is(err, meeting.ErrNotFound), err == nil && (!rec.Deleted.IsZero() || ticket.File < 0 || ticket.File >= len(rec.Files)):
		return file, nil, ErrFileGone
	case err != nil:
		return file, nil, err
	}
	file = rec.Files[ticket.File]
	if content, err = s.cfg.Files.Open(ctx, file); err != nil {
		return file, nil, s.storageError(ctx, err, "open", rec, file)
	}
	return file, content, nil
}

// OwnerOf returns whose bucket a file is in that is being handed over, "" where the
// app brought none along. A destination that cannot be opened was not used.
func (s *Service) OwnerOf(rec meeting.Recording, file meeting.RecordingFile) meeting.FileOwner {
	d, err := s.Destination(rec.Destination)
	if d == nil && err == nil {
		return ""
	}
	if err == nil && file.Storage == meeting.StorageS3 {
		if bucket, _, _ := strings.Cut(d.Bucket, "/"); file.Bucket == bucket {
			return meeting.OwnerApp
		}
	}
	return meeting.OwnerSite
}

// SealDestination returns a bucket that an app brought along as a meeting keeps it.
func (s *Service) SealDestination(d meeting.Destination) string { return s.seal(sealedDestination, d) }

// Destination returns what [Service.SealDestination] sealed, nil for "". It fails
// with [token.ErrSealed] when the secret has changed since.
func (s *Service) Destination(sealed string) (*meeting.Destination, error) {
	if sealed == "" {
		return nil, nil
	}
	d := new(meeting.Destination)
	if err := s.unseal(sealedDestination, sealed, d); err != nil {
		return nil, fmt.Errorf("open a recording's destination: %w", err)
	}
	return d, nil
}

func (s *Service) seal(purpose string, v any) string {
	plain, _ := json.Marshal(v) // structs of text and numbers always encode
	return token.Seal(s.cfg.SealSecret, purpose, plain)
}

// unseal reads what seal has made. Errors: [token.ErrSealed].
func (s *Service) unseal(purpose, text string, v any) error {
	plain, err := token.Unseal(s.cfg.SealSecret, purpose, text)
	if err == nil && json.Unmarshal(plain, v) != nil {
		err = token.ErrSealed
	}
	return err
}

// ReachesFiles reports whether the files of recordings can be read here.
func (s *Service) ReachesFiles() bool { return s.cfg.Files != nil }
