package meeting_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"usher/internal/golden"
	"usher/meeting"
)

// TestScenarios plays the stories in testdata. A block is commands, a line of
// four dashes, and what follows from them: a line for each event, then the
// state. A command may begin with the time that passes before it.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, file, play(t, string(text)))
		})
	}
}

func play(t *testing.T, text string) string {
	t.Helper()
	s := story{now: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)}
	var out, told strings.Builder
	expected := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "----":
			expected = true
			fmt.Fprintf(&out, "----\n%s%s\n", told.String(), s.state())
			told.Reset()
		case line == "":
			expected = false
			out.WriteString("\n")
		case strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
		case !expected:
			out.WriteString(line + "\n")
			told.WriteString(s.do(t, line))
		}
	}
	return out.String()
}

type story struct {
	m   meeting.Meeting
	now time.Time
	n   byte

	delay  time.Duration  // of the trigger automatic
	notice meeting.Notice // of recordings from bridges

	stored map[string]meeting.Recording // as the effects said
}

func (s *story) do(t *testing.T, line string) string {
	t.Helper()
	words := strings.Fields(line)
	if after, ok := strings.CutPrefix(words[0], "+"); ok {
		s.now = s.now.Add(length(t, after))
		words = words[1:]
	}
	args := map[string]string{}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		args[key] = value
	}
	var f meeting.Input
	switch words[0] {
	case "create":
		c := meeting.Created{Room: args["room"], ExternalID: args["external_id"]}
		if args["end"] != "" {
			c.EndAt = s.now.Add(length(t, args["end"]))
		}
		c.MaxDuration, c.EmptyTimeout = length(t, args["max"]), length(t, args["empty"])
		c.Policy = meeting.RecordingPolicy{Trigger: meeting.Trigger(args["trigger"]), MaxLength: length(t, args["length"])}
		for mode := range strings.SplitSeq(args["modes"], ",") {
			if mode != "" {
				c.Policy.Modes = append(c.Policy.Modes, meeting.RecordingMode(mode))
			}
		}
		s.delay, s.notice = length(t, args["delay"]), meeting.Notice(args["notice"])
		f = c
	case "patch":
		p := meeting.Patched{}
		if version, err := strconv.ParseInt(args["if_version"], 10, 64); err == nil {
			p.IfSettings = []int64{version}
		}
		if args["end"] != "" {
			end := s.now.Add(length(t, args["end"]))
			p.EndAt = &end
		}
		if args["start"] != "" {
			start := s.now.Add(length(t, args["start"]))
			p.StartAt = &start
		}
		f = p
	case "invite":
		f = meeting.Invited{UserID: args["user"]}
	case "remove":
		f = meeting.Removed{UserID: args["user"], Reason: args["reason"]}
	case "readmit":
		f = meeting.Readmitted{UserID: args["user"]}
	case "seen":
		f = meeting.Seen{Occupant: occupant(args)}
	case "gone":
		f = meeting.Gone{Nick: args["nick"], Reason: meeting.LeftReason(args["reason"]), Actor: args["by"], ByUsher: args["by"] == "usher"}
	case "nick":
		f = meeting.NickChanged{From: args["from"], To: args["to"]}
	case "roster":
		var r meeting.Roster
		for _, w := range words[1:] { // nick/user, nick//session of a recorder, or focus=session or stream=session that it records or streams
			if w == "focus="+args["focus"] || w == "stream="+args["stream"] {
				r.Focus = meeting.FocusSays{Here: true, Session: args["focus"] + args["stream"], Status: "on", Stream: args["stream"] != ""}
				continue
			}
			nick, user, _ := strings.Cut(w, "/")
			o := map[string]string{"nick": nick, "user": user}
			if session, ok := strings.CutPrefix(user, "/"); ok {
				o = map[string]string{"nick": nick, "kind": "recorder", "session": session}
			}
			r.Occupants = append(r.Occupants, occupant(o))
		}
		f = r
	case "breakouts":
		f = breakouts(words[1:])
	case "empty_roster": // nobody is in the main room; what follows is as for breakouts
		b := breakouts(words[1:])
		f = meeting.Roster{Breakouts: &b}
	case "lobby": // who waits there
		var l meeting.Lobby
		for _, nick := range words[1:] {
			nick, kind, _ := strings.Cut(nick, "/")
			l.Waiting = append(l.Waiting, occupant(map[string]string{"nick": nick, "kind": kind}))
		}
		f = l
	case "visitors":
		n, _ := strconv.Atoi(words[1])
		f = meeting.VisitorsCounted{Visitors: n}
	case "room_gone":
		f = meeting.RoomGone{Reason: meeting.LeftReason(args["reason"])}
	case "sight_lost":
		f = meeting.SightLost{}
	case "tick":
		f = meeting.Tick{}
	case "store_reset":
		f = meeting.StoreReset{}
	case "focus": // on, off, pending, here, away, or in but unseen
		says := meeting.FocusSays{Here: words[1] != "away", Session: args["session"], Failure: args["failure"], Initiator: args["by"], Stream: args["mode"] == "stream"}
		if args["session"] != "" {
			says.Status = words[1]
		}
		if words[1] == "unseen" {
			says.Status = "not seen"
		}
		f = meeting.FocusSaid{Focus: says}
	case "record":
		_, noQueue := args["no_queue"]
		f = meeting.RecordingWanted{By: meeting.Requester{Type: meeting.ByApp, Name: "key"}, NoQueue: noQueue, Mode: meeting.RecordingMode(args["mode"])}
	case "conference":
		bridges, _ := strconv.Atoi(args["bridges"])
		f = meeting.ConferenceChanged{Conference: meeting.Conference{JitsiMeetingID: args["id"], Bridges: bridges}}
	case "part_opens", "connected", "interrupted", "part_closed", "part_missing", "part_stored", "not_written": // the newest recording from bridges
		f = s.ofBridges(words[0], args)
	case "waits":
		f = meeting.RecordingInput{Kind: meeting.RecordingWaits, Recording: s.recording(), Reason: meeting.ReasonBusy}
	case "tried":
		f = meeting.RecordingInput{Kind: meeting.RecordingTried, Recording: s.recording()}
	case "accepted":
		f = meeting.RecordingInput{Kind: meeting.RecordingAccepted, Recording: s.recording(), JibriSession: args["session"]}
	case "refused":
		f = meeting.RecordingInput{Kind: meeting.RecordingRefused, Recording: s.recording(), Refusal: meeting.Refusal(args["as"]), Detail: args["detail"]}
	case "unknown":
		f = meeting.RecordingInput{Kind: meeting.RecordingUnknown, Recording: s.recording()}
	case "stop": // the newest, or that of a session
		r := s.recording()
		if args["session"] != "" {
			r = s.ofSession(args["session"])
		}
		f = meeting.RecordingInput{Kind: meeting.RecordingStop, Recording: r, Reason: meeting.StopRequested}
	case "closed":
		f = meeting.RecordingInput{Kind: meeting.RecordingClosed, Recording: s.ofSession(args["session"]), JibriSession: args["session"], Recorder: args["recorder"]}
	case "stored":
		r := s.ofSession(args["session"])
		f = meeting.RecordingInput{Kind: meeting.RecordingStored, Recording: r, JibriSession: args["session"], Recorder: args["recorder"], Files: []meeting.RecordingFile{
			{Name: args["file"], Dir: args["session"], Storage: meeting.StorageFile, Path: args["file"], Size: 3, Recorder: args["recorder"]},
		}}
	case "lost":
		f = meeting.RecordingInput{Kind: meeting.RecordingLost, Recording: s.ofSession(args["session"]), Detail: args["detail"]}
	case "delete":
		f = meeting.RecordingInput{Kind: meeting.RecordingDeleted, Recording: s.ofSession(args["session"])}
	case "end":
		_, forget := args["forget"]
		f = meeting.Ended{Reason: meeting.EndRequested, Forget: forget}
	default:
		t.Fatalf("unknown command %q", line)
	}
	s.n++
	before := s.m
	m, fx, err := meeting.Apply(s.m, meeting.TimedInput{At: s.now, Seed: meeting.Seed{9: s.n}, Input: f, TriggerDelay: s.delay, Notice: s.notice})
	if err != nil {
		return "refused: " + err.Error() + "\n"
	}
	s.m = m
	s.checkKnown(t)
	for _, r := range fx.Recordings {
		if s.stored == nil {
			s.stored = map[string]meeting.Recording{}
		}
		s.stored[r.ID] = r
	}
	var b strings.Builder
	for _, n := range fx.Events {
		b.WriteString(describe(n) + "\n")
	}
	if m.Version != before.Version && len(fx.Events) == 0 {
		b.WriteString("(stored, nothing to tell)\n")
	}
	return b.String()
}

// checkKnown fails unless a presence of somebody whom the meeting knows changes
// nothing, now or later.
func (s *story) checkKnown(t *testing.T) {
	t.Helper()
	for _, p := range s.m.People {
		for _, o := range p.Connections {
			if !s.m.Knows(o) {
				continue
			}
			again, fx, err := meeting.Apply(s.m, meeting.TimedInput{At: s.now.Add(time.Hour), Input: meeting.Seen{Occupant: o}})
			if err != nil || again.Version != s.m.Version || len(fx.Events)+len(fx.People)+len(fx.Sessions)+len(fx.Recordings) > 0 {
				t.Errorf("a presence of %s, who is known, has effects %+v, %v; want none", o.Nick, fx, err)
			}
		}
	}
}

// ofBridges returns an input about the newest recording from bridges.
func (s *story) ofBridges(what string, args map[string]string) meeting.Input {
	in := meeting.RecordingInput{
		Kind: meeting.RecordingInputKind(strings.ReplaceAll(what, "_", " ")), Since: s.now, Detail: args["detail"],
		Part: meeting.RecordingPart{ID: args["part"], Host: args["host"], JitsiMeetingID: s.m.Conference.JitsiMeetingID},
	}
	switch what {
	case "part_stored":
		in.Kind = meeting.RecordingStored
		in.Files = []meeting.RecordingFile{{Name: "001.ogg", Dir: args["part"], Path: "001.ogg", Track: &meeting.Track{Part: args["part"]}}}
	case "not_written":
		in.Kind, in.Failure = meeting.RecordingRefused, meeting.FailDisk
	}
	for _, r := range s.m.Recordings {
		if r.Mode.FromBridge() {
			in.Recording = r
		}
	}
	return in
}

// recording returns the newest recording at hand.
func (s *story) recording() meeting.Recording {
	if len(s.m.Recordings) == 0 {
		return meeting.Recording{}
	}
	return s.m.Recordings[len(s.m.Recordings)-1]
}

// ofSession returns the first recording that Jibri knows by the id, as last stored.
func (s *story) ofSession(session string) meeting.Recording {
	for _, id := range slices.Sorted(maps.Keys(s.stored)) {
		if r := s.stored[id]; r.JibriSession == session {
			return r
		}
	}
	return meeting.Recording{}
}

// length parses a duration; nothing is zero.
func length(t *testing.T, text string) time.Duration {
	t.Helper()
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// breakouts reads how many breakout rooms there are, and nick/id of the room/its
// name for each who is in one.
func breakouts(words []string) (b meeting.Breakouts) {
	b.Rooms, _ = strconv.Atoi(words[0])
	for _, w := range words[1:] {
		part := strings.Split(w, "/")
		o := occupant(map[string]string{"nick": part[0], "name": part[0]})
		o.Elsewhere = &meeting.Elsewhere{Room: meeting.ParticipantRoom{ID: part[1], Name: part[2]}}
		b.Occupants = append(b.Occupants, o)
	}
	return b
}

func occupant(args map[string]string) meeting.Occupant {
	o := meeting.Occupant{
		Nick: args["nick"], JID: args["nick"] + "@meet.jitsi/web", Kind: meeting.KindHuman,
		Role: meeting.RoleParticipant, UserID: args["user"], Name: args["name"],
		Audio: meeting.Media(args["audio"]), Recording: args["session"],
	}
	if args["jid"] != "" {
		o.JID = args["jid"]
	}
	if args["kind"] != "" {
		o.Kind = meeting.Kind(args["kind"])
	}
	if args["role"] != "" {
		o.Role = meeting.Role(args["role"])
	}
	o.HandRaised, _ = strconv.ParseInt(args["hand"], 10, 64)
	return o
}

func describe(n meeting.Event) string {
	words := []string{strconv.FormatInt(n.Seq, 10), string(n.Type)}
	if p := n.Data.Participant; p != nil {
		who := p.Name
		if who == "" {
			who = p.UserID
		}
		if who == "" {
			who = string(p.Kind)
		}
		words = append(words, who)
		if p.LeftReason != "" {
			words = append(words, "reason="+string(p.LeftReason))
		}
		if by := p.LeftBy; by != nil {
			words = append(words, strings.TrimSpace("by="+string(by.Type)+" "+by.Name))
		}
		if p.PresentSeconds > 0 {
			words = append(words, fmt.Sprintf("present=%ds", p.PresentSeconds))
		}
		if n.Type == meeting.ParticipantLobbyJoined || n.Type == meeting.ParticipantLobbyLeft {
			words[2] = "as=" + p.ID[len(p.ID)-2:]
		} else if strings.HasSuffix(p.Name, "?") { // to see who it was in the lobby
			words = append(words, "as="+p.ID[len(p.ID)-2:])
		}
		if p.Room.ID == meeting.LobbyRoom && p.EndpointID != "" {
			words = append(words, "nick="+p.EndpointID)
		} else if p.Room.ID != meeting.MainRoom && p.Room.ID != meeting.LobbyRoom {
			words = append(words, "in="+p.Room.ID+"/"+p.Room.Name)
		}
		if p.Connections > 1 {
			words = append(words, fmt.Sprintf("connections=%d", p.Connections))
		}
	}
	if r := n.Data.Recording; r != nil {
		if r.Mode != meeting.ModeFile {
			words = append(words, string(r.Mode))
		}
		words = append(words, "by="+string(r.RequestedBy.Type))
		for _, reason := range []meeting.RecordingReason{r.QueueReason, r.StopReason, r.Failure} {
			if reason != "" {
				words = append(words, string(reason))
			}
		}
		if r.Attempt > 1 {
			words = append(words, fmt.Sprintf("attempt=%d", r.Attempt))
		}
		if len(r.Files) > 0 {
			words = append(words, fmt.Sprintf("files=%d", len(r.Files)))
		}
	}
	for _, c := range n.Data.Changed {
		words = append(words, "changed="+c)
	}
	if n.Reconciled != nil {
		words = append(words, "reconciled="+n.Reconciled.Before.Sub(n.Reconciled.After.Time).String())
	}
	return strings.Join(words, " ")
}

func (s *story) state() string {
	o := s.m.Occupancy()
	line := fmt.Sprintf("= %s humans=%d peak=%d", s.m.State(), o.Humans, o.Peak)
	if o.Recorders > 0 {
		line += fmt.Sprintf(" recorders=%d", o.Recorders)
	}
	if o.Visitors > 0 {
		line += fmt.Sprintf(" visitors=%d", o.Visitors)
	}
	if o.Waiting > 0 {
		line += fmt.Sprintf(" waiting=%d", o.Waiting)
	}
	if o.PendingJoins > 0 {
		line += fmt.Sprintf(" pending=%d", o.PendingJoins)
	}
	if s.m.EndReason != "" {
		line += " reason=" + string(s.m.EndReason)
	}
	if !s.m.StaleSince.IsZero() {
		line += " stale"
	}
	if s.m.Info().Stream.Active {
		line += " stream"
	}
	for _, r := range s.m.Recordings {
		line += " rec=" + string(r.State)
		if r.Mode.FromBridge() {
			line += "/" + string(r.Mode)
			for _, p := range r.Parts {
				line += "/" + p.ID + ":" + string(p.State)
			}
			if !r.InterruptedSince.IsZero() {
				line += "/interrupted"
			}
		}
		if !r.Doubt.IsZero() {
			line += "?"
		}
	}
	if _, from, ok := s.m.ToStart(); ok {
		line += " start"
		if from.After(s.now) {
			line += "=" + from.Sub(s.now).String()
		}
	}
	if _, ok := s.m.ToStop(); ok {
		line += " stop"
	}
	for _, k := range s.m.ToKick(s.now) {
		line += " kick=" + k.Nick + "/" + strings.ReplaceAll(k.Reason, " ", "_")
	}
	switch s.m.DesiredState(s.now) {
	case meeting.WantClosed:
		line += " want=closed"
	case meeting.WantNothing:
		line += " want=nothing"
	case meeting.WantSoon:
		line += " want=soon"
	case meeting.WantStay:
		line += " want=stay"
	case meeting.WantRegain:
		line += " want=regain"
	case meeting.WantKeep:
		line += " want=keep"
	}
	if d := s.m.Deadline(s.now); !d.IsZero() {
		line += " deadline=" + d.Sub(s.now).String()
	}
	return line
}
