package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"usher/meeting"
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
