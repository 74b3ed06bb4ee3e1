package store

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

// Forget deletes everything about a meeting that is over: the meeting, its
// links, its sessions, their people, its recordings, and its places in the
// indexes. Its events stay in the log until they have run out there and in the
// lists of endpoints until they are delivered, and the room stays held as long
// as its tokens may open it.
//
// A Forget that fails half way is completed by the next one: the meeting
// itself, which knows where the rest is, goes last.
func (r *Redis) Forget(ctx context.Context, id string) (err error) {
	m, err := r.Load(ctx, id)
	if errors.Is(err, meeting.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.measure(opForget, time.Now(), &err)
	recordings, err := r.rdb.ZRange(ctx, r.keys.recordingsOf(id), 0, -1).Result()
	if err != nil {
		return err
	}
	sessions, err := r.rdb.ZRange(ctx, r.keys.sessions(id), 0, -1).Result()
	if err != nil {
		return err
	}
	// Another meeting may have taken the room since this one was closed.
	holder, err := r.rdb.HGet(ctx, r.keys.rooms(), m.Room).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	_, err = r.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, s := range sessions {
			p.Unlink(ctx, r.keys.session(s), r.keys.people(s))
		}
		for _, rec := range recordings {
			p.Unlink(ctx, r.keys.recording(rec))
			p.ZRem(ctx, r.keys.recordings(), rec)
		}
		p.ZRem(ctx, r.keys.room(m.Room), id)
		for _, index := range []string{
			r.keys.open(), r.keys.meetings(), r.keys.inState(meeting.StateCreated),
			r.keys.inState(meeting.StateLive), r.keys.inState(meeting.StateEnded),
		} {
			p.ZRem(ctx, index, id)
		}
		if m.ExternalID != "" {
			p.Unlink(ctx, r.keys.external(m.ExternalID))
		}
		if holder == id {
			p.HDel(ctx, r.keys.rooms(), m.Room)
		}
		p.Unlink(ctx, r.keys.sessions(id), r.keys.recordingsOf(id), r.keys.meeting(id))
		return nil
	})
	if err == nil {
		r.mirror.copies(r.keys.meeting(id), false)
	}
	return err
}
