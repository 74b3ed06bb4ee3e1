// Package sleep has goroutines sleep and wakes them.
package sleep

import (
	"context"
	"time"
)

// For waits that long and returns true, or false as soon as ctx ends.
func For(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// Wake wakes whoever waits for something on a channel with room for one, now or the
// next time. It does not block.
func Wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is there already
	}
}
