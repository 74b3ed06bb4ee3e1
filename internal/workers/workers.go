// Package workers runs functions in goroutines that have run others before.
package workers

import "sync"

// most is how many goroutines of a group wait for the next function: enough for
// work that comes bit by bit, and half a megabyte of stacks.
const most = 16

// Group runs functions, each in a goroutine of its own meanwhile. A new goroutine
// starts with a small stack, which is copied each time it grows: 30 µs for a
// function that needs 10 kB. Safe for concurrent use.
type Group struct {
	running sync.WaitGroup
	next    chan func()
	idle    chan struct{} // holds one for each goroutine that waits for the next function
	end     chan struct{} // closed by Wait
}

// New returns a group without goroutines.
func New() *Group {
	return &Group{next: make(chan func()), idle: make(chan struct{}, most), end: make(chan struct{})}
}

// Go runs f and returns at once. Once Wait is called, only functions of the group
// may call it.
func (g *Group) Go(f func()) {
	select {
	case g.next <- f: // one waits
	default:
		g.running.Go(func() { g.work(f) })
	}
}

// work runs f and what comes after it.
func (g *Group) work(f func()) {
	for f != nil {
		f()
		f = g.wait()
	}
}

// wait blocks until there is another function; nil: this goroutine is not needed.
func (g *Group) wait() (f func()) {
	select {
	case g.idle <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-g.idle }()
	select {
	case f = <-g.next:
	case <-g.end:
	}
	return f
}

// Wait blocks until all functions have returned. It is called once.
func (g *Group) Wait() {
	close(g.end)
	g.running.Wait()
}
