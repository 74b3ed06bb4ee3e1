// Package whereby is the part of Whereby's REST API (docs.whereby.com/reference)
// and of its webhooks that apps built on it use, in Whereby's own shapes: an app
// moves by changing base URL, key and secret. What usher does not do is accepted
// and said so, see [Ignored]; docs/whereby.md has the list.
package whereby

import (
	"cmp"
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"usher/api"
	"usher/meeting"
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
	// Lobby says that the site has one: locked meetings then use it.
	Lobby bool
	// Upstream is Whereby itself, where a part of the meetings is; nil: all are here.
	Upstream *Upstream
}

type facade struct {
	*service.Service
	Config
}

// New returns the API.
func New(cfg Config) api.Platform {
	f := &facade{cfg.Service, cfg}
	p := api.Platform{
		Prefix: prefix, MaxBody: MaxImage, WriteProblem: writeProblem, Failure: failure{},
		Title:       "usher, as Whereby",
		Description: "The part of Whereby's REST API that usher answers, in Whereby's own shapes. Bodies and queries may hold more, which is not looked at.",
	}
	add := func(scope api.Scope, status int, serve handler, described api.Described, patterns ...string) {
		for _, pattern := range patterns {
			p.Routes = append(p.Routes, api.Route{Pattern: pattern, Scope: scope, Status: status, Described: described, Serve: func(w http.ResponseWriter, r *http.Request) error {
				body, err := serve(w, r)
				if answer, ok := body.(*relayed); ok {
					answer.writeTo(w)
				} else if err == nil {
					write(w, status, body)
				}
				return err
			}})
		}
	}
	// Routes that show links let people in, so seeing them takes the scope that
	// makes links.
	const (
		read, change, record = api.ScopeMeetingsRead, api.ScopeMeetingsWrite, api.ScopeRecordingsWrite
		ok, created, empty   = http.StatusOK, http.StatusCreated, http.StatusNoContent
	)
	create, deleteRecordings, theme := when(f.MakesTokens, f.createMeeting), handler(f.deleteRecordings), handler(putTheme)
	if f.Upstream != nil {
		create, deleteRecordings, theme = f.placeMeeting, f.deleteBoth, f.bySide(putTheme)
	}
	paged := slices.Clip([]string{"cursor", "limit", "sortBy"})
	add(change, created, create, api.Described{Summary: "Make a meeting", Request: createBody{}, Answer: meetingBody{}}, "POST /v1/meetings")
	add(change, ok, f.both(usualPage, fields{"meetingId", "startDate"}, when(f.MakesTokens, listing(usualPage, f.listMeetings))),
		api.Described{Summary: "List meetings, the newest first, with links that let people in", Query: append(paged, "roomName", "fields"), Answer: listBody[meetingBody]{}}, "GET /v1/meetings")
	add(change, ok, f.byID("mtg_", when(f.MakesTokens, f.getMeeting)), api.Described{Summary: "See a meeting", Query: []string{"fields"}, Answer: meetingBody{}}, "GET /v1/meetings/{id}")
	add(change, empty, f.byID("mtg_", f.deleteMeeting), api.Described{Summary: "End a meeting: everybody out, and nobody in again"}, "DELETE /v1/meetings/{id}")
	add(read, ok, f.both(insightsPage, fields{"roomName", "createdAt"}, when(f.synced, listing(insightsPage, f.insightsRooms))),
		api.Described{Summary: "List what rooms came to", Query: append(paged, "roomName", "roomName[exact]", "roomName[startsWith]"), Answer: listBody[roomBody]{}}, "GET /v1/insights/rooms")
	add(read, ok, f.both(insightsPage, fields{"roomSessionId", "startedAt"}, when(f.synced, listing(insightsPage, f.insightsSessions))),
		api.Described{Summary: "List sessions", Query: append(paged, "roomName", "roomSessionId"), Answer: listBody[sessionBody]{}}, "GET /v1/insights/room-sessions")
	add(read, ok, f.bySide(when(f.synced, listing(insightsPage, f.insightsPeople))),
		api.Described{Summary: "List the people of a session", Query: []string{"cursor", "limit", "roomSessionId", "externalId"}, Answer: listBody[personBody]{}}, "GET /v1/insights/participants")
	add(read, ok, f.bySide(when(f.synced, f.insightsPerson)),
		api.Described{Summary: "See one of the people of a session", Query: []string{"roomSessionId", "participantId"}, Answer: personBody{}}, "GET /v1/insights/participant")
	add(read, ok, f.both(usualPage, fields{"recordingId", "startDate"}, listing(usualPage, f.listRecordings)),
		api.Described{Summary: "List recordings whose file is there", Query: append(paged, "roomName"), Answer: listBody[recordingBody]{}}, "GET /v1/recordings")
	add(record, empty, deleteRecordings, api.Described{Summary: "Delete up to 100 recordings", Request: bulkBody{}}, "POST /v1/recordings/bulk-delete")
	add(read, ok, f.byID("rec_", f.getRecording), api.Described{Summary: "See a recording", Answer: recordingBody{}}, "GET /v1/recordings/{id}")
	add(record, empty, f.byID("rec_", f.deleteRecording), api.Described{Summary: "Delete a recording"}, "DELETE /v1/recordings/{id}")
	add(read, ok, f.byID("rec_", f.linkRecording), api.Described{Summary: "Get a link to the file of a recording", Query: []string{"validForSeconds"}, Answer: linkBody{}}, "GET /v1/recordings/{id}/access-link")
	add(change, empty, theme, api.Described{Summary: "Accept a look of the room, and leave it", Request: map[string]any{}},
		"PUT /v1/rooms/{name}/theme/logo", "PUT /v1/rooms/{name}/theme/tokens",
		"PUT /v1/rooms/{name}/theme/room-background", "PUT /v1/rooms/{name}/theme/room-knock-page-background")
	if f.Upstream != nil {
		passed := api.Described{} // Whereby's own document has these
		add(read, ok, f.relay, passed, "GET /v1/transcriptions", "GET /v1/transcriptions/{id}", "GET /v1/transcriptions/{id}/access-link",
			"GET /v1/summaries", "GET /v1/summaries/{id}")
		add(record, ok, f.relay, passed, "POST /v1/transcriptions", "POST /v1/transcriptions/bulk-delete", "POST /v1/summaries",
			"DELETE /v1/transcriptions/{id}", "DELETE /v1/summaries/{id}")
		// Whatever else Whereby may have; who knows what that shows.
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			add(change, ok, f.relay, passed, method+" /v1/{rest...}")
		}
		if f.Upstream.WebhookSecret != "" {
			p.Hooks = []api.Route{{Pattern: "POST " + HookPath, Status: empty, Serve: f.takeHook}}
		}
		return p
	}
	// Of these there are never any.
	none := func(*http.Request, string, int) ([]writtenBody, string, error) { return nil, "", nil }
	nothing := api.Described{Summary: "Answer as if there was none, as there never is"}
	emptyList := api.Described{Summary: nothing.Summary, Query: []string{"cursor", "limit"}, Answer: listBody[writtenBody]{}}
	add(read, ok, listing(usualPage, none), emptyList, "GET /v1/transcriptions", "GET /v1/summaries")
	deleted := func(http.ResponseWriter, *http.Request) (any, error) { return nil, nil }
	absent := func(http.ResponseWriter, *http.Request) (any, error) { return nil, meeting.ErrNotFound }
	add(read, ok, absent, nothing, "GET /v1/transcriptions/{id}", "GET /v1/summaries/{id}")
	add(record, ok, absent, nothing, "POST /v1/transcriptions", "POST /v1/summaries") // of a recording, of a transcription
	add(record, empty, deleted, nothing, "DELETE /v1/transcriptions/{id}", "POST /v1/transcriptions/bulk-delete", "DELETE /v1/summaries/{id}")
	return p
}

// handler returns the body of the usual answer, nil for none, or an error.
type handler func(w http.ResponseWriter, r *http.Request) (body any, err error)

// when serves what may be served while check has no error.
func when(check func() error, serve handler) handler {
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		if err := check(); err != nil {
			return nil, err
		}
		return serve(w, r)
	}
}

// listing answers with a page of a list; it has usual elements unless the query
// says how many.
func listing[T any](usual int, page func(r *http.Request, cursor string, limit int) (results []T, next string, err error)) handler {
	return func(_ http.ResponseWriter, r *http.Request) (any, error) {
		limit, err := number(r, "limit", usual, maxPage)
		if err != nil {
			return nil, err
		}
		cursor := r.URL.Query().Get("cursor")
		if len(cursor) > maxCursor || strings.ContainsFunc(cursor, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return nil, refuse("cursor must be the one of the page before")
		}
		results, next, err := page(r, cursor, limit)
		return listOf(results, next), err
	}
}

// writtenBody is a transcription or a summary, which there never is.
type writtenBody struct{}

// listBody is a page of a list.
type listBody[T any] struct {
	Cursor  *string `json:"cursor" doc:"Of the next page; null on the last one"`
	Results []T     `json:"results" nullable:"false"`
}

// listOf returns a page with the cursor of the next one, empty on the last.
func listOf[T any](results []T, next string) listBody[T] {
	return listBody[T]{orNull(next), append([]T{}, results...)}
}

// orNull returns a text, nil where that is empty.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
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
	Error string         `json:"error"`
	Data  map[string]int `json:"data,omitempty"` // msLeft: how long to wait
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
		body = failure{"Rate limit active for throttle key: " + key, map[string]int{"msLeft": max(1, seconds) * 1000}}
	}
	write(w, status, body)
}

// refuse refuses a request that can never be answered.
func refuse(detail string) error { return api.NewProblem(http.StatusBadRequest, detail) }

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

// maxCursor, in bytes, is more than any store's cursor needs.
const maxCursor = 200

// number reads a parameter of the query that is a number from 1 to most; usual
// when it is missing.
func number(r *http.Request, name string, usual, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, refuse(name + " must be a number from 1 to " + strconv.Itoa(most))
	}
	return n, nil
}

// inOrder turns a page round when the query asks for the oldest first. Other
// orders are not offered.
func inOrder[T any](r *http.Request, newestFirst []T) []T {
	switch strings.ToLower(r.URL.Query().Get("sortBy")) {
	case "startedat:asc", "startdate:asc", "createdat:asc":
		slices.Reverse(newestFirst)
	}
	return newestFirst
}

// roomOf returns the room that the query names, empty for none: with a slash in
// front or without, in any case.
func roomOf(r *http.Request) string {
	q := r.URL.Query()
	return bareRoom(cmp.Or(q.Get("roomName"), q.Get("roomName[exact]")))
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
	if err = api.DecodeJSON(data, into); err != nil {
		return refuse("the body is wrong: " + err.Error())
	}
	return nil
}
