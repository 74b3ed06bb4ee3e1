package api

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestWhatPeopleAskForIsCounted: rooms that Prosody asks for and links that people
// open, by what came of them.
func TestWhatPeopleAskForIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		var refused []SitePart
		s.serve(func(c *testConfig) {
			c.Refused, c.JibriHookSecret = func(p SitePart) { refused = append(refused, p) }, "a-secret-of-some-length"
		})
		id := s.create(`{"room":"standup"}`)["id"].(string)
		s.create(`{"room":"later","start_at":"2000-01-02T00:00:00Z"}`)
		over := s.create(`{"room":"over"}`)["id"].(string)
		s.do("POST", "/v1/meetings/"+over+"/end", "")
		for _, room := range []string{"standup", "standup", "nowhere", "later", "over", ""} {
			s.ask(room)
		}
		s.send("POST", "/reservations/conference", "name=standup", "Bearer another-token-of-another-site", "application/x-www-form-urlencoded")
		s.click(s.link("/v1/meetings/"+id, `{"user":{"id":"u1","name":"Ada"}}`).URL)
		s.click("https://usher.example.org/j/none")
		s.send("POST", "/internal/jibri/another-secret-of-another-site/v1/status", "{}", "", "application/json")
		s.send("POST", "/internal/jibri/recordings", "{}", "", "application/json")
		if want := []SitePart{PartReservations, PartJibriHook, PartHandOver}; !slices.Equal(refused, want) {
			t.Errorf("parts with a wrong secret %q, want %q", refused, want)
		}
		if err := testutil.GatherAndCompare(s.metrics, strings.NewReader(`
# HELP usher_join_links_total Join links that were opened, by what came of it.
# TYPE usher_join_links_total counter
usher_join_links_total{result="ended"} 0
usher_join_links_total{result="followed"} 1
usher_join_links_total{result="not_found"} 1
usher_join_links_total{result="not_open"} 0
usher_join_links_total{result="rate_limited"} 0
usher_join_links_total{result="removed"} 0
usher_join_links_total{result="revoked"} 0
usher_join_links_total{result="unavailable"} 0
# HELP usher_reservations_total Prosody's questions whether a room may open, by answer; unauthorized: with another token than USHER_RESERVATION_TOKEN.
# TYPE usher_reservations_total counter
usher_reservations_total{result="granted"} 2
usher_reservations_total{result="invalid"} 1
usher_reservations_total{result="not_open"} 1
usher_reservations_total{result="over"} 1
usher_reservations_total{result="unauthorized"} 1
usher_reservations_total{result="unavailable"} 0
usher_reservations_total{result="unknown_room"} 1
`), "usher_join_links_total", "usher_reservations_total"); err != nil {
			t.Error(err)
		}
	})
}
