package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/internal/localsite"
	"usher/internal/sim"
	"usher/internal/stack"
)

const (
	chaosRooms, chaosPer = 100, 4
	// chaosRate is how many joins and leaves there are a second: half of what
	// Prosody can do beside everything else on two cores.
	chaosRate = 120
	// chaosReceivers is how many apps there are; faults hit all but the first.
	chaosReceivers = 3
)

// chaosSite is a site with two ushers, whose connections to Prosody and Redis go
// through proxies.
type chaosSite struct {
	*benchSite
	say                      func(format string, args ...any)
	component, client, store *faultyProxy
	ushers                   []*measuredUsher
	receivers                []*chaosReceiver
	tail                     *chaosTail
	meetings                 map[string]string // ids by room address
	recorded                 []string          // those that record themselves
	ended                    int               // how many of them are over
	jibris                   [chaosJibris]*sim.Jibri

	churning sync.WaitGroup
	endChurn func()
	churnErr atomic.Pointer[error] // why the last churn ended by itself
	tailing  sync.WaitGroup
	endTail  func()
}

// newChaosSite starts everything and blocks until one usher leads and follows
// all rooms; end it with close in any case.
func (b *bench) newChaosSite(ctx context.Context) (c *chaosSite, err error) {
	c = &chaosSite{say: b.say, meetings: map[string]string{}, endChurn: func() {}, endTail: func() {}}
	if c.benchSite, err = b.newSite(ctx, chaosRooms, chaosPer, stack.ProsodyConfig{}); err != nil {
		return c, err
	}
	if err := c.watchStore(ctx); err != nil {
		return c, err
	}
	settings, err := c.startReceivers()
	if err != nil {
		return c, err
	}
	if err := c.startUshers(ctx, settings); err != nil {
		return c, err
	}
	for i := range c.jibris {
		if err := c.startJibri(ctx, i); err != nil {
			return c, err
		}
	}
	for i, address := range c.crowd.Rooms() {
		trigger := "none"
		if i < chaosRecorded {
			trigger = "automatic"
		}
		id, err := c.meet(ctx, address, trigger)
		if err != nil {
			return c, err
		}
		c.meetings[address] = id
		if i < chaosRecorded {
			c.recorded = append(c.recorded, id)
		}
	}
	return c, c.ushers[0].inSync(ctx, chaosRooms)
}

// watchStore makes Redis ready for its first usher and begins to read what that
// commits.
func (c *chaosSite) watchStore(ctx context.Context) error {
	if err := localsite.BeginStore(ctx, c.redis.URL); err != nil {
		return err
	}
	if err := c.rdb.ConfigSet(ctx, "appendfsync", "no").Err(); err != nil { // see startRedis
		return err
	}
	c.tail = &chaosTail{rdb: c.rdb, last: "0"}
	tailing, endTail := context.WithCancel(ctx)
	c.endTail = endTail
	c.tailing.Go(func() { c.tail.run(tailing) })
	return nil
}

// startReceivers starts the apps and returns USHER_WEBHOOKS for them.
func (c *chaosSite) startReceivers() (string, error) {
	var hooks []map[string]any
	for i := range chaosReceivers {
		r, err := startReceiver(fmt.Sprintf("app-%d", i+1))
		if err != nil {
			return "", err
		}
		c.receivers = append(c.receivers, r)
		hooks = append(hooks, map[string]any{"name": r.name, "url": "http://" + r.addr + "/", "secrets": []string{string(r.secret.Key)}})
	}
	settings, err := json.Marshal(hooks)
	return string(settings), err
}

// startUshers starts the proxies and two ushers behind them, and blocks until
// the first one leads.
func (c *chaosSite) startUshers(ctx context.Context, webhooks string) error {
	address, err := url.Parse(c.redis.URL)
	if err != nil {
		return err
	}
	for _, p := range []struct {
		proxy  **faultyProxy
		target string
	}{{&c.component, c.prosody.ComponentAddr}, {&c.client, c.prosody.ClientAddr}, {&c.store, address.Host}} {
		if *p.proxy, err = startProxy(p.target); err != nil {
			return err
		}
	}
	address.Host = c.store.addr
	for i := range 2 {
		u, err := newUsher(c.program, filepath.Join(c.dir, fmt.Sprintf("usher-%d.log", i+1)), address.String(),
			[]string{"USHER_WEBHOOKS=" + webhooks, "USHER_WEBHOOK_ALLOW=127.0.0.0/8"},
			"--component-addr="+c.component.addr, "--client-addr="+c.client.addr, "--log-level=info",
			"--tls-ca-file="+c.prosody.CAFile, "--occupant-password="+stack.Usher.Password)
		if err != nil {
			return err
		}
		c.ushers = append(c.ushers, u)
	}
	if err := c.ushers[0].start(ctx); err != nil {
		return err
	}
	return c.ushers[1].spawn(ctx)
}

// meet makes a meeting for a room, announces the room, and returns its id.
func (c *chaosSite) meet(ctx context.Context, address, trigger string) (string, error) {
	room := address[:len(address)-len("@")-len(stack.MUCDomain)]
	text, err := c.ushers[0].post(ctx, "/v1/meetings", "application/json", benchKey, `{"room":"`+room+`","recording":{"trigger":"`+trigger+`"}}`)
	var made struct {
		ID string `json:"id"`
	}
	return made.ID, errors.Join(err, json.Unmarshal(text, &made), c.ushers[0].reserve(ctx, room))
}

func (c *chaosSite) close() {
	_ = c.stopChurn()
	c.endTail()
	c.tailing.Wait()
	for _, u := range c.ushers {
		if u.cmd != nil {
			u.kill()
		}
	}
	for _, j := range c.jibris {
		if j != nil {
			j.Die()
		}
	}
	for _, p := range []*faultyProxy{c.component, c.client, c.store} {
		if p != nil {
			p.close()
		}
	}
	for _, r := range c.receivers {
		r.close()
	}
	c.benchSite.stop()
}

// churn lets people come and go until stopChurn.
func (c *chaosSite) churn(ctx context.Context) {
	churning, end := context.WithCancel(ctx)
	c.endChurn = end
	c.churnErr.Store(nil)
	c.churning.Go(func() {
		if err := c.crowd.Churn(churning, chaosRate, nil); err != nil {
			c.churnErr.Store(&err)
		}
	})
}

// stopChurn blocks until nobody comes or goes any more.
func (c *chaosSite) stopChurn() error {
	c.endChurn()
	c.churning.Wait()
	return c.churnFailure()
}

// churnFailure says why people no longer come and go, nil: they do, or were to stop.
func (c *chaosSite) churnFailure() error {
	if err := c.churnErr.Load(); err != nil {
		return fmt.Errorf("nobody comes or goes any more: %w", *err)
	}
	return nil
}

// waiting returns how many events wait for a receiver in Redis, and how long the
// first of a meeting does. The metric of usher is up to 15 s old.
func (c *chaosSite) waiting(ctx context.Context, r *chaosReceiver) (n int64, oldest time.Time, err error) {
	endpoint := "whk_" + r.name
	meetings, err := c.rdb.SMembers(ctx, queuedKeys+endpoint).Result()
	if err != nil {
		return 0, oldest, err
	}
	var lengths []*redis.IntCmd
	var firsts []*redis.StringCmd
	_, err = c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range meetings {
			lengths = append(lengths, p.LLen(ctx, queueKeys+endpoint+":"+id))
			firsts = append(firsts, p.LIndex(ctx, queueKeys+endpoint+":"+id, 0))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, oldest, err
	}
	for i := range meetings {
		n += lengths[i].Val()
		var first struct {
			Timestamp time.Time `json:"timestamp"`
		}
		if firsts[i].Err() == nil && json.Unmarshal([]byte(firsts[i].Val()), &first) == nil &&
			(oldest.IsZero() || first.Timestamp.Before(oldest)) {
			oldest = first.Timestamp
		}
	}
	return n, oldest, nil
}

// ledger returns what was seen; the site is quiet.
func (c *chaosSite) ledger(ctx context.Context) (*ledger, error) {
	l := &ledger{arrived: map[string][]arrival{}, inside: map[string]map[string]bool{}, listed: map[string]map[string]bool{}}
	if err := c.tail.read(ctx); err != nil { // what ended its reading, too
		return nil, err
	}
	c.tail.note(l)
	for _, r := range c.receivers {
		var err error
		if l.arrived[r.name], err = r.log(); err != nil {
			return nil, err
		}
	}
	var err error
	if l.recordings, err = c.recordings(ctx); err != nil {
		return nil, err
	}
	u := c.leader(ctx)
	if u == nil {
		return nil, errors.New("no usher leads")
	}
	for address, nicks := range c.crowd.People() {
		id := c.meetings[address]
		l.inside[id] = nicks
		var err error
		if l.listed[id], err = listed(ctx, u, id); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// listed returns the nicks of the people whom the API lists as present.
func listed(ctx context.Context, u *measuredUsher, meeting string) (map[string]bool, error) {
	var list struct {
		Data []struct {
			Kind     string     `json:"kind"`
			Endpoint string     `json:"endpoint_id"`
			LeftAt   *time.Time `json:"left_at"`
		} `json:"data"`
	}
	if err := u.getJSON(ctx, "/v1/meetings/"+meeting+"/participants", &list); err != nil {
		return nil, err
	}
	nicks := map[string]bool{}
	for _, p := range list.Data {
		if p.Kind == "human" && p.LeftAt == nil {
			nicks[p.Endpoint] = true
		}
	}
	return nicks, nil
}
