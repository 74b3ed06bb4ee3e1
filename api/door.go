package api

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"usher/meeting"
	"usher/token"
)

// doorPath begins the path of every join link.
const doorPath = "/j/"

// door lets people in by their links: GET /j/{code} sends them on to Jitsi with
// a token of their own, or tells them in plain words why not. A page that
// embeds Jitsi asks for JSON and gets the same as a [Ticket] or a [Problem],
// whatever site it is of: who has the code may go in.
type door struct {
	links   LinkStore
	reads   Reads
	tickets *tickets
	limits  *limiters // by address
	clients clients
}

// entry is a link that was clicked, and its meeting.
type entry struct {
	link    link
	meeting meeting.Meeting
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header() // Cache-Control: no-store is on every answer
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Vary", "Accept")
	h.Set("Access-Control-Allow-Origin", "*")
	showPage := showPage
	if wantsJSON(r) {
		showPage = func(w http.ResponseWriter, status int, p doorPage) {
			problem := newProblem(status, p.Title)
			problem.Code = p.Code
			writeProblem(w, r, problem)
		}
	}
	if !d.limits.take(w, d.clients.address(r)) {
		showPage(w, http.StatusTooManyRequests, tooManyPage)
		return
	}
	e, err := d.find(r.Context(), r.PathValue("code"), r.URL.RawQuery)
	switch {
	case errors.Is(err, meeting.ErrNotFound):
		showPage(w, http.StatusNotFound, unknownPage)
		return
	case err != nil:
		d.tickets.log.Error("cannot open a join link", "request_id", requestID(r.Context()), "err", err)
		h.Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
		showPage(w, http.StatusServiceUnavailable, awayPage)
		return
	}
	now := time.Now()
	if status, page := e.refusal(now); status != 0 {
		if !page.Opens.IsZero() {
			h.Set("Retry-After", strconv.Itoa(int((page.Opens.Sub(now)+time.Second-1)/time.Second)))
		}
		showPage(w, status, page)
		return
	}
	text, url, expires, err := d.tickets.make(e.meeting, e.link.User, e.link.Host, e.link.TTL)
	if err != nil {
		// It was tried when the link was made: the configuration has changed.
		d.tickets.log.Error("cannot make a token for a join link", "request_id", requestID(r.Context()),
			"meeting_id", e.meeting.ID, "link_id", e.link.ID, "err", err)
		showPage(w, http.StatusServiceUnavailable, awayPage)
		return
	}
	if e.link.Query {
		url = strings.Replace(url, "#jwt=", "?jwt=", 1)
		url = strings.Replace(url, suggestRecording, "#"+suggestRecording[1:], 1)
	}
	if r.Method == http.MethodGet { // HEAD is a preview, not a person
		d.tickets.invited(r.Context(), e.meeting.ID, e.link.User.ID, expires)
	}
	if wantsJSON(r) {
		h.Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Ticket{Token: text, URL: url, ExpiresAt: meeting.Time{Time: expires}}) // the client's loss
		return
	}
	h.Set("Location", url)
	w.WriteHeader(http.StatusFound)
}

// wantsJSON tells a program from a browser, which never asks for JSON by name
// when it follows a link.
func wantsJSON(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

// refusal returns the status and page for somebody who is not let in, 0 for whom
// the link lets in.
func (e *entry) refusal(now time.Time) (status int, page doorPage) {
	switch m := &e.meeting; {
	case !e.link.Revoked.IsZero():
		return http.StatusGone, revokedPage
	case m.State() == meeting.StateEnded, isOver(*m, now):
		return http.StatusGone, endedPage
	case m.HasRemoved(e.link.User.ID):
		return http.StatusForbidden, removedPage
	case now.Before(m.StartAt):
		early := earlyPage
		early.Opens = m.StartAt.UTC()
		return http.StatusForbidden, early
	}
	return 0, doorPage{}
}

// Apps append what they like to a link, as they did to Whereby's: ?embed,
// &displayName=…, a second question mark, anything of it percent-encoded. So a
// code ends where its letters do, and the host's key may be anywhere behind it.
var (
	codeForm    = regexp.MustCompile(`^[A-Za-z0-9-]*`)
	roomKeyForm = regexp.MustCompile(`(?i)` + roomKey + `(?:=|%3D)([a-z0-9]+)`)
)

// find returns what a code opens, or what a host's key in the rest does. A key
// that opens nothing leaves the code, as with Whereby.
func (d *door) find(ctx context.Context, code, query string) (e entry, err error) {
	asked := code
	code = codeForm.FindString(asked)
	id, ok := meetingOf(code)
	if !ok {
		return entry{}, meeting.ErrNotFound
	}
	var data []byte
	err = meeting.ErrNotFound
	if key := roomKeyForm.FindStringSubmatch(asked[len(code):] + "?" + query); key != nil {
		data, err = d.links.Link(ctx, id, token.Hash(codeOf(id, key[1])))
	}
	if errors.Is(err, meeting.ErrNotFound) {
		data, err = d.links.Link(ctx, id, token.Hash(code))
	}
	if err != nil {
		return entry{}, err
	}
	if e.link, err = readLink(data, id); err != nil {
		return entry{}, err
	}
	e.meeting, err = d.reads.Load(ctx, id)
	return e, err
}

// doorPage is what somebody reads who is not let in.
type doorPage struct {
	Code        string // for programs
	Title, Text string
	Opens       time.Time // zero for most
}

var (
	unknownPage = doorPage{Code: "not_found", Title: "This link is not valid", Text: "Please check that you have all of it, or ask whoever invited you for a new one."}
	revokedPage = doorPage{Code: "revoked", Title: "This link has been withdrawn", Text: "Please ask whoever invited you for a new one."}
	endedPage   = doorPage{Code: "ended", Title: "This meeting is over", Text: "Nobody can join it any more."}
	removedPage = doorPage{Code: "removed", Title: "You have been put out of this meeting", Text: "This link lets you in again only if whoever runs the meeting wants you back: please ask them."}
	earlyPage   = doorPage{Code: "not_open", Title: "This meeting is not open yet", Text: "Please use the link again then."}
	awayPage    = doorPage{Code: "unavailable", Title: "This does not work right now", Text: "Please try again in a minute."}
	tooManyPage = doorPage{Code: "rate_limited", Title: "Too many people at once", Text: "Please try again in a minute."}
)

var doorTemplate = template.Must(template.New("door").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto 0; padding: 0 1.5rem; color: #222; background: #fff }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #1a1a1a } }
</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
{{if not .Opens.IsZero}}<p>It opens on <time datetime="{{.Opens.Format "2006-01-02T15:04:05Z"}}">{{.Opens.Format "2 January 2006 at 15:04 UTC"}}</time>.</p>
{{end}}<p>{{.Text}}</p>
</main>
</body>
</html>
`))

func showPage(w http.ResponseWriter, status int, p doorPage) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	// Any page may frame it: apps have links in an iframe, and there is nothing to click.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.WriteHeader(status)
	_ = doorTemplate.Execute(w, p) // the client's loss
}
