package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"usher/internal/sleep"
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
	wanted chan struct{} // holds one: somebody has come

	mu        sync.Mutex
	listeners map[listener]bool // nil while Run does not run
	following bool              // the reader has its place: nothing is missed from now on
}

// listener gets an empty event once the reader has its place, then those that
// join the log. It is closed when the listener is let go.
type listener chan event

// event is an entry of the log, with what a filter needs to know.
type event struct {
	place string
	text  json.RawMessage // nil: it cannot be read
	about struct {
		Type      meeting.EventType `json:"type"`
		MeetingID string            `json:"meeting_id"`
	}
}

// readEvent reads an entry of the log. One that cannot be read keeps its place and
// is for nobody, or nobody would get past it.
func readEvent(log *slog.Logger, e meeting.LogEntry) event {
	ev := event{place: e.ID, text: e.Event}
	if err := json.Unmarshal(e.Event, &ev.about); err != nil {
		log.Error("leaving out an event that cannot be read", "place", e.ID, "err", err)
		ev.text = nil
	}
	return ev
}

// isFor reports whether the event is one of those that the filter chooses.
func (ev event) isFor(f EventFilter) bool {
	return ev.text != nil && (f.MeetingID == "" || ev.about.MeetingID == f.MeetingID) && (f.Type == nil || ev.about.Type.IsOneOf(f.Type))
}

// NewFeed returns a feed that does nothing until Run.
func NewFeed(events EventLog, log *slog.Logger) *Feed {
	return &Feed{log: events, logger: log, wanted: make(chan struct{}, 1)}
}

// Run follows the log while somebody listens, until ctx ends; then it lets all
// listeners go and returns nil.
func (f *Feed) Run(ctx context.Context) error {
	f.restart(map[listener]bool{})
	defer f.restart(nil)
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
		f.restart(map[listener]bool{})
		sleep.For(ctx, followPause)
	}
	return nil
}

// restart lets all listeners go and begins with new ones, or with none from then
// on (nil).
func (f *Feed) restart(listeners map[listener]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.listeners {
		f.drop(l)
	}
	f.listeners, f.following = listeners, false
}

// deliver hands entries to all listeners and reports whether there are any.
func (f *Feed) deliver(entries []meeting.LogEntry) bool {
	events := make([]event, len(entries))
	for i, e := range entries {
		events[i] = readEvent(f.logger, e) // which may log
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.following {
		for l := range f.listeners {
			l <- event{} // the first in its queue
		}
	}
	for _, ev := range events {
		for l := range f.listeners {
			select {
			case l <- ev:
			default:
				f.drop(l)
			}
		}
	}
	f.following = len(f.listeners) > 0
	return f.following
}

// listen returns a listener that gets everything that joins the log after
// listen has returned. It blocks until that is sure, or ctx ends.
func (f *Feed) listen(ctx context.Context) (listener, error) {
	l, err := f.join()
	if err != nil {
		return nil, err
	}
	sleep.Wake(f.wanted)
	select {
	case _, ok := <-l:
		if !ok { // let go: the log cannot be followed
			return nil, meeting.ErrUnavailable
		}
		return l, nil
	case <-ctx.Done():
		f.letGo(l)
		return nil, errors.Join(meeting.ErrUnavailable, context.Cause(ctx))
	}
}

func (f *Feed) join() (listener, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.listeners == nil:
		return nil, meeting.ErrUnavailable
	case len(f.listeners) >= MaxListeners:
		return nil, errTooManyListeners
	}
	l := make(listener, listenerQueue)
	f.listeners[l] = true
	if f.following {
		l <- event{}
	}
	return l, nil
}

// letGo ends a listener. One that has been let go already is no error.
func (f *Feed) letGo(l listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(l)
}

// drop ends a listener. f.mu is held.
func (f *Feed) drop(l listener) {
	if f.listeners[l] {
		delete(f.listeners, l)
		close(l)
	}
}
