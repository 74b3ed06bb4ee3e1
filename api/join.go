package api

import (
	"context"
	_ "embed"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"usher/meeting"
	"usher/meeting/service"
	"usher/token"
)

// RoomKey is the query parameter that makes a guest's link a host's, as Whereby
// has it: apps append &displayName=… to the one and ?… to the other, and what is
// left without the query is the guest's.
const RoomKey = "roomKey"

// join lets people in by their links: GET /j/{code}, or GET /{room} where the
// room's name is one, sends them on to Jitsi with a token of their own, or says in
// plain words why not. A page that embeds Jitsi asks for JSON and gets the same as a
// [service.Ticket] or a [Problem], whatever site it is of: who has the code may go in.
func (s *server) join(w http.ResponseWriter, r *http.Request) error {
	head := w.Header() // Cache-Control: no-store is on every answer
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("X-Robots-Tag", "noindex")
	head.Set("Vary", "Accept, Accept-Language")
	head.Set("Access-Control-Allow-Origin", "*")
	// A browser never asks for JSON by name when it follows a link.
	wantsJSON := strings.Contains(r.Header.Get("Accept"), "application/json")
	ticket, page := s.openLink(w, r)
	if page == nil {
		s.opened.WithLabelValues(linkFollowed).Inc()
	} else {
		s.opened.WithLabelValues(page.Code).Inc()
	}
	switch {
	case page == &unknownPage && r.PathValue("room") != "" && !strings.Contains(r.Header.Get("Accept"), "text/html"):
		return NewProblem(http.StatusNotFound, noRoute) // no person asks
	case page != nil && wantsJSON:
		p := NewProblem(page.Status, page.Title)
		p.Code = page.Code
		return p
	case page != nil:
		shown := page.in(language(r.Header))
		shown.show(w)
	case wantsJSON:
		writeJSON(w, http.StatusOK, ticket)
	default:
		head.Set("Location", ticket.URL)
		w.WriteHeader(http.StatusFound)
	}
	return nil
}

// openLink returns the ticket of whom the link lets in, or a page that says why not.
func (s *server) openLink(w http.ResponseWriter, r *http.Request) (service.Ticket, *joinPage) {
	if !s.addresses.allow(w, r) {
		return service.Ticket{}, &tooManyPage
	}
	ctx, now := r.Context(), time.Now()
	l, m, err := s.findLink(r)
	switch {
	case errors.Is(err, meeting.ErrNotFound):
		return service.Ticket{}, &unknownPage
	case err != nil:
		s.Log.Error("cannot open a join link", "request_id", requestID(ctx), "err", err)
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
		return service.Ticket{}, &awayPage
	case l.RevokedAt != nil:
		return service.Ticket{}, &revokedPage
	case m.State() == meeting.StateEnded, isOver(m, now):
		return service.Ticket{}, &endedPage
	case m.HasRemoved(l.User.ID):
		return service.Ticket{}, &removedPage
	case now.Before(m.StartAt):
		early := earlyPage
		early.Opens = m.StartAt.UTC()
		w.Header().Set("Retry-After", strconv.FormatInt(wholeSeconds(m.StartAt.Sub(now)), 10))
		return service.Ticket{}, &early
	}
	ticket, err := s.Service.Ticket(m, l)
	if err != nil {
		// It was tried when the link was made: the configuration has changed.
		s.Log.Error("cannot make a token for a join link", "request_id", requestID(ctx),
			"meeting_id", m.ID, "link_id", l.ID, "err", err)
		return service.Ticket{}, &awayPage
	}
	if r.Method == http.MethodGet { // HEAD is a preview, not a person
		s.Service.Invited(ctx, m.ID, l.User.ID, ticket.ExpiresAt.Time)
	}
	return ticket, nil
}

// Apps append what they like to a link, as they did to Whereby's: ?embed,
// &displayName=…, a second question mark, anything of it percent-encoded. So a
// code or a name ends where its letters do, and the rest may be anywhere behind it.
var (
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9._-]*`)
	roomKeyForm = regexp.MustCompile(`(?i)` + RoomKey + `(?:=|%3D)([a-z0-9]+)`)
)

// findLink returns what a link opens, or what a host's key in the rest does. A key
// that opens nothing leaves the link, as with Whereby.
func (s *server) findLink(r *http.Request) (l service.Link, m meeting.Meeting, err error) {
	asked := r.PathValue("code") + r.PathValue("room") // it has one of them
	name := nameForm.FindString(asked)
	appended := asked[len(name):] + "?" + r.URL.RawQuery
	key := ""
	if found := roomKeyForm.FindStringSubmatch(appended); found != nil {
		key = found[1]
	}
	if r.PathValue("room") != "" {
		l, m, err = s.Service.OpenRoom(r.Context(), strings.ToLower(name), key)
	} else {
		l, m, err = s.openCode(r.Context(), name, key)
	}
	l.Appended = token.User{
		Name: displayName(appended), ExternalID: parameter(appended, "externalId", maxExternalID), Metadata: parameter(appended, "metadata", maxAppended),
	}
	return l, m, err
}

func (s *server) openCode(ctx context.Context, code, key string) (service.Link, meeting.Meeting, error) {
	if key != "" {
		id, _, _ := strings.Cut(code, "-")
		if l, m, err := s.Service.OpenLink(ctx, service.CodeOf(id, key)); !errors.Is(err, meeting.ErrNotFound) {
			return l, m, err
		}
	}
	return s.Service.OpenLink(ctx, code)
}

// How many characters are taken of what is appended to a link. A longer name is
// cut; a longer text is left out, because half of one misleads. All of it is in
// each presence of the person, to everybody in the room.
const (
	maxDisplayName = 100
	maxExternalID  = 200
	maxAppended    = 500
)

// displayName returns the name that is appended to a link, empty for none.
func displayName(appended string) string {
	name := []rune(strings.Join(strings.Fields(parameter(appended, "displayName", len(appended))), " "))
	return string(name[:min(len(name), maxDisplayName)])
}

// parameter returns the value of a parameter that is appended to a link, fit for a
// token: blanks in the place of what cannot stand in XML. It is empty where there
// is none, and for one that is not text or has more than most characters.
func parameter(appended, name string, most int) string {
	found := parameterForms[name].FindStringSubmatch(appended)
	if found == nil {
		return ""
	}
	text, err := url.QueryUnescape(found[1] + found[2]) // one of them is empty
	if err != nil {
		text = found[1] + found[2]
	}
	if !utf8.ValidString(text) || utf8.RuneCountInString(text) > most {
		return ""
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || c == 0xFFFE || c == 0xFFFF {
			return ' '
		}
		return c
	}, text)
}

// parameterForms find what apps append besides the key. A value may hold anything
// percent-encoded, an & too. Where its own = is encoded, so is the & behind it.
var parameterForms = map[string]*regexp.Regexp{
	"displayName": parameterForm("displayName"), "externalId": parameterForm("externalId"), "metadata": parameterForm("metadata"),
}

func parameterForm(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:[?&]|%3F|%26)` + name + `(?:=([^?&]*)|%3D(.*?)(?:%26|%3F|[?&]|$))`)
}

// joinPage is what somebody reads who is not let in.
type joinPage struct {
	Status      int
	Code        string // for programs
	Title, Text string
	Opens       time.Time // zero for most

	Language, OpensOn, Form string // see [joinPage.in]
}

var (
	unknownPage = joinPage{Status: http.StatusNotFound, Code: "not_found", Title: "This link is not valid", Text: "Please check that you have all of it, or ask whoever invited you for a new one."}
	revokedPage = joinPage{Status: http.StatusGone, Code: "revoked", Title: "This link has been withdrawn", Text: "Please ask whoever invited you for a new one."}
	endedPage   = joinPage{Status: http.StatusGone, Code: "ended", Title: "This meeting is over", Text: "Nobody can join it any more."}
	removedPage = joinPage{Status: http.StatusForbidden, Code: "removed", Title: "You have been put out of this meeting", Text: "This link lets you in again only if whoever runs the meeting wants you back: please ask them."}
	earlyPage   = joinPage{Status: http.StatusForbidden, Code: "not_open", Title: "This meeting is not open yet", Text: "Please use the link again then."}
	awayPage    = joinPage{Status: http.StatusServiceUnavailable, Code: "unavailable", Title: "This does not work right now", Text: "Please try again in a minute."}
	tooManyPage = joinPage{Status: http.StatusTooManyRequests, Code: "rate_limited", Title: "Too many people at once", Text: "Please try again in a minute."}
)

//go:embed join.html
var joinHTML string

var joinTemplate = template.Must(template.New("join").Parse(joinHTML))

func (p *joinPage) show(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	// Any page may frame it: apps have links in an iframe, and there is nothing to click.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.WriteHeader(p.Status)
	_ = joinTemplate.Execute(w, p) // the client is gone
}
