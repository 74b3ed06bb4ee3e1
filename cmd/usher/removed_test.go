package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"usher/internal/sim"
	"usher/meeting"
)

// TestRemovedUserStaysOut puts a user out of a room of a real Prosody: with the
// token that she holds she is put out again each time she comes back, also after
// usher was restarted and when she came while it was away, until the app makes
// her a new way in. A guest can come back.
func TestRemovedUserStaysOut(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler()) // people's browsers are sent there
	t.Cleanup(web.Close)
	s := newSite(t, "--site-url="+web.URL)
	first := s.runUsher()
	s.waitReady("")
	s.create("standup")
	bob, ada := s.person("Bob", ""), s.person("Ada", "u-ada")
	s.enter(bob, ada)
	kick := func(name, reason string) {
		t.Helper()
		var people struct{ Data []meeting.ParticipantInfo }
		must(t, s.call(t.Context(), "GET", "/v1/meetings/"+s.id+"/participants?active=true", nil, &people))
		for _, p := range people.Data {
			if p.Name == name {
				// After a restart it is a 503 until usher is in the room again.
				s.until(name+" is put out", func() bool {
					err := s.call(t.Context(), "DELETE", "/v1/meetings/"+s.id+"/participants/"+p.ID+"?reason="+url.QueryEscape(reason), nil, nil)
					if err != nil && !strings.Contains(err.Error(), "503 Service Unavailable") {
						t.Fatal(err)
					}
					return err == nil
				})
				return
			}
		}
		t.Fatalf("%s is not among %+v", name, people.Data)
	}
	out := func(p *sim.Person, when, reason string) {
		t.Helper()
		exit, err := p.WaitOut(within(t))
		if err != nil || exit.Why != sim.WhyKicked || exit.Text != reason {
			t.Errorf("%s: out with %+v, %v; want kicked for %q", when, exit, err, reason)
		}
		p.Drop()
	}
	// back joins and is put out; usher may be faster than the rest of the join.
	back := func(when string) {
		t.Helper()
		err := ada.Join(within(t))
		if err == nil {
			out(ada, when, "Enough <b>")
		} else if !strings.HasSuffix(err.Error(), "kicked: Enough <b>") {
			t.Errorf("%s: %v, want to be kicked", when, err)
		}
	}
	kick("Ada", "Enough <b>")
	out(ada, "put out", "Enough <b>")
	back("back at once")

	first.kill()
	must(t, ada.Join(within(t)))
	second := s.runUsher()
	out(ada, "back while usher was away", "Enough <b>")
	back("back after a restart")
	s.counts(1)
	second.kill()
	s.runUsher()
	s.waitReady("")

	kick("Bob", "Also you")
	out(bob, "put out", "Also you")
	s.counts(0)
	must(t, bob.Join(within(t)))
	s.counts(1)

	must(t, s.call(t.Context(), "POST", "/v1/meetings/"+s.id+"/tokens", map[string]any{"user": map[string]any{"id": "u-ada"}}, nil))
	must(t, ada.Join(within(t)))
	s.counts(2)
	told := len(s.events())
	must(t, ada.SetName(within(t), "Ada again"))
	s.until("her new name is in the event log", func() bool { return len(s.events()) > told })
	s.counts(2)
}
