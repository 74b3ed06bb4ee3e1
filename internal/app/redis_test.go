package app

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"usher/internal/stack"
	"usher/store"
)

// TestOurRedisIsStartedAgain proves that the redis-server that usher started
// itself comes back, with its data and at its address, when it dies.
func TestOurRedisIsStartedAgain(t *testing.T) {
	child, err := stack.StartRedis(t.Context(), t.TempDir())
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	go func() { kept <- keepRedis(ctx, child, slog.New(slog.DiscardHandler)) }()
	st, err := store.NewRedis(store.Config{URL: child.URL, Site: "main"})
	must(t, err)
	defer st.Close()
	must(t, st.Ping(t.Context()))
	died := child.PID()
	child.Kill()
	for st.Ping(t.Context()) != nil {
		time.Sleep(10 * time.Millisecond)
	}
	if child.PID() == died {
		t.Error("the same process answers after it was killed")
	}
	cancel()
	must(t, <-kept)
	must(t, child.Stop())
}
