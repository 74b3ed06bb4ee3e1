package muc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"
	"mellium.im/xmpp/stanza"

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
	want  meeting.Want
	phase phase
	timer *time.Timer // starts the next turn
	due   time.Time   // when that is; zero while none is set
	busy  bool        // a turn is at work
	again bool        // something called for another turn meanwhile

	expected   time.Time // when the server announced the room
	warmUntil  time.Time // look often until then
	seenBefore bool      // sight of it was lost, it may still be there
	lonely     bool      // left because no human was in; enter only for somebody
	failures   int       // entries that failed in a row
	probe      allowance // to look for the room unannounced

	view    map[string]seen             // who is in, by nick, ourselves left out
	burst   map[string]meeting.Occupant // who was told since an entry or resync began
	arrived chan error                  // ends the wait of an entry or a leave
	role    meeting.Role                // our own
	since   time.Time                   // of the entry

	retell      bool      // the meeting missed presences: tell the roster anew
	checkAt     time.Time // when to compare with the server's lists next
	check       allowance // to do so
	visited     bool      // a human was in since we entered
	emptySince  time.Time // when the last human left
	unmoderated time.Time // since when humans are in and none is moderator
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

// leave forgets what only holds inside.
func (rm *room) leave() {
	rm.phase, rm.view, rm.burst = outside, nil, nil
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

// retry returns how long to wait after the failures so far: full jitter under
// a ceiling that doubles.
func (rm *room) retry() time.Duration {
	ceiling := retryMax
	if rm.failures < 6 {
		ceiling = min(retryMax, retryMin<<rm.failures)
	}
	return rand.N(ceiling)
}

// refusedError says that the room did not let usher in.
type refusedError struct{ condition string }

func (e *refusedError) Error() string { return "muc: entry refused: " + e.condition }

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
		r.goOut(ctx, rm) // no meeting wants anything of it
	case want == meeting.WantClosed:
		next = r.close(ctx, rm)
	case where == inside:
		next = r.stay(ctx, rm)
	default:
		next = r.comeIn(ctx, rm)
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

// comeIn looks whether the room exists and enters it. It returns when to look
// again.
func (r *Rooms) comeIn(ctx context.Context, rm *room) time.Duration {
	r.mu.Lock()
	ready := r.occupantUp && (r.controlUp || rm.seenBefore)
	back, lonely, pace := rm.seenBefore, rm.lonely, rm.pace()
	var wait time.Duration
	if ready && !back && time.Since(rm.expected) > expectFor {
		wait = rm.probe.wait(r.probes)
	}
	r.mu.Unlock()
	if !ready {
		return coldPace // a stream that comes up brings every room its turn
	}
	if wait > 0 {
		return wait
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return coldPace
	}
	if !back {
		exists, err := r.ready(ctx, rm.name, lonely)
		if err != nil {
			return r.failed(rm, err)
		}
		if !exists {
			return pace
		}
	}
	err := r.enter(ctx, rm, "")
	var refused *refusedError
	if errors.As(err, &refused) && refused.condition == "not-authorized" {
		var password string
		if password, err = r.password(ctx, rm.name); err == nil {
			err = r.enter(ctx, rm, password)
		}
	}
	switch {
	case err == nil:
		return r.entered(rm)
	case back:
		return r.cameBackTooLate(ctx, rm, err)
	}
	return r.failed(rm, err)
}

// pace returns how soon to look again for a room that does not exist.
func (rm *room) pace() time.Duration {
	switch since := time.Since(rm.expected); {
	case since < expectFastFor:
		return expectFast
	case since < expectFor:
		return expectSlow
	case time.Now().Before(rm.warmUntil):
		return warmPace
	}
	return coldPace
}

// ready reports whether the room exists and may be entered: as its owner, and
// not before the focus, whose arrival is what sets a Jitsi room up.
func (r *Rooms) ready(ctx context.Context, name string, lonely bool) (bool, error) {
	r.metrics.probes.Inc()
	if err := r.grant(ctx, name); is(err, stanza.ItemNotFound) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("grant ownership: %w", err)
	}
	roles := []string{"moderator"}
	if lonely {
		roles = allRoles
	}
	items, err := r.list(ctx, name, roles...)
	if is(err, stanza.ItemNotFound) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("list occupants: %w", err)
	}
	focus, others := false, 0
	for _, it := range items {
		if bare := bareJID(it.JID); bare == r.site.FocusJID {
			focus = true
		} else if bare != r.site.OccupantJID {
			others++
		}
	}
	return focus && (!lonely || others > 0), nil
}

var allRoles = []string{"moderator", "participant", "visitor"}

// enter joins the room and blocks until we are in, were refused, or the
// patience is over.
func (r *Rooms) enter(ctx context.Context, rm *room, password string) error {
	arrived := make(chan error, 1)
	r.mu.Lock()
	rm.phase, rm.arrived = entering, arrived
	rm.view, rm.burst = map[string]seen{}, map[string]meeting.Occupant{}
	rm.since, rm.visited, rm.emptySince, rm.unmoderated = time.Now(), false, time.Time{}, time.Time{}
	r.mu.Unlock()

	ctx, cancel := context.WithTimeoutCause(ctx, joinTimeout, errNoAnswer)
	defer cancel()
	self := r.site.address(rm.name) + "/" + r.site.Nick
	err := r.occupant.Send(ctx, "presence", self, "", r.site.join(password)...)
	if err == nil {
		select {
		case err = <-arrived:
		case <-ctx.Done():
			err = context.Cause(ctx)
			// Parked somewhere: whatever comes of it later, we are not in.
			_ = r.occupant.Send(context.WithoutCancel(ctx), "presence", self, "unavailable")
		}
	}
	if err != nil {
		r.mu.Lock()
		if rm.phase == entering {
			rm.leave()
		}
		r.mu.Unlock()
	}
	return err
}

// entered takes stock after an entry and returns when to look at the room next.
func (r *Rooms) entered(rm *room) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.metrics.entries.WithLabelValues("ok").Inc()
	rm.seenBefore, rm.lonely, rm.failures = false, false, 0
	rm.checkAt = time.Now() // checked against the server's lists next
	return 0
}

// cameBackTooLate finds out what became of a room that usher was in before its
// stream ended and is not let into again.
func (r *Rooms) cameBackTooLate(ctx context.Context, rm *room, refusal error) time.Duration {
	r.mu.Lock()
	up := r.occupantUp
	r.mu.Unlock()
	if !up {
		return coldPace
	}
	err := r.grant(ctx, rm.name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if is(err, stanza.ItemNotFound) {
		// The server keeps rooms in memory: its end is theirs.
		r.roomGone(rm, time.Now(), meeting.LeftServerShutdown)
		return warmPace
	}
	if err == nil {
		// It exists; enter it like one found for the first time.
		rm.seenBefore = false
		err = refusal
	}
	return r.failedLocked(rm, err)
}

// failed takes note of a failed look or entry and returns when to try again.
func (r *Rooms) failed(rm *room, err error) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failedLocked(rm, err)
}

func (r *Rooms) failedLocked(rm *room, err error) time.Duration {
	if r.run == nil || r.run.Err() != nil || !r.occupantUp || !r.controlUp {
		return coldPace // the streams tell of their own trouble
	}
	r.metrics.entries.WithLabelValues("failed").Inc()
	rm.failures++
	if rm.failures == 1 {
		r.log.Warn("cannot enter a room, trying again", "room", rm.name, "err", err)
	}
	return rm.retry()
}

// considerLeaving has the room looked at when its people may all have gone.
func (r *Rooms) considerLeaving(rm *room, at time.Time) {
	if humans, _, focus := rm.humans(); humans == 0 {
		if rm.emptySince.IsZero() {
			rm.emptySince = at
		}
		if rm.phase == inside {
			delay := emptyStay
			if !focus {
				delay = 0
			}
			r.schedule(rm, delay)
		}
	}
}

// humanSeen takes note of a human who is new or changed.
func (r *Rooms) humanSeen(rm *room, at time.Time, known bool) {
	rm.visited = true
	rm.emptySince = time.Time{}
	if _, moderators, _ := rm.humans(); moderators > 0 {
		rm.unmoderated = time.Time{}
		delete(r.problems, "moderator")
	} else if rm.unmoderated.IsZero() && !known {
		rm.unmoderated = at
		if rm.phase == inside {
			r.schedule(rm, moderatorWithin)
		}
	}
}

// shouldLeave reports whether nothing keeps usher in the room, or else how
// long to wait before asking again.
func (rm *room) shouldLeave(now time.Time) (bool, time.Duration) {
	humans, _, focus := rm.humans()
	switch {
	case humans > 0:
		return false, checkPace
	case !rm.visited:
		left := rm.since.Add(unvisitedStay).Sub(now)
		return left <= 0, left
	case !focus:
		return true, 0
	}
	left := rm.emptySince.Add(emptyStay).Sub(now)
	return left <= 0, left
}

// stay looks after a room that usher is in, and returns when to look again.
func (r *Rooms) stay(ctx context.Context, rm *room) time.Duration {
	r.mu.Lock()
	now := time.Now()
	leave, wait := rm.shouldLeave(now)
	if leave {
		rm.lonely = true
		rm.warmUntil = now.Add(warmFor)
	}
	if !rm.unmoderated.IsZero() {
		if left := rm.unmoderated.Add(moderatorWithin).Sub(now); left > 0 {
			wait = min(wait, left)
		} else {
			r.noModerator(rm)
			rm.unmoderated = time.Time{}
		}
	}
	check := checkPace
	if r.controlUp {
		if check = rm.checkAt.Sub(now); check <= 0 {
			check = rm.check.wait(r.checks)
		}
	}
	retell, regrant := rm.retell, rm.role != meeting.RoleModerator
	r.mu.Unlock()

	switch {
	case leave:
		r.goOut(ctx, rm)
		return warmPace
	case retell:
		r.resync(ctx, rm)
		return 0
	case check <= 0:
		if regrant {
			r.regainOwnership(ctx, rm)
		}
		r.compare(ctx, rm)
		return 0
	}
	return max(min(wait, check), expectFast)
}

// goOut leaves the room and blocks until the room confirms it.
func (r *Rooms) goOut(ctx context.Context, rm *room) {
	gone := make(chan error, 1)
	r.mu.Lock()
	if rm.phase != inside {
		r.mu.Unlock()
		return
	}
	rm.phase, rm.arrived = leaving, gone
	for nick, s := range rm.view {
		// Whoever is still in, a recorder perhaps, is out of our sight now.
		if s.kind != meeting.KindFocus {
			r.observe(rm.name, time.Now(), meeting.Gone{Nick: nick, Reason: meeting.LeftByChoice})
		}
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	if err := r.occupant.Send(ctx, "presence", r.site.address(rm.name)+"/"+r.site.Nick, "unavailable"); err == nil {
		select {
		case <-gone:
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rm.leave()
}

// close makes sure that the room does not exist, and returns when to try again.
func (r *Rooms) close(ctx context.Context, rm *room) time.Duration {
	err := r.destroy(ctx, rm.name, EndedText)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil || is(err, stanza.ItemNotFound) {
		r.roomGone(rm, time.Now(), meeting.LeftDestroyed)
		return coldPace
	}
	rm.failures++
	if rm.failures == 1 && r.controlUp && ctx.Err() == nil {
		r.log.Warn("cannot end a room, trying again", "room", rm.name, "err", err)
	}
	return max(rm.retry(), retryMin)
}
