package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"usher/internal/sim"
)

// TestWhatAppsAppendToLinks lets somebody in by a roomUrl to which an app has
// appended who that is, as embedders of Whereby's do: it shows in lists and events,
// and makes nobody a user of the app's, because whoever has the link can write it.
func TestWhatAppsAppendToLinks(t *testing.T) {
	s := newScene(t, "--site-url=https://meet.example.org")
	var room struct{ MeetingID, RoomName, RoomURL string }
	must(t, s.call(t.Context(), http.MethodPost, "/whereby/v1/meetings", map[string]any{"endDate": time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}, &room))
	s.id, s.room = room.MeetingID, strings.TrimPrefix(room.RoomName, "/")
	for i, query := range []string{
		"?embed&displayName=Jos%C3%A9%20%3Cb%3E&externalId=patient%2F7&metadata=%7B%22team%22%3A%22a%26b%22%7D",
		"?externalId=patient%2F7", // the same of somebody else
	} {
		p := sim.NewPerson(s.sim, s.room, []string{"José <b>", ""}[i], ticketOf(t, room.RoomURL+query).Token)
		t.Cleanup(p.Drop)
		must(t, p.Join(within(t)))
	}
	s.counts(2)

	var sessions struct {
		Results []struct{ RoomSessionID string }
	}
	must(t, s.call(t.Context(), http.MethodGet, "/whereby/v1/insights/room-sessions?roomName="+room.RoomName, nil, &sessions))
	type person struct{ DisplayName, ExternalID, Metadata string }
	var people struct{ Results []person }
	must(t, s.call(t.Context(), http.MethodGet, "/whereby/v1/insights/participants?externalId=patient/7&roomSessionId="+sessions.Results[0].RoomSessionID, nil, &people))
	if len(people.Results) != 2 || people.Results[0] != (person{"José <b>", "patient/7", `{"team":"a&b"}`}) || people.Results[1].Metadata != "" {
		t.Errorf("participants %+v, want two with that externalId, and metadata of the first", people.Results)
	}
	var events struct {
		Data []struct {
			Type string
			Data struct {
				Participant struct {
					Name, Metadata string
					ExternalID     string `json:"external_id"`
					UserID         string `json:"user_id"`
				}
			}
		}
	}
	must(t, s.call(t.Context(), http.MethodGet, "/v1/events?limit=100&meeting_id="+s.id, nil, &events))
	found := 0
	for _, n := range events.Data {
		if p := n.Data.Participant; n.Type == "participant.joined" && p.ExternalID == "patient/7" && p.UserID == "" {
			found++
		}
	}
	if found != 2 {
		t.Errorf("%d joins with the id, want both, without a user id: %+v", found, events.Data)
	}
}
