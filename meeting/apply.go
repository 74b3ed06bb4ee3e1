package meeting

import (
	"slices"
	"time"
)

// Effects is what follows from a change and is committed together with it.
// Nothing of it may leave usher before that commit has succeeded.
type Effects struct {
	People   []Participant // to store, each under its session
	Sessions []Session     // to store
	// Recordings are to be stored, each also under the id that Jibri knows it by.
	Recordings []Recording
	Events     []Event // for apps, in this order
	// ReuseRoom lets a new meeting have a room that is held, see
	// [Meeting.RoomHeldUntil].
	ReuseRoom bool
	// More says that the input is not worked off, because of its MaxEvents: after
	// these effects are stored it is to be applied again, with another seed.
	More bool
}

// Add appends what follows from a later input of the same commit.
func (fx *Effects) Add(later Effects) {
	fx.ReuseRoom = fx.ReuseRoom || later.ReuseRoom
	fx.Events = append(fx.Events, later.Events...)
	fx.People = merge(fx.People, later.People)
	fx.Sessions = merge(fx.Sessions, later.Sessions)
	fx.Recordings = merge(fx.Recordings, later.Recordings)
}

// merge puts each of the later values in the place of the one with its id, or at
// the end.
func merge[T interface{ id() string }](list, later []T) []T {
	for _, v := range later {
		if i := slices.IndexFunc(list, func(q T) bool { return q.id() == v.id() }); i >= 0 {
			list[i] = v
		} else {
			list = append(list, v)
		}
	}
	return list
}

func (p Participant) id() string { return p.ID }
func (s Session) id() string     { return s.ID }
func (r Recording) id() string   { return r.ID }

// Apply returns the meeting after the input, and what follows from it.
//
// It is deterministic and leaves m as it was. A presence that says nothing new
// gives m back with no effects; so does a leave of somebody unknown. A change
// that must be stored raises Version. An error refuses a command and changes
// nothing.
//
//	state    input         becomes   events
//	-        Created       created   meeting.created
//	created  Seen human    live      session.started, participant.joined
//	live     Seen, Roster  live      participant.joined, .left or .updated
//	live     Gone          live      participant.left once no connection is left
//	live     Gone, to another room   nothing; participant.left in SwitchTimeout if not seen again
//	live     Breakouts     live      participant.updated, of the room; .joined for somebody new
//	live     VisitorsCounted  live   nothing; they keep the session open
//	not over Lobby         same      participant.lobby_joined; .lobby_left once in, or after AdmissionTimeout
//	live     RoomGone      live      participant.left for everybody
//	live     Tick          created   session.ended once empty for the linger
//	any      Patched       same      meeting.updated
//	any      Invited       same      nothing; the session waits for them
//	any      Removed       same      nothing; the user is kicked until Readmitted
//	live     ConferenceChanged  live   nothing; recordings from bridges need it
//	any      Tick          same      meeting.ending before an end by the clock
//	any      StoreReset    same      store.reset, unless it has ended; all of it is stored
//	any      Ended, Tick   ended     participant.left, session.ended, meeting.ended
//	ended    RoomGone      ended     nothing; the meeting is closed
//	ended    any of these  ended     first the rest of an end that was cut short
//
// Recordings of the meeting go their own way, also after its end, by
// recordingTable; what time and occupancy do to them is looked at after every
// input.
func Apply(m Meeting, in TimedInput) (Meeting, Effects, error) {
	d := draft{m: m, at: in.At, seed: in.Seed, maxEvents: in.MaxEvents, triggerDelay: in.TriggerDelay, notice: in.Notice}
	d.m.Recordings = slices.Clone(m.Recordings)
	var err error
	switch f := in.Input.(type) {
	case Created:
		err = d.create(f)
	case Ended:
		err = d.end(f)
	case Patched:
		err = d.patch(f)
	case Invited, Removed, Readmitted:
		err = d.admission(f)
	case RoomGone:
		d.roomGone(f.Reason)
	case Tick:
		d.tick()
	case StoreReset:
		d.storeReset()
	case RecordingWanted:
		err = d.wantRecording(f)
	case RecordingInput:
		err = d.applyRecording(f)
	default:
		// A meeting that is over has let its people go; the room may take a
		// moment longer to close, and what it says meanwhile is not news.
		if m.State() != StateEnded && m.ID != "" {
			d.observe(in.Input)
		}
	}
	if err != nil {
		return m, Effects{}, err
	}
	d.followStream(m)
	if d.m.ID != "" {
		d.records(m)
	}
	if d.changed {
		d.m.Version++
	}
	d.fx.More = d.more
	return d.m, d.fx, nil
}

// draft is a meeting in the middle of an Apply.
type draft struct {
	m       Meeting
	at      time.Time
	seed    Seed
	ids     int      // ids made so far
	window  *Window  // set while working through what was found later
	remover *Remover // set while somebody goes whom somebody put out
	fx      Effects
	changed bool  // something must be stored
	owned   bool  // m.People is ours to change; m.Recordings is
	err     error // of a recording that refuses an input

	maxEvents int  // see TimedInput
	more      bool // see Effects

	triggerDelay time.Duration // see TimedInput
	notice       Notice        // see TimedInput
}

func (d *draft) create(f Created) error {
	if d.m.ID != "" {
		return &ExistsError{ID: d.m.ID}
	}
	d.m = Meeting{
		ID: d.newID("mtg_"), Room: f.Room, ExternalID: f.ExternalID, Metadata: f.Metadata,
		CreatedAt: d.at, Key: f.Key, Limits: f.Limits, Policy: f.Policy,
	}
	d.fx.ReuseRoom = f.ReuseRoom
	d.notifyMeeting(MeetingCreated)
	return nil
}

func (d *draft) end(f Ended) error {
	switch {
	case d.m.ID == "":
		return ErrNotFound
	case d.m.State() == StateEnded:
		if !f.Forget && !d.m.ending() {
			return ErrEnded
		}
		d.forget(f.Forget)
		d.goOnEnding()
		return nil
	}
	d.each(RecordingInput{Kind: RecordingStop, Reason: StopMeetingEnd}) // first, so that they know of the session
	d.m.EndedAt, d.m.EndReason, d.m.StaleSince = latest(d.m.CreatedAt, d.at), f.Reason, time.Time{}
	d.changed = true
	d.forget(f.Forget)
	d.finishEnd()
	return nil
}

func (d *draft) forget(asked bool) {
	d.changed = d.changed || asked && !d.m.Forgotten
	d.m.Forgotten = d.m.Forgotten || asked
}

// ending reports whether the meeting has ended and has people to let go, who were
// too many for one commit. [Ended], [RoomGone] and a [Tick], which is due, go on
// with that.
func (m Meeting) ending() bool { return !m.EndedAt.IsZero() && m.Session.ID != "" }

// goOnEnding finishes an end, as of when the meeting ended, and reports whether
// nothing of it is left.
func (d *draft) goOnEnding() bool {
	if d.m.ending() {
		now := d.at
		d.at = d.m.EndedAt
		d.finishEnd()
		d.at = now
	}
	return !d.m.ending()
}

// finishEnd lets everybody go, and when they are gone reports the meeting's end.
func (d *draft) finishEnd() {
	d.m.Visitors, d.m.HasBreakouts = 0, false
	d.lobbyClosed(LeftDestroyed)
	if !d.everybodyLeft(LeftDestroyed) {
		return
	}
	d.endSession()
	d.m.People, d.m.Pending, d.m.Removals = nil, nil, nil
	d.notifyMeeting(MeetingEnded)
}

// storeReset has the meeting stored, and reports to apps that the store has lost
// what came before.
func (d *draft) storeReset() {
	switch {
	case d.m.ID == "":
	case d.m.State() == StateEnded:
		d.changed = true // meeting.ended was its last event
	default:
		d.notifyMeeting(StoreWasReset)
	}
}

func (d *draft) roomGone(reason LeftReason) {
	if d.m.State() == StateEnded {
		if d.goOnEnding() {
			d.changed = d.changed || !d.m.Closed
			d.m.Closed = true
			d.roomEnded()
		}
		return
	}
	d.visitorsCounted(0)
	d.lobbyClosed(reason)
	if d.found(func() bool { return d.everybodyLeft(reason) }) {
		d.changed = d.changed || d.m.HasBreakouts
		d.m.HasBreakouts = false
		d.roomEnded()
	}
}

// observe takes in what the room says.
func (d *draft) observe(f Input) {
	switch f := f.(type) {
	case Seen:
		d.window = d.blind()
		d.seen(f.Occupant)
		d.window = nil
	case Gone:
		d.remover = d.whoRemoved(f)
		d.gone(f.Nick, f.Reason)
		d.remover = nil
	case NickChanged:
		d.renamed(f.From, f.To)
	case Roster:
		unseen := !d.m.StaleSince.IsZero()
		if !d.found(func() bool { return d.roster(f) }) {
			return
		}
		if unseen && d.m.Focus == f.Focus {
			d.heard(f.Focus) // what it said before vouched for nothing meanwhile
		}
		d.focusSaid(f.Focus)
		d.visitorsCounted(f.Visitors)
	case FocusSaid:
		d.focusSaid(f.Focus)
	case Breakouts:
		d.window = d.blind()
		d.breakouts(f)
		d.window = nil
	case VisitorsCounted:
		d.visitorsCounted(f.Visitors)
	case Lobby:
		d.lobby(f)
	case ConferenceChanged:
		d.conferenceChanged(f.Conference)
	case SightLost:
		d.sightLost()
	}
}

func (d *draft) sightLost() {
	if d.m.Session.ID != "" && d.m.StaleSince.IsZero() {
		d.m.StaleSince = d.at
		d.changed = true
	}
}

// roster makes the people those on the list, as if each difference had been
// seen when it happened, and reports whether it got to the last.
func (d *draft) roster(f Roster) bool {
	left, moved, switched := d.missing(f)
	if !d.allGone(left, LeftDisconnected) {
		return false
	}
	for _, o := range f.Occupants {
		if d.full() {
			return false
		}
		d.seen(o)
	}
	for _, c := range switched {
		d.switching(c)
	}
	if f.Breakouts != nil && !d.breakouts(*f.Breakouts) {
		return false
	}
	// Somebody who came back on a new connection was never gone, so the old
	// one is taken away last.
	return d.allGone(moved, LeftDisconnected)
}

// missing returns those who are not where they were: who left, who is a user on
// another connection now, and who is in another room of the meeting, or on the way.
func (d *draft) missing(f Roster) (left, moved, switched []Occupant) {
	for person, c := range d.m.connections {
		switch {
		case c.Elsewhere != nil:
			// Until the breakout rooms are seen again; time did not count meanwhile.
			if f.Breakouts == nil && c.Elsewhere.Since.IsZero() || !d.m.StaleSince.IsZero() {
				switched = append(switched, c)
			}
		case slices.ContainsFunc(f.Occupants, func(o Occupant) bool { return o.Nick == c.Nick }):
		case f.Breakouts != nil && slices.ContainsFunc(f.Breakouts.Occupants, func(o Occupant) bool { return o.JID == c.JID }):
			switched = append(switched, c)
		case person.UserID != "" && slices.ContainsFunc(f.Occupants, func(o Occupant) bool { return o.UserID == person.UserID }):
			moved = append(moved, c)
		case d.m.HasBreakouts && person.Kind.moves():
			switched = append(switched, c)
		default:
			left = append(left, c)
		}
	}
	return left, moved, switched
}

// found makes changes that lead to how the room is now, and reports whether it
// made all of them. If sight of the room had been lost, they happened at some time
// since then, and with the last of them it is regained.
func (d *draft) found(change func() bool) (all bool) {
	d.window = d.blind()
	all = change()
	d.window = nil
	if all && !d.m.StaleSince.IsZero() {
		d.m.StaleSince = time.Time{}
		d.changed = true
	}
	return all
}

// full reports whether the rest of the input is left for the next time. People
// without a session make no events, so they never are.
func (d *draft) full() bool {
	d.more = d.maxEvents > 0 && d.m.Session.ID != "" && len(d.fx.Events) >= d.maxEvents
	return d.more
}

// blind returns the time that usher has been without sight of the room, nil if
// it has not.
func (d *draft) blind() *Window {
	if d.m.StaleSince.IsZero() {
		return nil
	}
	return &Window{After: Time{d.m.StaleSince}, Before: Time{d.at}}
}

// newID returns an id made from the input's time and seed.
func (d *draft) newID(prefix string) string {
	d.ids++
	return NewID(prefix, d.at, d.seed, d.ids-1)
}

func (d *draft) notifyMeeting(t EventType) {
	info := d.m.Info()
	info.StateVersion++ // the version that this very change leads to
	d.notify(t, Data{Meeting: &info})
}

// notify adds an event with the data and the occupancy.
func (d *draft) notify(t EventType, data Data) {
	d.changed = true
	d.m.Seq++
	data.Occupancy = new(d.m.Occupancy())
	d.fx.Events = append(d.fx.Events, Event{
		ID: d.newID("evt_"), Type: t, Timestamp: Time{d.at}, APIVersion: APIVersion,
		MeetingID: d.m.ID, Room: d.m.Room, ExternalID: d.m.ExternalID, SessionID: d.m.Session.ID,
		Seq: d.m.Seq, StateVersion: d.m.Version + 1, Reconciled: d.window, Data: data,
	})
}
