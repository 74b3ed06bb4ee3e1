package meeting_test

import (
	"encoding/json"
	"testing"
	"time"

	"usher/meeting"
)

// TestWaitingSurvivesARestart has a lobby listed again by an usher that has read the
// meeting from the store: nothing is said twice, and who has gone meanwhile is missed.
func TestWaitingSurvivesARestart(t *testing.T) {
	now := time.Date(2026, 11, 29, 15, 0, 0, 0, time.UTC)
	bob, eve := occupant(map[string]string{"nick": "bb"}), occupant(map[string]string{"nick": "ee"})
	var m meeting.Meeting
	apply := func(in meeting.Input) []meeting.Event {
		t.Helper()
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		m = meeting.Meeting{}
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		now = now.Add(meeting.AdmissionTimeout)
		next, fx, err := meeting.Apply(m, meeting.TimedInput{At: now, Input: in})
		if err != nil {
			t.Fatal(err)
		}
		m = next
		return fx.Events
	}
	apply(meeting.Created{Room: "standup"})
	if got := apply(meeting.Lobby{Waiting: []meeting.Occupant{bob, eve}}); len(got) != 2 {
		t.Fatalf("events %v of two who wait, want one of each", got)
	}
	version := m.Version
	if got := apply(meeting.Lobby{Waiting: []meeting.Occupant{bob, eve}}); len(got) != 0 || m.Version != version {
		t.Errorf("after a restart, events %v and version %d of the same list, want none and %d", got, m.Version, version)
	}
	apply(meeting.Lobby{Waiting: []meeting.Occupant{bob}})
	got := apply(meeting.Tick{})
	if len(got) != 1 || got[0].Type != meeting.ParticipantLobbyLeft || got[0].Data.Participant.EndpointID != "" || m.Occupancy().Waiting != 1 {
		t.Errorf("after another, events %v and %d waiting, want one of her leave and one", got, m.Occupancy().Waiting)
	}
}
