package webhook

import (
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"usher/meeting"
	"usher/token"
)

// Jitsi is the name of the dialect of apps that were written for Prosody
// modules which post {event, room, timestamp, data}, Reflector's Jitsi branch
// above all.
const Jitsi = "jitsi"

// Paths below the endpoint's URL.
const (
	jitsiEventsPath   = "/jitsi/events"
	jitsiCompletePath = "/jibri/recording-complete"
)

// JitsiDialect returns the dialect [Jitsi]. Its receivers add up joins and
// leaves, so it sends those of humans only.
func JitsiDialect() Dialect {
	return Dialect{
		Render: map[meeting.EventType]Renderer{
			meeting.SessionStarted:       jitsi("muc-room-created", jitsiSession),
			meeting.SessionEnded:         jitsi("muc-room-destroyed", jitsiSession),
			meeting.ParticipantJoined:    jitsi("muc-occupant-joined", jitsiOccupant),
			meeting.ParticipantLeft:      jitsi("muc-occupant-left", jitsiOccupant),
			meeting.RecordingStarted:     jitsi("jibri-recording-on", jitsiRecording),
			meeting.RecordingStopped:     jitsi("jibri-recording-off", jitsiRecording),
			meeting.RecordingIsAvailable: jitsiComplete,
			TypeTest:                     jitsi("webhook-test", func(meeting.Event) any { return struct{}{} }),
		},
		Sign: signJitsi,
	}
}

func signJitsi(h http.Header, key []byte, at time.Time, body []byte) {
	seconds := strconv.FormatInt(at.Unix(), 10)
	h["X-Jitsi-Signature"] = []string{hex.EncodeToString(token.MAC(key, "", body))}
	// The first signature is good for ever; this one shows its age.
	h["X-Jitsi-Timestamp"] = []string{seconds}
	h["X-Jitsi-Signature-V2"] = []string{hex.EncodeToString(token.MAC(key, seconds+".", body))}
}

// jitsi returns what makes an event of this name; nil data: it is not sent.
func jitsi(name string, data func(meeting.Event) any) Renderer {
	return func(event meeting.Event) (string, any) {
		d := data(event)
		if d == nil {
			return "", nil
		}
		return jitsiEventsPath, struct {
			Event     string       `json:"event"`
			Room      string       `json:"room"`
			Timestamp meeting.Time `json:"timestamp"`
			Data      any          `json:"data"`
		}{name, event.Room, event.Timestamp, d}
	}
}

// jitsiIDs begin the data of every event.
type jitsiIDs struct {
	MeetingID string `json:"meeting_id"`
	SessionID string `json:"session_id"`
}

func jitsiSession(event meeting.Event) any { return jitsiIDs{event.MeetingID, event.SessionID} }

func jitsiOccupant(event meeting.Event) any {
	p := event.Data.Participant
	if p.Kind != meeting.KindHuman {
		return nil
	}
	return struct {
		jitsiIDs
		OccupantID string       `json:"occupant_id"`
		Nick       string       `json:"nick"`
		Role       meeting.Role `json:"role"`
		UserID     string       `json:"user_id"`
		Email      string       `json:"email"`
		Humans     int          `json:"active_occupants_count"`
	}{jitsiIDs{event.MeetingID, event.SessionID}, p.ID, p.Name, p.Role, p.UserID, p.Email, event.Data.Occupancy.Humans}
}

func jitsiRecording(event meeting.Event) any {
	r := event.Data.Recording
	return struct {
		jitsiIDs
		RecordingID string `json:"recording_id"`
		Initiator   string `json:"initiator"`
	}{jitsiIDs{event.MeetingID, r.SessionID}, r.ID, r.RequestedBy.Name}
}

// jitsiComplete names the newest file: there is an event for each.
func jitsiComplete(event meeting.Event) (string, any) {
	r, file := event.Data.Recording, ""
	if n := len(r.Files); n > 0 {
		file = r.Files[n-1].Name
	}
	return jitsiCompletePath, struct {
		RoomName    string       `json:"room_name"`
		File        string       `json:"recording_file"`
		Status      string       `json:"recording_status"`
		Timestamp   meeting.Time `json:"timestamp"`
		MeetingID   string       `json:"meeting_id"`
		RecordingID string       `json:"recording_id"`
	}{event.Room, file, "completed", event.Timestamp, event.MeetingID, r.ID}
}
