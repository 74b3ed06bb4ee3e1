package sleep_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/sleep"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if got := sleep.For(t.Context(), time.Hour); !got || time.Since(start) != time.Hour {
			t.Errorf("%v after %v, want true after an hour", got, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start = time.Now()
		if got := sleep.For(ctx, time.Hour); got || time.Since(start) != time.Minute {
			t.Errorf("%v after %v, want false after a minute", got, time.Since(start))
		}
	})
}

func TestWake(t *testing.T) {
	c := make(chan struct{}, 1)
	sleep.Wake(c)
	sleep.Wake(c) // does not block
	if <-c; len(c) != 0 {
		t.Error("woken twice, want once")
	}
}
