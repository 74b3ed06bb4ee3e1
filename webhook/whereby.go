package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"usher/meeting"
)

// Whereby is the name of the dialect of Whereby's webhooks.
const Whereby = "whereby"

// wherebyVersion is apiVersion of every event.
const wherebyVersion = "1.0"

// WherebyDialect returns the dialect of Whereby's webhooks
// (https://docs.whereby.com, "Tracking room events with webhooks"). Its
// subdomain is the site.
func WherebyDialect(site string) Dialect {
	render := func(name string, data func(meeting.Notice, wherebyRoom) any) Renderer {
		return func(event meeting.Notice) (string, any) {
			room := wherebyRoom{MeetingID: event.MeetingID, Subdomain: site}
			if event.Room != "" {
				room.RoomName = "/" + event.Room
			}
			return "", wherebyEvent{event.ID, wherebyVersion, event.Timestamp, name, data(event, room)}
		}
	}
	return Dialect{
		Render: map[meeting.NoticeType]Renderer{
			meeting.SessionStarted:       render("room.session.started", wherebySession),
			meeting.SessionEnded:         render("room.session.ended", wherebySession),
			meeting.ParticipantJoined:    render("room.client.joined", wherebyClient),
			meeting.ParticipantLeft:      render("room.client.left", wherebyClient),
			meeting.RecordingIsAvailable: render("recording.finished", wherebyRecording),
			TypeTest:                     render("webhook.test", func(_ meeting.Notice, room wherebyRoom) any { return room }),
		},
		Sign: signWhereby,
	}
}

func signWhereby(h http.Header, key []byte, at time.Time, body []byte) {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(seconds + "."))
	mac.Write(body)
	// One signature and no blank: receivers match this with a pattern.
	h["Whereby-Signature"] = []string{"t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))}
}

type wherebyEvent struct {
	ID         string       `json:"id"`
	APIVersion string       `json:"apiVersion"`
	CreatedAt  meeting.Time `json:"createdAt"`
	Type       string       `json:"type"`
	Data       any          `json:"data"`
}

// wherebyRoom begins the data of every event. Whereby itself leaves the
// meeting's id out of events about recordings; receivers look for it in all.
type wherebyRoom struct {
	MeetingID string `json:"meetingId"`
	RoomName  string `json:"roomName"`
	Subdomain string `json:"subdomain"`
}

func wherebySession(event meeting.Notice, room wherebyRoom) any {
	return struct {
		wherebyRoom
		RoomSessionID string `json:"roomSessionId"`
	}{room, event.SessionID}
}

type wherebyClientData struct {
	wherebyRoom
	RoleName      string         `json:"roleName"`
	DisplayName   string         `json:"displayName"`
	Clients       int            `json:"numClients"`
	ByRole        wherebyClients `json:"numClientsByRoleName"`
	RoomSessionID string         `json:"roomSessionId"`
	ParticipantID string         `json:"participantId"`
	IsDialIn      bool           `json:"isDialIn"`
	ExternalID    string         `json:"externalId,omitempty"`
}

// wherebyClients counts humans by Whereby's names of roles; those whom nobody
// has are left out.
type wherebyClients struct {
	Host    int `json:"host,omitempty"`
	Visitor int `json:"visitor,omitempty"`
}

func wherebyClient(event meeting.Notice, room wherebyRoom) any {
	p, in := event.Data.Participant, event.Data.Occupancy
	return wherebyClientData{
		wherebyRoom: room, RoleName: wherebyRole(p.Kind, p.Role), DisplayName: p.Name,
		Clients: in.Humans, ByRole: wherebyClients{Host: in.Moderators, Visitor: in.Humans - in.Moderators},
		RoomSessionID: event.SessionID, ParticipantID: p.ID,
		IsDialIn: p.Kind == meeting.KindSIP, ExternalID: p.UserID,
	}
}

func wherebyRecording(event meeting.Notice, room wherebyRoom) any {
	r := event.Data.Recording
	return struct {
		wherebyRoom
		RoomSessionID string `json:"roomSessionId"`
		RecordingID   string `json:"recordingId"`
		Filename      string `json:"filename"`
		Status        string `json:"status"`
	}{room, r.SessionID, r.ID, r.MainFile().Name, "completed"}
}

// wherebyRole returns Whereby's name for what somebody is in a room.
func wherebyRole(k meeting.Kind, r meeting.Role) string {
	switch {
	case k == meeting.KindRecorder:
		return "recorder"
	case k == meeting.KindStreamer:
		return "streamer"
	case k == meeting.KindTranscriber:
		return "captioner"
	case r == meeting.RoleModerator:
		return "host"
	case r == meeting.RoleVisitor:
		return "viewer"
	}
	return "visitor"
}
