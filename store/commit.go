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
// dies leaves all of it or nothing. It blocks for longestCall at most, and half
// as long again where Redis has lost the script. An error that wraps
// [meeting.ErrUnavailable] leaves open whether the change was stored, and
// repeating the commit is safe. Other errors: see tracker.Store.
func (r *Redis) Commit(ctx context.Context, c meeting.Commit) error {
	answer, err := r.runCommit(ctx, c)
	if err != nil {
		return err
	}
	switch answer[0] {
	case "ok":
		r.mirror.committed(r.keys.meeting(c.Meeting.ID), c.Meeting.Version, !c.Meeting.Over())
		return nil
	case "conflict":
		stored, err := strconv.ParseInt(answer[1], 10, 64)
		if stored < c.From && !c.Meeting.Forgotten { // which may be done already
			r.mirror.behind.Store(true)
			r.suspect()
		}
		return errors.Join(err, &meeting.ConflictError{Stored: stored})
	case "exists":
		return &meeting.ExistsError{ID: answer[1]}
	case "held":
		until, err := strconv.ParseInt(answer[1], 10, 64)
		return errors.Join(err, &meeting.RoomHeldError{Until: time.UnixMilli(until).UTC()})
	}
	return fmt.Errorf("store: commit: unknown answer %q", answer)
}

func (r *Redis) runCommit(ctx context.Context, c meeting.Commit) (answer []string, err error) {
	keys, args := r.pack(c)
	defer r.measure(opCommit, time.Now(), &err)
	answer, err = commitScript.Run(ctx, r.rdb, keys, args...).StringSlice()
	switch {
	case err != nil:
	case answer[0] == "fenced":
		err = meeting.ErrFenced
	case answer[0] == "reset":
		err = errReset
	}
	return answer, err
}

// indexOf returns the state in whose index meetings of a state are: what is between
// sessions is looked for among those where nobody was in yet.
func indexOf(s meeting.State) meeting.State {
	if s == meeting.StateIdle {
		return meeting.StateCreated
	}
	return s
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
		m.ID, m.Version, string(indexOf(m.State())), m.HoldsRoom(), !m.Over(), millis(m.EndedAt),
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
		args = append(args, rec.ID, encode(rec), millis(rec.RequestedAt.Time), rec.State.Settled(), rec.JibriSession != "")
		if rec.JibriSession != "" {
			keys = append(keys, k.jibri(rec.JibriSession))
		}
	}
	args = append(args, len(c.Events))
	for i := range c.Events {
		args = append(args, []byte(c.Events[i].Text()))
	}
	routes := routesOf(c)
	args = append(args, len(routes))
	for _, route := range routes {
		args = append(args, len(route.events))
		for _, i := range route.events {
			args = append(args, i+1)
		}
		args = append(args, len(route.endpoints))
		for _, endpoint := range route.endpoints {
			keys = append(keys, k.queue(endpoint, m.ID), k.queued(endpoint))
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
		changed.json, changed.ended = encode(s), s.EndedAt.Time
	}
	for _, p := range fx.People {
		changed := of(p.SessionID)
		changed.people = append(changed.people, p)
	}
	return list
}

// route has the endpoints that get the same events of a commit.
type route struct {
	events    []int // their places in the commit
	endpoints []string
}

func routesOf(c meeting.Commit) (routes []route) {
	var order []string
	events := map[string][]int{}
	for i, endpoints := range c.Routes {
		for _, id := range endpoints {
			if events[id] == nil {
				order = append(order, id)
			}
			events[id] = append(events[id], i)
		}
	}
	for _, id := range order {
		i := slices.IndexFunc(routes, func(r route) bool { return slices.Equal(r.events, events[id]) })
		if i < 0 {
			i = len(routes)
			routes = append(routes, route{events: events[id]})
		}
		routes[i].endpoints = append(routes[i].endpoints, id)
	}
	return routes
}

// millis returns t in Unix milliseconds, nothing for the zero time.
func millis(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}
