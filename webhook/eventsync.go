package webhook

import "usher/meeting"

// EventSync is the name of the dialect of event_sync, a Prosody component of
// jitsi-contrib/prosody-plugins (mod_event_sync_component.lua).
const EventSync = "event_sync"

// EventSyncDialect returns the dialect [EventSync] of a site whose rooms are in
// the domain muc. It signs nothing: receivers know it by a header that the
// endpoint is given.
func EventSyncDialect(muc string) Dialect {
	render := func(what, change string, body func(meeting.Event, eventSyncRoom) any) Renderer {
		return func(event meeting.Event) (string, any) {
			room := eventSyncRoom{EventName: "muc-" + what + "-" + change, RoomName: event.Room, RoomJID: event.Room + "@" + muc}
			return "/events/" + what + "/" + change, body(event, room)
		}
	}
	return Dialect{Render: map[meeting.EventType]Renderer{
		meeting.SessionStarted:    render("room", "created", eventSyncCreated),
		meeting.SessionEnded:      render("room", "destroyed", eventSyncDestroyed),
		meeting.ParticipantJoined: render("occupant", "joined", eventSyncOccupant),
		meeting.ParticipantLeft:   render("occupant", "left", eventSyncOccupant),
		TypeTest: func(meeting.Event) (string, any) {
			return "/events/webhook/test", struct {
				EventName string `json:"event_name"`
			}{"webhook-test"}
		},
	}}
}

// eventSyncRoom begins every event. Somebody who goes to a breakout room stays in
// the meeting, which is the main room here.
type eventSyncRoom struct {
	EventName  string `json:"event_name"`
	RoomName   string `json:"room_name"`
	RoomJID    string `json:"room_jid"`
	IsBreakout bool   `json:"is_breakout"`
}

func eventSyncCreated(event meeting.Event, room eventSyncRoom) any {
	return struct {
		eventSyncRoom
		CreatedAt int64 `json:"created_at"`
	}{room, event.Data.Session.StartedAt.Unix()}
}

func eventSyncDestroyed(event meeting.Event, room eventSyncRoom) any {
	destroyed := event.Timestamp
	if ended := event.Data.Session.EndedAt; !ended.IsZero() {
		destroyed = ended
	}
	all := []eventSyncPerson{}
	for _, p := range event.Data.Participants {
		all = append(all, newEventSyncPerson(p, room))
	}
	return struct {
		eventSyncRoom
		CreatedAt    int64             `json:"created_at"`
		DestroyedAt  int64             `json:"destroyed_at"`
		AllOccupants []eventSyncPerson `json:"all_occupants"`
	}{room, event.Data.Session.StartedAt.Unix(), destroyed.Unix(), all}
}

func eventSyncOccupant(event meeting.Event, room eventSyncRoom) any {
	p := event.Data.Participant
	if p.Kind != meeting.KindHuman {
		return nil // event_sync counts recorders as people; their number is of no use
	}
	return struct {
		eventSyncRoom
		Humans   int             `json:"active_occupants_count"`
		Occupant eventSyncPerson `json:"occupant"`
	}{room, event.Data.Occupancy.Humans, newEventSyncPerson(*p, room)}
}

type eventSyncPerson struct {
	Name        string `json:"name,omitempty"`
	Email       string `json:"email,omitempty"`
	ID          string `json:"id,omitempty"`
	OccupantJID string `json:"occupant_jid"`
	JoinedAt    int64  `json:"joined_at"`
	LeftAt      *int64 `json:"left_at,omitempty"`
}

// newEventSyncPerson returns somebody as event_sync shows them. The address that
// receivers tell people apart by is made of the participant's id: events have
// no real ones, and this one stays the same when somebody comes back.
func newEventSyncPerson(p meeting.ParticipantInfo, room eventSyncRoom) eventSyncPerson {
	person := eventSyncPerson{
		Name: p.Name, Email: p.Email, ID: p.UserID,
		OccupantJID: room.RoomJID + "/" + p.ID, JoinedAt: p.JoinedAt.Unix(),
	}
	if !p.LeftAt.IsZero() {
		person.LeftAt = new(p.LeftAt.Unix())
	}
	return person
}
