package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/internal/child"
	"usher/internal/sim"
	"usher/internal/stack"
	"usher/store"
)

const (
	resyncRuns = 3

	// memoryRest is how long usher is left alone before its memory is read: it
	// has collected what the start left behind by then.
	memoryRest = 3 * time.Second
)

// benchSite is a real Prosody full of simulated people, and a real Redis.
type benchSite struct {
	dir     string
	program string // the usher that is measured
	prosody *stack.Prosody
	redis   *child.Redis
	rdb     *redis.Client
	site    sim.Site
	focus   *sim.Focus
	crowd   *sim.Crowd
	rooms   []string // names
	stop    func()
}

// newSite starts one; call stop in any case.
func (b *bench) newSite(ctx context.Context, rooms, per int, cfg stack.ProsodyConfig) (s *benchSite, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var ends []func()
	s = &benchSite{program: b.program, stop: func() {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i]()
		}
		cancel()
	}}
	if s.dir, err = b.folder(); err != nil {
		return s, err
	}
	cfg.LogLevel = "warn"
	if s.redis, err = child.StartRedis(ctx, filepath.Join(s.dir, "redis")); err != nil {
		return s, err
	}
	ends = append(ends, s.redis.Kill)
	options, err := redis.ParseURL(s.redis.URL)
	if err != nil {
		return s, err
	}
	s.rdb = redis.NewClient(options)
	ends = append(ends, func() { _ = s.rdb.Close() })
	if s.prosody, err = stack.StartProsody(ctx, filepath.Join(s.dir, "prosody"), cfg); err != nil {
		return s, err
	}
	ends = append(ends, s.prosody.Kill) // its goodbyes are nobody's business
	s.site = sim.Site{
		Domain: stack.Domain, ClientAddr: s.prosody.ClientAddr,
		ComponentAddr: s.prosody.ComponentAddr, CAFile: s.prosody.CAFile,
	}
	s.focus, err = sim.NewFocus(sim.FocusConfig{Site: s.site, Password: stack.Focus.Password, Secret: stack.FocusSecret, Brewery: stack.Brewery})
	if err != nil {
		return s, err
	}
	focusEnded := make(chan error, 1)
	go func() { focusEnded <- s.focus.Run(ctx) }()
	ends = append(ends, func() { cancel(); <-focusEnded })
	if err := s.focus.WaitUp(ctx); err != nil {
		return s, err
	}
	ends = append(ends, func() {
		if s.crowd != nil {
			s.crowd.Close()
		}
	})
	begin := time.Now()
	if err := s.fill(ctx, rooms, per); err != nil {
		return s, err
	}
	for _, address := range s.crowd.Rooms() {
		name, _, _ := strings.Cut(address, "@")
		s.rooms = append(s.rooms, name)
	}
	b.say("  %d people in %d rooms after %.1f s", s.crowd.Inside(), rooms, time.Since(begin).Seconds())
	return s, nil
}

// fill lets a new crowd into its rooms, whose nicks are none of the crowd before.
func (s *benchSite) fill(ctx context.Context, rooms, per int) (err error) {
	cfg := sim.CrowdConfig{Site: s.site, Domain: stack.CrowdDomain, Secret: stack.CrowdSecret}
	if s.crowd != nil {
		cfg.FirstNick = s.crowd.Nicks()
	}
	if s.crowd, err = sim.DialCrowd(ctx, cfg); err != nil {
		return err
	}
	return s.crowd.Fill(ctx, rooms, per)
}

// startUsher starts an usher for the site, unseen in its rooms.
func (s *benchSite) startUsher(ctx context.Context, env ...string) (*measuredUsher, error) {
	return startUsher(ctx, s.program, s.dir, s.redis.URL, env,
		"--component-addr="+s.prosody.ComponentAddr, "--client-addr="+s.prosody.ClientAddr,
		"--tls-ca-file="+s.prosody.CAFile, "--occupant-password="+stack.Usher.Password)
}

// resync measures how long usher takes from a kill -9 until it is back in
// every room and has stored who is there.
func (b *bench) resync(ctx context.Context, name string, rooms, per int) (samples, error) {
	s, err := b.newSite(ctx, rooms, per, stack.ProsodyConfig{})
	defer s.stop()
	if err != nil {
		return nil, err
	}
	u, err := s.startUsher(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { u.kill() }()
	if err := u.follow(ctx, s.rooms); err != nil {
		return nil, err
	}
	got := samples{}
	for range resyncRuns {
		time.Sleep(time.Second)
		begin := time.Now()
		u.kill()
		if err := errors.Join(u.start(ctx), u.inSync(ctx, rooms)); err != nil {
			return nil, err
		}
		took := time.Since(begin)
		if err := s.stored(ctx, rooms, per); err != nil {
			return nil, err
		}
		b.say("  back in sync after %.2f s", took.Seconds())
		got.add(name, took.Seconds())
	}
	return got, nil
}

// stored fails unless Redis has everybody in all rooms.
func (s *benchSite) stored(ctx context.Context, rooms, per int) error {
	rdb, err := store.NewRedis(store.Config{URL: s.redis.URL, Site: "main"})
	if err != nil {
		return err
	}
	defer rdb.Close()
	meetings, err := rdb.Open(ctx)
	people := 0
	for _, m := range meetings {
		if m.StaleSince.IsZero() {
			people += m.Occupancy().Humans
		}
	}
	if err == nil && people != rooms*per {
		err = fmt.Errorf("store has %d people in %d meetings, want %d", people, len(meetings), rooms*per)
	}
	return err
}

// fullMemory measures the resident memory of an usher with 5,000 rooms.
func (b *bench) fullMemory(ctx context.Context) (samples, error) {
	r, err := b.newRig(ctx, 5000, 10)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	time.Sleep(memoryRest)
	mb, err := resident(r.usher.cmd.Process.Pid)
	return samples{"rss_5000x10": {mb}}, err
}

// idle measures the resident memory of an usher that has just started, and the
// size of its program.
func (b *bench) idle(ctx context.Context) (samples, error) {
	r, err := b.newRig(ctx, 0, 0)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	time.Sleep(memoryRest)
	mb, err1 := resident(r.usher.cmd.Process.Pid)
	file, err2 := os.Stat(b.program)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return samples{"idle_rss": {mb}, "binary_size": {float64(file.Size()) / 1e6}}, nil
}
