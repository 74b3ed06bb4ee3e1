package meeting_test

import (
	"testing"
	"time"

	"usher/meeting"
)

// TestWhoSomebodyIsInABreakoutRoom: the breakout component says only name, role and
// room, so the rest is as the main room last said, and what they send is not known.
func TestWhoSomebodyIsInABreakoutRoom(t *testing.T) {
	at := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	ada := meeting.Occupant{
		Nick: "aa", JID: "ada@meet.jitsi/web", Kind: meeting.KindHuman, Role: meeting.RoleModerator, UserID: "u1", Host: true,
		Name: "Ada", Email: "ada@example.org", Audio: meeting.MediaOn, HandRaised: 1,
	}
	there := meeting.Occupant{
		Nick: "aa", JID: ada.JID, Kind: meeting.KindHuman, Role: meeting.RoleParticipant, Name: "Ada L.",
		Elsewhere: &meeting.Elsewhere{Room: meeting.ParticipantRoom{ID: "b1", Name: "one"}},
	}
	var m meeting.Meeting
	for i, in := range []meeting.Input{
		meeting.Created{Room: "standup"}, meeting.Seen{Occupant: ada}, meeting.Gone{Nick: "aa", Reason: meeting.LeftSwitchedRoom},
		meeting.Breakouts{Rooms: 1, Occupants: []meeting.Occupant{there}},
	} {
		var err error
		if m, _, err = meeting.Apply(m, meeting.TimedInput{At: at, Seed: meeting.Seed{byte(i)}, Input: in}); err != nil {
			t.Fatal(err)
		}
	}
	p := m.People[0]
	if !p.Host || p.UserID != "u1" || p.Email != ada.Email || p.Kind != meeting.KindHuman {
		t.Errorf("she is %+v, want the host u1 as before", p.Person)
	}
	if p.Name != "Ada L." || p.Role != meeting.RoleParticipant || p.Room != there.Elsewhere.Room {
		t.Errorf("she is %+v, want the name, role and room of the message", p.Person)
	}
	if p.Audio != meeting.MediaUnknown || !p.HandSince.IsZero() {
		t.Errorf("she is %+v, want microphone and hand unknown", p.Person)
	}
}
