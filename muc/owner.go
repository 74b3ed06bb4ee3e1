package muc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

// Affiliations (XEP-0045 §5.2).
const (
	member = "member"
	owner  = "owner"
)

const (
	// ownTimeout bounds the wait for the room to say that usher is its owner, which
	// takes 3 ms.
	ownTimeout = 5 * time.Second
	// memberInterval is the least time between two times that usher makes itself a
	// member of one room: whoever gives and takes affiliations must not keep it busy.
	memberInterval = time.Second
)

// errNotOwner says that the room did not make usher its owner in time.
var errNotOwner = errors.New("muc: the room does not make usher its owner")

// Own calls do while usher is an owner of the room, and once more when it is
// answered not-allowed or forbidden: somebody may have taken the ownership away.
// It blocks until do has returned. usher must be in the room: until it is, the
// error wraps [meeting.ErrUnavailable].
//
// An owner who is there all the time would be taken for a host: by lobbies and
// plugins that wait for one, and to those that wait for the last one to leave.
// So usher is a member, and an owner only while somebody needs it; never
// none, which a members-only room throws out.
func (r *Rooms) Own(ctx context.Context, room string, do func() error) error {
	r.mu.Lock()
	defer r.unlock()
	return r.own(ctx, room, func() error { return r.unlocked(do) })
}

// own is Own; do is called with r.mu held.
func (r *Rooms) own(ctx context.Context, room string, do func() error) error {
	rm := r.rooms[room]
	if rm == nil || rm.phase != inside {
		return fmt.Errorf("muc: usher is not in room %s: %w", room, meeting.ErrUnavailable)
	}
	rm.owning++
	defer func() {
		rm.owning--
		r.schedule(rm, 0) // makes it a member again
	}()
	var err error
	for range 2 {
		if err = r.beOwner(ctx, rm); err != nil {
			return err
		}
		if err = do(); !is(err, stanza.NotAllowed) && !is(err, stanza.Forbidden) {
			return err
		}
		rm.affil = ""
	}
	return err
}

// beOwner makes usher an owner of the room it is in, and blocks until the room
// has said so: what needs it goes another way than the grant.
func (r *Rooms) beOwner(ctx context.Context, rm *room) error {
	if rm.affil == owner && rm.role == meeting.RoleModerator && rm.owning > 1 {
		return nil
	}
	rm.affil = ""
	err := r.grant(ctx, rm.name, owner)
	r.noAdministrator(err)
	if err == nil {
		err = r.awaitOwner(ctx, rm)
	}
	if err == nil {
		delete(r.problems, CheckRole)
	} else if r.controlUp && rm.phase == inside && r.run != nil && r.run.Err() == nil {
		r.problem(CheckRole, Problem{rm.name, "usher cannot become its owner, as it must to record or to put somebody out: " + err.Error(), r.cfg.Site.AdminLine()})
	}
	return err
}

// awaitOwner blocks until the room has said that usher is an owner.
func (r *Rooms) awaitOwner(ctx context.Context, rm *room) error {
	ctx, cancel := context.WithTimeoutCause(ctx, ownTimeout, errNotOwner)
	defer cancel()
	for rm.affil != owner || rm.role != meeting.RoleModerator {
		if rm.phase != inside {
			return fmt.Errorf("muc: usher is not in room %s any more: %w", rm.name, meeting.ErrUnavailable)
		}
		if rm.changed == nil {
			rm.changed = make(chan struct{})
		}
		changed := rm.changed
		err := r.unlocked(func() error {
			select {
			case <-changed:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// beMember makes usher a member of the room, whatever it is.
func (r *Rooms) beMember(ctx context.Context, rm *room) {
	// Until the room says otherwise: who needs an owner now asks for it anew.
	rm.affil, rm.memberAt = member, time.Now()
	if err := r.grant(ctx, rm.name, member); err != nil {
		rm.affil = ""
		r.noAdministrator(err)
	}
}

// unaffiliated reports whether usher is other than a member although nobody needs
// it to be.
func (rm *room) unaffiliated() bool {
	return rm.phase == inside && rm.owning == 0 && rm.affil != member
}

// selfReported wakes those who wait for what the room says about usher.
func (rm *room) selfReported() {
	if rm.changed != nil {
		close(rm.changed)
		rm.changed = nil
	}
}
