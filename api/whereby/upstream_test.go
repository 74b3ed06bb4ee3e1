package whereby_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/api/whereby"
	"usher/config"
	"usher/internal/wherebytest"
	"usher/meeting"
)

// TestShareDecidesWhereAMeetingIsMade makes twenty meetings at one half; each says
// where it is, and what the app has sent goes to Whereby as it is.
func TestShareDecidesWhereAMeetingIsMade(t *testing.T) {
	s := newUpstreamSite(t, 50, nil)
	here, there := 0, 0
	for range 20 {
		m := s.createMeeting(`,"roomNamePrefix":"standup-", "unknown":{"a": 1.0}`)
		switch at := m.header.Get(whereby.MadeAt); {
		case at == "usher; reason=share" && strings.HasPrefix(m.ID, "mtg_"):
			here++
		case at == "whereby; reason=share" && strings.HasPrefix(m.URL, "https://acme.whereby.com/standup-") && strings.Contains(m.HostURL, "roomKey="):
			there++
			if body := s.whereby.Meeting(m.ID).Body; !bytes.Contains(body, []byte(`"unknown":{"a": 1.0}`)) {
				t.Errorf("Whereby got %s, want it as it was sent", body)
			}
			if id, err := s.meetings.UpstreamMeeting(t.Context(), m.Room); id != m.ID || err != nil {
				t.Errorf("%s is noted as %q, %v, want %q", m.Room, id, err, m.ID)
			}
		default:
			t.Errorf("%+v is said to be at %q", m, at)
		}
	}
	if here < 8 || there < 8 || here+there != 20 {
		t.Errorf("%d made here and %d there, want about half", here, there)
	}
	if seen, problem := s.upstream.Status(t.Context()); problem != "" || !strings.Contains(seen, "50 percent; meetings at Whereby that are not over: "+fmt.Sprint(there)) {
		t.Errorf("status %q, %q", seen, problem)
	}
}

// TestShareZeroIsPassThrough: what usher would refuse or does not know goes to
// Whereby as it is, with nobody's key but usher's own, and meetings that were made
// here before go on.
func TestShareZeroIsPassThrough(t *testing.T) {
	s := newUpstreamSite(t, 100, nil)
	before := s.createMeeting("")
	s.quiet("a meeting made here")
	rest, err := whereby.NewUpstream(whereby.UpstreamConfig{
		URL: s.whereby.URL, Key: wherebytest.Key, Fallback: config.FallbackBoth, Meetings: s.meetings,
		State: func(context.Context) whereby.SiteState { return whereby.SiteState{Ready: true} },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.serve(func(c *testConfig) { c.Upstream = rest })

	for _, body := range []string{`{"endDate":"2099-01-01T00:00:00Z","recording":{"startTrigger":"tea"}}`, `{"endDate":"2099-01-01T00:00:00Z","roomNamePrefix":"` + strings.Repeat("a", 300) + `"}`} {
		if status, _, text := s.call("POST", s.base+"/meetings", "application/json", []byte(body)); status != http.StatusCreated {
			t.Errorf("create with %.60s: %d %s, want Whereby's 201", body, status, text)
		}
	}
	if status, _, text := s.call("POST", s.base+"/meetings", "application/json", []byte(`{`)); status != http.StatusBadRequest || !strings.Contains(text, "endDate is required") {
		t.Errorf("a bad body: %d %s, want what Whereby says of it", status, text)
	}
	for _, call := range []string{"GET /transcriptions", "PUT /rooms/standup-1/theme/logo", "DELETE /meetings/134", "POST /recordings/bulk-delete"} {
		method, path, _ := strings.Cut(call, " ")
		s.whereby.Calls()
		if status, _, text := s.call(method, s.base+path, "application/json", []byte(`{}`)); status/100 != 2 {
			t.Errorf("%s: %d %s", call, status, text)
		}
		if calls := s.whereby.Calls(); !slices.Equal(calls, []string{call}) {
			t.Errorf("%s: Whereby was asked %q", call, calls)
		}
	}
	for _, path := range []string{"/meetings/999", "/something/else"} {
		s.refused("GET", path, "", "", http.StatusNotFound)
	}

	s.whereby.Calls()
	var m map[string]any
	if s.get("/meetings/"+before.ID, &m); m["roomName"] != "/"+before.Room {
		t.Errorf("the meeting from before is %v", m)
	}
	s.get("/insights/room-sessions?roomName=/"+before.Room, &m)
	if status, _, _ := s.call("DELETE", s.base+"/meetings/"+before.ID, "", nil); status != http.StatusNoContent {
		t.Errorf("deleting it: %d", status)
	}
	s.quiet("a meeting from before")
}

// TestPassedOnWithTheKeysScope: whatever a path looks like, a key that may not see
// links of meetings does not see Whereby's.
func TestPassedOnWithTheKeysScope(t *testing.T) {
	s := newUpstreamSite(t, 0, nil)
	m := s.createMeeting("")
	key := s.makeKey("reads", `"meetings:read"`).Key
	s.whereby.Calls()
	for _, path := range []string{
		"/meetings/" + m.ID, "/Meetings/" + m.ID, "//meetings//" + m.ID, "/x/../meetings/" + m.ID, "/meetings%2F" + m.ID,
		"/x%2F..%2Fmeetings%2F" + m.ID, "/x%252F..%252Fmeetings%252F" + m.ID, "/something",
	} {
		r := s.as(key, "GET", "/whereby/v1"+path, "")
		if r.Code != http.StatusForbidden || strings.Contains(r.Body.String(), "roomUrl") {
			t.Errorf("GET %s: %d %s, want 403", path, r.Code, r.Body)
		}
	}
	s.quiet("a key without the scope")
	// What is encoded twice arrives so, and is no other path at Whereby.
	hidden := "/transcriptions/%2E%2E%2Fmeetings%2F" + m.ID
	if r := s.as(key, "GET", "/whereby/v1"+strings.ReplaceAll(hidden, "%", "%25"), ""); r.Code != http.StatusNotFound {
		t.Errorf("GET %s: %d %s, want 404", hidden, r.Code, r.Body)
	}
	if calls := s.whereby.Calls(); !slices.Equal(calls, []string{"GET " + hidden}) {
		t.Errorf("Whereby was asked %q, want GET %s", calls, hidden)
	}
}

// TestListsAreMerged pages through meetings of both, with pages of every size, and
// finds each once, the newest first.
func TestListsAreMerged(t *testing.T) {
	s := newUpstreamSite(t, 50, nil)
	var want []string
	for range 13 {
		want = append([]string{s.createMeeting("").ID}, want...)
	}
	for limit := 1; limit <= 14; limit++ {
		var got []string
		cursor, pages := "", 0
		for more := true; more; pages++ {
			var list listPage
			s.get(fmt.Sprintf("/meetings?limit=%d&cursor=%s", limit, url.QueryEscape(cursor)), &list)
			for _, m := range list.Results {
				got = append(got, m["meetingId"].(string))
			}
			if more = list.Cursor != nil; more {
				cursor = *list.Cursor
			}
			if len(list.Results) > limit || pages > 40 {
				t.Fatalf("limit %d: page %d has %d", limit, pages, len(list.Results))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %q, want %q", limit, got, want)
		}
	}
	for _, bad := range []string{"cursor=x", "cursor=eyJ4", "limit=0", "limit=101"} {
		s.refused("GET", "/meetings?"+bad, "", "", http.StatusBadRequest)
	}

	// In the other order, and of a kind that is on one side alone.
	var list listPage
	s.get("/meetings?sortBy=startDate:desc&limit=100", &list)
	if len(list.Results) != 13 || list.Cursor != nil {
		t.Errorf("all in one page: %d, cursor %v", len(list.Results), list.Cursor)
	}
	there := slices.IndexFunc(want, func(id string) bool { return !strings.HasPrefix(id, "mtg_") })
	s.whereby.Record(want[there])
	s.get("/recordings", &list)
	if len(list.Results) != 1 || list.Results[0]["sizeInMegaBytes"] != 1.0 || list.Cursor != nil {
		t.Errorf("recordings %+v", list)
	}
}

// TestSessionsOfEitherSide asks for the sessions of one room, as Reflector does
// each minute: only the side where the room is is asked, and what Whereby says
// comes as it is.
func TestSessionsOfEitherSide(t *testing.T) {
	s := newUpstreamSite(t, 50, nil)
	var here, there madeMeeting
	for here.ID == "" || there.ID == "" {
		if m := s.createMeeting(""); strings.HasPrefix(m.ID, "mtg_") {
			here = m
		} else {
			there = m
		}
	}
	s.observe(here.Room, meeting.Seen{Occupant: human("a")})
	s.whereby.Join(there.ID, "Ada")
	s.whereby.Join(there.ID, "Bob")
	s.whereby.Calls()
	var list listPage
	s.get("/insights/room-sessions?roomName=/"+here.Room, &list)
	if len(list.Results) != 1 || list.Results[0]["endedAt"] != nil || !strings.HasPrefix(list.Results[0]["roomSessionId"].(string), "ses_") {
		t.Errorf("sessions here %+v", list.Results)
	}
	s.quiet("sessions of a room here")
	s.get("/insights/room-sessions?roomName=/"+there.Room, &list)
	session := s.whereby.Meeting(there.ID).Sessions[0]
	if len(list.Results) != 1 || list.Results[0]["roomSessionId"] != session.RoomSessionID || list.Results[0]["endedAt"] != nil {
		t.Errorf("sessions there %+v, want %+v", list.Results, session)
	}
	s.get("/insights/room-sessions", &list)
	if len(list.Results) != 2 || list.Results[0]["roomSessionId"] != session.RoomSessionID {
		t.Errorf("sessions of both %+v, want Whereby's first", list.Results)
	}

	// Without a view of its own rooms usher says nothing of them, and of Whereby's
	// what Whereby says.
	s.observe(here.Room, meeting.SightLost{})
	s.refused("GET", "/insights/room-sessions?roomName="+here.Room, "", "", http.StatusServiceUnavailable)
	s.get("/insights/room-sessions?roomName="+there.Room, &list)

	// And without Whereby the other way round.
	s.whereby.SetTrouble(wherebytest.Failing)
	s.refused("GET", "/insights/room-sessions?roomName="+there.Room, "", "", http.StatusServiceUnavailable)
	s.refused("GET", "/meetings", "", "", http.StatusServiceUnavailable)
	var one map[string]any
	s.get("/meetings/"+here.ID, &one)
}

// TestWherebyInTrouble: whatever Whereby does, an app gets an answer of the API's
// in time, and usher's own meetings do not wait.
func TestWherebyInTrouble(t *testing.T) {
	s := newUpstreamSite(t, 50, func(c *whereby.UpstreamConfig) { c.Fallback = config.FallbackNone })
	var there madeMeeting
	for there.ID == "" || strings.HasPrefix(there.ID, "mtg_") {
		there = s.createMeeting("")
	}
	for trouble, want := range map[wherebytest.Trouble]string{
		wherebytest.Page: "makes no sense", wherebytest.Moved: "makes no sense", wherebytest.Failing: "makes no sense",
	} {
		s.whereby.SetTrouble(trouble)
		if got := s.refused("GET", "/meetings/"+there.ID, "", "", http.StatusServiceUnavailable); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", trouble, got, want)
		}
		s.whereby.SetTrouble(wherebytest.None)
		s.get("/meetings/"+there.ID, &map[string]any{})
	}
	s.whereby.SetTrouble(wherebytest.Limited)
	status, h, text := s.call("GET", s.base+"/meetings/"+there.ID, "", nil)
	if status != http.StatusTooManyRequests || h.Get("Retry-After") != "39" || h.Get("X-RateLimit-Limit") != "1000" || !strings.Contains(text, `"msLeft":38689`) {
		t.Errorf("limited: %d %v %s, want Whereby's own answer", status, h, text)
	}
	s.whereby.SetTrouble(wherebytest.None)
	s.whereby.SetKey("another")
	if got := s.refused("GET", "/meetings/"+there.ID, "", "", http.StatusServiceUnavailable); !strings.Contains(got, "whereby-upstream-key") {
		t.Errorf("wrong key: %q", got)
	}
	if _, problem := s.upstream.Status(t.Context()); !strings.Contains(problem, "whereby-upstream-key; since 20") {
		t.Errorf("wrong key: status %q", problem)
	}
	s.whereby.SetKey(wherebytest.Key)

	s.whereby.SetTrouble(wherebytest.Down)
	for range 3 {
		s.refused("GET", "/meetings/"+there.ID, "", "", http.StatusServiceUnavailable)
	}
	s.whereby.SetTrouble(wherebytest.Slow)
	s.whereby.Calls()
	start := time.Now()
	s.refused("GET", "/meetings/"+there.ID, "", "", http.StatusServiceUnavailable)
	s.quiet("while it is down") // nobody waits for it
	if took := time.Since(start); took > time.Second {
		t.Errorf("that took %v", took)
	}
	if text := s.log.String(); strings.Contains(text, wherebytest.Key) || strings.Count(text, "cannot be used") > 8 {
		t.Errorf("log %s", text)
	}
}

// TestFallback: a meeting that one side cannot take is made at the other where the
// rule says so, and is there for good.
func TestFallback(t *testing.T) {
	s := newUpstreamSite(t, 50, func(c *whereby.UpstreamConfig) { c.Fallback = config.FallbackBoth })
	s.setState(whereby.SiteState{})
	reasons := map[string]int{}
	for range 4 {
		reasons[s.createMeeting("").header.Get(whereby.MadeAt)]++
	}
	if reasons["whereby; reason=usher_not_ready"] == 0 || reasons["whereby; reason=usher_not_ready"]+reasons["whereby; reason=share"] != 4 {
		t.Errorf("while usher is not ready: %v", reasons)
	}
	s.setState(whereby.SiteState{Ready: true, Watching: true})
	for range 4 {
		reasons[s.createMeeting(`,"recording":{"type":"cloud"}`).header.Get(whereby.MadeAt)]++
	}
	if reasons["whereby; reason=recorders_busy"] == 0 {
		t.Errorf("without an idle recorder: %v", reasons)
	}
	for _, trouble := range []wherebytest.Trouble{wherebytest.Limited, wherebytest.Down} {
		s.whereby.SetTrouble(trouble)
		clear(reasons)
		for range 10 {
			m := s.createMeeting("")
			reasons[m.header.Get(whereby.MadeAt)]++
			var shown map[string]any
			if s.get("/meetings/"+m.ID, &shown); shown["meetingId"] != m.ID {
				t.Errorf("made as %s, shown as %v", m.ID, shown)
			}
		}
		if reasons["usher; reason=whereby_unavailable"] < 3 || reasons["usher; reason=whereby_unavailable"]+reasons["usher; reason=share"] != 10 {
			t.Errorf("while Whereby is %s: %v", trouble, reasons)
		}
	}
}
