package jibri_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

// recorded makes a meeting that is recorded by a recorder whom usher sees.
func (s *site) recorded(t *testing.T, room string) meeting.Recording {
	t.Helper()
	s.record(t, s.live(t, room))
	time.Sleep(2 * time.Second)
	r := wantState(t, s, room, meeting.RecordingOn)
	s.tracker.Observe(room, time.Now(), meeting.Seen{Occupant: meeting.Occupant{
		Nick: "recorder", Kind: meeting.KindRecorder, Role: meeting.RoleModerator, Recording: r.JibriSession,
	}})
	return r
}

// focusRestarts has the focus come back without memory.
func (s *site) focusRestarts(room string) {
	s.tracker.Observe(room, time.Now(), meeting.FocusSaid{})
	s.tracker.Observe(room, time.Now(), meeting.FocusSaid{Focus: meeting.FocusSays{Here: true}})
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, room)
}

// kicks returns how often the recorder was kicked.
func (s *site) kicks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kicked)
}

// TestForgetfulFocus has a focus that restarted and knows nothing of a recorder
// that is still in: it is kicked, whatever the focus's words are.
func TestForgetfulFocus(t *testing.T) {
	for _, words := range []string{"Unknown session", "", "No such recording"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, 1, false)
			s.recorded(t, "standup")
			s.focusRestarts("standup")
			time.Sleep(5 * time.Minute)
			wantState(t, s, "standup", meeting.RecordingOn) // the recorder vouches for it
			s.answer = func(context.Context, string, string) error { return jicofo(stanza.ItemNotFound, words) }
			s.stop(t, "standup")
			time.Sleep(time.Second)
			wantState(t, s, "standup", meeting.RecordingProcessing)
			if !slices.Equal(s.kicked, []string{"recorder"}) {
				t.Errorf("%q: kicked %v, want the recorder", words, s.kicked)
			}
		})
	}
}

// TestRecorderIsKickedWhateverIsAnswered has a recorder that does not leave,
// for each way in which telling the focus may come to nothing. It is stopping
// until the recorder has left.
func TestRecorderIsKickedWhateverIsAnswered(t *testing.T) {
	for name, answer := range map[string]func(context.Context) error{
		"the focus says off":     nil,
		"the focus is absent":    func(context.Context) error { return prosody(stanza.ItemNotFound) },
		"usher is not in":        func(context.Context) error { return prosody(stanza.NotAcceptable) },
		"usher has no rights":    func(context.Context) error { return jicofo(stanza.NotAllowed, "") },
		"the stream is lost":     func(context.Context) error { return errLost },
		"the focus says nothing": func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, 1, false)
				s.recorded(t, "standup")
				if answer != nil {
					s.answer = func(ctx context.Context, _, _ string) error { return answer(ctx) }
				}
				s.stop(t, "standup")
				time.Sleep(9 * time.Second)
				wantState(t, s, "standup", meeting.RecordingStopping)
				if n := s.kicks(); n > 0 {
					t.Errorf("kicked %d times within 9 s, want the recorder to have time", n)
				}
				time.Sleep(2 * time.Second)
				wantState(t, s, "standup", meeting.RecordingProcessing)
				if n := s.kicks(); n != 1 {
					t.Errorf("kicked %d times, want once", n)
				}
			})
		})
	}
}

// TestSchedulerKeepsNothingOfARun looks at the memory that thousands of turns leave
// behind, each of which waits for something that is due later.
