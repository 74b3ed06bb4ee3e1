package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

// followBlock is how long one read waits for the log to grow. It bounds how
// late the end of a Follow's context is noticed.
const followBlock = time.Second

// Follow hands over the events that join the event log from now on, oldest
// first, until ctx ends or deliver returns false; then it returns nil. deliver
// is called at once with none, when the place in the log is settled, and with
// none whenever nothing has come for a second.
//
// It reads on a connection of its own, because a read that waits would keep
// others from using it.
func (r *Redis) Follow(ctx context.Context, deliver func([]meeting.LogEntry) bool) error {
	own := *r.options
	own.PoolSize = 1
	rdb := redis.NewUniversalClient(&own)
	defer func() { _ = rdb.Close() }() // only reads were under way

	var last string
	err := r.do(opEvents, func() error {
		newest, err := rdb.XRevRangeN(ctx, r.keys.events(), "+", "-", 1).Result()
		last = "0-0"
		if len(newest) > 0 {
			last = newest[0].ID
		}
		return err
	})
	var entries []meeting.LogEntry
	for err == nil && ctx.Err() == nil && deliver(entries) {
		entries, err = r.wait(ctx, rdb, last)
		if len(entries) > 0 {
			last = entries[len(entries)-1].ID
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// wait returns what follows the place in the log, and none if that does not
// come in time. It is not measured: it waits for others.
func (r *Redis) wait(ctx context.Context, rdb redis.UniversalClient, last string) ([]meeting.LogEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, followBlock+callTimeout)
	defer cancel()
	streams, err := rdb.XRead(ctx, &redis.XReadArgs{
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

func logEntries(messages []redis.XMessage) []meeting.LogEntry {
	var entries []meeting.LogEntry
	for _, x := range messages {
		event, _ := x.Values["notice"].(string)
		entries = append(entries, meeting.LogEntry{ID: x.ID, Event: json.RawMessage(event)})
	}
	return entries
}
