package muc

import (
	"math/rand/v2"
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
// most one turn works on it at a time.
type room struct {
	name  string
	want  meeting.DesiredState
	phase phase
	timer *time.Timer // starts the next turn
	due   time.Time   // when that is; zero while none is set
	busy  bool        // a turn is at work
	again bool        // something called for another turn meanwhile

	expected  time.Time // when the server announced the room
	warmUntil time.Time // look often until then
	wasInside bool      // usher was in it and lost sight of it; it may still exist
	lostAt    time.Time // when that was
	alone     bool      // left because no human was in; enter only for somebody
	failures  int       // entries, or kicks once inside, that failed in a row
	evicted   int       // stays in a row that ended with a kick before stableAfter
	retryAt   time.Time // no entry before that
	probe     allowance // to probe for the room unannounced

	view     map[string]seen             // who is in, by nick, ourselves left out
	burst    map[string]meeting.Occupant // whom the room has reported since an entry or resync began
	order    []string                    // their nicks, in the order of the reports
	selfSeen bool                        // our own presence came since a resync began
	arrived  chan error                  // ends the wait of an entry or a leave
	role     meeting.Role                // our own
	says     meeting.FocusSays           // what the focus last said
	since    time.Time                   // of the entry

	unwanted    []meeting.Kick // to be kicked
	rosterDue   bool           // the meeting missed presences: it needs the whole roster
	confirmedAt time.Time      // when we last knew for certain who is in
	checkAt     time.Time      // when to compare with the server's lists next
	check       allowance      // to do so
	visited     bool           // a human was in since we entered
	emptySince  time.Time      // when the last human left
	unmoderated time.Time      // since when humans are in and none is moderator
}

// seen is what the room needs to remember of an occupant.
type seen struct {
	jid       string
	kind      meeting.Kind
	moderator bool
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

// allowance is a place in a limiter's queue, kept from turn to turn so that no
// turn has to wait there.
type allowance struct{ at time.Time }

// wait returns how long until the allowance may be used; zero takes it.
func (a *allowance) wait(l *rate.Limiter) time.Duration {
	if a.at.IsZero() {
		a.at = time.Now().Add(l.Reserve().Delay())
	}
	if left := time.Until(a.at); left > 0 {
		return left
	}
	a.at = time.Time{}
	return 0
}

// reset forgets what only holds inside.
func (rm *room) reset() {
	rm.phase, rm.view, rm.burst, rm.says = outside, nil, nil, meeting.FocusSays{}
	rm.signal(&refusedError{condition: "unavailable"})
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

// schedule makes the room's next turn come after the delay, or sooner if that
// was said before. r.mu is held.
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
	rm.timer = time.AfterFunc(delay, func() { r.turn(rm) })
}

// turn does what is due about a room, and says when the next turn is.
func (r *Rooms) turn(rm *room) {
	r.mu.Lock()
	ctx := r.run
	if ctx == nil || rm.busy || r.rooms[rm.name] != rm {
		r.mu.Unlock()
		return
	}
	rm.busy, rm.again, rm.due = true, false, time.Time{}
	r.turns.Add(1)
	defer r.turns.Done()
	want, where := rm.want, rm.phase
	r.mu.Unlock()

	var next time.Duration
	switch {
	case want == meeting.WantNothing:
		r.leaveRoom(ctx, rm) // no meeting wants anything of it
	case want == meeting.WantClosed:
		next = r.close(ctx, rm)
	case where == inside:
		next = r.stay(ctx, rm)
	default:
		next = r.tryToEnter(ctx, rm)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	rm.busy = false
	if rm.again {
		next = 0
	}
	if rm.want == meeting.WantNothing && rm.phase == outside {
		rm.stopTimer()
		delete(r.rooms, rm.name)
		return
	}
	r.schedule(rm, next)
}
