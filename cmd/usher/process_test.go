package main

import (
	"syscall"
	"testing"
	"time"
)

// TestUsherKilled proves that kill -9 in the middle of a meeting loses nothing:
// the next usher tells of those who came and went meanwhile, in the same
// session and without a phantom.
func TestUsherKilled(t *testing.T) {
	s := newSite(t)
	first := s.runUsher()
	s.waitReady("")
	s.create("standup")
	ada, bob, cy := s.person("Ada", "u-ada"), s.person("Bob", ""), s.person("Cy", "")
	s.enter(ada, bob)
	first.kill()
	must(t, bob.Leave(within(t)))
	must(t, cy.Join(within(t)))

	s.runUsher()
	s.waitReady("")
	s.tellsThen([]string{"session.started", "joined Ada", "joined Bob"}, "joined Cy", "left Bob disconnected")
	s.counts(2)
	s.oneSession()
	must(t, ada.Leave(within(t)))
	must(t, cy.Leave(within(t)))
	s.counts(0)
}

// TestUsherKilledInTheMiddleOfEvents proves the same at whatever instant the
// kill comes: people come and go all the time while usher is killed again and
// again.
func TestUsherKilledInTheMiddleOfEvents(t *testing.T) {
	s := newSite(t)
	p := s.runUsher()
	s.waitReady("")
	s.create("standup")
	ada, bob := s.person("Ada", "u-ada"), s.person("Bob", "")
	s.enter(ada)
	for range 5 {
		done := make(chan error, 1)
		go func() { done <- bob.Reload(within(t)) }()
		p.kill()
		p = s.runUsher()
		must(t, <-done)
	}
	s.waitReady("")
	s.counts(2)
	must(t, bob.Leave(within(t)))
	s.counts(1)
	in := map[string]int{}
	for _, n := range s.events() { // which checks that none is missing
		switch n.Type {
		case "participant.joined":
			in[n.Data.Participant.Name]++
		case "participant.left":
			in[n.Data.Participant.Name]--
		}
	}
	if in["Ada"] != 1 || in["Bob"] != 0 {
		t.Errorf("the event log leaves %v in, want Ada alone", in)
	}
	s.oneSession()
}

// TestTwoUshers proves that of two on one site one leads and the other answers
// reads; that it takes over when the leader freezes; and that the old leader,
// thawed, neither writes what it heard meanwhile nor takes the stream back. It
// steps down by its own clock; that the store would refuse it as well is
// proved in package store.
func TestTwoUshers(t *testing.T) {
	s := newSite(t)
	first := s.runUsher()
	s.waitReady("")
	s.create("standup")
	ada, bob, cy := s.person("Ada", "u-ada"), s.person("Bob", ""), s.person("Cy", "")
	s.enter(ada)
	second := s.runUsher("--listen=" + freeAddr(t))
	s.standsBy()
	s.refused(503)
	s.counts(1)

	must(t, first.Process.Signal(syscall.SIGSTOP))
	must(t, bob.Join(within(t))) // the first one has it in its socket
	s.waitReady("")
	s.counts(2)
	must(t, first.Process.Signal(syscall.SIGCONT))
	s.talkTo(first)
	s.standsBy()
	s.talkTo(second)
	s.enter(cy)
	s.counts(3)
	s.waitReady("")
	s.tells("session.started", "joined Ada", "joined Bob", "joined Cy")
	s.oneSession()

	second.kill()
	killed := time.Now()
	s.talkTo(first)
	s.until("the other one leads", s.leads)
	if took := time.Since(killed); took > afterKill {
		t.Errorf("the other one led %v after the leader was killed, want %v at most", took, afterKill)
	}
	s.waitReady("")
	s.counts(3) // the room is in sight again: a leave before that has no reason
	must(t, bob.Leave(within(t)))
	s.counts(2)
	s.tells("session.started", "joined Ada", "joined Bob", "joined Cy", "left Bob left")
}
