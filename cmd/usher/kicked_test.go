package main

import (
	"slices"
	"testing"

	"usher/meeting"
)

// TestEventsSayWhoPutSomebodyOut has a moderator kick somebody in the client, and
// an app over the API, on a site that hides usher and on one that shows it.
func TestEventsSayWhoPutSomebodyOut(t *testing.T) {
	for mode, flags := range map[string][]string{"hidden": nil, "labelled": {"--occupant-password="}} {
		t.Run(mode, func(t *testing.T) {
			s := newScene(t, flags...)
			ada, bob, cy := s.person("Ada", "u-ada"), s.person("Bob", ""), s.person("Cy", "")
			s.enter(ada, bob, cy)
			people := func() (list []meeting.ParticipantInfo) {
				t.Helper()
				var page struct{ Data []meeting.ParticipantInfo }
				must(t, s.call(t.Context(), "GET", "/v1/meetings/"+s.id+"/participants", nil, &page))
				return page.Data
			}
			id := func(name string) string {
				t.Helper()
				list := people()
				i := slices.IndexFunc(list, func(p meeting.ParticipantInfo) bool { return p.Name == name })
				if i < 0 {
					t.Fatalf("%s is not among %+v", name, list)
				}
				return list[i].ID
			}
			s.until("Ada is a moderator", func() bool { return ada.Occupants()[ada.Nick()].Role == "moderator" })
			must(t, ada.Kick(within(t), bob.Nick(), "noise"))
			must(t, s.call(t.Context(), "DELETE", "/v1/meetings/"+s.id+"/participants/"+id("Cy"), nil, nil))
			s.tells("session.started", "joined Ada", "joined Bob", "joined Cy", "left Bob kicked", "left Cy kicked")
			want := map[string]meeting.Remover{
				"Bob": {Type: meeting.ByParticipant, ID: id("Ada"), Name: "Ada"},
				"Cy":  {Type: meeting.ByApp},
			}
			for _, e := range s.events() {
				if e.Type != meeting.ParticipantLeft {
					continue
				}
				p := e.Data.Participant
				if p.LeftBy == nil || *p.LeftBy != want[p.Name] {
					t.Errorf("%s was put out by %+v, want %+v", p.Name, p.LeftBy, want[p.Name])
				}
			}
		})
	}
}
