package meeting

import (
	"cmp"
	"slices"
	"time"
)

// Knows reports whether the meeting has just this occupant and no recording on its
// mind, so that a presence which says the same changes nothing.
func (m Meeting) Knows(o Occupant) bool {
	if len(m.Recordings) > 0 || m.Policy.humans() > 0 {
		return false
	}
	for _, c := range m.connections {
		if c == o {
			return true
		}
	}
	return false
}

// seen takes in an available presence in the main room.
func (d *draft) seen(o Occupant) {
	if o.Kind == KindFocus || o.Kind == KindBot {
		d.gone(o.Nick, LeftDisconnected) // of a person before it
		return
	}
	p, c := d.find(o.Nick)
	if p < 0 {
		p, c = d.elsewhere(o.JID)
	}
	if p < 0 {
		d.join(o)
		return
	}
	known := &d.m.People[p].Connections[c]
	if *known == o {
		return
	}
	streams := known.Kind == KindRecorder && o.Kind == KindStreamer // a Jibri says so once it is in
	if known.JID != o.JID || known.Kind != o.Kind && !streams || known.UserID != o.UserID {
		// Somebody else under this nick: the leave of the one before was missed.
		d.drop(*known, LeftDisconnected)
		d.seen(o)
		return
	}
	person := d.person(p)
	person.Connections[c] = o
	if streams && person.SessionID != "" {
		d.m.Session.Recorders--
		d.saveSession()
	}
	d.updated(person)
}

// join adds a connection, and the person when they were not in yet.
func (d *draft) join(o Occupant) {
	if o.Kind == KindHuman {
		d.arrived(o.UserID)
	}
	if o.Kind == KindHuman && d.m.Session.ID == "" {
		d.startSession()
	}
	id := d.admitted(o)
	if p := d.recognise(o); p >= 0 {
		person := d.person(p)
		wasIn := person.Present()
		person.Connections = append(person.Connections, o)
		if wasIn {
			d.updated(person)
			return
		}
		person.ArrivedAt, person.LeftAt, person.LeftReason, person.LeftBy = d.at, Time{}, "", nil
		person.describe(d.at)
		d.joined(person)
		return
	}
	d.own()
	d.m.People = append(d.m.People, Participant{
		Person:    Person{ID: cmp.Or(id, d.newID("prt_")), SessionID: d.m.Session.ID, Kind: o.Kind, UserID: o.UserID, JoinedAt: Time{d.at}},
		ArrivedAt: d.at, Connections: []Occupant{o},
	})
	person := &d.m.People[len(d.m.People)-1]
	person.describe(d.at)
	switch o.Kind {
	case KindHuman:
		d.m.Session.Humans++
	case KindRecorder:
		d.m.Session.Recorders++
	}
	d.joined(person)
}

// joined reports a person who was not in before.
func (d *draft) joined(person *Participant) {
	if person.SessionID == "" {
		return // a recorder before the first human: reported once a session starts
	}
	if person.Kind == KindHuman {
		d.m.Session.EmptySince = time.Time{}
		d.m.Session.Peak = max(d.m.Session.Peak, d.m.Occupancy().Humans)
	}
	d.save(*person)
	d.saveSession()
	d.notify(ParticipantJoined, Data{Participant: new(person.Info())})
}

// updated reports what a connection's presence changed about a person.
func (d *draft) updated(person *Participant) {
	changed := person.describe(d.at)
	if person.SessionID == "" {
		return
	}
	d.save(*person)
	if len(changed) > 0 {
		d.notify(ParticipantUpdated, Data{Participant: new(person.Info()), Changed: changed})
	}
}

// gone takes in that a connection has left the main room; an unknown one is no
// news.
func (d *draft) gone(nick string, reason LeftReason) {
	p, c := d.find(nick)
	switch {
	case p < 0:
	case reason == LeftSwitchedRoom && d.m.People[p].Kind.moves():
		d.switching(d.m.People[p].Connections[c])
	default:
		d.drop(d.m.People[p].Connections[c], reason)
	}
}

// drop ends a connection, as of when it was seen last.
func (d *draft) drop(o Occupant, reason LeftReason) {
	p, c := d.connection(o)
	if p < 0 {
		return
	}
	at := d.at
	if o.Elsewhere != nil && !o.Elsewhere.Since.IsZero() {
		at = o.Elsewhere.Since
	}
	person := d.person(p)
	d.remember(person, o)
	person.Connections = slices.Delete(person.Connections, c, c+1)
	if person.Present() {
		d.updated(person)
		return
	}
	left := *person
	left.leave(at, reason)
	left.LeftBy = d.remover
	if left.UserID == "" || left.SessionID == "" {
		// Nothing to recognise them by when they return, or no event spoke of
		// them.
		d.m.People = slices.Delete(d.m.People, p, p+1)
		d.m.Left = keepLeft(d.m.Left, &left)
	} else {
		d.m.People[p] = left
	}
	if left.SessionID == "" {
		return
	}
	d.save(left)
	if left.Kind == KindHuman && d.m.Occupancy().Humans == 0 && d.m.Visitors == 0 {
		d.m.Session.EmptySince = d.at // not before: who was on the way may still come
		d.saveSession()
	}
	d.notify(ParticipantLeft, Data{Participant: new(left.Info())})
}

// renamed gives a connection another nick. Whoever is known by that one has
// left unseen, or it would not have been free.
func (d *draft) renamed(from, to string) {
	if p, _ := d.find(from); p < 0 || from == to {
		return
	}
	d.gone(to, LeftDisconnected)
	p, c := d.find(from)
	person := d.person(p)
	d.remember(person, person.Connections[c])
	person.Connections[c].Nick = to
	d.updated(person)
}

// everybodyLeft ends every connection, and reports whether it got to the last.
func (d *draft) everybodyLeft(reason LeftReason) bool {
	var all []Occupant
	for _, c := range d.m.connections {
		all = append(all, c)
	}
	return d.allGone(all, reason)
}

// allGone ends connections, and reports whether it got to the last.
func (d *draft) allGone(connections []Occupant, reason LeftReason) bool {
	for _, c := range connections {
		if d.full() {
			return false
		}
		d.drop(c, reason)
	}
	return true
}

func (d *draft) startSession() {
	d.m.FirstSession = cmp.Or(d.m.FirstSession, d.at)
	d.m.Session = Session{SessionInfo: SessionInfo{ID: d.newID("ses_"), MeetingID: d.m.ID, StartedAt: Time{d.at}}}
	d.saveSession()
	d.notify(SessionStarted, Data{Session: new(d.m.Session.Info())})
	d.own()
	for i := range d.m.People {
		// Whoever was in before the first human belongs to this session.
		person := &d.m.People[i]
		person.SessionID = d.m.Session.ID
		if person.Kind == KindRecorder {
			d.m.Session.Recorders++
		}
		d.joined(person)
	}
}

// endSession closes the open session, if there is one, as of the moment the
// last human left.
func (d *draft) endSession() {
	if d.m.Session.ID == "" {
		return
	}
	d.endStream()
	d.m.Session.EndedAt = Time{latest(d.m.Session.StartedAt.Time, cmp.Or(d.m.Session.EmptySince, d.at))} // see leave
	listed := d.listed()
	var stay []Participant
	for _, person := range d.m.People {
		if !person.Present() {
			continue
		}
		// Somebody who outstays the humans, such as a recorder or a dial-in: their
		// part in this session is over, and another begins with the next one.
		closing := person
		closing.Connections = nil
		closing.leave(d.at, LeftByChoice)
		d.save(closing)
		d.notify(ParticipantLeft, Data{Participant: new(closing.Info())})
		person.ID, person.SessionID = d.newID("prt_"), ""
		person.JoinedAt, person.ArrivedAt, person.Stayed, person.History = Time{d.at}, d.at, 0, nil
		person.note(d.at)
		stay = append(stay, person)
	}
	d.m.People, d.m.Left = stay, nil
	d.owned = true
	d.saveSession()
	d.notify(SessionEnded, Data{Session: new(d.m.Session.Info()), Participants: listed})
	d.m.IdleSince = d.m.Session.EndedAt.Time
	d.m.Session = Session{}
}

// listed returns the humans of the session, in the order of joining, as far as
// they are at hand and MaxListed allows.
func (d *draft) listed() (list []ParticipantInfo) {
	for i := range d.m.People {
		if d.m.People[i].Kind == KindHuman {
			list = append(list, d.m.People[i].Info())
		}
	}
	for _, p := range d.m.Left {
		list = append(list, p.Info())
	}
	slices.SortStableFunc(list, func(a, b ParticipantInfo) int { return a.JoinedAt.Compare(b.JoinedAt.Time) })
	return list[max(0, len(list)-MaxListed):]
}

// connection returns the place of a connection and its person, or -1.
func (d *draft) connection(o Occupant) (person, connection int) {
	for i := range d.m.People {
		if c := slices.Index(d.m.People[i].Connections, o); c >= 0 {
			return i, c
		}
	}
	return -1, -1
}

// elsewhere returns the place of the connection with the real address that is not
// in the main room, and of its person, or -1.
func (d *draft) elsewhere(jid string) (person, connection int) {
	for i := range d.m.People {
		c := slices.IndexFunc(d.m.People[i].Connections, func(o Occupant) bool { return o.JID == jid && o.Elsewhere != nil })
		if c >= 0 {
			return i, c
		}
	}
	return -1, -1
}

// find returns the place of the person and connection with the nick in the main
// room, or -1.
func (d *draft) find(nick string) (person, connection int) {
	for i := range d.m.People {
		if c := d.m.People[i].connection(nick); c >= 0 {
			return i, c
		}
	}
	return -1, -1
}

// recognise returns the place of the person that a new connection belongs to,
// or -1. Only a token's user id makes two connections one person.
func (d *draft) recognise(o Occupant) int {
	if o.UserID == "" {
		return -1
	}
	return slices.IndexFunc(d.m.People, func(p Participant) bool {
		return p.UserID == o.UserID && p.Kind == o.Kind
	})
}

// person returns the person at the index, ready to be changed.
func (d *draft) person(i int) *Participant {
	d.own()
	p := &d.m.People[i]
	p.Connections = slices.Clone(p.Connections)
	return p
}

// own makes the list of people ours to change.
func (d *draft) own() {
	if !d.owned {
		d.m.People = slices.Clone(d.m.People)
		d.owned = true
	}
}

func (d *draft) save(p Participant) {
	d.changed = true
	p.Connections = slices.Clone(p.Connections)
	d.fx.Add(Effects{People: []Participant{p}})
}

func (d *draft) saveSession() {
	d.changed = true
	d.fx.Add(Effects{Sessions: []Session{d.m.Session}})
}
