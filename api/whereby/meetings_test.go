package whereby_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/meeting"
)

// TestWherebyMeetingsLive proves what keeps an app from ending meetings that go on.
func TestWherebyMeetingsLive(t *testing.T) {
	s := newWherebySite(t, nil)
	m := s.createMeeting("")
	type session struct {
		ID      string `json:"roomSessionId"`
		EndedAt *string
	}
	sessions := func(query string) (list []session, cursor string) {
		t.Helper()
		var page struct {
			Results []session
			Cursor  string
		}
		s.get("/insights/room-sessions?roomName=/"+m.Room+query, &page)
		return page.Results, page.Cursor
	}
	endIn := func(room, nick string) { // long enough ago for the session to be over
		t.Helper()
		s.tracker.Observe(room, time.Now().Add(-time.Hour), meeting.Gone{Nick: nick, Reason: meeting.LeftByChoice})
		s.until(func() bool { now, _ := s.tracker.Room(room); return now.Session.ID == "" })
	}
	end := func(nick string) { t.Helper(); endIn(m.Room, nick) }
	for i := range 12 {
		s.person(m, meeting.Seen{Occupant: human(fmt.Sprint("p", i))})
		if i < 11 {
			end(fmt.Sprint("p", i))
		}
	}
	list, cursor := sessions("")
	if len(list) != 10 || list[0].EndedAt != nil || cursor == "" || slices.ContainsFunc(list[1:], func(s session) bool { return s.EndedAt == nil }) {
		t.Fatalf("first page = %+v, cursor %q: want ten, the open one first", list, cursor)
	}
	rest, last := sessions("&cursor=" + cursor)
	if len(rest) != 2 || last != "" || rest[0].ID == list[9].ID {
		t.Errorf("second page = %+v, cursor %q, want the other two", rest, last)
	}
	if all, _ := sessions("&limit=100&sortBy=startedAt:asc"); len(all) != 12 || all[11].ID != list[0].ID {
		t.Errorf("oldest first: %d sessions, want all, and the open one last", len(all))
	}
	if one, _ := sessions("&roomSessionId=" + rest[0].ID); len(one) != 1 || one[0].ID != rest[0].ID {
		t.Errorf("one session = %+v", one)
	}
	if other, _ := sessions("x&roomSessionId=" + rest[0].ID); len(other) != 0 {
		t.Errorf("a session of another room = %+v, want none", other)
	}
	// A later meeting whose session is over comes after the one that goes on.
	later := s.createMeeting("")
	s.person(later, meeting.Seen{Occupant: human("eve")})
	endIn(later.Room, "eve")
	var all struct{ Results []session }
	if s.get("/insights/room-sessions?limit=100", &all); len(all.Results) != 13 || all.Results[0].ID != list[0].ID {
		t.Errorf("of all rooms: %d sessions, %+v first, want the open one", len(all.Results), all.Results[0])
	}

	end("p11")
	if list, _ = sessions(""); list[0].EndedAt == nil {
		t.Fatal("the session is over, and is not shown so")
	}
	// Somebody clicks on a link: they are on the way, and not in yet.
	if res := s.send("GET", strings.TrimPrefix(m.URL, "https://usher.example.org"), "", "", ""); res.Code != http.StatusFound {
		t.Fatalf("the link answers %d", res.Code)
	}
	if list, _ = sessions(""); list[0].EndedAt != nil || list[1].EndedAt == nil {
		t.Errorf("sessions while somebody is on the way = %+v, want the latest open", list)
	}
	s.call("DELETE", s.base+"/meetings/"+m.ID, "", nil)
	if list, _ = sessions(""); list[0].EndedAt == nil {
		t.Error("a session of a meeting that was deleted is open")
	}
}

// TestWherebyDoesNotGuess proves that usher says so when it does not see a room.
func TestWherebyDoesNotGuess(t *testing.T) {
	s := newWherebySite(t, nil)
	m := s.createMeeting("")
	path := "/insights/room-sessions?roomName=/" + m.Room
	s.person(m, meeting.Seen{Occupant: human("ann")})
	s.person(m, meeting.SightLost{})
	s.refused("GET", path, "", "", 503)
	var list struct{ Results []anyMap }
	if s.get("/insights/room-sessions?roomName=/another", &list); len(list.Results) != 0 {
		t.Errorf("an unknown room has %d sessions", len(list.Results))
	}
	s.person(m, meeting.Roster{Occupants: []meeting.Occupant{human("ann")}})
	if s.get(path, &list); len(list.Results) != 1 {
		t.Errorf("%d sessions once it sees the room again, want one", len(list.Results))
	}

	s.store.Fail(meeting.ErrUnavailable)
	s.refused("GET", path, "", "", 503)
	s.store.Fail(nil)
	standby := newStandby(t)
	for _, path := range []string{path, "/insights/rooms", "/insights/participants?roomSessionId=x"} {
		res := standby.send("GET", "/whereby/v1"+path, "", "Bearer "+testKey, "")
		if res.Code != 503 || res.Header().Get("Retry-After") == "" || !strings.HasPrefix(res.Body.String(), `{"error":"usher does not see`) {
			t.Errorf("before the meetings are loaded, %s: %d %s", path, res.Code, res.Body)
		}
	}
}

func TestWherebyMeetings(t *testing.T) {
	s := newWherebySite(t, func(c *testConfig) { c.SealSecret = "a-secret-that-stays" })
	m := s.createMeeting("")
	var one anyMap
	s.get("/meetings/"+m.ID+"?fields=hostRoomUrl,viewerRoomUrl", &one)
	if one["roomUrl"] != m.URL || one["hostRoomUrl"] != m.HostURL || one["viewerRoomUrl"] != m.URL || m.URL == m.HostURL {
		t.Errorf("meeting = %v, want the links it was made with", one)
	}
	one = nil
	if s.get("/meetings/"+m.ID, &one); one["endDate"] != "2099-02-20T20:09:39.123Z" || one["hostRoomUrl"] != nil {
		t.Errorf("meeting = %v, want no link for hosts unless asked", one)
	}
	s.serve(func(c *testConfig) { c.SealSecret = "a-secret-that-stays" })
	if s.get("/meetings/"+m.ID, &one); one["roomUrl"] != m.URL {
		t.Errorf("roomUrl = %v after a restart, want %s", one["roomUrl"], m.URL)
	}
	if links, _ := s.store.Links(t.Context(), m.ID); len(links) != 2 {
		t.Errorf("the meeting has %d links, want one for hosts and one for guests", len(links))
	}
	s.serve(func(*testConfig) {})
	s.get("/meetings/"+m.ID, &one)
	for _, url := range []string{m.URL, one["roomUrl"].(string)} {
		if res := s.send("GET", strings.TrimPrefix(url, "https://usher.example.org"), "", "", ""); res.Code != http.StatusFound {
			t.Errorf("%s answers %d, want it to let people in", url, res.Code)
		}
	}

	for range 3 {
		s.createMeeting("")
	}
	var oldest struct{ Results []anyMap }
	if s.get("/meetings?sortBy=startDate:asc", &oldest); len(oldest.Results) != 4 || oldest.Results[0]["meetingId"] != m.ID {
		t.Errorf("oldest first = %v, want four, %s the first", oldest.Results, m.ID)
	}
	seen := map[string]bool{}
	for cursor, pages := "", 0; cursor != "" || pages == 0; pages++ {
		var list struct {
			Results []anyMap
			Cursor  *string
		}
		s.get("/meetings?limit=3&cursor="+cursor, &list)
		for _, m := range list.Results {
			seen[m["meetingId"].(string)] = true
		}
		cursor = ""
		if list.Cursor != nil {
			cursor = *list.Cursor
		}
	}
	if len(seen) != 4 || !seen[m.ID] {
		t.Errorf("listed %v, want four meetings", seen)
	}
	for range 2 {
		if status, _, body := s.call("DELETE", s.base+"/meetings/"+m.ID, "", nil); status != 204 || body != "" {
			t.Errorf("delete: %d %s, want 204 each time", status, body)
		}
	}
	if status, _, _ := s.call("DELETE", s.base+"/meetings/none", "", nil); status != 204 {
		t.Errorf("deleting what there is not: %d, want 204", status)
	}
	s.refused("GET", "/meetings/"+m.ID, "", "", 404)
	var list struct{ Results []anyMap }
	if s.get("/meetings", &list); len(list.Results) != 3 {
		t.Errorf("%d meetings are listed, want those not deleted", len(list.Results))
	}
}
