package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

// followBlock is how long one read waits for the log to grow. It bounds how
// late the end of a Follow's context is noticed.
const followBlock = time.Second

// Events returns up to limit (1 to [MaxPage]) events of the event log that
// follow the place after, oldest first; after "" come the oldest of all. It
// does not wait for more. Errors: [ErrCursor].
func (r *Redis) Events(ctx context.Context, after string, limit int) ([]meeting.LogEntry, error) {
	start, err := beyond(after, "-")
	if err != nil {
		return nil, err
	}
	return r.events(ctx, start, "+", pageSize(limit))
}

// Between calls f with the events that were committed in the given time, in order
// and page by page, until it returns an error, which Between returns.
func (r *Redis) Between(ctx context.Context, from, to time.Time, f func(events []json.RawMessage) error) error {
	place := func(at time.Time) string { return strconv.FormatInt(max(at.UnixMilli(), 0), 10) } // of 1970 at the earliest
	start, end := place(from), place(to)
	for {
		page, err := r.events(ctx, start, end, MaxPage)
		if err != nil || len(page) == 0 {
			return err
		}
		var events []json.RawMessage
		for _, e := range page {
			events = append(events, e.Event)
			start = "(" + e.ID
		}
		if err := f(events); err != nil {
			return err
		}
	}
}

// events reads a stretch of the event log.
func (r *Redis) events(ctx context.Context, start, end string, limit int) (_ []meeting.LogEntry, err error) {
	defer r.measure(opEvents, time.Now(), &err)
	found, err := r.rdb.XRangeN(ctx, r.keys.events(), start, end, int64(limit)).Result()
	if err == nil && len(found) == 0 {
		err = r.checkNow(ctx)
	}
	return logEntries(found), err
}

// Follow hands over the events that join the event log from now on, oldest
// first, until ctx ends or deliver returns false; then it returns nil. deliver
// is called at once with none, when the place in the log is settled, and with
// none whenever nothing has come for a second. Meanwhile it keeps a connection
// to itself.
func (r *Redis) Follow(ctx context.Context, deliver func([]meeting.LogEntry) bool) error {
	last, err := r.newest(ctx)
	var entries []meeting.LogEntry
	for err == nil && ctx.Err() == nil && deliver(entries) {
		entries, err = r.wait(ctx, last)
		if len(entries) > 0 {
			last = entries[len(entries)-1].ID
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// newest returns the place of the last event in the log.
func (r *Redis) newest(ctx context.Context) (place string, err error) {
	defer r.measure(opEvents, time.Now(), &err)
	last, err := r.rdb.XRevRangeN(ctx, r.keys.events(), "+", "-", 1).Result()
	if len(last) == 0 {
		return "0-0", err
	}
	return last[0].ID, nil
}

// wait returns what follows the place in the log, and none if that does not
// come in time. It is not measured: it waits for others.
func (r *Redis) wait(ctx context.Context, last string) ([]meeting.LogEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, followBlock+callTimeout)
	defer cancel()
	streams, err := r.rdb.XRead(ctx, &redis.XReadArgs{
		Streams: []string{r.keys.events(), last}, Count: MaxPage, Block: followBlock,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, r.fault(opEvents, err)
	}
	return logEntries(streams[0].Messages), nil
}

func logEntries(messages []redis.XMessage) (entries []meeting.LogEntry) {
	for _, x := range messages {
		entries = append(entries, meeting.LogEntry{ID: x.ID, Event: value(x, "notice")})
	}
	return entries
}

// Attempts returns a page of an endpoint's delivery log, or of its dead
// letters, newest first; cursor is the Place of the last entry already seen.
// Errors: [ErrCursor].
func (r *Redis) Attempts(ctx context.Context, endpoint string, dead bool, cursor string, limit int) (page []meeting.Tried, err error) {
	start, err := beyond(cursor, "+")
	if err != nil {
		return nil, err
	}
	key := r.keys.attempts(endpoint)
	if dead {
		key = r.keys.dead(endpoint)
	}
	defer r.measure(opWebhooks, time.Now(), &err)
	found, err := r.rdb.XRevRangeN(ctx, key, start, "-", int64(pageSize(limit))).Result()
	for _, x := range found {
		page = append(page, meeting.Tried{Place: x.ID, Record: value(x, "record"), Event: value(x, "notice")})
	}
	return page, err
}

// beyond returns where to read on after a place, or the end where to begin when
// there is none.
func beyond(place, end string) (string, error) {
	switch {
	case place == "":
		return end, nil
	case !streamID.MatchString(place):
		return "", fmt.Errorf("%w: %q", ErrCursor, place)
	}
	return "(" + place, nil
}

// value returns a field of an entry.
func value(x redis.XMessage, field string) json.RawMessage {
	text, _ := x.Values[field].(string)
	return json.RawMessage(text)
}
