package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/internal/sleep"
	"usher/meeting"
)

// A Redis that crashes may lose its latest changes (a second of them with
// appendfsync everysec), and so may one that fails over to its replica. The next
// leader would give out sequence numbers again that endpoints have seen with other
// events. It finds out by the run id, which is another one whenever Redis has
// started or a replica has taken over: the store keeps the one of the Redis that is
// known to have all, or stoppedRun once a leader has stopped in order. That is the
// last that it writes, and only over the run id of the Redis that it stops on: a
// loss that it has not made up for stays noted. (What is lost within a second after
// a takeover, with both processes, is not noticed where the one before had stopped.)
//
// A leader that lives on knows what it has committed. If all of that is there, so
// is all before it, because Redis loses what came last; then it notes the new run
// id. Else it writes anew what it holds, as to an emptied store (epoch.go), and
// leads anew, as after a crash: what had ended meanwhile is open again in Redis,
// and events may be lost that it had no room for in memory.

const (
	// stoppedRun stands in place of the run id when nothing followed it.
	stoppedRun = "stopped"
	// lostRun stands there when Redis is known to have lost something.
	lostRun = "lost"
	// seqJump is how far the sequence numbers of a meeting jump at least when some
	// may be lost: more than a meeting has events in what Redis can lose.
	seqJump = 1_000_000
	// seqPerMS times the fencing number, which is Redis's clock in milliseconds, is
	// where they jump to at least: Redis may lose a jump, too, and the next one from
	// the same number has to lead past all that was given out after that one. No
	// meeting has as many events in a millisecond, and JavaScript's numbers hold it
	// until the year 2255.
	seqPerMS = 1000
	// markBatch is how many fields are written in one script: some hundred
	// kilobytes of meetings.
	markBatch = 100
)

// runID is Lua for the run id of this Redis, nothing where asking is not allowed.
const runID = `
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
`

// setFieldsScript sets fields of hashes. KEYS: fence, then a hash for each field.
// ARGV: fencing number, then fields and values.
var setFieldsScript = redis.NewScript(`
if (tonumber(redis.call('GET', KEYS[1])) or 0) > tonumber(ARGV[1]) then
  return 0
end
redis.call('HDEL', KEYS[2], '') -- needs no memory, so a full Redis accepts the rest
for i = 2, #KEYS do
  redis.call('HSET', KEYS[i], ARGV[2 * i - 2], ARGV[2 * i - 1])
end
return 1
`)

// field is a field of a hash.
type field struct {
	key, name string
	value     []byte
}

// begin makes up for what Redis may have lost since the last leader: sequence
// numbers of open meetings jump, and their next event to each endpoint says gap.
// Whoever dies in the middle leaves it to the next, who makes them jump once
// more. It blocks until that is stored or ctx ends. Error: [meeting.ErrFenced].
func (r *Redis) begin(ctx context.Context, t term) error {
	for {
		err := r.storeJumps(ctx, t)
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, meeting.ErrUnavailable) {
			return err
		}
		sleep.For(ctx, r.times.poll)
	}
}

func (r *Redis) storeJumps(ctx context.Context, t term) (err error) {
	var fields []field
	if t.before == lostRun || t.run != "" && t.before != "" && t.before != t.run && t.before != stoppedRun {
		r.log.Warn("Redis was restarted and may have lost the latest changes: sequence numbers jump, and events say gap")
		if fields, err = r.jumps(ctx, t.fence); err != nil {
			return err
		}
	}
	fields = append(fields, field{r.keys.redis(), "run_id", []byte(t.run)}) // the last one
	for batch := range slices.Chunk(fields, markBatch) {
		if err := r.setFields(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// jumps returns what has to be stored of open meetings and of the retries of
// endpoints.
func (r *Redis) jumps(ctx context.Context, fence int64) (fields []field, err error) {
	open, err := r.Open(ctx)
	if err != nil {
		return nil, err
	}
	for i := range open {
		m := &open[i]
		m.Seq = max(m.Seq+seqJump, seqPerMS*fence)
		fields = append(fields, field{r.keys.meeting(m.ID), "json", encode(*m)})
	}
	endpoints, err := r.QueuedEndpoints(ctx)
	if err != nil {
		return nil, err
	}
	defer r.measure(opQueue, time.Now(), &err)
	for _, id := range endpoints {
		stored, err := r.rdb.HGetAll(ctx, r.keys.retry(id)).Result()
		if err != nil {
			return nil, err
		}
		for _, m := range open {
			retry, _ := decode[meeting.Retry](stored[m.ID], m.ID) // what cannot be read is begun anew
			// What waited already is older than what may be lost.
			retry.Gap, retry.GapUntil = true, m.Seq
			fields = append(fields, field{r.keys.retry(id), m.ID, encode(retry)})
		}
	}
	return fields, nil
}

func (r *Redis) setFields(ctx context.Context, fields []field) error {
	var keys []string
	var args []any
	for _, f := range fields {
		keys = append(keys, f.key)
		args = append(args, f.name, f.value)
	}
	return r.fenced(ctx, opLease, setFieldsScript, keys, args...)
}

// errChangesLost is why a leader leads anew that has written what it holds to a
// Redis that had lost its latest changes.
var errChangesLost = fmt.Errorf("%w: Redis has lost the latest changes", ErrLeaseLost)

// compare looks whether Redis has lost what this leader has committed, when a
// commit says so, or Redis was restarted or has failed over since begin was done,
// and notes what comes of it. run and noted are the run ids of Redis and of the one that has all.
func (u *upkeep) compare(ctx context.Context, run, noted string) error {
	if noted == run {
		u.runID = run // after an emptied store was written anew, too
	}
	behind := u.mirror.behind.Load()
	restarted := noted != run && run != ""
	if u.lost || !behind && !restarted {
		return nil
	}
	lost := behind || noted != u.runID
	if !lost {
		var err error
		if lost, err = u.behind(ctx); err != nil {
			return err
		}
	}
	if lost {
		run = lostRun
	}
	if err := u.setFields(ctx, []field{{u.keys.redis(), "run_id", []byte(run)}}); err != nil {
		return err
	}
	if lost {
		u.lost = true
		return nil
	}
	u.runID = run
	u.log.Info("Redis was restarted or has failed over, and has lost nothing")
	return nil
}

// behind reports whether Redis has an older version of a meeting than this leader
// has stored.
func (u *upkeep) behind(ctx context.Context) (bool, error) {
	stored := u.mirror.stored()
	for keys := range slices.Chunk(slices.Collect(maps.Keys(stored)), mirrorBatch) {
		versions := make([]*redis.StringCmd, len(keys))
		_, err := u.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, key := range keys {
				versions[i] = p.HGet(ctx, key, "version")
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return false, err
		}
		for i, key := range keys {
			if version, _ := versions[i].Int64(); version < stored[key] {
				return true, nil
			}
		}
	}
	return false, nil
}
