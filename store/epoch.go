package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

// The epoch is a key that names the state in the store. It goes with the state
// when Redis is emptied, which tells "there is none" from "it was lost": who
// misses it believes nothing that is not there. The leader, who holds the state,
// notices at its next renewal and writes everything anew; until that is done
// the epoch begins with rewritePrefix. Losing it once more in the middle shows,
// because each time has an epoch of its own.
//
// A store without an epoch, fence or lease may be one whose leader has not
// noticed yet. So nobody takes the lease there for [LeaseTTL]: by then a leader
// that holds the state has renewed its lease, or has stopped leading.

// rewritePrefix begins the epoch of a store that is being written anew.
const rewritePrefix = "?"

func newEpoch() string { return rand.Text() }

// isWhole reports whether a store with such an epoch holds all it should.
func isWhole(epoch string) bool {
	return epoch != "" && !strings.HasPrefix(epoch, rewritePrefix)
}

// errReset says that the store was emptied and is not written anew yet. It may
// pass, as [meeting.ErrUnavailable] does.
var errReset = errors.New("store was emptied and is not written anew yet")

// Begin makes an empty store ready for its first leader, which else waits for
// [LeaseTTL]: another process might hold what the store has lost. So it is for a
// Redis that no other process has used.
func (r *Redis) Begin(ctx context.Context) error {
	err := r.do(opEpoch, func() error {
		return r.rdb.SetArgs(ctx, r.keys.epoch(), newEpoch(), redis.SetArgs{Mode: "NX"}).Err()
	})
	if errors.Is(err, redis.Nil) { // it has one
		err = nil
	}
	return err
}

// check takes in an epoch that was read, and returns errReset unless it is the
// one that this process knows. When the state was written anew since, that is
// said once: what was read before may not have been there yet.
func (r *Redis) check(epoch string) error {
	switch {
	case epoch == "" && r.epoch.Load() == nil:
		return nil // there never was one, as far as this process knows
	case !isWhole(epoch):
		return errReset
	}
	if was := r.epoch.Swap(&epoch); was != nil && *was != epoch {
		return errReset
	}
	return nil
}

// checkNow reads the epoch. Called after something was not found, or was
// listed, it says whether that may be believed.
func (r *Redis) checkNow(ctx context.Context) error {
	epoch, err := r.rdb.Get(ctx, r.keys.epoch()).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	return r.check(epoch)
}

// notFound returns [meeting.ErrNotFound], or that the store has lost its state.
func (r *Redis) notFound(ctx context.Context) error {
	if err := r.do(opEpoch, func() error { return r.checkNow(ctx) }); err != nil {
		return err
	}
	return meeting.ErrNotFound
}

// guarded makes a script that refuses to write to a store that has lost its
// state: what it wrote would contradict what is about to be written anew.
func guarded(body string) *redis.Script {
	return redis.NewScript(`
local epoch = redis.call('GET', KEYS[1]) or ''
if epoch == '' and ARGV[1] == '1' or string.sub(epoch, 1, 1) == '` + rewritePrefix + `' then
  return redis.error_reply('` + resetCode + ` no epoch')
end
local KEYS, ARGV = {unpack(KEYS, 2)}, {unpack(ARGV, 2)}
` + body)
}

// resetCode is the code of a script's answer that stands for errReset.
const resetCode = "RESET"

// runGuarded runs such a script. A process that has seen no epoch yet is not
// refused: its Redis may be new.
func (r *Redis) runGuarded(ctx context.Context, script *redis.Script, keys []string, args ...any) *redis.Cmd {
	return script.Run(ctx, r.rdb, append([]string{r.keys.epoch()}, keys...),
		append([]any{r.epoch.Load() != nil}, args...)...)
}

// restoreScript puts fields into a hash while the store is written anew. KEYS:
// epoch, fence, the hash. ARGV: epoch, fencing number, a field that must be
// there already or nothing, then fields and values.
var restoreScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] or (tonumber(redis.call('GET', KEYS[2])) or 0) > tonumber(ARGV[2]) then
  return redis.error_reply('` + resetCode + ` not this epoch')
end
if ARGV[3] == '' or redis.call('HEXISTS', KEYS[3], ARGV[3]) == 1 then
  redis.call('HSET', KEYS[3], unpack(ARGV, 4))
end
return 1
`)

// rewrittenScript says that all is written anew; it may be repeated. KEYS: epoch,
// fence. ARGV: epoch while writing, fencing number, epoch from now on.
var rewrittenScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[3] then
  return 1
end
if redis.call('GET', KEYS[1]) ~= ARGV[1] or (tonumber(redis.call('GET', KEYS[2])) or 0) > tonumber(ARGV[2]) then
  return redis.error_reply('` + resetCode + ` not this epoch')
end
redis.call('SET', KEYS[1], ARGV[3])
return 1
`)

// restoreBatch is how many fields one script puts back: of the largest, which
// are endpoints of some ten kilobytes, a megabyte.
const restoreBatch = 100

// rewrite writes an emptied store anew and reports whether it is whole then.
// epoch is the one that the renewal of the lease has put there. meetings writes
// all meetings with their people and recordings.
//
// When a process dies in the middle, what it has written is what its successor
// finds.
func (r *Redis) rewrite(ctx context.Context, t term, epoch string, meetings func(context.Context) error) bool {
	r.mirror.pause()
	r.log.Warn("the store was emptied, writing anew what is at hand")
	began := time.Now()
	err := r.rewriteAll(ctx, t, epoch, meetings)
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		r.log.Error("the store is not written anew yet", "err", err)
		return false
	}
	r.mirror.resume(strings.TrimPrefix(epoch, rewritePrefix))
	r.noteReset("what usher held is written anew; what had ended, the event log and events for endpoints that fail are lost")
	r.log.Info("the store is written anew", "took", time.Since(began))
	return true
}

// rewriteAll does so in the order in which one thing needs another: endpoints
// before events are routed to them, links into their meetings, and the epoch
// last.
func (r *Redis) rewriteAll(ctx context.Context, t term, epoch string, meetings func(context.Context) error) error {
	if err := r.restoreSettings(ctx, t, epoch); err != nil {
		return err
	}
	r.rewriteMeetings(ctx, meetings)
	if err := r.restoreLinks(ctx, t, epoch); err != nil {
		return err
	}
	return r.insist(ctx, func() error {
		return rewrittenScript.Run(ctx, r.rdb, []string{r.keys.epoch(), r.keys.fence()},
			epoch, t.fence, strings.TrimPrefix(epoch, rewritePrefix)).Err()
	})
}

// rewriteMeetings writes all meetings. What cannot be written in time goes on
// being tried, and must not keep everything else away.
func (r *Redis) rewriteMeetings(ctx context.Context, meetings func(context.Context) error) {
	limited, cancel := context.WithTimeout(ctx, r.times.ttl)
	defer cancel()
	for {
		err := meetings(limited)
		switch {
		case err == nil:
			return
		case limited.Err() != nil:
			r.log.Error("some meetings are not written anew yet", "err", err)
			return
		}
		sleep(limited, r.times.poll) // they are being loaded
	}
}

// restore puts fields back into a hash, which must have the field that is named.
func (r *Redis) restore(ctx context.Context, t term, epoch, key, having string, fields map[string]string) error {
	args := []any{epoch, t.fence, having}
	flush := func() error {
		if len(args) == 3 {
			return nil
		}
		defer func() { args = args[:3] }()
		return r.insist(ctx, func() error {
			return restoreScript.Run(ctx, r.rdb, []string{r.keys.epoch(), r.keys.fence(), key}, args...).Err()
		})
	}
	for field, value := range fields {
		if args = append(args, field, value); len(args) >= 3+2*restoreBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// insist makes a call until the store answers, for LeaseTTL at most.
func (r *Redis) insist(ctx context.Context, call func() error) error {
	deadline := time.Now().Add(r.times.ttl)
	for {
		err := r.do(opEpoch, call)
		if err == nil || !errors.Is(err, meeting.ErrUnavailable) || errors.Is(err, errReset) ||
			ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		sleep(ctx, r.times.poll)
	}
}

// noteReset notes that the store had lost its state, for metrics, log and
// [Redis.Findings].
func (r *Redis) noteReset(outcome string) {
	r.metrics.resets.Inc()
	r.log.Error("store.reset: the store was emptied", "outcome", outcome)
	text := fmt.Sprintf("store.reset: it was emptied before %s; %s", time.Now().UTC().Format(time.RFC3339), outcome)
	r.reset.Store(&text)
}

// Findings says what an operator should know although the store works; nothing
// when all is well.
func (r *Redis) Findings() []string {
	var all []string
	if text := r.reset.Load(); text != nil {
		all = append(all, *text)
	}
	if text := r.unreadable.finding(); text != "" {
		all = append(all, text)
	}
	return all
}
