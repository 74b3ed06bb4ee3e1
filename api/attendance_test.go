package api

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/meeting/service"
)

// TestAttendanceOfASession keeps who was in when in a real Redis, and reads it as JSON
// and as a table.
func TestAttendanceOfASession(t *testing.T) {
	s := newEdgeSite(t)
	ada := human("bb")
	ada.UserID, ada.Name, ada.Audio, ada.Video = "+1", `=cmd|' /C calc'!A0, "é"`, meeting.MediaOff, meeting.MediaOn
	s.observe("a", meeting.Seen{Occupant: ada})
	time.Sleep(2 * time.Millisecond) // what takes no time is not kept
	ada.Audio = meeting.MediaOn
	s.observe("a", meeting.Seen{Occupant: ada})
	s.observe("a", meeting.Gone{Nick: "bb", Reason: meeting.LeftSwitchedRoom})
	there := ada
	there.Elsewhere = &meeting.Elsewhere{Room: meeting.ParticipantRoom{ID: "b1", Name: "one"}}
	s.observe("a", meeting.Breakouts{Rooms: 1, Occupants: []meeting.Occupant{there}})
	time.Sleep(2 * time.Millisecond)
	s.observe("a", meeting.Gone{Nick: "aa", Reason: meeting.LeftByChoice})
	path := "/v1/meetings/" + s.ids["meetings"]
	s.do("POST", path+"/end", "").into(http.StatusOK, &anyMap{})

	session := "/v1/sessions/" + s.ids["sessions"]
	var a meeting.Attendance
	s.do("GET", session+"/attendance", "").into(http.StatusOK, &a)
	if len(a.Attendees) != 2 || a.Room != "a" || a.Session.ID != s.ids["sessions"] || a.Session.EndedAt.IsZero() || time.Since(a.KnownAt.Time) > time.Minute {
		t.Fatalf("attendance %+v, want that of two in room a", a)
	}
	p := a.Attendees[1]
	if len(p.Visits) != 1 || len(p.Muted) != 1 || len(p.Camera) != 1 || len(p.BreakoutRooms) != 1 || p.BreakoutRooms[0].Name != "one" || p.BreakoutRooms[0].To != p.LeftAt || p.Visits[0].To != p.LeftAt || p.LeftReason != meeting.LeftDestroyed {
		t.Errorf("%+v, want one of each, all ended with the meeting", p)
	}

	res := s.do("GET", session+"/attendance.csv", "")
	if got := res.Header().Get("Content-Type"); got != csvType || res.Code != http.StatusOK {
		t.Errorf("%d %s, want 200 %s", res.Code, got, csvType)
	}
	if got, want := res.Header().Get("Content-Disposition"), `attachment; filename="attendance-`+a.Session.ID+`.csv"`; got != want {
		t.Errorf("disposition %s, want %s", got, want)
	}
	text := res.Body.String()
	if lines := strings.Count(text, "\r\n"); lines != 3 || strings.Count(text, "\n") != 3 {
		t.Errorf("%d lines that end with CR LF, want 3: %q", lines, text)
	}
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%v, %v; want a row for each", rows, err)
	}
	cells := map[string]string{}
	for i, name := range rows[0] {
		cells[name] = rows[2][i]
	}
	stamp := func(at meeting.Time) string { return strings.Trim(string(encode(t, at)), `"`) }
	for name, want := range map[string]string{
		"session_id": a.Session.ID, "name": "'" + ada.Name, "user_id": "'+1", "joined_at": stamp(p.JoinedAt), "present_s": "0",
		"visits":         stamp(p.Visits[0].From) + "/" + stamp(p.Visits[0].To),
		"muted":          stamp(p.Muted[0].From) + "/" + stamp(p.Muted[0].To),
		"breakout_rooms": stamp(p.BreakoutRooms[0].From) + "/" + stamp(p.LeftAt) + " one",
	} {
		if cells[name] != want {
			t.Errorf("%s is %q, want %q", name, cells[name], want)
		}
	}
	for _, cell := range []string{"=1", "+1", "-1", "@a", "\t=1", "\r=1"} {
		if got := harmless(cell); got != "'"+cell {
			t.Errorf("harmless(%q) = %q, want an apostrophe before it", cell, got)
		}
	}
	for _, cell := range []string{"", "a=1", "'=1", "José"} {
		if got := harmless(cell); got != cell {
			t.Errorf("harmless(%q) = %q, want it as it is", cell, got)
		}
	}
	s.do("GET", "/v1/sessions/ses_none/attendance", "").problem(http.StatusNotFound)
	s.do("GET", "/v1/sessions/ses_none/attendance.csv", "").problem(http.StatusNotFound)
}

// TestUsageByDayAndKey has two apps and the operator use meetings on three days.
func TestUsageByDayAndKey(t *testing.T) { synctest.Test(t, testUsageByDayAndKey) }

func testUsageByDayAndKey(t *testing.T) {
	s := newSite(t)
	start := time.Now().UTC() // midnight
	crm := s.makeKey("crm", `"meetings:write"`)
	time.Sleep(time.Millisecond) // keys are in the order of their making
	shop := s.makeKey("shop", `"admin"`)
	s.as(crm.Key, "POST", "/v1/meetings", `{"room":"one"}`)
	s.as(crm.Key, "POST", "/v1/meetings", `{"room":"two"}`)
	s.as(shop.Key, "POST", "/v1/meetings", `{"room":"three"}`)
	s.create(`{"room":"four"}`)
	s.create(`{"room":"unused"}`)
	see := func(room, user string) {
		who := human("aa")
		who.UserID = user
		s.observe(room, meeting.Seen{Occupant: who})
		time.Sleep(90 * time.Second)
		s.observe(room, meeting.Gone{Nick: "aa", Reason: meeting.LeftByChoice})
		time.Sleep(2 * meeting.SessionLinger)
	}
	see("one", "u1")
	time.Sleep(24 * time.Hour)
	see("one", "u1")
	see("two", "u1")
	see("three", "")
	time.Sleep(24 * time.Hour)
	see("four", "")
	ask := func(query string) (got []string) {
		t.Helper()
		var page Page[service.DayUsage]
		s.do("GET", "/v1/usage"+query, "").into(http.StatusOK, &page)
		for _, u := range page.Data {
			got = append(got, fmt.Sprint(u.Day, " ", u.App, " ", u.KeyID, " ", u.Sessions, u.Usage.HumanMinutes, u.Usage.Humans))
		}
		return got
	}
	at := func(day int) string { return start.AddDate(0, 0, day).Format(time.RFC3339) }
	day := func(n int) string { return start.AddDate(0, 0, n).Format(time.DateOnly) + " " }
	third, crms, shops, first := day(2)+" configured 1 2 1", day(1)+"crm "+crm.ID+" 2 4 1", day(1)+"shop "+shop.ID+" 1 2 1", day(0)+"crm "+crm.ID+" 1 2 1"
	for query, want := range map[string][]string{
		"":                                 {third, crms, shops, first},
		"?from=" + at(1):                   {third, crms, shops},
		"?from=" + at(1) + "&to=" + at(2):  {crms, shops},
		"?to=" + at(1):                     {first},
		"?key_id=" + crm.ID:                {crms, first},
		"?key_id=key_none":                 nil,
		"?from=" + at(3):                   nil,
		"?key_id=configured&from=" + at(2): {third},
	} {
		if got := ask(query); !slices.Equal(got, want) {
			t.Errorf("usage%s\ngot  %q\nwant %q", query, got, want)
		}
	}
	s.do("DELETE", "/v1/api-keys/"+shop.ID, "")
	if got, want := ask("?key_id="+shop.ID), []string{day(1) + " " + shop.ID + " 1 2 1"}; !slices.Equal(got, want) {
		t.Errorf("usage of a key that was revoked: %q, want %q", got, want)
	}

	// Meetings that were over before are not looked at: a page of them shows that.
	for i := range 150 {
		id := s.create(fmt.Sprintf(`{"room":"old-%d"}`, i))["id"].(string)
		s.do("POST", "/v1/meetings/"+id+"/end", "").into(http.StatusOK, &anyMap{})
	}
	time.Sleep(24 * time.Hour)
	see("four", "")
	before := s.store.Listed.Load()
	if got, want := ask("?from="+at(3)), []string{day(3) + " configured 1 2 1"}; !slices.Equal(got, want) {
		t.Errorf("usage of the last day: %q, want %q", got, want)
	}
	if listed := s.store.Listed.Load() - before; listed > 110 {
		t.Errorf("%d meetings were read for the last day, want a page and those that are not over", listed)
	}
}

// speaks is a site on which one participant does.
type speaks struct {
	adaSpeaks
	id  string
	err error
}

func (s speaks) Speakers(context.Context, meeting.SessionInfo) ([]meeting.SpeakerInfo, error) {
	if s.err != nil {
		return nil, s.err
	}
	return []meeting.SpeakerInfo{{EndpointID: "zz", SpeakingS: 9}, {ParticipantID: s.id, SpeakingS: 1.5, Turns: 2}}, nil
}

// TestAttendanceHasWhoSpoke asks on a site that records from bridges, where what was
// recorded can be read and where it cannot.
func TestAttendanceHasWhoSpoke(t *testing.T) {
	s := newSite(t)
	s.create(`{"room":"rm"}`)
	s.observe("rm", meeting.Seen{Occupant: human("aa")})
	s.observe("rm", meeting.Seen{Occupant: human("bb")})
	m, _ := s.tracker.Room("rm")
	path := "/v1/sessions/" + m.Session.ID + "/attendance"
	s.serve(func(c *testConfig) { c.Speakers = speaks{id: m.People[0].ID} })
	var a meeting.Attendance
	s.do("GET", path, "").into(http.StatusOK, &a)
	spoke := map[string]meeting.Attendee{}
	for _, p := range a.Attendees {
		spoke[p.ParticipantID] = p
	}
	if first := spoke[m.People[0].ID]; first.SpeakingS == nil || *first.SpeakingS != 1.5 || first.Turns != 2 || spoke[m.People[1].ID].SpeakingS != nil {
		t.Errorf("%+v, want that the first spoke, for 1.5 s in 2 turns", a.Attendees)
	}
	if text := s.do("GET", path+".csv", "").Body.String(); strings.Count(text, ",1.5,2\r\n") != 1 || strings.Count(text, ",,\r\n") != 1 {
		t.Errorf("table %q, want the same", text)
	}
	s.serve(func(c *testConfig) { c.Speakers = speaks{err: errors.New("storage is away")} })
	s.do("GET", path, "").into(http.StatusOK, &a)
	if len(a.Attendees) != 2 || !strings.Contains(s.log.String(), "storage is away") {
		t.Errorf("%+v, want both, and a line in the log", a.Attendees)
	}
}
