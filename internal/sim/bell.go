package sim

import (
	"context"
	"sync"
)

// bell wakes those who wait for something to become true. The zero bell is
// ready to use.
type bell struct {
	mu   sync.Mutex
	next chan struct{} // closed at the next ring; nil while nobody waits
}

// ring says that something has changed.
func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// await blocks until ok is true, asked now and after every ring, or ctx ends.
// It holds no lock while it asks.
func (b *bell) await(ctx context.Context, ok func() bool) error {
	for {
		b.mu.Lock()
		if b.next == nil {
			b.next = make(chan struct{})
		}
		next := b.next // taken before asking, so that no ring is missed
		b.mu.Unlock()
		if ok() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-next:
		}
	}
}
