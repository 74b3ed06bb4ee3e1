package sim

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// minParticipants is from how many members on a meeting has media, and its
// members are invited (jicofo.conference.min-participants).
const minParticipants = 2

// conference is one time of the focus in one room. Except ctx, its fields are
// the focus's lock's; its methods expect that to be held unless they say
// otherwise.
type conference struct {
	focus  *Focus
	room   string          // bare address
	ctx    context.Context // ends with the conference
	end    context.CancelFunc
	inRoom chan error // the room's first word about us, buffered

	entered bool      // the room has confirmed us
	joined  bool      // and our presence is complete: from here on, members count
	leaving bool      // we have said goodbye; the room has not confirmed it yet
	blocked bool      // tasks wait for something; see queue
	tasks   []func()  // what has come from the room and waits, in order
	members []*member // by arrival, without ourselves
	owner   *member   // whom AutoOwnerRoleManager takes for the owner
	main    string    // address of a breakout room's main room
	invited map[*member]bool

	properties []conferenceProperty
	session    *session         // the recording that goes on, or is being started
	status     *recordingStatus // what our presence says of recording; nil: nothing yet
	timer      *time.Timer      // until somebody comes; nil once somebody has
}

func newConference(f *Focus, room string) *conference {
	c := &conference{
		focus: f, room: room, inRoom: make(chan error, 1), invited: map[*member]bool{}, blocked: true,
		properties: []conferenceProperty{{propertyRestart, "true"}},
	}
	c.ctx, c.end = context.WithCancel(context.Background())
	c.startTimer()
	return c
}

// startTimer ends the conference unless somebody comes in time. f.mu is held.
func (c *conference) startTimer() {
	f := c.focus
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer = time.AfterFunc(f.cfg.StartTimeout, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if c.timer != nil && !c.hasBreakouts() {
			c.leave()
		}
	})
}

// join enters the room, which creates it, and blocks until everything that
// others may rely on has been done. Call it without the lock.
func (c *conference) join() error {
	ctx, cancel := context.WithTimeoutCause(c.ctx, c.focus.cfg.ReplyTimeout, fmt.Errorf("no answer from %s", c.room))
	defer cancel()
	err := c.enter(ctx)
	c.focus.mu.Lock()
	defer c.focus.mu.Unlock()
	switch {
	case err != nil:
		c.forget()
		return err
	case c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	}
	c.joined = true
	c.release()
	c.elect()
	return nil
}

// queue lets a task wait for its turn: what comes from a room is worked off in
// order (ChatRoomImpl.xmppTaskQueue). Until the focus is in, and while it asks a
// Jibri to start, everything waits: presences too, so nobody who comes meanwhile
// is made moderator or invited.
func (c *conference) queue(task func()) {
	c.tasks = append(c.tasks, task)
	c.work()
}

func (c *conference) work() {
	for !c.blocked && len(c.tasks) > 0 {
		task := c.tasks[0]
		c.tasks = c.tasks[1:]
		task()
	}
}

// block holds the queue until wait has returned, which it calls without the lock.
func (c *conference) block(wait func()) {
	c.blocked = true
	c.focus.changed.ring()
	c.focus.effects.Go(func() {
		wait()
		c.focus.mu.Lock()
		defer c.focus.mu.Unlock()
		c.release()
	})
}

// release goes on with the queue.
func (c *conference) release() {
	c.blocked = false
	c.work()
	c.focus.changed.ring()
}

// enter is Jicofo's way in (ChatRoomImpl.joinAs, joinTheRoom): the bare join,
// the room made non-anonymous, and then the presence that all members see.
func (c *conference) enter(ctx context.Context) error {
	sender, self := c.focus.rooms.As(""), c.room+"/"+focusNick
	if err := sender.Send(ctx, "presence", self, "", mucJoin); err != nil {
		return err
	}
	select {
	case err := <-c.inRoom:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := sender.IQ(ctx, c.room, "set", nonAnonymous, nil); err != nil {
		return refusal("room configuration", err)
	}
	if err := c.findMain(ctx); err != nil {
		return err
	}
	return sender.Send(ctx, "presence", self, "", focusPresence(c.room, c.properties, nil)...)
}

// setProperty changes what our presence says of the conference.
func (c *conference) setProperty(key, value string) {
	i := slices.IndexFunc(c.properties, func(p conferenceProperty) bool { return p.Key == key })
	if i < 0 {
		i = len(c.properties)
		c.properties = append(c.properties, conferenceProperty{Key: key})
	}
	if c.properties[i].Value != value {
		c.properties[i].Value = value
		c.present()
	}
}

func (c *conference) onOwnPresence(p *occupantPresence) {
	switch {
	case p.Type == "unavailable" && (c.entered || c.leaving):
		c.forget() // our goodbye confirmed, or we were kicked, or the room is destroyed
	case p.Type == "error" && !c.entered:
		c.heard(p.refusal("join"))
	case p.Type == "" && p.status("110"):
		c.entered = true
		c.heard(nil)
	}
}

// heard passes the room's first word on to join.
func (c *conference) heard(err error) {
	select {
	case c.inRoom <- err:
	default:
	}
}

func (c *conference) onPresence(p *occupantPresence, nick string) {
	i := slices.IndexFunc(c.members, func(m *member) bool { return m.nick == nick })
	switch {
	case p.Type == "unavailable" && i >= 0:
		m := c.members[i]
		m.switching = p.Status == "switch_room"
		c.members = slices.Delete(c.members, i, i+1)
		c.onLeft(m)
	case p.Type != "" || nick == "":
	case i >= 0:
		c.members[i].update(p, c.focus.cfg.TrustedDomains)
	default:
		m := &member{nick: nick}
		m.update(p, c.focus.cfg.TrustedDomains)
		c.members = append(c.members, m)
		c.elect()
		c.focus.effects.Go(func() { c.onJoined(m) })
	}
}

func (c *conference) onLeft(m *member) {
	delete(c.invited, m)
	if m == c.owner {
		c.owner = nil
		c.elect()
	}
	if len(c.invited) == 0 {
		c.setProperty(propertyBridges, "0") // expireBridgeSessions
	}
	c.maybeStop(m.switching)
}

// elect makes sure that the room has an owner; see [elect].
func (c *conference) elect() {
	if c.focus.cfg.NoAutoOwner || c.owner != nil || c.isBreakout() {
		return
	}
	m, grant := elect(c.members)
	c.owner = m
	if !grant {
		return
	}
	jid := bare(m.jid)
	c.focus.effects.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, c.focus.cfg.ReplyTimeout)
		defer cancel()
		query := adminQuery{Item: adminItem{Affiliation: "owner", JID: jid}}
		if err := c.focus.rooms.As("").IQ(ctx, c.room, "set", query, nil); err != nil && c.ctx.Err() == nil {
			c.focus.cfg.Site.log().Warn("focus cannot grant ownership", "room", c.room, "nick", m.nick, "err", err)
		}
	})
}

// restartTimer gives people the whole time to come again, if nobody has yet.
func (c *conference) restartTimer() {
	if c.timer != nil {
		c.timer.Reset(c.focus.cfg.StartTimeout)
	}
}

// leave says goodbye. The conference ends when the room confirms it: until
// then a new one could not tell old presences from new ones.
func (c *conference) leave() {
	if c.leaving || c.ctx.Err() != nil {
		return
	}
	if c.session != nil {
		c.stopRecording("") // JibriRecorder.shutdown
	}
	c.leaving = true
	c.focus.effects.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, c.focus.cfg.ReplyTimeout)
		defer cancel()
		if c.focus.rooms.As("").Send(ctx, "presence", c.room+"/"+focusNick, "unavailable") == nil {
			<-ctx.Done()
		}
		c.focus.mu.Lock()
		defer c.focus.mu.Unlock()
		c.forget()
	})
}

// forget ends the conference.
func (c *conference) forget() {
	c.end()
	c.tasks = nil
	if c.session != nil {
		c.session.end()
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.focus.conferences[c.room] == c {
		delete(c.focus.conferences, c.room)
	}
	if main := c.focus.conferences[c.main]; main != nil {
		main.maybeStop(false) // breakoutConferenceEnded
	}
	c.focus.changed.ring()
}
