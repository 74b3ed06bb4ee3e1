package meeting

import (
	"slices"
	"time"
)

// maxEndpoints is how many past connections a recording from bridges remembers:
// more than that are not told apart by their voices' files either.
const maxEndpoints = 1000

// Conference is what Jitsi has made of a room: its zero value is none.
type Conference struct {
	// JitsiMeetingID is Jitsi's own id for this time of the room; the bridges know
	// the conference by it.
	JitsiMeetingID string    `json:"jitsi_meeting_id,omitempty"`
	Bridges        int       `json:"bridges,omitempty"` // that carry its media, as the focus says
	Since          time.Time `json:"since,omitzero"`    // of a number of bridges other than 0
}

// ConferenceChanged is what has become of the room's conference; Since does not count.
type ConferenceChanged struct{ Conference Conference }

func (ConferenceChanged) input() {}

// conferenceChanged takes in what has become of the conference.
func (d *draft) conferenceChanged(now Conference) {
	was := d.m.Conference
	now.Since = was.Since
	switch {
	case now.Bridges == 0:
		now.Since = time.Time{}
	case was.Bridges == 0 || was.JitsiMeetingID != now.JitsiMeetingID:
		now.Since = d.at
	}
	if now != was {
		d.m.Conference = now
		d.changed = true
	}
}

// Endpoint says whose a connection in the room is or was.
type Endpoint struct {
	Nick          string `json:"nick"`
	ParticipantID string `json:"participant_id"`
	UserID        string `json:"user_id,omitempty"`
	Name          string `json:"name,omitempty"`
	Encrypted     bool   `json:"encrypted,omitempty"` // from end to end
}

func endpointOf(p *Participant, o Occupant) Endpoint {
	return Endpoint{Nick: o.Nick, ParticipantID: p.ID, UserID: p.UserID, Name: p.Name, Encrypted: o.Encrypted}
}

// Endpoint returns whose the nick is, or was while something was recorded from
// bridges: sound may come later than the leave.
func (m Meeting) Endpoint(nick string) (e Endpoint, ok bool) {
	for p, c := range m.connections {
		if c.Nick == nick && c.Elsewhere == nil {
			return endpointOf(p, c), true
		}
	}
	for _, e := range slices.Backward(m.Endpoints) {
		if e.Nick == nick {
			return e, true
		}
	}
	return Endpoint{}, false
}

// remember keeps whose a connection was that ends, or gets another nick, while
// something is recorded from bridges.
func (d *draft) remember(p *Participant, o Occupant) {
	if len(d.m.ToRecord()) == 0 || o.Elsewhere != nil || p.SessionID == "" {
		return
	}
	d.m.Endpoints = append(slices.Clone(d.m.Endpoints), endpointOf(p, o))
	d.m.Endpoints = d.m.Endpoints[max(0, len(d.m.Endpoints)-maxEndpoints):]
	d.changed = true
}

// forgetEndpoints lets go of past connections once nothing is recorded from
// bridges any more.
func (d *draft) forgetEndpoints() {
	if len(d.m.Endpoints) > 0 && len(d.m.ToRecord()) == 0 {
		d.m.Endpoints = nil
		d.changed = true
	}
}
