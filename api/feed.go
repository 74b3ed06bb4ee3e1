package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"usher/meeting"
)

const (
	// listenerQueue is how many events may wait for one listener: a burst of a
	// room of hundreds. Whoever is slower than that is let go, and comes back
	// for the rest.
	listenerQueue = 512
	// MaxListeners bounds the connections that streams hold on to.
	MaxListeners = 200
	// followPause is the wait before the log is followed anew after that failed.
	followPause = time.Second
)

var errTooManyListeners = errors.New("too many streams are open")

// EventLog is the store's log of all events, to which other processes write
// as well. Errors as in [service.Store].
type EventLog interface {
	// Events returns at most limit entries after the place, oldest first.
	Events(ctx context.Context, after string, limit int) ([]meeting.LogEntry, error)
	// Follow hands over what joins the log from now on until ctx ends or
	// deliver returns false. deliver is called with none when the place is
	// settled, and now and then while nothing comes.
	Follow(ctx context.Context, deliver func([]meeting.LogEntry) bool) error
}

// Feed hands on to many listeners what one reader follows in the event log.
// It reads only while somebody listens. Its methods are safe for concurrent use.
type Feed struct {
	log    EventLog
	logger *slog.Logger

	mu        sync.Mutex
	running   bool
	listeners map[*listener]bool
	wanted    chan struct{} // holds one: somebody has come
	settled   chan struct{} // closed once the reader has its place; anew for each reading
}

// listener is somebody who listens.
type listener struct {
	events chan event // closed when the listener is let go
}

// event is an entry of the log, with what a filter needs to know.
type event struct {
	place string
	text  json.RawMessage
	about struct {
		Type      meeting.EventType `json:"type"`
		MeetingID string            `json:"meeting_id"`
	}
}

func newEvent(e meeting.LogEntry) (event, error) {
	ev := event{place: e.ID, text: e.Event}
	return ev, json.Unmarshal(e.Event, &ev.about)
}

// NewFeed returns a feed that does nothing until Run; log may be nil.
func NewFeed(events EventLog, log *slog.Logger) *Feed {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Feed{
		log: events, logger: log, listeners: map[*listener]bool{},
		wanted: make(chan struct{}, 1), settled: make(chan struct{}),
	}
}

// Run follows the log while somebody listens, until ctx ends; then it lets all
// listeners go and returns nil.
func (f *Feed) Run(ctx context.Context) error {
	f.mu.Lock()
	f.running = true
	f.mu.Unlock()
	failing := false
	for ctx.Err() == nil {
		select {
		case <-f.wanted:
		case <-ctx.Done():
			continue
		}
		err := f.log.Follow(ctx, func(entries []meeting.LogEntry) bool {
			failing = false
			return f.deliver(entries)
		})
		if err == nil {
			continue
		}
		if !failing {
			failing = true
			f.logger.Warn("cannot follow the event log, trying again", "err", err)
		}
		// There may be a gap now: listeners come back and say where they were.
		f.letGo(nil)
		select {
		case <-time.After(followPause):
		case <-ctx.Done():
		}
	}
	f.mu.Lock()
	f.running = false
	f.mu.Unlock()
	f.letGo(nil)
	return nil
}

// deliver hands entries to all listeners and reports whether there are any.
func (f *Feed) deliver(entries []meeting.LogEntry) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle()
	for _, e := range entries {
		ev, err := newEvent(e)
		if err != nil {
			f.logger.Error("an entry of the event log is unreadable", "place", e.ID, "err", err)
			continue
		}
		for l := range f.listeners {
			select {
			case l.events <- ev:
			default:
				f.drop(l)
			}
		}
	}
	if len(f.listeners) > 0 {
		return true
	}
	f.settled = make(chan struct{})
	return false
}

// listen returns a listener that gets everything that joins the log after
// listen has returned. It blocks until that is sure, or ctx ends.
func (f *Feed) listen(ctx context.Context) (*listener, error) {
	f.mu.Lock()
	if !f.running {
		f.mu.Unlock()
		return nil, meeting.ErrUnavailable
	}
	if len(f.listeners) >= MaxListeners {
		f.mu.Unlock()
		return nil, errTooManyListeners
	}
	l := &listener{events: make(chan event, listenerQueue)}
	f.listeners[l] = true
	settled := f.settled
	f.mu.Unlock()
	select {
	case f.wanted <- struct{}{}:
	default: // it is known
	}
	select {
	case <-settled:
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.listeners[l] { // let go: the log cannot be followed
			return nil, meeting.ErrUnavailable
		}
		return l, nil
	case <-ctx.Done():
		f.letGo(l)
		return nil, errors.Join(meeting.ErrUnavailable, context.Cause(ctx))
	}
}

// letGo ends a listener, nil: all. One that has been let go already is no error.
func (f *Feed) letGo(l *listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l != nil {
		f.drop(l)
		return
	}
	for l := range f.listeners {
		f.drop(l)
	}
	f.settle() // whoever waits finds itself let go
	f.settled = make(chan struct{})
}

// settle lets those go on who wait for the reader to have its place. f.mu is held.
func (f *Feed) settle() {
	select {
	case <-f.settled:
	default:
		close(f.settled)
	}
}

// drop ends a listener. f.mu is held.
func (f *Feed) drop(l *listener) {
	if f.listeners[l] {
		delete(f.listeners, l)
		close(l.events)
	}
}
