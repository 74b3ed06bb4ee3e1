package api

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/token"
)

func TestCreateMeeting(t *testing.T) {
	s := newSite(t)
	end := time.Now().Add(time.Hour)
	body := fmt.Sprintf(`{"name_prefix":"Standup","external_id":"app:42","start_at":null,"end_at":%q,"metadata":{"team":"a"}}`,
		end.Format(time.RFC3339Nano))
	res := s.do("POST", "/v1/meetings", body)
	var m anyMap
	res.into(http.StatusCreated, &m)
	if got, want := res.Header().Get("Location"), fmt.Sprint("/v1/meetings/", m["id"]); got != want {
		t.Errorf("Location = %q, want %q", got, want)
	}
	if got := m["room"].(string); !regexp.MustCompile(`^standup-[a-z0-9]{20,}$`).MatchString(got) {
		t.Errorf("room = %q, want standup- and at least 96 random bits", got)
	}
	if got, want := m["end_at"], end.UTC().Format("2006-01-02T15:04:05.000Z"); got != want {
		t.Errorf("end_at = %v, want %v", got, want)
	}
	for field, want := range map[string]any{"external_id": "app:42", "state": "created", "start_at": nil, "session": nil, "ended_at": nil} {
		if got, there := m[field]; got != want || !there {
			t.Errorf("%s = %v, want %v", field, got, want)
		}
	}
	if _, there := m["$schema"]; there {
		t.Error("answer has a $schema field")
	}
	if other := s.create(`{}`); other["room"] == m["room"] || len(other["room"].(string)) < 20 {
		t.Errorf("room without a prefix = %v", other["room"])
	}
	s.create(`{"room":null,"name_prefix":null,"external_id":null,"end_at":null,"metadata":null}`)
	if named := s.create(`{"room":"Weekly.Sync_1"}`); named["room"] != "weekly.sync_1" {
		t.Errorf("room = %v, want weekly.sync_1", named["room"])
	}
	for _, again := range []string{`{"external_id":"app:42"}`, `{"room":"WEEKLY.sync_1"}`} {
		p := s.do("POST", "/v1/meetings", again).problem(http.StatusConflict)
		if p.Code != "exists" || !strings.HasPrefix(p.MeetingID, "mtg_") {
			t.Errorf("%s: problem = %+v, want code exists with the meeting's id", again, p)
		}
	}
}

func TestCreateMeetingRefusesBadInput(t *testing.T) {
	s := newSite(t)
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	const secret = "s3cr3t-value"
	tests := []struct {
		name, body string
		status     int
		pointer    string
	}{
		{"unknown field", `{"external_idd":"` + secret + `"}`, 422, "/external_idd"},
		{"wrong type", `{"external_id":42}`, 422, "/external_id"},
		{"null for an object", `{"metadata":["` + secret + `"]}`, 422, "/metadata"},
		{"wrong type inside", `{"metadata":{"team":["` + secret + `"]}}`, 422, "/metadata/team"},
		{"slash in a name", `{"a/b~":1}`, 422, "/a~1b~0"},
		{"not a time", `{"end_at":"` + secret + `"}`, 422, "/end_at"},
		{"time without zone", `{"end_at":"2099-01-01T10:00:00"}`, 422, "/end_at"},
		{"end in the past", `{"end_at":"` + at(-time.Minute) + `"}`, 422, "/end_at"},
		{"end before start", `{"start_at":"` + at(2*time.Hour) + `","end_at":"` + at(time.Hour) + `"}`, 422, "/end_at"},
		{"start long ago", `{"start_at":"` + at(-48*time.Hour) + `"}`, 422, "/start_at"},
		{"start at year one", `{"start_at":"0001-01-01T00:00:00Z"}`, 422, "/start_at"},
		{"room with a slash", `{"room":"a/b"}`, 422, "/room"},
		{"room too long", `{"room":"` + strings.Repeat("a", 101) + `"}`, 422, "/room"},
		{"both names", `{"room":"a","name_prefix":"b"}`, 422, "/name_prefix"},
		{"metadata too large", `{"metadata":{"k":"` + strings.Repeat("v", MaxMetadata) + `"}}`, 422, "/metadata"},
		{"not JSON", `{"external_id":"` + secret + `"`, 400, ""},
		{"not an object", `"` + secret + `"`, 422, ""},
		{"nothing", ``, 400, ""},
		{"number out of range", `{"external_id":1e999}`, 400, ""},
		{"too large", `{"external_id":"` + strings.Repeat("x", MaxBody) + `"}`, 413, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := s.do("POST", "/v1/meetings", tt.body)
			raw := res.Body.String()
			p := res.problem(tt.status)
			if strings.Contains(raw, secret) || strings.Contains(raw, "Go ") || len(raw) > 4096 {
				t.Errorf("problem says back what was sent: %.4096s", raw)
			}
			if tt.pointer != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != tt.pointer || p.Errors[0].Detail == "") {
				t.Errorf("errors = %+v, want one for %s", p.Errors, tt.pointer)
			}
		})
	}
	if made, _, err := s.store.List(t.Context(), meeting.Filter{}, "", 10); len(made) != 0 || err != nil {
		t.Errorf("%d meetings were made, %v", len(made), err)
	}
	if strings.Contains(s.log.String(), secret) {
		t.Error("what was sent is in the log")
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, `"f%d":1,`, i)
	}
	p := s.do("POST", "/v1/meetings", "{"+many.String()+`"g":1}`).problem(422)
	if got := len(p.Errors); got != maxFieldErrors {
		t.Errorf("%d errors for a body full of them, want %d", got, maxFieldErrors)
	}
	s.send("POST", "/v1/meetings", "room=a", "Bearer "+testKey, "application/x-www-form-urlencoded").problem(415)
}

// TestRoomNamesThatLeadNowhere: links to rooms of these names would lead to a
// file or an endpoint of the Jitsi site, or into usher's own API.
func TestRoomNamesThatLeadNowhere(t *testing.T) {
	s := newSite(t)
	names := []string{"config.js", "interface_config.js", "external_api.js", "http-bind", "xmpp-websocket", "robots.txt", "static", "Static"}
	for path := range loadDocument(t).Paths.Map() {
		names = append(names, strings.Split(path, "/")[1])
	}
	for _, name := range names {
		p := s.do("POST", "/v1/meetings", fmt.Sprintf(`{"room":%q}`, name)).problem(http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != "/room" || !strings.Contains(p.Errors[0].Detail, "web server") {
			t.Errorf("room %s: errors = %+v, want one for /room that says why", name, p.Errors)
		}
	}
	for _, name := range names {
		if m := s.create(fmt.Sprintf(`{"name_prefix":%q}`, name)); token.Reserved(m["room"].(string)) {
			t.Errorf("with the prefix %s the room is %v, which is reserved", name, m["room"])
		}
	}
}

func TestListMeetings(t *testing.T) {
	s := newSite(t)
	for i := range 5 {
		s.create(fmt.Sprintf(`{"room":"r%d","external_id":"e%d"}`, i, i))
		time.Sleep(2 * time.Millisecond) // within one, the order is not kept
	}
	s.observe("r3", meeting.Seen{Occupant: human("ann")})
	list := func(query string) (rooms []string, next any) {
		t.Helper()
		var p struct {
			Data []struct{ Room string }
			Next any `json:"next_cursor"`
		}
		s.do("GET", "/v1/meetings"+query, "").into(http.StatusOK, &p)
		for _, m := range p.Data {
			rooms = append(rooms, m.Room)
		}
		return rooms, p.Next
	}
	tests := []struct {
		query, want string
	}{
		{"", "[r4 r3 r2 r1 r0]"},
		{"?state=live", "[r3]"},
		{"?external_id=e2", "[r2]"},
		{"?room=R1", "[r1]"},
		{"?room=none", "[]"},
	}
	for _, tt := range tests {
		if got, next := list(tt.query); fmt.Sprint(got) != tt.want || next != nil {
			t.Errorf("list %s = %v, next %v, want %s, next null", tt.query, got, next, tt.want)
		}
	}
	var walked []string
	for query := "?limit=2"; ; {
		rooms, next := list(query)
		walked = append(walked, rooms...)
		if next == nil {
			break
		}
		query = "?limit=2&cursor=" + next.(string)
	}
	if got, want := fmt.Sprint(walked), "[r4 r3 r2 r1 r0]"; got != want {
		t.Errorf("pages of two = %s, want %s", got, want)
	}
	for query, parameter := range map[string]string{
		"?limit=0": "limit", "?limit=101": "limit", "?limit=x": "limit", "?state=gone": "state",
		"?exernal_id=a": "exernal_id", "?cursor=%2A%00": "cursor",
	} {
		p := s.do("GET", "/v1/meetings"+query, "").problem(http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Parameter != parameter {
			t.Errorf("list %s: errors = %+v, want one for %s", query, p.Errors, parameter)
		}
	}
	if res := s.do("GET", "/v1/meetings?room=none", ""); !strings.Contains(res.Body.String(), `"data":[]`) {
		t.Errorf("empty list = %s, want data to be []", res.Body)
	}
}

func TestEndMeeting(t *testing.T) {
	s := newSite(t)
	path := "/v1/meetings/" + s.create(`{"room":"rm"}`)["id"].(string)
	for _, closed := range []bool{false, false, true} {
		if closed {
			s.tracker.Observe("rm", time.Now(), meeting.RoomGone{Reason: meeting.LeftDestroyed})
		}
		var m anyMap
		s.do("POST", path+"/end", "").into(http.StatusOK, &m)
		if m["state"] != "ended" || m["end_reason"] != "requested" || m["ended_at"] == nil {
			t.Errorf("ended meeting = %v", m)
		}
	}
	var m anyMap
	s.do("GET", path, "").into(http.StatusOK, &m)
	if m["state"] != "ended" {
		t.Errorf("state = %v, want ended", m["state"])
	}
	for _, target := range []string{"GET /v1/meetings/mtg_none", "POST /v1/meetings/mtg_none/end"} {
		method, path, _ := strings.Cut(target, " ")
		s.do(method, path, "").problem(http.StatusNotFound)
	}
}

func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		id := s.create(`{"room":"rm"}`)["id"].(string)
		s.store.Fail(fmt.Errorf("dial: %w", meeting.ErrUnavailable))
		for _, target := range []string{
			"POST /v1/meetings", "GET /v1/meetings", "GET /v1/meetings/" + id, "POST /v1/meetings/" + id + "/end",
			"GET /v1/meetings/" + id + "/participants", "GET /v1/meetings/" + id + "/sessions",
			"GET /v1/sessions/ses_1", "GET /v1/sessions/ses_1/participants",
		} {
			method, path, _ := strings.Cut(target, " ")
			body := ""
			if path == "/v1/meetings" && method == "POST" {
				body = `{}` // waits for the store until RequestTimeout
			}
			res := s.do(method, path, body)
			if p := res.problem(http.StatusServiceUnavailable); p.Code != "unavailable" || res.Header().Get("Retry-After") != "5" {
				t.Errorf("%s: problem %+v, Retry-After %q", target, p, res.Header().Get("Retry-After"))
			}
			if strings.Contains(res.Body.String(), "dial") {
				t.Errorf("%s: %s tells of usher's insides", target, res.Body)
			}
		}
		s.store.Fail(errors.New("WRONGTYPE of a key"))
		if res := s.do("GET", "/v1/meetings", ""); strings.Contains(res.Body.String(), "WRONGTYPE") {
			t.Errorf("%s tells of usher's insides", res.Body)
		} else {
			res.problem(http.StatusInternalServerError)
		}
		if !strings.Contains(s.log.String(), "WRONGTYPE") {
			t.Error("the log does not tell why")
		}
		s.store.Fail(nil)
		time.Sleep(10 * time.Second)
		s.do("GET", "/v1/meetings/"+id, "").into(http.StatusOK, &anyMap{})
	})
}

func TestStandbyReadsOnly(t *testing.T) {
	s := newStandby(t)
	s.do("POST", "/v1/meetings", `{}`).problem(http.StatusServiceUnavailable)
	s.do("GET", "/v1/meetings", "").into(http.StatusOK, &anyMap{})
}
