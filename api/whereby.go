package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"usher/meeting"
)

// The part of Whereby's REST API (docs.whereby.com/reference) that apps built on
// it use, in its own shapes: an app moves by changing base URL and key. What
// usher does not do is accepted and said so, see [ignoredHeader]; docs/whereby.md
// has the list.

const (
	// wherebyPrefix begins the paths of the API that is compatible with Whereby's.
	wherebyPrefix = "/whereby"
	// ignoredHeader names what was asked for and is not done, fields of the body
	// separated by commas.
	ignoredHeader = "X-Usher-Ignored"
	// Page sizes of Whereby's own.
	wherebyPage         = 50
	wherebyInsightsPage = 10
	maxWherebyPage      = 100
)

// facade answers Whereby's API. It has a router of its own, because none of
// what clients make of a path may be answered with a redirect, which some do not
// follow: room names begin with a slash, so it is doubled, encoded or missing.
type facade struct {
	v      *v1
	limits *limiters // by key, those of /v1
	seals  seals
	// destinations says that apps may name buckets for their recordings.
	destinations bool
}

// newFacade returns the facade on top of v, with the limits of v's keys.
func newFacade(cfg Config, v *v1, seals seals, limits *limiters, m *metrics) *facade {
	for _, route := range wherebyRoutes {
		m.expect(wherebyPrefix+route.pattern, route.method, route.status())
	}
	return &facade{v: v, limits: limits, seals: seals, destinations: cfg.Destinations}
}

// wherebyRoute is a route of the facade. Words of its pattern match whatever
// their case.
type wherebyRoute struct {
	method, pattern string
	scope           Scope
	// answer has the value of {…}, empty without one. Its error is for v1.fail.
	answer func(f *facade, w http.ResponseWriter, r *http.Request, id string) error
}

// Routes that show links let people in, so seeing them takes the scope that
// makes links.
var wherebyRoutes = []wherebyRoute{
	{http.MethodPost, "/v1/meetings", ScopeMeetingsWrite, (*facade).createMeeting},
	{http.MethodGet, "/v1/meetings", ScopeMeetingsWrite, (*facade).listMeetings},
	{http.MethodGet, "/v1/meetings/{id}", ScopeMeetingsWrite, (*facade).getMeeting},
	{http.MethodDelete, "/v1/meetings/{id}", ScopeMeetingsWrite, (*facade).deleteMeeting},
	{http.MethodGet, "/v1/insights/rooms", ScopeMeetingsRead, (*facade).insightsRooms},
	{http.MethodGet, "/v1/insights/room-sessions", ScopeMeetingsRead, (*facade).insightsSessions},
	{http.MethodGet, "/v1/insights/participants", ScopeMeetingsRead, (*facade).insightsPeople},
	{http.MethodGet, "/v1/insights/participant", ScopeMeetingsRead, (*facade).insightsPerson},
	{http.MethodGet, "/v1/recordings", ScopeMeetingsRead, (*facade).listRecordings},
	{http.MethodPost, "/v1/recordings/bulk-delete", ScopeRecordingsWrite, (*facade).deleteRecordings},
	{http.MethodGet, "/v1/recordings/{id}", ScopeMeetingsRead, (*facade).getRecording},
	{http.MethodDelete, "/v1/recordings/{id}", ScopeRecordingsWrite, (*facade).deleteRecording},
	{http.MethodGet, "/v1/recordings/{id}/access-link", ScopeMeetingsRead, (*facade).linkRecording},
	{http.MethodPut, "/v1/rooms/{name}/theme/logo", ScopeMeetingsWrite, (*facade).putTheme},
	{http.MethodPut, "/v1/rooms/{name}/theme/tokens", ScopeMeetingsWrite, (*facade).putTheme},
	{http.MethodPut, "/v1/rooms/{name}/theme/room-background", ScopeMeetingsWrite, (*facade).putTheme},
	{http.MethodPut, "/v1/rooms/{name}/theme/room-knock-page-background", ScopeMeetingsWrite, (*facade).putTheme},
	{http.MethodGet, "/v1/transcriptions", ScopeMeetingsRead, (*facade).none},
	{http.MethodDelete, "/v1/transcriptions/{id}", ScopeRecordingsWrite, (*facade).gone},
	{http.MethodPost, "/v1/transcriptions/bulk-delete", ScopeRecordingsWrite, (*facade).gone},
	{http.MethodGet, "/v1/summaries", ScopeMeetingsRead, (*facade).none},
	{http.MethodDelete, "/v1/summaries/{id}", ScopeRecordingsWrite, (*facade).gone},
}

// status is that of the usual answer.
func (route *wherebyRoute) status() int {
	switch {
	case route.pattern == "/v1/meetings" && route.method == http.MethodPost:
		return http.StatusCreated
	case route.method == http.MethodGet:
		return http.StatusOK
	}
	return http.StatusNoContent
}

// match returns the value of {…} in the pattern, if the words fit it.
func (route *wherebyRoute) match(words []string) (id string, ok bool) {
	pattern := strings.Split(route.pattern[1:], "/")
	if len(pattern) != len(words) {
		return "", false
	}
	for i, want := range pattern {
		switch {
		case want[0] == '{':
			id = words[i]
		case !strings.EqualFold(want, words[i]):
			return "", false
		}
	}
	return id, true
}

// WherebyAtRoot serves the API that is compatible with Whereby's where Whereby
// has it, under /v1, and nothing else of a handler that [New] returned.
func WherebyAtRoot(public http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.URL.Path, r.URL.RawPath = wherebyPrefix+path.Clean("/"+r.URL.Path), ""
		public.ServeHTTP(w, r)
	})
}

// isWhereby reports whether a path is of the facade; it may be untidy.
func isWhereby(p string) bool {
	p = path.Clean("/" + p)
	return len(p) >= len(wherebyPrefix) && strings.EqualFold(p[:len(wherebyPrefix)], wherebyPrefix) &&
		(len(p) == len(wherebyPrefix) || p[len(wherebyPrefix)] == '/')
}

// before serves the facade's paths, and leaves all others to next.
func (f *facade) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isWhereby(r.URL.Path) {
			f.ServeHTTP(w, r)
		} else {
			next.ServeHTTP(w, r)
		}
	})
}

func (f *facade) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !f.admit(w, r) {
		return
	}
	words := strings.FieldsFunc(r.URL.Path, func(c rune) bool { return c == '/' })[1:]
	var allowed []string
	for i := range wherebyRoutes {
		route := &wherebyRoutes[i]
		id, ok := route.match(words)
		switch {
		case !ok:
			continue
		case route.method != r.Method && (route.method != http.MethodGet || r.Method != http.MethodHead):
			allowed = append(allowed, route.method)
			continue
		}
		r.Pattern = route.method + " " + wherebyPrefix + route.pattern // for metrics and log
		if !exchangeOf(r.Context()).caller.may(route.scope) {
			writeWhereby(w, http.StatusForbidden, wherebyError{Error: "the API key lacks the scope " + string(route.scope)})
			return
		}
		if err := route.answer(f, w, r, id); err != nil {
			f.refuse(w, r, err)
		}
		return
	}
	if len(allowed) > 0 {
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(slices.Compact(allowed), ", "))
		writeWhereby(w, http.StatusMethodNotAllowed, wherebyError{Error: "Method not allowed"})
		return
	}
	writeWhereby(w, http.StatusNotFound, wherebyError{Error: "Not found"})
}

// admit checks the API key and its limit, or answers.
func (f *facade) admit(w http.ResponseWriter, r *http.Request) bool {
	who, ok, err := f.v.keys.find(r.Context(), bearer(r))
	switch {
	case err != nil:
		f.v.log.Warn("cannot read the API keys", "request_id", requestID(r.Context()), "err", err)
		f.refuse(w, r, meeting.ErrUnavailable)
		return false
	case !ok:
		w.Header().Set("WWW-Authenticate", `Bearer realm="usher"`)
		writeWhereby(w, http.StatusUnauthorized, wherebyError{Error: "Access token is missing or invalid"})
		return false
	}
	exchangeOf(r.Context()).caller = who
	passes := f.limits.take(w, who.id)
	h := w.Header()
	if h.Get("RateLimit-Limit") != "" { // Whereby's names for the same
		h.Set("X-RateLimit-Limit", h.Get("RateLimit-Limit"))
		h.Set("X-RateLimit-Remaining", h.Get("RateLimit-Remaining"))
		reset, _ := strconv.Atoi(h.Get("RateLimit-Reset"))
		h.Set("X-RateLimit-Reset", time.Now().Add(time.Duration(reset)*time.Second).UTC().Format(http.TimeFormat))
	}
	if !passes {
		wait, _ := strconv.Atoi(h.Get("Retry-After"))
		writeWhereby(w, http.StatusTooManyRequests, wherebyError{
			Error: "Rate limit active for throttle key: " + who.id, Data: &wherebyWait{MSLeft: max(1, wait) * 1000},
		})
	}
	return passes
}

// wherebyError is every error of the facade. Whereby documents its shape for
// status 429 only.
type wherebyError struct {
	Error string       `json:"error"`
	Data  *wherebyWait `json:"data,omitempty"`
}

// wherebyWait says how long to wait.
type wherebyWait struct {
	MSLeft int `json:"msLeft"`
}

// wrong refuses a request that can never be answered.
func wrong(detail string) error { return newProblem(http.StatusBadRequest, detail) }

// unsynced refuses what usher cannot know before it sees the rooms again. To
// say instead that nobody is in would make an app end the meeting for good.
func unsynced() error {
	return newProblem(http.StatusServiceUnavailable, "usher does not see this room right now, try again")
}

// refuse answers with an error of a command, a read, or the facade itself.
func (f *facade) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var p *Problem
	if !errors.As(f.v.fail(r.Context(), err), &p) {
		p = newProblem(http.StatusInternalServerError, "")
	}
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	status := p.Status
	if status == http.StatusUnprocessableEntity { // a status that Whereby does not have
		status = http.StatusBadRequest
	}
	writeWhereby(w, status, wherebyError{Error: p.Error()})
}

// writeWhereby answers with JSON, without the escapes of <, > and & that Go makes
// by itself.
func writeWhereby(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(body) // the client's loss
}

// wherebyList is a page of a list.
type wherebyList[T any] struct {
	Cursor  *string `json:"cursor"` // null on the last page
	Results []T     `json:"results"`
}

func writeWherebyList[T any](w http.ResponseWriter, results []T, next string) {
	list := wherebyList[T]{Results: results}
	if results == nil {
		list.Results = []T{}
	}
	if next != "" {
		list.Cursor = &next
	}
	writeWhereby(w, http.StatusOK, list)
}

// paging reads limit and cursor.
func paging(r *http.Request, usual int) (cursor string, limit int, err error) {
	q := r.URL.Query()
	if limit, err = number(q.Get("limit"), usual, maxWherebyPage); err != nil {
		return "", 0, wrong("limit must be a number from 1 to " + strconv.Itoa(maxWherebyPage))
	}
	cursor = q.Get("cursor")
	if !saneCursor(cursor) {
		return "", 0, wrong("cursor must be the one of the page before")
	}
	return cursor, limit, nil
}

// maxCursor, in bytes, is more than any store's cursor needs.
const maxCursor = 200

func saneCursor(cursor string) bool {
	return len(cursor) <= maxCursor && !strings.ContainsFunc(cursor, func(c rune) bool { return c <= ' ' || c > '~' })
}

// number reads a number from 1 to most; an empty one is usual.
func number(text string, usual, most int) (int, error) {
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, errors.New("not a number in range")
	}
	return n, nil
}

// ascending reports whether the query asks for the oldest first. Other orders
// are not offered.
func ascending(r *http.Request) bool {
	sortBy := strings.ToLower(r.URL.Query().Get("sortBy"))
	field, order, _ := strings.Cut(sortBy, ":")
	return order == "asc" && (field == "startedat" || field == "startdate" || field == "createdat")
}

// roomOf returns the room that the query names, empty for none: with a slash in
// front or without, in any case.
func roomOf(r *http.Request) string {
	q := r.URL.Query()
	name := q.Get("roomName")
	if name == "" {
		name = q.Get("roomName[exact]")
	}
	return bareRoom(name)
}

func bareRoom(name string) string {
	return strings.ToLower(strings.Trim(name, "/ "))
}

// shownRoom is a room's name as Whereby writes it.
func shownRoom(room string) string { return "/" + room }

// readBody reads a body of the size that around lets through.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, newProblem(http.StatusRequestEntityTooLarge, "the body is larger than "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes")
	case err != nil:
		return nil, wrong("the body could not be read")
	}
	return body, nil
}

// none answers a list that is always empty.
func (f *facade) none(w http.ResponseWriter, r *http.Request, _ string) error {
	if _, _, err := paging(r, wherebyPage); err != nil {
		return err
	}
	writeWherebyList[struct{}](w, nil, "")
	return nil
}

// gone answers the deletion of something that is never there.
func (f *facade) gone(w http.ResponseWriter, _ *http.Request, _ string) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}
