package api

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
)

// patch sends a change with an If-Match header.
func (s *site) patch(path, ifMatch, body string) response {
	s.t.Helper()
	return s.sendWith("PATCH", path, body, http.Header{"If-Match": {ifMatch}})
}

func TestCreateMeetingWithLimits(t *testing.T) {
	s := newSite(t)
	m := s.create(`{"max_duration_s":3600,"empty_timeout_s":600,"departure_timeout_s":5,"max_participants":12}`)
	for field, want := range map[string]any{
		"max_duration_s": 3600.0, "empty_timeout_s": 600.0, "departure_timeout_s": 5.0, "max_participants": 12.0,
	} {
		if m[field] != want {
			t.Errorf("%s = %v, want %v", field, m[field], want)
		}
	}
	for field, body := range map[string]string{
		"/max_duration_s": `{"max_duration_s":-1}`, "/empty_timeout_s": `{"empty_timeout_s":9999999}`,
		"/departure_timeout_s": `{"departure_timeout_s":0}`, "/max_participants": `{"max_participants":1.5}`,
	} {
		p := s.do("POST", "/v1/meetings", body).problem(http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != field {
			t.Errorf("%s: errors = %+v, want one for %s", body, p.Errors, field)
		}
	}
}

func TestPatchMeeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // starts at midnight UTC 2000-01-01
		s := newSite(t)
		path := "/v1/meetings/" + s.create(`{"room":"rm","end_at":"2000-01-01T10:00:00Z","max_participants":5,"departure_timeout_s":9,"metadata":{"a":"b"}}`)["id"].(string)
		res := s.do("GET", path, "")
		if got := res.Header().Get("ETag"); got != `"1"` {
			t.Fatalf("ETag = %s, want \"1\"", got)
		}
		steps := []struct {
			ifMatch, body string
			want          map[string]any
			etag          string
		}{
			{`"1"`, `{"max_duration_s":60}`, map[string]any{"max_duration_s": 60.0, "end_at": "2000-01-01T10:00:00.000Z", "max_participants": 5.0}, `"2"`},
			{``, `{"end_at":null,"max_participants":null}`, map[string]any{"end_at": nil, "max_participants": 0.0, "max_duration_s": 60.0}, `"3"`},
			{`*`, `{"departure_timeout_s":null,"start_at":"2000-01-01T02:00:00+01:00"}`, map[string]any{"departure_timeout_s": 60.0, "start_at": "2000-01-01T01:00:00.000Z"}, `"4"`},
			{`"4"`, `{"metadata":null}`, map[string]any{"metadata": nil}, `"5"`},
			{`"5"`, `{"metadata":{"c":"d"},"empty_timeout_s":7}`, map[string]any{"metadata": anyMap{"c": "d"}, "empty_timeout_s": 7.0}, `"6"`},
		}
		for _, st := range steps {
			var m anyMap
			res := s.patch(path, st.ifMatch, st.body)
			res.into(http.StatusOK, &m)
			for field, want := range st.want {
				if got := m[field]; string(encode(t, got)) != string(encode(t, want)) {
					t.Errorf("%s: %s = %v, want %v", st.body, field, got, want)
				}
			}
			if got := res.Header().Get("ETag"); got != st.etag {
				t.Errorf("%s: ETag = %s, want %s", st.body, got, st.etag)
			}
		}
		for _, stale := range []string{`"5"`, `"7"`, `W/"5"`, `w/"6"`, `6`, `"6`, `"5", "7"`, `""`, `"x"`} {
			if p := s.patch(path, stale, `{"max_duration_s":1}`).problem(http.StatusPreconditionFailed); p.Code != "changed" {
				t.Errorf("If-Match %s: code = %s, want changed", stale, p.Code)
			}
		}
		for body, pointer := range map[string]string{
			`{"end_at":"1999-12-31T10:00:00Z"}`:                                   "/end_at",
			`{"end_at":"2000-01-01T00:30:00Z"}`:                                   "/end_at", // before the start that stays
			`{"end_at":"2000-01-01T02:00:00Z","start_at":"2000-01-01T03:00:00Z"}`: "/end_at",
			`{"start_at":"1999-01-01T00:00:00Z"}`:                                 "/start_at",
			`{"room":"other"}`:                                                    "/room",
			`{"max_duration_s":"60"}`:                                             "/max_duration_s",
			`{"departure_timeout_s":0}`:                                           "/departure_timeout_s",
			`{"metadata":{"k":"` + strings.Repeat("v", MaxMetadata) + `"}}`:       "/metadata",
		} {
			p := s.patch(path, "", body).problem(http.StatusUnprocessableEntity)
			if len(p.Errors) != 1 || p.Errors[0].Pointer != pointer {
				t.Errorf("%.60s: errors = %+v, want one for %s", body, p.Errors, pointer)
			}
		}
		s.patch(path, "", `{}`).problem(http.StatusUnprocessableEntity)
		s.patch(path, "", `{"max_duration_s":`).problem(http.StatusBadRequest)
		s.patch("/v1/meetings/mtg_none", "", `{"max_duration_s":1}`).problem(http.StatusNotFound)

		// The core heard of it: the meeting has no end any more, only a start.
		time.Sleep(24 * time.Hour)
		s.do("POST", path+"/end", "").into(http.StatusOK, &anyMap{})
		if p := s.patch(path, "", `{"max_duration_s":1}`).problem(http.StatusConflict); p.Code != "ended" {
			t.Errorf("change of an ended meeting: code = %s, want ended", p.Code)
		}
	})
}

// TestIfMatchLists has the lists that RFC 9110 section 13.1.1 allows, and the weak
// form that a proxy makes of a tag when it compresses the answer.
func TestIfMatchLists(t *testing.T) {
	s := newSite(t)
	path := "/v1/meetings/" + s.create(`{}`)["id"].(string)
	for n, given := range []string{`"0", "1"`, `W/"2"`, `"x",W/"3" , "7"`, ` * `} {
		res := s.patch(path, given, `{"max_duration_s":1}`)
		if res.Code != 200 {
			t.Errorf("If-Match %s of version %d = %d %s, want 200", given, n+1, res.Code, res.Body)
		}
	}
}

func TestDeleteMeeting(t *testing.T) {
	s := newSite(t)
	id := s.create(`{"room":"rm","external_id":"x"}`)["id"].(string)
	path := "/v1/meetings/" + id
	s.observe("rm", meeting.Seen{Occupant: human("ann")})
	var sessions struct{ Data []struct{ ID string } }
	s.do("GET", path+"/sessions", "").into(http.StatusOK, &sessions)
	gone := []string{
		path, path + "/participants", path + "/sessions",
		"/v1/sessions/" + sessions.Data[0].ID, "/v1/sessions/" + sessions.Data[0].ID + "/participants",
	}
	for range 2 { // may be repeated while the room is still there
		if res := s.do("DELETE", path, ""); res.Code != http.StatusAccepted || res.Body.Len() != 0 {
			t.Fatalf("DELETE = %d %s, want 202", res.Code, res.Body)
		}
		for _, p := range gone {
			s.do("GET", p, "").problem(http.StatusNotFound)
		}
		s.do("POST", path+"/end", "").problem(http.StatusNotFound)
		s.patch(path, "", `{"max_duration_s":1}`).problem(http.StatusNotFound)
		var list struct{ Data []anyMap }
		s.do("GET", "/v1/meetings", "").into(http.StatusOK, &list)
		if len(list.Data) != 0 {
			t.Errorf("list = %v, want nothing", list.Data)
		}
	}
	s.tracker.Observe("rm", time.Now(), meeting.RoomGone{Reason: meeting.LeftDestroyed})
	s.until(func() bool { return s.do("DELETE", path, "").Code == http.StatusNotFound })

	path = "/v1/meetings/" + s.create(`{"room":"rm","external_id":"x","reuse_room":true}`)["id"].(string)
	s.do("POST", path+"/end", "").into(http.StatusOK, &anyMap{})
	s.tracker.Observe("rm", time.Now(), meeting.RoomGone{Reason: meeting.LeftDestroyed})
	s.until(func() bool { _, known := s.tracker.Room("rm"); return !known })
	if res := s.do("DELETE", path, ""); res.Code != http.StatusNoContent {
		t.Errorf("DELETE of a meeting that is over = %d %s, want 204", res.Code, res.Body)
	}
	s.do("GET", path, "").problem(http.StatusNotFound)
}

// TestIfMatchOnALiveMeeting: whoever comes, goes and unmutes changes nothing
// about what an app wants to change.
func TestIfMatchOnALiveMeeting(t *testing.T) {
	s := newSite(t)
	path := "/v1/meetings/" + s.create(`{"room":"rm"}`)["id"].(string)
	etag := s.do("GET", path, "").Header().Get("ETag")
	s.observe("rm", meeting.Seen{Occupant: human("ann")})
	s.observe("rm", meeting.Seen{Occupant: human("bob")})
	s.observe("rm", meeting.Gone{Nick: "bob", Reason: meeting.LeftByChoice})
	if now := s.do("GET", path, "").Header().Get("ETag"); now != etag {
		t.Errorf("ETag = %s once people came and went, want still %s", now, etag)
	}
	var m anyMap
	s.patch(path, etag, `{"max_participants":7}`).into(http.StatusOK, &m)
	s.patch(path, etag, `{"max_participants":8}`).problemCode(http.StatusPreconditionFailed, "changed")
}
