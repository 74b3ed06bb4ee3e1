package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"usher/internal/sim"
	"usher/meeting"
)

// streams waits until the meeting says so of its live stream.
func (s *studio) streams(want bool) meeting.StreamInfo {
	s.t.Helper()
	s.until("the live stream is noted", func() bool { m := s.meeting(); return m != nil && m.Stream.Active == want })
	return s.meeting().Stream
}

// streamEvents returns the types of the events about live streams.
func (s *studio) streamEvents() []string {
	s.t.Helper()
	var types []string
	for _, n := range s.events() {
		if kind, ok := strings.CutPrefix(string(n.Type), "stream."); ok {
			types = append(types, kind)
		}
	}
	return types
}

func (s *studio) wantStreamEvents(want ...string) {
	s.t.Helper()
	s.until("the events of the live stream", func() bool { return slices.Equal(s.streamEvents(), want) })
}

// TestLiveStreamIsNoRecording has a moderator stream the meeting live: an app is
// not given the stream as a recording, and what it asks for waits for its end.
func TestLiveStreamIsNoRecording(t *testing.T) {
	s := newStudio(t)
	j := s.jibri("jibri-1", nil)
	s.jibri("jibri-2", nil) // a free one changes nothing
	s.until("usher sees the recorders", func() bool { return s.metric(`usher_jibri_instances{state="idle"}`) == 2 })
	s.meets("standup", "none")
	ada := s.enters("Ada")
	if now := s.meeting().Stream; now.Active || now.Since != nil {
		t.Errorf("before the stream it is %+v, want none", now)
	}
	_, err := ada.StartStream(within(t))
	must(t, err)
	if now := s.streams(true); now.Since == nil {
		t.Error("since = nil, want a time")
	}
	s.until("the streamer is seen", func() bool { o := s.meeting().Occupancy; return o.Others == 1 && o.Recorders == 0 })
	if n := s.metric("usher_live_streams"); n != 1 {
		t.Errorf("usher_live_streams = %v, want 1", n)
	}
	if list := s.list(); len(list) > 0 {
		t.Fatalf("recordings %+v, want none", list)
	}
	asked := s.record()
	if r := s.newest(meeting.RecordingQueued); r.ID != asked.ID || r.QueueReason != meeting.ReasonStream || r.QueueUntil != nil {
		t.Errorf("recording %+v, want it to wait for the end of the stream", r)
	}
	must(t, ada.StopStream(within(t)))
	s.streams(false)
	s.newest(meeting.RecordingOn)
	s.stopRecording(asked.ID)
	s.newest(meeting.RecordingAvailable)
	s.wantTold("requested queued starting started stopping stopped available")
	s.wantStreamEvents("started", "ended")
	if len(j.Hooks()) > 1 {
		t.Errorf("hooks of %v, want none of the stream", j.Hooks())
	}
}

// TestTriggerWaitsForLiveStream has a stream run before usher is there: the
// trigger starts nothing before its end, and what usher knows of the stream
// outlives it.
func TestTriggerWaitsForLiveStream(t *testing.T) {
	s := &studio{scene: newSite(t), dirs: map[string]string{}}
	usher := s.runUsher()
	s.waitReady("")
	j := s.jibri("jibri-1", nil)
	s.meets("standup", "automatic-2nd-participant")
	ada := s.enters("Ada")
	_, err := ada.StartStream(within(t))
	must(t, err)
	since := s.streams(true).Since
	usher.kill()
	usher = s.runUsher()
	s.waitReady("")
	s.counts(1)
	if now := s.streams(true).Since; *now != *since {
		t.Errorf("after usher was killed it runs since %v, want %v", now, since)
	}
	bob := s.person("Bob", "")
	must(t, bob.Join(within(t)))
	s.counts(2)
	if list := s.list(); len(list) > 0 {
		t.Errorf("recordings %+v, want none during the stream", list)
	}
	// It ends while nobody looks.
	usher.kill()
	must(t, ada.StopStream(within(t)))
	must(t, j.WaitIdle(within(t)))
	s.runUsher()
	s.newest(meeting.RecordingOn)
	s.wantStreamEvents("started", "ended")
}

// TestFocusRestartsDuringLiveStream has a new focus that knows nothing of a
// stream, which goes on until its Jibri leaves.
func TestFocusRestartsDuringLiveStream(t *testing.T) {
	s := newStudio(t)
	j := s.jibri("jibri-1", func(c *sim.JibriConfig) { c.EmptyPatience = time.Hour })
	s.meets("standup", "none")
	ada := s.enters("Ada")
	_, err := ada.StartStream(within(t))
	must(t, err)
	s.streams(true)
	s.until("the streamer is seen", func() bool { return s.meeting().Occupancy.Others == 1 })
	must(t, s.focus.Restart(within(t)))
	must(t, ada.Reload(within(t)))
	s.counts(1)
	if now := s.meeting().Stream; !now.Active {
		t.Errorf("after the focus has restarted the stream is %+v, want it active", now)
	}
	s.wantStreamEvents("started")
	j.Finish()
	s.streams(false)
	s.wantStreamEvents("started", "ended")
}
