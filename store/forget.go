package store

import (
	"context"
	_ "embed" // for the script
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

//go:embed forget.lua
var forgetSource string

var forgetScript = redis.NewScript(forgetSource)

// Forget deletes everything about a meeting that is over: the meeting, its
// links, its sessions, their people, its recordings, and its places in the
// indexes. Its events stay in the log until they have run out there and in the
// lists of endpoints until they are delivered, and the room stays held as long
// as its tokens may open it.
func (r *Redis) Forget(ctx context.Context, id string) (err error) {
	m, err := r.Load(ctx, id)
	if errors.Is(err, meeting.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.measure(opForget, time.Now(), &err)
	k := r.keys
	err = forgetScript.Run(ctx, r.rdb, []string{
		k.meeting(id), k.external(m.ExternalID), k.sessions(id), k.session(""), k.people(""),
		k.recordingsOf(id), k.recordings(), k.recording(""), k.rooms(),
		k.room(m.Room), k.open(), k.meetings(),
		k.inState(meeting.StateCreated), k.inState(meeting.StateLive), k.inState(meeting.StateEnded),
	}, id, m.Room).Err()
	if err == nil {
		r.mirror.copies(k.meeting(id), false)
	}
	return err
}
