package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/memorystore"
	"usher/internal/stack/stacktest"
	"usher/meeting"
	"usher/store"
)

// countedKeys counts the reads of a store, which may be slow.
type countedKeys struct {
	KeyStore
	delay time.Duration
	fails atomic.Bool
	reads atomic.Int32
}

func (c *countedKeys) APIKeys(ctx context.Context) (map[string][]byte, error) {
	c.reads.Add(1)
	bySlot, err := c.KeyStore.APIKeys(ctx) // as of the time the read began
	if c.delay > 0 {
		select {
		case <-time.After(c.delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if c.fails.Load() {
		return nil, meeting.ErrUnavailable
	}
	return bySlot, err
}

// newRing returns the keys of a slow store, with one key and its text.
func newRing(t *testing.T, delay time.Duration) (*keyCache, *countedKeys, string) {
	t.Helper()
	counted := &countedKeys{KeyStore: new(memorystore.Memory), delay: delay}
	key, text := newKey("app", []Scope{ScopeAdmin}, time.Now())
	if added, err := counted.AddAPIKey(t.Context(), "app/1", key.raw); err != nil || !added {
		t.Fatalf("added: %v, %v", added, err)
	}
	return &keyCache{store: counted, log: slog.New(slog.DiscardHandler)}, counted, text
}

// findAtOnce looks a key up several times at once, and returns how often it was
// found and how often that failed.
func findAtOnce(ctx context.Context, ring *keyCache, text string) (found, failed int32) {
	var n, errs atomic.Int32
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			_, ok, err := ring.find(ctx, text)
			if ok {
				n.Add(1)
			}
			if err != nil {
				errs.Add(1)
			}
		})
	}
	all.Wait()
	return n.Load(), errs.Load()
}

// TestKeysOfASlowStore: requests that come while the keys are read share that
// read, also when it fails, and its outcome counts from the answer on.
func TestKeysOfASlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 1100 * time.Millisecond // more than keyRetry
		ring, slow, text := newRing(t, delay)
		for _, step := range []struct {
			what                 string
			fails                bool
			sleep, took          time.Duration
			reads, found, failed int32
		}{
			{"nothing known and the store away", true, 0, delay, 1, 0, 6},
			{"the store is back", false, 0, delay, 2, 6, 0},
			{"from the cache", false, KeyCacheLife - time.Millisecond, 0, 2, 6, 0},
			{"read anew", false, time.Millisecond, delay, 3, 6, 0},
			{"the store is away, not noticed", true, KeyCacheLife - time.Millisecond, 0, 3, 6, 0},
			{"known keys while it is away", true, time.Millisecond, delay, 4, 6, 0},
			{"not asked again at once", true, keyRetry - time.Millisecond, 0, 4, 6, 0},
			{"asked again", true, time.Millisecond, delay, 5, 6, 0},
		} {
			time.Sleep(step.sleep)
			slow.fails.Store(step.fails)
			start := time.Now()
			found, failed := findAtOnce(t.Context(), ring, text)
			if found != step.found || failed != step.failed {
				t.Errorf("%s: %d found, %d failed, want %d and %d", step.what, found, failed, step.found, step.failed)
			}
			if took := time.Since(start); took != step.took {
				t.Errorf("%s: six requests took %v, want %v", step.what, took, step.took)
			}
			if got := slow.reads.Load(); got != step.reads {
				t.Errorf("%s: %d reads, want %d", step.what, got, step.reads)
			}
		}
	})
}

// TestKeysOfAStoppedRedis is the same against a Redis that takes connections
// and says nothing.
func TestKeysOfAStoppedRedis(t *testing.T) {
	server := stacktest.Redis(t)
	rdb, err := store.NewRedis(store.Config{URL: server.URL, Site: "keys"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	if err := rdb.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(server.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	counted := &countedKeys{KeyStore: rdb}
	ring := &keyCache{store: counted, log: slog.New(slog.DiscardHandler)}
	_, text := newKey("app", nil, time.Now())
	if found, failed := findAtOnce(t.Context(), ring, text); found != 0 || failed != 6 {
		t.Errorf("%d found, %d failed, want 0 and 6", found, failed)
	}
	if got := counted.reads.Load(); got != 1 {
		t.Errorf("six requests made %d reads, want 1", got)
	}
}

// TestKeyReaderGone: whoever waits for somebody else's read gets its outcome
// although that one has gone, and need not wait for it.
func TestKeyReaderGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, slow, text := newRing(t, time.Second)
		first, leave := context.WithCancel(t.Context())
		go func() { _, _, _ = ring.find(first, text) }()
		synctest.Wait()
		leave()
		if _, ok, err := ring.find(t.Context(), text); !ok || err != nil || slow.reads.Load() != 1 {
			t.Errorf("found %v, %v with %d reads, want it with one", ok, err, slow.reads.Load())
		}
		ring.forget()
		go func() { _, _, _ = ring.find(t.Context(), text) }()
		synctest.Wait()
		if _, _, err := ring.find(first, text); !errors.Is(err, context.Canceled) {
			t.Errorf("somebody who is gone: %v, want %v", err, context.Canceled)
		}
		time.Sleep(time.Second) // the bubble ends with its goroutines
	})
}

// TestRevokedDuringARead: what was read before a key was revoked is not kept.
func TestRevokedDuringARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, slow, text := newRing(t, time.Second)
		go func() { _, _, _ = ring.find(t.Context(), text) }()
		synctest.Wait() // it has read, and waits for the rest
		keys, err := slow.KeyStore.APIKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := slow.RemoveAPIKey(t.Context(), "app/1", keys["app/1"]); err != nil {
			t.Fatal(err)
		}
		ring.forget()
		for range 2 {
			if _, ok, err := ring.find(t.Context(), text); ok || err != nil {
				t.Errorf("a revoked key: found %v, %v, want neither", ok, err)
			}
		}
		if got := slow.reads.Load(); got != 2 {
			t.Errorf("%d reads, want 2", got)
		}
	})
}

// TestUnreadableKeys: a key that cannot be read locks out nobody else.
func TestUnreadableKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		key := s.makeKey("app", `"meetings:read"`)
		for slot, raw := range map[string]string{"cut/1": `{"id":"key_`, "null/1": "null", "list/1": "[]", "none/1": "{}"} {
			if added, err := s.store.AddAPIKey(t.Context(), slot, []byte(raw)); err != nil || !added {
				t.Fatalf("added: %v, %v", added, err)
			}
		}
		for range 3 {
			time.Sleep(KeyCacheLife)
			s.as(key.Key, "GET", "/v1/meetings", "").into(http.StatusOK, &anyMap{})
		}
		var keys struct{ Data []APIKey }
		s.do("GET", "/v1/api-keys", "").into(http.StatusOK, &keys)
		if len(keys.Data) != 1 || keys.Data[0].ID != key.ID {
			t.Errorf("keys = %+v, want the readable one", keys.Data)
		}
		if got := strings.Count(s.log.String(), `slots="cut/1 list/1 none/1 null/1"`); got != 1 {
			t.Errorf("the unreadable keys are logged %d times, want once", got)
		}
	})
}

// TestListOfKeysIsNeverOld: an admin who looks while the store is away is not
// shown what was there before.
func TestListOfKeysIsNeverOld(t *testing.T) {
	s := newSite(t)
	key := s.makeKey("app", `"meetings:read"`)
	s.do("GET", "/v1/api-keys", "").into(http.StatusOK, &anyMap{})
	s.store.Fail(meeting.ErrUnavailable)
	s.do("GET", "/v1/api-keys", "").problemCode(http.StatusServiceUnavailable, "unavailable")
	s.do("DELETE", "/v1/api-keys/"+key.ID, "").problemCode(http.StatusServiceUnavailable, "unavailable")
}
