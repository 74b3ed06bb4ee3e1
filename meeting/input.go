package meeting

import (
	"errors"
	"fmt"
	"time"
)

// TimedInput is an input with its time.
type TimedInput struct {
	At    time.Time // when it was observed; UTC, whole milliseconds
	Seed  Seed      // for the ids it gives rise to
	Input Input
	// MaxEvents is after how many events a change of many people is to stop, in a
	// state that can be stored, see [Effects].More. 0: it does not.
	MaxEvents int
	// TriggerDelay is how long after the first human [TriggerAutomatic] records, a
	// setting of the site.
	TriggerDelay time.Duration
	// Notice is who informs people that their voices are recorded, a setting of the
	// site; empty: it records nothing from bridges.
	Notice Notice
}

// Input is something that happened to a meeting, or was asked of it: one of the
// types below.
type Input interface{ input() }

// Created makes a meeting; it applies to the zero Meeting only.
type Created struct {
	Room       string
	ExternalID string
	Metadata   map[string]string
	Key        string // id of the API key that asks
	Limits
	Policy RecordingPolicy
	// ReuseRoom takes the room although tokens of its last meeting may open it.
	ReuseRoom bool
}

// Patched changes a meeting that is not over; what is nil stays as it is.
type Patched struct {
	IfSettings      []int64 // refused with ErrVersion unless [Meeting.Settings] is one of them; none: whatever that is
	StartAt         *time.Time
	EndAt           *time.Time
	MaxDuration     *time.Duration
	EmptyTimeout    *time.Duration
	Linger          *time.Duration
	MaxParticipants *int
	Metadata        *map[string]string
	Policy          *RecordingPolicy
}

// Invited says that somebody was handed a token just now, by itself or through a
// link. UserID is empty for guests.
type Invited struct {
	UserID       string
	TokenExpires time.Time
}

// Ended ends the meeting for good: everybody out, and nobody in again. With
// Forget, everything about it is deleted once its room is gone; that may also
// be asked of a meeting that is over.
type Ended struct {
	Reason EndReason
	Forget bool
}

// Seen is an occupant's available presence, new or repeated.
type Seen struct{ Occupant Occupant }

// Gone is an occupant's unavailable presence.
type Gone struct {
	Nick   string
	Reason LeftReason
	// Actor is the nick of the occupant who put them out; empty where the room
	// names none, as for a leave, or somebody who is not in it.
	Actor   string
	ByUsher bool // usher did, for an app
}

// NickChanged is a change of nick without a leave (XEP-0045 §7.6).
type NickChanged struct{ From, To string }

// Roster is everybody who is in the room, listed at once: after entering, or
// when reconciling. Who is missing left, who is new joined, some time between
// the moment usher last knew and now. Focus and Visitors are what the focus says
// meanwhile, Breakouts who is in breakout rooms; nil: that is not known yet.
type Roster struct {
	Occupants []Occupant
	Focus     FocusSays
	Visitors  int
	Breakouts *Breakouts
}

// RoomGone says that the room does not exist, and why everybody is out.
type RoomGone struct{ Reason LeftReason }

// SightLost says that from then on usher may have missed something, because it
// cannot follow the room, or did not keep up.
type SightLost struct{}

// Tick says that a deadline may have come.
type Tick struct{}

// StoreReset says that the store has lost what it held, so that the meeting is
// to be written anew as it is at hand.
type StoreReset struct{}

func (Created) input()     {}
func (Patched) input()     {}
func (Invited) input()     {}
func (Ended) input()       {}
func (Seen) input()        {}
func (Gone) input()        {}
func (NickChanged) input() {}
func (Roster) input()      {}
func (RoomGone) input()    {}
func (SightLost) input()   {}
func (Tick) input()        {}
func (StoreReset) input()  {}

// Errors that callers decide on.
var (
	ErrNotFound = errors.New("meeting: not found")
	// ErrEnded refuses a change of a meeting that is over.
	ErrEnded = errors.New("meeting: already ended")
	// ErrVersion refuses a change that was made from other settings.
	ErrVersion = errors.New("meeting: changed meanwhile")
	// ErrNotLive refuses to record a meeting that nobody is in.
	ErrNotLive = errors.New("meeting: no session is open")
	// ErrNoBridges refuses to record from bridges on a site without that.
	ErrNoBridges = errors.New("meeting: this usher records nothing from bridges")
	// ErrNoNotice refuses to record from bridges while nothing informs people of it.
	ErrNoNotice = errors.New("meeting: nothing informs people that their voices are recorded")
	// ErrNotWanted refuses to start a recording that is not to start any more.
	ErrNotWanted = errors.New("meeting: recording not wanted any more")
	// ErrNotSettled refuses to delete a recording whose file is still to come.
	ErrNotSettled = errors.New("meeting: recording not finished")
	// ErrUnavailable says that the store does not answer; try again.
	ErrUnavailable = errors.New("meeting: store unavailable")
	// ErrFenced says that another process has taken over.
	ErrFenced = errors.New("meeting: another process leads")
	// ErrBusy refuses a command because too many wait already.
	ErrBusy = errors.New("meeting: too many commands waiting")
)

// ExistsError says that a meeting with the same room or external id exists.
type ExistsError struct{ ID string }

func (e *ExistsError) Error() string { return "meeting: exists already as " + e.ID }

// RoomHeldError refuses a new meeting whose room tokens of an earlier one may
// open until then.
type RoomHeldError struct{ Until time.Time }

func (e *RoomHeldError) Error() string {
	return "meeting: tokens of an earlier meeting open the room until " + e.Until.UTC().Format(time.RFC3339)
}

// ConflictError says that the stored meeting is not the one the change was
// made from. Stored is its version, 0 when there is none.
type ConflictError struct{ Stored int64 }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("meeting: stored version is %d", e.Stored)
}

// InvalidError refuses a change whose outcome would make no sense.
type InvalidError struct{ Field, Detail string }

func (e *InvalidError) Error() string { return "meeting: " + e.Field + " " + e.Detail }
