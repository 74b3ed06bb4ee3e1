package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"usher/meeting"
	"usher/token"
)

const (
	// MaxLinks is how many links a meeting may have, revoked ones among them: one
	// for each person of a large meeting.
	MaxLinks = 1000
	// JoinPath begins the path of every join link, below the public URL.
	JoinPath = "/j/"
	// InviteTimeout is how long somebody who was handed a token or a link waits
	// for the meeting to take note of it, which takes a millisecond. It is worth
	// having, but not worth keeping anybody out.
	InviteTimeout = 250 * time.Millisecond
)

// SuggestRecording makes the web client ask whoever may record whether to, at
// the beginning of the meeting (react/features/base/config/configWhitelist.ts).
const SuggestRecording = "&config.recordings.suggestRecording=true"

// Ticket is a token and where to go with it.
type Ticket struct {
	Token     string       `json:"token" doc:"A JSON Web Token as Jitsi takes it"`
	URL       string       `json:"url" doc:"Opens the room with it"`
	ExpiresAt meeting.Time `json:"expires_at"`
}

// MakesTokens returns [ErrNoTokens] where it makes none, and so no links.
func (s *Service) MakesTokens() error {
	if s.cfg.Tokens == nil || s.cfg.SiteURL == "" {
		return ErrNoTokens
	}
	return nil
}

// Ticket makes a token for the meeting that is good for ttl, zero for as long as
// the meeting. Whatever it cannot be made of is an [meeting.InvalidError] without
// a field.
func (s *Service) Ticket(m meeting.Meeting, who token.User, host bool, ttl time.Duration) (Ticket, error) {
	now := time.Now()
	end, _ := m.EndsAt()
	text, expires, err := s.cfg.Tokens.Issue(now, token.Claims{
		Room: m.Room, User: who, Host: host, Expires: token.Until(now, ttl, end),
	})
	var url string
	if err == nil {
		url, err = token.URL(s.cfg.SiteURL, m.Room, text)
	}
	if err != nil {
		return Ticket{}, &meeting.InvalidError{Detail: strings.TrimPrefix(err.Error(), "token: ")}
	}
	if host && m.Policy.Trigger == meeting.TriggerPrompt {
		url += SuggestRecording
	}
	return Ticket{text, url, meeting.Time{Time: expires}}, nil
}

// Invited notes at the meeting that somebody is on the way, which keeps its
// session open, and until when their token lives. Whatever comes of it, they may
// go.
func (s *Service) Invited(ctx context.Context, id, user string, expires time.Time) {
	ctx, cancel := context.WithTimeoutCause(ctx, InviteTimeout, errors.New("service: the meeting is slow to take note"))
	defer cancel()
	if _, err := s.Do(ctx, id, meeting.Invited{UserID: user, TokenExpires: expires}); err != nil {
		s.log.WarnContext(ctx, "a meeting does not know that somebody is on the way", "meeting_id", id, "err", err)
	}
}

// CreateToken makes a token for one person, and lets a user in again whom an app
// had put out. Errors: those of [Service.Ticket], [ErrNoTokens].
func (s *Service) CreateToken(ctx context.Context, meetingID string, who token.User, host bool, ttl time.Duration) (Ticket, error) {
	m, err := s.enterable(ctx, meetingID)
	if err != nil {
		return Ticket{}, err
	}
	t, err := s.Ticket(m, who, host, ttl)
	if err != nil {
		return Ticket{}, err
	}
	if err := s.readmit(ctx, m, who.ID); err != nil {
		return Ticket{}, err
	}
	s.Invited(ctx, m.ID, who.ID, t.ExpiresAt.Time)
	return t, nil
}

// enterable reads a meeting that people may be invited to.
func (s *Service) enterable(ctx context.Context, id string) (meeting.Meeting, error) {
	if err := s.MakesTokens(); err != nil {
		return meeting.Meeting{}, err
	}
	m, err := s.Load(ctx, id)
	if err == nil && m.State() == meeting.StateEnded {
		err = meeting.ErrEnded
	}
	return m, err
}

// readmit lets a user in again whom an app had put out, because one has just made
// them a new way in.
func (s *Service) readmit(ctx context.Context, m meeting.Meeting, user string) error {
	if !m.HasRemoved(user) {
		return nil
	}
	_, err := s.Do(ctx, m.ID, meeting.Readmitted{UserID: user})
	return err
}

// Link is a join link as it is kept: without its code.
type Link struct {
	ID      string        `json:"id"` // lnk_ and a ULID
	User    token.User    `json:"user"`
	Host    bool          `json:"host"`
	TTL     time.Duration `json:"token_ttl,omitempty"` // of the token that each click makes; 0: as long as the meeting
	Query   bool          `json:"query"`               // the token goes into the query
	Created time.Time     `json:"created_at"`
	Revoked time.Time     `json:"revoked_at,omitzero"`
}

// readLink reads a link as it is kept.
func readLink(data []byte, meetingID string) (Link, error) {
	var stored struct {
		Link
		// Before is the TTL of links made when each had one: ten minutes unless an
		// app said otherwise.
		Before time.Duration `json:"ttl"`
	}
	if err := json.Unmarshal(data, &stored); err != nil {
		return Link{}, fmt.Errorf("read a link of %s: %w", meetingID, err)
	}
	if stored.Before != 10*time.Minute {
		stored.TTL += stored.Before
	}
	return stored.Link, nil
}

// A code is the meeting's id, so that the link is found where its meeting is,
// and a secret that nobody can guess. Only a hash of it is kept.

// CodeOf returns the code that such a secret makes for the meeting.
func CodeOf(meetingID, secret string) string {
	return strings.TrimPrefix(meetingID, "mtg_") + "-" + secret
}

// meetingOf returns the meeting that a code belongs to, if it is one.
func meetingOf(code string) (id string, ok bool) {
	id, secret, _ := strings.Cut(code, "-")
	return "mtg_" + id, len(id) == len("01JDB2W8Z3W5V6S0Q5M2T8K4AR") && secret != ""
}

// JoinURL returns the join link of a code.
func (s *Service) JoinURL(code string) string { return s.cfg.PublicURL + JoinPath + code }

// CreateLink makes a join link of what is given besides id and time, and returns
// it with its URL. Errors: those of [Service.CreateToken], [ErrTooManyLinks].
func (s *Service) CreateLink(ctx context.Context, meetingID string, l Link) (made Link, url string, err error) {
	m, err := s.enterable(ctx, meetingID)
	if err != nil {
		return Link{}, "", err
	}
	// What no token can be made of is refused now, not at the first click.
	if _, err := s.Ticket(m, l.User, l.Host, l.TTL); err != nil {
		return Link{}, "", err
	}
	code := CodeOf(m.ID, token.Code())
	if l, err = s.newLink(ctx, m.ID, token.Hash(code), l); err != nil {
		return Link{}, "", err
	}
	return l, s.JoinURL(code), s.readmit(ctx, m, l.User.ID)
}

func (s *Service) newLink(ctx context.Context, meetingID, hash string, l Link) (Link, error) {
	l.Created = time.Now().UTC()
	l.ID = meeting.NewID("lnk_", l.Created, meeting.NewSeed(), 0)
	stored, err := s.putLink(ctx, meetingID, hash, l)
	if err == nil && !stored {
		err = ErrTooManyLinks
	}
	return l, err
}

func (s *Service) putLink(ctx context.Context, meetingID, hash string, l Link) (stored bool, err error) {
	data, err := json.Marshal(l)
	if err != nil {
		return false, fmt.Errorf("encode link %s: %w", l.ID, err)
	}
	return s.PutLink(ctx, meetingID, hash, data, MaxLinks)
}

// OwnLink returns the code of the meeting's one link for hosts, or for guests,
// which it makes if need be. It follows from the meeting and the seal secret, so
// it can be shown again although only its hash is kept.
func (s *Service) OwnLink(ctx context.Context, meetingID string, host bool) (code string, err error) {
	purpose := "guest link of "
	if host {
		purpose = "host link of "
	}
	code = CodeOf(meetingID, token.CodeFor(s.cfg.SealSecret, purpose+meetingID))
	hash := token.Hash(code)
	if _, err = s.Link(ctx, meetingID, hash); errors.Is(err, meeting.ErrNotFound) {
		_, err = s.newLink(ctx, meetingID, hash, Link{Host: host})
	}
	return code, err
}

// OpenLink returns what a code opens. Errors: [meeting.ErrNotFound] when there is
// no such link, or no such meeting any more.
func (s *Service) OpenLink(ctx context.Context, code string) (l Link, m meeting.Meeting, err error) {
	id, ok := meetingOf(code)
	if !ok {
		return Link{}, meeting.Meeting{}, meeting.ErrNotFound
	}
	data, err := s.Link(ctx, id, token.Hash(code))
	if err == nil {
		l, err = readLink(data, id)
	}
	if err != nil {
		return Link{}, meeting.Meeting{}, err
	}
	m, err = s.Store.Load(ctx, id)
	return l, m, err
}

// LinksOf returns the links of a meeting by hash, revoked ones too.
func (s *Service) LinksOf(ctx context.Context, meetingID string) (map[string]Link, error) {
	if _, err := s.Load(ctx, meetingID); err != nil {
		return nil, err
	}
	stored, err := s.Links(ctx, meetingID)
	if err != nil {
		return nil, err
	}
	links := make(map[string]Link, len(stored))
	for hash, data := range stored {
		l, err := readLink(data, meetingID)
		if err != nil {
			// It must not keep the others from being seen and revoked.
			s.log.ErrorContext(ctx, "leaving out a join link that cannot be read", "meeting_id", meetingID, "hash", hash, "err", err)
			continue
		}
		links[hash] = l
	}
	return links, nil
}

// RevokeLink makes a link open nothing from now on. It may be repeated.
func (s *Service) RevokeLink(ctx context.Context, meetingID, id string) error {
	links, err := s.LinksOf(ctx, meetingID)
	if err != nil {
		return err
	}
	for hash, l := range links {
		if l.ID != id {
			continue
		}
		if l.Revoked.IsZero() {
			l.Revoked = time.Now().UTC()
			_, err = s.putLink(ctx, meetingID, hash, l)
		}
		return err
	}
	return meeting.ErrNotFound
}
