package meeting

import (
	"slices"
	"time"
)

// maxRemovals is how many users a meeting remembers to have been put out of it:
// as a rule below 10 KB, which are written with every change. When there are
// more, the one put out first may come back.
const maxRemovals = 100

// Removal is a user whom an app has put out of the meeting, until it ends or an
// app lets them in again.
type Removal struct {
	UserID string `json:"user_id"`
	Reason string `json:"reason,omitempty"` // shown to them each time
}

// Remover is who put somebody out of the room.
type Remover struct {
	Type RequesterType `json:"type" enum:"app,participant"`
	ID   string        `json:"id,omitempty" doc:"The participant"`
	Name string        `json:"name,omitempty" doc:"The participant's name"`
}

// whoRemoved returns who put somebody out, nil for nobody and where it is not
// known. Recorders are put out by usher itself, not for an app.
func (d *draft) whoRemoved(g Gone) *Remover {
	if g.ByUsher {
		p, _ := d.find(g.Nick)
		if p < 0 || d.m.People[p].Kind == KindRecorder || d.m.People[p].Kind == KindStreamer {
			return nil
		}
		return &Remover{Type: ByApp}
	}
	p, _ := d.find(g.Actor)
	if p < 0 {
		return nil
	}
	return &Remover{Type: ByParticipant, ID: d.m.People[p].ID, Name: d.m.People[p].Name}
}

// Kick says whom to put out of the room, and what to show them.
type Kick struct{ Nick, Reason string }

// Removed says that an app puts a user out: who has that id in their token is
// not to be in the room any more.
type Removed struct{ UserID, Reason string }

// Readmitted says that an app lets a user in again whom one had put out.
type Readmitted struct{ UserID string }

func (Removed) input()    {}
func (Readmitted) input() {}

// HasRemoved reports whether an app has put the user out.
func (m Meeting) HasRemoved(user string) bool { return m.removal(user) >= 0 }

// removal returns the place of the user among those put out, or -1.
func (m Meeting) removal(user string) int {
	return slices.IndexFunc(m.Removals, func(r Removal) bool { return r.UserID == user })
}

// ToKick returns those connections in the room that are not to be there now, nil
// for none: users whom an app has put out, and recorders that have not left by
// themselves, see [Meeting.Deadline] for when there are more. A guest cannot be
// recognised, so none is among them.
func (m Meeting) ToKick(now time.Time) []Kick {
	var who []Kick
	for nick, from := range m.recorderKicks {
		if !now.Before(from) {
			who = append(who, Kick{nick, recorderKickReason})
		}
	}
	if len(m.Removals) == 0 {
		return who
	}
	for p, c := range m.connections {
		if r := m.removal(p.UserID); r >= 0 && c.Elsewhere == nil { // in a breakout room usher cannot
			who = append(who, Kick{c.Nick, m.Removals[r].Reason})
		}
	}
	return who
}

// admission takes in who was handed a token or a link, and who may not come in
// any more.
func (d *draft) admission(f Input) error {
	switch {
	case d.m.ID == "":
		return ErrNotFound
	case d.m.State() == StateEnded:
		return ErrEnded
	}
	switch f := f.(type) {
	case Invited:
		d.invited(f)
	case Removed:
		if f.UserID == "" {
			return nil // a guest
		}
		d.readmitted(f.UserID) // counts once, with the latest reason
		list := append(slices.Clone(d.m.Removals), Removal(f))
		d.m.Removals = list[max(0, len(list)-maxRemovals):]
		d.changed = true
	case Readmitted:
		d.readmitted(f.UserID)
	}
	return nil
}

// readmitted takes the user off the list of those put out.
func (d *draft) readmitted(user string) {
	if i := d.m.removal(user); i >= 0 {
		d.m.Removals = slices.Delete(slices.Clone(d.m.Removals), i, i+1)
		d.changed = true
	}
}
