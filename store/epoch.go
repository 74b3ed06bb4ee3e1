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
// notices with the next call that finds something missing, within a second where
// nobody calls, and writes everything anew; until that is done the epoch begins
// with rewritePrefix. Losing it once more in the middle shows,
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
func (r *Redis) Begin(ctx context.Context) (err error) {
	defer r.measure(opEpoch, time.Now(), &err)
	err = r.rdb.SetArgs(ctx, r.keys.epoch(), newEpoch(), redis.SetArgs{Mode: "NX"}).Err()
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
	if err := r.checkNow(ctx); err != nil {
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

// noteReset notes that the store had lost its state, for metrics, log and
// [Redis.Findings].
func (r *Redis) noteReset(cause, outcome string, args ...any) {
	r.metrics.resets.Inc()
	r.log.Error("store.reset: "+cause, append([]any{"outcome", outcome}, args...)...)
	text := fmt.Sprintf("store.reset: %s before %s; %s", cause, time.Now().UTC().Format(time.RFC3339), outcome)
	r.reset.Store(&text)
}

// fullNoted is how long Redis counts as full after it refused something. What
// is to be stored is tried again every few seconds.
const fullNoted = time.Minute

// Finding is something that an operator should know although the store works.
type Finding struct {
	Seen string
	Do   string // what mends it
}

// Findings returns what this process has come across; nothing when all is well.
func (r *Redis) Findings() []Finding {
	var all []Finding
	if text := r.reset.Load(); text != nil {
		all = append(all, Finding{*text, "find out what emptied Redis; this is said until usher is started anew"})
	}
	if time.Since(time.Unix(r.full.Load(), 0)) < fullNoted {
		all = append(all, Finding{"Redis is full: it refuses what needs memory", "give it more (maxmemory), or remove what else it holds"})
	}
	if text := r.unreadable.finding(); text != "" {
		all = append(all, Finding{text, "the log says why of each; restore it from a backup, or delete it"})
	}
	return all
}
