package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"usher/meeting"
)

// TestRedisAway proves that people may come and go while Redis is dead or
// hangs: usher goes on listening, says what is wrong, refuses commands, and
// stores everything in its order once Redis is back.
func TestRedisAway(t *testing.T) {
	for name, fault := range map[string]struct{ begin, end func(*scene) }{
		"killed": {func(s *scene) { s.redis.Kill() }, func(s *scene) { must(s.t, s.redis.Restart(s.t.Context())) }},
		"hangs":  {func(s *scene) { s.redis.Signal(syscall.SIGSTOP) }, func(s *scene) { s.redis.Signal(syscall.SIGCONT) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			// By default Redis answers before it writes while an fsync is under
			// way, and a kill then takes what it has acknowledged.
			must(t, s.client().ConfigSet(t.Context(), "appendfsync", "always").Err())
			ada, bob, cy := s.person("Ada", "u-ada"), s.person("Bob", ""), s.person("Cy", "")
			s.enter(ada)
			fault.begin(s)
			must(t, bob.Join(within(t)))
			must(t, ada.Leave(within(t)))
			s.waitReady("store")
			s.refused(503)
			must(t, cy.Join(within(t)))
			must(t, bob.Leave(within(t)))
			fault.end(s)
			s.waitReady("")
			s.counts(1)
			s.tells("session.started", "joined Ada", "joined Bob", "left Ada left", "joined Cy", "left Bob left")
			s.create("another")
		})
	}
}

// TestRedisAwayForLongerThanTheLease proves that usher stops leading when it
// cannot renew its lease, and that what happened meanwhile is found when it
// leads again: who is in, in the same session, without a phantom.
func TestRedisAwayForLongerThanTheLease(t *testing.T) {
	s := newScene(t)
	ada, bob, cy := s.person("Ada", "u-ada"), s.person("Bob", ""), s.person("Cy", "")
	s.enter(ada, bob)
	s.redis.Signal(syscall.SIGSTOP)
	s.until("usher has stopped leading", func() bool { return !s.leads() })
	must(t, bob.Leave(within(t)))
	must(t, cy.Join(within(t)))
	s.redis.Signal(syscall.SIGCONT)
	s.waitReady("")
	s.counts(2)
	s.tellsThen([]string{"session.started", "joined Ada", "joined Bob"}, "joined Cy", "left Bob disconnected")
	s.oneSession()
}

// TestRedisEmptied proves that an empty Redis means "unknown": usher writes
// what it knows anew, and nobody is told to have left and come back.
func TestRedisEmptied(t *testing.T) {
	s := newScene(t)
	s.enter(s.person("Ada", "u-ada"), s.person("Bob", ""))
	rdb := s.client()
	must(t, rdb.FlushAll(t.Context()).Err())
	cy := s.person("Cy", "")
	must(t, cy.Join(within(t)))
	s.counts(3)
	var sent []string
	for _, e := range rdb.XRange(t.Context(), "usher:{main}:events", "-", "+").Val() {
		var n logged
		must(t, json.Unmarshal([]byte(fmt.Sprint(e.Values["notice"])), &n))
		if n.Type != meeting.StoreWasReset { // which is sent at the next renewal of the lease
			sent = append(sent, n.String())
		}
	}
	if want := []string{"participant.joined Cy"}; !slices.Equal(sent, want) {
		t.Errorf("events after the loss: %q, want %q", sent, want)
	}
	must(t, cy.Leave(within(t)))
	s.counts(2)
}
