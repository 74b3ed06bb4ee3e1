package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"
)

// openAhead is how many conference requests wait for their answer at once: a
// round trip through the focus takes longer than its work.
const openAhead = 32

// CrowdConfig configures a [Crowd].
type CrowdConfig struct {
	Site   Site
	Domain string // of the crowd's own component
	Secret string
	// FirstNick is how many nicks were given out by crowds before this one, so
	// that no two people of a site ever have the same.
	FirstNick int
}

// Crowd plays thousands of web clients on one component stream: user N is
// user-N@<domain>/web. It asks the focus for its rooms as people do, so a
// [Focus] has to be up, but as a component it passes by Prosody's reservations
// and token checks. It writes prepared stanzas and looks at no more of what it
// receives than it needs: load for others, little for this process.
type Crowd struct {
	cfg  CrowdConfig
	wire *wire
	done chan struct{} // closed when reading has ended

	changed bell // anything below
	mu      sync.Mutex
	err     error // why reading ended
	users   []*crowdUser
	rooms   []string // addresses, in the order of Fill
	ready   map[string]bool
	inside  int                  // users that their room has confirmed
	refused error                // the first no
	nicks   int                  // given out so far
	joined  map[string]time.Time // by nick, see TakeJoined
}

// crowdUser is one web client of a crowd.
type crowdUser struct {
	number    int
	jid, room string
	nick      string // of the present or next stay
	in        bool   // confirmed
}

// Change is one thing that a crowd did.
type Change struct {
	Room   string // address
	Nick   string
	Joined bool // or left
	At     time.Time
}

// DialCrowd connects the crowd's component. [Crowd.Close] ends it.
func DialCrowd(ctx context.Context, cfg CrowdConfig) (*Crowd, error) {
	w, err := dialWire(ctx, cfg.Site.ComponentAddr, cfg.Domain, cfg.Secret)
	if err != nil {
		return nil, err
	}
	c := &Crowd{cfg: cfg, wire: w, done: make(chan struct{}), ready: map[string]bool{}, joined: map[string]time.Time{}, nicks: cfg.FirstNick}
	go func() {
		defer close(c.done)
		err := c.read()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.err = err
		c.changed.ring()
	}()
	return c, nil
}

// Close cuts the stream. Rooms notice the missing users when they next send
// them something; [Crowd.Empty] before it is the polite way.
func (c *Crowd) Close() {
	c.wire.conn.Close()
	<-c.done
}

// Rooms returns the addresses of the rooms that the crowd is in.
func (c *Crowd) Rooms() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.rooms)
}

// Nicks returns how many nicks were given out, those of earlier crowds included.
func (c *Crowd) Nicks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nicks
}

// People returns the nicks of those who are in, by the address of their room.
func (c *Crowd) People() map[string]map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	people := map[string]map[string]bool{}
	for _, room := range c.rooms {
		people[room] = map[string]bool{}
	}
	for _, u := range c.users {
		if u.in {
			people[u.room][u.nick] = true
		}
	}
	return people
}

// Inside returns how many users are in their rooms.
func (c *Crowd) Inside() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inside
}

// TakeJoined returns when each user who has joined since the last call, or the
// start, heard so from the room, by nick.
func (c *Crowd) TakeJoined() map[string]time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	joined := c.joined
	c.joined = map[string]time.Time{}
	return joined
}

// Fill puts per new users into each of so many new rooms, crowd-0 and on, and
// blocks until all are in, somebody has been refused, or ctx ends.
func (c *Crowd) Fill(ctx context.Context, rooms, per int) error {
	c.mu.Lock()
	first := len(c.rooms)
	for i := range rooms {
		room := c.cfg.Site.Room("crowd-" + strconv.Itoa(first+i))
		c.rooms = append(c.rooms, room)
		for range per {
			u := &crowdUser{number: len(c.users), room: room}
			u.jid = fmt.Sprintf("user-%d@%s/web", u.number, c.cfg.Domain)
			u.nick = c.newNick()
			c.users = append(c.users, u)
		}
	}
	users := c.users[len(c.users)-rooms*per:]
	want := c.inside + len(users)
	c.mu.Unlock()

	asked := 0
	for i := range rooms {
		for ; asked < min(i+openAhead, rooms); asked++ {
			if err := c.open(users[asked*per]); err != nil {
				return err
			}
		}
		members := users[i*per : (i+1)*per]
		if err := c.wait(ctx, func() bool { return c.ready[members[0].room] }); err != nil {
			return err
		}
		for _, u := range members {
			if err := c.join(u); err != nil {
				return err
			}
		}
	}
	return c.wait(ctx, func() bool { return c.inside >= want })
}

// Churn makes changes at a steady rate a second until ctx ends, and returns
// nil then: somebody leaves, then comes back under a new nick, as after a
// reload, and so on. Rooms need two users, or they end with their only one.
// sent, if not nil, is told of each change just before it is written.
func (c *Crowd) Churn(ctx context.Context, rate float64, sent func(Change)) error {
	start := time.Now()
	c.mu.Lock()
	users := c.users
	c.mu.Unlock()
	var gone *crowdUser
	for n := 0; ; n++ {
		due := start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(due)):
		}
		u, act := gone, c.join
		if gone == nil {
			u, act = c.someoneInside(users), c.leave
			gone = u
		} else {
			gone = nil
			c.rename(u)
		}
		if sent != nil {
			sent(Change{Room: u.room, Nick: u.nick, Joined: gone == nil, At: time.Now()})
		}
		if err := act(u); err != nil {
			return err
		}
		if err := c.failure(); err != nil {
			return err
		}
	}
}

// someoneInside picks one of those whom their room has let in, or anybody if
// it is hard to find one.
func (c *Crowd) someoneInside(users []*crowdUser) (u *crowdUser) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range len(users) {
		if u = users[rand.IntN(len(users))]; u.in {
			break
		}
	}
	return u
}

// Empty lets everybody leave and blocks until the rooms have confirmed it, or
// ctx ends.
func (c *Crowd) Empty(ctx context.Context) error {
	c.mu.Lock()
	users := c.users
	c.mu.Unlock()
	for _, u := range users {
		if err := c.leave(u); err != nil {
			return err
		}
	}
	return c.wait(ctx, func() bool { return c.inside == 0 })
}

// wait blocks until ok, asked with c.mu held, the stream's end, a refusal, or ctx ends.
func (c *Crowd) wait(ctx context.Context, ok func() bool) error {
	err := c.changed.await(ctx, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return ok() || c.err != nil || c.refused != nil
	})
	if err != nil {
		return fmt.Errorf("crowd, %d inside: %w", c.Inside(), err)
	}
	return c.failure()
}

func (c *Crowd) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return fmt.Errorf("crowd's stream has ended: %w", c.err)
	}
	return c.refused
}
