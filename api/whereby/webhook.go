package whereby

import (
	"cmp"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"usher/meeting"
	"usher/token"
	"usher/webhook"
)

// DialectName is the name of the dialect of Whereby's webhooks.
const DialectName = "whereby"

// apiVersion is that of every event.
const apiVersion = "1.0"

// Dialect returns the dialect of Whereby's webhooks
// (https://docs.whereby.com, "Tracking room events with webhooks"). Its
// subdomain is the site.
func Dialect(site string) webhook.Dialect {
	render := func(name string, data func(meeting.Event, eventRoom) any) webhook.Renderer {
		return func(event meeting.Event) (string, any) {
			room := eventRoom{MeetingID: event.MeetingID, Subdomain: site}
			if event.Room != "" {
				room.RoomName = roomName(event.Room)
			}
			body := data(event, room)
			if body == nil {
				return "", nil
			}
			return "", eventBody{event.ID, apiVersion, event.Timestamp, name, body}
		}
	}
	return webhook.Dialect{
		Render: map[meeting.EventType]webhook.Renderer{
			meeting.SessionStarted:         render("room.session.started", sessionData),
			meeting.SessionEnded:           render("room.session.ended", sessionData),
			meeting.ParticipantJoined:      render("room.client.joined", clientData),
			meeting.ParticipantLeft:        render("room.client.left", clientData),
			meeting.ParticipantLobbyJoined: render("room.client.knocked", knockData),
			meeting.ParticipantLobbyLeft:   render("room.client.knockCancelled", knockData),
			meeting.RecordingIsAvailable:   render("recording.finished", recordingData),
			webhook.TypeTest:               render("webhook.test", func(_ meeting.Event, room eventRoom) any { return room }),
		},
		Sign: sign, GoneIsOfEvent: true, Forwards: true,
		// Receivers verify what they have read and written again, in one or the other.
		Encodings: []func(any) ([]byte, error){webhook.EncodePython, webhook.EncodeJavaScript},
	}
}

func sign(h http.Header, key []byte, at time.Time, body []byte) {
	seconds := strconv.FormatInt(at.Unix(), 10)
	// One signature and no blank: receivers match this with a pattern.
	h["Whereby-Signature"] = []string{"t=" + seconds + ",v1=" + hex.EncodeToString(token.MAC(key, seconds+".", body))}
}

type eventBody struct {
	ID         string       `json:"id"`
	APIVersion string       `json:"apiVersion"`
	CreatedAt  meeting.Time `json:"createdAt"`
	Type       string       `json:"type"`
	Data       any          `json:"data"`
}

// eventRoom begins the data of every event. Whereby itself leaves the
// meeting's id out of events about recordings; receivers look for it in all.
type eventRoom struct {
	MeetingID string `json:"meetingId"`
	RoomName  string `json:"roomName"`
	Subdomain string `json:"subdomain"`
}

func sessionData(event meeting.Event, room eventRoom) any {
	return struct {
		eventRoom
		RoomSessionID string `json:"roomSessionId"`
	}{room, event.SessionID}
}

// knockData is of somebody who waits to be let in, or did: that they were let in is
// their room.client.joined alone. What they call themselves is not known yet.
func knockData(event meeting.Event, room eventRoom) any {
	p := event.Data.Participant
	if p.LeftReason == meeting.LeftAdmitted {
		return nil
	}
	return knockBody{room, p.Name, event.SessionID, p.ID}
}

type knockBody struct {
	eventRoom
	DisplayName   string `json:"displayName"`
	RoomSessionID string `json:"roomSessionId"`
	ParticipantID string `json:"participantId"`
}

type clientBody struct {
	eventRoom
	RoleName      string       `json:"roleName"`
	DisplayName   string       `json:"displayName"`
	Clients       int          `json:"numClients"`
	ByRole        clientCounts `json:"numClientsByRoleName"`
	RoomSessionID string       `json:"roomSessionId"`
	ParticipantID string       `json:"participantId"`
	IsDialIn      bool         `json:"isDialIn"`
	ExternalID    string       `json:"externalId,omitempty"`
	Metadata      string       `json:"metadata,omitempty"`
}

// clientCounts counts humans by Whereby's names of roles, and Jitsi's visitors,
// whom it calls viewers; those whom nobody has are left out.
type clientCounts struct {
	Host    int `json:"host,omitempty"`
	Visitor int `json:"visitor,omitempty"`
	Viewer  int `json:"viewer,omitempty"`
}

func clientData(event meeting.Event, room eventRoom) any {
	p, in := event.Data.Participant, event.Data.Occupancy
	hosts := max(in.Hosts, in.Moderators) // an earlier usher counted no hosts
	return clientBody{
		eventRoom: room, RoleName: roleName(p.Person), DisplayName: p.Name,
		Clients:       in.Humans + in.Visitors,
		ByRole:        clientCounts{Host: hosts, Visitor: in.Humans - hosts, Viewer: in.Visitors},
		RoomSessionID: event.SessionID, ParticipantID: p.ID,
		IsDialIn: p.Kind == meeting.KindSIP, ExternalID: externalID(p.Person), Metadata: p.Metadata,
	}
}

// externalID returns the app's id of a person: from their token, or else from their
// link.
func externalID(p meeting.Person) string { return cmp.Or(p.UserID, p.ExternalID) }

func recordingData(event meeting.Event, room eventRoom) any {
	r := event.Data.Recording
	return struct {
		eventRoom
		RoomSessionID string `json:"roomSessionId"`
		RecordingID   string `json:"recordingId"`
		Filename      string `json:"filename"`
		Status        string `json:"status"`
	}{room, r.SessionID, r.ID, r.MainFile().Name, "completed"}
}

// kindNames are Whereby's names of who is no human.
var kindNames = map[meeting.Kind]string{
	meeting.KindRecorder: "recorder", meeting.KindStreamer: "streamer", meeting.KindTranscriber: "captioner",
}

// roleName is Whereby's name of what somebody is in a room: by kind, or else host
// from the first presence on where the token says so.
func roleName(p meeting.Person) string {
	switch {
	case kindNames[p.Kind] != "":
		return kindNames[p.Kind]
	case p.IsHost():
		return "host"
	case p.Role == meeting.RoleVisitor:
		return "viewer"
	}
	return "visitor"
}
