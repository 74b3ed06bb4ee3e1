package whereby_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"usher/internal/apitest"
)

// documented has the document, once a test of a whole site has asked for it.
var documented struct {
	sync.Mutex
	*apitest.Schemas
}

// matches holds an answer of Whereby's API against its document.
func (s *site) matches(method, target string, r response) {
	s.t.Helper()
	request, err := http.NewRequest(method, "http://usher"+target, http.NoBody)
	if err != nil || r.Body.Len() == 0 {
		return
	}
	_, pattern := s.routes.Handler(request)
	_, path, found := strings.Cut(pattern, " ")
	if !found {
		return // not as the document writes it
	}
	status := strconv.Itoa(r.Code)
	if r.Code/100 == 4 {
		status = "4XX"
	}
	documented.Lock()
	defer documented.Unlock()
	if documented.Schemas == nil {
		documented.Schemas = apitest.NewSchemas(s.t, apitest.Send(s.handler, "GET", "/openapi-whereby.json", "", nil).Body.Bytes())
	}
	pointer := apitest.Pointer("paths", path, strings.ToLower(method), "responses", status, "content", "application/json", "schema")
	if err := documented.Check(s.t, pointer, r.Body.Bytes()); err != nil {
		s.t.Errorf("%s %s answers %d %s: %v", method, target, r.Code, r.Body, err)
	}
}

// TestDocument has the linters read the document, and makes sure that an answer can
// fail to match it.
func TestDocument(t *testing.T) {
	s := newStandby(t)
	text := apitest.Send(s.handler, "GET", "/openapi-whereby.json", "", nil).Body.Bytes()
	apitest.InstallClientTools(t, "../testdata/clients", text).Lint(t)
	schemas := apitest.NewSchemas(t, text)
	schema := apitest.Pointer("paths", "/whereby/v1/meetings", "post", "responses", "201", "content", "application/json", "schema")
	good := `{"meetingId":"m","roomName":"/r","roomUrl":"https://a.example/r","startDate":"2026-01-01T00:00:00.000Z","endDate":null}`
	for text, valid := range map[string]bool{good: true, strings.Replace(good, `"m"`, "7", 1): false, strings.Replace(good, "startDate", "start", 1): false, strings.Replace(good, "2026", "x", 1): false} {
		if err := schemas.Check(t, schema, []byte(text)); (err == nil) != valid {
			t.Errorf("%s: %v, want valid %v", text, err, valid)
		}
	}
}
