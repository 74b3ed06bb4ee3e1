package api

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxLimiters bounds the memory for limits by address. When there are more,
// those that have not been used for longest start anew.
const maxLimiters = 10_000

// Limit bounds how often somebody may ask. A PerSecond of 0 bounds nothing.
type Limit struct {
	PerSecond float64
	Burst     int
}

// limiters hold one limit for each of many askers. Safe for concurrent use.
type limiters struct {
	limit Limit

	mu  sync.Mutex
	now map[string]*rate.Limiter
	old map[string]*rate.Limiter // not used since the maps were last turned over
}

// of returns the asker's own limiter.
func (l *limiters) of(asker string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lim, ok := l.now[asker]; ok {
		return lim
	}
	lim, ok := l.old[asker]
	if !ok {
		lim = rate.NewLimiter(rate.Limit(l.limit.PerSecond), l.limit.Burst)
	}
	if l.now == nil || len(l.now) >= maxLimiters/2 {
		l.old, l.now = l.now, map[string]*rate.Limiter{}
	}
	l.now[asker] = lim
	return lim
}

// take counts a request, sets headers with how much is left
// (draft-ietf-httpapi-ratelimit-headers-07), and reports whether it may pass.
func (l *limiters) take(w http.ResponseWriter, asker string) bool {
	if l.limit.PerSecond <= 0 {
		return true
	}
	lim, now := l.of(asker), time.Now()
	ok := lim.AllowN(now, 1)
	left := max(0, lim.TokensAt(now))
	seconds := func(tokens float64) string {
		return strconv.Itoa(int(math.Ceil(tokens / l.limit.PerSecond)))
	}
	h := w.Header()
	h.Set("RateLimit-Limit", strconv.Itoa(l.limit.Burst))
	h.Set("RateLimit-Remaining", strconv.Itoa(int(left)))
	h.Set("RateLimit-Reset", seconds(float64(l.limit.Burst)-left)) // until all is there again
	if !ok {
		h.Set("Retry-After", seconds(1-left))
	}
	return ok
}
