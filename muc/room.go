package muc

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"usher/meeting"
)

// phase is where usher stands with a room.
type phase int

const (
	outside phase = iota
	entering
	inside
	leaving
)

// room is one room that a meeting wants something of. Rooms.mu guards it. At
// most one step works on it at a time.
type room struct {
	name  string
	want  meeting.DesiredState
	phase phase
	timer *time.Timer // starts the next step
	due   time.Time   // when that is; zero while none is set
	busy  bool        // a step is at work
	again bool        // something called for another step meanwhile

	expected  time.Time  // when the server announced the room
	warmUntil time.Time  // look often until then
	wasInside bool       // usher was in it and lost sight of it; it may still exist
	lostAt    time.Time  // when that was
	listed    bool       // usher is not let in, and the meeting knows who is in from lists
	nick      string     // usher's own in it, since it was last entered
	alone     bool       // left because no human was in; enter only for somebody
	failures  int        // entries, or kicks once inside, that failed in a row
	evicted   int        // entries in a row that ended with a kick before stableAfter
	retryAt   time.Time  // no entry before that
	turn      *probeTurn // its place among those that wait for a probe; nil: it does not
	mayProbe  bool       // it was its turn

	view     map[string]seen    // who is in, by nick, ourselves left out
	roster   []meeting.Occupant // whom the room has reported since an entry or resync began; nil without one
	selfSeen bool               // our own presence came since a resync began
	arrived  chan error         // ends the wait of an entry or a leave
	role     meeting.Role       // our own
	affil    string             // our own affiliation
	changed  chan struct{}      // is closed when either is reported; nil while nobody waits
	owning   int                // how many need usher to be an owner
	memberAt time.Time          // when usher last made itself a member
	focus    meeting.FocusSays  // what the focus last reported
	visitors int                // how many it counts
	// conference is what is known of it since the entry, meetingIDAt when its id may
	// be asked for, and meetingIDWait the time from the question before until then.
	conference    meeting.Conference
	meetingIDAt   time.Time
	meetingIDWait time.Duration
	since         time.Time // of the entry
	// breakouts is who is in breakout rooms; nil: nothing was heard since the entry.
	breakouts   *meeting.Breakouts
	breakoutIDs []string // names of the breakout rooms

	lobby lobby

	unwanted    []meeting.Kick    // to be kicked
	kickAt      time.Time         // not before that: the last kick failed
	rosterDue   bool              // the meeting missed presences: it needs the whole roster
	blind       bool              // the room hides the addresses of those in it
	sightAt     time.Time         // not before that: the last try to see them
	confirmedAt time.Time         // when we last knew for certain who is in
	checkAt     time.Time         // when to compare with the server's lists next
	check       *rate.Reservation // to do so
	visited     bool              // a human was in since we entered
	emptySince  time.Time         // when the last human left
	unmoderated time.Time         // since when humans are in and none is moderator
}

// seen is what the room needs to remember of an occupant.
type seen struct {
	jid       string
	kind      meeting.Kind
	moderator bool
}

func newSeen(o meeting.Occupant) seen {
	return seen{jid: o.JID, kind: o.Kind, moderator: o.Role == meeting.RoleModerator}
}

// unlist takes a nick out of the roster.
func (rm *room) unlist(nick string) {
	rm.roster = slices.DeleteFunc(rm.roster, func(o meeting.Occupant) bool { return o.Nick == nick })
}

// signal ends the wait for our own presence, if there is one.
func (rm *room) signal(err error) {
	if rm.arrived != nil {
		rm.arrived <- err // holds one
		rm.arrived = nil
	}
}

func (rm *room) stopTimer() {
	if rm.timer != nil {
		rm.timer.Stop()
	}
	rm.due = time.Time{}
}

// reserve returns how long until the limiter permits one more; zero: it does now.
// The reservation is kept from step to step, so that no step has to wait.
func reserve(reserved **rate.Reservation, l *rate.Limiter) time.Duration {
	if *reserved == nil {
		*reserved = l.Reserve()
	}
	left := (*reserved).Delay()
	if left <= 0 {
		*reserved = nil
	}
	return left
}

// reset forgets what only holds inside.
func (rm *room) reset() {
	rm.phase, rm.view, rm.roster, rm.focus = outside, nil, nil, meeting.FocusSays{}
	rm.affil, rm.role, rm.blind = "", "", false
	rm.visitors, rm.breakouts, rm.breakoutIDs = 0, nil, nil
	rm.conference, rm.meetingIDAt, rm.meetingIDWait = meeting.Conference{}, time.Time{}, 0
	rm.signal(errOut)
	rm.selfReported()
}

// humans returns how many humans are in, how many of them are moderators, and
// whether the focus is there.
func (rm *room) humans() (humans, moderators int, focus bool) {
	for _, s := range rm.view {
		switch s.kind {
		case meeting.KindHuman:
			humans++
			if s.moderator {
				moderators++
			}
		case meeting.KindFocus:
			focus = true
		}
	}
	return humans, moderators, focus
}

// retry returns how long to wait after so many failures in a row: full jitter
// under a ceiling that doubles.
func retry(failures int) time.Duration {
	ceiling := retryMax
	if failures < 6 {
		ceiling = min(retryMax, retryMin<<failures)
	}
	return rand.N(ceiling)
}

// schedule makes the room's next step come after the delay, or sooner if one is
// due before.
func (r *Rooms) schedule(rm *room, delay time.Duration) {
	due := time.Now().Add(delay)
	switch {
	case r.run == nil:
		return
	case rm.busy:
		rm.again = true
		return
	case !rm.due.IsZero() && rm.due.Before(due):
		return
	}
	rm.stopTimer()
	rm.due = due
	rm.timer = time.AfterFunc(delay, func() { r.step(rm) })
}

// step does what is due about a room, and says when the next step is.
func (r *Rooms) step(rm *room) {
	r.mu.Lock()
	ctx := r.run
	if ctx == nil || rm.busy || r.rooms[rm.name] != rm {
		r.mu.Unlock()
		return
	}
	r.steps.Add(1)
	defer r.steps.Done()
	defer r.unlock()
	rm.busy, rm.again, rm.due = true, false, time.Time{}

	var next time.Duration
	switch {
	case rm.want == meeting.WantNothing:
		r.leaveRoom(ctx, rm) // no meeting wants anything of it
	case rm.want == meeting.WantClosed:
		next = r.close(ctx, rm)
	case rm.phase == inside:
		next = r.maintain(ctx, rm)
	default:
		next = r.tryToEnter(ctx, rm)
	}

	rm.busy = false
	if rm.again {
		next = 0
	}
	if rm.want == meeting.WantNothing && rm.phase == outside {
		rm.stopTimer()
		r.solved(CheckEntry, rm)
		delete(r.rooms, rm.name)
		return
	}
	r.schedule(rm, next)
}

// unlocked runs f without r.mu, which is held before and after: a step holds it
// except while it waits for the server.
func (r *Rooms) unlocked(f func() error) error {
	r.unlock()
	defer r.mu.Lock()
	return f()
}

// sendPresence queues a presence of usher's in the room, and gives r.mu up
// meanwhile.
func (r *Rooms) sendPresence(ctx context.Context, rm *room, typ string, payload ...any) error {
	return r.unlocked(func() error {
		return r.cfg.Occupant.Send(ctx, "presence", r.self(rm), typ, payload...)
	})
}

// awaitSelf sends a presence and blocks until the room has answered with
// usher's own or refused it, or the timeout is over. It gives r.mu up meanwhile.
func (r *Rooms) awaitSelf(ctx context.Context, rm *room, timeout time.Duration, typ string, payload ...any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer)
	defer cancel()
	arrived := make(chan error, 1)
	rm.arrived = arrived
	if err := r.sendPresence(ctx, rm, typ, payload...); err != nil {
		return err
	}
	return r.unlocked(func() error {
		select {
		case err := <-arrived:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

func (r *Rooms) address(room string) string { return room + "@" + r.cfg.Site.MUC }

// self returns usher's own address in the room.
func (r *Rooms) self(rm *room) string { return r.address(rm.name) + "/" + rm.nick }
