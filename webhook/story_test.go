package webhook

import (
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"usher/meeting"
)

// story is a meeting that inputs happen to.
type story struct {
	t   testing.TB
	m   meeting.Meeting
	now time.Time
	n   uint64
}

func newStory(t testing.TB, begin time.Time) *story {
	s := &story{t: t, now: begin.UTC().Truncate(time.Millisecond)}
	s.apply(0, meeting.Created{Room: "standup-k3v7", ExternalID: "crm-4711"})
	return s
}

// apply lets time pass and returns the events that the input leads to.
func (s *story) apply(later time.Duration, f meeting.Input) []json.RawMessage {
	s.t.Helper()
	s.now = s.now.Add(later)
	s.n++
	ev := meeting.TimedInput{At: s.now, Input: f}
	binary.BigEndian.PutUint64(ev.Seed[:], s.n)
	next, fx, err := meeting.Apply(s.m, ev)
	if err != nil {
		s.t.Fatalf("%T: %v", f, err)
	}
	s.m = next
	var events []json.RawMessage
	for _, n := range fx.Events {
		text, err := json.Marshal(n)
		if err != nil {
			s.t.Fatal(err)
		}
		events = append(events, text)
	}
	return events
}

// Who comes and goes in stories.
var (
	jose = meeting.Occupant{
		Nick: "a1b2c3d4", JID: "x1@meet.jitsi/web", Kind: meeting.KindHuman, Role: meeting.RoleModerator,
		UserID: "u1", Name: "José <b>&😀", Email: "jose@example.org", Audio: meeting.MediaOff,
	}
	guest = meeting.Occupant{Nick: "e5f6a7b8", JID: "x2@guest.meet.jitsi/web", Kind: meeting.KindHuman, Role: meeting.RoleParticipant}
	jibri = meeting.Occupant{Nick: "c9d0", JID: "recorder@hidden.meet.jitsi/jibri", Kind: meeting.KindRecorder, Role: meeting.RoleParticipant}
	// Waits in the lobby, and is not let in.
	knocking = meeting.Occupant{Nick: "cc22", JID: "x5@guest.meet.jitsi/web", Kind: meeting.KindHuman, Role: meeting.RoleParticipant}
	phone    = meeting.Occupant{Nick: "aa00", JID: "x3@meet.jitsi/jigasi", Kind: meeting.KindSIP, Role: meeting.RoleParticipant, Name: "+49 30 1234"}
)

// playStory plays a meeting from its creation to its end and returns its events.
func playStory(t testing.TB) (events []json.RawMessage) {
	t.Helper()
	s := newStory(t, time.Date(2026, 11, 22, 9, 58, 0, 0, time.UTC))
	do := func(later time.Duration, input meeting.Input) {
		t.Helper()
		events = append(events, s.apply(later, input)...)
	}
	focus := func(session, status string) meeting.FocusSaid {
		return meeting.FocusSaid{Focus: meeting.FocusSays{Here: true, Session: session, Status: status}}
	}
	file := func(name string, size int64) meeting.RecordingInput {
		return meeting.RecordingInput{Kind: meeting.RecordingStored, Recording: s.m.Recordings[0], JibriSession: "jxq3", Recorder: "jibri1", Files: []meeting.RecordingFile{
			{Name: name, Dir: "xq3", Storage: meeting.StorageFile, Path: name, Size: size, SHA256: "ab", Recorder: "jibri1", StoredAt: s.now},
		}}
	}
	do(2*time.Minute, focus("", ""))
	do(3*time.Second, meeting.Seen{Occupant: jose})
	do(30*time.Second, meeting.Seen{Occupant: guest})
	do(time.Second, meeting.Seen{Occupant: phone})
	do(time.Second, meeting.RecordingWanted{By: meeting.Requester{Type: meeting.ByApp, Name: "key_1"}})
	do(time.Second, meeting.RecordingInput{Kind: meeting.RecordingTried, Recording: s.m.Recordings[0]})
	do(time.Second, meeting.RecordingInput{Kind: meeting.RecordingAccepted, Recording: s.m.Recordings[0], JibriSession: "jxq3"})
	do(time.Second, meeting.Seen{Occupant: jibri})
	do(time.Second, focus("jxq3", "on"))
	unmuted := jose
	unmuted.Audio = meeting.MediaOn
	do(time.Second, meeting.Seen{Occupant: unmuted})
	do(10*time.Minute, meeting.RecordingInput{Kind: meeting.RecordingStop, Recording: s.m.Recordings[0], Reason: meeting.StopRequested})
	do(time.Second, focus("jxq3", "off"))
	do(time.Second, meeting.Gone{Nick: jibri.Nick, Reason: meeting.LeftByChoice})
	stored := file("standup-k3v7-2026-11-22T10:00:38Z.mp4", 7)
	do(time.Second, stored)
	do(0, meeting.Lobby{Waiting: []meeting.Occupant{knocking}})
	do(0, meeting.Lobby{})
	do(time.Second, meeting.Gone{Nick: phone.Nick, Reason: meeting.LeftByChoice})
	do(time.Second, meeting.Gone{Nick: guest.Nick, Reason: meeting.LeftDisconnected})
	do(meeting.AdmissionTimeout, meeting.Tick{})
	do(time.Minute-meeting.AdmissionTimeout, meeting.Gone{Nick: jose.Nick, Reason: meeting.LeftByChoice})
	do(meeting.SessionLinger, meeting.Tick{})
	do(time.Second, meeting.Ended{Reason: meeting.EndRequested})
	return events
}
