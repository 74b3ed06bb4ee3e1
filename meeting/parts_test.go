package meeting_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"usher/meeting"
)

// parts applies an input in parts of few events each, until none is left, and
// returns what it leads to together; cut is called after each part with more to
// come, and returns the meeting and the input to go on with.
func parts(t *testing.T, m meeting.Meeting, in meeting.TimedInput, most int, cut func(meeting.Meeting, meeting.TimedInput) (meeting.Meeting, meeting.TimedInput)) (meeting.Meeting, []string) {
	t.Helper()
	var said []string
	for range 1000 {
		in.MaxEvents = most
		in.Seed[0]++
		next, fx, err := meeting.Apply(m, in)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range fx.Events {
			said = append(said, describe(e))
			if e.StateVersion != next.Version {
				t.Errorf("%s is of version %d, want that of its part, %d", said[len(said)-1], e.StateVersion, next.Version)
			}
			if e.Seq != m.Seq+int64(i)+1 {
				t.Errorf("%s follows %d", said[len(said)-1], m.Seq)
			}
		}
		// A part may end with all that one person's leave, the start of a session,
		// or the meeting's end brings.
		if more := len(fx.Events) - most; most > 0 && more > 2 {
			t.Errorf("a part of %d events, want %d at most, and 2 to finish", len(fx.Events), most)
		}
		if m = next; !fx.More {
			return m, said
		}
		if cut != nil {
			m, in = cut(m, in)
		}
	}
	t.Fatal("the input has no end")
	return m, nil
}

// TestLargeChangesInParts makes changes of many people in parts: together they
// are what they are in one, and a crash after any of them loses nothing and
// repeats nothing.
func TestLargeChangesInParts(t *testing.T) {
	at := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	var seats meeting.Roster
	for i := range 9 {
		// Every third is known by a token, and back on another connection later.
		o := map[string]string{"nick": fmt.Sprint("n", i), "name": fmt.Sprint("P", i)}
		if i%3 == 0 {
			o["user"] = fmt.Sprint("u", i)
		}
		seats.Occupants = append(seats.Occupants, occupant(o))
	}
	full, _ := parts(t, meeting.Meeting{}, meeting.TimedInput{At: at, Input: meeting.Created{
		Room: "standup", Policy: meeting.RecordingPolicy{Trigger: meeting.TriggerAutomatic},
	}}, 0, nil)
	empty := full
	full, _ = parts(t, full, meeting.TimedInput{At: at, Input: seats}, 0, nil)
	blind, _ := parts(t, full, meeting.TimedInput{At: at.Add(time.Second), Input: meeting.SightLost{}}, 0, nil)
	others := meeting.Roster{Occupants: []meeting.Occupant{occupant(map[string]string{"nick": "n1", "name": "P1"})}}
	for i := range 9 {
		others.Occupants = append(others.Occupants, occupant(map[string]string{"nick": fmt.Sprint("m", i), "user": fmt.Sprint("u", i)}))
	}
	timed := full
	timed.EndAt, timed.Warned = at.Add(time.Minute), true
	later := at.Add(time.Minute)
	inBreakouts := func(room string) (b meeting.Breakouts) {
		for _, o := range seats.Occupants {
			o.Elsewhere = &meeting.Elsewhere{Room: meeting.ParticipantRoom{ID: room, Name: room}}
			b.Occupants = append(b.Occupants, o)
		}
		b.Rooms = 1
		return b
	}
	inOne, _ := parts(t, empty, meeting.TimedInput{At: at, Input: inBreakouts("one")}, 0, nil)
	onTheWay, _ := parts(t, inOne, meeting.TimedInput{At: at, Input: meeting.Breakouts{Rooms: 1}}, 0, nil)
	tests := map[string]struct {
		m      meeting.Meeting
		in     meeting.Input
		byTick bool // how it goes on after a crash
	}{
		"ended":                 {full, meeting.Ended{Reason: meeting.EndRequested}, true},
		"ended and forgotten":   {full, meeting.Ended{Reason: meeting.EndRequested, Forget: true}, true},
		"ended by the clock":    {timed, meeting.Tick{}, true},
		"room gone":             {full, meeting.RoomGone{Reason: meeting.LeftServerShutdown}, false},
		"room gone unseen":      {blind, meeting.RoomGone{Reason: meeting.LeftServerShutdown}, false},
		"first roster":          {empty, seats, false},
		"other people":          {full, others, false},
		"other people, unseen":  {blind, others, false},
		"nobody there any more": {blind, meeting.Roster{}, false},
		"all in breakout rooms": {empty, inBreakouts("one"), false},
		"all in another one":    {inOne, inBreakouts("two"), false},
		"all back":              {onTheWay, seats, false},
		"nobody came back":      {onTheWay, meeting.Tick{}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := meeting.TimedInput{At: later, Input: tt.in, Seed: meeting.Seed{1: 1}}
			want, said := parts(t, tt.m, in, 0, nil)
			for most := 1; most < 12; most++ {
				got, told := parts(t, tt.m, in, most, nil)
				if !slices.Equal(told, said) || standing(got) != standing(want) {
					t.Errorf("in parts of %d: %q and %s\nwant %q and %s", most, told, standing(got), said, standing(want))
				}
				crashed, told := parts(t, tt.m, in, most, func(m meeting.Meeting, in meeting.TimedInput) (meeting.Meeting, meeting.TimedInput) {
					m.People, m.Left = meeting.AtHand(stored(m)) // as it is loaded
					if tt.byTick {
						in.Input, in.At = meeting.Tick{}, m.Deadline(later)
						if in.At.After(later) || in.At.IsZero() {
							t.Fatalf("the rest is due at %v, want at once", in.At)
						}
					}
					return m, in
				})
				if !slices.Equal(told, said) || standing(crashed) != standing(want) {
					t.Errorf("in parts of %d with crashes: %q and %s\nwant %q and %s", most, told, standing(crashed), said, standing(want))
				}
			}
		})
	}
}

// stored are the people of a meeting as the store would have them.
func stored(m meeting.Meeting) []meeting.Participant {
	all := slices.Clone(m.People)
	for _, p := range m.Left {
		all = append(all, *p)
	}
	return all
}

// standing is what is to be the same about a meeting, however it came about.
func standing(m meeting.Meeting) string {
	s := story{m: m, now: m.CreatedAt.Add(time.Minute)}
	var recordings []meeting.RecordingState
	for _, r := range m.Recordings {
		recordings = append(recordings, r.State)
	}
	return fmt.Sprintf("%s seq=%d people=%d forgotten=%v closed=%v %v", s.state(), m.Seq, len(m.People), m.Forgotten, m.Closed, recordings)
}
