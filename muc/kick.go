package muc

import (
	"context"
	"errors"
	"fmt"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

// Kick puts the occupants with these nicks out of the room and shows them the
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
