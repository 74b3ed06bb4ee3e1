package api

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"usher/internal/apitest"
	"usher/internal/stack/stacktest"
	"usher/meeting"
	"usher/meeting/tracker"
	"usher/store"
)

// Values at the edge of what a field or parameter may have, besides null and
// nothing. Those of edgeTexts have to be refused by every text.
var (
	edgeTexts  = []string{"a\x00b", "a\nb", "a\x7fb", "a\u0085b"}
	edgeValues = slices.Concat(edgeTexts, []string{
		"", "\xff", "-1", "0", "1", "0-0", "00-00", "0-1", "9999999999999999999", "9999999999999999999-9999999999999999999", ".", "a.b", "-", "(", "+",
		"0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00Z",
		"2999-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59",
	})
)

// edgeSite is a site on a real Redis, with something of each kind, whose answers
// are held against the document.
type edgeSite struct {
	*site
	doc *document
	ids map[string]string // by the first word of the path
}

func newEdgeSite(t *testing.T) *edgeSite {
	rdb, err := store.NewRedis(store.Config{URL: stacktest.Redis(t).URL, Site: "edges"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	if err := rdb.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newStandby(t)
	s.tracker = tracker.New(rdb, apitest.NoRooms{}, tracker.Options{})
	s.feed = NewFeed(rdb, slog.New(slog.DiscardHandler))
	s.serve(func(c *testConfig) { c.Store = rdb })
	s.run()
	inbox := s.deliver()
	var hook Webhook
	s.do("POST", "/v1/webhooks", `{"url":"`+inbox+`"}`).into(201, &hook)
	m := s.create(`{"room":"a"}`)["id"].(string)
	s.observe("a", meeting.Seen{Occupant: human("aa")})
	var sessions struct{ Data []meeting.SessionInfo }
	s.do("GET", "/v1/meetings/"+m+"/sessions", "").into(200, &sessions)
	var rec meeting.RecordingInfo
	s.do("POST", "/v1/meetings/"+m+"/recordings", "").into(202, &rec)
	e := &edgeSite{s, s.match(t).doc, map[string]string{"meetings": m, "sessions": sessions.Data[0].ID, "recordings": rec.ID, "webhooks": hook.ID}}
	return e
}

// each calls f for each operation but the stream, with the path to something
// that is there.
func (e *edgeSite) each(f func(method, path string, op *openapi3.Operation)) {
	for pattern, item := range e.doc.Paths.Map() {
		path := strings.Replace(pattern, "{id}", e.ids[strings.Split(pattern, "/")[2]], 1)
		for _, name := range []string{"{participant}", "{link}", "{delivery}"} {
			path = strings.Replace(path, name, "none", 1)
		}
		for method, op := range item.Operations() {
			if op.OperationID != "stream-events" {
				f(method, path, op)
			}
		}
	}
}

// TestParametersAtTheEdge asks for each value of each parameter of a query:
// nothing is a fault of usher's, what the document refuses is not taken, and
// nothing in the place of a value is no way to see everything.
func TestParametersAtTheEdge(t *testing.T) {
	e := newEdgeSite(t)
	asked := 0
	e.each(func(method, path string, op *openapi3.Operation) {
		for _, p := range op.Parameters {
			if p.Value.In != openapi3.ParameterInQuery {
				continue
			}
			for _, value := range edgeValues {
				target := path + "?" + p.Value.Name + "=" + url.QueryEscape(value)
				res := e.do(method, target, "")
				asked++
				if res.Code >= 500 {
					t.Errorf("%s %s = %d %s, want no fault of usher's", method, target, res.Code, res.Body)
				}
				firstPage := p.Value.Schema.Value.Pattern != "" // a cursor, or a reason
				if value != "\xff" && (value != "" || firstPage) {
					continue
				}
				if problem := res.problem(422); len(problem.Errors) != 1 || problem.Errors[0].Parameter != p.Value.Name {
					t.Errorf("%s %s: errors = %+v, want one that names the parameter", method, target, problem.Errors)
				}
			}
		}
	})
	e.do("GET", "/v1/meetings?external_id=%zz", "").problem(422)
	if asked < 500 {
		t.Errorf("%d requests were made, want all parameters in them", asked)
	}
}

// TestBodiesAtTheEdge sends each value and null in each field of each body: a
// field that is refused is named, no text holds a control character, and null is
// taken just where the document has it.
func TestBodiesAtTheEdge(t *testing.T) {
	e := newEdgeSite(t)
	asked := 0
	e.each(func(method, path string, op *openapi3.Operation) {
		if op.RequestBody == nil {
			return
		}
		content := op.RequestBody.Value.Content["application/json"].Schema
		schema := content.Value
		send := func(pointer string, field *openapi3.Schema, null error, body anyMap, value any) {
			text := encode(t, body)
			res := e.do(method, path, string(text))
			asked++
			var p Problem
			_ = json.Unmarshal(res.Body.Bytes(), &p)
			named := slices.ContainsFunc(p.Errors, func(f FieldError) bool {
				return f.Pointer == pointer || pointer == "/start_at" && f.Pointer == "/end_at" // of two times the later
			})
			_, isText := value.(string)
			isText = isText && field.Type.Includes("string")
			switch {
			case res.Code >= 500 && res.Code != 501:
				t.Errorf("%s %s %s = %d %s, want no fault of usher's", method, path, text, res.Code, res.Body)
			case res.Code == 422 && !named, res.Code == 400:
				t.Errorf("%s %s %s = %d %s, want %s named", method, path, text, res.Code, res.Body, pointer)
			case isText && slices.Contains(edgeTexts, value.(string)) && res.Code != 422:
				t.Errorf("%s %s %s = %d, want the control character refused", method, path, text, res.Code)
			case value == nil && (res.Code == 422) == (null == nil):
				t.Errorf("%s %s %s = %d %s, and the document has %v of null", method, path, text, res.Code, res.Body, null)
			}
		}
		fields := func(prefix string, of *openapi3.SchemaRef, put func(name string, value any) anyMap) {
			for name, ref := range of.Value.Properties {
				null := e.doc.Check(t, strings.TrimPrefix(of.Ref, "#")+"/properties/"+name, []byte("null"))
				send(prefix+name, ref.Value, null, put(name, nil), nil)
				for _, value := range edgeValues {
					if value != "\xff" { // JSON has no way to say it
						send(prefix+name, ref.Value, null, put(name, value), value)
					}
				}
			}
		}
		fields("/", content, func(name string, value any) anyMap { return goodBody(schema, name, value) })
		if user := schema.Properties["user"]; user != nil {
			fields("/user/", user, func(name string, value any) anyMap { return anyMap{"user": anyMap{name: value}} })
		}
	})
	if asked < 500 {
		t.Errorf("%d requests were made, want all fields in them", asked)
	}
}

// goodBody returns one that is good but for the field.
func goodBody(s *openapi3.Schema, field string, value any) anyMap {
	body := anyMap{}
	for _, name := range s.Required {
		body[name] = map[string]any{"url": "https://a.example/", "after": "2026-01-01T00:00:00Z", "name": "a", "scopes": []string{"admin"}}[name]
	}
	if s.Properties["enabled"] != nil { // or null alone would be nothing to change
		body["enabled"], body["dialect"] = true, "standard"
	}
	body[field] = value
	return body
}

// TestTextIsUTF8 sends what JSON libraries read as another text than was meant.
func TestTextIsUTF8(t *testing.T) {
	s := newSite(t)
	for _, bad := range []string{"caf\xe9-1", "caf\xea-1", "a\xff", `a\ud83d`, `\uDE00\uD83D`, `\ud83dx\ude00`, `\\\udead`} {
		p := s.do("POST", "/v1/meetings", `{"external_id":"`+bad+`"}`).problem(400)
		if len(p.Errors) != 1 || !strings.Contains(p.Errors[0].Detail, "not UTF-8 at byte") {
			t.Errorf("errors for %q = %+v, want one that says where", bad, p.Errors)
		}
	}
	for text, want := range map[string]string{"é😀\ufffd": "é😀\ufffd", `\ud83d\ude00`: "😀", `\\ud83d`: `\ud83d`, `\ufffd`: "\ufffd", `\"\uD83D\uDE00`: `"😀`} {
		if got := s.create(`{"external_id":"` + text + `"}`)["external_id"]; got != want {
			t.Errorf("external_id of %s = %q, want %q", text, got, want)
		}
	}
}

// TestMetadataText lets an app keep several lines, and nothing that is no text.
func TestMetadataText(t *testing.T) {
	s := newSite(t)
	s.create(`{"metadata":{"agenda":"1.\tA\r\n2. B"}}`)
	if p := s.do("POST", "/v1/meetings", `{"external_id":"a\nb"}`).problem(422); p.Errors[0].Detail != "expected string to have no control characters" {
		t.Errorf("detail = %q, want it in words", p.Errors[0].Detail)
	}
	for _, bad := range []string{`{"a":"b\u0000"}`, `{"a":"\u001b[1m"}`, `{"a":"\u0085"}`, `{"a\n":"b"}`} {
		p := s.do("POST", "/v1/meetings", `{"metadata":`+bad+`}`).problem(422)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != "/metadata" {
			t.Errorf("errors for %s = %+v, want /metadata named", bad, p.Errors)
		}
	}
}

// TestDoubtfulLengthClosesTheConnection sends bodies whose end two programs may
// see in different places (RFC 9112 section 6.1): nothing is read after them.
func TestDoubtfulLengthClosesTheConnection(t *testing.T) {
	addr := newSite(t).listen(t, func(*http.Server) {})
	for _, tt := range []struct {
		head   string
		answer int // that are to come
	}{
		{"POST /v1/none HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1},
		{"POST /v1/none HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1},
		{"POST /v1/none HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1},
		{"POST /v1/none HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 2},
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, tt.head+"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		all, err := io.ReadAll(bufio.NewReader(conn))
		if got := strings.Count(string(all), "HTTP/1.1 ") + strings.Count(string(all), "HTTP/1.0 "); got != tt.answer || err != nil {
			t.Errorf("%q is answered %d times (%v), want %d", tt.head, got, err, tt.answer)
		}
		_ = conn.Close()
	}
}

// TestCenturiesAhead has times further away than a duration can be long.
func TestCenturiesAhead(t *testing.T) {
	s := newSite(t)
	s.create(`{"room":"late","end_at":"8999-12-31T23:59:59Z"}`)
	var granted reservation
	s.send("POST", "/reservations/conference", "name=late", "Bearer "+testToken, "").into(200, &granted)
	if granted.Duration <= 0 {
		t.Errorf("duration = %d, want a long one", granted.Duration)
	}
	var l Link
	s.do("POST", "/v1/meetings/"+s.create(`{"start_at":"8999-12-31T23:59:59Z"}`)["id"].(string)+"/links", `{}`).into(201, &l)
	res := s.send("GET", strings.TrimPrefix(l.URL, "https://usher.example.org"), "", "", "")
	if wait := res.Header().Get("Retry-After"); res.Code != 403 || wait == "" || wait[0] == '-' {
		t.Errorf("link of a meeting in the future = %d, Retry-After %q, want 403 and a long one", res.Code, wait)
	}
}
