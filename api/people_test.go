package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"usher/meeting"
	"usher/meeting/service"
)

func TestKickParticipant(t *testing.T) {
	s := newSite(t)
	id := s.create(`{"room":"rm"}`)["id"].(string)
	path := "/v1/meetings/" + id + "/participants"
	for _, nick := range []string{"laptop", "phone"} {
		ada := human(nick)
		ada.UserID = "u1"
		s.observe("rm", meeting.Seen{Occupant: ada})
	}
	s.observe("rm", meeting.Seen{Occupant: human("bob")})
	s.observe("rm", meeting.Gone{Nick: "bob", Reason: meeting.LeftByChoice})
	var list struct{ Data []meeting.ParticipantInfo }
	s.do("GET", path, "").into(http.StatusOK, &list)
	ada, bob := list.Data[0].ID, list.Data[1].ID

	if res := s.do("DELETE", path+"/"+ada+"?reason=too%20loud", ""); res.Code != http.StatusNoContent || res.Body.Len() > 0 {
		t.Errorf("kick = %d %s, want 204", res.Code, res.Body)
	}
	if want := []string{"rm[laptop phone]too loud"}; !slices.Equal(s.kicked, want) {
		t.Errorf("kicked %q, want %q", s.kicked, want)
	}
	s.do("DELETE", path+"/"+bob, "").problemCode(http.StatusConflict, "not_present")
	for _, unknown := range []string{path + "/prt_none", "/v1/meetings/mtg_none/participants/" + ada} {
		s.do("DELETE", unknown, "").problemCode(http.StatusNotFound, "not_found")
		s.do("GET", unknown, "").problemCode(http.StatusNotFound, "not_found")
	}
	var p meeting.ParticipantInfo
	s.do("GET", path+"/"+bob, "").into(http.StatusOK, &p)
	if p.ID != bob || p.LeftReason != meeting.LeftByChoice {
		t.Errorf("participant = %+v, want Bob, who left", p)
	}
	s.kickErr = errors.New("stream down")
	s.do("DELETE", path+"/"+ada, "").problemCode(http.StatusServiceUnavailable, "unavailable")
	if len(s.kicked) != 2 {
		t.Errorf("kicked %q, want two calls in all", s.kicked)
	}
}

// TestKickFromABreakoutRoom is out of usher's reach: a user is put out on coming
// back, a guest would only seem to be.
func TestKickFromABreakoutRoom(t *testing.T) {
	s := newSite(t)
	id := s.create(`{"room":"rm"}`)["id"].(string)
	path := "/v1/meetings/" + id + "/participants"
	ada := human("ada")
	ada.UserID = "u1"
	s.observe("rm", meeting.Seen{Occupant: ada})
	s.observe("rm", meeting.Seen{Occupant: human("bob")})
	var b meeting.Breakouts
	for _, o := range []meeting.Occupant{ada, human("bob")} {
		s.observe("rm", meeting.Gone{Nick: o.Nick, Reason: meeting.LeftSwitchedRoom})
		o.Elsewhere = &meeting.Elsewhere{Room: meeting.ParticipantRoom{ID: "b1", Name: "one"}}
		b.Occupants = append(b.Occupants, o)
	}
	b.Rooms = 1
	s.observe("rm", b)
	var list struct{ Data []meeting.ParticipantInfo }
	s.do("GET", path+"?active=true", "").into(http.StatusOK, &list)
	if len(list.Data) != 2 || list.Data[0].Room != b.Occupants[0].Elsewhere.Room || list.Data[1].Room != b.Occupants[0].Elsewhere.Room {
		t.Fatalf("participants %+v, want both in room one", list.Data)
	}
	if res := s.do("DELETE", path+"/"+list.Data[0].ID, ""); res.Code != http.StatusNoContent {
		t.Errorf("putting out a user = %d %s, want 204", res.Code, res.Body)
	}
	s.do("DELETE", path+"/"+list.Data[1].ID, "").problemCode(http.StatusConflict, "in_breakout_room")
	if len(s.kicked) > 0 {
		t.Errorf("kicked %q, want nobody: they are not in the main room", s.kicked)
	}
	var m meeting.MeetingInfo
	s.do("GET", "/v1/meetings/"+id, "").into(http.StatusOK, &m)
	if m.Occupancy.Humans != 2 {
		t.Errorf("%d humans, want 2", m.Occupancy.Humans)
	}
}

func TestListRooms(t *testing.T) {
	s := newSite(t)
	rooms := func() string {
		t.Helper()
		var p struct {
			Data []struct {
				Room      string
				MeetingID string `json:"meeting_id"`
				Occupancy meeting.Occupancy
				Session   meeting.SessionInfo
			}
		}
		s.do("GET", "/v1/rooms", "").into(http.StatusOK, &p)
		list := []string{}
		for _, r := range p.Data {
			if r.MeetingID == "" || r.Session.ID == "" {
				t.Errorf("room = %+v, want its meeting and session", r)
			}
			list = append(list, fmt.Sprint(r.Room, r.Occupancy.Humans))
		}
		return fmt.Sprint(list)
	}
	s.create(`{"room":"empty"}`)
	s.create(`{"room":"full"}`)
	if got := rooms(); got != "[]" {
		t.Errorf("rooms before anybody came = %s, want none", got)
	}
	s.observe("full", meeting.Seen{Occupant: human("ann")})
	s.observe("full", meeting.Seen{Occupant: human("bob")})
	if got := rooms(); got != "[full2]" {
		t.Errorf("rooms = %s, want the one with two people", got)
	}
}

// TestVisits finds where a user was, by user, by time and by metadata.
func TestVisits(t *testing.T) {
	s := newSite(t)
	for _, room := range []string{"a", "b", "c"} {
		s.create(`{"room":"` + room + `","metadata":{"team":"` + map[bool]string{true: "red", false: "blue"}[room == "a"] + `"}}`)
		ann, bob := human("ann"), human("bob")
		ann.UserID, bob.UserID = "u-ann", "u-bob"
		if room != "c" {
			s.observe(room, meeting.Seen{Occupant: ann})
		}
		s.observe(room, meeting.Seen{Occupant: bob})
	}
	s.observe("a", meeting.Gone{Nick: "ann", Reason: meeting.LeftByChoice})
	for query, want := range map[string]string{
		"user_id=u-ann": "b a", "user_id=u-bob": "c b a", "user_id=u-ann&active=true": "b", "user_id=u-eve": "",
		"user_id=u-bob&metadata=team:red": "a", "user_id=u-bob&metadata=team:": "", "user_id=u-bob&created_after=2999-01-01T00:00:00Z": "",
		"user_id=u-bob&created_before=2999-01-01T00:00:00Z": "c b a",
	} {
		var rooms []string
		for cursor := ""; ; {
			var page Page[service.Visit]
			s.do("GET", "/v1/participants?limit=1&"+query+"&cursor="+cursor, "").into(http.StatusOK, &page)
			for _, v := range page.Data {
				rooms = append(rooms, v.Room)
			}
			if page.NextCursor == nil {
				break
			}
			cursor = *page.NextCursor
		}
		if got := strings.Join(rooms, " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	for query, parameter := range map[string]string{"": "user_id", "user_id=u&metadata=team": "metadata[0]", "user_id=u&created_after=x": "created_after"} {
		if p := s.do("GET", "/v1/participants?"+query, "").problem(422); len(p.Errors) != 1 || p.Errors[0].Parameter != parameter {
			t.Errorf("%s: errors = %+v, want one for %s", query, p.Errors, parameter)
		}
	}
	var usages struct{ Data []anyMap }
	for query, want := range map[string]int{"from=2999-01-01T00:00:00Z": 0, "to=2999-01-01T00:00:00Z": 3, "to=2001-01-01T00:00:00Z": 0} {
		s.do("GET", "/v1/insights/sessions?"+query, "").into(200, &usages)
		if len(usages.Data) != want {
			t.Errorf("insights %s = %d sessions, want %d", query, len(usages.Data), want)
		}
		var rooms struct{ Data []struct{ Sessions int } }
		s.do("GET", "/v1/insights/rooms?"+query, "").into(200, &rooms)
		if rooms.Data[0].Sessions != min(want, 1) {
			t.Errorf("insights of rooms %s = %d sessions, want %d", query, rooms.Data[0].Sessions, min(want, 1))
		}
	}
}
