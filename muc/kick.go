package muc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

// Kick removes the occupants with these nicks from the room and shows them the
// reason (XEP-0045 §8.2). It blocks for an answer per nick. Somebody who is not
// in any more is no error. usher must be in the room itself: until it is, the
// error wraps [meeting.ErrUnavailable].
func (r *Rooms) Kick(ctx context.Context, room string, nicks []string, reason string) error {
	kicks := make([]meeting.Kick, len(nicks))
	for i, nick := range nicks {
		kicks[i] = meeting.Kick{Nick: nick, Reason: reason}
	}
	r.mu.Lock()
	defer r.unlock()
	return r.kick(ctx, room, kicks)
}

func (r *Rooms) kick(ctx context.Context, room string, kicks []meeting.Kick) error {
	return r.own(ctx, room, func() error {
		var errs []error
		for _, k := range kicks {
			query := adminQuery{Items: []item{{Nick: k.Nick, Role: "none", Reason: k.Reason}}}
			err := r.request(ctx, r.cfg.Occupant, r.address(room), "set", query, nil)
			if err != nil && !is(err, stanza.ItemNotFound) {
				errs = append(errs, fmt.Errorf("kick from room %s: %w", room, err))
			}
		}
		return errors.Join(errs...)
	})
}

// Evict names those who are in the room and must not be (tracker.Rooms).
func (r *Rooms) Evict(name string, who []meeting.Kick) {
	r.mu.Lock()
	defer r.unlock()
	rm := r.rooms[name]
	if rm == nil {
		return // no meeting wants anything of it
	}
	rm.unwanted = who
	switch {
	case rm.phase != inside: // once usher is in
	case len(who) == 0:
		rm.failures, rm.kickAt = 0, time.Time{}
	case rm.failures == 0: // else when the kick that failed is tried again
		r.schedule(rm, 0)
	}
}

// kickUnwanted kicks those who must not be in the room.
func (r *Rooms) kickUnwanted(ctx context.Context, rm *room) {
	who := rm.unwanted
	err := r.kick(ctx, rm.name, who)
	if err != nil && len(rm.unwanted) > 0 {
		rm.failures++
		if rm.failures == 1 {
			r.note(slog.LevelWarn, "cannot kick somebody out of a room, trying again", "room", rm.name, "err", err)
		}
		rm.kickAt = time.Now().Add(kickRetry)
		return
	}
	rm.failures, rm.kickAt = 0, time.Time{}
	if len(rm.unwanted) > 0 && &rm.unwanted[0] == &who[0] { // Evict was not called meanwhile
		rm.unwanted = nil
	}
}
