package whereby

import (
	"sync"
	"time"
)

const (
	// breakAfter is how many requests in a row may fail until Whereby counts as
	// down: fewer would be the chance of a busy moment.
	breakAfter = 3
	// breakFor is how long nobody is kept waiting for it then; after that one
	// request is let through to see.
	breakFor = 10 * time.Second
)

// breaker keeps requests from waiting for a server that is down. The zero value
// lets everything through.
type breaker struct {
	mu     sync.Mutex
	failed int       // in a row
	until  time.Time // nothing is let through before
	trying bool      // one is under way that shows whether it is back
}

// down reports whether a request would be refused.
func (b *breaker) down(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refuses(now)
}

// refuses is down with b.mu held.
func (b *breaker) refuses(now time.Time) bool {
	return b.failed >= breakAfter && (b.trying || now.Before(b.until))
}

// enter lets a request through, or not; leave has to follow.
func (b *breaker) enter(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuses(now) {
		return false
	}
	b.trying = b.failed >= breakAfter
	return true
}

// outcome is what a request says of the server.
type outcome int

const (
	answered outcome = iota
	failed
	unknown // the client did not wait
)

// leave notes what came of a request. It reports whether the server counts as down
// from now on, or is back.
func (b *breaker) leave(o outcome, now time.Time) (fell, rose bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.failed >= breakAfter
	b.trying = false
	switch o {
	case answered:
		b.failed = 0
	case failed:
		b.failed++
		b.until = now.Add(breakFor)
	}
	is := b.failed >= breakAfter
	return is && !was, was && !is
}
