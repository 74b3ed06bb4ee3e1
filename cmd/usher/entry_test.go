package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher/internal/stack"
)

// TestRoomOfANewMeetingIsFoundWithoutReservations proves that where Prosody does not
// say that a room is being opened, usher is in it about a second later all the
// same, although other meetings wait for somebody.
func TestRoomOfANewMeetingIsFoundWithoutReservations(t *testing.T) {
	s := newSceneOn(t, func(c *stack.ProsodyConfig) { c.ReservationURL = "" })
	for range 200 {
		must(t, s.call(t.Context(), "POST", "/v1/meetings", map[string]any{}, nil))
	}
	s.create("retro")
	time.Sleep(3 * time.Second)
	began := time.Now()
	must(t, s.person("Ada", "u-ada").Join(within(t)))
	s.counts(1)
	if took := time.Since(began); took > 3*time.Second { // about one second; a busy machine takes longer
		t.Errorf("usher saw her after %v, want about a second", took)
	}
	s.waitReady("")
}

// TestRoomWithoutASeat proves that a room which is too full for usher is followed by
// what Prosody lists of it, that /readyz names it, and that usher enters once it can.
func TestRoomWithoutASeat(t *testing.T) {
	plugin, err := filepath.Abs("testdata/mod_no_seat.lua")
	must(t, err)
	s := newSceneOn(t, func(c *stack.ProsodyConfig) { c.MUCModule = plugin })
	s.create("full")
	ada, bob := s.person("Ada", "u-ada"), s.person("Bob", "")
	must(t, ada.Join(within(t)))
	must(t, bob.Join(within(t)))
	s.counts(2)
	named := func() bool {
		got := s.check("entry")
		return strings.Contains(got.Seen, "room full: it is full") && strings.Contains(got.Do, "muc_access_whitelist")
	}
	if !named() {
		t.Error("/readyz does not name the room, and what mends it")
	}
	must(t, bob.Leave(within(t)))
	s.counts(1)
	must(t, ada.RaiseHand(within(t)))
	s.until("/readyz complains no more", func() bool { return !named() })
	must(t, bob.Join(within(t)))
	s.counts(2)
	if n := s.metric("usher_rooms_followed"); n != 1 {
		t.Errorf("usher is in %v rooms, want one", n)
	}
	s.oneSession()
}

// TestSomebodyHasUshersNick proves that usher comes back under another nick, and
// takes nobody for itself, nor itself for somebody.
func TestSomebodyHasUshersNick(t *testing.T) {
	s := newScene(t)
	ada, c := s.person("Ada", "u-ada"), s.dialRaw()
	s.enter(ada)
	nick := s.room + "@" + stack.MUCDomain + "/usher"
	s.until("Eve has the nick", func() bool {
		o := ada.Occupants()["usher"]
		if strings.HasPrefix(o.JID, "eve@") {
			return true
		}
		if o.JID != "" {
			must(t, ada.Kick(within(t), "usher", "mine"))
		}
		c.send("<presence from='eve@%s/web' to='%s'><x xmlns='http://jabber.org/protocol/muc'/></presence>", stack.CrowdDomain, nick)
		return false
	})
	s.counts(2)
	s.until("usher has another nick", func() bool {
		for n := range ada.Occupants() {
			if strings.HasPrefix(n, "usher_") {
				return true
			}
		}
		return false
	})
	c.send("<presence from='eve@%s/web' to='%s' type='unavailable'/>", stack.CrowdDomain, nick)
	s.counts(1)
	must(t, ada.Leave(within(t)))
	s.counts(0)
	s.until("usher has left", func() bool { return s.metric("usher_rooms_followed") == 0 })
}
