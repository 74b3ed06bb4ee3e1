package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/api"
	"usher/internal/sim"
	"usher/meeting"
)

// Each test here is a lifecycle of a recording as Jicofo and Jibri have it, on a
// real Prosody, with the program's own finalize as Jibri's hook.

func TestRecordingByTrigger(t *testing.T) {
	s := newStudio(t)
	s.jibri("jibri-1", nil)
	s.until("usher sees the recorder", func() bool { return s.metric(`usher_jibri_instances{state="idle"}`) == 1 })
	s.meets("standup", "automatic-2nd-participant")
	ada := s.enters("Ada")
	must(t, ada.Reload(within(t))) // no second participant
	s.counts(1)
	if list := s.list(); len(list) > 0 {
		t.Fatalf("one person is recorded: %+v", list)
	}
	bob := s.person("Bob", "")
	must(t, bob.Join(within(t)))
	r := s.newest(meeting.RecordingOn)
	if r.RequestedBy != (meeting.Requester{Type: meeting.ByTrigger, Name: "automatic-2nd-participant"}) || r.JibriSession == "" {
		t.Errorf("recording %+v", r)
	}
	s.until("the recorder is seen in the room", func() bool { return s.meeting().Occupancy.Recorders == 1 })
	must(t, ada.Leave(within(t)))
	must(t, bob.Leave(within(t)))
	r = s.newest(meeting.RecordingAvailable)
	if r.StopReason != meeting.StopEmpty || len(r.Files) != 1 || r.Recorder != "jibri-1" || !strings.HasPrefix(r.Files[0].Name, "standup-2") {
		t.Errorf("recording %+v", r)
	}
	s.download(r, "0")
	s.wantTold("requested starting started stopping stopped available")
	must(t, s.focus.WaitLeft(within(t), s.room)) // usher has left as well
}

func TestRecordingOnRequest(t *testing.T) {
	s := newStudio(t, "--brewery=elsewhere@internal-muc.meet.jitsi") // usher does not see the recorders
	s.meets("standup", "none")
	ada := s.enters("Ada")

	first := s.record() // there is no recorder at all
	if r := s.newest(meeting.RecordingQueued); r.QueueReason != meeting.ReasonNoRecorder {
		t.Errorf("it waits because of %s", r.QueueReason)
	}
	s.jibri("jibri-1", nil)
	s.newest(meeting.RecordingOn)
	s.stopRecording(first.ID)
	if r := s.newest(meeting.RecordingAvailable); r.StopReason != meeting.StopRequested {
		t.Errorf("recording %+v", r)
	}
	// Not seeing the recorders, usher asked before it knew that there was none.
	s.wantTold("requested starting queued starting started stopping stopped available")

	second := s.record()
	s.newest(meeting.RecordingOn)
	must(t, ada.StopRecording(within(t))) // a moderator, in the client
	if r := s.newest(meeting.RecordingAvailable); r.StopReason != meeting.StopParticipant || r.ID != second.ID {
		t.Errorf("recording %+v", r)
	}
	if _, err := ada.StartRecording(within(t)); err != nil {
		t.Fatal(err)
	}
	if r := s.newest(meeting.RecordingOn); r.RequestedBy.Type != meeting.ByParticipant || r.RequestedBy.Name == "" {
		t.Errorf("a participant's recording %+v", r)
	}
	must(t, s.call(t.Context(), "POST", "/v1/meetings/"+s.id+"/end", nil, nil))
	s.newest(meeting.RecordingAvailable)
	if len(s.list()) != 3 {
		t.Errorf("%d recordings, want 3", len(s.list()))
	}
}

func TestRecordingQueue(t *testing.T) {
	s := newStudio(t)
	s.jibri("jibri-1", nil)
	s.meets("first", "automatic")
	s.enters("Ada")
	r := s.newest(meeting.RecordingOn)
	s.meets("second", "automatic")
	s.enters("Bob")
	if r := s.newest(meeting.RecordingQueued); r.QueueReason != meeting.ReasonBusy || r.QueueUntil == nil {
		t.Errorf("recording %+v", r)
	}
	var queue struct{ Data []api.Queued }
	must(t, s.call(t.Context(), "GET", "/v1/recording-queue", nil, &queue))
	if len(queue.Data) != 1 || queue.Data[0].Recording.MeetingID != s.id {
		t.Errorf("queue %+v", queue)
	}
	s.stopRecording(r.ID)
	s.newest(meeting.RecordingOn)
	s.wantTold("requested queued starting started")
}

func TestRecorderFailsWhileStarting(t *testing.T) {
	s := newStudio(t)
	s.focus.SetPendingTimeout(time.Second)
	j := s.jibri("jibri-1", nil)
	j.Behave(sim.FailsLater)
	s.meets("standup", "automatic")
	s.enters("Ada")
	s.until("it was tried and failed", func() bool { list := s.list(); return len(list) == 1 && list[0].Attempt >= 1 && j.Session() == "" })
	j.Behave(sim.NeverOn) // Jicofo says off without a reason at the pending timeout
	s.until("it was tried again", func() bool { return s.list()[0].Attempt >= 2 && j.Session() != "" })
	j.Behave(sim.Works)
	if r := s.newest(meeting.RecordingOn); r.Attempt != 3 {
		t.Errorf("it took %d attempts, want 3", r.Attempt)
	}
}

func TestRecorderNeverBegins(t *testing.T) {
	s := newStudio(t)
	s.jibri("jibri-1", nil).Behave(sim.FailsLater)
	s.meets("standup", "automatic")
	s.enters("Ada")
	if r := s.newest(meeting.RecordingFailed); r.Failure != meeting.FailRecorder || r.Attempt != 3 {
		t.Errorf("recording %+v", r)
	}
	s.wantTold("requested starting starting starting failed") // one for each attempt
}

// killedSoon lets the server miss a killed recorder sooner than the real one does.
func killedSoon(c *sim.JibriConfig) { c.Hibernation = 500 * time.Millisecond }

func TestRecorderDies(t *testing.T) {
	s := newStudio(t)
	first := s.jibri("jibri-1", killedSoon)
	s.meets("standup", "automatic")
	s.enters("Ada")
	r := s.newest(meeting.RecordingOn)
	session := first.Session()
	second := s.jibri("jibri-2", nil)
	first.Kill()
	s.until("the other recorder goes on", func() bool { return second.Session() == session })
	s.until("the other recorder writes", func() bool { // one that is stopped before has no file
		files, _ := os.ReadDir(filepath.Join(s.dirs["jibri-2"], "jibri", session))
		return len(files) > 0
	})
	// The dead one's browser lives on.
	s.until("the other recorder is in", func() bool { return s.meeting().Occupancy.Recorders == 2 })
	if now := s.newest(meeting.RecordingOn); now.ID != r.ID || len(s.list()) != 1 {
		t.Errorf("now it is %+v, want the same recording", now)
	}
	s.stopRecording(r.ID)
	s.newest(meeting.RecordingAvailable)
	// What the dead host has is handed over by hand: one recording, two files.
	finalize := exec.CommandContext(within(t), os.Args[0], "finalize", "--foreground", filepath.Join(s.dirs["jibri-1"], "jibri", session))
	finalize.Env = []string{
		beUsher(), "USHER_URL=http://" + s.at.api, "USHER_RECORDER=jibri-1", "USHER_RECORDER_SECRET=" + s.recorderKeys["jibri-1"],
		"USHER_SPOOL_DIR=" + filepath.Join(s.dirs["jibri-1"], "spool"), "USHER_HANDOVER=move", "USHER_TARGET_DIR=" + s.recordings,
	}
	if out, err := finalize.CombinedOutput(); err != nil {
		t.Fatalf("finalize: %v %s", err, out)
	}
	s.until("two files", func() bool { return len(s.list()[0].Files) == 2 })
	s.download(s.list()[0], "0")
	s.download(s.list()[0], "1")
}

func TestRecorderDiesAndNoneIsFree(t *testing.T) {
	s := newStudio(t)
	first := s.jibri("jibri-1", killedSoon)
	s.meets("standup", "automatic")
	s.enters("Ada")
	r := s.newest(meeting.RecordingOn)
	first.Kill()
	s.until("it goes on as another recording", func() bool { return len(s.list()) == 2 })
	again := s.newest(meeting.RecordingQueued)
	if again.RequestedBy != (meeting.Requester{Type: meeting.ByRestart, Name: r.ID}) {
		t.Errorf("the second recording %+v", again)
	}
	if broken := s.list()[1]; broken.Failure != meeting.FailRecorder || broken.State != meeting.RecordingProcessing {
		t.Errorf("the first recording %+v", broken)
	}
	s.jibri("jibri-2", nil)
	s.newest(meeting.RecordingOn)
}

func TestRecorderStopsByItself(t *testing.T) {
	s := newStudio(t)
	j := s.jibri("jibri-1", nil)
	s.meets("standup", "automatic")
	s.enters("Ada")
	s.newest(meeting.RecordingOn)
	j.Finish()
	if r := s.newest(meeting.RecordingAvailable); r.StopReason != meeting.StopRecorder {
		t.Errorf("recording %+v", r)
	}
	if len(s.list()) != 1 {
		t.Error("it was started anew")
	}
}

func TestFocusRestartsWhileRecording(t *testing.T) {
	s := newStudio(t)
	j := s.jibri("jibri-1", func(c *sim.JibriConfig) { c.EmptyPatience = kickedPatience })
	s.meets("standup", "automatic")
	ada := s.enters("Ada")
	r := s.newest(meeting.RecordingOn)
	must(t, s.focus.Restart(within(t)))
	must(t, ada.Reload(within(t)))
	s.counts(1)
	// The new focus knows nothing of it, but the recorder is in.
	s.until("usher is told that the focus is back", func() bool { m := s.meeting(); return m.ActiveRecording != nil && m.Occupancy.Recorders == 1 })
	if now := s.newest(meeting.RecordingOn); now.ID != r.ID {
		t.Errorf("now it is %+v, want the same recording", now)
	}
	s.stopRecording(r.ID)
	s.recorderOut(5 * time.Second)
	if r := s.newest(meeting.RecordingAvailable); len(r.Files) != 1 || r.StopReason != meeting.StopRequested {
		t.Errorf("recording %+v", r)
	}
	must(t, j.WaitIdle(within(t)))
	s.stoppedOnceKicked()
}

// kickedPatience is how long a recorder here waits once it was kicked, and more
// than a page takes to be loaded again.
const kickedPatience = 4 * time.Second

// recorderOut waits until the recorder has left the meeting's room, which may
// take it no longer than patience.
func (s *studio) recorderOut(patience time.Duration) {
	s.t.Helper()
	begin := time.Now()
	s.until("the recorder is out", func() bool { return s.meeting().Occupancy.Recorders == 0 })
	if took := time.Since(begin); took > patience {
		s.t.Errorf("the recorder was out after %v, want %v at most", took, patience)
	}
}

// stoppedOnceKicked checks what the app was told of the end of a recording: it is
// stopping, its recorder is kicked, and only then it has stopped, once.
func (s *studio) stoppedOnceKicked() {
	s.t.Helper()
	var got []string
	for _, n := range s.events() {
		kicked := n.Type == meeting.ParticipantLeft && n.Data.Participant.LeftReason == meeting.LeftKicked
		if kicked || n.Type == meeting.RecordingIsStopping || n.Type == meeting.RecordingStopped {
			got = append(got, fmt.Sprintf("%s, %d recorders in", n.Type, n.Data.Occupancy.Recorders))
		}
	}
	want := []string{"recording.stopping, 1 recorders in", "participant.left, 0 recorders in", "recording.stopped, 0 recorders in"}
	if !slices.Equal(got, want) {
		s.t.Errorf("told %q, want %q", got, want)
	}
}

// TestRecordingIsStoppedWithoutAFocus has a focus that nobody brings back, so
// that there is nobody to tell: the recorder is kicked, by an app's wish and,
// when the last human has left, by itself.
func TestRecordingIsStoppedWithoutAFocus(t *testing.T) {
	for name, end := range map[string]func(s *studio, recording string, ada *sim.Person, restart func()) meeting.RecordingReason{
		"by an app": func(s *studio, recording string, _ *sim.Person, _ func()) meeting.RecordingReason {
			s.stopRecording(recording)
			return meeting.StopRequested
		},
		"usher is killed meanwhile": func(s *studio, recording string, _ *sim.Person, restart func()) meeting.RecordingReason {
			s.stopRecording(recording)
			restart()
			return meeting.StopRequested
		},
		"the last human leaves": func(s *studio, _ string, ada *sim.Person, _ func()) meeting.RecordingReason {
			must(s.t, ada.Leave(within(s.t)))
			return meeting.StopEmpty
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &studio{scene: newSite(t), dirs: map[string]string{}}
			usher := s.runUsher()
			s.waitReady("")
			// Longer than usher waits for a recorder to leave by itself, as with a real one.
			j := s.jibri("jibri-1", func(c *sim.JibriConfig) { c.EmptyPatience = 20 * time.Second })
			s.meets("standup", "automatic")
			ada := s.enters("Ada")
			r := s.newest(meeting.RecordingOn)
			s.until("the recorder is seen in the room", func() bool { return s.meeting().Occupancy.Recorders == 1 })
			must(t, s.focus.Restart(within(t)))
			why := end(s, r.ID, ada, func() { usher.kill(); s.runUsher() })
			if r := s.newest(meeting.RecordingAvailable); len(r.Files) != 1 || r.StopReason != why {
				t.Errorf("recording %+v, want one file and %s", r, why)
			}
			must(t, j.WaitIdle(within(t)))
			s.stoppedOnceKicked()
		})
	}
}

// TestFocusAndRecorderAreLost restarts the focus and loses the recorder, whose
// file may be finished within the half minute in which nobody vouches for it: it is
// over, and goes on as another recording.
func TestFocusAndRecorderAreLost(t *testing.T) {
	for name, lose := range map[string]func(*sim.Jibri){"its host is gone": (*sim.Jibri).Die, "it finishes": (*sim.Jibri).Finish} {
		t.Run(name, func(t *testing.T) {
			s := newStudio(t)
			j := s.jibri("jibri-1", nil)
			s.meets("standup", "automatic")
			ada := s.enters("Ada")
			r := s.newest(meeting.RecordingOn)
			must(t, s.focus.Restart(within(t)))
			lose(j)
			must(t, ada.Reload(within(t)))
			s.until("it goes on as another one", func() bool {
				list := s.list()
				return len(list) == 2 && list[1].ID == r.ID && list[1].Failure == meeting.FailFocusLost &&
					list[0].RequestedBy == meeting.Requester{Type: meeting.ByRestart, Name: r.ID}
			})
		})
	}
}

func TestProsodyRestartsWhileRecording(t *testing.T) {
	s := newStudio(t)
	s.jibri("jibri-1", nil)
	s.meets("standup", "automatic")
	s.enters("Ada")
	r := s.newest(meeting.RecordingOn)
	must(t, s.prosody.Restart(t.Context()))
	s.until("the file is there", func() bool {
		list := s.list()
		i := slices.IndexFunc(list, func(l meeting.RecordingInfo) bool { return l.ID == r.ID })
		return i >= 0 && list[i].State == meeting.RecordingAvailable
	})
}

// TestRecordingOverAKill kills usher while one meeting is recorded and another
// waits, and lets the people of the first go before it is back.
func TestRecordingOverAKill(t *testing.T) {
	s := &studio{scene: newSite(t), dirs: map[string]string{}}
	usher := s.runUsher()
	s.waitReady("")
	s.jibri("jibri-1", nil)
	s.meets("first", "automatic")
	ada := s.enters("Ada")
	s.newest(meeting.RecordingOn)
	first := s.id
	s.meets("second", "automatic")
	s.enters("Bob")
	waiting := s.newest(meeting.RecordingQueued)
	second := s.id
	usher.kill()
	must(t, ada.Leave(within(t)))
	s.runUsher()
	s.waitReady("")
	s.id = first
	s.newest(meeting.RecordingAvailable)
	s.id = second
	if r := s.newest(meeting.RecordingOn); r.ID != waiting.ID {
		t.Errorf("now it is %+v, want the one that waited", r)
	}
}
