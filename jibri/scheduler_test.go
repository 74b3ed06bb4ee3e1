package jibri_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

func wantState(t *testing.T, s *site, room string, want meeting.RecordingState) meeting.Recording {
	t.Helper()
	synctest.Wait()
	r := s.recording(room)
	if r.State != want {
		t.Fatalf("the recording of %s is %s (%s %s %s), want %s", room, r.State, r.Waits, r.Failure, r.Detail, want)
	}
	return r
}

func TestStartAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 1, false)
		m := s.live(t, "standup")
		s.record(t, m)
		time.Sleep(2 * time.Second)
		r := wantState(t, s, "standup", meeting.RecordingOn)
		if r.JibriSession != "session-1" || r.Attempts != 1 {
			t.Errorf("session %q after %d attempts, want session-1 after 1", r.JibriSession, r.Attempts)
		}
		s.stop(t, "standup")
		synctest.Wait()
		wantState(t, s, "standup", meeting.RecordingProcessing)
		if s.stops != 1 {
			t.Errorf("told to stop %d times, want once", s.stops)
		}
	})
}

// TestQueueInOrder has 200 meetings ask at once for 20 recorders, each for a
// minute. All are recorded once, in the order in which they asked; those with a
// priority go first.
func TestQueueInOrder(t *testing.T) {
	for _, blind := range []bool{false, true} {
		t.Run(fmt.Sprintf("blind=%v", blind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const meetings, recorders = 200, 20
				s := newSite(t, recorders, blind)
				var want []string
				for i := range meetings {
					room := fmt.Sprintf("room-%03d", i)
					m := s.live(t, room)
					var priority *int
					if i == meetings-1 {
						priority = new(int)
						*priority = 5
					} else {
						want = append(want, room)
					}
					if _, err := s.tracker.Do(t.Context(), m.ID, meeting.RecordingWanted{Priority: priority}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Millisecond)
				}
				time.Sleep(30 * time.Second)
				if n := len(s.scheduler.Queue()); n != meetings-recorders {
					t.Errorf("%d wait, want %d", n, meetings-recorders)
				}
				// Blind, it is asked for one at a time: the last one was there by then.
				if first := s.scheduler.Queue()[0]; !blind && first.Priority != 5 {
					t.Errorf("the first in line has priority %d, want 5", first.Priority)
				}
				ended := 0
				for range 600 {
					s.mu.Lock()
					over := slices.Clone(s.order[ended:])
					s.mu.Unlock()
					for _, room := range over {
						if s.recording(room).State == meeting.RecordingOn {
							s.stop(t, room)
							ended++
						} else {
							break
						}
					}
					if ended == meetings {
						break
					}
					time.Sleep(2 * time.Second)
				}
				// Calls that are under way at once, at most one for each recorder, have
				// no order among them.
				synctest.Wait()
				slack := recorders
				if blind {
					slack = 1
				}
				at := slices.Index(s.order, fmt.Sprintf("room-%03d", meetings-1))
				if at < 0 || at >= recorders+slack {
					t.Errorf("the meeting with priority was recorded as number %d", at)
				}
				got := slices.Delete(slices.Clone(s.order), at, at+1)
				if len(got) != len(want) {
					t.Errorf("%d recordings, want %d", len(got), len(want))
				}
				for i, room := range want {
					if place := slices.Index(got, room); place < 0 || place-i >= slack || i-place >= slack {
						t.Errorf("%s was recorded as number %d, want about %d", room, place, i)
					}
				}
			})
		})
	}
}

func TestQueueTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 0, true)
		s.answer = func(context.Context, string, string) error {
			return jicofo(stanza.ServiceUnavailable, "no Jibris available")
		}
		s.record(t, s.live(t, "one"))
		s.record(t, s.live(t, "two"))
		time.Sleep(30 * time.Second)
		for _, room := range []string{"one", "two"} {
			if r := wantState(t, s, room, meeting.RecordingQueued); r.Waits != meeting.ReasonNoRecorder {
				t.Errorf("%s waits because of %q, want no recorder", room, r.Waits)
			}
		}
	})
}

// TestAnswers plays each answer of the focus once, and says what becomes of the
// recording.
func TestAnswers(t *testing.T) {
	refuse := func(c stanza.Condition) error { return jicofo(c, "because") }
	for name, c := range map[string]struct {
		err  error
		want meeting.RecordingState
	}{
		"no conference yet":     {refuse(stanza.ItemNotFound), meeting.RecordingOn},
		"focus not in the room": {prosody(stanza.ItemNotFound), meeting.RecordingOn},
		"usher not in the room": {prosody(stanza.NotAcceptable), meeting.RecordingOn},
		"no rights":             {refuse(stanza.NotAllowed), meeting.RecordingOn},
		"stream lost":           {errLost, meeting.RecordingOn},
		"recorders failed":      {refuse(stanza.InternalServerError), meeting.RecordingOn},
		"wrong request":         {refuse(stanza.BadRequest), meeting.RecordingFailed},
		"something else":        {refuse(stanza.Gone), meeting.RecordingOn},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, 1, false)
				var asked atomic.Bool
				s.answer = func(context.Context, string, string) error {
					if asked.Swap(true) {
						return nil
					}
					return c.err
				}
				s.record(t, s.live(t, "standup"))
				time.Sleep(20 * time.Second)
				r := wantState(t, s, "standup", c.want)
				if c.want == meeting.RecordingFailed && r.Detail != "the focus answered bad-request: because" {
					t.Errorf("it failed with detail %q, want the focus's words", r.Detail)
				}
				if name == "no rights" && s.owned != 2 {
					t.Errorf("%d tries as an owner, want two", s.owned)
				}
			})
		})
	}
}

// TestAnswerThatNamesNoSession has the focus answer with nonsense; what it then says
// in its presence counts.
func TestAnswerThatNamesNoSession(t *testing.T) {
	for _, named := range []string{"", strings.Repeat("x", 100_000)} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, 1, false)
			s.names = func(string) string { return named }
			s.record(t, s.live(t, "standup"))
			time.Sleep(20 * time.Second)
			if r := wantState(t, s, "standup", meeting.RecordingOn); r.JibriSession != "session-1" {
				t.Errorf("after an answer with a session of %d bytes it is session %.20q, want session-1", len(named), r.JibriSession)
			}
			m, _ := s.tracker.Room("standup")
			if n := len(m.Recordings); n != 1 {
				t.Errorf("after an answer with a session of %d bytes there are %d recordings, want one", len(named), n)
			}
		})
	}
}

// TestSilentFocus holds one meeting up, and not the others.
func TestSilentFocus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 2, true)
		s.answer = func(ctx context.Context, room, _ string) error {
			if room == "silent" {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return nil
		}
		s.record(t, s.live(t, "silent"))
		time.Sleep(time.Second)
		s.record(t, s.live(t, "other"))
		time.Sleep(10 * time.Second)
		wantState(t, s, "other", meeting.RecordingOn)
		time.Sleep(5 * time.Minute)
		if r := wantState(t, s, "silent", meeting.RecordingFailed); r.Failure != meeting.FailNoAnswer {
			t.Errorf("it failed with %s, want %s", r.Failure, meeting.FailNoAnswer)
		}
	})
}

// TestStartedAfterAll stops what the focus started for a recording that was
// cancelled meanwhile.
func TestStartedAfterAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 1, false)
		s.startTime = 30 * time.Second
		s.record(t, s.live(t, "standup"))
		time.Sleep(time.Second)
		s.stop(t, "standup")
		time.Sleep(40 * time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.stops == 0 || s.sessions["standup"] != "" {
			t.Errorf("told to stop %d times, the focus records %q", s.stops, s.sessions["standup"])
		}
	})
}

func TestSchedulerKeepsNothingOfARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 1, true)
		s.answer = func(context.Context, string, string) error { return prosody(stanza.ItemNotFound) }
		m := s.live(t, "standup")
		s.record(t, m)
		time.Sleep(100 * time.Millisecond)
		m, _ = s.tracker.Room("standup")
		if _, from, ok := m.ToStart(); !ok || !from.After(time.Now()) {
			t.Fatalf("to be started: %v, from %v on; want it to be later", ok, from)
		}
		objects := func() uint64 {
			runtime.GC()
			var mem runtime.MemStats
			runtime.ReadMemStats(&mem)
			return mem.HeapObjects
		}
		const turns = 10_000
		before := objects()
		for range turns {
			s.scheduler.Work(m)
			synctest.Wait()
		}
		if grown := int64(objects()) - int64(before); grown > turns/10 {
			t.Errorf("%d turns left %d objects behind, want next to none", turns, grown)
		}
	})
}

// TestTwiceIsOnce asks for a recording of one meeting many times at once.
func TestTwiceIsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 5, false)
		m := s.live(t, "standup")
		ids := make(chan string, 50)
		for range cap(ids) {
			go func() { ids <- s.record(t, m).ID }()
		}
		first := <-ids
		for range cap(ids) - 1 {
			if id := <-ids; id != first {
				t.Errorf("recordings %s and %s of one meeting", first, id)
			}
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s.asked != 1 {
			t.Errorf("the focus was asked %d times, want once", s.asked)
		}
	})
}

// TestLiveStreamHoldsUpARecording has a stream on when a recording is asked for, and
// another begin while the focus is asked: nobody is asked during a stream, nor is
// the focus asked to stop, which would end it.
func TestLiveStreamHoldsUpARecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 2, false)
		m := s.live(t, "standup")
		says := func(session, status string) {
			s.mu.Lock()
			s.sessions["standup"] = ""
			if status != "off" {
				s.sessions["standup"] = session
			}
			s.mu.Unlock()
			s.tracker.Observe("standup", time.Now(), meeting.FocusSaid{Focus: meeting.FocusSays{Here: true, Session: session, Status: status, Stream: true}})
		}
		says("stream-1", "on")
		s.record(t, m)
		time.Sleep(time.Hour)
		synctest.Wait()
		if r := wantState(t, s, "standup", meeting.RecordingQueued); r.Waits != meeting.ReasonStream || s.asked > 0 || len(s.scheduler.Queue()) > 0 {
			t.Errorf("it waits for %s, the focus was asked %d times, queued are %+v; want live_stream, 0 and none", r.Waits, s.asked, s.scheduler.Queue())
		}
		s.answer = func(_ context.Context, _, action string) error {
			if action == "start" && s.asked == 0 {
				says("stream-2", "pending")
			}
			return nil
		}
		says("stream-1", "off")
		time.Sleep(time.Minute)
		says("stream-2", "on")
		time.Sleep(time.Hour)
		synctest.Wait()
		if r := wantState(t, s, "standup", meeting.RecordingQueued); r.Waits != meeting.ReasonStream || s.asked != 1 {
			t.Errorf("it waits for %s, the focus was asked %d times; want live_stream and once", r.Waits, s.asked)
		}
		says("stream-2", "off")
		time.Sleep(5 * time.Second)
		wantState(t, s, "standup", meeting.RecordingOn)
		says("stream-3", "pending")
		s.stop(t, "standup")
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.stops > 0 || s.sessions["standup"] != "stream-3" {
			t.Errorf("%d stops, the focus has session %q; want it to go on with stream-3", s.stops, s.sessions["standup"])
		}
	})
}

// TestNeverReady has a site whose focus knows of no brewery: in the end the
// recording fails and says what the focus answered.
func TestNeverReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 1, true)
		var asked atomic.Int32
		s.answer = func(context.Context, string, string) error {
			asked.Add(1)
			return jicofo(stanza.ItemNotFound, "")
		}
		s.record(t, s.live(t, "standup"))
		time.Sleep(meeting.QueueTimeout + time.Minute)
		r := wantState(t, s, "standup", meeting.RecordingFailed)
		if r.Failure != meeting.FailQueueTimeout || r.Detail != "the focus answered item-not-found" {
			t.Errorf("it failed with %s, %q", r.Failure, r.Detail)
		}
		if most := int32(meeting.QueueTimeout / (10 * time.Second)); asked.Load() > most {
			t.Errorf("the focus was asked %d times, want %d at most", asked.Load(), most)
		}
	})
}

// TestServerAnswersForTheFocus has a stop answered by Prosody, which says that
// the focus is not in the room and hands no request back: that is no word about
// the recording, so it is asked again, and nobody is put out on its account.
func TestServerAnswersForTheFocus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 1, false)
		s.record(t, s.live(t, "standup"))
		time.Sleep(2 * time.Second)
		r := wantState(t, s, "standup", meeting.RecordingOn)
		s.tracker.Observe("standup", time.Now(), meeting.Seen{Occupant: meeting.Occupant{
			Nick: "recorder", Kind: meeting.KindRecorder, Role: meeting.RoleModerator, Recording: r.JibriSession,
		}})
		var asked atomic.Int32
		s.mu.Lock()
		s.answer = func(context.Context, string, string) error {
			asked.Add(1)
			return stanza.Error{Condition: stanza.ItemNotFound, Text: map[string]string{"": "Unknown session"}}
		}
		s.mu.Unlock()
		s.stop(t, "standup")
		time.Sleep(5 * time.Second)
		wantState(t, s, "standup", meeting.RecordingStopping)
		if len(s.kicked) > 0 || asked.Load() < 2 {
			t.Errorf("asked %d times to stop and put out %v, want it asked again and nobody put out", asked.Load(), s.kicked)
		}
	})
}
