package whereby_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"usher/meeting"
)

// wherebySite is a site and how Reflector uses it: whereby.py of its
// video_platforms, over a real connection, with no redirect followed.
type wherebySite struct {
	*site
	base string
}

func newWherebySite(t *testing.T, change func(*testConfig)) *wherebySite {
	t.Helper()
	s := newSite(t)
	if change != nil {
		s.serve(change)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	return &wherebySite{s, srv.URL + "/whereby/v1"}
}

var wherebyClient = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// call sends a request to a URL that is not tidied up, and returns status,
// headers and body.
func (s *wherebySite) call(method, url, contentType string, body []byte) (int, http.Header, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testKey)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	res, err := wherebyClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, res.Header, b.String()
}

// get decodes an answer that must be a 200.
func (s *wherebySite) get(path string, v any) {
	s.t.Helper()
	status, _, body := s.call("GET", s.base+path, "", nil)
	if status != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), v); err != nil {
		s.t.Fatalf("GET %s: %s: %v", path, body, err)
	}
}

// refused sends a request and returns the message of the error, which must be
// in Whereby's shape.
func (s *wherebySite) refused(method, path, contentType, body string, want int) string {
	s.t.Helper()
	status, h, text := s.call(method, s.base+path, contentType, []byte(body))
	var e map[string]any
	if err := json.Unmarshal([]byte(text), &e); err != nil || status != want {
		s.t.Fatalf("%s %s: %d %s, want %d", method, path, status, text, want)
	}
	message, _ := e["error"].(string)
	if message == "" || len(e) > 1 || !strings.HasPrefix(h.Get("Content-Type"), "application/json") {
		s.t.Errorf("%s %s: %s as %s, want {\"error\":…} as JSON", method, path, text, h.Get("Content-Type"))
	}
	return message
}

type madeMeeting struct {
	ID, Room, URL, HostURL string
	header                 http.Header
}

// createMeeting makes a meeting, the body's rest being more fields of it.
func (s *wherebySite) createMeeting(rest string) madeMeeting {
	s.t.Helper()
	status, h, body := s.call("POST", s.base+"/meetings", "application/json; charset=utf-8",
		[]byte(`{"endDate":"2099-02-20T20:09:39.123456+00:00","fields":["hostRoomUrl"]`+rest+`}`))
	var m map[string]string
	if err := json.Unmarshal([]byte(body), &m); err != nil || status != http.StatusCreated {
		s.t.Fatalf("create with %s: %d %s", rest, status, body)
	}
	s.nextMillisecond()
	return madeMeeting{m["meetingId"], strings.TrimPrefix(m["roomName"], "/"), m["roomUrl"], m["hostRoomUrl"], h}
}

// nextMillisecond makes what comes next later than what was: ids and times order
// by milliseconds.
func (s *wherebySite) nextMillisecond() {
	now := time.Now().UnixMilli()
	s.until(func() bool { return time.Now().UnixMilli() > now })
}

// person lets the tracker see somebody come or go.
func (s *wherebySite) person(m madeMeeting, f meeting.Input) { s.t.Helper(); s.observe(m.Room, f) }

func form(t *testing.T, part, name, contentType string, data []byte) (string, []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	h := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name="%s"; filename="%s"`, part, name)}}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	p, err := w.CreatePart(h)
	if err == nil {
		_, err = p.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

var png = []byte("\x89PNG\r\n\x1a\n0000")
