package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"usher/meeting"
)

// loadDocument reads and validates the document that is served, its examples
// among it.
func loadDocument(t *testing.T, s *site) *openapi3.T {
	t.Helper()
	served := s.do("GET", "/openapi.json", "")
	doc, err := openapi3.NewLoader().LoadFromData(served.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDocumentIsValid(t *testing.T) {
	doc := loadDocument(t, newSite(t))
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.RequestBody != nil && op.RequestBody.Value.Content["application/json"].Example == nil {
				t.Errorf("%s %s: no example of a request", method, path)
			}
			for status, answer := range op.Responses.Map() {
				for kind, content := range answer.Value.Content {
					if content.Example == nil {
						t.Errorf("%s %s: no example of a %s as %s", method, path, status, kind)
					}
				}
			}
			if op.Security == nil || len((*op.Security)[0]["key"]) != 1 {
				t.Errorf("%s %s names no scope", method, path)
			}
		}
	}
}

// matching checks each request and answer that passes through against the
// document.
type matching struct {
	t      *testing.T
	next   http.Handler
	router routers.Router
	seen   map[string]bool // operations that answered well
	held   map[string]bool // answers that were held against the document: kin-openapi compiles a schema each time
}

func (m *matching) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	rec := httptest.NewRecorder()
	r.Body = io.NopCloser(bytes.NewReader(body))
	m.next.ServeHTTP(rec, r.Clone(r.Context()))
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())

	route, params, err := m.router.FindRoute(r)
	if err != nil {
		m.t.Errorf("%s %s is not in the document: %v", r.Method, r.URL.Path, err)
		return
	}
	m.seen[route.Operation.OperationID] = m.seen[route.Operation.OperationID] || rec.Code < 300
	r.Body = io.NopCloser(bytes.NewReader(body))
	asked := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, MultiError: true,
			AuthenticationFunc: func(context.Context, *openapi3filter.AuthenticationInput) error { return nil },
		},
	}
	if rec.Code < 300 {
		if err := openapi3filter.ValidateRequest(r.Context(), asked); err != nil {
			m.t.Errorf("%s %s was accepted: %v", r.Method, r.URL, err)
		}
	}
	answer := fmt.Sprint(route.Operation.OperationID, rec.Code, rec.Body)
	if m.held[answer] {
		return
	}
	m.held[answer] = true
	err = openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: asked, Status: rec.Code, Header: rec.Header(),
		Body: io.NopCloser(bytes.NewReader(rec.Body.Bytes())), Options: asked.Options,
	})
	if err != nil {
		m.t.Errorf("%s %s answers %d %s: %v", r.Method, r.URL, rec.Code, rec.Body, err)
	}
}

// TestAnswersMatchTheDocument uses every operation, well and badly.
func TestAnswersMatchTheDocument(t *testing.T) {
	s := newSite(t)
	s.serve(func(c *testConfig) { c.Files = &fakeFiles{} })
	doc := loadDocument(t, s)
	doc.Servers = nil
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	m := &matching{t: t, next: s.handler, router: router, seen: map[string]bool{}, held: map[string]bool{}}
	s.handler = m

	var made meeting.MeetingInfo
	s.do("POST", "/v1/meetings", `{"name_prefix":"a","external_id":"x","start_at":null,"end_at":"2099-01-01T00:00:00Z","metadata":{"a":"b"}}`).into(201, &made)
	path := "/v1/meetings/" + made.ID
	s.do("PATCH", path, `{"end_at":null,"max_participants":7,"start_at":null,"metadata":null}`)
	ada := human("aa")
	ada.UserID, ada.Name, ada.HandRaised = "u1", "José <b>&😀", 1732330000000
	s.observe(made.Room, meeting.Seen{Occupant: ada})
	s.observe(made.Room, meeting.Seen{Occupant: human("bb")})
	s.observe(made.Room, meeting.Gone{Nick: "bb", Reason: meeting.LeftByChoice})
	var people struct{ Data []meeting.ParticipantInfo }
	s.do("GET", path+"/participants?active=true", "").into(200, &people)
	var sessions struct{ Data []meeting.SessionInfo }
	s.do("GET", path+"/sessions?limit=1", "").into(200, &sessions)
	var l Link
	s.do("POST", path+"/links", `{"user":{"id":"u1","name":"Ada","avatar":"https://example.org/a.png"},"jwt_in":"query"}`).into(201, &l)
	var rec meeting.RecordingInfo
	s.do("POST", path+"/recordings", `{"no_queue":true}`).into(202, &rec)
	s.do("POST", path+"/recordings", "")
	s.must(made.ID, meeting.RecordingInput{Kind: meeting.RecordingTried, Recording: meeting.Recording{RecordingStatus: rec.RecordingStatus}})
	s.must(made.ID, meeting.RecordingInput{Kind: meeting.RecordingAccepted, Recording: meeting.Recording{RecordingStatus: rec.RecordingStatus}, JibriSession: "s1"})
	stored, err := s.store.Recording(t.Context(), rec.ID)
	if err != nil {
		t.Fatal(err)
	}
	file := meeting.RecordingFile{Name: "a.mp4", Dir: "s1", Storage: meeting.StorageS3, Path: "a.mp4", Size: 1}
	s.must(made.ID, meeting.RecordingInput{Kind: meeting.RecordingStored, Recording: stored, JibriSession: "s1", Files: []meeting.RecordingFile{file}})
	key := s.makeKey("app", `"events:read"`)
	s.useWebhooks()
	for _, request := range []string{
		"GET /v1/meetings", "GET " + path, "GET /v1/rooms", "GET /v1/sessions/" + sessions.Data[0].ID,
		"GET /v1/sessions/" + sessions.Data[0].ID + "/participants", "GET " + path + "/participants/" + people.Data[0].ID,
		"DELETE " + path + "/participants/" + people.Data[0].ID + "?reason=enough",
		`POST ` + path + `/tokens {"role":"host"}`, "GET " + path + "/links", "DELETE " + path + "/links/" + l.ID, "GET " + path + "/links",
		"GET /v1/recordings", "GET " + path + "/recordings", "GET /v1/recordings/" + rec.ID, "GET /v1/recordings/" + rec.ID + "/download",
		"POST /v1/recordings/" + rec.ID + "/stop", "DELETE /v1/recordings/" + rec.ID, "GET /v1/recorders", "GET /v1/recording-queue",
		"POST /v1/meetings/none/recordings", "DELETE /v1/recordings/none",
		"GET /v1/insights/sessions", "GET /v1/insights/sessions?room=none", "GET /v1/insights/rooms?limit=1",
		"GET /v1/events?limit=100", "GET /v1/events?meeting_id=none", "GET /v1/api-keys", "DELETE /v1/api-keys/" + key.ID,
		"POST " + path + "/end", "GET " + path, "GET /v1/meetings?state=ended", "DELETE " + path,
		// And what goes wrong.
		"GET " + path, "GET /v1/meetings?limit=0", "GET /v1/sessions/x", `POST /v1/meetings {"room":7}`, `POST /v1/meetings {`,
		`PATCH ` + path + ` {"end_at":"x"}`, "DELETE /v1/api-keys/none", "GET /v1/events?after=x",
	} {
		method, rest, _ := strings.Cut(request, " ")
		target, body, _ := strings.Cut(rest, " ")
		s.do(method, target, body)
	}
	other := s.create(`{"room":"b"}`)["id"].(string)
	s.patch("/v1/meetings/"+other, `"9"`, `{"max_duration_s":1}`)
	s.do("POST", "/v1/meetings", `{"room":"b"}`)
	s.as(s.makeKey("poor", `"events:read"`).Key, "GET", "/v1/meetings", "")
	s.send("GET", "/v1/meetings", "", "", "")
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			// A stream has no end; its own tests look at it.
			if !m.seen[op.OperationID] && op.OperationID != "stream-events" {
				t.Errorf("%s %s was never answered well", method, path)
			}
		}
	}
}

// TestMatchingCanFail makes sure that the validator sees what is wrong.
func TestMatchingCanFail(t *testing.T) {
	s := newSite(t)
	doc := loadDocument(t, s)
	schema := doc.Components.Schemas["Meeting"].Value
	for _, tt := range []struct {
		change string
		valid  bool
	}{{``, true}, {`"state":"odd"`, false}, {`"created_at":7`, false}, {`"end_at":null`, true}, {`"room":null`, false}, {`"occupancy":{}`, false}} {
		var m anyMap
		data := encode(t, s.create(`{}`))
		if tt.change != "" {
			data = append(data[:len(data)-1], ","+tt.change+"}"...)
		}
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		if err := schema.VisitJSON(m); (err == nil) != tt.valid {
			t.Errorf("with %s: %v, want valid %v", tt.change, err, tt.valid)
		}
	}
}
