package muc

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

// scheduleLeave has the room looked at when its people may all have gone.
func (r *Rooms) scheduleLeave(rm *room, at time.Time) {
	if humans, _, _ := rm.humans(); humans > 0 {
		return
	}
	if rm.emptySince.IsZero() {
		rm.emptySince = at
	}
	if rm.phase == inside {
		r.schedule(rm, rm.timeLeft(at))
	}
}

// humanSeen takes note of a human who is new or changed.
func (r *Rooms) humanSeen(rm *room, at time.Time, known bool) {
	rm.visited = true
	rm.emptySince = time.Time{}
	if _, moderators, _ := rm.humans(); moderators > 0 {
		rm.unmoderated = time.Time{}
		delete(r.problems, CheckModerator)
	} else if rm.unmoderated.IsZero() && !known {
		rm.unmoderated = at
		if rm.phase == inside {
			r.schedule(rm, moderatorWithin)
		}
	}
}

// timeLeft returns how long usher stays in the room unless something happens;
// none or less: nothing keeps it there.
func (rm *room) timeLeft(now time.Time) time.Duration {
	humans, _, focus := rm.humans()
	switch {
	case humans > 0:
		return checkInterval
	case rm.want == meeting.WantKeep:
		return checkInterval
	case !rm.visited:
		return rm.since.Add(unvisitedTimeout).Sub(now)
	case rm.want == meeting.WantStay, len(rm.nicks(meeting.KindStreamer)) > 0:
		return rm.emptySince.Add(recordingTimeout).Sub(now)
	case !focus:
		return 0
	}
	return rm.emptySince.Add(emptyTimeout).Sub(now)
}

// nicks names those of the kinds who are in, to be kicked.
func (rm *room) nicks(kinds ...meeting.Kind) (found []meeting.Kick) {
	for nick, s := range rm.view {
		if slices.Contains(kinds, s.kind) {
			found = append(found, meeting.Kick{Nick: nick, Reason: "Everybody has left."})
		}
	}
	return found
}

// maintain looks after a room that usher is in, and returns when to look again.
func (r *Rooms) maintain(ctx context.Context, rm *room) time.Duration {
	now := time.Now()
	wait := rm.timeLeft(now)
	if wait <= 0 {
		r.leaveEmpty(ctx, rm)
		return warmInterval
	}
	if !rm.unmoderated.IsZero() {
		if left := rm.unmoderated.Add(moderatorWithin).Sub(now); left > 0 {
			wait = min(wait, left)
		} else {
			r.noModerator(rm)
			rm.unmoderated = time.Time{}
		}
	}
	left, mended := r.mend(ctx, rm, now)
	if wait = min(wait, left); mended || rm.blind {
		return wait
	}
	if rm.rosterDue {
		if !r.resync(ctx, rm) {
			return warmInterval
		}
		return 0
	}
	check := checkInterval
	if r.controlUp {
		if check = rm.checkAt.Sub(now); check <= 0 {
			check = reserve(&rm.check, r.checks)
		}
	}
	if check > 0 {
		return max(min(wait, check), expectFast)
	}
	r.compare(ctx, rm)
	return 0
}

// mend does what others have made necessary, one thing at a time and each not too
// often. It returns when to look again, and whether it did something.
func (r *Rooms) mend(ctx context.Context, rm *room, now time.Time) (wait time.Duration, done bool) {
	wait = checkInterval
	for _, job := range []struct {
		needed bool
		from   time.Time
		do     func(context.Context, *room)
	}{
		{rm.unaffiliated() && r.controlUp, rm.memberAt.Add(memberInterval), r.beMember},
		{len(rm.unwanted) > 0, rm.kickAt, r.kickUnwanted},
		{rm.blind, rm.sightAt, r.regainSight},
		{rm.lacksMeetingID(), rm.meetingIDAt, r.readMeetingID},
		{r.lobbyNeeded(rm), rm.lobby.lookAt, r.readLobby},
	} {
		if left := job.from.Sub(now); job.needed && left > 0 {
			wait = min(wait, left)
		} else if job.needed {
			job.do(ctx, rm)
			return 0, true
		}
	}
	return wait, false
}

// leaveEmpty leaves a room that no human is in any more.
func (r *Rooms) leaveEmpty(ctx context.Context, rm *room) {
	if left := rm.nicks(meeting.KindRecorder, meeting.KindStreamer); len(left) > 0 {
		// Its Jibri has died, or it would have gone by itself: it would keep the conference alive.
		if err := r.kick(ctx, rm.name, left); err != nil {
			r.note(slog.LevelWarn, "cannot put a recorder out of a room that all have left", "room", rm.name, "err", err)
		}
		if humans, _, _ := rm.humans(); humans > 0 {
			return // somebody came back meanwhile
		}
	}
	rm.alone, rm.warmUntil = true, time.Now().Add(warmFor)
	if rm.affil == owner {
		r.beMember(ctx, rm) // the room may go on
	}
	r.leaveRoom(ctx, rm)
}

// leaveRoom leaves the room and blocks until the room confirms it.
func (r *Rooms) leaveRoom(ctx context.Context, rm *room) {
	if rm.phase != inside {
		return
	}
	rm.phase = leaving
	for nick, s := range rm.view {
		// Whoever is still in, such as a recorder, is not seen from now on.
		if s.kind != meeting.KindFocus {
			r.cfg.Observe(rm.name, time.Now(), meeting.Gone{Nick: nick, Reason: meeting.LeftByChoice})
		}
	}
	_ = r.awaitSelf(ctx, rm, leaveTimeout, "unavailable")
	rm.reset()
}

// close makes sure that the room does not exist, and returns when to try again.
func (r *Rooms) close(ctx context.Context, rm *room) time.Duration {
	err := r.destroy(ctx, rm.name, EndedText)
	r.noAdministrator(err)
	if err == nil || is(err, stanza.ItemNotFound) {
		r.roomGone(rm, time.Now(), meeting.LeftDestroyed)
		return coldInterval
	}
	if !r.controlUp || ctx.Err() != nil {
		return notByTime // every room is looked at when a stream comes up
	}
	rm.failures++
	if rm.failures == 1 {
		r.note(slog.LevelWarn, "cannot end a room, trying again", "room", rm.name, "err", err)
	}
	return max(retry(rm.failures), retryMin)
}
