package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/meeting/service"
	"usher/token"
)

// tokenOf returns the token that a link leads to.
func (s *site) tokenOf(url string) string {
	s.t.Helper()
	res := s.click(url)
	_, text, ok := strings.Cut(res.Header().Get("Location"), "#jwt=")
	if res.Code != http.StatusFound || !ok {
		s.t.Fatalf("%s answers %d to %q, want it to lead on with a token", url, res.Code, res.Header().Get("Location"))
	}
	return text
}

// TestTokensLiveAsLongAsTheirMeeting asks everything that makes tokens for one,
// for meetings with an end and without.
func TestTokensLiveAsLongAsTheirMeeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // starts at midnight UTC 2000-01-01
		s := newSite(t)
		now := time.Now().Truncate(time.Second) // as tokens have it
		day := now.Add(24 * time.Hour)
		eight := now.Add(8 * time.Hour)
		for _, tt := range []struct {
			name, meeting, body string
			want                time.Time
		}{
			{"no end", `{}`, `{}`, day},
			{"with an end", `{"end_at":"2000-01-01T08:00:00Z"}`, `{}`, eight.Add(15 * time.Minute)},
			{"an end beyond all tokens", `{"end_at":"2099-01-01T00:00:00Z"}`, `{}`, now.Add(token.MaxTTL)},
			{"life asked for", `{}`, `{"ttl_s":600}`, now.Add(10 * time.Minute)},
			{"life asked for, with an end", `{"end_at":"2000-01-01T08:00:00Z"}`, `{"ttl_s":3600}`, now.Add(time.Hour)},
			{"longer than the meeting", `{"end_at":"2000-01-01T08:00:00Z"}`, `{"ttl_s":86400}`, eight.Add(15 * time.Minute)},
		} {
			id := s.create(tt.meeting)["id"].(string)
			m, _ := s.store.Load(t.Context(), id)
			var ticket service.Ticket
			s.do("POST", "/v1/meetings/"+id+"/tokens", tt.body).into(http.StatusCreated, &ticket)
			made := map[string]string{
				"POST tokens": ticket.Token,
				"join link":   s.tokenOf(s.link("/v1/meetings/"+id, tt.body).URL),
			}
			for by, text := range made {
				claims, err := verify(t, now, text, m.Room)
				if err != nil || !claims.Expires.Equal(tt.want) {
					t.Errorf("%s, %s: expires %v (%v), want %v", tt.name, by, claims.Expires, err, tt.want)
				}
			}
			if !ticket.ExpiresAt.Equal(tt.want) {
				t.Errorf("%s: expires_at = %v, want %v", tt.name, ticket.ExpiresAt, tt.want)
			}
			if m, _ := s.tracker.Room(m.Room); !m.TokensUntil.Equal(tt.want) {
				t.Errorf("%s: the meeting knows of tokens until %v, want %v", tt.name, m.TokensUntil, tt.want)
			}
		}
	})
}

// TestReloadAfterAnHour has people of each kind of link come back with the token
// that they were handed.
func TestReloadAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		id := s.create(`{"room":"standup"}`)["id"].(string)
		held := map[string]string{s.tokenOf(s.link("/v1/meetings/"+id, `{}`).URL): "standup"}
		visit := s.create(`{"room":"visit","end_at":"2000-01-01T09:00:00Z"}`)["id"].(string)
		for _, role := range []string{service.RoleGuest, service.RoleHost} {
			code, err := s.svc.OwnLink(t.Context(), visit, role)
			if err != nil {
				t.Fatal(err)
			}
			held[s.tokenOf(s.svc.JoinURL(code))] = "visit"
		}
		for _, after := range []time.Duration{time.Hour, 7 * time.Hour} {
			time.Sleep(after)
			for text, room := range held {
				if _, err := verify(t, time.Now(), text, room); err != nil {
					t.Errorf("%s later in %s: %v, want in", after, room, err)
				}
			}
		}
	})
}

// TestLinksOfBefore opens a link as an earlier build kept it: it lets guests in,
// and can be revoked.
func TestLinksOfBefore(t *testing.T) {
	s := newSite(t)
	id := s.create(`{"room":"standup"}`)["id"].(string)
	code := service.CodeOf(id, token.Code())
	kept := `{"id":"lnk_1","user":{},"host":true,"query":false,"created_at":"1999-12-31T00:00:00Z"}`
	if _, err := s.store.PutLink(t.Context(), id, token.Hash(code), []byte(kept), service.MaxLinks); err != nil {
		t.Fatal(err)
	}
	claims, err := verify(t, time.Now(), s.tokenOf("/j/"+code), "standup")
	if err != nil || claims.Host {
		t.Errorf("claims = %+v, %v, want a guest's", claims, err)
	}
	if res := s.do("DELETE", "/v1/meetings/"+id+"/links/lnk_1", ""); res.Code != http.StatusNoContent {
		t.Errorf("revoke = %d %s, want 204", res.Code, res.Body)
	}
	s.click("/j/"+code).page(http.StatusGone, "withdrawn")
}

// awayLeader is that of a process that does not lead.
type awayLeader struct{ service.Leader }

func (awayLeader) Do(context.Context, string, meeting.Input) (meeting.Meeting, error) {
	return meeting.Meeting{}, meeting.ErrUnavailable
}

// TestRemovedUser puts people out: who has a user id stays out, by whatever link
// they hold, until an app makes them a new way in.
func TestRemovedUser(t *testing.T) {
	s := newSite(t)
	id := s.create(`{"room":"rm"}`)["id"].(string)
	path := "/v1/meetings/" + id
	mine, team := s.link(path, `{"user":{"id":"u1"}}`), s.link(path, `{"user":{"id":"u2"}}`)
	anybody := s.link(path, `{}`)
	ada := human("ada")
	ada.UserID = "u1"
	s.observe("rm", meeting.Seen{Occupant: ada})
	s.observe("rm", meeting.Seen{Occupant: human("guest")})
	var list struct{ Data []meeting.ParticipantInfo }
	s.do("GET", path+"/participants", "").into(http.StatusOK, &list)
	kick := func() {
		t.Helper()
		for _, p := range list.Data {
			if res := s.do("DELETE", path+"/participants/"+p.ID+"?reason=enough", ""); res.Code != http.StatusNoContent {
				t.Fatalf("kick of %s = %d %s", p.ID, res.Code, res.Body)
			}
		}
	}
	out := func(want ...meeting.Kick) {
		t.Helper()
		m, _ := s.tracker.Room("rm")
		if got := m.ToKick(time.Now()); !slices.Equal(got, want) {
			t.Errorf("to kick: %v, want %v", got, want)
		}
	}
	out()
	kick()
	out(meeting.Kick{Nick: "ada", Reason: "enough"})
	s.click(mine.URL).page(http.StatusForbidden, "put out of this meeting")
	for _, l := range []Link{team, anybody} {
		s.tokenOf(l.URL) // others' links work on
	}
	ada.Nick, ada.JID = "ada2", "ada2@meet.jitsi/x"
	s.observe("rm", meeting.Seen{Occupant: ada})
	out(meeting.Kick{Nick: "ada", Reason: "enough"}, meeting.Kick{Nick: "ada2", Reason: "enough"})

	// Ways in for others change nothing; a new one for her lets her in again.
	s.do("POST", path+"/tokens", `{"user":{"id":"u2"}}`).into(http.StatusCreated, &service.Ticket{})
	s.do("POST", path+"/tokens", `{"user":{"id":"u1"},"role":"king"}`).problem(http.StatusUnprocessableEntity)
	s.click(mine.URL).page(http.StatusForbidden)
	s.do("POST", path+"/tokens", `{"user":{"id":"u1"}}`).into(http.StatusCreated, &service.Ticket{})
	out()
	s.tokenOf(mine.URL)
	kick()
	s.click(mine.URL).page(http.StatusForbidden)
	s.tokenOf(s.link(path, `{"user":{"id":"u1"}}`).URL)
	out()

	// It is not done while it cannot be remembered.
	s.serve(func(c *testConfig) { c.Leader = awayLeader{leader{s.tracker, s}} })
	s.kicked = nil
	her := slices.IndexFunc(list.Data, func(p meeting.ParticipantInfo) bool { return p.UserID == "u1" })
	s.do("DELETE", path+"/participants/"+list.Data[her].ID, "").problemCode(http.StatusServiceUnavailable, "unavailable")
	if len(s.kicked) > 0 {
		t.Errorf("kicked %q, want nobody", s.kicked)
	}
}

// TestRoomIsHeld makes meetings of one name: the next one only once no token of
// the last opens the room, unless the app asks for that.
func TestRoomIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		over := func(body string) {
			t.Helper()
			id := s.create(body)["id"].(string)
			s.do("POST", "/v1/meetings/"+id+"/end", "").into(http.StatusOK, &anyMap{})
			s.tracker.Observe("standup", time.Now(), meeting.RoomGone{Reason: meeting.LeftDestroyed})
			synctest.Wait()
		}
		refused := func(until string) {
			t.Helper()
			p := s.do("POST", "/v1/meetings", `{"room":"standup"}`).problem(http.StatusConflict)
			if want := "tokens of the room's last meeting may open it until " + until + ": choose another room, or send reuse_room to have it all the same"; p.Code != "room_held" || p.Detail != want {
				t.Errorf("problem %s %q, want room_held %q", p.Code, p.Detail, want)
			}
		}
		over(`{"room":"Standup"}`)
		refused("2000-01-02T00:00:00Z")
		over(`{"room":"standup","reuse_room":true,"end_at":"2000-01-01T01:00:00Z"}`)
		refused("2000-01-02T00:00:00Z") // the first one's tokens
		time.Sleep(24 * time.Hour)
		over(`{"room":"standup","end_at":"2000-01-02T01:00:00Z"}`)
		refused("2000-01-02T01:15:00Z")
		time.Sleep(75 * time.Minute)
		s.create(`{"room":"standup"}`)
		s.do("POST", "/v1/meetings", `{"room":"standup","reuse_room":true}`).problemCode(http.StatusConflict, "exists")
	})
}
