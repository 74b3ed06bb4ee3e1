package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/internal/child"
)

const (
	// The rooms of the replays: enough for their changes to come from many
	// meetings at once, as on a busy site.
	replayRooms, replayPer = 500, 10
	replayRuns             = 3
	replayStanzas          = 60_000

	paceRate = 1000 // changes a second
	paceRuns = 3
	paceFor  = 4 * time.Second
)

// oneCore makes a Go program use one core.
const oneCore = "GOMAXPROCS=1"

// rig is an usher between a fake server and a real Redis.
type rig struct {
	server *fakeProsody
	redis  *child.Redis
	rdb    *redis.Client
	usher  *measuredUsher
	hand   int64 // the last one raised: when, Unix milliseconds
}

// newRig starts an usher that follows so many rooms; stop it.
func (b *bench) newRig(ctx context.Context, rooms, per int, env ...string) (*rig, error) {
	r, err := b.openRig(ctx, rooms, per, nil, env...)
	if err != nil {
		return nil, err
	}
	if err := r.usher.follow(ctx, r.server.names()); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

// openRig starts an usher that has no meetings yet; stop it.
func (b *bench) openRig(ctx context.Context, rooms, per int, pool *fakePool, env ...string) (_ *rig, err error) {
	r := &rig{hand: time.Now().UnixMilli()}
	defer func() {
		if err != nil {
			r.stop()
		}
	}()
	dir, err := b.folder()
	if err != nil {
		return nil, err
	}
	if r.redis, err = child.StartRedis(ctx, dir); err != nil {
		return nil, err
	}
	options, err := redis.ParseURL(r.redis.URL)
	if err != nil {
		return nil, err
	}
	r.rdb = redis.NewClient(options)
	if r.server, err = newFakeProsody(rooms, per, pool); err != nil {
		return nil, err
	}
	// No occupant password: the component's own stream hears the rooms.
	r.usher, err = startUsher(ctx, b.program, dir, r.redis.URL, env, "--component-addr="+r.server.addr(), "--trust-identity")
	return r, err
}

func (r *rig) stop() {
	if r.usher != nil {
		r.usher.kill()
	}
	if r.server != nil {
		r.server.close()
	}
	if r.rdb != nil {
		_ = r.rdb.Close()
	}
	if r.redis != nil {
		r.redis.Kill() // its data is thrown away
	}
}

// eventLog is where usher tells what happened.
const eventLog = "usher:{main}:events"

// replay measures how many presences a second one core takes all the way.
func (b *bench) replay(ctx context.Context) (samples, error) {
	r, err := b.newRig(ctx, replayRooms, replayPer, oneCore)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	got := samples{}
	for range replayRuns {
		speed, err := b.replayOnce(ctx, r)
		if err != nil {
			return nil, err
		}
		got.add("replay_mix", speed)
	}
	if b.cpuProfile == "" {
		return got, nil
	}
	written := b.profile(ctx, r.usher)
	_, err = b.replayOnce(ctx, r)
	return got, errors.Join(err, written())
}

func (b *bench) replayOnce(ctx context.Context, r *rig) (float64, error) {
	pid := r.usher.cmd.Process.Pid
	stored, err := r.rdb.XLen(ctx, eventLog).Result()
	if err != nil {
		return 0, err
	}
	before, err := r.usher.metrics(ctx)
	if err != nil {
		return 0, err
	}
	cpu, err := cpuTime(pid)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	changes := int64(0)
	for sent := 0; sent < replayStanzas; sent += 100 {
		r.server.write(func(out *bufio.Writer) {
			for range 100 {
				if r.server.act(out) {
					changes++
				}
			}
		})
	}
	err = r.usher.until(ctx, func() (bool, error) {
		now, err := r.rdb.XLen(ctx, eventLog).Result()
		return now >= stored+changes, err
	})
	if err != nil {
		return 0, err
	}
	wall := time.Since(begin)
	used, err := cpuTime(pid)
	if err != nil {
		return 0, err
	}
	used -= cpu
	after, err := r.usher.metrics(ctx)
	if err != nil {
		return 0, err
	}
	if dropped := after["usher_facts_dropped_total"]; dropped > 0 {
		return 0, fmt.Errorf("%v presences were dropped", dropped)
	}
	commits := after[`usher_store_op_seconds_count{op="commit"}`] - before[`usher_store_op_seconds_count{op="commit"}`]
	b.say("  %d stanzas, %d changes, %.0f commits: %.2f s CPU in %.2f s", replayStanzas, changes, commits, used.Seconds(), wall.Seconds())
	return replayStanzas / used.Seconds(), nil
}

// act lets somebody do something of the mix, and reports whether that is a
// change that gets stored: 60 % are presences that say nothing new to usher,
// 25 % microphone or hand, 15 % joins and leaves.
func (f *fakeProsody) act(out *bufio.Writer) bool {
	room := f.rooms["room-"+strconv.Itoa(rand.IntN(len(f.rooms)))]
	i := rand.IntN(len(room.people))
	p := room.people[i]
	switch dice := rand.IntN(100); {
	case dice < 60:
		p.codecs = codecLists[rand.IntN(len(codecLists))]
		p.write(out, room)
		return false
	case dice < 75:
		p.muted = !p.muted
		p.write(out, room)
	case dice < 85:
		if p.hand == 0 {
			p.hand = time.Now().UnixMilli()
		} else {
			p.hand = 0
		}
		p.write(out, room)
	case room.away == nil:
		p.leave(out, room)
		room.people = slices.Delete(room.people, i, i+1)
		room.away = p
	default:
		p = newFakePerson(room.away.number, room.away.stay+1)
		room.away = nil
		room.people = append(room.people, p)
		p.write(out, room)
	}
	return true
}

// stanzaToCommit measures how long a change takes from the moment the server
// writes it until Redis tells a reader of the event log.
func (b *bench) stanzaToCommit(ctx context.Context) (samples, error) {
	r, err := b.newRig(ctx, replayRooms, replayPer, oneCore)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	got := samples{}
	for range paceRuns {
		took, err := r.pace(ctx)
		if err != nil {
			return nil, err
		}
		b.say("  p50 %.2f, p90 %.2f, p99 %.2f, max %.2f ms", percentile(took, 50), percentile(took, 90), percentile(took, 99), percentile(took, 100))
		got.add("stanza_to_commit_p50", percentile(took, 50))
		got.add("stanza_to_commit_p99", percentile(took, 99))
	}
	return got, nil
}

// pace raises hands at paceRate and returns how long each took, in
// milliseconds. The time of a hand, which usher passes on, tells which it was.
func (r *rig) pace(ctx context.Context) ([]float64, error) {
	const changes = int(paceRate * paceFor / time.Second)
	first := r.hand + 1
	sent := make([]time.Time, changes)
	seen := make(chan []time.Time, 1)
	failed := make(chan error, 1)
	tail, err := newTail(ctx, r.rdb)
	if err != nil {
		return nil, err
	}
	go func() {
		at, left := make([]time.Time, changes), changes
		failed <- tail.read(ctx, func(n event, now time.Time) bool {
			i := n.Data.Participant.Hand.UnixMilli() - first
			if i >= 0 && i < int64(changes) && at[i].IsZero() {
				at[i] = now
				left--
			}
			return left > 0
		})
		seen <- at
	}()
	r.raiseHands(changes, paceRate, func(i int) { sent[i] = time.Now() })
	if err := <-failed; err != nil {
		return nil, err
	}
	took := make([]float64, changes)
	for i, at := range <-seen {
		took[i] = milliseconds(at.Sub(sent[i]))
	}
	return took, nil
}

// raiseHands lets so many people raise a hand at a rate per second, in one room
// after the other, and says when each presence is about to be sent. No two
// hands have the same time, so each is a change of its own.
func (r *rig) raiseHands(changes, rate int, writing func(i int)) {
	begin := time.Now()
	for i := range changes {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		r.server.write(func(out *bufio.Writer) {
			room := r.server.rooms["room-"+strconv.Itoa(i%len(r.server.rooms))]
			p := room.people[i/len(r.server.rooms)%len(room.people)]
			r.hand++
			p.hand = r.hand
			p.write(out, room)
			writing(i)
		})
	}
}

// tail reads the event log as it grows.
type tail struct {
	rdb  *redis.Client
	last string
}

// newTail begins at the present end of the log.
func newTail(ctx context.Context, rdb *redis.Client) (*tail, error) {
	newest, err := rdb.XRevRangeN(ctx, eventLog, "+", "-", 1).Result()
	if err != nil || len(newest) == 0 {
		return &tail{rdb, "0"}, err
	}
	return &tail{rdb, newest[0].ID}, nil
}

// tailPatience is how long nothing may come before a tail gives up.
const tailPatience = 5 * time.Second

// read hands over each event with the time at which it was read, until f has
// had enough.
func (t *tail) read(ctx context.Context, f func(n event, at time.Time) bool) error {
	for {
		got, err := t.rdb.XRead(ctx, &redis.XReadArgs{Streams: []string{eventLog, t.last}, Count: 1000, Block: tailPatience}).Result()
		if errors.Is(err, redis.Nil) {
			return fmt.Errorf("no event within %v", tailPatience)
		} else if err != nil {
			return err
		}
		now := time.Now()
		for _, m := range got[0].Messages {
			t.last = m.ID
			text, _ := m.Values["notice"].(string)
			n, err := readEvent(text)
			if err != nil {
				return err
			}
			if !f(n, now) {
				return nil
			}
		}
	}
}
