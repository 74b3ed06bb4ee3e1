package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/meeting/service"
)

// ask posts what mod_reservations posts when somebody wants a room.
func (s *site) ask(room string) response {
	s.t.Helper()
	form := url.Values{"name": {room}, "start_time": {"2026-11-22T10:00:00.000Z"}, "mail_owner": {"ann@meet.jitsi"}}
	return s.send("POST", "/reservations/conference", form.Encode(), "Bearer "+testToken, "application/x-www-form-urlencoded")
}

// TestReservationOfABreakoutRoom: mod_reservations asks for these too, and everybody
// would be kept out of them; for as long as their meeting lasts.
func TestReservationOfABreakoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		id := s.create(`{"room":"standup","end_at":"2000-01-01T00:30:00.500Z","max_participants":5}`)["id"].(string)
		s.breakouts = map[string]string{"c5f65aa2-7283": "standup", "b2": "unknown"}
		res := s.ask("c5f65aa2-7283")
		want := `{"id":"c5f65aa2-7283","name":"c5f65aa2-7283","mail_owner":"ann@meet.jitsi","start_time":"2000-01-01T00:00:00.000Z","duration":88201}`
		if got := strings.TrimSpace(res.Body.String()); res.Code != http.StatusOK || got != want {
			t.Errorf("reservation of a breakout room = %d %s, want 200 %s", res.Code, got, want)
		}
		for _, name := range []string{"b1", "b2"} {
			if res := s.ask(name); res.Code != http.StatusForbidden {
				t.Errorf("reservation of %s = %d, want 403", name, res.Code)
			}
		}
		s.do("POST", "/v1/meetings/"+id+"/end", "")
		if res := s.ask("c5f65aa2-7283"); res.Code != http.StatusForbidden {
			t.Errorf("reservation of a breakout room after the end = %d, want 403", res.Code)
		}
	})
}

func TestReservationAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // starts at midnight UTC 2000-01-01
		s := newSite(t)
		s.create(`{"room":"standup","end_at":"2000-01-01T00:30:00.500Z"}`)
		s.create(`{"room":"endless"}`)
		tests := []struct{ name, want string }{
			{"Standup", `{"id":"standup","name":"Standup","mail_owner":"ann@meet.jitsi","start_time":"2000-01-01T00:00:00.000Z","duration":88201}`},
			{"standup", `{"id":"standup","name":"standup","mail_owner":"ann@meet.jitsi","start_time":"2000-01-01T00:00:00.000Z","duration":88201}`},
			{"endless", `{"id":"endless","name":"endless","mail_owner":"ann@meet.jitsi","start_time":"2000-01-01T00:00:00.000Z","duration":604800}`},
		}
		for _, tt := range tests {
			for range 2 {
				res := s.ask(tt.name)
				if got := strings.TrimSpace(res.Body.String()); res.Code != http.StatusOK || got != tt.want {
					t.Errorf("reservation of %s = %d %s, want 200 %s", tt.name, res.Code, got, tt.want)
				}
			}
		}
		if got, want := fmt.Sprint(s.expected), "[standup standup standup standup endless endless]"; got != want {
			t.Errorf("expected rooms = %s, want %s", got, want)
		}
		// The store has no part in it.
		s.store.Fail(meeting.ErrUnavailable)
		if res := s.ask("standup"); res.Code != http.StatusOK {
			t.Errorf("reservation without a store = %d, want 200", res.Code)
		}
		s.expected = nil
		var r reservationJSON
		s.send("GET", "/reservations/conference/standup", "", "Bearer "+testToken, "").into(http.StatusOK, &r)
		if r.Name != "standup" || r.MailOwner == nil || r.Duration != 88201 {
			t.Errorf("reservation = %+v", r)
		}
		if len(s.expected) != 0 {
			t.Error("GET announced a room")
		}
		if res := s.send("DELETE", "/reservations/conference/standup", "", "Bearer "+testToken, ""); res.Code != http.StatusNoContent {
			t.Errorf("DELETE = %d, want 204", res.Code)
		}
		if res := s.ask("standup"); res.Code != http.StatusOK {
			t.Errorf("reservation after DELETE = %d, want 200", res.Code)
		}
	})
}

func TestReservationOfLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.create(`{"room":"endless"}`)
		// A meeting that may last an hour, from its first session on.
		s.create(`{"room":"hour","max_duration_s":3600,"max_participants":9}`)
		if res := s.ask("hour"); !strings.Contains(res.Body.String(), `"duration":90000}`) {
			t.Errorf("reservation before the first session = %s, want an hour and a day, and no max_occupants", res.Body)
		}
		s.observe("hour", meeting.Seen{Occupant: human("ann")})
		time.Sleep(30 * time.Minute)
		s.serve(func(c *testConfig) { c.ReservationOccupants = true })
		if res := s.ask("hour"); !strings.Contains(res.Body.String(), `"duration":88200,"max_occupants":9}`) {
			t.Errorf("reservation in its middle = %s, want half an hour and a day, for 9", res.Body)
		}
		if res := s.ask("endless"); strings.Contains(res.Body.String(), "max_occupants") {
			t.Errorf("reservation without a maximum = %s", res.Body)
		}
	})
}

type reservationJSON struct {
	Name      string
	MailOwner *string `json:"mail_owner"`
	Duration  int
}

func TestReservationRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.create(`{"room":"later","start_at":"2000-01-02T10:00:00Z"}`)
		s.create(`{"room":"short","end_at":"2000-01-01T00:01:00Z"}`)
		s.create(`{"room":"unsaved","end_at":"2000-01-01T00:02:00Z"}`)
		id := s.create(`{"room":"ended"}`)["id"].(string)
		s.do("POST", "/v1/meetings/"+id+"/end", "").into(http.StatusOK, &anyMap{})
		time.Sleep(time.Minute)
		synctest.Wait()
		tests := []struct{ room, want string }{
			{"unknown", "There is no such meeting"},
			{"[tenant]later", "There is no such meeting"},
			{"later", "opens on 2 January 2000 at 10:00:00 UTC"},
			{"short", "is over"},
			{"ended", "is over"},
		}
		for _, tt := range tests {
			var m message
			s.ask(tt.room).into(http.StatusForbidden, &m)
			if !strings.Contains(m.Message, tt.want) {
				t.Errorf("refusal of %s = %q, want %q in it", tt.room, m.Message, tt.want)
			}
		}
		if len(s.expected) != 0 {
			t.Errorf("refused rooms are expected: %v", s.expected)
		}
		// Time ends a meeting even while the store cannot be told.
		s.store.Fail(meeting.ErrUnavailable)
		time.Sleep(time.Minute)
		synctest.Wait()
		var m message
		s.ask("unsaved").into(http.StatusForbidden, &m)
		s.store.Fail(nil)
		time.Sleep(34 * time.Hour)
		if res := s.ask("later"); res.Code != http.StatusOK {
			t.Errorf("reservation after the start = %d, want 200", res.Code)
		}
	})
}

func TestReservationBadRequests(t *testing.T) {
	s := newSite(t)
	s.create(`{"room":"rm"}`)
	tests := []struct {
		name, body, authorization string
		status                    int
	}{
		{"no name", "start_time=x", "Bearer " + testToken, 400},
		{"not a form", "name=%zz", "Bearer " + testToken, 400},
		{"too large", "name=" + strings.Repeat("x", maxReservationBody), "Bearer " + testToken, 413},
		{"no token", "name=r", "", 401},
		{"an API key", "name=r", "Bearer " + testKey, 401},
		{"no Content-Type", "name=rm", "Bearer " + testToken, 200},
	}
	for _, tt := range tests {
		res := s.send("POST", "/reservations/conference", tt.body, tt.authorization, "")
		if res.Code != tt.status {
			t.Errorf("%s: status = %d, want %d", tt.name, res.Code, tt.status)
		}
	}
	if want := []SitePart{PartReservations, PartReservations}; !slices.Equal(s.refused, want) {
		t.Errorf("refused for a wrong secret: %q, want %q", s.refused, want)
	}
	s.serve(func(c *testConfig) { c.ReservationToken = "" })
	if res := s.send("POST", "/reservations/conference", "name=rm", "Bearer "+testToken, ""); res.Code != 404 || len(s.refused) != 3 {
		t.Errorf("without a token of ours: %d, refused %q; want 404, and that it is noted", res.Code, s.refused)
	}
}

func TestReservationWhileStandby(t *testing.T) {
	s := newStandby(t)
	var m message
	s.ask("rm").into(http.StatusServiceUnavailable, &m)
	if m.Message == "" {
		t.Error("no message for people")
	}
}

// BenchmarkReservation measures one answer after the other; the budget is a
// p99 of 5 ms at 200 a second, so these must stay far below it.
func BenchmarkReservation(b *testing.B) {
	s := newSite(b)
	s.create(`{"room":"rm"}`)
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		if res := s.ask("rm"); res.Code != http.StatusOK {
			b.Fatal(res.Code)
		}
		took = append(took, time.Since(begin))
		s.log.Reset()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

// passing is a tracker that starts or stops while it is asked.
type passing struct {
	service.Leader
	running []bool
}

func (p *passing) Room(string) (meeting.Meeting, bool) { return meeting.Meeting{}, false }

func (p *passing) Running() bool {
	now := p.running[0]
	p.running = append(p.running[1:], now)
	return now
}

func TestReservationWhileStartingOrStopping(t *testing.T) {
	for _, running := range [][]bool{{false, true}, {true, false}} {
		h := &server{Config: Config{Service: service.New(service.Config{Leader: &passing{running: running}})}, asked: newReservationCount(nil)}
		w := httptest.NewRecorder()
		if h.reserve(w, "rm", ""); w.Code != http.StatusServiceUnavailable {
			t.Errorf("running %v: status = %d, want 503: a refusal would be remembered", running, w.Code)
		}
	}
}
