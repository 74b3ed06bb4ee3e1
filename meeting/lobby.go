package meeting

import (
	"slices"
	"time"
)

const (
	// AdmissionTimeout is how long somebody who is in the lobby no more may take to
	// come in before they count as gone: a client that was let in leaves the lobby
	// and enters the room in no fixed order, and one whose lobby was switched off
	// joins within seconds.
	AdmissionTimeout = 10 * time.Second
	// maxWaiting is how many people of a lobby are followed; more is no lobby that
	// somebody can look after.
	maxWaiting = 100
)

// LobbyRoom is the id of the room that somebody is in who waits.
const LobbyRoom = "lobby"

// Lobby is everybody who waits in the room's lobby to be let in, with nick and real
// address; nobody where there is no lobby.
type Lobby struct{ Waiting []Occupant }

func (Lobby) input() {}

// Waiting is somebody in the lobby.
type Waiting struct {
	ID    string    `json:"id"` // as participant, once they are in
	Nick  string    `json:"nick"`
	JID   string    `json:"jid"` // real full address
	Since time.Time `json:"since"`
	Gone  time.Time `json:"gone,omitzero"` // they are in the lobby no more, and not in the room yet
}

// info returns who waits, or waited, as apps see it.
func (w Waiting) info() ParticipantInfo {
	return ParticipantInfo{
		Person:     Person{ID: w.ID, Kind: KindHuman, Role: RoleParticipant, JoinedAt: Time{w.Since}},
		EndpointID: w.Nick, Room: ParticipantRoom{ID: LobbyRoom},
	}
}

// admissionUntil returns when the first of those who have gone from the lobby
// counts as gone for good; zero: nobody has, or the room cannot be seen.
func (m Meeting) admissionUntil() (next time.Time) {
	if !m.StaleSince.IsZero() {
		return next
	}
	for _, w := range m.Waiting {
		if !w.Gone.IsZero() {
			next = earliest(next, w.Gone.Add(AdmissionTimeout))
		}
	}
	return next
}

// lobby makes those who wait the ones on the list. Whoever is in the room as well
// has been let in.
func (d *draft) lobby(f Lobby) {
	in := map[string]bool{}
	for _, c := range d.m.connections {
		in[c.JID] = true
	}
	listed := map[string]bool{}
	waiting := slices.Clone(d.m.Waiting)
	var arrived []Waiting
	for _, o := range f.Waiting {
		listed[o.JID] = true
		known := slices.ContainsFunc(waiting, func(w Waiting) bool { return w.JID == o.JID })
		if known || in[o.JID] || o.Kind != KindHuman || len(waiting) >= maxWaiting {
			continue
		}
		w := Waiting{ID: d.newID("prt_"), Nick: o.Nick, JID: o.JID, Since: d.at}
		waiting, arrived = append(waiting, w), append(arrived, w)
	}
	for i := range waiting {
		w := &waiting[i]
		if listed[w.JID] != w.Gone.IsZero() {
			w.Gone = time.Time{}
			if !listed[w.JID] {
				w.Gone = d.at
			}
			d.changed = true
		}
	}
	d.m.Waiting = waiting
	for _, w := range arrived {
		d.notify(ParticipantLobbyJoined, Data{Participant: new(w.info())})
	}
}

// admissionsEnd lets those go who have left the lobby and did not come in, as of
// when they left.
func (d *draft) admissionsEnd() {
	for d.due(d.m.admissionUntil()) {
		i := slices.IndexFunc(d.m.Waiting, func(w Waiting) bool { return !w.Gone.IsZero() && d.due(w.Gone.Add(AdmissionTimeout)) })
		d.waited(i, LeftByChoice)
	}
}

// lobbyClosed lets everybody go who waits: the room is gone.
func (d *draft) lobbyClosed(reason LeftReason) {
	for len(d.m.Waiting) > 0 {
		d.waited(0, reason)
	}
}

// admitted takes somebody who has come into the room off the list of those who
// wait, and returns the id that they had there; empty: they did not wait.
func (d *draft) admitted(o Occupant) (id string) {
	i := slices.IndexFunc(d.m.Waiting, func(w Waiting) bool { return w.JID == o.JID })
	if i >= 0 {
		id = d.m.Waiting[i].ID
		d.waited(i, LeftAdmitted)
	}
	return id
}

// waited reports that somebody waits no more.
func (d *draft) waited(i int, reason LeftReason) {
	w := d.m.Waiting[i]
	d.m.Waiting = slices.Delete(slices.Clone(d.m.Waiting), i, i+1)
	info := w.info()
	info.LeftAt, info.LeftReason, info.EndpointID = Time{latest(w.Since, d.at)}, reason, ""
	if !w.Gone.IsZero() {
		info.LeftAt = Time{w.Gone}
	}
	d.notify(ParticipantLobbyLeft, Data{Participant: &info})
}
