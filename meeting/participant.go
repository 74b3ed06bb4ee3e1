package meeting

import (
	"slices"
	"time"
)

// Kind says what an occupant is. It follows from real address and features,
// never from a nick.
type Kind string

// Kinds of participant. Focus and bot never become participants: they run the
// room rather than meet in it.
const (
	KindHuman       Kind = "human"
	KindRecorder    Kind = "recorder"
	KindStreamer    Kind = "streamer"
	KindTranscriber Kind = "transcriber"
	KindSIP         Kind = "sip" // dial-in and dial-out
	KindFocus       Kind = "focus"
	KindBot         Kind = "bot"
)

// Role is the occupant's role in the room (XEP-0045 §5.1).
type Role string

// Roles.
const (
	RoleModerator   Role = "moderator"
	RoleParticipant Role = "participant"
	RoleVisitor     Role = "visitor"
)

// Media is the state of a microphone, camera or screen share.
type Media string

// Media states. A client that has just joined has not yet said.
const (
	MediaUnknown Media = ""
	MediaOn      Media = "on"
	MediaOff     Media = "off"
)

// LeftReason says why somebody left.
type LeftReason string

// Reasons for leaving.
const (
	LeftByChoice       LeftReason = "left"
	LeftKicked         LeftReason = "kicked"
	LeftBanned         LeftReason = "banned"
	LeftDestroyed      LeftReason = "destroyed" // the room was ended for all
	LeftDisconnected   LeftReason = "disconnected"
	LeftSwitchedRoom   LeftReason = "switched_room"
	LeftServerShutdown LeftReason = "server_shutdown"
	LeftAdmitted       LeftReason = "admitted" // the lobby, into the room
)

// Occupant is one connection in the room as its presence describes it. Two
// presences that say the same give equal values.
type Occupant struct {
	Nick   string `json:"nick"` // in the web client, the endpoint id
	JID    string `json:"jid"`  // real full address, as received
	Kind   Kind   `json:"kind"`
	Role   Role   `json:"role"`
	UserID string `json:"user_id,omitempty"` // from the token, empty for guests
	Host   bool   `json:"host,omitempty"`    // by the token
	Name   string `json:"name,omitempty"`
	Email  string `json:"email,omitempty"`
	Audio  Media  `json:"audio,omitempty"`
	Video  Media  `json:"video,omitempty"`
	Screen Media  `json:"screen,omitempty"`
	// HandRaised is when the hand went up, in Unix milliseconds; 0 is down.
	HandRaised int64 `json:"hand_raised,omitempty"`
	// Recording is Jibri's own id of what a recorder records or streams, once it says.
	Recording string `json:"recording,omitempty"`
	// Encrypted says that what it sends is encrypted from end to end.
	Encrypted bool `json:"encrypted,omitempty"`
	// Elsewhere says where it is if not in the main room.
	Elsewhere *Elsewhere `json:"elsewhere,omitempty"`
	// What an app has appended to the link by which they came; from the token.
	ExternalID string `json:"external_id,omitempty"`
	Metadata   string `json:"metadata,omitempty"`
}

// Participant is a person: one token user however many connections, or one
// connection when no token names a user.
type Participant struct {
	Person
	ArrivedAt time.Time `json:"arrived_at"` // when they last came in
	// Stayed is the time present in the visits that have ended.
	Stayed time.Duration `json:"stayed,omitempty"`
	// Connections are the occupants that are this person, oldest first.
	Connections []Occupant `json:"connections,omitempty"`
	// History is what they did before; nil: nothing that is kept.
	History *History `json:"history,omitempty"`
}

// Present reports whether the person is in the meeting, in whichever of its rooms.
func (p *Participant) Present() bool { return len(p.Connections) > 0 }

// leave ends a visit. One that a clock which was set back has end before it began
// took no time.
func (p *Participant) leave(at time.Time, reason LeftReason) {
	p.LeftAt, p.LeftReason = Time{latest(p.ArrivedAt, at)}, reason
	p.Stayed += p.LeftAt.Sub(p.ArrivedAt)
	p.noteLeft(p.LeftAt.Time)
}

// connections yields every connection, with the person whose it is.
func (m Meeting) connections(yield func(*Participant, Occupant) bool) {
	for i := range m.People {
		for _, c := range m.People[i].Connections {
			if !yield(&m.People[i], c) {
				return
			}
		}
	}
}

// AtHand returns [Meeting.People] and [Meeting.Left] out of everybody of the
// open session.
func AtHand(session []Participant) (people []Participant, left []*Participant) {
	for _, p := range session {
		if p.Present() || p.UserID != "" {
			people = append(people, p)
		} else {
			left = keepLeft(left, &p)
		}
	}
	return people, left
}

// keepLeft adds a human of a session who has left to a list, as far as
// MaxListed allows. It leaves the given list as it was.
func keepLeft(left []*Participant, p *Participant) []*Participant {
	if p.Kind != KindHuman || p.SessionID == "" {
		return left
	}
	return append(slices.Clip(left[max(0, len(left)+1-MaxListed):]), p)
}

// connection returns the index of the connection with the nick in the main room,
// or -1.
func (p *Participant) connection(nick string) int {
	return slices.IndexFunc(p.Connections, func(o Occupant) bool { return o.Nick == nick && o.Elsewhere == nil })
}

// describe takes over what the connections say about the person at the given time,
// and returns the names of the fields that changed.
func (p *Participant) describe(at time.Time) []string {
	if !p.Present() {
		return nil
	}
	newest := p.Connections[len(p.Connections)-1]
	role, host := newest.Role, false
	for _, o := range p.Connections {
		host = host || o.Host
		if o.Role == RoleModerator {
			role = RoleModerator
		}
	}
	var hand Time
	if newest.HandRaised > 0 {
		hand = Time{time.UnixMilli(newest.HandRaised).UTC()}
	}
	var changed []string
	set(&changed, "kind", &p.Kind, newest.Kind)
	set(&changed, "name", &p.Name, newest.Name)
	set(&changed, "email", &p.Email, newest.Email)
	set(&changed, "external_id", &p.ExternalID, newest.ExternalID)
	set(&changed, "metadata", &p.Metadata, newest.Metadata)
	set(&changed, "role", &p.Role, role)
	set(&changed, "host", &p.Host, host)
	set(&changed, "audio", &p.Audio, newest.Audio)
	set(&changed, "video", &p.Video, newest.Video)
	set(&changed, "screen", &p.Screen, newest.Screen)
	set(&changed, "hand_raised_at", &p.HandSince, hand)
	var room ParticipantRoom // the main one
	if newest.Elsewhere != nil {
		room = newest.Elsewhere.Room
	}
	set(&changed, "room", &p.Room, room)
	p.note(at)
	return changed
}

func set[T comparable](changed *[]string, name string, field *T, value T) {
	if *field != value {
		*field = value
		*changed = append(*changed, name)
	}
}
