package main

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"usher/internal/sim"
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
				s.staleWith(2)
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
			s.until("both have left for it", func() bool {
				story := s.story()
				for _, who := range []string{"left Ada ", "left Bob "} {
					// Of a leave that comes before its own stream ends, usher cannot know why.
					if !slices.Contains(story, who+"server_shutdown") && (name != "stopped" || !slices.Contains(story, who+"disconnected")) {
						return false
					}
				}
				return len(story) == 6
			})
			s.counts(0)
			must(t, s.focus.WaitUp(within(t)))
			s.enter(ada, bob)
			s.counts(2)
			if story := s.story(); !slices.Equal(story[len(story)-2:], []string{"joined Ada", "joined Bob"}) {
				t.Errorf("recorded %q, want it to end with two joins", story)
			}
			s.oneSession()
		})
	}
}

// TestProsodyHungShortly proves that a pause shorter than the ping's patience
// is not even noticed.
func TestProsodyHungShortly(t *testing.T) {
	s := newScene(t)
	s.enter(s.person("Ada", ""))
	s.prosody.Signal(syscall.SIGSTOP)
	time.Sleep(5 * time.Second)
	if got := s.notReady(); len(got) > 0 {
		t.Errorf("/readyz complains of %v after 5 s", got)
	}
	s.prosody.Signal(syscall.SIGCONT)
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
	s.prosody.Signal(syscall.SIGSTOP)
	began := time.Now()
	s.waitReady("component occupant")
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("noticed after %v, want within 30 s", took)
	}
	s.staleWith(2)
	s.prosody.Signal(syscall.SIGCONT)
	s.waitReady("")
	s.counts(2)
	s.tellsThen([]string{"session.started"}, "joined User 0", "joined User 1") // both may have been in before usher
	s.oneSession()
}

// crowd connects a component that plays people who never ping, and so stay
// through a Prosody that hangs.
func (s *scene) crowd() *sim.Crowd {
	s.t.Helper()
	c, err := sim.DialCrowd(within(s.t), sim.CrowdConfig{
		Site: s.sim, Domain: stack.CrowdDomain, Secret: stack.CrowdSecret,
	})
	must(s.t, err)
	s.t.Cleanup(c.Close)
	return c
}
