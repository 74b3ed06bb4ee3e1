package main

import (
	"context"
	"errors"
	"fmt"
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
	// A busy site: 100 joins and as many leaves a second, in rooms of ten.
	churnRooms, churnPer = 50, 10
	churnRate            = 200
	churnRuns            = 3
	churnFor             = 8 * time.Second

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
	crowd   *sim.Crowd
	rooms   []string // names
	stop    func()
}

// newSite starts one; call stop in any case.
func (b *bench) newSite(ctx context.Context, rooms, per int) (s *benchSite, err error) {
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
	if s.prosody, err = stack.StartProsody(ctx, filepath.Join(s.dir, "prosody"), stack.ProsodyConfig{LogLevel: "warn"}); err != nil {
		return s, err
	}
	ends = append(ends, s.prosody.Kill) // its goodbyes are nobody's business
	site := sim.Site{
		Domain: stack.Domain, ClientAddr: s.prosody.ClientAddr,
		ComponentAddr: s.prosody.ComponentAddr, CAFile: s.prosody.CAFile,
	}
	focus, err := sim.NewFocus(sim.FocusConfig{Site: site, Password: stack.Focus.Password, Secret: stack.FocusSecret})
	if err != nil {
		return s, err
	}
	focusEnded := make(chan error, 1)
	go func() { focusEnded <- focus.Run(ctx) }()
	ends = append(ends, func() { cancel(); <-focusEnded })
	if err := focus.WaitUp(ctx); err != nil {
		return s, err
	}
	s.crowd, err = sim.DialCrowd(ctx, sim.CrowdConfig{Site: site, Domain: stack.CrowdDomain, Secret: stack.CrowdSecret})
	if err != nil {
		return s, err
	}
	ends = append(ends, s.crowd.Close)
	begin := time.Now()
	if err := s.crowd.Fill(ctx, rooms, per); err != nil {
		return s, err
	}
	for _, address := range s.crowd.Rooms() {
		name, _, _ := strings.Cut(address, "@")
		s.rooms = append(s.rooms, name)
	}
	b.say("  %d people in %d rooms after %.1f s", s.crowd.Inside(), rooms, time.Since(begin).Seconds())
	return s, nil
}

// startUsher starts an usher for the site, unseen in its rooms.
func (s *benchSite) startUsher(ctx context.Context) (*measuredUsher, error) {
	return startUsher(ctx, s.program, s.dir, s.redis.URL, nil,
		"--component-addr="+s.prosody.ComponentAddr, "--client-addr="+s.prosody.ClientAddr,
		"--tls-ca-file="+s.prosody.CAFile, "--occupant-password="+stack.Usher.Password)
}

// joins measures how long a join takes from the person's stanza through
// Prosody and usher into Redis, and what usher's being there costs Prosody:
// windows with usher and without take turns.
func (b *bench) joins(ctx context.Context) (samples, error) {
	s, err := b.newSite(ctx, churnRooms, churnPer)
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
	for run := range churnRuns {
		if run > 0 {
			if err := errors.Join(u.start(ctx), u.inSync(ctx, len(s.rooms))); err != nil {
				return nil, err
			}
		}
		time.Sleep(time.Second) // what the start set off is over
		took, with, err := s.followedChurn(ctx)
		if err != nil {
			return nil, err
		}
		u.stop()
		time.Sleep(time.Second)
		_, without, err := s.churn(ctx)
		if err != nil {
			return nil, err
		}
		b.say("  join to Redis p50 %.1f, p90 %.1f, p99 %.1f ms; Prosody's CPU per change %.0f µs, without usher %.0f µs",
			percentile(took, 50), percentile(took, 90), percentile(took, 99), with*1e6, without*1e6)
		got.add("join_to_redis_p50", percentile(took, 50))
		got.add("join_to_redis_p99", percentile(took, 99))
		got.add("prosody_cpu_ratio", with/without)
	}
	return got, nil
}

// churn lets people leave and join, and returns when each nick joined and the
// CPU seconds that Prosody spent on a change.
func (s *benchSite) churn(ctx context.Context) (joined map[string]time.Time, cpu float64, err error) {
	before, err := cpuTime(s.prosody.PID())
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, churnFor)
	defer cancel()
	joined, changes := map[string]time.Time{}, 0
	err = s.crowd.Churn(ctx, churnRate, func(c sim.Change) {
		changes++
		if c.Joined {
			joined[c.Nick] = c.At
		}
	})
	if err != nil {
		return nil, 0, err
	}
	time.Sleep(200 * time.Millisecond) // Prosody is still at the last ones
	after, err := cpuTime(s.prosody.PID())
	return joined, (after - before).Seconds() / float64(changes), err
}

// followedChurn is churn, and how long each join took to be in Redis in
// milliseconds.
func (s *benchSite) followedChurn(ctx context.Context) (took []float64, cpu float64, err error) {
	tail, err := newTail(ctx, s.rdb)
	if err != nil {
		return nil, 0, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	seen := map[string]time.Time{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = tail.read(ctx, func(n event, at time.Time) bool { // ends with ctx
			if n.Type == "participant.joined" {
				seen[n.Data.Participant.Endpoint] = at
			}
			return true
		})
	}()
	joined, cpu, err := s.churn(ctx)
	stop()
	<-ended
	for nick, sent := range joined {
		at, ok := seen[nick]
		if !ok && err == nil {
			err = fmt.Errorf("%s of %d joins was not stored", nick, len(joined))
		}
		took = append(took, milliseconds(at.Sub(sent)))
	}
	return took, cpu, err
}

// resync measures how long usher takes from a kill -9 until it is back in
// every room and has stored who is there.
func (b *bench) resync(ctx context.Context, name string, rooms, per int) (samples, error) {
	s, err := b.newSite(ctx, rooms, per)
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

// idleMemory measures the resident memory of an usher that has just started.
func (b *bench) idleMemory(ctx context.Context) (samples, error) {
	r, err := b.newRig(ctx, 0, 0)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	time.Sleep(memoryRest)
	mb, err := resident(r.usher.cmd.Process.Pid)
	return samples{"idle_rss": {mb}}, err
}
