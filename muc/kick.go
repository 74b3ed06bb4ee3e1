package muc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

// Kick removes the occupants with these nicks from the room and shows them the
// reason (XEP-0045 §8.2). It blocks for an answer per nick. Somebody who is not
// in any more is no error. usher must be in the room itself: until it is, the
// error wraps [meeting.ErrUnavailable].
func (r *Rooms) Kick(ctx context.Context, room string, nicks []string, reason string) error {
	r.mu.Lock()
	rm := r.rooms[room]
	in := rm != nil && rm.phase == inside
	r.mu.Unlock()
	if !in {
		return fmt.Errorf("muc: usher is not in room %s: %w", room, meeting.ErrUnavailable)
	}
	var errs []error
	for _, nick := range nicks {
		err := r.kick(ctx, room, nick, reason)
		if is(err, stanza.NotAllowed) || is(err, stanza.Forbidden) {
			// Somebody took our ownership away since the last check.
			if err = r.grant(ctx, room); err == nil {
				err = r.kick(ctx, room, nick, reason)
			}
		}
		if err != nil && !is(err, stanza.ItemNotFound) {
			errs = append(errs, fmt.Errorf("kick from room %s: %w", room, err))
		}
	}
	return errors.Join(errs...)
}

func (r *Rooms) kick(ctx context.Context, room, nick, reason string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, iqTimeout, errNoAnswer)
	defer cancel()
	return r.occupant.IQ(ctx, r.site.address(room), "set", adminQuery{
		Items: []item{{Nick: nick, Role: "none", Reason: reason}},
	}, nil)
}

// Evict names those who are in the room and must not be (tracker.Rooms).
func (r *Rooms) Evict(name string, who []meeting.Kick) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rm := r.rooms[name]
	if rm == nil {
		return // no meeting wants anything of it
	}
	rm.unwanted = who
	switch {
	case rm.phase != inside: // once usher is in
	case len(who) == 0:
		rm.failures = 0
	case rm.failures == 0: // else when the kick that failed is tried again
		r.schedule(rm, 0)
	}
}

// kickUnwanted kicks those who must not be in the room, and returns when to go on.
func (r *Rooms) kickUnwanted(ctx context.Context, rm *room) time.Duration {
	r.mu.Lock()
	who := rm.unwanted
	r.mu.Unlock()
	var errs []error
	for _, k := range who {
		errs = append(errs, r.Kick(ctx, rm.name, []string{k.Nick}, k.Reason))
	}
	err := errors.Join(errs...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && len(rm.unwanted) > 0 {
		rm.failures++
		if rm.failures == 1 {
			r.log.Warn("cannot kick somebody out of a room, trying again", "room", rm.name, "err", err)
		}
		return kickRetry
	}
	rm.failures = 0
	if len(rm.unwanted) > 0 && &rm.unwanted[0] == &who[0] { // Evict was not called meanwhile
		rm.unwanted = nil
	}
	return 0
}
