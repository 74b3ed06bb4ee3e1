package main

import (
	"slices"
	"testing"
	"time"

	"usher/internal/jitsisim"
	"usher/internal/stack"
)

// TestProsodyRestart proves that a Prosody which dies, or is told to stop, in
// the middle of a meeting costs nothing: its rooms are gone and everybody in
// them is told to have left because of it, those who come back are the same
// people in the same session, and meanwhile /readyz says which stream is down
// and the API since when its counts are old.
func TestProsodyRestart(t *testing.T) {
	for name, end := range map[string]func(p *stack.Prosody){
		"killed":  func(p *stack.Prosody) { p.Kill() },
		"stopped": func(p *stack.Prosody) { _ = p.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			ada, bob := s.person("Ada", "u-ada"), s.person("Bob", "")
			s.enter(ada, bob)
			s.counts(2)

			end(s.prosody)
			s.waitReady("component occupant")
			if name == "killed" {
				// Nobody said that they left, so they are shown, as of then.
				if m := s.meeting(); m == nil || m.StaleSince == nil || m.Occupancy.Humans != 2 {
					t.Errorf("while Prosody is down the meeting is %+v, want 2 humans, stale", m)
				}
			}
			// Down for a few tries, so that a tight loop would show.
			time.Sleep(2 * time.Second)
			if tries := s.metric("usher_xmpp_connects_total"); tries > 2+2*8 {
				t.Errorf("%v tries to connect in 2 s, want a few", tries)
			}
			if s.meeting() == nil {
				t.Error("reads need Prosody")
			}
			must(t, s.prosody.Restart(t.Context()))
			s.waitReady("")
			s.counts(0)
			s.until("the focus is back", func() bool { return s.focus.WaitUp(t.Context()) == nil })
			s.enter(ada, bob)
			s.counts(2)

			first := []string{"session.started", "joined Ada", "joined Bob"}
			left := []string{"left Ada server_shutdown", "left Bob server_shutdown"}
			if got := s.story(); len(got) > 4 && got[4] == left[1] {
				left[0], left[1] = left[1], left[0] // either may be told first
			}
			s.tells(append(append(first, left...), "joined Ada", "joined Bob")...)
			s.oneSession()
		})
	}
}

// TestProsodyHungShortly proves that a pause shorter than the ping's patience
// is not even noticed.
func TestProsodyHungShortly(t *testing.T) {
	s := newScene(t)
	s.enter(s.person("Ada", ""))
	s.prosody.Pause()
	time.Sleep(5 * time.Second)
	if got := s.notReady(); len(got) > 0 {
		t.Errorf("/readyz complains of %v after 5 s", got)
	}
	s.prosody.Resume()
	s.enter(s.person("Bob", ""))
	s.counts(2)
	s.tells("session.started", "joined Ada", "joined Bob")
	if n := s.metric("usher_xmpp_disconnects_total"); n != 0 {
		t.Errorf("%v streams were given up, want none", n)
	}
}

// TestProsodyHung proves that a Prosody which hangs for longer than the ping's
// patience is given up in time, said by /readyz, and found again; people who
// stayed in are not told to have left.
func TestProsodyHung(t *testing.T) {
	s := newScene(t)
	s.create("crowd-0")
	crowd := s.crowd()
	must(t, crowd.Fill(within(t), 1, 2))
	s.counts(2)
	s.prosody.Pause()
	began := time.Now()
	s.waitReady("component occupant")
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("noticed after %v, want within 30 s", took)
	}
	if m := s.meeting(); m == nil || m.StaleSince == nil || m.Occupancy.Humans != 2 {
		t.Errorf("meanwhile the meeting is %+v, want 2 humans, stale", m)
	}
	s.prosody.Resume()
	s.waitReady("")
	s.counts(2)
	story := s.story()
	slices.Sort(story[2:]) // both may have been in before usher
	if want := []string{"meeting.created", "session.started", "joined User 0", "joined User 1"}; !slices.Equal(story, want) {
		t.Errorf("recorded %q, want %q", story, want)
	}
	s.oneSession()
}

// crowd connects a component that plays people who never ping, and so stay
// through a Prosody that hangs.
func (s *scene) crowd() *jitsisim.Crowd {
	s.t.Helper()
	c, err := jitsisim.DialCrowd(within(s.t), jitsisim.CrowdConfig{
		Site: s.sim, Domain: stack.CrowdDomain, Secret: stack.CrowdSecret,
	})
	must(s.t, err)
	s.t.Cleanup(c.Close)
	return c
}
