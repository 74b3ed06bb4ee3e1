package app

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"usher/internal/child"
	"usher/store"
)

// TestOurRedisIsStartedAgain proves that the redis-server that usher started
// itself comes back, with its data and at its address, when it dies.
func TestOurRedisIsStartedAgain(t *testing.T) {
	own, err := child.StartRedis(t.Context(), t.TempDir())
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	go func() { kept <- keepRedis(ctx, own, slog.New(slog.DiscardHandler)) }()
	st, err := store.NewRedis(store.Config{URL: own.URL, Site: "main"})
	must(t, err)
	defer st.Close()
	must(t, st.Ping(t.Context()))
	died := own.PID()
	own.Kill()
	for st.Ping(t.Context()) != nil {
		time.Sleep(10 * time.Millisecond)
	}
	if own.PID() == died {
		t.Error("the same process answers after it was killed")
	}
	cancel()
	must(t, <-kept)
	must(t, own.Stop())
}
