// Package service is what an API can do with meetings: it reads them from the
// store, has them changed by the process that leads the site, and makes the
// tokens and links that let people in. The native API uses it, and so do those
// that are compatible with other products.
//
// Its errors are those of package meeting, and a few of its own; the texts of the
// latter are for whoever called the API.
package service

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"usher/meeting"
	"usher/token"
)

// Leader is the process that leads the site: it changes meetings, and knows those
// that are not over without asking a store. Elsewhere its methods fail with
// [meeting.ErrUnavailable]. Other errors are those of tracker.Tracker.
type Leader interface {
	Create(ctx context.Context, c meeting.Created) (meeting.Meeting, error)
	Do(ctx context.Context, id string, f meeting.Input) (meeting.Meeting, error)
	Room(room string) (meeting.Meeting, bool)
	// Running reports whether this process leads and has loaded the meetings.
	Running() bool
	// Kick puts the occupants with these nicks out of the room and shows them
	// the reason. Somebody who is not in any more is no error.
	Kick(ctx context.Context, room string, nicks []string, reason string) error
}

// Store answers from what is stored. Every error that may pass when tried again
// wraps [meeting.ErrUnavailable]; what is not there is [meeting.ErrNotFound].
//
// Lists are newest first. A cursor is opaque: it comes from the page before,
// is "" for the first page and after the last one, and one that makes no sense
// gives some page rather than an error.
type Store interface {
	// Load returns a meeting with the people of its open session.
	Load(ctx context.Context, id string) (meeting.Meeting, error)
	// List returns at most limit meetings that the filter chooses, and the
	// cursor of the next page.
	List(ctx context.Context, f meeting.Filter, cursor string, limit int) ([]meeting.Meeting, string, error)
	Sessions(ctx context.Context, meetingID, cursor string, limit int) ([]meeting.Session, string, error)
	Session(ctx context.Context, id string) (meeting.Session, error)
	// Participants returns everybody who was in the session, in the order in
	// which they first came.
	Participants(ctx context.Context, sessionID string) ([]meeting.Participant, error)
	Recording(ctx context.Context, id string) (meeting.Recording, error)
	// RecordingOf returns the recording that Jibri knows by this session id.
	RecordingOf(ctx context.Context, jibriSession string) (meeting.Recording, error)
	Recordings(ctx context.Context, f meeting.RecordingFilter, cursor string, limit int) ([]meeting.Recording, string, error)
	// PutLink stores a join link under the hash of its code, or changes it. It
	// reports false when the meeting has as many others as it may.
	PutLink(ctx context.Context, meetingID, hash string, link []byte, most int) (stored bool, err error)
	Link(ctx context.Context, meetingID, hash string) ([]byte, error)
	Links(ctx context.Context, meetingID string) (byHash map[string][]byte, err error)
}

// Errors besides those of package meeting.
var (
	ErrNoTokens     = errors.New("this usher makes no tokens: the site's JWT settings or its URL are not configured")
	ErrTooManyLinks = errors.New("the meeting has as many links as it may")
	ErrNotPresent   = errors.New("this person is not in the room")
	ErrInBreakout   = errors.New("this guest is in a breakout room, out of usher's reach: try again once they are back in the main room")
	ErrNoFiles      = errors.New("usher does not reach the files of recordings: see recordings-dir and s3-endpoint")
	ErrOwnBucket    = errors.New("the file is in the app's own bucket, which usher does not read")
	ErrFileMissing  = errors.New("the file is not where it was stored any more")
	ErrFileGone     = errors.New("the file is not there any more")
	ErrFileLeft     = errors.New("the recording is marked as deleted, its file is still there")
	ErrStorage      = errors.New("the storage does not answer, try again")
	ErrBadLink      = errors.New("this link is not valid")
	ErrExpired      = errors.New("this link has expired")
)

// Config is what a [Service] needs.
type Config struct {
	Leader Leader
	Store  Store
	// Files reads what was recorded; nil: usher does not reach it.
	Files Files
	// Tokens makes the tokens that let people in; nil, or without the URL of the
	// Jitsi site: neither tokens nor links can be asked for.
	Tokens  *token.Issuer
	SiteURL string
	// PublicURL is where people reach the API, for join links and files.
	PublicURL string
	// SealSecret encrypts what apps bring along and makes links that can be shown
	// again; empty: one that is forgotten with this process.
	SealSecret string
	Log        *slog.Logger // nil discards
}

// Service does what apps ask for. It is the leader and the store as well, but
// does not show meetings that are being forgotten: these only wait for their
// room to close. Safe for concurrent use.
type Service struct {
	Leader
	Store
	cfg Config
	log *slog.Logger
}

// New returns a service.
func New(cfg Config) *Service {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.SealSecret == "" {
		cfg.SealSecret = token.Code()
	}
	cfg.PublicURL = strings.TrimRight(cfg.PublicURL, "/")
	return &Service{Leader: cfg.Leader, Store: cfg.Store, cfg: cfg, log: cfg.Log}
}

// Load reads a meeting with the people of its open session.
func (s *Service) Load(ctx context.Context, id string) (meeting.Meeting, error) {
	m, err := s.Store.Load(ctx, id)
	if err == nil && m.Forgotten {
		return meeting.Meeting{}, meeting.ErrNotFound
	}
	return m, err
}

// List returns a page of at most limit meetings, and the cursor of the next one.
func (s *Service) List(ctx context.Context, f meeting.Filter, cursor string, limit int) ([]meeting.Meeting, string, error) {
	list, next, err := s.Store.List(ctx, f, cursor, limit)
	return slices.DeleteFunc(list, func(m meeting.Meeting) bool { return m.Forgotten }), next, err
}

// End ends a meeting for good. It may be repeated: one that is over is returned
// as it is.
func (s *Service) End(ctx context.Context, id string) (meeting.Meeting, error) {
	m, err := s.Do(ctx, id, meeting.Ended{Reason: meeting.EndRequested})
	if errors.Is(err, meeting.ErrEnded) {
		return s.Load(ctx, id)
	}
	return m, err
}

// SessionOf reads a session and its meeting.
func (s *Service) SessionOf(ctx context.Context, id string) (meeting.Session, meeting.Meeting, error) {
	session, err := s.Session(ctx, id)
	if err != nil {
		return meeting.Session{}, meeting.Meeting{}, err
	}
	m, err := s.Load(ctx, session.MeetingID)
	return session, m, err
}

// People returns everybody of the meeting's open session, or of the latest one
// when none is open.
func (s *Service) People(ctx context.Context, m meeting.Meeting) ([]meeting.Participant, error) {
	session := m.Session.ID
	if session == "" {
		latest, _, err := s.Sessions(ctx, m.ID, "", 1)
		if err != nil || len(latest) == 0 {
			return nil, err
		}
		session = latest[0].ID
	}
	return s.Participants(ctx, session)
}

// Person returns a meeting, and one of its [Service.People].
func (s *Service) Person(ctx context.Context, meetingID, id string) (meeting.Meeting, meeting.Participant, error) {
	m, err := s.Load(ctx, meetingID)
	var people []meeting.Participant
	if err == nil {
		people, err = s.People(ctx, m)
	}
	if err != nil {
		return meeting.Meeting{}, meeting.Participant{}, err
	}
	i := slices.IndexFunc(people, func(p meeting.Participant) bool { return p.ID == id })
	if i < 0 {
		return meeting.Meeting{}, meeting.Participant{}, meeting.ErrNotFound
	}
	return m, people[i], nil
}

// Remove puts a person out of the room, on every connection they have, and keeps
// a user of a token out from then on. In a breakout room usher cannot reach them:
// a user is put out as soon as they come back from it. Errors: [ErrNotPresent],
// [ErrInBreakout].
func (s *Service) Remove(ctx context.Context, meetingID, id, reason string) error {
	m, p, err := s.Person(ctx, meetingID, id)
	switch {
	case err != nil:
		return err
	case !p.Present():
		return ErrNotPresent
	}
	if p.UserID != "" {
		// Before the kick, or who is quick to come back would stay in.
		if _, err := s.Do(ctx, m.ID, meeting.Removed{UserID: p.UserID, Reason: reason}); err != nil {
			return err
		}
	}
	var nicks []string
	for _, c := range p.Connections {
		if c.Elsewhere == nil {
			nicks = append(nicks, c.Nick)
		}
	}
	switch {
	case len(nicks) > 0:
	case p.UserID == "":
		return ErrInBreakout
	default:
		return nil
	}
	if err := s.Kick(ctx, m.Room, nicks, reason); err != nil {
		s.log.WarnContext(ctx, "cannot put a person out of a room", "meeting_id", m.ID, "participant_id", p.ID, "err", err)
		return meeting.ErrUnavailable
	}
	return nil
}
