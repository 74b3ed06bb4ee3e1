package meeting

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// APIVersion names the shape of events; it changes when a field changes its
// meaning or goes.
const APIVersion = "2026-11-01"

// EventType says what an event reports.
type EventType string

// Types of event, each with the moment it fires.
const (
	MeetingCreated     EventType = "meeting.created"     // an app created a meeting
	MeetingUpdated     EventType = "meeting.updated"     // an app changed it
	MeetingEnding      EventType = "meeting.ending"      // EndingEvent before it ends by the clock
	MeetingEnded       EventType = "meeting.ended"       // over for good; the meeting's last event
	SessionStarted     EventType = "session.started"     // the first human came in
	SessionEnded       EventType = "session.ended"       // empty for the linger, or the meeting ended
	ParticipantJoined  EventType = "participant.joined"  // the first connection of a person
	ParticipantLeft    EventType = "participant.left"    // the last connection of a person
	ParticipantUpdated EventType = "participant.updated" // name, role, media, hand or room, see changed

	ParticipantLobbyJoined EventType = "participant.lobby_joined" // somebody waits in the lobby
	ParticipantLobbyLeft   EventType = "participant.lobby_left"   // they do no more, see left_reason

	RecordingIsRequested EventType = "recording.requested" // an app, a trigger, or a recorder's death asks for one
	RecordingIsQueued    EventType = "recording.queued"    // no recorder is free
	RecordingIsStarting  EventType = "recording.starting"  // the focus is asked; again at each attempt
	RecordingStarted     EventType = "recording.started"   // the focus says that it records
	RecordingIsStopping  EventType = "recording.stopping"  // it is to end
	RecordingStopped     EventType = "recording.stopped"   // it is over; the file is awaited
	RecordingIsAvailable EventType = "recording.available" // the file can be had; again for each further file
	RecordingHasFailed   EventType = "recording.failed"    // there will be no file
	RecordingWasAborted  EventType = "recording.aborted"   // ended on purpose before it began
	RecordingWasDeleted  EventType = "recording.deleted"   // an app deleted it

	// Of recordings from bridges.
	RecordingWasInterrupted EventType = "recording.interrupted" // no bridge sends any more
	RecordingWasResumed     EventType = "recording.resumed"     // one does again
	SpeakerStats            EventType = "speaker.stats"         // a part is handed over in which somebody spoke

	StreamStarted EventType = "stream.started" // somebody streams the meeting live
	StreamEnded   EventType = "stream.ended"   // nobody does any more

	StoreWasReset EventType = "store.reset" // the store was emptied, and the meeting is written anew
)

// EventTypes are all of them, in the order above.
var EventTypes = []EventType{
	MeetingCreated, MeetingUpdated, MeetingEnding, MeetingEnded, SessionStarted, SessionEnded,
	ParticipantJoined, ParticipantLeft, ParticipantUpdated, ParticipantLobbyJoined, ParticipantLobbyLeft,
	RecordingIsRequested, RecordingIsQueued, RecordingIsStarting, RecordingStarted, RecordingIsStopping,
	RecordingStopped, RecordingIsAvailable, RecordingHasFailed, RecordingWasAborted, RecordingWasDeleted,
	RecordingWasInterrupted, RecordingWasResumed, SpeakerStats, StreamStarted, StreamEnded, StoreWasReset,
}

// IsOneOf reports whether the type is among the patterns: types, prefixes such as
// participant.*, or *.
func (t EventType) IsOneOf(patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return open && strings.HasPrefix(string(t), prefix) || pattern == string(t)
	})
}

// Event reports a change to apps, and its JSON is what they are sent: the event
// log and the lists of webhook endpoints hold these bytes.
type Event struct {
	ID           string    `json:"id"` // evt_ and a ULID, the same at every delivery
	Type         EventType `json:"type"`
	Timestamp    Time      `json:"timestamp"`
	APIVersion   string    `json:"api_version"`
	MeetingID    string    `json:"meeting_id"`
	Room         string    `json:"room,omitempty" doc:"Name of the room in Jitsi; missing in events that an earlier usher committed"`
	ExternalID   string    `json:"external_id,omitempty"`
	SessionID    string    `json:"session_id,omitempty"`
	Seq          int64     `json:"seq"` // 1, 2, 3… within the meeting, no gaps
	StateVersion int64     `json:"state_version"`
	// Reconciled is set when usher did not see it happen but found it later.
	Reconciled *Window `json:"reconciled,omitempty"`
	Data       Data    `json:"data"`

	text json.RawMessage // see Text
}

// Text returns the event as JSON, encoded the first time.
func (e *Event) Text() json.RawMessage {
	if e.text == nil {
		e.text, _ = json.Marshal(e) // strings, numbers and times always encode
	}
	return e.text
}

// Window is the time in which something happened that usher found out later.
type Window struct {
	After  Time `json:"after"`
	Before Time `json:"before"`
}

// Data is the part of an event that depends on its type.
type Data struct {
	Meeting *MeetingInfo `json:"meeting,omitempty"`
	Session *SessionInfo `json:"session,omitempty"`
	// Participants are the humans of a session that has ended, in the order of
	// joining, MaxListed at most.
	Participants []ParticipantInfo `json:"participants,omitempty" doc:"Humans of a session that has ended, in the order of joining, 100 at most"`
	Participant  *ParticipantInfo  `json:"participant,omitempty"`
	Changed      []string          `json:"changed,omitempty"` // fields of the participant
	Recording    *RecordingInfo    `json:"recording,omitempty"`
	Stream       *StreamInfo       `json:"stream,omitempty"`
	Speakers     []SpeakerInfo     `json:"speakers,omitempty" doc:"Who spoke in a part of the recording, whoever spoke most first"`
	Occupancy    *Occupancy        `json:"occupancy,omitempty"`
}

// MeetingInfo is a meeting as apps see it.
type MeetingInfo struct {
	ID                string            `json:"id"`
	Room              string            `json:"room" doc:"Name of the room in Jitsi, lower case"`
	ExternalID        string            `json:"external_id,omitempty" doc:"The app's own id for the meeting"`
	Metadata          map[string]string `json:"metadata,omitempty"`
	State             State             `json:"state" enum:"created,live,idle,ended" doc:"idle: between sessions"`
	CreatedAt         Time              `json:"created_at"`
	StartAt           *Time             `json:"start_at" doc:"People are let in from then on; null: at once"`
	EndAt             *Time             `json:"end_at" doc:"The meeting ends by itself then; null: never"`
	EndsAt            *Time             `json:"ends_at" doc:"When it will end by the clock as things stand: end_at, or earlier for max_duration_s"`
	MaxDurationS      int64             `json:"max_duration_s" doc:"The meeting ends this many seconds after its first session began; 0: no limit"`
	EmptyTimeoutS     int64             `json:"empty_timeout_s" doc:"The meeting ends after this many seconds without a session; 0: never"`
	MaxParticipants   int               `json:"max_participants" doc:"How many people the room takes; 0: the site's own limit"`
	Lobby             bool              `json:"lobby,omitempty" doc:"People wait until a host lets them in"`
	DepartureTimeoutS int64             `json:"departure_timeout_s" doc:"Seconds that a session stays open after the last human has left"`
	EndedAt           *Time             `json:"ended_at"`
	EndReason         EndReason         `json:"end_reason,omitempty" enum:"requested,end_time,max_duration,empty"`
	StaleSince        *Time             `json:"stale_since" doc:"Set while usher cannot see the room; the counts are as of then"`
	Occupancy         Occupancy         `json:"occupancy"`
	Session           *SessionInfo      `json:"session" doc:"The open session, null when there is none"`
	Recording         PolicyInfo        `json:"recording" doc:"What the meeting does about recording by itself"`
	ActiveRecording   *RecordingInfo    `json:"active_recording" doc:"The recording to a file that records or is on the way to it, null when there is none"`
	FromBridges       []RecordingInfo   `json:"active_recordings_from_bridges,omitempty" doc:"Likewise those of the modes tracks and levels"`
	Stream            StreamInfo        `json:"stream" doc:"The live stream that somebody has started in the client"`
	StateVersion      int64             `json:"state_version" doc:"Grows by one with every change"`
}

// SessionInfo is a session as apps see it.
type SessionInfo struct {
	ID        string `json:"id"` // ses_ and a ULID
	MeetingID string `json:"meeting_id"`
	StartedAt Time   `json:"started_at"`
	EndedAt   Time   `json:"ended_at" nullable:"true" doc:"When the last human left, or visitor if that was later; null while the session is open"`
	Peak      int    `json:"peak" doc:"Most humans at the same time"`
	Humans    int    `json:"humans" doc:"Different humans so far"`
	Recorders int    `json:"recorders" doc:"Different recorders so far"`
}

// Person is what apps see of a participant as it is stored.
type Person struct {
	ID         string          `json:"id"` // prt_ and a ULID
	SessionID  string          `json:"session_id,omitempty"`
	Kind       Kind            `json:"kind" enum:"human,recorder,streamer,transcriber,sip"`
	Role       Role            `json:"role" enum:"moderator,participant,visitor"` // the highest of the connections
	Host       bool            `json:"host,omitempty" doc:"A host by the token, from the first presence on; the role follows when the site makes them a moderator"`
	UserID     string          `json:"user_id,omitempty" doc:"From the token; empty for guests"`
	Name       string          `json:"name,omitempty"` // this to HandSince: of the newest connection
	Email      string          `json:"email,omitempty"`
	ExternalID string          `json:"external_id,omitempty" doc:"As an app has given it for the person, or somebody has appended it to a link that is for nobody; not what makes connections one person"`
	Metadata   string          `json:"metadata,omitempty" doc:"Likewise"`
	Audio      Media           `json:"audio,omitempty" enum:"on,off" doc:"Missing until the client says"`
	Video      Media           `json:"video,omitempty" enum:"on,off"`
	Screen     Media           `json:"screen,omitempty" enum:"on,off"`
	HandSince  Time            `json:"hand_raised_at" nullable:"true"`
	Room       ParticipantRoom `json:"room,omitzero"` // zero: the main room
	JoinedAt   Time            `json:"joined_at" doc:"First came in, in this session"`
	LeftAt     Time            `json:"left_at" nullable:"true"`
	LeftReason LeftReason      `json:"left_reason,omitempty" enum:"left,kicked,banned,destroyed,disconnected,switched_room,server_shutdown,admitted"`
	LeftBy     *Remover        `json:"left_by,omitempty" doc:"Who put them out, where the room says"`
}

// IsHost reports whether the person moderates, or is to by their token.
func (p Person) IsHost() bool { return p.Host || p.Role == RoleModerator }

// ParticipantInfo is a participant as apps see it.
type ParticipantInfo struct {
	Person
	EndpointID string `json:"endpoint_id,omitempty" doc:"Nick of the newest connection in its room; empty once gone"`
	// PresentSeconds leaves out the time between visits.
	PresentSeconds int64           `json:"present_seconds" doc:"Time present in the visits that have ended, whole seconds"`
	Connections    int             `json:"connections" doc:"Open connections; a reload can make it 2 for a minute"`
	Room           ParticipantRoom `json:"room" doc:"Where they are, or were last"`
}

// Info returns the meeting as apps see it.
func (m Meeting) Info() MeetingInfo {
	info := MeetingInfo{
		ID: m.ID, Room: m.Room, ExternalID: m.ExternalID, Metadata: m.Metadata,
		State: m.State(), CreatedAt: Time{m.CreatedAt},
		StartAt: TimeOrNull(m.StartAt), EndAt: TimeOrNull(m.EndAt),
		MaxDurationS: int64(m.MaxDuration / time.Second), EmptyTimeoutS: int64(m.EmptyTimeout / time.Second),
		MaxParticipants:   m.MaxParticipants,
		Lobby:             m.Lobby,
		DepartureTimeoutS: int64(cmp.Or(m.Linger, SessionLinger) / time.Second),
		EndedAt:           TimeOrNull(m.EndedAt), EndReason: m.EndReason,
		StaleSince: TimeOrNull(m.StaleSince),
		Occupancy:  m.Occupancy(), StateVersion: m.Version,
		Recording: m.Policy.Info(), Stream: m.Stream.info(),
	}
	if r, ok := m.ActiveRecording(ModeFile); ok {
		active := r.Info()
		info.ActiveRecording = &active
	}
	for _, r := range m.ToRecord() {
		if r.State.Active() {
			info.FromBridges = append(info.FromBridges, r.Info())
		}
	}
	if end, _ := m.EndsAt(); m.EndedAt.IsZero() {
		info.EndsAt = TimeOrNull(end)
	}
	if m.Session.ID != "" {
		info.Session = &m.Session.SessionInfo
	}
	return info
}

// Info returns the session as apps see it.
func (s Session) Info() SessionInfo { return s.SessionInfo }

// Info returns the participant as apps see it.
func (p Participant) Info() ParticipantInfo {
	info := ParticipantInfo{Person: p.Person, PresentSeconds: int64(p.Stayed / time.Second), Connections: len(p.Connections), Room: p.Room}
	info.Room.ID = cmp.Or(info.Room.ID, MainRoom)
	if p.Present() {
		info.EndpointID = p.Connections[len(p.Connections)-1].Nick
	}
	return info
}

// Time is a time as apps see it: RFC 3339, UTC, always three decimals; null for
// the zero one.
type Time struct{ time.Time }

// MarshalJSON writes the time in UTC with three decimals, or null; apps compare
// these as text.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	text := append(make([]byte, 0, len(`"2006-01-02T15:04:05.000Z"`)), '"')
	text = t.UTC().AppendFormat(text, time.RFC3339) // which is many times as fast as a layout with decimals
	ms := t.Nanosecond() / int(time.Millisecond)
	return append(text[:len(text)-1], '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z', '"'), nil
}

// TimeOrNull returns the time, nil for the zero one.
func TimeOrNull(t time.Time) *Time {
	if t.IsZero() {
		return nil
	}
	return &Time{t}
}
