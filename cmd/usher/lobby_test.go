package main

import (
	"slices"
	"testing"

	"usher/internal/stack"
	"usher/meeting"
)

// TestPeopleWhoKnock has a host switch a lobby on in the client, and people wait in
// it: events say who does, whether they were let in, and usher is nowhere to be seen.
// Nothing of the lobby is configured for usher.
func TestPeopleWhoKnock(t *testing.T) {
	s := newSceneOn(t, func(c *stack.ProsodyConfig) { c.Env = []string{"XMPP_MODULES=presence_identity,muc_lobby_rooms"} })
	ada := s.host("Ada", "")
	s.counts(1)
	must(t, ada.SetLobby(within(t), true))
	bob, eve := s.person("Bob", ""), s.person("Eve", "")
	must(t, bob.Knock(within(t)))
	s.waiting(1)
	must(t, eve.Knock(within(t)))
	s.waiting(2)

	must(t, ada.Admit(within(t), bob))
	must(t, bob.ComeIn(within(t)))
	s.counts(2)
	s.waiting(1)
	for nick := range ada.Occupants() {
		if nick != ada.Nick() && nick != bob.Nick() && nick != "focus" && nick != "usher" {
			t.Errorf("somebody else is in the room: %s", nick)
		}
	}
	if f := s.check("lobby"); f.State != "ok" {
		t.Errorf("/readyz says %+v of the lobby, want ok", f)
	}
	must(t, s.call(t.Context(), "DELETE", "/v1/meetings/"+s.id, nil, nil)) // with which Eve goes
	s.until("the meeting has ended", func() bool { return slices.Contains(s.story(), "meeting.ended") })

	var ids []string
	var got []string
	for _, e := range s.events() {
		switch e.Type {
		case meeting.ParticipantLobbyJoined, meeting.ParticipantLobbyLeft, meeting.ParticipantJoined:
			p := e.Data.Participant
			ids = append(ids, p.ID)
			got = append(got, string(e.Type)+" "+p.Name+string(p.LeftReason))
		}
	}
	want := []string{
		"participant.joined Ada", "participant.lobby_joined ", "participant.lobby_joined ",
		"participant.lobby_left admitted", "participant.joined Bob", "participant.lobby_left destroyed",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("recorded %q, want %q", got, want)
	}
	if ids[1] != ids[3] || ids[1] != ids[4] || ids[2] != ids[5] || ids[1] == ids[2] {
		t.Errorf("the ids of those events are %q, want Bob's in the second, fourth and fifth, and Eve's in the third and last", ids)
	}
}

// waiting waits until the API shows so many people in the lobby.
func (s *scene) waiting(n int) {
	s.t.Helper()
	s.until("people wait in the lobby", func() bool {
		m := s.meeting()
		return m != nil && m.Occupancy.Waiting == n
	})
}
