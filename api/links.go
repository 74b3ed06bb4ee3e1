package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
	"usher/token"
)

// MaxLinks is how many links a meeting may have, revoked ones among them: one
// for each person of a large meeting.
const MaxLinks = 1000

// LinkStore keeps join links, of which it knows nothing, as long as their
// meeting. Errors as in [Reads].
type LinkStore interface {
	// PutLink stores a link under the hash of its code, or changes it. It
	// reports false when the meeting has as many others as it may.
	PutLink(ctx context.Context, meetingID, hash string, link []byte, most int) (stored bool, err error)
	Link(ctx context.Context, meetingID, hash string) ([]byte, error)
	Links(ctx context.Context, meetingID string) (byHash map[string][]byte, err error)
}

// link is a join link as it is kept: without its code.
type link struct {
	ID      string        `json:"id"` // lnk_ and a ULID
	User    token.User    `json:"user"`
	Host    bool          `json:"host"`
	TTL     time.Duration `json:"token_ttl,omitempty"` // of the token that each click makes; 0: as long as the meeting
	Query   bool          `json:"query"`               // the token goes into the query
	Created time.Time     `json:"created_at"`
	Revoked time.Time     `json:"revoked_at,omitzero"`
}

// readLink reads a link as it is kept.
func readLink(data []byte, meetingID string) (link, error) {
	var stored struct {
		link
		// Before is the TTL of links made when each had one: ten minutes unless an
		// app said otherwise.
		Before time.Duration `json:"ttl"`
	}
	if err := json.Unmarshal(data, &stored); err != nil {
		return link{}, fmt.Errorf("read a link of %s: %w", meetingID, err)
	}
	if stored.Before != 10*time.Minute {
		stored.TTL += stored.Before
	}
	return stored.link, nil
}

// A code is the meeting's id, so that the link is found where its meeting is,
// and a secret that nobody can guess. Only a hash of it is kept.

// newCode returns a code for the meeting.
func newCode(meetingID string) string { return codeOf(meetingID, token.Code()) }

// codeOf returns the code that such a secret makes for the meeting.
func codeOf(meetingID, secret string) string {
	return strings.TrimPrefix(meetingID, "mtg_") + "-" + secret
}

// meetingOf returns the meeting that a code belongs to, if it is one.
func meetingOf(code string) (id string, ok bool) {
	id, secret, _ := strings.Cut(code, "-")
	return "mtg_" + id, len(id) == len("01JDB2W8Z3W5V6S0Q5M2T8K4AR") && secret != ""
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

func (l link) info(meetingID string) Link {
	info := Link{
		ID: l.ID, MeetingID: meetingID,
		User: User{ID: l.User.ID, Name: l.User.Name, Email: l.User.Email, Avatar: l.User.Avatar},
		Role: "guest", JWT: "fragment",
		CreatedAt: meeting.Time{Time: l.Created},
	}
	if l.TTL != 0 {
		info.TTLS = new(int64(l.TTL / time.Second))
	}
	if l.Host {
		info.Role = "host"
	}
	if l.Query {
		info.JWT = "query"
	}
	if !l.Revoked.IsZero() {
		info.RevokedAt = &meeting.Time{Time: l.Revoked}
	}
	return info
}

// oneLink is an output of huma's.
type oneLink struct{ Body Link }

func (v *v1) registerLinks(a huma.API) {
	create := operation(ScopeMeetingsWrite, "create-link", http.MethodPost, "/v1/meetings/{id}/links",
		"Make a join link. It works again and again, with a fresh token at each click, until it is revoked or the meeting is over. One for a user who was put out lets them in again",
		http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusNotImplemented)
	create.DefaultStatus = http.StatusCreated
	huma.Register(a, create, v.createLink)
	huma.Register(a, operation(ScopeMeetingsRead, "list-links", http.MethodGet, "/v1/meetings/{id}/links",
		"List a meeting's join links, revoked ones too", http.StatusNotFound), v.listLinks)
	revoke := operation(ScopeMeetingsWrite, "revoke-link", http.MethodDelete, "/v1/meetings/{id}/links/{link}",
		"Revoke a join link: from now on it opens nothing. Whoever is in stays in, and a token that it made goes on to open the room", http.StatusNotFound)
	revoke.DefaultStatus = http.StatusNoContent
	huma.Register(a, revoke, v.revokeLink)
}

func (v *v1) createLink(ctx context.Context, in *struct {
	ByID
	Body newLink
}) (*oneLink, error) {
	m, err := v.enterable(ctx, in.ID)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	var seed meeting.Seed
	_, _ = rand.Read(seed[:]) // never fails (crypto/rand)
	now := time.Now()
	l := link{
		ID: meeting.NewID("lnk_", now, seed, 0), User: in.Body.User.claims(), Host: in.Body.Role == "host",
		TTL: duration(in.Body.TTLS), Query: in.Body.JWT == "query", Created: now.UTC(),
	}
	// What no token can be made of is refused now, not at the first click.
	if _, _, _, err := v.tickets.make(m, l.User, l.Host, l.TTL); err != nil {
		return nil, err
	}
	code := newCode(m.ID)
	stored, err := v.putLink(ctx, m.ID, token.Hash(code), l)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	if !stored {
		p := newProblem(http.StatusConflict, fmt.Sprintf("the meeting has %d links already", MaxLinks))
		p.Code = "too_many_links"
		return nil, p
	}
	if err := v.readmit(ctx, m, l.User.ID); err != nil {
		return nil, v.fail(ctx, err)
	}
	made := l.info(m.ID)
	made.URL = v.publicURL + doorPath + code
	return &oneLink{made}, nil
}

func (v *v1) putLink(ctx context.Context, meetingID, hash string, l link) (stored bool, err error) {
	data, err := json.Marshal(l)
	if err != nil {
		return false, fmt.Errorf("encode link %s: %w", l.ID, err)
	}
	return v.links.PutLink(ctx, meetingID, hash, data, MaxLinks)
}

func (v *v1) listLinks(ctx context.Context, in *struct {
	ByID
	Paging
}) (*page[Link], error) {
	byHash, err := v.linksOf(ctx, in.ID)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	list, next := newest(slices.Collect(maps.Values(byHash)), in.Paging, func(l link) string { return l.ID })
	return newPage(list, next, func(l link) Link { return l.info(in.ID) }), nil
}

// linksOf returns the links of a meeting by hash.
func (v *v1) linksOf(ctx context.Context, id string) (map[string]link, error) {
	if _, err := v.load(ctx, id); err != nil {
		return nil, err
	}
	stored, err := v.links.Links(ctx, id)
	if err != nil {
		return nil, err
	}
	links := make(map[string]link, len(stored))
	for hash, data := range stored {
		l, err := readLink(data, id)
		if err != nil {
			// It must not keep the others from being seen and revoked.
			v.log.Error("leaving out a join link that cannot be read", "meeting_id", id, "hash", hash, "err", err)
			continue
		}
		links[hash] = l
	}
	return links, nil
}

// revokeLink may be repeated.
func (v *v1) revokeLink(ctx context.Context, in *struct {
	ByID
	Link string `path:"link" maxLength:"64"`
}) (*struct{}, error) {
	byHash, err := v.linksOf(ctx, in.ID)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	for hash, l := range byHash {
		if l.ID != in.Link {
			continue
		}
		if l.Revoked.IsZero() {
			l.Revoked = time.Now().UTC()
			if _, err := v.putLink(ctx, in.ID, hash, l); err != nil {
				return nil, v.fail(ctx, err)
			}
		}
		return nil, nil
	}
	return nil, v.fail(ctx, meeting.ErrNotFound)
}
