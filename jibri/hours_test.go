package jibri_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

const (
	hours           = 4
	hoursRecorders  = 10
	recordingLength = 3 * time.Minute // on average
	broken          = "(broken)"      // instead of a room
)

// hoursSite is a site whose recorders are in use nine tenths of the time, and on
// which something is out of order now and then.
type hoursSite struct {
	*site
	rand   *rand.Rand
	rooms  int                  // so far, named by their number
	open   []string             // rooms whose recording has not ended
	stopAt map[string]time.Time // when those that are on are stopped
	starts atomic.Int64         // requests to the focus
	idle   time.Duration        // how long a recorder has been idle while somebody waits
}

// TestSchedulerForHours has meetings recorded for hours. Each is
// recorded once, about in the order in which they asked, no recorder stays idle
// while somebody waits, the focus is not flooded, and nothing is left behind.
func TestSchedulerForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &hoursSite{
			site: newSite(t, hoursRecorders, false), stopAt: map[string]time.Time{},
			rand: rand.New(rand.NewPCG(1, 2)),
		}
		s.focusIs(nil)
		for second := range hours * 60 * 60 {
			trouble := s.trouble(time.Duration(second) * time.Second)
			if s.rand.Float64() < 0.9*hoursRecorders/recordingLength.Seconds() {
				room := s.ask(t)
				s.open = append(s.open, room)
			}
			s.second(t, trouble)
		}
		for range 30 * 60 {
			s.second(t, false)
		}
		s.check(t)
	})
}

// ask has a new meeting ask for a recording.
func (s *hoursSite) ask(t *testing.T) (room string) {
	room = fmt.Sprintf("room-%04d", s.rooms)
	s.rooms++
	s.record(t, s.live(t, room))
	return room
}

// focusIs has the focus answer each request for a recorder with the error; nil:
// as the recorders are.
func (s *hoursSite) focusIs(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = func(_ context.Context, _, action string) error {
		if action != "start" {
			return nil
		}
		s.starts.Add(1)
		return err
	}
}

// trouble changes what is out of order at a time, and reports
// whether recorders may stay idle for it.
func (s *hoursSite) trouble(at time.Duration) bool {
	during := func(every, length time.Duration, begin, end func()) bool {
		switch into := at % every; {
		case at < every:
			return false
		case into == 0:
			begin()
		case into == length:
			end()
		}
		return at%every < length
	}
	during(50*time.Minute, 5*time.Minute, s.loseSight, s.regainSight)
	during(37*time.Minute, 10*time.Minute, s.breakRecorder, s.mendRecorder)
	notReady := during(43*time.Minute, 20*time.Second,
		func() { s.focusIs(prosody(stanza.ItemNotFound)) }, func() { s.focusIs(nil) })
	busy := during(61*time.Minute, time.Minute,
		func() { s.focusIs(jicofo(stanza.ResourceConstraint, "all Jibris are busy")) }, func() { s.focusIs(nil) })
	return notReady || busy
}

// loseSight takes the recorders out of usher's sight, not the focus's.
func (s *hoursSite) loseSight() {
	s.mu.Lock()
	s.blind = true
	s.mu.Unlock()
	s.pool.Down()
}

func (s *hoursSite) regainSight() {
	s.mu.Lock()
	s.blind = false
	s.mu.Unlock()
	s.pool.Up()
}

// breakRecorder makes one that is idle unhealthy, if there is one.
func (s *hoursSite) breakRecorder() { s.turn("", broken, "unhealthy") }
func (s *hoursSite) mendRecorder()  { s.turn(broken, "", "healthy") }

// turn gives the first recorder that is in one state another.
func (s *hoursSite) turn(from, to, health string) {
	s.mu.Lock()
	name := ""
	for i := range hoursRecorders {
		if n := fmt.Sprintf("jibri-%d", i); s.recorders[n] == from {
			name = n
			s.recorders[n] = to
			break
		}
	}
	blind := s.blind
	s.mu.Unlock()
	if name != "" && !blind {
		s.present(recorderPresence(name, "idle", health))
	}
}

// second lets one pass, and ends the recordings that have been on for long
// enough.
func (s *hoursSite) second(t *testing.T, trouble bool) {
	time.Sleep(time.Second)
	synctest.Wait()
	waiting := 0
	s.open = slices.DeleteFunc(s.open, func(room string) bool {
		switch r := s.recording(room); r.State {
		case meeting.RecordingRequested, meeting.RecordingQueued:
			waiting++
		case meeting.RecordingOn:
			if s.stopAt[room].IsZero() {
				s.stopAt[room] = time.Now().Add(time.Duration((0.5 + s.rand.Float64()) * float64(recordingLength)))
			} else if time.Now().After(s.stopAt[room]) {
				s.stop(t, room)
			}
		case meeting.RecordingStarting, meeting.RecordingStopping:
		default:
			return true
		}
		return false
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := 0
	for _, room := range s.recorders {
		if room == "" {
			idle++
		}
	}
	if waiting == 0 || idle == 0 || trouble {
		s.idle = 0
		return
	}
	// The longest wait between two requests is 10 s.
	if s.idle += time.Second; s.idle == 15*time.Second {
		t.Errorf("%v: %d recorders have been idle for %v while %d meetings wait", time.Now().Format(time.TimeOnly), idle, s.idle, waiting)
	}
}

// check says what is wrong in the end.
func (s *hoursSite) check(t *testing.T) {
	s.mu.Lock()
	order := slices.Clone(s.order)
	s.mu.Unlock()
	for i := range s.rooms {
		room := fmt.Sprintf("room-%04d", i)
		r := s.recording(room)
		if r.State != meeting.RecordingProcessing {
			t.Errorf("the recording of %s is %s (%s %s), want %s", room, r.State, r.Failure, r.Detail, meeting.RecordingProcessing)
		}
		// Whoever asks when the focus is ready again is before those who have just
		// been told to come again.
		if at := slices.Index(order, room); at > i+hoursRecorders {
			t.Errorf("%s was recorded as number %d, want about %d", room, at, i)
		}
	}
	if len(order) != s.rooms || s.rooms < 500 {
		t.Errorf("%d recordings were started for %d meetings, want one each and some 700", len(order), s.rooms)
	}
	// Out of sight recorders are asked for every 5 s, for 20 minutes in all; some
	// more requests are refused in the other troubles.
	if most := s.rooms + 20*12 + 150; s.starts.Load() > int64(most) {
		t.Errorf("%d requests to the focus for %d recordings, want at most %d", s.starts.Load(), s.rooms, most)
	}
	if n := len(s.scheduler.Queue()); n > 0 {
		t.Errorf("%d are still in the queue, want none", n)
	}
	if n := s.scheduler.Tasks(); n > 0 {
		t.Errorf("something is kept for %d meetings, want for none", n)
	}
}
