package app

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"usher/api"
)

// TestMonitor: each change of a check is one line of the log, within two seconds of
// the start, and a metric; nothing is said of what is and stays well, or of parts
// that log by themselves.
func TestMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		found := map[string]api.Finding{"store": ok("redis answers"), "muc": fail("no such rooms", "set USHER_MUC"), "component": fail("down", "")}
		var mu sync.Mutex // of found and text: time that passes orders nothing
		var text bytes.Buffer
		m := &monitor{log: slog.New(slog.NewJSONHandler(lockedWriter{&mu, &text}, nil)), health: func() api.Health {
			mu.Lock()
			defer mu.Unlock()
			h := api.Health{Mode: modeLabelled}
			for _, name := range []string{"store", "muc", "component"} {
				f := found[name]
				h.Checks = append(h.Checks, api.Check{Name: name, Run: func(context.Context) api.Finding { return f }})
			}
			return h
		}}
		reg := prometheus.NewRegistry()
		reg.MustRegister(m)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.run(ctx) }()
		said := func(want ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			var got []string
			for line := range strings.Lines(text.String()) {
				got = append(got, line[strings.Index(line, `"level"`):len(line)-1])
			}
			if text.Reset(); !slices.Equal(got, want) {
				t.Errorf("the log has %q, want %q", got, want)
			}
		}
		time.Sleep(2 * time.Second)
		said(`"level":"ERROR","msg":"check of readyz: fail","check":"muc","state":"fail","seen":"no such rooms","do":"set USHER_MUC"}`)
		time.Sleep(time.Minute)
		said()
		mu.Lock()
		found["muc"] = ok("muc has rooms")
		found["store"] = warn("no append-only file", "appendonly yes")
		mu.Unlock()
		time.Sleep(lookInterval)
		said(`"level":"WARN","msg":"check of readyz: warn","check":"store","state":"warn","seen":"no append-only file","do":"appendonly yes"}`,
			`"level":"INFO","msg":"check of readyz: ok","check":"muc","state":"ok","seen":"muc has rooms"}`)
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP usher_check_state What /readyz says of each check: 0 ok, 1 warn, 2 fail. A process that stands by has fewer.
# TYPE usher_check_state gauge
usher_check_state{check="component"} 2
usher_check_state{check="muc"} 0
usher_check_state{check="store"} 1
# HELP usher_occupant_mode 1 for what usher's occupant is: hidden from people, or labelled.
# TYPE usher_occupant_mode gauge
usher_occupant_mode{mode="hidden"} 0
usher_occupant_mode{mode="labelled"} 1
`)); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// lockedWriter writes while it holds the lock.
type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
