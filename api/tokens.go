package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
	"usher/token"
)

// InviteTimeout is how long somebody who was handed a token or a link waits
// for the meeting to take note of it, which takes a millisecond. It is worth
// having, but not worth keeping anybody out.
const InviteTimeout = 250 * time.Millisecond

// suggestRecording makes the web client ask whoever may record whether to, at
// the beginning of the meeting (react/features/base/config/configWhitelist.ts).
const suggestRecording = "&config.recordings.suggestRecording=true"

// tickets makes the tokens that let people into rooms.
type tickets struct {
	issuer   *token.Issuer
	site     string // URL of the Jitsi site
	commands Commands
	log      *slog.Logger
}

// errNoTokens refuses what cannot be done without tokens.
func errNoTokens() error {
	return newProblem(http.StatusNotImplemented, "this usher makes no tokens: the site's JWT settings or its URL are not configured")
}

// make returns a token for the meeting that is good for ttl, zero for as long as
// the meeting, and the URL to enter with it. Its error is one for the outside.
func (t *tickets) make(m meeting.Meeting, who token.User, host bool, ttl time.Duration) (text, url string, expires time.Time, err error) {
	now := time.Now()
	end, _ := m.EndsAt()
	text, expires, err = t.issuer.Issue(now, token.Claims{
		Room: m.Room, User: who, Host: host, Expires: token.Until(now, ttl, end),
	})
	if err == nil {
		url, err = token.URL(t.site, m.Room, text)
	}
	if host && m.Policy.Trigger == meeting.TriggerPrompt {
		url += suggestRecording
	}
	if err != nil {
		return "", "", time.Time{}, newProblem(http.StatusUnprocessableEntity, strings.TrimPrefix(err.Error(), "token: "))
	}
	return text, url, expires, nil
}

// invited tells the meeting that somebody is on the way, which keeps its
// session open, and until when their token lives. Whatever comes of it, they may
// go.
func (t *tickets) invited(ctx context.Context, id, user string, expires time.Time) {
	ctx, cancel := context.WithTimeoutCause(ctx, InviteTimeout, errors.New("api: the meeting is slow to take note"))
	defer cancel()
	if _, err := t.commands.Do(ctx, id, meeting.Invited{UserID: user, TokenExpires: expires}); err != nil {
		t.log.Warn("a meeting does not know that somebody is on the way", "request_id", requestID(ctx), "meeting_id", id, "err", err)
	}
}

// User is who somebody is to others in the room. Fields may be empty.
type User struct {
	_      struct{} `json:"-" additionalProperties:"false"`
	ID     string   `json:"id,omitempty" maxLength:"200" doc:"The app's own; it makes several connections one person"`
	Name   string   `json:"name,omitempty" maxLength:"200" doc:"Shown to others"`
	Email  string   `json:"email,omitempty" maxLength:"254"`
	Avatar string   `json:"avatar,omitempty" maxLength:"2000" pattern:"^https?://[^ ]+$" doc:"Address of a picture"`
}

func (u User) claims() token.User {
	return token.User{ID: u.ID, Name: u.Name, Email: u.Email, Avatar: u.Avatar}
}

// newToken is the body that makes a token.
type newToken struct {
	_    struct{} `json:"-" additionalProperties:"false"`
	User User     `json:"user,omitempty"`
	Role string   `json:"role,omitempty" enum:"host,guest" default:"guest" doc:"A host may record, and moderates where the site takes that from tokens"`
	TTLS int64    `json:"ttl_s,omitempty" minimum:"60" maximum:"2678400" doc:"Seconds that the token opens the room, no longer than until 15 minutes after the meeting's end. Missing: until then, or for a day when the meeting has no end. It puts nobody out who is in, but a connection that is cut later cannot be resumed"`
}

// Ticket is a token and where to go with it.
type Ticket struct {
	Token     string       `json:"token" doc:"A JSON Web Token as Jitsi takes it"`
	URL       string       `json:"url" doc:"Opens the room with it"`
	ExpiresAt meeting.Time `json:"expires_at"`
}

// oneTicket is an output of huma's.
type oneTicket struct{ Body Ticket }

func (v *v1) registerTokens(a huma.API) {
	create := operation(ScopeMeetingsWrite, "create-token", http.MethodPost, "/v1/meetings/{id}/tokens",
		"Make a token for one person. It cannot be revoked: put the person out instead. One for a user who was put out lets them in again",
		http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusNotImplemented)
	create.DefaultStatus = http.StatusCreated
	huma.Register(a, create, v.createToken)
}

func (v *v1) createToken(ctx context.Context, in *struct {
	ByID
	Body newToken
}) (*oneTicket, error) {
	m, err := v.enterable(ctx, in.ID)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	text, url, expires, err := v.tickets.make(m, in.Body.User.claims(), in.Body.Role == "host", duration(in.Body.TTLS))
	if err != nil {
		return nil, err
	}
	if err := v.readmit(ctx, m, in.Body.User.ID); err != nil {
		return nil, v.fail(ctx, err)
	}
	v.tickets.invited(ctx, m.ID, in.Body.User.ID, expires)
	return &oneTicket{Ticket{Token: text, URL: url, ExpiresAt: meeting.Time{Time: expires}}}, nil
}

// readmit lets a user in again whom an app had put out, because one has just made
// them a new way in.
func (v *v1) readmit(ctx context.Context, m meeting.Meeting, user string) error {
	if !m.HasRemoved(user) {
		return nil
	}
	_, err := v.commands.Do(ctx, m.ID, meeting.Readmitted{UserID: user})
	return err
}

// enterable reads a meeting that people may be invited to.
func (v *v1) enterable(ctx context.Context, id string) (meeting.Meeting, error) {
	if v.tickets == nil {
		return meeting.Meeting{}, errNoTokens()
	}
	m, err := v.load(ctx, id)
	if err == nil && m.State() == meeting.StateEnded {
		err = meeting.ErrEnded
	}
	return m, err
}
