package workers_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/workers"
)

// TestGroup runs functions one after the other, many at once, and from within a
// function while the group is waited for.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := workers.New()
		var ran atomic.Int32
		do := func() {
			time.Sleep(time.Second)
			ran.Add(1)
		}
		for range 3 {
			g.Go(do)
			time.Sleep(2 * time.Second)
		}
		begin := time.Now()
		for range 1000 {
			g.Go(do)
		}
		g.Go(func() {
			do()
			g.Go(do)
		})
		g.Wait()
		if n := ran.Load(); n != 1005 {
			t.Errorf("%d functions ran, want 1005", n)
		}
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("took %v, want 2 s", took)
		}
	})
}

// BenchmarkGroup compares with goroutines that are new each time.
func BenchmarkGroup(b *testing.B) {
	done := make(chan byte)
	f := func() { done <- deep(24) }
	b.Run("workers", func(b *testing.B) {
		g := workers.New()
		defer g.Wait()
		for b.Loop() {
			g.Go(f)
			<-done
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			go f()
			<-done
		}
	})
}

// deep needs 10 kB of stack.
//
//go:noinline
func deep(n int) byte {
	var frame [400]byte
	frame[n] = byte(n)
	if n == 0 {
		return frame[0]
	}
	return deep(n-1) + frame[n/2]
}
