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

// suggestRecording makes the web client ask whoever may record whether to, at
// the beginning of the meeting (react/features/base/config/configWhitelist.ts).
const suggestRecording = "config.recordings.suggestRecording=true"

// What a [Link] says.
const (
	RoleHost   = "host"
	RoleGuest  = "guest"
	InFragment = "fragment"
	InQuery    = "query"
)

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

// Ticket makes a token for the meeting as a link says. Whatever it cannot be made
// of is an [meeting.InvalidError] without a field.
func (s *Service) Ticket(m meeting.Meeting, l Link) (Ticket, error) {
	now := time.Now()
	end, _ := m.EndsAt()
	var ttl time.Duration // zero: as long as the meeting
	if l.TTLS != nil {
		ttl = time.Duration(*l.TTLS) * time.Second
	}
	claims := token.Claims{
		Room: m.Room, User: l.User, Host: l.Role == RoleHost, Expires: token.Until(now, ttl, end),
		PassesLobby: l.Role == RoleHost && m.Lobby, // somebody has to be there to let others in
	}
	if l.User == (token.User{}) { // else it says who they are
		claims.User = l.Appended
	}
	text, expires, err := s.cfg.Tokens.Issue(now, claims)
	var url string
	if err == nil {
		url, err = token.URL(s.cfg.SiteURL, m.Room, text)
	}
	if err != nil {
		return Ticket{}, &meeting.InvalidError{Detail: strings.TrimPrefix(err.Error(), "token: ")}
	}
	suggest := "&" + suggestRecording
	if l.JWT == InQuery {
		url, suggest = strings.Replace(url, "#jwt=", "?jwt=", 1), "#"+suggestRecording
	}
	if l.Role == RoleHost && m.Policy.Trigger == meeting.TriggerPrompt {
		url += suggest
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

// CreateToken makes a token for one person, as a link of the meeting would, and
// lets a user in again whom an app had put out. Errors: those of
// [Service.Ticket], [ErrNoTokens].
func (s *Service) CreateToken(ctx context.Context, l Link) (Ticket, error) {
	m, t, err := s.admit(ctx, l)
	if err == nil {
		err = s.readmit(ctx, m, l.User.ID)
	}
	if err != nil {
		return Ticket{}, err
	}
	s.Invited(ctx, m.ID, l.User.ID, t.ExpiresAt.Time)
	return t, nil
}

// admit makes a token for a meeting that people may be invited to.
func (s *Service) admit(ctx context.Context, l Link) (m meeting.Meeting, t Ticket, err error) {
	if err = s.MakesTokens(); err == nil {
		m, err = s.Load(ctx, l.MeetingID)
	}
	switch {
	case err != nil:
	case m.State() == meeting.StateEnded:
		err = meeting.ErrEnded
	default:
		t, err = s.Ticket(m, l)
	}
	return m, t, err
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

// Link is a join link as it is kept, without its code, and as apps see it.
type Link struct {
	ID        string        `json:"id"` // lnk_ and a ULID
	MeetingID string        `json:"meeting_id"`
	User      token.User    `json:"user"`
	Role      string        `json:"role" enum:"host,guest"`
	TTLS      *int64        `json:"ttl_s" doc:"null: a token of it lives as long as the meeting"`
	JWT       string        `json:"jwt_in" enum:"fragment,query"`
	CreatedAt meeting.Time  `json:"created_at"`
	RevokedAt *meeting.Time `json:"revoked_at" doc:"Set once it opens nothing any more"`
	URL       string        `json:"url,omitempty" doc:"The link itself, shown this once"`
	// Appended is what an app has appended to the link for one who comes by it, which
	// nobody has checked. It counts where the link itself is for nobody.
	Appended token.User `json:"-"`
}

// readLink reads a link of the meeting. One of an earlier build, which lacks these
// fields, is for guests.
func readLink(data []byte, meetingID string) (Link, error) {
	l := Link{MeetingID: meetingID, Role: RoleGuest, JWT: InFragment}
	if err := json.Unmarshal(data, &l); err != nil {
		return Link{}, fmt.Errorf("read a link of %s: %w", meetingID, err)
	}
	return l, nil
}

// A code is the meeting's id, so that the link is found where its meeting is,
// and a secret that nobody can guess. Only a hash of it is kept.

// CodeOf returns the code that such a secret makes for the meeting.
func CodeOf(meetingID, secret string) string {
	return strings.TrimPrefix(meetingID, "mtg_") + "-" + secret
}

// JoinURL returns the join link of a code.
func (s *Service) JoinURL(code string) string { return s.cfg.PublicURL + JoinPath + code }

// CreateLink makes a join link of a meeting, of what is given besides id and
// times. Errors: those of [Service.CreateToken], [ErrTooManyLinks].
func (s *Service) CreateLink(ctx context.Context, l Link) (Link, error) {
	m, _, err := s.admit(ctx, l) // what no token can be made of is refused now, not at the first click
	if err == nil {
		l, err = s.newLink(ctx, CodeOf(m.ID, token.Code()), l)
	}
	if err == nil {
		err = s.readmit(ctx, m, l.User.ID)
	}
	return l, err
}

func (s *Service) newLink(ctx context.Context, code string, l Link) (Link, error) {
	l, err := s.keepLink(ctx, token.Hash(code), l)
	l.URL = s.JoinURL(code)
	return l, err
}

// keepLink stores a new link.
func (s *Service) keepLink(ctx context.Context, hash string, l Link) (Link, error) {
	l.CreatedAt = meeting.Time{Time: time.Now()}
	l.ID = meeting.NewID("lnk_", l.CreatedAt.Time, meeting.NewSeed(), 0)
	return l, s.putLink(ctx, hash, l)
}

func (s *Service) putLink(ctx context.Context, hash string, l Link) error {
	data, _ := json.Marshal(l) //nolint:gosec // its JWT says where a token goes, and text always encodes
	stored, err := s.PutLink(ctx, l.MeetingID, hash, data, MaxLinks)
	if err == nil && !stored {
		err = ErrTooManyLinks
	}
	return err
}

// OwnLink returns the code of the meeting's one link for hosts, or for guests,
// which it makes if need be. It follows from the meeting and the seal secret, so
// it can be shown again although only its hash is kept.
func (s *Service) OwnLink(ctx context.Context, meetingID, role string) (code string, err error) {
	code = CodeOf(meetingID, token.CodeFor(s.cfg.SealSecret, role+" link of "+meetingID))
	if _, err = s.Link(ctx, meetingID, token.Hash(code)); errors.Is(err, meeting.ErrNotFound) {
		_, err = s.newLink(ctx, code, Link{MeetingID: meetingID, Role: role, JWT: InFragment})
	}
	return code, err
}

// RoomURL returns the URL that opens the room by its name, to guests, with a link
// that it makes if need be: whoever knows the name may come in, so it is for names
// that nobody can guess. Where the API is published under the web client's own
// address, that URL is the web client's: ok is false, and there is none.
func (s *Service) RoomURL(ctx context.Context, m meeting.Meeting) (url string, ok bool, err error) {
	if s.cfg.PublicURL == strings.TrimRight(s.cfg.SiteURL, "/") {
		return "", false, nil
	}
	hash := roomHash(m.Room)
	if _, err = s.Link(ctx, m.ID, hash); errors.Is(err, meeting.ErrNotFound) {
		_, err = s.keepLink(ctx, hash, Link{MeetingID: m.ID, Role: RoleGuest, JWT: InFragment})
	}
	return s.cfg.PublicURL + "/" + m.Room, true, err
}

// roomHash is what the link of a room's name is kept under; no code has it.
func roomHash(room string) string { return token.Hash("/" + room) }

// OpenRoom returns what a room's name opens, once [Service.RoomURL] has made a link
// of it; with a host's key, what that does. A key that opens nothing leaves the
// name. Errors: those of [Service.OpenLink].
func (s *Service) OpenRoom(ctx context.Context, room, key string) (l Link, m meeting.Meeting, err error) {
	list, _, err := s.List(ctx, meeting.Filter{Room: room}, "", 1)
	if err == nil && len(list) == 0 {
		err = meeting.ErrNotFound
	}
	var data []byte
	if err == nil {
		m = list[0]
		data, err = s.Link(ctx, m.ID, roomHash(room))
	}
	if err != nil {
		return Link{}, meeting.Meeting{}, err
	}
	if key != "" {
		if l, opened, err := s.OpenLink(ctx, CodeOf(m.ID, key)); !errors.Is(err, meeting.ErrNotFound) {
			return l, opened, err
		}
	}
	l, err = readLink(data, m.ID)
	return l, m, err
}

// OpenLink returns what a code opens. Errors: [meeting.ErrNotFound] when there is
// no such link, or no such meeting any more.
func (s *Service) OpenLink(ctx context.Context, code string) (l Link, m meeting.Meeting, err error) {
	id, secret, _ := strings.Cut(code, "-") // as [CodeOf] makes it
	if len(id) != len("01JDB2W8Z3W5V6S0Q5M2T8K4AR") || secret == "" {
		return Link{}, meeting.Meeting{}, meeting.ErrNotFound
	}
	id = "mtg_" + id
	data, err := s.Link(ctx, id, token.Hash(code))
	if err == nil {
		l, err = readLink(data, id)
	}
	if err == nil {
		m, err = s.Store.Load(ctx, id)
	}
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
		if l.RevokedAt == nil {
			l.RevokedAt = &meeting.Time{Time: time.Now()}
			err = s.putLink(ctx, hash, l)
		}
		return err
	}
	return meeting.ErrNotFound
}
