package meeting

import "time"

// Attendance says who was in a session when.
type Attendance struct {
	MeetingID  string      `json:"meeting_id"`
	Room       string      `json:"room" doc:"Name of the room in Jitsi, lower case"`
	ExternalID string      `json:"external_id,omitempty"`
	Session    SessionInfo `json:"session"`
	KnownAt    Time        `json:"known_at" doc:"Everything is as of then: now, or when usher lost sight of the room"`
	Attendees  []Attendee  `json:"attendees" nullable:"false" doc:"Humans and dial-ins, in the order of joining"`
}

// Attendee is somebody's part in a session.
type Attendee struct {
	ParticipantID string     `json:"participant_id"`
	Kind          Kind       `json:"kind" enum:"human,sip"`
	Role          Role       `json:"role" enum:"moderator,participant,visitor" doc:"The latest"`
	UserID        string     `json:"user_id,omitempty" doc:"From the token; empty for guests"`
	Name          string     `json:"name,omitempty" doc:"The latest"`
	Email         string     `json:"email,omitempty"`
	ExternalID    string     `json:"external_id,omitempty" doc:"As an app has appended it to a link; not checked"`
	JoinedAt      Time       `json:"joined_at" doc:"First came in, in this session"`
	LeftAt        Time       `json:"left_at" nullable:"true" doc:"Last went; null: is in"`
	LeftReason    LeftReason `json:"left_reason,omitempty" enum:"left,kicked,banned,destroyed,disconnected,switched_room,server_shutdown"`
	PresentS      int64      `json:"present_s" doc:"Seconds present, whole ones, without the time between visits"`
	Visits        []Span     `json:"visits" nullable:"false" doc:"The latest 100; likewise of muted, camera and breakout_rooms"`
	Muted         []Span     `json:"muted" nullable:"false" doc:"When the microphone was known to be off"`
	Camera        []Span     `json:"camera" nullable:"false" doc:"When the camera was known to be on"`
	BreakoutRooms []RoomStay `json:"breakout_rooms" nullable:"false" doc:"Microphone and camera are not known there"`
	SpeakingS     *float64   `json:"speaking_s,omitempty" doc:"Seconds they spoke, where the session was recorded from the bridges"`
	Turns         int        `json:"turns,omitempty" doc:"How often they took the floor, likewise"`
}

// Span is a stretch of time.
type Span struct {
	From Time `json:"from"`
	To   Time `json:"to" nullable:"true" doc:"null: goes on"`
}

// RoomStay is a visit to a breakout room.
type RoomStay struct {
	ParticipantRoom
	Span
}

// AttendanceOf returns who was in a session of the meeting, out of everybody who was,
// as of when the meeting is known at the given time.
func (m Meeting) AttendanceOf(s Session, people []Participant, now time.Time) Attendance {
	at := m.KnownAt(now)
	if s.ID != m.Session.ID {
		at = now // another session, which is over
	}
	a := Attendance{
		MeetingID: m.ID, Room: m.Room, ExternalID: m.ExternalID, Session: s.Info(), KnownAt: Time{at.UTC()}, Attendees: []Attendee{},
	}
	for i := range people {
		if people[i].Kind.moves() {
			a.Attendees = append(a.Attendees, people[i].attendee(at))
		}
	}
	return a
}

func (p *Participant) attendee(at time.Time) Attendee {
	h := p.history()
	a := Attendee{
		ParticipantID: p.ID, Kind: p.Kind, Role: p.Role, UserID: p.UserID, Name: p.Name, Email: p.Email, ExternalID: p.ExternalID,
		JoinedAt: p.JoinedAt, LeftAt: p.LeftAt, LeftReason: p.LeftReason, PresentS: int64(p.PresentFor(at) / time.Second),
		Visits: p.spans(h.Visits), Muted: p.spans(h.Muted), Camera: p.spans(h.Camera), BreakoutRooms: []RoomStay{},
	}
	switch {
	case p.Present():
		a.Visits = append(a.Visits, Span{From: Time{p.ArrivedAt}})
	case len(a.Visits) == 0: // stored before histories were
		a.Visits = append(a.Visits, Span{From: p.JoinedAt, To: p.LeftAt})
	}
	for _, r := range h.Rooms {
		for _, span := range p.spans(r.Span) {
			a.BreakoutRooms = append(a.BreakoutRooms, RoomStay{r.ParticipantRoom, span})
		}
	}
	return a
}

// spans returns stretches of the person's history as apps see them.
func (p *Participant) spans(s Spans) []Span {
	list := make([]Span, 0, (len(s)+1)/2)
	at := func(ms int64) Time { return Time{p.JoinedAt.Add(time.Duration(ms) * time.Millisecond)} }
	for i := 0; i < len(s); i += 2 {
		span := Span{From: at(s[i])}
		if i+1 < len(s) {
			span.To = at(s[i+1])
		}
		list = append(list, span)
	}
	return list
}
