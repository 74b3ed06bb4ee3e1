package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"usher/meeting"
)

// webhooksTriggerCommand is `usher webhooks trigger`.
type webhooksTriggerCommand struct {
	Type string `arg:"" help:"Type of the event, such as recording.available."`
	receiver
}

// Run sends the event and says what came of it.
func (c *webhooksTriggerCommand) Run(ctx context.Context) error {
	return c.send(ctx, os.Stdout, time.Now())
}

func (c *webhooksTriggerCommand) send(ctx context.Context, out io.Writer, now time.Time) error {
	t := meeting.EventType(c.Type)
	if !slices.Contains(meeting.EventTypes, t) {
		return fmt.Errorf("there is no type %q; there are %s", c.Type, strings.Trim(fmt.Sprint(meeting.EventTypes), "[]"))
	}
	d, id, err := c.deliverer()
	if err != nil {
		return err
	}
	event := sampleEvent(t, now)
	a, err := d.Send(ctx, id, event.Text())
	switch {
	case err != nil:
		return err
	case a.Error == "notice":
		return fmt.Errorf("the dialect %s sends no events of the type %s", c.Dialect, t)
	}
	if err := refusal(a); err != nil {
		return err
	}
	return sayTaken(out, a)
}

// sampleEvent returns an event of a meeting that never was, with all that its type
// has.
func sampleEvent(t meeting.EventType, now time.Time) meeting.Event {
	id := func(prefix string) string { return meeting.NewID(prefix, now, meeting.NewSeed(), 0) }
	at := func(ago time.Duration) meeting.Time { return meeting.Time{Time: now.Add(-ago)} }
	m := meeting.Meeting{
		ID: id("mtg_"), Room: "standup-sample", ExternalID: "sample-1", Metadata: map[string]string{"team": "a"}, CreatedAt: now.Add(-time.Hour), Version: 12,
	}
	session := meeting.SessionInfo{ID: id("ses_"), MeetingID: m.ID, StartedAt: at(20 * time.Minute), Peak: 2, Humans: 2}
	person := meeting.ParticipantInfo{
		Person: meeting.Person{
			ID: id("prt_"), SessionID: session.ID, Kind: meeting.KindHuman, Role: meeting.RoleModerator, UserID: "u1", Name: "Ada",
			Audio: meeting.MediaOn, Video: meeting.MediaOff, Screen: meeting.MediaOff, JoinedAt: at(20 * time.Minute),
		},
		EndpointID: "a1b2c3d4", Connections: 1, Room: meeting.ParticipantRoom{ID: meeting.MainRoom},
	}
	data := meeting.Data{Occupancy: &meeting.Occupancy{Humans: 1, Moderators: 1, Peak: 2}}
	kind, what, _ := strings.Cut(string(t), ".")
	switch kind {
	case "session":
		if data.Session = &session; t == meeting.SessionEnded {
			session.EndedAt, data.Occupancy = at(0), &meeting.Occupancy{Peak: 2}
			person.LeftAt, person.LeftReason, person.PresentSeconds, person.Connections, person.EndpointID = at(0), meeting.LeftByChoice, 1200, 0, ""
			data.Participants = []meeting.ParticipantInfo{person}
		}
	case "participant":
		switch data.Participant = &person; t {
		case meeting.ParticipantUpdated:
			data.Changed = []string{"audio"}
		case meeting.ParticipantLobbyJoined, meeting.ParticipantLobbyLeft:
			person = meeting.ParticipantInfo{
				Person:     meeting.Person{ID: person.ID, Kind: meeting.KindHuman, Role: meeting.RoleParticipant, JoinedAt: at(time.Minute)},
				EndpointID: "a1b2c3d4", Room: meeting.ParticipantRoom{ID: meeting.LobbyRoom},
			}
			if t == meeting.ParticipantLobbyLeft {
				person.LeftAt, person.LeftReason, person.EndpointID = at(0), meeting.LeftByChoice, ""
			}
		case meeting.ParticipantLeft:
			person.LeftAt, person.LeftReason, person.PresentSeconds, person.Connections, person.EndpointID = at(0), meeting.LeftByChoice, 1200, 0, ""
		}
	case "recording", "speaker":
		data.Recording = sampleRecording(what, m.ID, session.ID, id("rec_"), at)
		if t == meeting.SpeakerStats {
			data.Speakers = []meeting.SpeakerInfo{{
				ParticipantID: person.ID, UserID: person.UserID, Name: person.Name, SpeakingS: 61.5, Turns: 7, Share: 1, FirstAt: at(9 * time.Minute), LastAt: at(time.Minute),
			}}
		}
	case "stream":
		data.Stream = &meeting.StreamInfo{Active: t == meeting.StreamStarted, Since: new(at(time.Minute))}
	default:
		if t == meeting.MeetingEnded {
			m.EndedAt, m.EndReason = now, meeting.EndRequested
		}
		data.Meeting = new(m.Info())
	}
	return meeting.Event{
		ID: id("evt_"), Type: t, Timestamp: at(0), APIVersion: meeting.APIVersion, MeetingID: m.ID, Room: m.Room, ExternalID: m.ExternalID,
		SessionID: session.ID, Seq: 7, StateVersion: m.Version, Data: data,
	}
}

// sampleRecording returns a recording as the event of that name has it.
func sampleRecording(what, meetingID, sessionID, id string, at func(time.Duration) meeting.Time) *meeting.RecordingInfo {
	r := &meeting.RecordingInfo{
		RecordingStatus: meeting.RecordingStatus{
			ID: id, MeetingID: meetingID, SessionID: sessionID, Mode: meeting.ModeFile, State: meeting.RecordingState(what), RequestedAt: at(10 * time.Minute),
		},
		RequestedBy: meeting.Requester{Type: meeting.ByApp, Name: "configured"}, Files: []meeting.FileInfo{},
	}
	order := []string{"requested", "queued", "starting", "started", "stopping", "stopped", "available", "deleted"}
	reached := slices.Index(order, what)
	if reached >= slices.Index(order, "started") {
		r.State, r.StartedAt, r.JibriSession, r.Attempt = meeting.RecordingOn, at(9*time.Minute), "sample", 1
	}
	switch what {
	case "interrupted", "resumed", "stats":
		r.Mode, r.State, r.StartedAt = meeting.ModeTracks, meeting.RecordingOn, at(9*time.Minute)
		if what == "interrupted" {
			r.InterruptedSince = at(time.Minute)
		}
	case "stopping":
		r.State, r.StopReason = meeting.RecordingStopping, meeting.StopRequested
	case "stopped":
		r.State, r.StopReason, r.StoppedAt = meeting.RecordingProcessing, meeting.StopRequested, at(0)
	case "available", "deleted":
		r.State, r.StopReason, r.StoppedAt, r.SettledAt = meeting.RecordingAvailable, meeting.StopRequested, at(time.Minute), at(0)
		r.Files = []meeting.FileInfo{{Name: "standup-sample_2026-11-22.mp4", Storage: meeting.StorageFile, Size: 1 << 20, SHA256: strings.Repeat("0", 64), DurationS: 480, StoredAt: at(0)}}
		if what == "deleted" {
			r.DeletedAt = new(at(0))
		}
	case "queued":
		r.QueueReason, r.QueueUntil = meeting.ReasonBusy, new(at(-20*time.Minute))
	case "failed":
		r.Failure, r.SettledAt = meeting.FailQueueTimeout, at(0)
	case "aborted":
		r.StopReason, r.SettledAt = meeting.StopRequested, at(0)
	}
	return r
}
