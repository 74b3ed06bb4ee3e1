package meeting

import (
	"slices"
	"time"
)

// State of a meeting as apps see it.
type State string

// States of a meeting.
const (
	StateCreated State = "created" // nobody was in yet
	StateIdle    State = "idle"    // between sessions: nobody is in, one may still come
	StateLive    State = "live"    // a session is open
	StateEnded   State = "ended"   // over for good
)

// Meeting is one meeting and everything that must survive a restart of usher.
// Treat it as a value: whoever holds one may keep it, Apply never changes it.
type Meeting struct {
	ID         string            `json:"id"`   // mtg_ and a ULID
	Room       string            `json:"room"` // localpart of the room's JID, lower case
	ExternalID string            `json:"external_id,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	CreatedAt  time.Time         `json:"created_at"`
	Key        string            `json:"key,omitempty"` // id of the API key that made it
	Limits
	Policy    RecordingPolicy `json:"recording_policy,omitzero"`
	EndedAt   time.Time       `json:"ended_at,omitzero"`
	EndReason EndReason       `json:"end_reason,omitempty"`
	// Closed says that after the end the room was seen to be gone.
	Closed bool `json:"closed,omitempty"`
	// Forgotten asks for everything about the meeting to be deleted once its
	// room is gone.
	Forgotten bool `json:"forgotten,omitempty"`
	// Warned says that meeting.ending was sent.
	Warned bool `json:"warned,omitempty"`
	// FirstSession is when the first session started, IdleSince when the last
	// one ended.
	FirstSession time.Time `json:"first_session,omitzero"`
	IdleSince    time.Time `json:"idle_since,omitzero"`
	// Pending are people on their way: they were handed a token or a link.
	Pending []Pending `json:"pending,omitempty"`
	// TokensUntil is when the last token that was handed out expires.
	TokensUntil time.Time `json:"tokens_until,omitzero"`
	// Removals are the users whom apps have put out, the latest last.
	Removals []Removal `json:"removals,omitempty"`
	// StaleSince is when usher lost sight of the room; zero while it follows.
	// Counts are as of then.
	StaleSince time.Time `json:"stale_since,omitzero"`
	// Version grows by one with every change, Seq with every event.
	Version int64 `json:"version"`
	Seq     int64 `json:"seq"`
	// Patches is how often an app has changed the meeting's settings.
	Patches int64 `json:"patches,omitempty"`
	// Session is the open session, its zero value when there is none.
	Session Session `json:"session,omitzero"`
	// Visitors is how many the focus counts: they watch from other servers.
	Visitors int `json:"visitors,omitempty"`
	// Waiting are those in the lobby.
	Waiting []Waiting `json:"waiting,omitempty"`
	// HasBreakouts says that the room has breakout rooms.
	HasBreakouts bool `json:"has_breakouts,omitempty"`
	// Focus is what the focus last said about recording.
	Focus FocusSays `json:"focus,omitzero"`
	// Stream is the live stream.
	Stream LiveStream `json:"stream,omitzero"`
	// Recordings are those that are not settled, or were a moment ago.
	Recordings []Recording `json:"recordings,omitempty"`
	// Unprompted is the session in which no recording starts by itself any more:
	// somebody stopped one there, or too many failed.
	Unprompted string `json:"unprompted,omitempty"`
	// UnpromptedModes is the same for recordings from bridges.
	UnpromptedModes map[RecordingMode]string `json:"unprompted_modes,omitempty"`
	// Conference is what Jitsi has made of the room, on sites that record from
	// bridges.
	Conference Conference `json:"conference,omitzero"`
	// Endpoints are past connections, for recordings from bridges; the latest last.
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	// People are those present, and those of the open session who left but
	// can be recognised when they return. Stored one by one.
	People []Participant `json:"-"`
	// Left are the humans of the open session who left and cannot be recognised,
	// the last [MaxListed] of them, for the list that session.ended carries.
	// Stored like People, and never changed.
	Left []*Participant `json:"-"`
}

// Session is a stretch of time in which somebody was in the meeting. It may
// span several incarnations of the room.
type Session struct {
	SessionInfo
	// EmptySince is when the last human or visitor left, zero while one is in.
	EmptySince time.Time `json:"empty_since,omitzero"`
}

// EndReason says why a meeting ended.
type EndReason string

// Reasons for a meeting's end.
const (
	EndRequested EndReason = "requested" // an app asked
	EndTime      EndReason = "end_time"  // its EndAt came
	EndDuration  EndReason = "max_duration"
	EndEmpty     EndReason = "empty" // no session for its EmptyTimeout
)

// State returns the meeting's state.
func (m Meeting) State() State {
	switch {
	case !m.EndedAt.IsZero():
		return StateEnded
	case m.Session.ID != "":
		return StateLive
	case !m.FirstSession.IsZero():
		return StateIdle
	}
	return StateCreated
}

// Settings returns the version of what an app may change about the meeting: 1 at
// first, and one more with each [Patched], whoever comes and goes.
func (m Meeting) Settings() int64 { return m.Patches + 1 }

// HoldsRoom reports whether the meeting has its room to itself: until it has
// ended and the room is gone.
func (m Meeting) HoldsRoom() bool { return m.EndedAt.IsZero() || !m.Closed }

// RoomHeldUntil returns how long after the meeting's end another one may not
// have its room unless an app asks for that: as long as a token may open it.
// A token of which the meeting does not know is taken to live that long.
func (m Meeting) RoomHeldUntil() time.Time {
	until := m.EndedAt.Add(RoomHold)
	if end, _ := m.EndsAt(); !end.IsZero() && end.Add(RoomHoldAfterEnd).Before(until) {
		until = end.Add(RoomHoldAfterEnd)
	}
	return latest(until, m.TokensUntil)
}

// Over reports whether nothing is left to do about the meeting: it has ended,
// its room is gone, no file of a recording is awaited, and it need not be
// forgotten.
func (m Meeting) Over() bool { return !m.HoldsRoom() && len(m.Recordings) == 0 && !m.Forgotten }

// DesiredState is what a meeting needs done about its room.
type DesiredState int

// Wants, derived from state alone so that a restart forgets none.
const (
	WantNothing DesiredState = iota // the room is none of our business
	WantFollow                      // be in the room whenever it exists
	WantSoon                        // the same, and people are on their way
	WantRegain                      // the same, and people were in when usher last saw it
	WantStay                        // the same, and stay in it although no human is: a recording is to end first
	WantKeep                        // the same, for as long as it takes: people are in breakout rooms, or visitors watch
	WantClosed                      // the room must not exist
)

// DesiredState returns what the meeting needs done about its room at the given time.
func (m Meeting) DesiredState(now time.Time) DesiredState {
	switch {
	case !m.EndedAt.IsZero() && m.Closed:
		return WantNothing
	case !m.EndedAt.IsZero():
		return WantClosed
	case now.Before(m.StartAt) && m.Session.ID == "":
		return WantNothing // a session under way when the start is put off goes on
	case !m.StaleSince.IsZero():
		return WantRegain
	case m.occupiedElsewhere():
		return WantKeep
	case slices.ContainsFunc(m.Recordings, func(r Recording) bool {
		return r.State == RecordingStarting || r.State == RecordingOn || r.State == RecordingStopping
	}):
		return WantStay
	}
	for range m.recorderKicks {
		return WantStay
	}
	if len(m.Pending)+len(m.Waiting) > 0 {
		return WantSoon
	}
	return WantFollow
}

// LastSeen returns a time at which usher surely saw the room: when somebody
// last came or went, as far as the meeting knows.
func (m Meeting) LastSeen() time.Time {
	seen := latest(m.CreatedAt, m.Session.StartedAt.Time, m.Session.EmptySince)
	for i := range m.People {
		seen = latest(seen, m.People[i].ArrivedAt, m.People[i].LeftAt.Time)
	}
	return seen
}

// Occupancy counts people, not connections.
type Occupancy struct {
	Humans     int `json:"humans" doc:"In the main room and in breakout rooms"`
	Moderators int `json:"moderators"`
	Hosts      int `json:"hosts,omitempty" doc:"Humans who moderate, or are hosts by their token; missing when there is none"`
	Recorders  int `json:"recorders"`
	Others     int `json:"others"` // streamers, transcribers, dial-in
	Visitors   int `json:"visitors" doc:"Those who only watch, as the focus counts them; not among humans"`
	Peak       int `json:"peak"` // most humans at the same time in this session
	Waiting    int `json:"waiting,omitempty" doc:"In the lobby, to be let in; not among humans. Missing when there is none"`
	// PendingJoins are people who were handed a token or a link just now.
	PendingJoins int `json:"pending_joins"`
}

// Occupancy returns who is in the meeting now, as absolute numbers.
func (m Meeting) Occupancy() Occupancy {
	o := Occupancy{Peak: m.Session.Peak, PendingJoins: len(m.Pending), Visitors: m.Visitors, Waiting: len(m.Waiting)}
	for i := range m.People {
		p := &m.People[i]
		switch {
		case !p.Present():
		case p.Kind == KindHuman:
			o.Humans++
			if p.Role == RoleModerator {
				o.Moderators++
			}
			if p.IsHost() {
				o.Hosts++
			}
		case p.Kind == KindRecorder:
			o.Recorders++
		default:
			o.Others++
		}
	}
	return o
}
