package meeting

import (
	"slices"
	"time"
)

// SwitchTimeout is how long somebody who has gone from one room of a meeting to
// another counts as present without being seen in any. The web client needs some
// seconds for it, and lib-jitsi-meet tries again for the better part of a minute;
// it is also as long as a server takes to notice that a browser has crashed.
const SwitchTimeout = 60 * time.Second

// MainRoom is the id of a meeting's main room.
const MainRoom = "main"

// ParticipantRoom is the one of a meeting's rooms that somebody is in.
type ParticipantRoom struct {
	ID   string `json:"id" doc:"main, or a breakout room's own id"`
	Name string `json:"name,omitempty" doc:"What the breakout room is called in the web client"`
}

// Elsewhere says that a connection is not in the main room.
type Elsewhere struct {
	Room  ParticipantRoom `json:"room,omitzero"`  // where it was seen last; zero: in the main room
	Since time.Time       `json:"since,omitzero"` // when it went from there; zero: it is there
}

// Breakouts is everybody who is in the breakout rooms, each with the room as
// [Occupant].Elsewhere. Rooms is how many of them there are, empty ones included.
type Breakouts struct {
	Rooms     int
	Occupants []Occupant
}

// VisitorsCounted is how many visitors the focus counts.
type VisitorsCounted struct{ Visitors int }

func (Breakouts) input()       {}
func (VisitorsCounted) input() {}

// moves reports whether an occupant of the kind goes from room to room.
func (k Kind) moves() bool { return k == KindHuman || k == KindSIP }

// inMain returns how many participants of the kinds are in the main room, where
// recorders and triggers look.
func (m Meeting) inMain(kinds ...Kind) (n int) {
	for i := range m.People {
		p := &m.People[i]
		here := slices.ContainsFunc(p.Connections, func(c Occupant) bool { return c.Elsewhere == nil })
		if here && slices.Contains(kinds, p.Kind) {
			n++
		}
	}
	return n
}

// deserted reports whether a recorder would find nobody in the main room: to Jibri
// a telephone is somebody (EmptyCallStatusCheck counts members).
func (m Meeting) deserted() bool { return m.inMain(KindHuman, KindSIP) == 0 }

// occupiedElsewhere reports whether people are in breakout rooms, or on the way to
// or from one, or visitors watch: the main room may be empty and must go on.
func (m Meeting) occupiedElsewhere() bool {
	if m.Visitors > 0 && m.Session.ID != "" {
		return true
	}
	for _, c := range m.connections {
		if c.Elsewhere != nil {
			return true
		}
	}
	return false
}

// switchingUntil returns when the first of those who are seen nowhere counts as
// gone; zero: nobody is, or the room cannot be seen.
func (m Meeting) switchingUntil() (next time.Time) {
	if !m.StaleSince.IsZero() {
		return next
	}
	for _, c := range m.connections {
		if c.Elsewhere != nil && !c.Elsewhere.Since.IsZero() {
			next = earliest(next, c.Elsewhere.Since.Add(SwitchTimeout))
		}
	}
	return next
}

// switching takes in that a connection has gone to another room.
func (d *draft) switching(o Occupant) {
	p, c := d.connection(o)
	if p < 0 {
		return
	}
	where := Elsewhere{Since: d.at}
	if o.Elsewhere != nil {
		where.Room = o.Elsewhere.Room
	}
	person := d.person(p)
	person.Connections[c].Elsewhere = &where
	d.updated(person)
}

// switchesEnd lets those go who were seen nowhere for too long, as of when they
// were seen last, and reports whether it got to the last.
func (d *draft) switchesEnd() bool {
	if !d.due(d.m.switchingUntil()) {
		return true
	}
	var gone []Occupant
	for _, c := range d.m.connections {
		if c.Elsewhere != nil && !c.Elsewhere.Since.IsZero() && d.due(c.Elsewhere.Since.Add(SwitchTimeout)) {
			gone = append(gone, c)
		}
	}
	return d.allGone(gone, LeftSwitchedRoom)
}

// breakouts makes those in breakout rooms the ones on the list, and reports whether
// it got to the last. Who is in the main room is there, whatever the list says:
// the room's own presences are as new as the list.
func (d *draft) breakouts(f Breakouts) bool {
	if some := f.Rooms > 0; some != d.m.HasBreakouts {
		d.m.HasBreakouts, d.changed = some, true
	}
	type place struct{ person, connection int }
	known := map[string]place{} // by real address
	for i := range d.m.People {
		for j, c := range d.m.People[i].Connections {
			known[c.JID] = place{i, j}
		}
	}
	listed := map[string]bool{}
	for _, o := range f.Occupants {
		listed[o.JID] = true
		at, ok := known[o.JID]
		switch {
		case d.full():
			return false
		case ok:
			d.seenElsewhere(at.person, at.connection, o)
		default:
			d.join(o)
		}
	}
	var missing []Occupant
	for _, c := range d.m.connections {
		if c.Elsewhere != nil && c.Elsewhere.Since.IsZero() && !listed[c.JID] {
			missing = append(missing, c)
		}
	}
	for _, c := range missing {
		d.switching(c)
	}
	return true
}

// seenElsewhere takes in that a connection that is known is in a breakout room.
// What it sends there is not seen.
func (d *draft) seenElsewhere(p, c int, o Occupant) {
	known := d.m.People[p].Connections[c]
	if known.Elsewhere == nil || *known.Elsewhere == *o.Elsewhere && known.Role == o.Role && known.Name == o.Name {
		return
	}
	o.Kind, o.UserID, o.Host, o.Email = known.Kind, known.UserID, known.Host, known.Email
	person := d.person(p)
	person.Connections[c] = o
	d.updated(person)
}

// visitorsCounted takes in how many visitors there are. They keep a session open
// and never begin one.
func (d *draft) visitorsCounted(n int) {
	if d.m.Visitors == n {
		return
	}
	d.m.Visitors, d.changed = n, true
	s := &d.m.Session
	empty := n == 0 && d.m.Occupancy().Humans == 0
	if s.ID != "" && empty == s.EmptySince.IsZero() {
		s.EmptySince = time.Time{}
		if empty {
			s.EmptySince = d.at
		}
		d.saveSession()
	}
}
