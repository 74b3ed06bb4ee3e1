package main

import (
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
