package api

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"usher/meeting"
)

func TestSessionsAndParticipants(t *testing.T) {
	s := newSite(t)
	path := "/v1/meetings/" + s.create(`{"room":"rm"}`)["id"].(string)
	names := func(path string) string {
		t.Helper()
		var p struct {
			Data []struct {
				ID       string  `json:"id"`
				Session  string  `json:"session_id"`
				Endpoint string  `json:"endpoint_id"`
				LeftAt   *string `json:"left_at"`
			}
			Next any `json:"next_cursor"`
		}
		s.do("GET", path, "").into(http.StatusOK, &p)
		list := []string{}
		for _, v := range p.Data {
			word := v.Endpoint
			if v.LeftAt != nil {
				word = "left"
			}
			list = append(list, word)
		}
		return fmt.Sprint(list)
	}
	if got := names(path + "/participants"); got != "[]" {
		t.Errorf("participants before a session = %s, want none", got)
	}
	s.observe("rm", meeting.Seen{Occupant: human("ann")})
	time.Sleep(time.Millisecond) // the order is that of joining
	s.observe("rm", meeting.Seen{Occupant: human("bob")})
	s.observe("rm", meeting.Gone{Nick: "ann", Reason: meeting.LeftByChoice})

	var sessions struct {
		Data []meeting.Session
		Next any `json:"next_cursor"`
	}
	s.do("GET", path+"/sessions", "").into(http.StatusOK, &sessions)
	if len(sessions.Data) != 1 || sessions.Data[0].Humans != 2 || sessions.Next != nil {
		t.Fatalf("sessions = %+v, want one with two humans", sessions)
	}
	session := "/v1/sessions/" + sessions.Data[0].ID
	var one anyMap
	s.do("GET", session, "").into(http.StatusOK, &one)
	if one["peak"] != 2.0 || one["ended_at"] != nil {
		t.Errorf("session = %v, want it open with a peak of 2", one)
	}
	var m struct{ Occupancy meeting.Occupancy }
	s.do("GET", path, "").into(http.StatusOK, &m)
	if m.Occupancy.Humans != 1 || m.Occupancy.Peak != 2 {
		t.Errorf("occupancy = %+v, want one human and a peak of 2", m.Occupancy)
	}
	check := func(path, want string) {
		t.Helper()
		if got := names(path); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	check(path+"/participants", "[left bob]")
	check(path+"/participants?active=true", "[bob]")
	check(session+"/participants", "[left bob]")
	check(session+"/participants?active=true", "[bob]")

	s.do("POST", path+"/end", "").into(http.StatusOK, &anyMap{})
	check(path+"/participants", "[left left]")
	check(path+"/participants?active=true", "[]")

	for _, unknown := range []string{"/v1/meetings/x/participants", "/v1/meetings/x/sessions", "/v1/sessions/x", "/v1/sessions/x/participants"} {
		s.do("GET", unknown, "").problem(http.StatusNotFound)
	}
	p := s.do("GET", path+"/participants?active=maybe", "").problem(http.StatusUnprocessableEntity)
	if len(p.Errors) != 1 || p.Errors[0].Parameter != "active" {
		t.Errorf("errors = %+v, want one for active", p.Errors)
	}
}
