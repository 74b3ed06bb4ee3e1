package main

import (
	"fmt"
	"syscall"
	"testing"

	"usher/internal/stack"
	"usher/meeting/tracker"
)

// TestFloodOfPresences has people raise and lower their hands far faster than
// usher can store it, since Redis hangs meanwhile. What does not fit is dropped
// and read again from the room, so that the record is right in the end.
func TestFloodOfPresences(t *testing.T) {
	s := newScene(t)
	s.enter(s.person("Ada", "u-ada"))
	c := s.dialRaw()
	const people = 2 // each of whom the server sends everything
	presence := func(i int, kind, children string) {
		c.send("<presence from='u%d@%s/web' to='%s@%s/nick%d'%s>%s</presence>", i, stack.CrowdDomain, s.room, stack.MUCDomain, i, kind, children)
	}
	for i := range people {
		presence(i, "", "<x xmlns='http://jabber.org/protocol/muc'/>")
	}
	s.counts(1 + people)

	s.redis.Signal(syscall.SIGSTOP)
	for n := range 3 * tracker.MaxQueue / 2 / people {
		for i := range people {
			presence(i, "", fmt.Sprintf("<jitsi_participant_raisedHand>%d</jitsi_participant_raisedHand>", n))
		}
	}
	for i := range people / 2 {
		presence(i, " type='unavailable'", "")
	}
	// On a very slow machine the lease is lost first, and what waits with it: what
	// follows holds all the same.
	s.until("the queue is full", func() bool {
		dropped, leads := s.sample("usher_facts_dropped_total")
		return !leads || dropped > 0
	})
	s.redis.Signal(syscall.SIGCONT)
	s.counts(1 + people/2)
	if n := s.metric("usher_xmpp_disconnects_total"); n != 0 {
		t.Errorf("%v streams have ended, want none", n)
	}
	s.waitReady("")
	s.oneSession()
	left := map[string]int{}
	for _, e := range s.events() { // which checks that none is missing
		if e.Type == "participant.left" {
			left[e.Data.Participant.ID]++
		}
	}
	if len(left) != people/2 {
		t.Errorf("%d people have left, want %d", len(left), people/2)
	}
}

// TestUsherPutOutOfTheRoom has a host kick usher twice: it comes back each time
// and finds out who came and left meanwhile.
func TestUsherPutOutOfTheRoom(t *testing.T) {
	s := newScene(t)
	ada, bob := s.person("Ada", "u-ada"), s.person("Bob", "")
	s.enter(ada)
	s.until("Ada is a moderator", func() bool { return ada.Occupants()[ada.Nick()].Role == "moderator" })
	must(t, ada.Kick(within(t), "usher", "who is that"))
	must(t, bob.Join(within(t)))
	s.counts(2)
	must(t, ada.Kick(within(t), "usher", "again"))
	must(t, bob.Leave(within(t)))
	s.counts(1)
	s.waitReady("")
	s.oneSession()
}
