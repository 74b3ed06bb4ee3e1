package store

import (
	"context"
	_ "embed" // for the script
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

//go:embed commit.lua
var commitSource string

var commitScript = redis.NewScript(commitSource)

// Commit stores the change in one script, so that a process or connection that
// dies leaves all of it or nothing. It blocks for four seconds at most, when
// every timeout of the connection runs out in turn. An error that wraps
// [meeting.ErrUnavailable] leaves open whether the change was stored, and
// repeating the commit is safe. Other errors: see tracker.Store.
func (r *Redis) Commit(ctx context.Context, c meeting.Commit) error {
	keys, args := r.pack(c)
	var answer []string
	err := r.do(opCommit, func() error {
		var err error
		answer, err = commitScript.Run(ctx, r.rdb, keys, args...).StringSlice()
		switch {
		case err != nil:
		case answer[0] == "fenced":
			err = meeting.ErrFenced
		case answer[0] == "reset":
			err = errReset
		}
		return err
	})
	if err != nil {
		return err
	}
	switch answer[0] {
	case "ok":
		r.mirror.open(c.Meeting.ID, !c.Meeting.Over())
		return nil
	case "conflict":
		stored, err := strconv.ParseInt(answer[1], 10, 64)
		return errors.Join(err, &meeting.ConflictError{Stored: stored})
	case "exists":
		return &meeting.ExistsError{ID: answer[1]}
	case "held":
		until, err := strconv.ParseInt(answer[1], 10, 64)
		return errors.Join(err, &meeting.RoomHeldError{Until: time.UnixMilli(until).UTC()})
	}
	return fmt.Errorf("store: commit: unknown answer %q", answer)
}

// pack puts the commit in the order in which commit.lua takes it.
func (r *Redis) pack(c meeting.Commit) (keys []string, args []any) {
	m, k := c.Meeting, r.keys
	keys = []string{
		k.fence(), k.epoch(), k.meeting(m.ID), k.events(), k.rooms(), k.open(),
		k.meetings(), k.room(m.Room), k.held(m.Room), k.external(m.ExternalID), k.sessions(m.ID),
		k.inState(meeting.StateCreated), k.inState(meeting.StateLive), k.inState(meeting.StateEnded),
	}
	args = []any{
		r.fence.Load(), r.epoch.Load() != nil, c.Op, c.From, c.Whole,
		m.ID, m.Version, string(m.State()), m.HoldsRoom(), !m.Over(), millis(m.EndedAt),
		m.Room, m.RoomHeldUntil().UnixMilli(), c.ReuseRoom, m.ExternalID, encode(m),
		Retention.Milliseconds(), LogRetention.Milliseconds(),
	}
	sessions := bySession(c.Effects)
	args = append(args, len(sessions))
	for _, s := range sessions {
		keys = append(keys, k.session(s.id), k.people(s.id))
		args = append(args, s.id, s.json, millis(s.ended), len(s.people))
		for _, p := range s.people {
			args = append(args, p.ID, encode(p))
		}
	}
	keys = append(keys, k.recordings(), k.recordingsOf(m.ID))
	args = append(args, len(c.Recordings))
	for _, rec := range c.Recordings {
		keys = append(keys, k.recording(rec.ID))
		args = append(args, rec.ID, encode(rec), millis(rec.RequestedAt), rec.State.Settled(), rec.JibriSession != "")
		if rec.JibriSession != "" {
			keys = append(keys, k.jibri(rec.JibriSession))
		}
	}
	args = append(args, len(c.Notices))
	for i, n := range c.Notices {
		routes := routesOf(c, i)
		args = append(args, encode(n), len(routes))
		for _, endpoint := range routes {
			keys = append(keys, k.lane(endpoint, m.ID), k.due(endpoint))
		}
	}
	return keys, args
}

// changedSession is what a commit changes about one session.
type changedSession struct {
	id     string
	json   []byte // empty: only its people change
	ended  time.Time
	people []meeting.Participant
}

func bySession(fx meeting.Effects) []changedSession {
	var list []changedSession
	of := func(id string) *changedSession {
		i := slices.IndexFunc(list, func(s changedSession) bool { return s.id == id })
		if i < 0 {
			i = len(list)
			list = append(list, changedSession{id: id})
		}
		return &list[i]
	}
	for _, s := range fx.Sessions {
		changed := of(s.ID)
		changed.json, changed.ended = encode(s), s.EndedAt
	}
	for _, p := range fx.People {
		changed := of(p.SessionID)
		changed.people = append(changed.people, p)
	}
	return list
}

// routesOf returns the endpoints that get notice i.
func routesOf(c meeting.Commit, i int) []string {
	if i < len(c.Routes) {
		return c.Routes[i]
	}
	return nil
}

// millis returns t in Unix milliseconds, nothing for the zero time.
func millis(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}
