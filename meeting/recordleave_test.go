package meeting_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/meeting"
)

// TestRecorderInTheRoomIsNeverOver plays things that may happen to a recorded
// meeting in any order. After each no recording is over whose recorder is seen
// in the room, every recorder of one that is to end gets kicked, and nothing
// stays due, which would have the tracker turn on the spot.
func TestRecorderInTheRoomIsNeverOver(t *testing.T) {
	for seed := range uint64(500) {
		g := gambler{Rand: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)}
		g.apply(meeting.Created{Room: "standup", Policy: meeting.RecordingPolicy{Trigger: meeting.TriggerAutomatic}})
		g.apply(meeting.FocusSaid{Focus: meeting.FocusSays{Here: true}})
		g.apply(meeting.Seen{Occupant: occupant(map[string]string{"nick": "aa"})})
		for range 60 {
			g.now = g.now.Add([]time.Duration{0, time.Second, 4 * time.Second, 11 * time.Second, 31 * time.Second}[g.IntN(5)])
			g.apply(meeting.Tick{})
			g.apply(g.event())
			if wrong := g.wrong(); wrong != "" {
				t.Fatalf("seed %d: %s; events:\n%s\nrecordings %+v", seed, wrong, brief(g.played), g.m.Recordings)
			}
		}
	}
}

type gambler struct {
	*rand.Rand
	m        meeting.Meeting
	now      time.Time
	sessions int
	played   []meeting.TimedInput
}

func (g *gambler) apply(f meeting.Input) {
	g.played = append(g.played, meeting.TimedInput{At: g.now, Input: f})
	var seed meeting.Seed
	seed[0], seed[1] = byte(len(g.played)), byte(len(g.played)>>8)
	if m, _, err := meeting.Apply(g.m, meeting.TimedInput{At: g.now, Seed: seed, Input: f}); err == nil {
		g.m = m
	}
}

// brief is a line for each event, without what is empty.
func brief(events []meeting.TimedInput) string {
	var b strings.Builder
	for _, ev := range events {
		words := strings.Fields(fmt.Sprintf("%T %+v", ev.Input, ev.Input))
		words = slices.DeleteFunc(words, func(w string) bool {
			return strings.HasSuffix(w, ":") || strings.HasSuffix(w, ":}") || strings.Contains(w, "<nil>") || strings.Contains(w, "0001")
		})
		fmt.Fprintf(&b, "%s %s\n", ev.At.Format("04:05"), strings.Join(words, " "))
	}
	return b.String()
}

// event returns something that may happen now.
func (g *gambler) event() meeting.Input {
	// One of the latest sessions, or one more: each start of a recorder has its own.
	session := fmt.Sprintf("j%d", max(0, g.sessions-g.IntN(3)))
	fresh := session
	if g.IntN(4) == 0 || slices.ContainsFunc(g.m.Recordings, func(r meeting.Recording) bool {
		return r.JibriSession == session || slices.Contains(r.GivenUp, session)
	}) {
		g.sessions++
		fresh = fmt.Sprintf("j%d", g.sessions)
	}
	var r meeting.Recording
	if n := len(g.m.Recordings); n > 0 {
		r = g.m.Recordings[g.IntN(n)]
	}
	recorder := occupant(map[string]string{"nick": fmt.Sprintf("r%d", g.IntN(2)), "kind": "recorder", "session": session})
	if g.IntN(3) == 0 {
		recorder.Recording = ""
	}
	here := meeting.FocusSays{Here: true}
	on, off := here, here
	on.Session, on.Status, off.Session, off.Status = session, "on", session, "off"
	human := occupant(map[string]string{"nick": "aa"})
	inputs := []meeting.Input{
		meeting.RecordingWanted{}, meeting.RecordingInput{Kind: meeting.RecordingTried, Recording: r}, meeting.RecordingInput{Kind: meeting.RecordingTried, Recording: r},
		meeting.RecordingInput{Kind: meeting.RecordingAccepted, Recording: r, JibriSession: fresh}, meeting.RecordingInput{Kind: meeting.RecordingAccepted, Recording: r, JibriSession: fresh},
		meeting.RecordingInput{Kind: meeting.RecordingRefused, Recording: r, Refusal: meeting.RefusedSilent},
		meeting.RecordingInput{Kind: meeting.RecordingStop, Recording: r, Reason: meeting.StopRequested}, meeting.RecordingInput{Kind: meeting.RecordingUnknown, Recording: r},
		meeting.FocusSaid{Focus: on}, meeting.FocusSaid{Focus: on}, meeting.FocusSaid{Focus: off},
		meeting.FocusSaid{Focus: here}, meeting.FocusSaid{},
		meeting.Seen{Occupant: recorder}, meeting.Seen{Occupant: recorder}, meeting.Seen{Occupant: recorder},
		meeting.Gone{Nick: recorder.Nick}, meeting.Gone{Nick: "aa"}, meeting.Seen{Occupant: human},
		meeting.SightLost{}, meeting.Roster{Focus: on, Occupants: []meeting.Occupant{human, recorder}}, meeting.Roster{Focus: here, Occupants: []meeting.Occupant{human}},
		meeting.RoomGone{},
	}
	if r.ID != "" {
		its := cmp.Or(r.JibriSession, fresh)
		inputs = append(inputs, meeting.RecordingInput{Kind: meeting.RecordingClosed, Recording: r, JibriSession: its, Recorder: "jibri"},
			meeting.RecordingInput{Kind: meeting.RecordingStored, Recording: r, JibriSession: its, Recorder: "jibri", Files: []meeting.RecordingFile{{Name: session, Dir: session}}})
	}
	if g.IntN(200) == 0 {
		return meeting.Ended{Reason: meeting.EndRequested}
	}
	return inputs[g.IntN(len(inputs))]
}

// wrong says which rule does not hold now, "" if all do.
func (g *gambler) wrong() string {
	next := g.m.Deadline(g.now)
	named := func(nick string) bool {
		return slices.ContainsFunc(g.m.ToKick(g.now), func(k meeting.Kick) bool { return k.Nick == nick })
	}
	on := 0
	for _, r := range g.m.Recordings {
		if r.State == meeting.RecordingOn {
			on++
		}
		for _, p := range g.m.People {
			for _, c := range p.Connections {
				its := p.Kind == meeting.KindRecorder && r.JibriSession != "" && c.Recording == r.JibriSession && g.m.StaleSince.IsZero()
				switch {
				case !its:
				case r.State == meeting.RecordingProcessing:
					return "a recording is over whose recorder is in the room"
				case named(c.Nick):
				case r.State == meeting.RecordingStopping && (next.IsZero() || next.After(r.Since.Add(10*time.Second))), r.State.Settled():
					return fmt.Sprintf("the recorder %s of a recording that is %s is not kicked", c.Nick, r.State)
				}
			}
		}
	}
	if on > 1 {
		return fmt.Sprintf("%d recordings at once", on)
	}
	if !next.IsZero() && !next.After(g.now) {
		return fmt.Sprintf("something is due since %v", g.now.Sub(next))
	}
	return ""
}
