package meeting

import (
	"cmp"
	"slices"
	"time"
)

// Times that hold for every meeting.
const (
	// SessionLinger is how long a session stays open after the last human has
	// left, unless the meeting says otherwise.
	// A page reload takes seconds, a restart of the server or of the network
	// under a minute; apps that see a session end act on it for good.
	SessionLinger = 60 * time.Second
	// PendingJoin is how long somebody who was handed a token or a link counts
	// as on the way: to load Jitsi on a slow phone and look into the camera.
	PendingJoin = 2 * time.Minute
	// EndingEvent is how long before its end a meeting is announced to end:
	// time to come to a close.
	EndingEvent = 5 * time.Minute
	// QueueTimeout is how long a recording waits for a recorder, unless the
	// meeting says otherwise: half of a usual meeting, after which a recording
	// of the rest is of little use.
	QueueTimeout = 30 * time.Minute
	// RoomHold is how long the room of an open-ended meeting is not given to
	// another one: as long as a token for it lives if nothing else was asked for.
	RoomHold = 24 * time.Hour
	// RoomHoldAfterEnd is the same for a meeting with an end by the clock, from
	// then on.
	RoomHoldAfterEnd = 15 * time.Minute
	// maxPending is how many people on their way are listed; more than that
	// at once only matter as "somebody is coming".
	maxPending = 100
	// MaxListed is how many people session.ended lists at most, and how many
	// guests who have left a meeting keeps for that. A hundred make an event of
	// some 40 kB, of which each endpoint's queue holds a copy; who was in a
	// larger session is read over the API.
	MaxListed = 100
)

// Limits bound a meeting; what is zero does not.
type Limits struct {
	StartAt time.Time `json:"start_at,omitzero"` // people are let in from then on
	EndAt   time.Time `json:"end_at,omitzero"`   // ends by itself then
	// MaxDuration ends the meeting this long after its first session began.
	MaxDuration time.Duration `json:"max_duration,omitempty"`
	// EmptyTimeout ends the meeting when it had no session for this long since
	// it was created, or could start, or its last session ended.
	EmptyTimeout time.Duration `json:"empty_timeout,omitempty"`
	// Linger is how long a session stays open after the last human has left;
	// zero: SessionLinger.
	Linger time.Duration `json:"linger,omitempty"`
	// MaxParticipants is how many people the room takes.
	MaxParticipants int `json:"max_participants,omitempty"`
	// Lobby has people wait until a host lets them in. It holds from when the
	// room is made.
	Lobby bool `json:"lobby,omitempty"`
}

// Pending is somebody on the way.
type Pending struct {
	UserID string    `json:"user_id,omitempty"`
	Until  time.Time `json:"until"` // counts until then
}

// EndsAt returns when the meeting ends by itself and why; zero if by no clock.
func (m Meeting) EndsAt() (time.Time, EndReason) {
	end, reason := m.EndAt, EndTime
	if m.MaxDuration > 0 && !m.FirstSession.IsZero() {
		if t := m.FirstSession.Add(m.MaxDuration); end.IsZero() || t.Before(end) {
			end, reason = t, EndDuration
		}
	}
	return end, reason
}

// emptyUntil returns when the meeting ends for want of people, zero while a
// session is open or if it never does. It waits for those on their way.
func (m Meeting) emptyUntil() time.Time {
	if m.EmptyTimeout == 0 || m.Session.ID != "" {
		return time.Time{}
	}
	return m.noPendingBefore(latest(m.CreatedAt, m.StartAt, m.IdleSince).Add(m.EmptyTimeout))
}

// noPendingBefore returns until, or when the last of those on their way is no
// longer waited for.
func (m Meeting) noPendingBefore(until time.Time) time.Time {
	for _, p := range m.Pending {
		until = latest(until, p.Until)
	}
	return until
}

// lingersUntil returns when the open session ends for want of people, zero
// while somebody is in or no session is open.
func (m Meeting) lingersUntil() time.Time {
	if m.Session.EmptySince.IsZero() {
		return time.Time{}
	}
	return m.noPendingBefore(m.Session.EmptySince.Add(cmp.Or(m.Linger, SessionLinger)))
}

// Deadline returns the next time at which the meeting changes by itself, or what
// is wanted of its room does, zero if that never happens. A [Tick] at or after it
// makes the change.
func (m Meeting) Deadline(now time.Time) time.Time {
	var next time.Time
	for _, r := range m.Recordings {
		next = earliest(next, m.recordingDue(r))
	}
	switch {
	case m.ending():
		return earliest(next, m.EndedAt)
	case m.State() == StateEnded:
		return next
	}
	for _, from := range m.recorderKicks {
		if from.After(now) {
			next = earliest(next, from)
		}
	}
	for _, p := range m.Pending {
		next = earliest(next, p.Until)
	}
	next = earliest(next, m.switchingUntil(), m.admissionUntil())
	if now.Before(m.StartAt) {
		next = earliest(next, m.StartAt)
	}
	end, _ := m.EndsAt()
	if !end.IsZero() && !m.Warned {
		next = earliest(next, end.Add(-EndingEvent))
	}
	return earliest(next, end, m.emptyUntil(), m.lingersUntil())
}

// tick makes the changes whose time has come.
func (d *draft) tick() {
	if d.m.ID == "" || d.m.State() == StateEnded {
		d.goOnEnding()
		return
	}
	end, reason := d.m.EndsAt()
	switch {
	case d.due(end):
		_ = d.end(Ended{Reason: reason}) // refuses only meetings that have ended
		return
	case d.due(d.m.emptyUntil()):
		_ = d.end(Ended{Reason: EndEmpty})
		return
	case !end.IsZero() && d.due(end.Add(-EndingEvent)) && !d.m.Warned:
		d.m.Warned = true
		d.notifyMeeting(MeetingEnding)
	}
	if !d.switchesEnd() {
		return
	}
	d.admissionsEnd()
	if d.due(d.m.lingersUntil()) {
		d.endSession()
	}
	waiting := slices.DeleteFunc(slices.Clone(d.m.Pending), func(p Pending) bool { return d.due(p.Until) })
	if len(waiting) < len(d.m.Pending) {
		d.m.Pending = waiting
		d.changed = true
	}
}

// invited notes that somebody was handed a token or a link.
func (d *draft) invited(f Invited) {
	d.m.TokensUntil = latest(d.m.TokensUntil, f.TokenExpires)
	d.arrived(f.UserID) // counts once, from now
	waiting := append(slices.Clone(d.m.Pending), Pending{UserID: f.UserID, Until: d.at.Add(PendingJoin)})
	d.m.Pending = waiting[max(0, len(waiting)-maxPending):]
	d.changed = true
}

// arrived takes somebody who has come, or is invited again, off the list of
// those on their way.
func (d *draft) arrived(user string) {
	i := slices.IndexFunc(d.m.Pending, func(p Pending) bool { return p.UserID == user })
	if i >= 0 {
		d.m.Pending = slices.Delete(slices.Clone(d.m.Pending), i, i+1)
		d.changed = true
	}
}

// patch changes what an app may change about a meeting that is not over.
func (d *draft) patch(f Patched) error {
	switch {
	case d.m.ID == "":
		return ErrNotFound
	case d.m.State() == StateEnded:
		return ErrEnded
	case len(f.IfSettings) > 0 && !slices.Contains(f.IfSettings, d.m.Settings()):
		return ErrVersion
	}
	limits := d.m.Limits
	assign(&limits.StartAt, f.StartAt)
	assign(&limits.EndAt, f.EndAt)
	assign(&limits.MaxDuration, f.MaxDuration)
	assign(&limits.EmptyTimeout, f.EmptyTimeout)
	assign(&limits.Linger, f.Linger)
	assign(&limits.MaxParticipants, f.MaxParticipants)
	if !limits.EndAt.IsZero() && !limits.EndAt.After(limits.StartAt) {
		return &InvalidError{Field: "end_at", Detail: "must be after start_at"}
	}
	d.m.Limits = limits
	d.m.Patches++
	assign(&d.m.Metadata, f.Metadata)
	if f.Policy != nil {
		policy := *f.Policy
		policy.Destination = d.m.Policy.Destination // apps cannot see it, so they cannot give it back
		d.m.Policy = policy
	}
	if end, _ := d.m.EndsAt(); end.IsZero() || d.at.Before(end.Add(-EndingEvent)) {
		d.m.Warned = false
	}
	d.notifyMeeting(MeetingUpdated)
	return nil
}

// assign sets the field to the value, if there is one.
func assign[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// due reports whether the time has come; zero never does.
func (d *draft) due(t time.Time) bool { return !t.IsZero() && !d.at.Before(t) }

// earliest returns the first of the times that are not zero.
func earliest(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

func latest(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if t.After(first) {
			first = t
		}
	}
	return first
}
