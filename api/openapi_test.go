package api

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"usher/internal/apitest"
	"usher/meeting"
)

// document is the one that is served.
type document struct {
	*openapi3.T
	*apitest.Schemas
	routes *http.ServeMux // leads to the operations
}

// operationRoute is an operation as its document has it.
type operationRoute struct {
	*openapi3.Operation
	pointer string // in the document
	pattern string // as net/http has it
}

func (operationRoute) ServeHTTP(http.ResponseWriter, *http.Request) {}

var loaded struct {
	sync.Mutex
	*document
}

// loadDocument reads the document that is served. Not for use in a synctest bubble.
func loadDocument(t *testing.T) *document {
	t.Helper()
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.document != nil {
		return loaded.document
	}
	text := newStandby(t).do("GET", "/openapi.json", "").Body.Bytes()
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	d := &document{doc, apitest.NewSchemas(t, text), http.NewServeMux()}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			pattern := method + " " + path
			pointer := "/paths/" + strings.ReplaceAll(path, "/", "~1") + "/" + strings.ToLower(method)
			d.routes.Handle(pattern, operationRoute{op, pointer, pattern})
		}
	}
	loaded.document = d
	return d
}

func TestDocumentIsValid(t *testing.T) {
	doc := loadDocument(t)
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			handler, _ := doc.routes.Handler(httptest.NewRequest(method, path, nil))
			pointer := handler.(operationRoute).pointer
			example := func(pointer string, content *openapi3.MediaType) {
				if content.Example == nil {
					t.Errorf("%s has no example", pointer)
				} else if err := doc.Check(t, pointer+"/schema", encode(t, content.Example)); err != nil {
					t.Errorf("the example of %s does not fit: %v", pointer, err)
				}
			}
			if op.RequestBody != nil {
				for name, field := range op.RequestBody.Value.Content["application/json"].Schema.Value.Properties {
					if field.Value.Default != nil {
						t.Errorf("%s %s: %s has a default, so clients that are generated want it given", method, path, name)
					}
				}
				example(pointer+"/requestBody/content/application~1json", op.RequestBody.Value.Content["application/json"])
			}
			for status, answer := range op.Responses.Map() {
				for kind, content := range answer.Value.Content {
					example(pointer+"/responses/"+status+"/content/"+strings.ReplaceAll(kind, "/", "~1"), content)
				}
			}
			if op.Security == nil || len((*op.Security)[0]["key"]) != 1 && path != "/v1/me" {
				t.Errorf("%s %s names no scope", method, path)
			}
		}
	}
}

// matching checks each request and answer that passes through against the
// document.
type matching struct {
	t    *testing.T
	next http.Handler
	doc  *document
	seen map[string]bool // operations that answered well
}

// match puts it in front of a site.
func (s *site) match(t *testing.T) *matching {
	m := &matching{t, s.handler, loadDocument(t), map[string]bool{}}
	s.handler = m
	return m
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

	handler, _ := m.doc.routes.Handler(r)
	op, there := handler.(operationRoute)
	if !there {
		m.t.Errorf("%s %s is not in the document", r.Method, r.URL.Path)
		return
	}
	m.seen[op.OperationID] = m.seen[op.OperationID] || rec.Code < 300
	if rec.Code < 300 {
		m.checkRequest(op, r, body)
	}
	status := strconv.Itoa(rec.Code)
	answer := op.Responses.Value(status)
	switch kind := rec.Header().Get("Content-Type"); {
	case answer == nil:
		m.t.Errorf("%s %s answers %d, which is not in the document", r.Method, r.URL, rec.Code)
	case len(answer.Value.Content) == 0 && rec.Body.Len() == 0:
	case answer.Value.Content[kind] == nil:
		m.t.Errorf("%s %s answers %d with %s, which is not in the document", r.Method, r.URL, rec.Code, kind)
	default:
		text := rec.Body.Bytes()
		if !strings.HasSuffix(kind, "json") {
			text = encode(m.t, string(text)) // a string, to a schema
		}
		pointer := op.pointer + "/responses/" + status + "/content/" + strings.ReplaceAll(kind, "/", "~1") + "/schema"
		if err := m.doc.Check(m.t, pointer, text); err != nil {
			m.t.Errorf("%s %s answers %d %s: %v", r.Method, r.URL, rec.Code, rec.Body, err)
		}
	}
}

// checkRequest holds a request that was accepted against its operation.
func (m *matching) checkRequest(op operationRoute, r *http.Request, body []byte) {
	accepted := func(pointer string, text []byte) {
		if err := m.doc.Check(m.t, op.pointer+pointer, text); err != nil {
			m.t.Errorf("%s %s %s was accepted: %v", r.Method, r.URL, text, err)
		}
	}
	if op.RequestBody != nil && (len(body) > 0 || op.RequestBody.Value.Required) {
		accepted("/requestBody/content/application~1json/schema", body)
	}
	known := map[string]bool{}
	for i, p := range op.Parameters {
		known[p.Value.Name] = known[p.Value.Name] || p.Value.In == openapi3.ParameterInQuery
		for _, value := range r.URL.Query()[p.Value.Name] {
			text := []byte(value)
			if yes, err := strconv.ParseBool(value); err == nil && p.Value.Schema.Value.Type.Is("boolean") {
				text = encode(m.t, yes) // 0 and 1 are taken as well
			}
			if p.Value.Schema.Value.Type.Is("string") || p.Value.Schema.Value.Type.Is("array") {
				text = encode(m.t, value)
			}
			if p.Value.Schema.Value.Type.Is("array") {
				list := []string{value}
				if p.Value.Explode == nil || !*p.Value.Explode {
					list = strings.Split(value, ",")
				}
				text = encode(m.t, list)
			}
			accepted(fmt.Sprintf("/parameters/%d/schema", i), text)
		}
	}
	for name := range r.URL.Query() {
		if !known[name] {
			m.t.Errorf("%s %s was accepted with the parameter %s", r.Method, r.URL, name)
		}
	}
}

// TestAnswersMatchTheDocument uses every operation, well and badly.
func TestAnswersMatchTheDocument(t *testing.T) {
	s := newSite(t)
	s.serve(func(c *testConfig) { c.Files = &fakeFiles{} })
	m := s.match(t)

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
		"GET /v1/sessions/" + sessions.Data[0].ID + "/speakers", "GET /v1/sessions/" + sessions.Data[0].ID + "/timeline?format=vtt",
		"GET /v1/sessions/" + sessions.Data[0].ID + "/participants", "GET " + path + "/participants/" + people.Data[0].ID,
		"GET /v1/sessions/" + sessions.Data[0].ID + "/attendance", "GET /v1/sessions/" + sessions.Data[0].ID + "/attendance.csv", "GET /v1/usage",
		"DELETE " + path + "/participants/" + people.Data[0].ID + "?reason=enough",
		`POST ` + path + `/tokens {"role":"host"}`, "GET " + path + "/links", "DELETE " + path + "/links/" + l.ID, "GET " + path + "/links",
		"GET /v1/recordings", "GET " + path + "/recordings", "GET /v1/recordings/" + rec.ID, "GET /v1/recordings/" + rec.ID + "/download",
		"POST /v1/recordings/" + rec.ID + "/stop", "DELETE /v1/recordings/" + rec.ID, "GET /v1/recorders", "GET /v1/recording-queue",
		"POST /v1/meetings/none/recordings", "DELETE /v1/recordings/none",
		"GET /v1/insights/sessions", "GET /v1/insights/sessions?room=none", "GET /v1/insights/rooms?limit=1",
		"GET /v1/events?limit=100", "GET /v1/me", "GET /v1/participants?user_id=u1&active=true", "GET /v1/meetings?metadata=a:b&metadata=c:d&created_after=2026-01-01T00:00:00Z",
		"GET /v1/events?type=session.*,meeting.created&from=2026-01-01T00:00:00Z", "GET /v1/insights/sessions?from=2026-01-01T00:00:00Z", "GET /v1/events?meeting_id=none", "GET /v1/api-keys", "DELETE /v1/api-keys/" + key.ID,
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
	for path, item := range m.doc.Paths.Map() {
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
	for _, tt := range []struct {
		change string
		valid  bool
	}{{``, true}, {`"state":"odd"`, false}, {`"created_at":7`, false}, {`"end_at":null`, true}, {`"room":null`, false}, {`"occupancy":{}`, false}} {
		data := encode(t, s.create(`{}`))
		if tt.change != "" {
			data = append(data[:len(data)-1], ","+tt.change+"}"...)
		}
		if err := loadDocument(t).Check(t, "/components/schemas/Meeting", data); (err == nil) != tt.valid {
			t.Errorf("with %s: %v, want valid %v", tt.change, err, tt.valid)
		}
	}
}
