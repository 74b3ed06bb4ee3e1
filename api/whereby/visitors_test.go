package whereby

import (
	"encoding/json"
	"strings"
	"testing"

	"usher/meeting"
)

// TestVisitorsAreClients: Whereby counts whoever is in a room, viewers included.
func TestVisitorsAreClients(t *testing.T) {
	event := meeting.Event{Type: meeting.ParticipantLeft, Room: "webinar"}
	event.Data.Participant = &meeting.ParticipantInfo{Person: meeting.Person{Kind: meeting.KindHuman, Role: meeting.RoleParticipant}}
	event.Data.Occupancy = &meeting.Occupancy{Humans: 3, Moderators: 1, Recorders: 1, Others: 1, Visitors: 300}
	_, body := Dialect("meet").Render[meeting.ParticipantLeft](event)
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"numClients":303,"numClientsByRoleName":{"host":1,"visitor":2,"viewer":300}`; !strings.Contains(string(text), want) {
		t.Errorf("the event is %s, want %s in it", text, want)
	}
}
