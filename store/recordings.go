package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

// Recording returns one recording, or [meeting.ErrNotFound].
func (r *Redis) Recording(ctx context.Context, id string) (_ meeting.Recording, err error) {
	defer r.measure(opRecordings, time.Now(), &err)
	return read[meeting.Recording](ctx, r, id, r.rdb.Get(ctx, r.keys.recording(id)))
}

// RecordingOf returns the recording that Jibri knows by this session id, or
// [meeting.ErrNotFound].
func (r *Redis) RecordingOf(ctx context.Context, jibriSession string) (_ meeting.Recording, err error) {
	defer r.measure(opRecordings, time.Now(), &err)
	id, err := r.rdb.Get(ctx, r.keys.jibri(jibriSession)).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return meeting.Recording{}, r.notFound(ctx)
	case err != nil:
		return meeting.Recording{}, err
	}
	return read[meeting.Recording](ctx, r, id, r.rdb.Get(ctx, r.keys.recording(id)))
}

// Recordings returns a page of the recordings chosen, the last that was asked
// for first, and the cursor of the next page, empty at the end. Like [Redis.List]
// a page may hold fewer than limit, even none, while there is a next one.
func (r *Redis) Recordings(ctx context.Context, f meeting.RecordingFilter, cursor string, limit int) (page []meeting.Recording, next string, err error) {
	defer r.measure(opRecordings, time.Now(), &err)
	key := r.keys.recordings()
	if f.MeetingID != "" {
		key = r.keys.recordingsOf(f.MeetingID)
	}
	ids, next, err := r.pageByEnd(ctx, key, cursor, pageSize(limit))
	if err == nil {
		err = r.checkNow(ctx)
	}
	if err != nil {
		return nil, "", err
	}
	page, err = readAll[meeting.Recording](ctx, r, "recording", ids, func(p redis.Pipeliner, id string) *redis.StringCmd {
		return p.Get(ctx, r.keys.recording(id))
	})
	return slices.DeleteFunc(page, func(rec meeting.Recording) bool { return !f.Matches(rec) }), next, err
}
