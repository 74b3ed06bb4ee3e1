package meeting_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"usher/meeting"
)

// TestSessionEndsWithItsPeople lets people come and go and looks at the list
// that session.ended carries, and at whom the meeting keeps for it.
func TestSessionEndsWithItsPeople(t *testing.T) {
	now := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	var m meeting.Meeting
	n := byte(0)
	apply := func(f meeting.Input) []meeting.Event {
		t.Helper()
		n++
		now = now.Add(time.Millisecond)
		next, fx, err := meeting.Apply(m, meeting.TimedInput{At: now, Input: f, Seed: meeting.Seed{n}})
		if err != nil {
			t.Fatal(err)
		}
		m = next
		return fx.Events
	}
	visit := func(name, user string, kind meeting.Kind) {
		apply(meeting.Seen{Occupant: meeting.Occupant{Nick: name, JID: name, Kind: kind, Name: name, UserID: user}})
		apply(meeting.Gone{Nick: name, Reason: meeting.LeftByChoice})
	}
	apply(meeting.Created{Room: "standup"})
	visit("Ada", "u1", meeting.KindHuman)
	visit("recorder", "", meeting.KindRecorder)
	visit("phone", "", meeting.KindSIP)
	var want []string
	for i := range meeting.MaxListed + 1 {
		name := fmt.Sprint("guest ", i)
		visit(name, "", meeting.KindHuman)
		want = append(want, name)
	}
	apply(meeting.Seen{Occupant: meeting.Occupant{Nick: "last", JID: "last", Kind: meeting.KindHuman, Name: "last"}})
	if len(m.People) != 2 || len(m.Left) != meeting.MaxListed {
		t.Errorf("at hand are %d people and %d who left, want Ada with who is in, and %d", len(m.People), len(m.Left), meeting.MaxListed)
	}
	visit("Ada", "u1", meeting.KindHuman) // the same person once more
	want = append(want, "last")

	events := apply(meeting.Ended{Reason: meeting.EndRequested})
	ended := events[slices.IndexFunc(events, func(n meeting.Event) bool { return n.Type == meeting.SessionEnded })]
	var got []string
	for _, p := range ended.Data.Participants {
		if p.LeftAt.IsZero() || p.Kind != meeting.KindHuman {
			t.Errorf("listed is %+v, want humans who have left", p)
		}
		got = append(got, p.Name)
	}
	if want := want[len(want)-meeting.MaxListed:]; !slices.Equal(got, want) {
		t.Errorf("session.ended lists %q, want the last who came, %q", got, want)
	}
	if ended.Data.Session.Humans != meeting.MaxListed+3 || len(m.People)+len(m.Left) != 0 {
		t.Errorf("%d humans, %d still at hand, want all of them and none", ended.Data.Session.Humans, len(m.People)+len(m.Left))
	}
	for _, n := range events {
		if n.Room != "standup" {
			t.Errorf("%s is of room %q, want standup", n.Type, n.Room)
		}
	}
}
