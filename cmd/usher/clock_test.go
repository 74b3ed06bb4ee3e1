package main

import (
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"usher/internal/stack/stacktest"
)

// steppedRedis starts a redis-server whose wall clock step sets off by a duration.
func steppedRedis(t *testing.T) (s *scene, step func(by time.Duration)) {
	t.Helper()
	redis := stacktest.Redis(t)
	redis.Kill()
	dir := t.TempDir()
	library, file := filepath.Join(dir, "clock.so"), filepath.Join(dir, "step")
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", library, "testdata/clock.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	step = func(by time.Duration) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
		must(t, err)
		defer f.Close()
		must(t, binary.Write(f, binary.NativeEndian, int64(by/time.Second)))
	}
	step(0)
	redis.Env = append(redis.Env, "LD_PRELOAD="+library, "CLOCK_STEP="+file)
	must(t, redis.Restart(t.Context()))
	return newBareSceneAt(t, redis, "--api-rate=0", "--webhook-allow=127.0.0.0/8"), step
}

// TestRedisClockSteps sets the clock of Redis an hour ahead and two hours back,
// under an usher that leads, one that stands by, and an endpoint that fails
// meanwhile. Meetings can be made all along but for the time of a lease, and the
// endpoint gets everything soon after it is mended, not when the clock has caught up.
func TestRedisClockSteps(t *testing.T) {
	t.Parallel()
	var fails atomic.Bool
	app := &lossTold{seqs: map[string]int64{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fails.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		app.ServeHTTP(w, r)
	}))
	defer server.Close()
	s, step := steppedRedis(t)
	first := s.runUsher()
	s.until("usher leads", s.leads)
	second := s.runUsher("--listen=" + freeAddr(t))
	s.talkTo(first) // it knows at once
	must(t, s.call(t.Context(), http.MethodPost, "/v1/webhooks", map[string]any{"url": server.URL + "/"}, nil))
	load := s.createAll(first, second)
	s.until("the app is told", func() bool { n, _, _ := app.told(); return n > 0 })
	fails.Store(true)
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		before := s.client().Time(t.Context()).Val()
		step(by)
		if got := s.client().Time(t.Context()).Val().Sub(before).Round(time.Minute); got != by && got != 2*by {
			t.Fatalf("the clock of Redis went on by %v, want %v: it is not stepped", got, by)
		}
		if away := s.away(load, time.Now()); away > afterKill {
			t.Errorf("no meeting was made for %v after the clock stepped by %v, want %v at most", away, by, afterKill)
		}
		time.Sleep(2 * time.Second) // the endpoint fails
	}
	load.finish()
	fails.Store(false)
	s.until("the app is told of everything", func() bool { n, _, _ := app.told(); return n == len(s.wholeLog()) })
	s.checkLost(load)
	second.kill()
	s.talkTo(first)
	s.until("the first one leads", func() bool { return s.notReady()["meetings"] == "" && s.metric("usher_leader") == 1 })
}
