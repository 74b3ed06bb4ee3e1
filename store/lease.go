package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/internal/sleep"
	"usher/meeting"
)

// Times of the lease. Whoever leads stops leaseDemote after it sent the last
// renewal that succeeded, and nobody else begins before LeaseTTL after Redis has
// carried that out, which is later. In the 3 s between what was under way ends:
// a call of Redis within longestCall, webhooks and streams sooner. A commit that
// Redis carries out later still is refused for its fencing number.
const (
	// LeaseTTL is how long a leader that has died keeps others waiting.
	LeaseTTL = 7 * time.Second
	// leaseRenew is the time between renewals, of which Redis hardly notices one a
	// second; the shorter, the longer Redis may be away.
	leaseRenew = time.Second
	// leaseRetry is the time between tries to renew it while Redis fails.
	leaseRetry = 100 * time.Millisecond
	// leaseDemote is long enough for Redis to fork or to fail over within: it may be
	// away for leaseDemote - leaseRenew - leaseRetry at any time.
	leaseDemote = 4 * time.Second
	// leasePoll is the time between tries to take the lease.
	leasePoll = 500 * time.Millisecond
)

// leaseTimes are the times above, and mirrorInterval; tests against a real Redis
// shorten them.
type leaseTimes struct{ ttl, renew, retry, demote, poll, mirror time.Duration }

var defaultLeaseTimes = leaseTimes{
	ttl: LeaseTTL, renew: leaseRenew, retry: leaseRetry, demote: leaseDemote, poll: leasePoll, mirror: mirrorInterval,
}

// ErrLeaseLost is why the context of a leader was cancelled.
var ErrLeaseLost = errors.New("store: lease lost")

// ErrNewerSchema says that a newer version of usher has written to the store, in
// a form that this one would damage.
var ErrNewerSchema = errors.New("store: Redis holds the state of a newer usher")

// schema is the version of the form in which all is stored (keys.go); one more
// with each change that an older version would damage.
const schema = 1

// newerSchema is acquireScript's answer that the store has a higher one.
const newerSchema = -2

// The scripts of the lease need no memory, so that a full Redis has a leader, who
// delivers what can then be removed: Redis refuses a script whose first write
// needs some, and lets the rest pass once one was accepted, even if it changes
// nothing. That is a DEL or a PEXPIRE here.

// acquireScript takes the lease and answers its fencing number, 0 when another
// has it, -1 when there is no state that it could be the lease of (epoch.go), and
// -2 when the schema is a newer one; the epoch, or the schema; and the run ids of
// Redis and of the one that the last leader began with (loss.go). ARGV: our lease,
// TTL in ms, the holder whose lease may be taken over or nothing, a new epoch,
// whether that may be the one of an empty store, and our schema.
//
// A lease that is ours already comes from a call that nobody waited for: Redis
// hung, and carried it out later.
//
// A store that has a fence and no epoch is an older version's. One that was
// being written anew by a leader who is gone is taken as it is.
//
// Fencing numbers grow with Redis's clock, so that a Redis that was emptied
// gives out higher ones still.
var acquireScript = redis.NewScript(runID + `
local held, fence, epoch, stored = unpack(redis.call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4]))
epoch = epoch or ''
if (tonumber(stored) or 0) > tonumber(ARGV[6]) then
  return {-2, stored}
end
if held and held ~= ARGV[1] and not (ARGV[3] ~= '' and string.match(held, '^(.*) %S+$') == ARGV[3]) then
  return {0, epoch}
end
if epoch == '' and not fence and ARGV[5] ~= '1' then
  return {-1, ''}
end
redis.call('DEL', KEYS[1])
if epoch == '' or string.sub(epoch, 1, 1) == '?' then
  epoch = ARGV[4]
  redis.call('SET', KEYS[3], epoch)
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
fence = math.max((tonumber(fence) or 0) + 1, now)
redis.call('SET', KEYS[2], string.format('%.0f', fence))
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[4], ARGV[6])
return {fence, epoch, run, redis.call('HGET', KEYS[5], 'run_id') or ''}
`)

// renewScript answers 1 if the lease is still ours, else 0, and the epoch. ARGV:
// our lease, TTL in ms, fencing number, the epoch that we know (anyEpoch, to have
// all written anew), that of a store which has lost it and is to be written anew, and
// our schema. A lease that is gone although nobody led after us is taken again:
// Redis was emptied, or slow.
var renewScript = redis.NewScript(`
local held, fence, epoch = unpack(redis.call('MGET', KEYS[1], KEYS[2], KEYS[3]))
epoch = epoch or ''
if held and held ~= ARGV[1] or (tonumber(fence) or 0) > tonumber(ARGV[3]) then
  return {0, epoch}
end
if redis.call('PEXPIRE', KEYS[1], ARGV[2]) == 0 then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  redis.call('SET', KEYS[2], ARGV[3])
end
if epoch ~= ARGV[4] and string.sub(epoch, 1, 1) ~= '?' then
  epoch = ARGV[5]
  redis.call('SET', KEYS[3], epoch)
  redis.call('SET', KEYS[4], ARGV[6])
  ` + runID + `
  redis.call('HSETNX', KEYS[5], 'run_id', run)
end
return {1, epoch}
`)

// releaseScript gives the lease back if it is ours, and notes that its leader has
// stopped in order, unless this Redis may have lost something that is still to be
// made up for. ARGV: our lease.
var releaseScript = redis.NewScript(runID + `
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  if redis.call('HGET', KEYS[5], 'run_id') == run then
    redis.call('HSET', KEYS[5], 'run_id', '` + stoppedRun + `')
  end
end
return {1}
`)

// Lead waits until this process may lead its site, runs led, and gives the
// lease back when led has returned.
//
// When the lease is lost, the context of led is cancelled with [ErrLeaseLost]
// as its cause; once led has returned, Lead waits for the lease again. It does
// the same when led returns [meeting.ErrFenced]. Any other outcome of led is
// returned, and nil when ctx ends while waiting; [ErrNewerSchema] when a newer
// version of usher has led the site.
//
// Commits carry the fencing number of the lease taken last, so those of a
// leader that does not know yet that another leads are refused.
//
// rewrite writes all meetings at hand anew with their people and recordings,
// until its ctx ends. It is called while led runs, whenever the store has lost
// its state; [meeting.ErrUnavailable] means that the meetings are being loaded.
// Endpoints, keys and links are written anew besides.
//
// holder names this process among those of the site. A lease that a process of
// the same name has left behind is taken over without waiting when Lead is
// called; from a namesake that is alive it is taken once, and not back.
func (r *Redis) Lead(ctx context.Context, holder string, led, rewrite func(ctx context.Context) error) error {
	lease, takeover := holder+" "+rand.Text(), holder
	for {
		t, err := r.waitForLease(ctx, lease, takeover)
		if err != nil || ctx.Err() != nil {
			return err
		}
		takeover = ""
		err = r.leadFor(ctx, t, led, rewrite)
		if !errors.Is(err, ErrLeaseLost) && !errors.Is(err, meeting.ErrFenced) {
			return err
		}
		r.log.Warn("no longer leading", "err", err)
	}
}

// term is one stretch of leading.
type term struct {
	lease       string // holder and a nonce of this process
	fence       int64
	epoch       string    // of the store at its beginning
	run, before string    // run ids of Redis, and of the one that the last leader began with
	sent        time.Time // when the request that got the lease was sent
}

// waitForLease returns once the lease is ours, or ctx has ended. An empty store
// is begun anew once no leader can be left that holds what was in it (epoch.go).
func (r *Redis) waitForLease(ctx context.Context, lease, takeover string) (term, error) {
	said := ""
	say := func(msg string, args ...any) {
		if said != msg {
			said = msg
			r.log.Info(msg, args...)
		}
	}
	var missing time.Time // when the store was first seen to be empty
	for ctx.Err() == nil {
		sent := time.Now()
		fresh := newEpoch()
		begin := !missing.IsZero() && sent.Sub(missing) >= r.times.ttl
		fence, texts, err := r.lease(ctx, acquireScript, lease, r.times.ttl.Milliseconds(), takeover, fresh, begin, schema)
		epoch := texts[0]
		switch {
		case err != nil:
			say("cannot ask for the lease", "err", err)
		case fence == newerSchema:
			return term{}, fmt.Errorf("%w: it is of schema %s, and this program knows %d; run the newer version, or restore a backup from before it", ErrNewerSchema, epoch, schema)
		case fence < 0:
			say("the store is empty: waiting for a leader that may hold its state", "wait", r.times.ttl)
			if missing.IsZero() {
				missing = time.Now()
			}
		case fence == 0:
			missing = time.Time{}
			_ = r.check(epoch) // so that this process knows of it
			say("another process leads, standing by")
		default:
			if was := r.epoch.Swap(&epoch); epoch == fresh && was != nil {
				r.noteReset("the store was emptied", "nobody holds any more all that was in it")
			}
			r.fence.Store(fence)
			r.log.Info("leading", "lease", lease, "fence", fence)
			return term{lease, fence, epoch, texts[1], texts[2], sent}, nil
		}
		sleep.For(ctx, r.times.poll)
	}
	return term{}, nil
}

// leadFor runs led for as long as the lease is ours, and returns its error, or
// why the lease was lost.
func (r *Redis) leadFor(ctx context.Context, t term, led, rewrite func(context.Context) error) error {
	leading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.metrics.leader.Set(1)
	defer r.metrics.leader.Set(0)

	var renewing sync.WaitGroup
	u := &upkeep{Redis: r, term: t, meetings: rewrite, epoch: t.epoch, runID: t.run}
	u.known.Store(&t.epoch)
	renewing.Go(func() {
		if err := u.run(leading); err != nil {
			cancel(err)
		}
	})
	renewing.Go(func() {
		cancel(keep(leading, r.times, t.sent, func(ctx context.Context) (bool, error) {
			return u.renew(ctx, *u.known.Load())
		}))
	})
	err := r.begin(leading, t)
	if err == nil {
		u.begun.Store(true)
		err = led(leading)
	}
	cancel(nil)
	renewing.Wait()

	if lost := context.Cause(leading); errors.Is(lost, ErrLeaseLost) {
		return lost
	}
	// Told to stop or not, let another begin at once. If this fails the lease
	// runs out by itself.
	releasing, done := context.WithTimeout(context.WithoutCancel(ctx), r.times.poll)
	defer done()
	if _, _, err := r.lease(releasing, releaseScript, t.lease); err != nil {
		r.log.Warn("cannot give the lease back", "err", err)
	}
	return err
}

// lease runs one of the scripts above, which answer a number and up to three
// texts.
func (r *Redis) lease(ctx context.Context, script *redis.Script, args ...any) (answer int64, texts [3]string, err error) {
	defer r.measure(opLease, time.Now(), &err)
	keys := []string{r.keys.leader(), r.keys.fence(), r.keys.epoch(), r.keys.schema(), r.keys.redis()}
	values, err := script.Run(ctx, r.rdb, keys, args...).Slice()
	if len(values) > 0 {
		answer, _ = values[0].(int64)
	}
	for i := range texts {
		if i+1 < len(values) {
			texts[i], _ = values[i+1].(string)
		}
	}
	return answer, texts, err
}

// keep renews a lease that was asked for at the given time. It returns nil when
// ctx ends, and an error that wraps ErrLeaseLost when the lease is or may soon
// be somebody else's.
//
// Time is that of the monotonic clock, and each renewal counts from when it was
// sent: no later than Redis counts from.
func keep(ctx context.Context, times leaseTimes, sent time.Time, renew func(context.Context) (bool, error)) error {
	wait := times.renew
	for {
		if !sleep.For(ctx, wait) {
			return nil
		}
		try := time.Now()
		asking, cancel := context.WithDeadline(ctx, sent.Add(times.demote))
		held, err := renew(asking)
		cancel()
		switch {
		case err == nil && held:
			sent, wait = try, times.renew
		case err == nil:
			return fmt.Errorf("%w: another process leads", ErrLeaseLost)
		case ctx.Err() != nil:
			return nil
		case time.Since(sent) >= times.demote:
			return fmt.Errorf("%w: not renewed for %v: %w", ErrLeaseLost, times.demote, err)
		default:
			wait = min(times.retry, time.Until(sent.Add(times.demote)))
		}
	}
}
