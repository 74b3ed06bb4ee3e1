// Package whereby is the part of Whereby's REST API (docs.whereby.com/reference)
// and of its webhooks that apps built on it use, in Whereby's own shapes: an app
// moves by changing base URL, key and secret. What usher does not do is accepted
// and said so, see [Ignored]; docs/whereby.md has the list.
package whereby

import (
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"usher/api"
	"usher/meeting/service"
)

const (
	prefix = "/whereby"
	// Ignored is a header that names what was asked for and is not done, fields of
	// the body separated by commas.
	Ignored = "X-Usher-Ignored"
	// Page sizes of Whereby's own.
	usualPage    = 50
	insightsPage = 10
	maxPage      = 100
)

// Config configures the API.
type Config struct {
	Service *service.Service
	// Destinations lets apps name buckets for their recordings. The service needs
	// a seal secret that stays.
	Destinations bool
}

type facade struct {
	Config
	svc *service.Service
}

// New returns the API.
func New(cfg Config) api.Platform {
	f := &facade{cfg, cfg.Service}
	// Routes that show links let people in, so seeing them takes the scope that
	// makes links.
	const (
		read, write, record = api.ScopeMeetingsRead, api.ScopeMeetingsWrite, api.ScopeRecordingsWrite
		ok, made, empty     = http.StatusOK, http.StatusCreated, http.StatusNoContent
	)
	return api.Platform{
		Prefix: prefix, MaxBody: MaxImage, WriteProblem: writeProblem,
		Routes: []api.Route{
			{Pattern: "POST /v1/meetings", Scope: write, Status: made, Serve: f.createMeeting},
			{Pattern: "GET /v1/meetings", Scope: write, Status: ok, Serve: f.listMeetings},
			{Pattern: "GET /v1/meetings/{id}", Scope: write, Status: ok, Serve: f.getMeeting},
			{Pattern: "DELETE /v1/meetings/{id}", Scope: write, Status: empty, Serve: f.deleteMeeting},
			{Pattern: "GET /v1/insights/rooms", Scope: read, Status: ok, Serve: f.insightsRooms},
			{Pattern: "GET /v1/insights/room-sessions", Scope: read, Status: ok, Serve: f.insightsSessions},
			{Pattern: "GET /v1/insights/participants", Scope: read, Status: ok, Serve: f.insightsPeople},
			{Pattern: "GET /v1/insights/participant", Scope: read, Status: ok, Serve: f.insightsPerson},
			{Pattern: "GET /v1/recordings", Scope: read, Status: ok, Serve: f.listRecordings},
			{Pattern: "POST /v1/recordings/bulk-delete", Scope: record, Status: empty, Serve: f.deleteRecordings},
			{Pattern: "GET /v1/recordings/{id}", Scope: read, Status: ok, Serve: f.getRecording},
			{Pattern: "DELETE /v1/recordings/{id}", Scope: record, Status: empty, Serve: f.deleteRecording},
			{Pattern: "GET /v1/recordings/{id}/access-link", Scope: read, Status: ok, Serve: f.linkRecording},
			{Pattern: "PUT /v1/rooms/{name}/theme/logo", Scope: write, Status: empty, Serve: f.putTheme},
			{Pattern: "PUT /v1/rooms/{name}/theme/tokens", Scope: write, Status: empty, Serve: f.putTheme},
			{Pattern: "PUT /v1/rooms/{name}/theme/room-background", Scope: write, Status: empty, Serve: f.putTheme},
			{Pattern: "PUT /v1/rooms/{name}/theme/room-knock-page-background", Scope: write, Status: empty, Serve: f.putTheme},
			{Pattern: "GET /v1/transcriptions", Scope: read, Status: ok, Serve: listNothing},
			{Pattern: "DELETE /v1/transcriptions/{id}", Scope: record, Status: empty, Serve: deleteNothing},
			{Pattern: "POST /v1/transcriptions/bulk-delete", Scope: record, Status: empty, Serve: deleteNothing},
			{Pattern: "GET /v1/summaries", Scope: read, Status: ok, Serve: listNothing},
			{Pattern: "DELETE /v1/summaries/{id}", Scope: record, Status: empty, Serve: deleteNothing},
		},
	}
}

// AtRoot serves the API where Whereby has it, under /v1, and nothing else of a
// handler that [api.New] returned.
func AtRoot(public http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.URL.Path, r.URL.RawPath = prefix+path.Clean("/"+r.URL.Path), ""
		public.ServeHTTP(w, r)
	})
}

// failure is every error. Whereby documents its shape for status 429 only.
type failure struct {
	Error string `json:"error"`
	Data  *wait  `json:"data,omitempty"`
}

// wait says how long to wait.
type wait struct {
	MSLeft int `json:"msLeft"`
}

func writeProblem(w http.ResponseWriter, _ *http.Request, p *api.Problem) {
	status, body := p.Status, failure{Error: p.Error()}
	switch status {
	case http.StatusUnprocessableEntity: // a status that Whereby does not have
		status = http.StatusBadRequest
	case http.StatusUnauthorized:
		body.Error = "Access token is missing or invalid"
	case http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(w.Header().Get("Retry-After"))
		_, key, _ := strings.Cut(p.Detail, ": ")
		body = failure{"Rate limit active for throttle key: " + key, &wait{max(1, seconds) * 1000}}
	}
	write(w, status, body)
}

// refuse refuses a request that can never be answered.
func refuse(detail string) error { return api.NewProblem(http.StatusBadRequest, detail) }

// unsynced refuses what usher cannot know before it sees the rooms again. To
// say instead that nobody is in would make an app end the meeting for good.
func unsynced() error {
	return api.NewProblem(http.StatusServiceUnavailable, "usher does not see this room right now, try again")
}

// rateHeaders adds Whereby's names for what the limits' headers say.
func rateHeaders(h http.Header) {
	if h.Get("RateLimit-Limit") == "" {
		return
	}
	h.Set("X-RateLimit-Limit", h.Get("RateLimit-Limit"))
	h.Set("X-RateLimit-Remaining", h.Get("RateLimit-Remaining"))
	reset, _ := strconv.Atoi(h.Get("RateLimit-Reset"))
	h.Set("X-RateLimit-Reset", time.Now().Add(time.Duration(reset)*time.Second).UTC().Format(http.TimeFormat))
}

// write answers with JSON, without the escapes of <, > and & that Go makes by
// itself; nil: without a body.
func write(w http.ResponseWriter, status int, body any) {
	rateHeaders(w.Header())
	if body == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(body) // the client is gone
}

// list is a page of a list.
type list[T any] struct {
	Cursor  *string `json:"cursor"` // null on the last page
	Results []T     `json:"results"`
}

func writeList[T any](w http.ResponseWriter, results []T, next string) error {
	page := list[T]{Results: append([]T{}, results...)}
	if next != "" {
		page.Cursor = &next
	}
	write(w, http.StatusOK, page)
	return nil
}

// paging reads limit and cursor.
func paging(r *http.Request, usual int) (cursor string, limit int, err error) {
	q := r.URL.Query()
	if limit, err = number(q.Get("limit"), usual, maxPage); err != nil {
		return "", 0, refuse("limit must be a number from 1 to " + strconv.Itoa(maxPage))
	}
	cursor = q.Get("cursor")
	if len(cursor) > maxCursor || strings.ContainsFunc(cursor, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", 0, refuse("cursor must be the one of the page before")
	}
	return cursor, limit, nil
}

// maxCursor, in bytes, is more than any store's cursor needs.
const maxCursor = 200

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
	field, order, _ := strings.Cut(strings.ToLower(r.URL.Query().Get("sortBy")), ":")
	return order == "asc" && (field == "startedat" || field == "startdate" || field == "createdat")
}

// roomOf returns the room that the query names, empty for none: with a slash in
// front or without, in any case.
func roomOf(r *http.Request) string {
	q := r.URL.Query()
	if name := q.Get("roomName"); name != "" {
		return bareRoom(name)
	}
	return bareRoom(q.Get("roomName[exact]"))
}

func bareRoom(name string) string { return strings.ToLower(strings.Trim(name, "/ ")) }

// roomName is a room's name as Whereby writes it.
func roomName(room string) string { return "/" + room }

// readJSON reads a body of JSON.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	data, err := api.ReadBody(http.MaxBytesReader(w, r.Body, api.MaxBody))
	if err != nil {
		return err
	}
	if err := api.DecodeJSON(data, into); err != nil {
		return refuse("the body is wrong: " + err.Error())
	}
	return nil
}

// listNothing answers a list that is always empty.
func listNothing(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := paging(r, usualPage); err != nil {
		return err
	}
	return writeList[struct{}](w, nil, "")
}

// deleteNothing answers the deletion of something that is never there.
func deleteNothing(w http.ResponseWriter, _ *http.Request) error {
	write(w, http.StatusNoContent, nil)
	return nil
}
