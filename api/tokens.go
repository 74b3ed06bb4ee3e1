package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"

	"usher/meeting/service"
	"usher/token"
)

// newToken is the body that makes a token.
type newToken struct {
	_    struct{}   `json:"-" additionalProperties:"false"`
	User token.User `json:"user,omitempty"`
	Role string     `json:"role,omitempty" enum:"host,guest" doc:"A host may record, and moderates where the site takes that from tokens. Missing: guest"`
	TTLS *int64     `json:"ttl_s,omitempty" minimum:"60" maximum:"2678400" doc:"Seconds that the token opens the room, no longer than until 15 minutes after the meeting's end. Missing: until then, or for a day when the meeting has no end. It puts nobody out who is in, but a connection that is cut later cannot be resumed"`
}

// newLink is the body that makes a link.
type newLink struct {
	_    struct{}   `json:"-" additionalProperties:"false"`
	User token.User `json:"user,omitempty" doc:"Whom the link is for. Missing: whoever has it, as a guest without a name"`
	Role string     `json:"role,omitempty" enum:"host,guest" doc:"A host may record, and moderates where the site takes that from tokens. Missing: guest"`
	TTLS *int64     `json:"ttl_s,omitempty" minimum:"60" maximum:"86400" doc:"Seconds that the token of one click opens the room. Missing: until 15 minutes after the meeting's end, or for a day when it has none. The link itself lives as long as the meeting"`
	JWT  string     `json:"jwt_in,omitempty" enum:"fragment,query" doc:"Where the token goes in the room's URL. Missing: fragment. A query ends up in logs; old clients need it"`
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
	b := in.Body
	return v.Service.CreateToken(ctx, service.Link{MeetingID: in.ID, User: b.User, Role: cmp.Or(b.Role, service.RoleGuest), TTLS: b.TTLS})
}

func (v *v1) createLink(ctx context.Context, in *struct {
	ByID
	Body newLink
}) (service.Link, error) {
	b := in.Body
	return v.Service.CreateLink(ctx, service.Link{MeetingID: in.ID, User: b.User, Role: cmp.Or(b.Role, service.RoleGuest), TTLS: b.TTLS, JWT: cmp.Or(b.JWT, service.InFragment)})
}

func (v *v1) listLinks(ctx context.Context, in *pageByID) (Page[service.Link], error) {
	byHash, err := v.Service.LinksOf(ctx, in.ID)
	list, next := newestOf(slices.Collect(maps.Values(byHash)), in.Paging, func(l service.Link) string { return l.ID })
	return pageOf(list, next, err, same)
}

func (v *v1) revokeLink(ctx context.Context, in *struct {
	ByID
	Link string `path:"link" maxLength:"64"`
}) error {
	return v.Service.RevokeLink(ctx, in.ID, in.Link)
}
