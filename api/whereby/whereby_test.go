package whereby_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/api"
	"usher/api/whereby"
	"usher/internal/apitest"
	"usher/meeting"
)

// TestReflector plays what Reflector sends to Whereby, to the byte.
func TestReflector(t *testing.T) {
	s := newWherebySite(t, nil)
	status, h, body := s.call("POST", s.base+"/meetings", "application/json; charset=utf-8", []byte(
		`{"isLocked":false,"roomNamePrefix":"standup-","roomNamePattern":"uuid","roomMode":"normal",`+
			`"endDate":"2099-02-20T20:09:39.123456+00:00","fields":["hostRoomUrl"],`+
			`"recording":{"type":"cloud","destination":{"provider":"s3","bucket":"B","accessKeyId":"AK","accessKeySecret":"SK","fileFormat":"mp4"},"startTrigger":"automatic-2nd-participant"}}`))
	const ms = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`
	const ulid = `[0-9A-HJKMNP-TV-Z]{26}`
	exact := regexp.MustCompile(`^\{"meetingId":"(mtg_` + ulid + `)","roomName":"(/standup-[a-z0-9]{26})",` +
		`"roomUrl":"https://usher\.example\.org/standup-[a-z0-9]{26}","startDate":"` + ms + `","endDate":"2099-02-20T20:09:39\.123Z",` +
		`"hostRoomUrl":"https://usher\.example\.org/standup-[a-z0-9]{26}\?roomKey=[A-Z2-7]+"\}\n$`)
	parts := exact.FindStringSubmatch(body)
	if status != http.StatusCreated || parts == nil {
		t.Fatalf("create: %d %s", status, body)
	}
	if got := h.Get(whereby.Ignored); got != "recording.destination" {
		t.Errorf("%s = %q, want the destination, which this site does not allow", whereby.Ignored, got)
	}
	id, room := parts[1], parts[2]
	stored, err := s.store.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if got := stored.EndAt.Format(time.RFC3339Nano); got != "2099-02-20T21:09:39.123Z" {
		t.Errorf("the meeting ends at %s, want an hour after its endDate", got)
	}
	if !reflect.DeepEqual(stored.Policy, meeting.RecordingPolicy{Trigger: meeting.TriggerSecond}) {
		t.Errorf("policy = %+v, want the trigger alone", stored.Policy)
	}

	// The logo follows each create; the room's name brings a second slash along.
	kind, logo := form(t, "image", "logo.png", "image/png", png)
	status, _, body = s.call("PUT", s.base+"/rooms/"+room+"/theme/logo", kind, logo)
	if status != http.StatusNoContent || body != "" {
		t.Errorf("logo: %d %s, want 204 and no body", status, body)
	}

	sessions := s.base + "/insights/room-sessions?roomName=" + room
	if status, _, body = s.call("GET", sessions, "", nil); status != 200 || body != `{"cursor":null,"results":[]}`+"\n" {
		t.Errorf("sessions of an empty room: %d %s", status, body)
	}
	bare := room[1:]
	s.observe(bare, meeting.Seen{Occupant: human("ann")})
	status, _, body = s.call("GET", sessions, "", nil)
	open := regexp.MustCompile(`^\{"cursor":null,"results":\[\{"roomSessionId":"ses_` + ulid + `","roomName":"` + room + `","startedAt":"` + ms + `","endedAt":null,` +
		`"totalParticipantMinutes":\d+,"totalRecorderMinutes":0,"totalStreamerMinutes":0,"totalUniqueParticipants":1,"totalUniqueRecorders":0,"totalUniqueStreamers":0,` +
		`"rating":null,"totalRatings":0\}\]\}\n$`)
	if status != 200 || !open.MatchString(body) {
		t.Errorf("sessions with one person in: %d %s", status, body)
	}
	// A reload: nobody is in for a moment.
	s.observe(bare, meeting.Gone{Nick: "ann", Reason: meeting.LeftByChoice})
	if _, _, body = s.call("GET", sessions, "", nil); !open.MatchString(body) {
		t.Errorf("sessions while it lingers: %s, want it still open", body)
	}
}

// TestWherebyPaths proves that whatever clients make of a path reaches its route
// at once.
func TestWherebyPaths(t *testing.T) {
	s := newWherebySite(t, nil)
	m := s.createMeeting(`,"roomNamePrefix":"Stand Up"`)
	kind, logo := form(t, "image", "l.png", "", png)
	for _, path := range []string{
		"/rooms//" + m.Room + "/theme/logo", "/rooms/" + m.Room + "/theme/logo", "/rooms/%2F" + m.Room + "/theme/logo",
		"//rooms/" + m.Room + "/theme/logo", "/rooms/" + strings.ToUpper(m.Room) + "/theme/logo/", "/Rooms/" + m.Room + "/Theme/LOGO",
		"/rooms/%2f" + m.Room + "//theme//logo", "/./rooms/" + m.Room + "/theme/logo",
	} {
		if status, h, body := s.call("PUT", s.base+path, kind, logo); status != http.StatusNoContent {
			t.Errorf("PUT %s: %d to %s %s", path, status, h.Get("Location"), body)
		}
	}
	root := strings.TrimSuffix(s.base, "/whereby/v1")
	for _, url := range []string{
		s.base + "/meetings/" + m.ID, s.base + "//meetings//" + m.ID, s.base + "/meetings/" + m.ID + "/", root + "//whereby//v1/meetings/" + m.ID,
		root + "/Whereby/V1/Meetings/" + m.ID, root + "/x/../whereby/v1/meetings/" + m.ID,
	} {
		if status, _, body := s.call("GET", url, "", nil); status != 200 || !strings.Contains(body, m.ID) {
			t.Errorf("GET %s: %d %s", url, status, body)
		}
	}
	s.person(m, meeting.Seen{Occupant: human("ann")})
	for _, query := range []string{
		"roomName=/" + m.Room, "roomName=" + m.Room, "roomName=%2F" + m.Room, "roomName=//" + m.Room + "/",
		"roomName=/" + strings.ToUpper(m.Room), "roomName[exact]=/" + m.Room, "roomName%5Bexact%5D=%2F" + m.Room, "roomName=/" + m.Room + "&unknown=1",
	} {
		var list struct{ Results []anyMap }
		if s.get("/insights/room-sessions?"+query, &list); len(list.Results) != 1 {
			t.Errorf("?%s: %d sessions, want one", query, len(list.Results))
		}
	}
}

func TestWherebyRoomNames(t *testing.T) {
	s := newWherebySite(t, nil)
	for prefix, want := range map[string]string{
		"standup-":                "standup-",
		"Stand Up":                "standup-",
		"UPPER_Case.Name-":        "upper-case-name-",
		"José <b>&😀-":             "jos-b-",
		strings.Repeat("a", 60):   strings.Repeat("a", 40) + "-",
		"":                        "",
		"---":                     "",
		strings.Repeat("é", 90):   "",
		"trailing space ":         "trailingspace-",
		"a\u0000b":                "a-b-",
		strings.Repeat("Ab ", 60): strings.Repeat("ab", 20) + "-",
	} {
		text, _ := json.Marshal(prefix)
		m := s.createMeeting(`,"roomNamePrefix":` + string(text))
		random, found := strings.CutPrefix(m.Room, want)
		if !found || !regexp.MustCompile(`^[a-z0-9]{26}$`).MatchString(random) {
			t.Errorf("%q makes the room %s, want %s and something random", prefix, m.Room, want)
		}
	}
	for _, rest := range []string{
		``, `,"roomNamePrefix":null,"isLocked":null,"recording":null`, `,"isLocked":"yes","roomMode":7,"roomNamePattern":"human-short","new":{"a":[1]}`,
		`,"startDate":"1999-01-01","fields":"hostRoomUrl,viewerRoomUrl"`, `,"recording":{"type":"none","startTrigger":null,"destination":null}`,
	} {
		s.createMeeting(rest)
	}
	m := s.createMeeting(`,"isLocked":true,"streaming":{"startTrigger":"none"},"liveTranscription":null,"templateType":"viewerMode"`)
	if got := m.header.Get(whereby.Ignored); got != "isLocked, streaming, templateType" {
		t.Errorf("%s = %q", whereby.Ignored, got)
	}
}

func TestWherebyEndDates(t *testing.T) {
	s := newWherebySite(t, nil)
	for given, want := range map[string]string{
		"2099-02-20T20:09:39.123456+00:00": "2099-02-20T20:09:39.123Z",
		"2099-02-20T20:09:39Z":             "2099-02-20T20:09:39.000Z",
		"2099-02-20T20:09:39-05:00":        "2099-02-21T01:09:39.000Z",
		"2099-02-20T20:09:39.5+0530":       "2099-02-20T14:39:39.500Z",
		"2099-02-20T20:09:39.123456":       "2099-02-20T20:09:39.123Z",
		"2099-02-20 20:09:39+00:00":        "2099-02-20T20:09:39.000Z",
		"2099-02-20T20:09Z":                "2099-02-20T20:09:00.000Z",
		// What JavaScript's Date prints: toJSON, toUTCString, toString, and a date alone.
		"2099-02-20T20:09:39.123Z":                                          "2099-02-20T20:09:39.123Z",
		"Fri, 20 Feb 2099 20:09:39 GMT":                                     "2099-02-20T20:09:39.000Z",
		"Fri Feb 20 2099 20:09:39 GMT+0530 (India Standard Time)":           "2099-02-20T14:39:39.000Z",
		"Fri Feb 20 2099 20:09:39 GMT-0500":                                 "2099-02-21T01:09:39.000Z",
		"Fri Feb 20 2099 20:09:39 GMT+0100 (heure normale d’Europe centr.)": "2099-02-20T19:09:39.000Z",
		"2099-02-20": "2099-02-20T00:00:00.000Z",
	} {
		status, _, body := s.call("POST", s.base+"/meetings", "application/json", []byte(`{"endDate":"`+given+`"}`))
		if status != 201 || !strings.Contains(body, `"endDate":"`+want+`"`) {
			t.Errorf("endDate %s: %d %s, want %s", given, status, body, want)
		}
	}
	m := s.createMeeting("")
	s.do("PATCH", "/v1/meetings/"+m.ID, `{"end_at":"2098-01-01T00:00:00Z"}`).into(200, &anyMap{})
	var one anyMap
	if s.get("/meetings/"+m.ID, &one); one["endDate"] != "2098-01-01T00:00:00.000Z" {
		t.Errorf("endDate = %v once another end was set, want that", one["endDate"])
	}
	native := s.create(`{}`)["id"].(string)
	if s.get("/meetings/"+native, &one); one["endDate"] != nil {
		t.Errorf("endDate = %v of a meeting without an end, want null", one["endDate"])
	}
}

func TestWherebyRefusals(t *testing.T) {
	s := newWherebySite(t, nil)
	const soon = `"endDate":"2099-01-01T00:00:00Z"`
	for _, tt := range []struct {
		request, body string
		status        int
		says          string
	}{
		{"POST /meetings", `{}`, 400, "endDate is required"},
		{"POST /meetings", `{"endDate":null}`, 400, "endDate is required"},
		{"POST /meetings", `{"endDate":"2020-01-01T00:00:00Z"}`, 400, "in the future"},
		{"POST /meetings", `{"endDate":"tomorrow <b>"}`, 400, "a date such as"},
		{"POST /meetings", `{"endDate":4102444800}`, 400, "wrong type"},
		{"POST /meetings", `{"endDate":"9999-12-31T23:59:59Z"}`, 400, "too far"},
		{"POST /meetings", `{"endDate":"Invalid Date"}`, 400, "a date such as"},
		{"POST /meetings", `{"endDate":"02/03/2099"}`, 400, "a date such as"},
		{"POST /meetings", `{` + soon, 400, "not JSON"},
		{"POST /meetings", ``, 400, "not JSON"},
		{"POST /meetings", `[]`, 400, "wrong type"},
		{"POST /meetings", `{` + soon + `,"roomNamePrefix":"` + strings.Repeat("x", 5000) + `"}`, 400, "too long"},
		{"POST /meetings", `{` + soon + `,"roomNamePrefix":{}}`, 400, "wrong type"},
		{"POST /meetings", `{` + soon + `,"recording":{"type":"tape"}}`, 400, "recording.type"},
		{"POST /meetings", `{` + soon + `,"recording":{"type":"cloud","startTrigger":"maybe"}}`, 400, "startTrigger"},
		{"POST /meetings", `{` + soon + `,"x":"` + strings.Repeat("x", api.MaxBody) + `"}`, 413, "larger"},
		{"GET /meetings/none", ``, 404, "Not Found"},
		{"GET /meetings?limit=0", ``, 400, "limit"},
		{"GET /meetings?limit=101", ``, 400, "limit"},
		{"GET /insights/room-sessions?limit=ten", ``, 400, "limit"},
		{"GET /meetings?cursor=" + strings.Repeat("c", 300), ``, 400, "cursor"},
		{"GET /insights/participants", ``, 400, "roomSessionId"},
		{"GET /insights/participant?roomSessionId=none&participantId=none", ``, 404, "Not Found"},
		{"GET /recordings/none", ``, 404, "Not Found"},
		{"GET /recordings/none/access-link", ``, 404, "Not Found"},
		{"GET /recordings/none/access-link?validForSeconds=43201", ``, 400, "validForSeconds"},
		{"POST /recordings/bulk-delete", `{"recordingIds":"all"}`, 400, "wrong type"},
		{"POST /recordings/bulk-delete", `{"recordingIds":["` + strings.Repeat(`a","`, 200) + `"]}`, 400, "more than"},
		{"GET /none", ``, 404, "Not Found"},
		{"GET /meetings/a/b", ``, 404, "Not Found"},
		{"POST /transcriptions", `{"recordingId":"1"}`, 404, "Not Found"},
		{"GET /transcriptions/1", ``, 404, "Not Found"},
		{"GET /transcriptions/1/access-link", ``, 404, "Not Found"},
		{"POST /summaries", `{"transcriptionId":"1"}`, 404, "Not Found"},
		{"GET /summaries/1", ``, 404, "Not Found"},
		{"PATCH /meetings", `{}`, 405, "Method"},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		if got := s.refused(method, path, "application/json", tt.body, tt.status); !strings.Contains(got, tt.says) || strings.Contains(got, "<b>") {
			t.Errorf("%s %.80s: %q, want %q in it", tt.request, tt.body, got, tt.says)
		}
	}
	for _, authorization := range []string{"", "Bearer", "Bearer wrong-key-0123456789", "Basic " + testKey, testKey} {
		res := s.send("GET", "/whereby/v1/meetings", "", authorization, "")
		if res.Code != 401 || res.Body.String() != `{"error":"Access token is missing or invalid"}`+"\n" || res.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("with %q: %d %s", authorization, res.Code, res.Body)
		}
	}
	res := s.as(s.makeKey("reader", `"meetings:read"`).Key, "GET", "/whereby/v1/meetings", "")
	if res.Code != 403 || !strings.Contains(res.Body.String(), `{"error":`) {
		t.Errorf("a key that may not make links sees them: %d %s", res.Code, res.Body)
	}
	s.serve(func(c *testConfig) { c.Tokens = nil })
	s.refused("POST", "/meetings", "application/json", `{`+soon+`}`, 501)
	s.serve(func(c *testConfig) { c.Store = apitest.Panicky{Store: s.store} })
	if message := s.refused("GET", "/meetings/m", "", "", 500); strings.Contains(message, "bug") {
		t.Errorf("the answer shows the panic: %s", message)
	}
}

func TestWherebyRateLimit(t *testing.T) {
	s := newWherebySite(t, func(c *testConfig) { c.KeyLimit = api.Limit{PerSecond: 0.1, Burst: 2} })
	_, h, _ := s.call("GET", s.base+"/meetings", "", nil)
	if h.Get("X-RateLimit-Limit") != "2" || h.Get("X-RateLimit-Remaining") != "1" {
		t.Errorf("headers = %v", h)
	}
	if reset, err := http.ParseTime(h.Get("X-RateLimit-Reset")); err != nil || time.Until(reset) > time.Minute {
		t.Errorf("X-RateLimit-Reset = %q", h.Get("X-RateLimit-Reset"))
	}
	s.do("GET", "/v1/meetings", "") // the native API draws on the same
	status, h, body := s.call("GET", s.base+"/meetings", "", nil)
	if status != 429 || body != `{"error":"Rate limit active for throttle key: configured","data":{"msLeft":10000}}`+"\n" || h.Get("Retry-After") != "10" {
		t.Errorf("%d %s, Retry-After %q", status, body, h.Get("Retry-After"))
	}
}

func TestWherebyTheme(t *testing.T) {
	s := newWherebySite(t, nil)
	put := func(what, kind string, body []byte, want int) {
		t.Helper()
		status, h, text := s.call("PUT", s.base+"/rooms//any-room/theme/"+what, kind, body)
		if status != want || want == 204 && (text != "" || h.Get(whereby.Ignored) != "theme") || want > 204 && !strings.HasPrefix(text, `{"error":"`) {
			t.Errorf("%s as %.40s: %d %s, want %d", what, kind, status, text, want)
		}
	}
	upload := func(what, part string, data []byte, want int) {
		t.Helper()
		kind, body := form(t, part, "José <b>&😀.png", "application/octet-stream", data)
		put(what, kind, body, want)
	}
	large := append(bytes.Clone(png), make([]byte, 3<<20)...)
	upload("logo", "image", png, 204)
	upload("logo", "image", []byte(`<?xml version="1.0"?><SVG xmlns="http://www.w3.org/2000/svg"/>`), 204)
	upload("room-background", "image", large, 204)
	upload("room-knock-page-background", "image", png, 204)
	upload("logo", "image", append(large, large...), 413)
	upload("logo", "image", []byte("#!/bin/sh\nexit"), 400)
	upload("logo", "image", nil, 400)
	upload("logo", "file", png, 400)
	upload("tokens", "image", png, 400)
	upload("other", "image", png, 404)
	put("logo", "multipart/form-data", png, 400)
	put("logo", "multipart/form-data; boundary=x", []byte("--x\r\n"), 400)
	put("logo", "image/png", png, 400)
	put("logo", "", png, 400)
	put("logo", "application/json", []byte(`{"theme":"default"}`), 204)
	put("tokens", "application/json; charset=utf-8", []byte(`{"tokens":{"colors":{"primary":"#ffffff"}}}`), 204)
	put("tokens", "application/json", []byte(`{"tokens":`), 400)
	put("tokens", "application/json", []byte(`"x"`), 400)
}

func TestWherebyAtRoot(t *testing.T) {
	s := newWherebySite(t, nil)
	srv := httptest.NewServer(whereby.AtRoot(s.handler))
	defer srv.Close()
	m := s.createMeeting("")
	join := strings.TrimPrefix(m.URL, "https://usher.example.org")
	for path, want := range map[string]int{
		"/v1/meetings": 200, "//v1//meetings/" + m.ID: 200, "/V1/Meetings": 200, "/v1/rooms/%2Fx/theme/logo": 405,
		"/v1/rooms": 404, "/v1/webhooks": 404, "/../v1/api-keys": 404, "/%2e%2e/v1/api-keys": 404, "/..%2fv1/rooms": 404,
		"/openapi.json": 404, join: 404, "/": 404, "/whereby/v1/meetings": 404, "/../../whereby/../v1/api-keys": 404,
	} {
		status, _, body := s.call("GET", srv.URL+path, "", nil)
		if status != want || want != 200 && !strings.HasPrefix(body, `{"error":`) {
			t.Errorf("GET %s: %d %s, want %d", path, status, body, want)
		}
	}
}

// TestWherebyMetrics proves that requests are counted by route.
func TestWherebyMetrics(t *testing.T) {
	s := newWherebySite(t, nil)
	s.createMeeting("")
	s.call("GET", s.base+"/meetings/x", "", nil)
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range families[0].GetMetric() {
		for _, l := range m.GetLabel() {
			if strings.HasPrefix(l.GetValue(), "/whereby/v1/meetings") && m.GetHistogram().GetSampleCount() == 1 {
				found++
			}
		}
	}
	if found != 2 {
		t.Errorf("%d series count one request, want 2", found)
	}
}

// TestWherebyGuide compares the table of docs/whereby.md with what is served.
func TestWherebyGuide(t *testing.T) {
	text, err := os.ReadFile("../../docs/whereby.md")
	if err != nil {
		t.Fatal(err)
	}
	var served, listed []string
	for _, route := range whereby.New(whereby.Config{}).Routes {
		served = append(served, fmt.Sprintf("%s %s", route.Pattern, route.Scope))
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /v1/[^`]*)` \\| `([^`]*)` \\|").FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, row[1]+" "+row[2])
	}
	slices.Sort(served)
	slices.Sort(listed)
	if !slices.Equal(served, listed) {
		t.Errorf("docs/whereby.md lists\n%s\nwant\n%s", strings.Join(listed, "\n"), strings.Join(served, "\n"))
	}
}
