package webhook

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"time"

	"usher/meeting"
)

// Whereby is the dialect of Whereby's webhooks
// (https://docs.whereby.com, "Tracking room events with webhooks"). Counts are
// as of the try, so that an event that comes late sets none that is old.
const Whereby = "whereby"

// wherebyVersion is apiVersion of every event.
const wherebyVersion = "1.0"

var wherebyDialect = dialect{
	events: map[meeting.NoticeType]telling{
		meeting.SessionStarted:       wherebySession("room.session.started"),
		meeting.SessionEnded:         wherebySession("room.session.ended"),
		meeting.ParticipantJoined:    wherebyClient("room.client.joined"),
		meeting.ParticipantLeft:      wherebyClient("room.client.left"),
		meeting.RecordingIsAvailable: wherebyRecording,
		TypeTest: func(_ context.Context, a about) (string, Object, error) {
			return "", wherebyEvent(a, string(TypeTest), nil), nil
		},
	},
	key: textKey,
	sign: func(h http.Header, keys [][]byte, m message, at time.Time, body []byte) {
		seconds := strconv.FormatInt(at.Unix(), 10)
		mac := hmac.New(sha256.New, onlyKey(keys, m))
		mac.Write([]byte(seconds + "."))
		mac.Write(body)
		// One signature and no blank: receivers match this with a pattern.
		h["Whereby-Signature"] = []string{"t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))}
	},
}

// wherebyEvent returns a body. Whereby itself leaves the meeting's id out of
// what it tells of recordings; receivers look for it in every event.
func wherebyEvent(a about, name string, data Object) Object {
	room := ""
	if a.meeting.Room != "" {
		room = "/" + a.meeting.Room
	}
	return Object{
		{"id", a.notice.ID},
		{"apiVersion", wherebyVersion},
		{"createdAt", stamp(a.notice.Timestamp.Time)},
		{"type", name},
		{"data", append(Object{
			{"meetingId", a.notice.MeetingID},
			{"roomName", room},
			{"subdomain", a.site},
		}, data...)},
	}
}

func wherebySession(name string) telling {
	return func(_ context.Context, a about) (string, Object, error) {
		return "", wherebyEvent(a, name, Object{{"roomSessionId", a.notice.SessionID}}), nil
	}
}

func wherebyClient(name string) telling {
	return func(_ context.Context, a about) (string, Object, error) {
		p := a.participant()
		clients, byRole := wherebyClients(a.meeting)
		data := Object{
			{"roleName", wherebyRole(p.Kind, p.Role)},
			{"displayName", p.Name},
			{"numClients", clients},
			{"numClientsByRoleName", byRole},
			{"roomSessionId", a.notice.SessionID},
			{"participantId", p.ID},
			{"isDialIn", p.Kind == meeting.KindSIP},
		}
		if p.UserID != "" {
			data = append(data, Member{"externalId", p.UserID})
		}
		return "", wherebyEvent(a, name, data), nil
	}
}

func wherebyRecording(_ context.Context, a about) (string, Object, error) {
	r := a.recording()
	return "", wherebyEvent(a, "recording.finished", Object{
		{"roomSessionId", r.SessionID},
		{"recordingId", r.ID},
		{"filename", mainFile(r)},
		{"status", "completed"},
	}), nil
}

// mainFile returns the name of the file that stands for a recording, which is
// told of again for each further one: when a recorder died and another went on,
// the largest has most of it.
func mainFile(r meeting.RecordingInfo) string {
	if len(r.Files) == 0 {
		return ""
	}
	return slices.MaxFunc(r.Files, func(x, y meeting.FileInfo) int { return cmp.Compare(x.Size, y.Size) }).Name
}

// wherebyClients counts the humans who are in now.
func wherebyClients(m meeting.Meeting) (clients int, byRole Object) {
	byRole = Object{}
	for _, role := range []meeting.Role{meeting.RoleModerator, meeting.RoleParticipant, meeting.RoleVisitor} {
		n := 0
		for i := range m.People {
			p := &m.People[i]
			if p.Present() && p.Kind == meeting.KindHuman && p.Role == role {
				n++
			}
		}
		if n > 0 {
			byRole = append(byRole, Member{wherebyRole(meeting.KindHuman, role), n})
		}
		clients += n
	}
	return clients, byRole
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
