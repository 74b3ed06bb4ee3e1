package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"usher/internal/sleep"
)

// died returns an error if an usher, or the people, have ended by themselves.
func (c *chaosSite) died() error {
	if err := c.churnFailure(); err != nil {
		return err
	}
	for _, u := range c.ushers {
		select {
		case <-u.ended:
			return fmt.Errorf("an usher has ended by itself, %v, see %s", u.cmd.ProcessState, u.log)
		default:
		}
	}
	return nil
}

// leader returns the usher that leads, nil: none says so.
func (c *chaosSite) leader(ctx context.Context) *measuredUsher {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, u := range c.ushers {
		if m, err := u.metrics(ctx); err == nil && m["usher_leader"] == 1 {
			return u
		}
	}
	return nil
}

const (
	// quietFor is how long nothing may be committed before a site counts as quiet.
	quietFor = 3 * time.Second
	// lookInterval is the pause between two looks at a site that recovers.
	lookInterval = 50 * time.Millisecond
)

// recovered blocks until an usher leads and sees all rooms, and everybody gets
// what is committed.
func (c *chaosSite) recovered(ctx context.Context) error {
	return c.wait(ctx, "recovered", func() string { return c.busy(ctx, recoveredBacklog) })
}

// recoveredBacklog is how many events may wait for a receiver that keeps up
// while people come and go: those of a second.
const recoveredBacklog = chaosRate

// quiet blocks until the site has recovered, everything is delivered, and nothing is
// committed any more. Nobody may come or go.
func (c *chaosSite) quiet(ctx context.Context) error {
	since, events := time.Now(), -1
	return c.wait(ctx, "quiet", func() string {
		committed, why := c.tail.events(), c.busy(ctx, 0)
		if why == "" && committed != events {
			why = "still commits"
		}
		if why != "" {
			since, events = time.Now(), committed
		} else if time.Since(since) < quietFor {
			why = "quiet for less than " + quietFor.String()
		}
		return why
	})
}

// wait blocks until nothing stands in the way of what is awaited.
func (c *chaosSite) wait(ctx context.Context, what string, obstacle func() string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, chaosPatience, fmt.Errorf("not %s within %v", what, chaosPatience))
	defer cancel()
	for {
		why := obstacle()
		if why == "" {
			return nil
		}
		sleep.For(ctx, lookInterval)
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %s", context.Cause(ctx), why)
		}
	}
}

// busy says what a site has not done yet that is to recover; empty: nothing.
func (c *chaosSite) busy(ctx context.Context, backlog int64) string {
	if err := c.died(); err != nil {
		return err.Error()
	}
	u := c.leader(ctx)
	if u == nil {
		return "no usher leads"
	}
	m, err := u.metrics(ctx)
	switch {
	case err != nil:
		return err.Error()
	case m["usher_rooms_followed"] != float64(chaosRooms-c.ended) || m["usher_meetings_stale"] != 0:
		unset := slices.DeleteFunc(c.crowd.Rooms(), func(room string) bool {
			name, _, _ := strings.Cut(room, "@")
			return c.focus.Members(name) != nil
		})
		return fmt.Sprintf("%v rooms followed, %v meetings stale; without the focus are %q", m["usher_rooms_followed"], m["usher_meetings_stale"], unset)
	}
	for _, r := range c.receivers {
		switch n, oldest, err := c.waiting(ctx, r); {
		case err != nil:
			return err.Error()
		case n > backlog, n > 0 && time.Since(oldest) > flushWindow/2:
			return fmt.Sprintf("%d events wait for %s, the first since %s", n, r.name, oldest.Format(time.TimeOnly))
		}
	}
	return ""
}
