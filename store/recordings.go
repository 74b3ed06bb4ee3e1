package store

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

// Recording returns one recording, or [meeting.ErrNotFound].
func (r *Redis) Recording(ctx context.Context, id string) (rec meeting.Recording, err error) {
	err = r.do(opRecordings, func() error {
		rec, err = r.recording(ctx, id)
		return err
	})
	if errors.Is(err, redis.Nil) {
		err = r.notFound(ctx)
	}
	return rec, err
}

// RecordingOf returns the recording that Jibri knows by this session id, or
// [meeting.ErrNotFound].
func (r *Redis) RecordingOf(ctx context.Context, jibriSession string) (rec meeting.Recording, err error) {
	err = r.do(opRecordings, func() error {
		id, err := r.rdb.Get(ctx, r.keys.jibri(jibriSession)).Result()
		if err == nil {
			rec, err = r.recording(ctx, id)
		}
		return err
	})
	if errors.Is(err, redis.Nil) {
		err = r.notFound(ctx)
	}
	return rec, err
}

func (r *Redis) recording(ctx context.Context, id string) (meeting.Recording, error) {
	data, err := r.rdb.Get(ctx, r.keys.recording(id)).Result()
	if err != nil {
		return meeting.Recording{}, err
	}
	return decode[meeting.Recording](data, id)
}

// Recordings returns a page of the recordings chosen, the last that was asked
// for first, and the cursor of the next page, empty at the end. Like [Redis.List]
// a page may hold fewer than limit, even none, while there is a next one.
func (r *Redis) Recordings(ctx context.Context, f meeting.RecordingFilter, cursor string, limit int) (page []meeting.Recording, next string, err error) {
	key := r.keys.recordings()
	if f.MeetingID != "" {
		key = r.keys.recordingsOf(f.MeetingID)
	}
	err = r.do(opRecordings, func() error {
		ids, more, err := r.pageByEnd(ctx, key, cursor, pageSize(limit))
		if err == nil {
			err = r.checkNow(ctx)
		}
		if err != nil {
			return err
		}
		next = more
		return r.each(ctx, "recording", ids, func(p redis.Pipeliner, id string) *redis.StringCmd {
			return p.Get(ctx, r.keys.recording(id))
		}, func(id, data string) {
			if rec, ok := readable[meeting.Recording](r, "recording", id, data); ok && f.Matches(rec) {
				page = append(page, rec)
			}
		})
	})
	if err != nil {
		return nil, "", err
	}
	return page, next, nil
}
