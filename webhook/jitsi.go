package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"usher/meeting"
)

// Jitsi is the dialect of apps that were written for Prosody modules which post
// {event, room, timestamp, data}, Reflector's Jitsi branch above all. Those add
// up joins and leaves, so they are told of humans only.
const Jitsi = "jitsi"

// Paths below the endpoint's URL.
const (
	jitsiEventsPath   = "/jitsi/events"
	jitsiCompletePath = "/jibri/recording-complete"
)

var jitsiDialect = dialect{
	events: map[meeting.NoticeType]telling{
		meeting.SessionStarted:       jitsiSession("muc-room-created"),
		meeting.SessionEnded:         jitsiSession("muc-room-destroyed"),
		meeting.ParticipantJoined:    jitsiOccupant("muc-occupant-joined"),
		meeting.ParticipantLeft:      jitsiOccupant("muc-occupant-left"),
		meeting.RecordingStarted:     jitsiRecording("jibri-recording-on"),
		meeting.RecordingStopped:     jitsiRecording("jibri-recording-off"),
		meeting.RecordingIsAvailable: jitsiComplete,
		TypeTest: func(_ context.Context, a about) (string, Object, error) {
			return jitsiEventsPath, jitsiEvent(a, "webhook-test", Object{}), nil
		},
	},
	key: textKey,
	sign: func(h http.Header, keys [][]byte, m message, at time.Time, body []byte) {
		key, seconds := onlyKey(keys, m), strconv.FormatInt(at.Unix(), 10)
		mac := hmac.New(sha256.New, key)
		mac.Write(body)
		h["X-Jitsi-Signature"] = []string{hex.EncodeToString(mac.Sum(nil))}
		// The first signature is good for ever; this one shows its age.
		mac = hmac.New(sha256.New, key)
		mac.Write([]byte(seconds + "."))
		mac.Write(body)
		h["X-Jitsi-Timestamp"] = []string{seconds}
		h["X-Jitsi-Signature-V2"] = []string{hex.EncodeToString(mac.Sum(nil))}
	},
}

func jitsiEvent(a about, name string, data Object) Object {
	return Object{
		{"event", name},
		{"room", a.meeting.Room},
		{"timestamp", stamp(a.notice.Timestamp.Time)},
		{"data", data},
	}
}

func jitsiSession(name string) telling {
	return func(_ context.Context, a about) (string, Object, error) {
		return jitsiEventsPath, jitsiEvent(a, name, Object{
			{"meeting_id", a.notice.MeetingID},
			{"session_id", a.notice.SessionID},
		}), nil
	}
}

func jitsiOccupant(name string) telling {
	return func(_ context.Context, a about) (string, Object, error) {
		p := a.participant()
		if p.Kind != meeting.KindHuman {
			return "", nil, nil
		}
		return jitsiEventsPath, jitsiEvent(a, name, Object{
			{"meeting_id", a.notice.MeetingID},
			{"session_id", a.notice.SessionID},
			{"occupant_id", p.ID},
			{"nick", p.Name},
			{"role", string(p.Role)},
			{"user_id", p.UserID},
			{"email", p.Email},
			{"active_occupants_count", a.occupancy().Humans},
		}), nil
	}
}

func jitsiRecording(name string) telling {
	return func(_ context.Context, a about) (string, Object, error) {
		r := a.recording()
		return jitsiEventsPath, jitsiEvent(a, name, Object{
			{"meeting_id", a.notice.MeetingID},
			{"session_id", r.SessionID},
			{"recording_id", r.ID},
			{"initiator", r.RequestedBy.Name},
		}), nil
	}
}

// jitsiComplete tells of the newest file: there is a notice for each.
func jitsiComplete(_ context.Context, a about) (string, Object, error) {
	r, file := a.recording(), ""
	if n := len(r.Files); n > 0 {
		file = r.Files[n-1].Name
	}
	return jitsiCompletePath, Object{
		{"room_name", a.meeting.Room},
		{"recording_file", file},
		{"recording_status", "completed"},
		{"timestamp", stamp(a.notice.Timestamp.Time)},
		{"meeting_id", a.notice.MeetingID},
		{"recording_id", r.ID},
	}, nil
}
