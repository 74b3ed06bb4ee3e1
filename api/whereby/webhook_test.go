package whereby_test

import (
	"encoding/json"
	"strings"
	"testing"

	"usher/api/whereby"
	"usher/meeting"
)

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
