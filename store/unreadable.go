package store

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// maxUnreadable is how many unreadable entries are remembered by name. They are
// a person's doing, or a newer version's, so one is already an event.
const maxUnreadable = 100

// unreadable are the stored entries that were left out because they cannot be
// read. The zero value is ready.
type unreadable struct {
	mu    sync.Mutex
	names []string // such as "participant prt_…"
}

// add reports whether the entry is one that was not known yet.
func (u *unreadable) add(name string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if slices.Contains(u.names, name) {
		return false
	}
	if len(u.names) < maxUnreadable {
		u.names = append(u.names, name)
	}
	return true
}

// finding says what was left out; empty: nothing.
func (u *unreadable) finding() string {
	const named = 3
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.names) == 0 {
		return ""
	}
	text := fmt.Sprintf("left out %d that cannot be read: %s", len(u.names), strings.Join(u.names[:min(len(u.names), named)], ", "))
	if len(u.names) > named {
		text += ", …"
	}
	return text
}

// readable decodes a stored entry. One that cannot be read must not keep all
// others away: it is left out, which the log, the metrics and [Redis.Findings]
// say once.
func readable[T any](r *Redis, kind, id, data string) (v T, ok bool) {
	v, err := decode[T](data, id)
	if err != nil {
		r.leaveOut(kind, id, err)
	}
	return v, err == nil
}

func (r *Redis) leaveOut(kind, id string, err error) {
	if r.unreadable.add(kind + " " + id) {
		r.metrics.errors[reasonUnreadable].Inc()
		r.log.Error("leaving out what cannot be read", "kind", kind, "id", id, "err", err)
	}
}
