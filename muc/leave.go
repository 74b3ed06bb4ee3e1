package muc

import (
	"context"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

// scheduleLeave has the room looked at when its people may all have gone.
func (r *Rooms) scheduleLeave(rm *room, at time.Time) {
	if humans, _, focus := rm.humans(); humans == 0 {
		if rm.emptySince.IsZero() {
			rm.emptySince = at
		}
		if rm.phase == inside {
			delay := emptyTimeout
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
		return false, checkInterval
	case !rm.visited:
		left := rm.since.Add(unvisitedTimeout).Sub(now)
		return left <= 0, left
	case !focus && rm.want != meeting.WantStay:
		return true, 0
	}
	stay := emptyTimeout
	if rm.want == meeting.WantStay {
		stay = recordingTimeout
	}
	left := rm.emptySince.Add(stay).Sub(now)
	return left <= 0, left
}

// stay looks after a room that usher is in, and returns when to look again.
func (r *Rooms) stay(ctx context.Context, rm *room) time.Duration {
	r.mu.Lock()
	now := time.Now()
	leave, wait := rm.shouldLeave(now)
	if leave {
		rm.alone = true
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
	check := checkInterval
	if r.controlUp {
		if check = rm.checkAt.Sub(now); check <= 0 {
			check = rm.check.wait(r.checks)
		}
	}
	rosterDue, regrant := rm.rosterDue, rm.role != meeting.RoleModerator
	unwanted := len(rm.unwanted) > 0
	r.mu.Unlock()

	switch {
	case leave:
		r.leaveRoom(ctx, rm)
		return warmInterval
	case unwanted:
		return r.kickUnwanted(ctx, rm)
	case rosterDue:
		if !r.resync(ctx, rm) {
			return warmInterval
		}
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

// leaveRoom leaves the room and blocks until the room confirms it.
func (r *Rooms) leaveRoom(ctx context.Context, rm *room) {
	gone := make(chan error, 1)
	r.mu.Lock()
	leave, _ := rm.shouldLeave(time.Now()) // somebody may just have come
	if rm.phase != inside || rm.want != meeting.WantNothing && !leave {
		r.mu.Unlock()
		return
	}
	rm.phase, rm.arrived = leaving, gone
	for nick, s := range rm.view {
		// Whoever is still in, such as a recorder, is not seen from now on.
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
	rm.reset()
}

// close makes sure that the room does not exist, and returns when to try again.
func (r *Rooms) close(ctx context.Context, rm *room) time.Duration {
	err := r.destroy(ctx, rm.name, EndedText)
	r.noAdministrator(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil || is(err, stanza.ItemNotFound) {
		r.roomGone(rm, time.Now(), meeting.LeftDestroyed)
		return coldInterval
	}
	if !r.controlUp || ctx.Err() != nil {
		return coldInterval // every room is looked at when a stream comes up
	}
	rm.failures++
	if rm.failures == 1 {
		r.log.Warn("cannot end a room, trying again", "room", rm.name, "err", err)
	}
	return max(retry(rm.failures), retryMin)
}
