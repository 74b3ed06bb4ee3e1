package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/internal/sleep"
)

const (
	// tailInterval is the pause between two reads of the log.
	tailInterval = 50 * time.Millisecond
	// tailAtOnce is how many entries a read takes.
	tailAtOnce = 1000
)

// chaosTail reads usher's event log in Redis directly, past all proxies, so that
// it has every commit, however short its life there.
type chaosTail struct {
	rdb *redis.Client

	mu        sync.Mutex // also held while the log is read
	last      string     // place of the newest entry
	committed []committedEvent
	losses    []lossWindow
	doubt     time.Time // when Redis was first emptied or started anew
}

// run reads until ctx ends; a Redis that does not answer is asked again.
func (t *chaosTail) run(ctx context.Context) {
	for ctx.Err() == nil {
		_ = t.read(ctx)
		sleep.For(ctx, tailInterval)
	}
}

// read takes what is new.
func (t *chaosTail) read(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		entries, err := t.rdb.XRangeN(ctx, eventLog, "("+t.last, "+", tailAtOnce).Result()
		if err != nil {
			return err
		}
		if err := t.add(entries); err != nil || len(entries) < tailAtOnce {
			return err
		}
	}
}

func (t *chaosTail) add(entries []redis.XMessage) error {
	for _, entry := range entries {
		text, _ := entry.Values["notice"].(string)
		e, err := readEvent(text)
		if err != nil {
			return fmt.Errorf("the event log has %q: %w", text, err)
		}
		ms, _, _ := strings.Cut(entry.ID, "-")
		at, err := strconv.ParseInt(ms, 10, 64)
		if err != nil {
			return fmt.Errorf("the event log has the place %q", entry.ID)
		}
		t.committed = append(t.committed, committedEvent{event: e, text: text, at: time.UnixMilli(at)})
		t.last = entry.ID
	}
	return nil
}

// empty reads the rest and empties Redis in one step. What was committed in the
// time before, which may be undelivered, is the run's own loss.
func (t *chaosTail) empty(ctx context.Context, before time.Duration) error {
	if err := t.read(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var rest *redis.XMessageSliceCmd
	_, err := t.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		rest = pipe.XRange(ctx, eventLog, "("+t.last, "+")
		pipe.FlushAll(ctx)
		return nil
	})
	if err != nil {
		return err
	}
	now := time.Now()
	t.losses = append(t.losses, lossWindow{now.Add(-before), now})
	t.doubts(now)
	return t.add(rest.Val())
}

// lose notes that the run takes the commits of a time from Redis.
func (t *chaosTail) lose(from, to time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.losses = append(t.losses, lossWindow{from, to})
}

// restarted notes that Redis has ended: whoever leads next cannot know whether
// it has lost something.
func (t *chaosTail) restarted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doubts(time.Now())
}

// doubts sets doubt if it is not set. t.mu is held.
func (t *chaosTail) doubts(at time.Time) {
	if t.doubt.IsZero() {
		t.doubt = at
	}
}

// events returns how many were committed so far.
func (t *chaosTail) events() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.committed)
}

// note puts what was committed, and what the run itself has taken, in a ledger.
func (t *chaosTail) note(l *ledger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.committed, l.losses, l.doubt = slices.Clone(t.committed), slices.Clone(t.losses), t.doubt
}
