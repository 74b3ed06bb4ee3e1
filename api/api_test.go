package api

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"usher/internal/apitest"
)

func TestNewRefusesWeakCredentials(t *testing.T) {
	tests := []struct {
		name  string
		keys  []string
		token string
	}{
		{"no key", nil, testToken},
		{"empty key", []string{testKey, ""}, testToken},
		{"short key", []string{"short-secret"}, testToken},
		{"key with a newline", []string{testKey + "\n"}, testToken},
		{"short token", []string{testKey}, "short-secret"},
		{"one secret for both", []string{testKey}, testKey},
	}
	for _, tt := range tests {
		_, err := New(Config{Keys: tt.keys, ReservationToken: tt.token})
		if err == nil {
			t.Errorf("%s: accepted", tt.name)
		} else if strings.Contains(err.Error(), "short-secret") || strings.Contains(err.Error(), testKey) {
			t.Errorf("%s: error %q tells the secret", tt.name, err)
		}
	}
}

func TestKey(t *testing.T) {
	s := newSite(t)
	for _, authorization := range []string{
		"", "Bearer", "Bearer ", "Basic " + testKey, "Bearer " + testKey + "x", "Bearer " + testKey[:16], testKey, "Bearer " + testToken,
	} {
		for _, path := range []string{"/v1/meetings", "/v1/none", "//v1//meetings", "/x/../v1/meetings"} {
			res := s.send("GET", path, "", authorization, "")
			p := res.problem(http.StatusUnauthorized)
			if !strings.Contains(p.Detail, "Authorization: Bearer") || !strings.HasPrefix(res.Header().Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("GET %s with %q: detail %q, WWW-Authenticate %q", path, authorization, p.Detail, res.Header().Get("WWW-Authenticate"))
			}
		}
	}
	for _, authorization := range []string{"Bearer " + testKey, "bearer  " + testKey, "Bearer another-key-of-this-site"} {
		s.send("GET", "/v1/meetings", "", authorization, "").into(http.StatusOK, &anyMap{})
	}
	if log := s.log.String(); strings.Contains(log, testKey[4:]) || strings.Contains(log, testToken[4:]) {
		t.Error("a secret is in the log")
	}
}

func TestPaths(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/v1/meetings", "//v1/meetings", "/v1//meetings/", "/v1/./meetings", "/v1%2Fmeetings", "/a/../v1/meetings"} {
		s.do("GET", path, "").into(http.StatusOK, &anyMap{})
	}
	for _, path := range []string{"/", "/none", "/v1/none", "/openapi.yaml", "/docs", "/metrics", "/debug/pprof/"} {
		s.do("GET", path, "").problem(http.StatusNotFound)
	}
	res := s.do("PUT", "/v1/meetings", "{}")
	res.problem(http.StatusMethodNotAllowed)
	if got := res.Header().Get("Allow"); !strings.Contains(got, "POST") {
		t.Errorf("Allow = %q, want POST in it", got)
	}
}

func TestRequestID(t *testing.T) {
	s := newSite(t)
	for given, kept := range map[string]bool{
		"abc-1.2_3": true, "": false, "a b": false, "a\nlevel=ERROR": false, strings.Repeat("a", 65): false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/openapi.json", nil)
		r.Header.Set("X-Request-Id", given)
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		got := w.Header().Get("X-Request-Id")
		if kept && got != given || !kept && !regexp.MustCompile(`^req_[0-9A-Z]{26}$`).MatchString(got) {
			t.Errorf("X-Request-Id for %q = %q", given, got)
		}
	}
}

func TestAccessLogHoldsNoQuery(t *testing.T) {
	s := newSite(t)
	s.do("GET", "/v1/meetings?external_id=s3cr3t&jwt=t0k3n", "")
	log := s.log.String()
	if strings.Contains(log, "s3cr3t") || strings.Contains(log, "t0k3n") {
		t.Errorf("query in the log: %s", log)
	}
	for _, want := range []string{"level=DEBUG", `route="GET /v1/meetings"`, "status=422", "request_id=req_"} {
		if !strings.Contains(log, want) {
			t.Errorf("%s is not in the log: %s", want, log)
		}
	}
}

func TestPanicIsAnswered(t *testing.T) {
	s := newStandby(t)
	s.serve(func(c *testConfig) { c.Store = apitest.Panicky{Store: s.store} })
	res := s.do("GET", "/v1/meetings/m", "")
	if body := res.Body.String(); strings.Contains(body, "bug") || strings.Contains(body, "goroutine") {
		t.Errorf("answer tells of the panic: %s", body)
	}
	res.problem(http.StatusInternalServerError)
	if log := s.log.String(); !strings.Contains(log, "a bug") || !strings.Contains(log, "Panicky") {
		t.Errorf("log does not tell of the panic: %s", log)
	}
}

func TestRequestMetrics(t *testing.T) {
	s := newSite(t)
	started, err := testutil.GatherAndCount(s.metrics, "usher_http_request_duration_seconds")
	if err != nil || started != 50+1+1+1+1+3 {
		t.Errorf("series at the start = %d, %v, want one for each route", started, err)
	}
	for range 50 {
		id := s.create(`{}`)["id"].(string)
		s.do("GET", "/v1/meetings/"+id, "")
		s.do("GET", "/none/"+id, "")
		s.do("M"+id[4:], "/none/x", "")
	}
	// What was there, plus unknown paths under two methods.
	after, err := testutil.GatherAndCount(s.metrics, "usher_http_request_duration_seconds")
	if err != nil || after != started+2 {
		t.Errorf("series = %d, %v, want %d", after, err, started+2)
	}
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, m := range families[0].GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() { // code, method, route
			labels = append(labels, l.GetValue())
		}
		counts[strings.Join(labels, " ")] = m.GetHistogram().GetSampleCount()
	}
	for labels, want := range map[string]uint64{
		"201 POST /v1/meetings": 50, "200 GET /v1/meetings/{id}": 50, "404 GET none": 50, "404 other none": 50, "200 GET /v1/sessions/{id}": 0,
	} {
		if got, there := counts[labels]; got != want || !there {
			t.Errorf("requests %s = %d, want %d", labels, got, want)
		}
	}
	problems, err := testutil.GatherAndLint(s.metrics)
	if err != nil || len(problems) != 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestOpenAPI(t *testing.T) {
	s := newSite(t)
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]struct{ Responses map[string]anyMap }
		Components struct {
			Schemas map[string]struct {
				Properties map[string]anyMap
				Required   []string
			}
		}
	}
	s.send("GET", "/openapi.json", "", "", "").into(http.StatusOK, &doc)
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("openapi = %q, want 3.1.0", doc.OpenAPI)
	}
	for path, ops := range map[string][]string{
		"/v1/meetings": {"get", "post"}, "/v1/meetings/{id}": {"get"}, "/v1/meetings/{id}/end": {"post"},
		"/v1/meetings/{id}/participants": {"get"}, "/v1/meetings/{id}/sessions": {"get"},
		"/v1/sessions/{id}": {"get"}, "/v1/sessions/{id}/participants": {"get"},
	} {
		for _, op := range ops {
			o, there := doc.Paths[path][op]
			if !there {
				t.Errorf("%s %s is missing", op, path)
			} else if _, there := o.Responses["503"]["content"].(anyMap)[problemType]; !there {
				t.Errorf("%s %s: 503 is no problem+json: %v", op, path, o.Responses["503"])
			}
		}
	}
	schema := func(name, field string) string {
		b, _ := json.Marshal(doc.Components.Schemas[name].Properties[field])
		return string(b)
	}
	for _, tt := range []struct{ name, field, want string }{
		{"Meeting", "created_at", `"format":"date-time"`},
		{"Meeting", "end_at", `["string","null"]`},
		{"Meeting", "session", `{"type":"null"}`},
		{"Meeting", "state", `"enum":["created","live","idle","ended"]`},
		{"Session", "started_at", `"type":"string"`},
		{"Participant", "left_at", `"format":"date-time"`},
		{"NewMeeting", "end_at", `["string","null"]`},
		{"Problem", "errors", `FieldError`},
	} {
		if got := schema(tt.name, tt.field); !strings.Contains(got, tt.want) {
			t.Errorf("schema of %s.%s = %s, want %s in it", tt.name, tt.field, got, tt.want)
		}
	}
}

// listen serves the handler as the public one is served, on a free port.
func (s *site) listen(t *testing.T, change func(*http.Server)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(s.handler, slog.New(slog.DiscardHandler))
	change(srv)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(LimitConnections(l, 100)) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// talk sends raw bytes and returns the status line of the answer, "" when the
// connection was closed without one.
func talk(t *testing.T, addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	go func() { _, _ = io.WriteString(conn, request) }() // ends with the connection
	line, err := bufio.NewReader(conn).ReadString('\n')
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatal("the connection stays open")
	}
	return strings.TrimSpace(line)
}

func TestHostileConnections(t *testing.T) {
	s := newSite(t)
	addr := s.listen(t, func(*http.Server) {})
	hasty := s.listen(t, func(srv *http.Server) {
		if srv.ReadHeaderTimeout != ReadHeaderTimeout || srv.ReadTimeout != ReadTimeout || srv.WriteTimeout != WriteTimeout ||
			srv.IdleTimeout != IdleTimeout || srv.MaxHeaderBytes != MaxHeaderBytes {
			t.Errorf("limits of the server = %+v", srv)
		}
		srv.ReadHeaderTimeout = 100 * time.Millisecond // less to wait for
	})
	const endless = "header that never ends"
	post := "POST /v1/meetings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + testKey + "\r\nContent-Type: application/json\r\n"
	chunk := "10000\r\n" + strings.Repeat(" ", 0x10000) + "\r\n"
	tests := []struct{ name, request, want string }{
		{endless, "GET /openapi.json HTTP/1.1\r\nHost: x\r\nX-A: ", ""},
		{"header too large", "GET /openapi.json HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 2*MaxHeaderBytes) + "\r\n\r\n", "HTTP/1.1 431 Request Header Fields Too Large"},
		{"body announced too large", post + "Content-Length: 2000000\r\n\r\n" + strings.Repeat(" ", 2000000), "HTTP/1.1 413 Request Entity Too Large"},
		{"body grows too large", post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk, 20), "HTTP/1.1 413 Request Entity Too Large"},
		{"not HTTP", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		{"honest", "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at := addr
			if tt.name == endless {
				at = hasty
			}
			if got := talk(t, at, tt.request); got != tt.want {
				t.Errorf("answer = %q, want %q", got, tt.want)
			}
		})
	}
}
