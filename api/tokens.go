package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"usher/meeting"
	"usher/meeting/service"
	"usher/token"
)

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

// newLink is the body that makes a link.
type newLink struct {
	_    struct{} `json:"-" additionalProperties:"false"`
	User User     `json:"user,omitempty" doc:"Whom the link is for. Missing: whoever has it, as a guest without a name"`
	Role string   `json:"role,omitempty" enum:"host,guest" default:"guest" doc:"A host may record, and moderates where the site takes that from tokens"`
	TTLS int64    `json:"ttl_s,omitempty" minimum:"60" maximum:"86400" doc:"Seconds that the token of one click opens the room. Missing: until 15 minutes after the meeting's end, or for a day when it has none. The link itself lives as long as the meeting"`
	JWT  string   `json:"jwt_in,omitempty" enum:"fragment,query" default:"fragment" doc:"Where the token goes in the room's URL. A query ends up in logs; old clients need it"`
}

// Link is a join link as apps see it.
type Link struct {
	ID        string        `json:"id"`
	MeetingID string        `json:"meeting_id"`
	User      User          `json:"user"`
	Role      string        `json:"role" enum:"host,guest"`
	TTLS      *int64        `json:"ttl_s" doc:"null: a token of it lives as long as the meeting"`
	JWT       string        `json:"jwt_in" enum:"fragment,query"`
	CreatedAt meeting.Time  `json:"created_at"`
	RevokedAt *meeting.Time `json:"revoked_at" doc:"Set once it opens nothing any more"`
	URL       string        `json:"url,omitempty" doc:"The link itself, shown this once"`
}

func shownLink(l service.Link, meetingID string) Link {
	shown := Link{
		ID: l.ID, MeetingID: meetingID,
		User: User{ID: l.User.ID, Name: l.User.Name, Email: l.User.Email, Avatar: l.User.Avatar},
		Role: "guest", JWT: "fragment", CreatedAt: timeOf(l.Created), RevokedAt: meeting.TimeOrNull(l.Revoked),
	}
	if l.TTL != 0 {
		shown.TTLS = new(int64(l.TTL / time.Second))
	}
	if l.Host {
		shown.Role = "host"
	}
	if l.Query {
		shown.JWT = "query"
	}
	return shown
}

func (v *v1) registerTokens() {
	show(v, operation(ScopeMeetingsWrite, http.StatusCreated, "create-token", "POST /v1/meetings/{id}/tokens",
		"Make a token for one person. It cannot be revoked: put the person out instead. One for a user who was put out lets them in again",
		http.StatusConflict, http.StatusNotImplemented), v.createToken)
	show(v, operation(ScopeMeetingsWrite, http.StatusCreated, "create-link", "POST /v1/meetings/{id}/links",
		"Make a join link. It works again and again, with a fresh token at each click, until it is revoked or the meeting is over. One for a user who was put out lets them in again",
		http.StatusConflict, http.StatusNotImplemented), v.createLink)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-links", "GET /v1/meetings/{id}/links",
		"List a meeting's join links, revoked ones too"), v.listLinks)
	done(v, operation(ScopeMeetingsWrite, http.StatusNoContent, "revoke-link", "DELETE /v1/meetings/{id}/links/{link}",
		"Revoke a join link: from now on it opens nothing. Whoever is in stays in, and a token that it made goes on to open the room"), v.revokeLink)
}

func (v *v1) createToken(ctx context.Context, in *struct {
	ByID
	Body newToken
}) (service.Ticket, error) {
	return v.svc.CreateToken(ctx, in.ID, in.Body.User.claims(), in.Body.Role == "host", duration(in.Body.TTLS))
}

func (v *v1) createLink(ctx context.Context, in *struct {
	ByID
	Body newLink
}) (Link, error) {
	l, url, err := v.svc.CreateLink(ctx, in.ID, service.Link{
		User: in.Body.User.claims(), Host: in.Body.Role == "host", TTL: duration(in.Body.TTLS), Query: in.Body.JWT == "query",
	})
	made := shownLink(l, in.ID)
	made.URL = url
	return made, err
}

func (v *v1) listLinks(ctx context.Context, in *pageByID) (Page[Link], error) {
	byHash, err := v.svc.LinksOf(ctx, in.ID)
	list, next := newestOf(slices.Collect(maps.Values(byHash)), in.Paging, func(l service.Link) string { return l.ID })
	return pageOf(list, next, err, func(l service.Link) Link { return shownLink(l, in.ID) })
}

func (v *v1) revokeLink(ctx context.Context, in *struct {
	ByID
	Link string `path:"link" maxLength:"64"`
}) error {
	return v.svc.RevokeLink(ctx, in.ID, in.Link)
}
