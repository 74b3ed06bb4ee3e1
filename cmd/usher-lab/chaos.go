package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"usher/internal/sleep"
)

// chaosCommand is `usher-lab chaos`: two ushers on a real Prosody and Redis, and
// one thing after another that goes wrong.
type chaosCommand struct {
	usherFlag
	For  time.Duration `default:"10m" help:"How long things go wrong."`
	Seed uint64        `help:"The same seed makes the same choices. Default: one of the time."`
	Only []string      `help:"Faults whose names begin so."`
	Skip []string      `help:"No faults whose names begin so."`
	Keep bool          `help:"Keep the files of all servers."`
}

const (
	// chaosPause is the most that lies between two faults.
	chaosPause = 3 * time.Second
	// afterChaos is how long people come and go once all is healed, so that
	// each meeting has something to say: some ten changes each.
	afterChaos = 10 * time.Second
	// chaosPatience is how long a healed site may take to lead and to see all
	// rooms, and then to be quiet: a lease, a backoff, a probe of an endpoint,
	// and the rest is for slow machines.
	chaosPatience = 90 * time.Second
)

// Run writes what comes of it to stdout, and what it is doing to stderr.
func (c *chaosCommand) Run(ctx context.Context, stderr io.Writer) error {
	return c.chaos(ctx, os.Stdout, stderr)
}

// chaos plays the faults, heals everything, waits until the site is quiet, and
// compares what apps got with what was committed and who is really there. The
// last line of out says what came of it; an error that something is wrong.
func (c *chaosCommand) chaos(ctx context.Context, out, progress io.Writer) (err error) {
	program, err := c.program()
	if err != nil {
		return err
	}
	chosen := c.faults()
	if len(chosen) == 0 {
		return errors.New("no fault has such a name")
	}
	if c.Seed == 0 {
		c.Seed = uint64(time.Now().UnixNano())
	}
	dir, err := os.MkdirTemp("", "usher-chaos-")
	if err != nil {
		return err
	}
	defer func() {
		if (err == nil || ctx.Err() != nil) && !c.Keep {
			os.RemoveAll(dir)
		} else {
			fmt.Fprintln(progress, "the logs of all servers are in", dir)
		}
	}()
	b := &bench{program: program, dir: dir, progress: progress, begin: time.Now()}
	b.say("--seed=%d", c.Seed)
	site, err := b.newChaosSite(ctx)
	defer site.close()
	if err != nil {
		return err
	}
	site.churn(ctx)
	made, err := site.play(ctx, chosen, c.For, rand.New(rand.NewPCG(c.Seed, 0)))
	if err == nil {
		b.say("healed")
		err = site.settle(ctx)
	}
	if err := errors.Join(err, site.stopChurn()); err != nil {
		return err
	}
	notQuiet := errors.Join(site.recovered(ctx), site.endRecorded(ctx), site.quiet(ctx))
	b.say("quiet")
	l, err := site.ledger(ctx)
	if err != nil {
		return errors.Join(notQuiet, err)
	}
	b.say("%d recordings", len(l.recordings))
	return errors.Join(notQuiet, report(l.check(), made, out))
}

// play lets the chosen faults happen in a random order until the time is over,
// and returns how many there were.
func (c *chaosSite) play(ctx context.Context, chosen []fault, d time.Duration, random *rand.Rand) (made int, err error) {
	for end := time.Now().Add(d); time.Now().Before(end); made++ {
		sleep.For(ctx, between(random, 0, chaosPause))
		if ctx.Err() != nil {
			return made, context.Cause(ctx)
		}
		f := chosen[random.IntN(len(chosen))]
		lasts := between(random, f.least, f.most)
		c.say("%s %.1f s", f.name, lasts.Seconds())
		if err := errors.Join(f.run(ctx, c, occurrence{lasts, random}), c.died()); err != nil {
			return made, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return made, nil
}

// settle blocks until the site has recovered, and some time more in which people
// come and go.
func (c *chaosSite) settle(ctx context.Context) error {
	if err := c.recovered(ctx); err != nil {
		return err
	}
	sleep.For(ctx, afterChaos)
	return context.Cause(ctx)
}

// faults returns those that were asked for.
func (c *chaosCommand) faults() []fault {
	named := func(prefixes []string, f fault) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(f.name, p) })
	}
	return slices.DeleteFunc(slices.Clone(faults), func(f fault) bool {
		return len(c.Only) > 0 && !named(c.Only, f) || named(c.Skip, f)
	})
}

// report prints what came of a run.
func report(v verdict, made int, out io.Writer) error {
	for _, text := range v.examples {
		fmt.Fprintln(out, " ", text)
	}
	word := "ok"
	if !v.ok() {
		word = "FAILED"
	}
	fmt.Fprintf(out, "chaos: %s faults=%d events=%d lost=%d reordered=%d phantom=%d announced=%d\n",
		word, made, v.events, v.lost, v.reordered, v.phantom, v.announced)
	if !v.ok() {
		return errors.New("usher did not keep its promises")
	}
	return nil
}
