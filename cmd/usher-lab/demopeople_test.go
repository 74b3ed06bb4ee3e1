package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"usher/internal/localsite"
	"usher/internal/stack/stacktest"
)

// TestPeopleKeepComing: after a whole round they begin another one.
func TestPeopleKeepComing(t *testing.T) {
	stacktest.Needed(t)
	site, err := localsite.Start(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := site.Stop(); err != nil {
			t.Error(err)
		}
	}()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- keepComing(ctx, site, 20*time.Millisecond) }()
	joined := 0
	for joined < 6 && ctx.Err() == nil {
		var page struct {
			Data []struct{ Type string }
		}
		if err := site.Call(ctx, "GET", "/v1/events?limit=100", nil, &page); err != nil {
			t.Fatal(err)
		}
		joined = 0
		for _, e := range page.Data {
			if e.Type == "participant.joined" {
				joined++
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	if joined < 6 {
		t.Errorf("%d people have come within a minute, want a second round of three", joined)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
