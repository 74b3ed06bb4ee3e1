package store

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"usher/meeting"
)

func testFollow(t *testing.T, b backing) {
	st := b.store
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, st, c) // from before, not to be handed over
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := make(chan struct{})
	followed := make(chan meeting.LogEntry, 1000)
	done := make(chan error, 1)
	go func() {
		settled := false
		done <- st.Follow(ctx, func(entries []meeting.LogEntry) bool {
			if !settled {
				settled = true
				close(ready)
			}
			for _, e := range entries {
				followed <- e
			}
			return true
		})
	}()
	wait(t, ready)
	var want []meeting.LogEntry
	for range 100 {
		s.play(st, human("ada", ""), gone("ada"))
	}
	for after := ""; ; {
		entries := must(st.Events(ctx, after, MaxPage))(t)
		if len(entries) == 0 {
			break
		}
		want = append(want, entries...)
		after = entries[len(entries)-1].ID
	}
	want = want[1:]
	for _, w := range want {
		if got := wait(t, followed); got.ID != w.ID || !slices.Equal(got.Event, w.Event) {
			t.Fatalf("followed %s %s, want %s %s", got.ID, got.Event, w.ID, w.Event)
		}
	}
	cancel()
	if err := wait(t, done); err != nil {
		t.Errorf("Follow = %v after its context has ended, want nil", err)
	}
	calls := 0
	if err := st.Follow(t.Context(), func([]meeting.LogEntry) bool { calls++; return calls < 2 }); err != nil || calls != 2 {
		t.Errorf("Follow = %v after %d calls, want nil after 2, with nothing to tell", err, calls)
	}
}

func TestFollowOverAKilledRedis(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	done := make(chan error, 1)
	ready := make(chan struct{}, 100)
	go func() {
		done <- r.Follow(t.Context(), func([]meeting.LogEntry) bool { ready <- struct{}{}; return true })
	}()
	wait(t, ready)
	time.Sleep(10 * time.Millisecond) // most likely it waits in Redis now
	srv.Kill()
	if err := wait(t, done); !errors.Is(err, meeting.ErrUnavailable) {
		t.Errorf("Follow = %v, want ErrUnavailable", err)
	}
}
