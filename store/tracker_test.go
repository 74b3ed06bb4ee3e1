package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"usher/meeting"
)

// nowhere is rooms that do nothing.
type nowhere struct{}

func (nowhere) Want(string, meeting.Want)     {}
func (nowhere) Resync(string)                 {}
func (nowhere) PutOut(string, []meeting.Kick) {}

// TestTrackerOverFaults runs the tracker on a Redis that is killed and emptied
// under it: in the end Redis holds what the tracker holds.
func TestTrackerOverFaults(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	ctx, cancel := context.WithCancel(t.Context())
	tracker := meeting.NewTracker(r, nowhere{}, meeting.Options{})
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- tracker.Run(ctx, func() { close(ready) }) }()
	wait(t, ready)
	m, err := tracker.Create(ctx, meeting.Created{Room: "a"})
	if err != nil {
		t.Fatal(err)
	}
	joined, start := 0, time.Now()
	join := func() {
		for range 20 {
			joined++
			// One each millisecond: within one, the order of joining is not kept.
			at := start.Add(time.Duration(joined) * time.Millisecond)
			tracker.Observe("a", at, human(fmt.Sprint("n", joined), ""))
		}
	}
	settle := func() {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			if m, _ := tracker.Room("a"); len(m.People) == joined {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("the joins were not committed")
			}
		}
	}
	check := func() {
		t.Helper()
		want, _ := tracker.Room("a")
		sameMeeting(t, must(r.Load(t.Context(), m.ID))(t), want)
	}
	join()
	settle()
	check()

	srv.Kill()
	join()
	srv.start()
	settle()
	check()

	srv.do("FLUSHALL")
	join()
	settle()
	check()

	cancel()
	if err := wait(t, done); err != nil {
		t.Errorf("Run = %v", err)
	}
}
