package meeting_test

import (
	"testing"
	"time"

	"usher/meeting"
)

// TestClockSetBack: what began before the clock was set back ends no earlier than
// it began, and took no time.
func TestClockSetBack(t *testing.T) {
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	var m meeting.Meeting
	seq := int64(0)
	do := func(after time.Duration, in meeting.Input) {
		t.Helper()
		next, fx, err := meeting.Apply(m, meeting.TimedInput{At: at.Add(after), Seed: meeting.NewSeed(), Input: in})
		if err != nil {
			t.Fatal(err)
		}
		m = next
		for _, e := range fx.Events {
			if seq++; e.Seq != seq {
				t.Errorf("%s has seq %d, want %d", e.Type, e.Seq, seq)
			}
			if p := e.Data.Participant; p != nil && (p.PresentSeconds < 0 || p.LeftAt.Time.Before(p.JoinedAt.Time) && !p.LeftAt.IsZero()) {
				t.Errorf("%s: present for %d s, from %v to %v", e.Type, p.PresentSeconds, p.JoinedAt, p.LeftAt)
			}
			if s := e.Data.Session; s != nil && !s.EndedAt.IsZero() && s.EndedAt.Time.Before(s.StartedAt.Time) {
				t.Errorf("%s: session from %v to %v", e.Type, s.StartedAt, s.EndedAt)
			}
		}
	}
	seen := func(nick string, kind meeting.Kind) meeting.Input {
		return meeting.Seen{Occupant: meeting.Occupant{
			Nick: nick, JID: nick + "@meet.jitsi/web", Kind: kind, Role: meeting.RoleParticipant, Audio: meeting.MediaOff,
		}}
	}
	do(0, meeting.Created{Room: "a"})
	do(time.Second, seen("ada", meeting.KindHuman))
	do(time.Second, seen("recorder", meeting.KindRecorder))
	const back = -time.Hour
	do(back, meeting.Gone{Nick: "ada", Reason: meeting.LeftByChoice})
	do(back+time.Second, meeting.Ended{Reason: meeting.EndRequested})
	do(back+2*time.Second, meeting.RoomGone{})
	if m.State() != meeting.StateEnded || m.EndedAt.Before(m.CreatedAt) || !m.Over() {
		t.Errorf("the meeting is %s, from %v to %v, over %v; want it ended no earlier than it was made", m.State(), m.CreatedAt, m.EndedAt, m.Over())
	}
	for _, p := range m.People {
		if p.Stayed < 0 {
			t.Errorf("%s was in for %v", p.ID, p.Stayed)
		}
	}
}
