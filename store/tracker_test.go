package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"usher/meeting"
	"usher/meeting/tracker"
)

// nowhere is rooms that do nothing.
type nowhere struct{}

func (nowhere) Want(string, meeting.DesiredState) {}
func (nowhere) Resync(string)                     {}
func (nowhere) Evict(string, []meeting.Kick)      {}

// TestTrackerOverFaults runs the tracker on a Redis that is killed and emptied
// under it: in the end Redis holds what the tracker holds.
func TestTrackerOverFaults(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	ctx, cancel := context.WithCancel(t.Context())
	tracker := tracker.New(r, nowhere{}, tracker.Options{})
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

// TestTrackerStartsWithManyMeetings proves that no commit fails when all
// meetings commit at once, as they do at a start, and that commands are carried
// out meanwhile.
func TestTrackerStartsWithManyMeetings(t *testing.T) {
	const meetings = 12000
	srv := startServer(t)
	r := srv.open()
	var seeding errgroup.Group
	seeding.SetLimit(8)
	for i := range meetings {
		s, created := newScene(t, meeting.Created{Room: fmt.Sprint("room", i)})
		joined := s.apply(human("ada", fmt.Sprint("u", i)))
		seeding.Go(func() error { return errors.Join(r.Commit(t.Context(), created), r.Commit(t.Context(), joined)) })
	}
	if err := seeding.Wait(); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	var committed atomic.Int64
	tracker := tracker.New(r, nowhere{}, tracker.Options{
		Log:       slog.New(slog.NewTextHandler(&log, nil)),
		Committed: func(meeting.Commit, time.Duration) { committed.Add(1) },
	})
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- tracker.Run(ctx, func() { close(ready) }) }()
	<-ready
	if n := committed.Load(); n == meetings {
		t.Errorf("all %d meetings have committed already: too few for this test", n)
	}
	m, err := tracker.Create(ctx, meeting.Created{Room: "new"})
	if err != nil {
		t.Errorf("create while all meetings commit: %v", err)
	}
	name := map[string]string{"a": "b"}
	if _, err := tracker.Do(ctx, m.ID, meeting.Patched{Metadata: &name}); err != nil {
		t.Errorf("a change while all meetings commit: %v", err)
	}
	until(t, "all meetings have committed", func() bool { return committed.Load() == meetings+2 })
	cancel()
	if err := wait(t, done); err != nil {
		t.Errorf("Run = %v", err)
	}
	if log.Len() > 0 {
		t.Errorf("the log says\n%s, want nothing", log.String())
	}
	for reason, counter := range r.metrics.errors {
		if n := testutil.ToFloat64(counter); n > 0 {
			t.Errorf("%v calls failed by %s, want none", n, reason)
		}
	}
}
