package whereby_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"usher/api"
	"usher/meeting"
	"usher/meeting/service"
)

// TestInsights has two people in one meeting and one in another, and compares
// what both APIs say they came to.
func TestInsights(t *testing.T) {
	s := newWherebySite(t, nil)
	a, b, empty := s.createMeeting(""), s.createMeeting(""), s.createMeeting("")
	host := human("ann")
	host.UserID, host.Name, host.Role = "u1", "José <b>&😀", meeting.RoleModerator
	recorder := human("rec")
	recorder.Kind = meeting.KindRecorder
	start := time.Now().Add(-90 * time.Second)
	see := func(m madeMeeting, at time.Time, f meeting.Input) {
		t.Helper()
		before, _ := s.tracker.Room(m.Room)
		s.tracker.Observe(m.Room, at, f)
		s.until(func() bool { now, _ := s.tracker.Room(m.Room); return now.Version > before.Version })
	}
	see(a, start, meeting.Seen{Occupant: host})
	see(a, start.Add(time.Millisecond), meeting.Seen{Occupant: human("bob")})
	see(a, start.Add(2*time.Millisecond), meeting.Seen{Occupant: recorder})
	see(a, start.Add(30*time.Second), meeting.Gone{Nick: "bob", Reason: meeting.LeftByChoice})
	see(b, start, meeting.Seen{Occupant: host})

	session, _ := s.tracker.Room(a.Room)
	id := session.Session.ID
	var sessions api.Page[service.SessionUsage]
	s.do("GET", "/v1/insights/sessions?room="+strings.ToUpper(a.Room), "").into(http.StatusOK, &sessions)
	want := meeting.Usage{HumanMinutes: 3, RecorderMinutes: 2, Humans: 2, Recorders: 1}
	if len(sessions.Data) != 1 || sessions.Data[0].Session.ID != id || sessions.Data[0].Usage != want || sessions.Data[0].MeetingID != a.ID {
		t.Errorf("sessions = %+v, want one with %+v", sessions.Data, want)
	}
	// Page by page, over meetings with a session and without.
	var seen []string
	for cursor, pages := "", 0; cursor != "" || pages == 0; pages++ {
		var p api.Page[service.SessionUsage]
		s.do("GET", "/v1/insights/sessions?limit=1&cursor="+cursor, "").into(http.StatusOK, &p)
		for _, one := range p.Data {
			seen = append(seen, one.MeetingID)
		}
		cursor = ""
		if p.NextCursor != nil {
			cursor = *p.NextCursor
		}
		if pages > 5 {
			t.Fatal("the pages do not end")
		}
	}
	if fmt.Sprint(seen) != fmt.Sprint([]string{b.ID, a.ID}) {
		t.Errorf("sessions of %v, want of %s and %s", seen, b.ID, a.ID)
	}
	var rooms api.Page[service.RoomUsage]
	s.do("GET", "/v1/insights/rooms", "").into(http.StatusOK, &rooms)
	if len(rooms.Data) != 3 || rooms.Data[0].MeetingID != empty.ID || rooms.Data[0].Sessions != 0 || rooms.Data[0].FirstSessionAt != nil ||
		rooms.Data[2].Usage != want || rooms.Data[2].Sessions != 1 || rooms.Data[2].LastSessionAt == nil {
		t.Errorf("rooms = %+v", rooms.Data)
	}

	var days api.Page[service.DayUsage]
	s.do("GET", "/v1/usage", "").into(http.StatusOK, &days)
	if len(days.Data) != 1 || days.Data[0].KeyID != "configured" || days.Data[0].Sessions != 2 || days.Data[0].Usage.HumanMinutes != 5 {
		t.Errorf("usage by day = %+v, want that of both sessions with the key that made the meetings", days.Data)
	}

	var list struct{ Results []anyMap }
	s.get("/insights/room-sessions?roomName=/"+a.Room, &list)
	one := list.Results[0]
	if got := fmt.Sprint(one["totalParticipantMinutes"], one["totalRecorderMinutes"], one["totalUniqueParticipants"], one["totalUniqueRecorders"]); got != "3 2 2 1" {
		t.Errorf("Whereby's session = %s, want the same", got)
	}
	s.get("/insights/rooms?roomName[exact]=/"+a.Room, &list)
	if one = list.Results[0]; len(list.Results) != 1 || one["roomName"] != "/"+a.Room || one["endAt"] != "2099-02-20T20:09:39.123Z" || one["totalSessions"] != 1.0 || one["totalRecorderMinutes"] != 2.0 {
		t.Errorf("Whereby's room = %v", list.Results)
	}
	if s.get("/insights/rooms?roomName[startsWith]=/"+b.Room[:20], &list); len(list.Results) != 1 || list.Results[0]["roomName"] != "/"+b.Room {
		t.Errorf("rooms by their beginning = %v", list.Results)
	}

	status, _, body := s.call("GET", s.base+"/insights/participants?roomSessionId="+id+"&sortBy=joinedAt:asc&limit=2", "", nil)
	if status != 200 || !strings.Contains(body, `"displayName":"José <b>&😀"`) {
		t.Errorf("participants: %d %s, want the name as it is", status, body)
	}
	page := func(query string) (roles []string, cursor string, last anyMap) {
		t.Helper()
		var p struct {
			Results []anyMap
			Cursor  string
		}
		s.get("/insights/participants?roomSessionId="+id+query, &p)
		for _, one := range p.Results {
			left := "in"
			if one["leftAt"] != nil {
				left = "left"
			}
			roles, last = append(roles, fmt.Sprint(one["roleName"], " ", left)), one
		}
		return roles, p.Cursor, last
	}
	first, cursor, bob := page("&limit=2")
	rest, end, _ := page("&limit=2&cursor=" + cursor)
	if got := fmt.Sprint(first, rest, end); got != "[host in visitor left] [recorder in]" {
		t.Errorf("participants = %s", got)
	}
	for _, field := range []string{"deviceId", "userId", "externalId", "rating", "comment"} {
		if v, there := bob[field]; !there || v != nil {
			t.Errorf("%s of a guest = %v, want null", field, v)
		}
	}
	if of, _, ann := page("&externalId=u1"); len(of) != 1 || ann["externalId"] != "u1" {
		t.Errorf("people with externalId u1 = %v", of)
	}
	var person anyMap
	s.get("/insights/participant?roomSessionId="+id+"&participantId="+bob["participantId"].(string), &person)
	if person["roomSessionId"] != id || person["roleName"] != "visitor" {
		t.Errorf("person = %v", person)
	}
	s.get("/insights/participants?roomSessionId=none", &list)
	if len(list.Results) != 0 {
		t.Errorf("people of no session = %v", list.Results)
	}
}
