package store

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func testReplies(t *testing.T, b backing) {
	ctx, st := t.Context(), b.store
	claim := func(value string) string {
		t.Helper()
		return string(must(st.Claim(ctx, "n", []byte(value), time.Minute))(t))
	}
	var won atomic.Int32
	var racing sync.WaitGroup
	for range 20 {
		racing.Go(func() {
			if there, err := st.Claim(ctx, "n", []byte("first"), time.Minute); err != nil {
				t.Error(err)
			} else if there == nil {
				won.Add(1)
			}
		})
	}
	racing.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 20 claims at once were granted, want 1", won.Load())
	}
	if got := claim("second"); got != "first" {
		t.Errorf("there is %q, want what was claimed first", got)
	}
	if err := st.Keep(ctx, "n", []byte("kept"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := claim("third"); got != "kept" {
		t.Errorf("there is %q, want what was kept", got)
	}
	for range 2 { // no error when there is nothing
		if err := st.Release(ctx, "n"); err != nil {
			t.Fatal(err)
		}
	}
	if got := claim("fourth"); got != "" {
		t.Errorf("there is %q after a release", got)
	}
}

func TestRepliesExpire(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	must(r.Claim(t.Context(), "claimed", []byte("x"), time.Minute))(t)
	if err := r.Keep(t.Context(), "kept", []byte("x"), time.Hour); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]time.Duration{"claimed": time.Minute, "kept": time.Hour} {
		if got := must(srv.raw.PTTL(t.Context(), r.keys.idempotency(name)).Result())(t); got > want || got < want-time.Minute/2 {
			t.Errorf("%s lives %v, want %v", name, got, want)
		}
	}
	must(r.Claim(t.Context(), "brief", []byte("x"), 10*time.Millisecond))(t)
	time.Sleep(50 * time.Millisecond)
	if there := must(r.Claim(t.Context(), "brief", []byte("y"), time.Minute))(t); there != nil {
		t.Errorf("there is %q after its life", there)
	}
}
