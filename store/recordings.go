package store

import (
	"cmp"
	"context"
	"errors"
	"slices"

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

// Recording returns one recording, or [meeting.ErrNotFound].
func (s *Memory) Recording(_ context.Context, id string) (meeting.Recording, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, ok := s.recorded[id]
	if !ok {
		return meeting.Recording{}, meeting.ErrNotFound
	}
	return rec, nil
}

// RecordingOf returns the recording that Jibri knows by this session id, or
// [meeting.ErrNotFound].
func (s *Memory) RecordingOf(_ context.Context, jibriSession string) (meeting.Recording, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rec := range s.recorded {
		if rec.JibriSession == jibriSession && jibriSession != "" {
			return rec, nil
		}
	}
	return meeting.Recording{}, meeting.ErrNotFound
}

// Recordings returns a page of the recordings chosen, like [Redis.Recordings].
func (s *Memory) Recordings(_ context.Context, f meeting.RecordingFilter, cursor string, limit int) (page []meeting.Recording, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []meeting.Recording
	for _, rec := range s.recorded {
		if f.Matches(rec) {
			all = append(all, rec)
		}
	}
	slices.SortFunc(all, func(a, b meeting.Recording) int {
		return cmp.Or(b.RequestedAt.Compare(a.RequestedAt), cmp.Compare(b.ID, a.ID))
	})
	page, next = cutAfter(all, cursor, limit, func(rec meeting.Recording) string { return rec.ID })
	return page, next, nil
}
