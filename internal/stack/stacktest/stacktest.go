// Package stacktest gives a test its own Prosody or Redis and ends it with
// the test. A test never skips because one cannot start: it fails. Only
// `go test -short` leaves such tests out.
//
// They end by SIGKILL: their data is thrown away, and Prosody takes a second
// to say goodbye to its clients.
package stacktest

import (
	"os"
	"testing"

	"usher/internal/child"
	"usher/internal/stack"
)

// logShown is how much of Prosody's log a failed test prints, in bytes.
const logShown = 8 << 10

// Needed says that the test starts servers or other programs: `go test -short`
// leaves it out.
func Needed(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts other programs; run without -short")
	}
}

// Redis starts an empty redis-server for the test.
func Redis(t testing.TB) *child.Redis {
	t.Helper()
	Needed(t)
	r, err := child.StartRedis(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	return r
}

// Prosody starts a Prosody with the local site for the test. When the test
// fails, the end of Prosody's log is printed.
func Prosody(t testing.TB, cfg stack.ProsodyConfig) *stack.Prosody {
	t.Helper()
	Needed(t)
	p, err := stack.StartProsody(t.Context(), t.TempDir(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if !t.Failed() {
			return
		}
		log, err := os.ReadFile(p.Log())
		if err != nil {
			t.Error(err)
			return
		}
		t.Logf("end of %s:\n%s", p.Log(), log[max(0, len(log)-logShown):])
	})
	return p
}
