package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

// Times of the lease. Whoever leads stops five seconds before another may
// begin, which covers the time to let go of the XMPP streams.
const (
	// LeaseTTL is how long a leader that has died keeps others waiting.
	LeaseTTL = 15 * time.Second
	// leaseRenew is the time between renewals: two may fail.
	leaseRenew = 5 * time.Second
	// leaseDemote is how long after the sending of the last renewal that
	// succeeded a leader stops leading.
	leaseDemote = 10 * time.Second
	// leasePoll is the time between tries to take the lease, and between tries
	// to renew it while Redis fails.
	leasePoll = time.Second
)

// leaseTimes are the times above; tests against a real Redis shorten them.
type leaseTimes struct{ ttl, renew, demote, poll time.Duration }

var defaultLeaseTimes = leaseTimes{ttl: LeaseTTL, renew: leaseRenew, demote: leaseDemote, poll: leasePoll}

// ErrLeaseLost is why the context of a leader was cancelled.
var ErrLeaseLost = errors.New("store: lease lost")

// acquireScript takes the lease and answers its fencing number, 0 when another
// has it. ARGV: holder, TTL in ms, and the value of the lease that may be taken
// over; empty: one that a process of the same name has left behind.
//
// Fencing numbers grow with Redis's clock, so that a Redis that was emptied
// gives out higher ones still.
var acquireScript = redis.NewScript(`
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[3] and not (ARGV[3] == '' and string.match(held, '^(.*) %d+$') == ARGV[1]) then
  return 0
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local fence = math.max((tonumber(redis.call('GET', KEYS[2])) or 0) + 1, now)
local text = string.format('%.0f', fence)
redis.call('SET', KEYS[2], text)
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. text, 'PX', ARGV[2])
return fence
`)

// renewScript answers whether the lease is still ours. ARGV: value of the
// lease, fencing number, TTL in ms. A lease that is gone although nobody led
// after us is taken again: Redis was emptied, or slow.
var renewScript = redis.NewScript(`
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] or (tonumber(redis.call('GET', KEYS[2])) or 0) > tonumber(ARGV[2]) then
  return 0
end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 1
`)

// releaseScript gives the lease back if it is ours. ARGV: value of the lease.
var releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
`)

// Lead waits until this process may lead its site, runs led, and gives the
// lease back when led has returned.
//
// When the lease is lost, the context of led is cancelled with [ErrLeaseLost]
// as its cause; once led has returned, Lead waits for the lease again. It does
// the same when led returns [meeting.ErrFenced]. Any other outcome of led is
// returned, and nil when ctx ends while waiting.
//
// Commits carry the fencing number of the lease taken last, so those of a
// leader that does not know yet that another leads are refused.
//
// holder names this process among those of the site. A lease that a process of
// the same name has left behind is taken over without waiting when Lead is
// called; from a namesake that is alive it is taken once, and not back.
func (r *Redis) Lead(ctx context.Context, holder string, led func(ctx context.Context) error) error {
	var t term
	for {
		var ok bool
		if t, ok = r.waitForLease(ctx, holder, t.value); !ok {
			return nil
		}
		err := r.leadFor(ctx, t, led)
		if !errors.Is(err, ErrLeaseLost) && !errors.Is(err, meeting.ErrFenced) {
			return err
		}
		r.log.Warn("no longer leading", "err", err)
	}
}

// term is one stretch of leading.
type term struct {
	value string // of the lease
	fence int64
	sent  time.Time // when the request that got the lease was sent
}

// waitForLease returns once the lease is ours; false when ctx has ended. The
// lease of the term before may be there still: a Redis that hung carries out
// the renewals that nobody waited for.
func (r *Redis) waitForLease(ctx context.Context, holder, before string) (term, bool) {
	said := ""
	say := func(msg string, args ...any) {
		if said != msg {
			said = msg
			r.log.Info(msg, args...)
		}
	}
	for ctx.Err() == nil {
		sent := time.Now()
		fence, err := r.lease(ctx, acquireScript, holder, r.times.ttl.Milliseconds(), before)
		switch {
		case err != nil:
			say("cannot ask for the lease", "err", err)
		case fence == 0:
			say("another process leads, standing by")
		default:
			r.fence.Store(fence)
			r.log.Info("leading", "holder", holder, "fence", fence)
			return term{value: fmt.Sprintf("%s %d", holder, fence), fence: fence, sent: sent}, true
		}
		sleep(ctx, r.times.poll)
	}
	return term{}, false
}

// leadFor runs led for as long as the lease is ours, and returns its error, or
// why the lease was lost.
func (r *Redis) leadFor(ctx context.Context, t term, led func(context.Context) error) error {
	leading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.metrics.leader.Set(1)
	defer r.metrics.leader.Set(0)

	var renewing sync.WaitGroup
	renewing.Go(func() {
		cancel(keep(leading, r.times, t.sent, func(ctx context.Context) (bool, error) {
			held, err := r.lease(ctx, renewScript, t.value, t.fence, r.times.ttl.Milliseconds())
			return held == 1, err
		}))
	})
	err := led(leading)
	cancel(nil)
	renewing.Wait()

	if lost := context.Cause(leading); errors.Is(lost, ErrLeaseLost) {
		return lost
	}
	// Told to stop or not, let another begin at once. If this fails the lease
	// runs out by itself.
	releasing, done := context.WithTimeout(context.WithoutCancel(ctx), r.times.poll)
	defer done()
	if _, err := r.lease(releasing, releaseScript, t.value); err != nil {
		r.log.Warn("cannot give the lease back", "err", err)
	}
	return err
}

// lease runs one of the scripts above.
func (r *Redis) lease(ctx context.Context, script *redis.Script, args ...any) (answer int64, err error) {
	err = r.do(opLease, func() error {
		answer, err = script.Run(ctx, r.rdb, []string{r.keys.leader(), r.keys.fence()}, args...).Int64()
		return err
	})
	return answer, err
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
		sleep(ctx, wait)
		if ctx.Err() != nil {
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
			wait = min(times.poll, time.Until(sent.Add(times.demote)))
		}
	}
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
