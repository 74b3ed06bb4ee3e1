package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

// openBatch is how many meetings Open reads at a time: enough to make round
// trips not matter, few enough for Redis to answer others in between.
const openBatch = 200

// Open returns the meetings that are not both ended and closed, each with the
// people of its open session. It reads in batches, so only a leader, whose
// fencing number keeps others from writing, gets what holds all at once.
func (r *Redis) Open(ctx context.Context) (all []meeting.Meeting, err error) {
	defer r.measure(opOpen, time.Now(), &err)
	ids, err := r.rdb.ZRange(ctx, r.keys.open(), 0, -1).Result()
	if err != nil {
		return nil, err
	}
	for batch := range slices.Chunk(ids, openBatch) {
		some, err := r.meetings(ctx, batch)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// Load returns one meeting with the people of its open session, or
// [meeting.ErrNotFound]. While somebody else commits, the people may be those
// of the next version.
func (r *Redis) Load(ctx context.Context, id string) (_ meeting.Meeting, err error) {
	defer r.measure(opLoad, time.Now(), &err)
	found, err := r.meetings(ctx, []string{id})
	switch {
	case err != nil:
		return meeting.Meeting{}, err
	case len(found) == 0:
		return meeting.Meeting{}, r.notFound(ctx)
	}
	return found[0], nil
}

// Over returns those of the meetings that have both ended and closed, or are not
// there.
func (r *Redis) Over(ctx context.Context, meetings []string) (over map[string]bool, err error) {
	defer r.measure(opOpen, time.Now(), &err)
	over = map[string]bool{}
	for batch := range slices.Chunk(meetings, openBatch) {
		found, err := r.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, id := range batch {
				p.ZScore(ctx, r.keys.open(), id)
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, err
		}
		for i, score := range found {
			over[batch[i]] = errors.Is(score.Err(), redis.Nil)
		}
	}
	return over, r.checkNow(ctx)
}

// List returns a page of the meetings chosen, each with the people of its open
// session, and the cursor of the next page, empty at the end. The newest comes
// first: by creation, or by end when only those that have ended are chosen.
//
// A call looks at limit meetings (1 to [MaxPage]) of one index, whatever they
// are; one of a room, else one of a state, else of all. So a page may hold
// fewer than limit, even none, while there is a next one.
func (r *Redis) List(ctx context.Context, f meeting.Filter, cursor string, limit int) (page []meeting.Meeting, next string, err error) {
	defer r.measure(opList, time.Now(), &err)
	ids, next, err := r.chosen(ctx, f, cursor, pageSize(limit))
	if err == nil {
		err = r.checkNow(ctx)
	}
	if err != nil {
		return nil, "", err
	}
	page, err = r.meetings(ctx, ids)
	return slices.DeleteFunc(page, func(m meeting.Meeting) bool { return !f.Matches(m) }), next, err
}

// chosen returns the ids of a page out of the index that fits the filter best.
func (r *Redis) chosen(ctx context.Context, f meeting.Filter, cursor string, limit int) (ids []string, next string, err error) {
	switch {
	case f.ExternalID != "":
		id, err := r.rdb.Get(ctx, r.keys.external(f.ExternalID)).Result()
		if errors.Is(err, redis.Nil) || cursor != "" {
			return nil, "", nil
		}
		return []string{id}, "", err
	case f.Room != "":
		return r.pageByEnd(ctx, r.keys.room(f.Room), cursor, limit)
	case f.State == meeting.StateEnded:
		return r.pageByEnd(ctx, r.keys.inState(f.State), cursor, limit)
	case f.State != "":
		return r.pageByID(ctx, r.keys.inState(indexOf(f.State)), f, cursor, limit)
	}
	return r.pageByID(ctx, r.keys.meetings(), f, cursor, limit)
}

// pageByID pages through an index whose scores are equal, as far as the filter's
// times go: ids begin with their time. A cursor stays good when its meeting leaves
// the index.
func (r *Redis) pageByID(ctx context.Context, key string, f meeting.Filter, cursor string, limit int) (ids []string, next string, err error) {
	newest, oldest := "+", "-"
	if !f.CreatedAfter.IsZero() {
		oldest = "[" + meeting.FirstID("mtg_", f.CreatedAfter)
	}
	if cursor != "" {
		newest = "(" + cursor
	} else if !f.CreatedBefore.IsZero() {
		newest = "(" + meeting.FirstID("mtg_", f.CreatedBefore)
	}
	ids, err = r.rdb.ZRangeArgs(ctx, redis.ZRangeArgs{
		Key: key, Start: newest, Stop: oldest, ByLex: true, Rev: true, Count: int64(limit) + 1,
	}).Result()
	return cut(ids, limit, err)
}

// maxScore stands for +inf in a cursor, which takes no plus sign.
const maxScore = 1e15

// pageByEnd pages through an index by the time of the end. A cursor is an entry and
// its score, by which it goes on where the entry has been deleted.
func (r *Redis) pageByEnd(ctx context.Context, key, cursor string, limit int) (ids []string, next string, err error) {
	var from int64
	if cursor != "" {
		id, score, _ := strings.Cut(cursor, ":")
		from, err = r.rdb.ZRevRank(ctx, key, id).Result()
		from++
		_, noScore := strconv.ParseInt(score, 10, 64)
		switch gone := errors.Is(err, redis.Nil); {
		case gone && noScore != nil:
			return nil, "", nil
		case gone:
			from, err = r.rdb.ZCount(ctx, key, "("+score, "+inf").Result()
		}
		if err != nil {
			return nil, "", err
		}
	}
	found, err := r.rdb.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
		Key: key, Start: from, Stop: from + int64(limit), Rev: true,
	}).Result()
	for _, entry := range found {
		ids = append(ids, fmt.Sprint(entry.Member))
	}
	ids, next, err = cut(ids, limit, err)
	if next != "" {
		next = fmt.Sprintf("%s:%.0f", next, min(found[limit-1].Score, maxScore))
	}
	return ids, next, err
}

// cut shortens ids, of which one more than limit was asked for, and returns the
// cursor of what follows.
func cut(ids []string, limit int, err error) (page []string, next string, _ error) {
	if len(ids) <= limit {
		return ids, "", err
	}
	return ids[:limit], ids[limit-1], err
}

// meetings reads meetings with the people of their open sessions, in the order
// of the ids. One that has expired is left out.
func (r *Redis) meetings(ctx context.Context, ids []string) ([]meeting.Meeting, error) {
	all, err := readAll[meeting.Meeting](ctx, r, "meeting", ids, func(p redis.Pipeliner, id string) *redis.StringCmd {
		return p.HGet(ctx, r.keys.meeting(id), "json")
	})
	if err == nil {
		err = r.addPeople(ctx, all)
	}
	return all, err
}

// addPeople reads the people of the meetings' open sessions.
func (r *Redis) addPeople(ctx context.Context, all []meeting.Meeting) error {
	stored := make([]*redis.MapStringStringCmd, len(all))
	_, _ = r.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, m := range all {
			if m.Session.ID != "" {
				stored[i] = p.HGetAll(ctx, r.keys.people(m.Session.ID))
			}
		}
		return nil
	}) // its error is that of one of the values
	for i, s := range stored {
		if s == nil {
			continue
		}
		switch err := s.Err(); {
		case wrongType(err):
			r.leaveOut("people of session", all[i].Session.ID, err)
		case err != nil:
			return err
		}
		all[i].People, all[i].Left = meeting.AtHand(r.decodePeople(s.Val()))
	}
	return nil
}

// readAll reads one value for each id in one round trip, and returns those that
// are there, in order. What cannot be read is left out.
func readAll[T any](ctx context.Context, r *Redis, kind string, ids []string, get func(redis.Pipeliner, string) *redis.StringCmd) (all []T, err error) {
	values := make([]*redis.StringCmd, len(ids))
	_, _ = r.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			values[i] = get(p, id)
		}
		return nil
	}) // its error is that of one of the values
	for i, value := range values {
		data, err := value.Result()
		switch {
		case err == nil:
			if v, ok := readable[T](r, kind, ids[i], data); ok {
				all = append(all, v)
			}
		case errors.Is(err, redis.Nil): // has expired
		case wrongType(err):
			r.leaveOut(kind, ids[i], err)
		default:
			return nil, err
		}
	}
	return all, nil
}

// read decodes what was stored under an id; [meeting.ErrNotFound] if there is
// nothing.
func read[T any](ctx context.Context, r *Redis, id string, stored *redis.StringCmd) (v T, err error) {
	data, err := stored.Result()
	switch {
	case errors.Is(err, redis.Nil):
		return v, r.notFound(ctx)
	case err != nil:
		return v, err
	}
	return decode[T](data, id)
}

// decodePeople returns the people of a session in the order of joining.
func (r *Redis) decodePeople(stored map[string]string) []meeting.Participant {
	people := make([]meeting.Participant, 0, len(stored))
	for id, data := range stored {
		if p, ok := readable[meeting.Participant](r, "participant", id, data); ok {
			people = append(people, p)
		}
	}
	sortByJoining(people)
	return people
}

// Sessions returns a page of a meeting's sessions, newest first, and the cursor
// of the next page, empty at the end. Limit is from 1 to [MaxPage]. A meeting
// that does not exist has none.
func (r *Redis) Sessions(ctx context.Context, meetingID, cursor string, limit int) (page []meeting.Session, next string, err error) {
	defer r.measure(opSessions, time.Now(), &err)
	ids, next, err := r.pageByEnd(ctx, r.keys.sessions(meetingID), cursor, pageSize(limit))
	if err == nil {
		err = r.checkNow(ctx)
	}
	if err != nil {
		return nil, "", err
	}
	page, err = readAll[meeting.Session](ctx, r, "session", ids, func(p redis.Pipeliner, id string) *redis.StringCmd {
		return p.Get(ctx, r.keys.session(id))
	})
	return page, next, err
}

// Session returns one session, or [meeting.ErrNotFound].
func (r *Redis) Session(ctx context.Context, id string) (_ meeting.Session, err error) {
	defer r.measure(opSessions, time.Now(), &err)
	return read[meeting.Session](ctx, r, id, r.rdb.Get(ctx, r.keys.session(id)))
}

// Participants returns everybody of a session, also those who have left, in the
// order in which they first came in. A session that does not exist has none.
func (r *Redis) Participants(ctx context.Context, sessionID string) (_ []meeting.Participant, err error) {
	defer r.measure(opPeople, time.Now(), &err)
	stored, err := r.rdb.HGetAll(ctx, r.keys.people(sessionID)).Result()
	if err == nil && len(stored) == 0 {
		err = r.checkNow(ctx)
	}
	return r.decodePeople(stored), err
}
