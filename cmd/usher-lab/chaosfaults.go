package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"usher/internal/sleep"
)

// fault is something that goes wrong for a while. All is healed when run
// returns, early when ctx ends.
type fault struct {
	name        string
	least, most time.Duration // how long it lasts
	run         func(ctx context.Context, c *chaosSite, f occurrence) error
}

// occurrence is one time that a fault happens.
type occurrence struct {
	lasts  time.Duration
	random *rand.Rand
}

const (
	// epochKey names the state in Redis; while that is written anew it begins
	// with "?" (store/epoch.go).
	epochKey = "usher:{main}:epoch"
	// queuedKeys and queueKeys begin the names of what waits for an endpoint: the
	// set of meetings with events, and the list of these of one meeting.
	queuedKeys, queueKeys = "usher:{main}:queued:", "usher:{main}:queue:"
	// flushWindow is how long before FLUSHALL an event may have been committed
	// that is lost with it because its delivery was waiting.
	flushWindow = 10 * time.Second
	// slowLeast and slowMost are what a slow connection adds to each piece.
	slowLeast, slowMost = 5 * time.Millisecond, 200 * time.Millisecond
)

// faults are those of a run.
var faults = []fault{
	{"usher-kill-leader", 0, 3 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return c.restart(ctx, syscall.SIGKILL, f.lasts, c.leading(ctx))
	}},
	{"usher-kill-standby", 0, 3 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return c.restart(ctx, syscall.SIGKILL, f.lasts, c.standby(ctx))
	}},
	{"usher-kill-both", 0, 3 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return c.restart(ctx, syscall.SIGKILL, f.lasts, c.ushers...)
	}},
	{"usher-term-leader", 0, 3 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		u := c.leading(ctx)
		// One that has just been started does not listen to signals yet.
		if err := u.until(ctx, func() (bool, error) { _, err := u.metrics(ctx); return err == nil, nil }); err != nil {
			return err
		}
		return c.restart(ctx, syscall.SIGTERM, f.lasts, u)
	}},
	{"usher-stop-leader", time.Second, 20 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return freeze(ctx, c.leading(ctx), f.lasts)
	}},
	{"usher-stop-standby", time.Second, 10 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return freeze(ctx, c.standby(ctx), f.lasts)
	}},
	{"redis-kill", 0, 5 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		c.tail.restarted()
		c.redis.Kill()
		sleep.For(ctx, f.lasts)
		return c.startRedis(ctx)
	}},
	{"redis-stop", time.Second, 15 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		c.redis.Signal(syscall.SIGSTOP)
		sleep.For(ctx, f.lasts)
		c.redis.Signal(syscall.SIGCONT)
		return nil
	}},
	{"redis-full", time.Second, 10 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		err := c.rdb.ConfigSet(ctx, "maxmemory", "1mb").Err()
		sleep.For(ctx, f.lasts)
		return errors.Join(err, c.rdb.ConfigSet(ctx, "maxmemory", "0").Err())
	}},
	{"redis-flush", 0, 0, func(ctx context.Context, c *chaosSite, _ occurrence) error {
		// Emptied while nobody leads is outside the guarantee.
		if err := c.recovered(ctx); err != nil {
			return err
		}
		if err := c.tail.empty(ctx, flushWindow); err != nil {
			return err
		}
		// So is one whose leader dies before it has written anew what nobody else holds.
		return c.wait(ctx, "written anew", func() string {
			epoch, err := c.rdb.Get(ctx, epochKey).Result()
			if err != nil || strings.HasPrefix(epoch, "?") {
				return fmt.Sprintf("the epoch is %q (%v)", epoch, err)
			}
			return ""
		})
	}},
	{"redis-rollback", time.Second, 4 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return c.rollBack(ctx, f.lasts)
	}},
	{"prosody-stop", time.Second, 25 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		c.prosody.Signal(syscall.SIGSTOP)
		sleep.For(ctx, f.lasts)
		c.prosody.Signal(syscall.SIGCONT)
		return nil
	}},
	{"prosody-kill", 0, 5 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return c.killProsody(ctx, f.lasts)
	}},
	{"component-cut", 0, 0, func(_ context.Context, c *chaosSite, _ occurrence) error { c.component.cut(); return nil }},
	{"component-stall", time.Second, 15 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return stalled(ctx, c.component, f)
	}},
	{"component-slow", time.Second, 10 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return c.slowed(ctx, c.component, f)
	}},
	{"client-cut", 0, 0, func(_ context.Context, c *chaosSite, _ occurrence) error { c.client.cut(); return nil }},
	{"client-stall", time.Second, 15 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return stalled(ctx, c.client, f)
	}},
	{"client-slow", time.Second, 10 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return c.slowed(ctx, c.client, f)
	}},
	{"store-cut", 0, 0, func(_ context.Context, c *chaosSite, _ occurrence) error { c.store.cut(); return nil }},
	{"store-stall", time.Second, 15 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return stalled(ctx, c.store, f)
	}},
	{"store-slow", time.Second, 10 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return c.slowed(ctx, c.store, f)
	}},
	{"jibri-kill", 0, 5 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return c.killJibri(ctx, f)
	}},
	{"receiver-hang", time.Second, 15 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return c.misbehave(ctx, f, func(r *chaosReceiver) func() { return r.hang() })
	}},
	{"receiver-503", time.Second, 15 * time.Second, func(ctx context.Context, c *chaosSite, f occurrence) error {
		return c.misbehave(ctx, f, func(r *chaosReceiver) func() { return r.refuse(http.StatusServiceUnavailable) })
	}},
}

// between returns a random duration.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)+1))
}

// leading returns the usher that leads, the first one while none does.
func (c *chaosSite) leading(ctx context.Context) *measuredUsher {
	if u := c.leader(ctx); u != nil {
		return u
	}
	return c.ushers[0]
}

// standby returns the other one.
func (c *chaosSite) standby(ctx context.Context) *measuredUsher {
	if c.leading(ctx) == c.ushers[0] {
		return c.ushers[1]
	}
	return c.ushers[0]
}

// restart ends the ushers and starts them after a pause. In good order they end
// without an error.
func (c *chaosSite) restart(ctx context.Context, sig syscall.Signal, pause time.Duration, ushers ...*measuredUsher) error {
	var errs []error
	for _, u := range ushers {
		if err := u.end(sig); err != nil && sig == syscall.SIGTERM && ctx.Err() == nil {
			errs = append(errs, fmt.Errorf("an usher that was asked to stop: %w", err))
		}
	}
	sleep.For(ctx, pause)
	for _, u := range ushers {
		errs = append(errs, u.spawn(ctx))
	}
	return errors.Join(errs...)
}

// freeze stops an usher for a while, with its connections open.
func freeze(ctx context.Context, u *measuredUsher, d time.Duration) error {
	err := u.cmd.Process.Signal(syscall.SIGSTOP)
	sleep.For(ctx, d)
	return errors.Join(err, u.cmd.Process.Signal(syscall.SIGCONT))
}

// startRedis starts Redis after its end. Whoever only kills it loses nothing:
// with appendfsync=everysec it may put off for two seconds what it has
// acknowledged, which a rollback is for.
func (c *chaosSite) startRedis(ctx context.Context) error {
	if err := c.redis.Restart(ctx); err != nil {
		return err
	}
	// After many refused connections go-redis refuses by itself for up to a second.
	return c.wait(ctx, "set up again", func() string {
		if err := c.rdb.ConfigSet(ctx, "appendfsync", "no").Err(); err != nil {
			return err.Error()
		}
		return ""
	})
}

// rollBack is a power loss: both ushers end at once, and Redis has lost what it
// was told in the last seconds.
func (c *chaosSite) rollBack(ctx context.Context, by time.Duration) error {
	files, copied := filepath.Join(c.dir, "redis", "appendonlydir"), filepath.Join(c.dir, "rolled-back")
	// The files belong together only while Redis does not write them anew.
	if err := c.wait(ctx, "not rewriting its files", func() string {
		if err := c.rdb.ConfigSet(ctx, "auto-aof-rewrite-percentage", "0").Err(); err != nil {
			return err.Error()
		}
		info, err := c.rdb.InfoMap(ctx, "persistence").Result()
		if state := info["Persistence"]; err != nil || state["aof_rewrite_in_progress"] != "0" || state["aof_rewrite_scheduled"] != "0" {
			return fmt.Sprint(state, err)
		}
		return ""
	}); err != nil {
		return err
	}
	from := time.Now()
	if err := errors.Join(os.RemoveAll(copied), os.CopyFS(copied, os.DirFS(files))); err != nil {
		return err
	}
	sleep.For(ctx, by)
	for _, u := range c.ushers {
		u.kill()
	}
	if err := c.tail.read(ctx); err != nil {
		return err
	}
	c.tail.restarted()
	c.redis.Kill()
	c.tail.lose(from, time.Now())
	err := errors.Join(os.RemoveAll(files), os.Rename(copied, files))
	if err == nil {
		err = c.startRedis(ctx)
	}
	for _, u := range c.ushers {
		err = errors.Join(err, u.spawn(ctx))
	}
	return err
}

// killProsody ends Prosody, and with it everybody's stay; others come when it
// is back.
func (c *chaosSite) killProsody(ctx context.Context, d time.Duration) error {
	_ = c.stopChurn() // fails when Prosody has gone first
	c.prosody.Kill()
	c.crowd.Close()
	sleep.For(ctx, d)
	if err := c.prosody.Restart(ctx); err != nil {
		return err
	}
	if err := c.focus.WaitUp(ctx); err != nil {
		return err
	}
	if err := c.fill(ctx, chaosRooms, chaosPer); err != nil {
		return err
	}
	c.churn(ctx)
	return nil
}

// stalled keeps all bytes back for a while.
func stalled(ctx context.Context, p *faultyProxy, f occurrence) error {
	resume := p.stall()
	defer resume()
	sleep.For(ctx, f.lasts)
	return nil
}

// slowed delays all bytes for a while.
func (c *chaosSite) slowed(ctx context.Context, p *faultyProxy, f occurrence) error {
	by := between(f.random, slowLeast, slowMost)
	c.say("  each piece by %d ms", by.Milliseconds())
	p.slow(by)
	defer p.slow(0)
	sleep.For(ctx, f.lasts)
	return nil
}

// misbehave lets one of the apps, never the first, misbehave for a while.
func (c *chaosSite) misbehave(ctx context.Context, f occurrence, how func(*chaosReceiver) (heal func())) error {
	r := c.receivers[1+f.random.IntN(len(c.receivers)-1)]
	c.say("  %s", r.name)
	defer how(r)()
	sleep.For(ctx, f.lasts)
	return nil
}
