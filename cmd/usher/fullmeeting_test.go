package main

import (
	"net/http/httptest"
	"testing"
	"time"

	"usher/internal/localsite"
)

// TestEverythingInAMeetingIsCountedAtEveryStep plays a meeting with a host, guests in
// two breakout rooms, a phone, visitors, a recorder and a live stream: after each step
// the API, events, Whereby's webhooks, the insights of both APIs and the metrics say
// who is in, and what is recorded.
func TestEverythingInAMeetingIsCountedAtEveryStep(t *testing.T) {
	s := &studio{scene: newSite(t, "--webhook-allow=127.0.0.0/8"), dirs: map[string]string{}}
	must(t, s.startUsher(t.Context(), newLog(s.log, 0)))
	s.waitReady("")
	m := localsite.FullMeeting{Site: s.site, Whereby: localsite.WherebyInbox{Rooms: "townhall"}}
	inbox := httptest.NewServer(&m.Whereby)
	defer inbox.Close()
	must(t, m.Play(within(t), t.TempDir(), inbox.URL, func(title, counted string, took time.Duration) {
		t.Logf("%-50s %4d ms  %s", title, took.Milliseconds(), counted)
	}))
}
