package whereby_test

import (
	"encoding/json"
	"strings"
	"testing"

	"usher/api/whereby"
	"usher/meeting"
)

// TestKnocks renders somebody who waits to be let in, is not, and is: then only the
// join says so.
func TestKnocks(t *testing.T) {
	const data = `"data":{"meetingId":"mtg_1","roomName":"/standup","subdomain":"site","displayName":"","roomSessionId":"ses_1","participantId":"prt_1"}}`
	for _, tt := range []struct {
		event  meeting.EventType
		reason meeting.LeftReason
		want   string
	}{
		{meeting.ParticipantLobbyJoined, "", `"type":"room.client.knocked",` + data},
		{meeting.ParticipantLobbyLeft, meeting.LeftByChoice, `"type":"room.client.knockCancelled",` + data},
		{meeting.ParticipantLobbyLeft, meeting.LeftAdmitted, "null"},
	} {
		p := meeting.ParticipantInfo{Person: meeting.Person{ID: "prt_1", Kind: meeting.KindHuman, LeftReason: tt.reason}}
		_, body := whereby.Dialect("site").Render[tt.event](meeting.Event{
			Type: tt.event, MeetingID: "mtg_1", Room: "standup", SessionID: "ses_1", Data: meeting.Data{Participant: &p, Occupancy: &meeting.Occupancy{}},
		})
		got, err := json.Marshal(body)
		if err != nil || !strings.HasSuffix(string(got), tt.want) {
			t.Errorf("%s %s: %s, %v, want %s", tt.event, tt.reason, got, err, tt.want)
		}
	}
}

// TestHostJoinsAsHost renders the join of a host whom the site has not made a
// moderator yet, and of a guest beside them.
func TestHostJoinsAsHost(t *testing.T) {
	for _, tt := range []struct {
		host bool
		want string
	}{
		{true, `"roleName":"host","displayName":"Ada","numClients":2,"numClientsByRoleName":{"host":1,"visitor":1}`},
		{false, `"roleName":"visitor","displayName":"Ada","numClients":2,"numClientsByRoleName":{"host":1,"visitor":1}`},
	} {
		p := meeting.ParticipantInfo{Person: meeting.Person{Kind: meeting.KindHuman, Role: meeting.RoleParticipant, Host: tt.host, Name: "Ada"}}
		_, body := whereby.Dialect("site").Render[meeting.ParticipantJoined](meeting.Event{
			Data: meeting.Data{Participant: &p, Occupancy: &meeting.Occupancy{Humans: 2, Hosts: 1}},
		})
		got, err := json.Marshal(body)
		if err != nil || !strings.Contains(string(got), tt.want) {
			t.Errorf("host %v: %s, %v, want %s", tt.host, got, err, tt.want)
		}
	}
}
