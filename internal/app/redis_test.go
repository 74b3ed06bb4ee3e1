package app

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/api"
	"usher/internal/child"
	"usher/internal/stack/stacktest"
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

// TestStoreCheck: what /readyz says of Redis names the setting, of usher or of Redis.
func TestStoreCheck(t *testing.T) {
	own := stacktest.Redis(t)
	says := func(url string, state api.CheckState, want ...string) {
		t.Helper()
		st, err := store.NewRedis(store.Config{URL: url, Site: "main"})
		must(t, err)
		defer st.Close()
		got := storeCheck(t.Context(), st, nil)
		if got.State != state || (state == api.CheckOK) != (got.Do == "") {
			t.Errorf("%+v, want %s", got, state)
		}
		for _, text := range want {
			if !strings.Contains(got.Seen+"; "+got.Do, text) {
				t.Errorf("%+v, want %q in it", got, text)
			}
		}
	}
	says(own.URL, api.CheckOK)
	_, host, _ := strings.Cut(own.URL, "@")
	says("redis://:wrong@"+host, api.CheckFail, "refuses usher", "USHER_REDIS_URL: redis://user:password@")
	says("redis://"+host, api.CheckFail, "refuses usher", "USHER_REDIS_URL: redis://user:password@")
	opts, err := redis.ParseURL(own.URL)
	must(t, err)
	rdb := redis.NewClient(opts)
	defer rdb.Close()
	for _, set := range [][2]string{{"appendonly", "no"}, {"maxmemory-policy", "allkeys-lru"}} {
		must(t, rdb.ConfigSet(t.Context(), set[0], set[1]).Err())
	}
	says(own.URL, api.CheckWarn, "append-only file", "config set appendonly yes") // without a limit nothing is thrown away
	must(t, rdb.ConfigSet(t.Context(), "maxmemory", "100mb").Err())
	says(own.URL, api.CheckWarn, "allkeys-lru", "100.00M", "config set maxmemory-policy noeviction", "config set appendonly yes")
	own.Kill()
	says(own.URL, api.CheckFail, "connection refused", "start Redis, or set USHER_REDIS_URL")
}

// TestStandbyCheck: a process that stands by knows who leads, or that nobody does.
func TestStandbyCheck(t *testing.T) {
	st, err := store.NewRedis(store.Config{URL: stacktest.Redis(t).URL, Site: "main"})
	must(t, err)
	defer st.Close()
	must(t, st.Begin(t.Context()))
	if got := standbyCheck(t.Context(), st, "host:2"); got.State != api.CheckFail || !strings.Contains(got.Seen, "nobody leads") {
		t.Errorf("without a leader: %+v, want a failure", got)
	}
	ctx, stop := context.WithCancel(t.Context())
	led := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		led <- st.Lead(ctx, "host:1", func(ctx context.Context) error { close(begun); <-ctx.Done(); return nil }, func(context.Context) error { return nil })
	}()
	<-begun
	if got := standbyCheck(t.Context(), st, "host:2"); got != ok("standing by; host:1 leads") {
		t.Errorf("with a leader: %+v, want it named", got)
	}
	if got := standbyCheck(t.Context(), st, "host:1"); got.State != api.CheckFail {
		t.Errorf("with the lease, before anything is up: %+v, want a failure", got)
	}
	stop()
	must(t, <-led)
}
