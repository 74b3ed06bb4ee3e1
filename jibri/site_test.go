package jibri_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/component"
	"usher/internal/memorystore"
	"usher/jibri"
	"usher/meeting"
	"usher/meeting/tracker"
)

const (
	mucDomain = "muc.meet.jitsi"
	brewery   = "jibribrewery@internal-muc.meet.jitsi"
)

// site is a Jicofo with its Jibris, made of function calls: a stand-in for what
// internal/sim does over real connections, for tests with a false clock.
type site struct {
	tracker   *tracker.Tracker
	pool      *jibri.Pool
	scheduler *jibri.Scheduler

	mu        sync.Mutex
	blind     bool              // nobody lets usher into the brewery
	recorders map[string]string // name → room; empty: idle
	order     []string          // rooms, as their recordings began
	sessions  map[string]string // room → Jibri's session
	asked     int               // starts
	stops     int
	answer    func(ctx context.Context, room, action string) error // before anything else; nil: none
	startTime time.Duration                                        // until a recorder answers
	names     func(session string) string                          // what the answer says of it; nil: the truth
	kicked    []string
	owned     int
}

// newSite runs a tracker, a pool and a scheduler in the bubble of a test until it ends.
func newSite(t *testing.T, recorders int, blind bool) *site {
	s := &site{recorders: map[string]string{}, sessions: map[string]string{}, blind: blind, startTime: 100 * time.Millisecond}
	for i := range recorders {
		s.recorders[fmt.Sprintf("jibri-%d", i)] = ""
	}
	s.pool = jibri.NewPool(jibri.PoolConfig{Stream: poolStream{s}, Brewery: brewery})
	s.scheduler = jibri.NewScheduler(jibri.Config{
		Occupant: roomStream{s}, MUC: mucDomain, Pool: s.pool,
		Do: func(ctx context.Context, id string, f meeting.Input) (meeting.Meeting, error) {
			return s.tracker.Do(ctx, id, f)
		},
		Own: s.own,
	})
	s.tracker = tracker.New(&memorystore.Memory{}, rooms{s}, tracker.Options{Recorders: s.scheduler})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	loaded := make(chan struct{})
	wg.Go(func() { _ = s.tracker.Run(ctx, func() { close(loaded) }) })
	wg.Go(func() { _ = s.pool.Run(ctx) })
	wg.Go(func() { _ = s.scheduler.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	<-loaded
	s.pool.Up()
	synctest.Wait()
	return s
}

// own is muc.Rooms.Own without a room.
func (s *site) own(_ context.Context, _ string, do func() error) error {
	var err error
	for range 2 {
		s.count(&s.owned)
		if err = do(); !errors.Is(err, stanza.Error{Condition: stanza.NotAllowed}) {
			break
		}
	}
	return err
}

func (s *site) count(n *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*n++
}

type rooms struct{ *site }

func (rooms) Want(string, meeting.DesiredState) {}
func (rooms) Resync(string)                     {}

// Evict has those named leave.
func (s rooms) Evict(room string, who []meeting.Kick) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range who {
		s.kicked = append(s.kicked, k.Nick)
		time.AfterFunc(0, func() {
			s.tracker.Observe(room, time.Now(), meeting.Gone{Nick: k.Nick, Reason: meeting.LeftKicked})
		})
	}
}

// live makes a meeting with one human and the focus in its room.
func (s *site) live(t *testing.T, room string) meeting.Meeting {
	t.Helper()
	m, err := s.tracker.Create(t.Context(), meeting.Created{Room: room})
	if err != nil {
		t.Fatal(err)
	}
	s.tracker.Observe(room, time.Now(), meeting.Roster{
		Occupants: []meeting.Occupant{
			{Nick: "focus", Kind: meeting.KindFocus, Role: meeting.RoleModerator},
			{Nick: "anna", JID: "anna@meet.jitsi/x", Kind: meeting.KindHuman, Role: meeting.RoleModerator},
		},
		Focus: meeting.FocusSays{Here: true},
	})
	return m
}

// record asks for a recording of a meeting.
func (s *site) record(t *testing.T, m meeting.Meeting) meeting.Recording {
	t.Helper()
	m, err := s.tracker.Do(t.Context(), m.ID, meeting.RecordingWanted{By: meeting.Requester{Type: meeting.ByApp}})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := m.ActiveRecording(meeting.ModeFile)
	return r
}

// recording returns the newest recording of a room's meeting.
func (s *site) recording(room string) meeting.Recording {
	m, _ := s.tracker.Room(room)
	if len(m.Recordings) == 0 {
		return meeting.Recording{}
	}
	return m.Recordings[len(m.Recordings)-1]
}

// stop ends what a meeting records.
func (s *site) stop(t *testing.T, room string) {
	t.Helper()
	r := s.recording(room)
	if _, err := s.tracker.Do(t.Context(), r.MeetingID, meeting.RecordingInput{Kind: meeting.RecordingStop, Recording: r, Reason: meeting.StopRequested}); err != nil {
		t.Fatal(err)
	}
}

// present sends a presence to the pool; s.mu is not held.
func (s *site) present(text string) {
	d := xml.NewDecoder(strings.NewReader(text))
	tok, err := d.Token()
	if err != nil {
		panic(err)
	}
	s.pool.Presence(d, tok.(xml.StartElement))
}

func recorderPresence(name, busy, health string) string {
	return fmt.Sprintf(`<presence xmlns='jabber:component:accept' from='%s/%s'>
		<jibri-status xmlns='http://jitsi.org/protocol/jibri'>
		<busy-status xmlns='http://jitsi.org/protocol/jibri' status='%s'/>
		<health-status xmlns='http://jitsi.org/protocol/health' status='%s'/></jibri-status></presence>`, brewery, name, busy, health)
}

// poolStream is the component's stream.
type poolStream struct{ s *site }

func (p poolStream) Send(_ context.Context, _, to, typ string, _ ...any) error {
	s := p.s
	s.mu.Lock()
	blind := s.blind
	var all []string
	for name, room := range s.recorders {
		busy := "idle"
		if room != "" {
			busy = "busy"
		}
		all = append(all, recorderPresence(name, busy, "healthy"))
	}
	s.mu.Unlock()
	if blind || typ != "" {
		return nil
	}
	go func() {
		for _, one := range all {
			s.present(one)
		}
		s.present(`<presence from='` + to + `'><x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x></presence>`)
	}()
	return nil
}

func (poolStream) IQ(context.Context, string, string, any, any) error { return nil }

// roomStream is the occupant's stream: it reaches the focus.
type roomStream struct{ s *site }

func (roomStream) Send(context.Context, string, string, string, ...any) error { return nil }

func (r roomStream) IQ(ctx context.Context, to, _ string, payload, reply any) error {
	s := r.s
	raw, err := xml.Marshal(payload)
	if err != nil {
		return err
	}
	var c struct {
		Action string `xml:"action,attr"`
	}
	if err := xml.Unmarshal(raw, &c); err != nil {
		return err
	}
	room, _, _ := strings.Cut(to, "@")
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, room, c.Action); err != nil {
			return err
		}
	}
	if c.Action == "stop" {
		return s.focusStops(room)
	}
	session, err := s.focusStarts(room)
	if err != nil {
		return err
	}
	if s.names != nil {
		session = s.names(session)
	}
	return xml.Unmarshal([]byte(`<jibri session_id="`+session+`"/>`), reply)
}

func (s *site) focusStarts(room string) (string, error) {
	s.mu.Lock()
	s.asked++
	if s.sessions[room] != "" {
		s.mu.Unlock()
		return "", jicofo(stanza.UnexpectedRequest, "Recording or live streaming is already enabled")
	}
	name := ""
	for n, r := range s.recorders {
		if r == "" {
			name = n
		}
	}
	if name == "" {
		s.mu.Unlock()
		return "", jicofo(stanza.ResourceConstraint, "all Jibris are busy")
	}
	session := fmt.Sprintf("session-%d", s.asked)
	s.recorders[name], s.sessions[room] = room, session
	s.order = append(s.order, room)
	blind, wait := s.blind, s.startTime
	s.mu.Unlock()
	time.Sleep(wait)
	if !blind {
		s.present(recorderPresence(name, "busy", "healthy"))
	}
	time.AfterFunc(time.Second, func() {
		s.tracker.Observe(room, time.Now(), meeting.FocusSaid{Focus: meeting.FocusSays{Here: true, Session: session, Status: "on"}})
	})
	return session, nil
}

func (s *site) focusStops(room string) error {
	s.mu.Lock()
	s.stops++
	session := s.sessions[room]
	delete(s.sessions, room)
	name := ""
	for n, r := range s.recorders {
		if r == room {
			name = n
		}
	}
	blind := s.blind
	s.mu.Unlock()
	if session == "" {
		return jicofo(stanza.ItemNotFound, "Unknown session")
	}
	s.tracker.Observe(room, time.Now(), meeting.FocusSaid{Focus: meeting.FocusSays{Here: true, Session: session, Status: "off"}})
	time.AfterFunc(2*time.Second, func() { // the hook of the recorder's host
		s.mu.Lock()
		s.recorders[name] = ""
		s.mu.Unlock()
		if !blind {
			s.present(recorderPresence(name, "idle", "healthy"))
		}
	})
	return nil
}

// jicofo is an error answer of Jicofo's, which hands the request back.
func jicofo(c stanza.Condition, text string) error {
	e := stanza.Error{Type: stanza.Cancel, Condition: c}
	if text != "" {
		e.Text = map[string]string{"": text}
	}
	return component.ErrorAnswer{Stanza: e, Payload: xml.Name{Space: "http://jitsi.org/protocol/jibri", Local: "jibri"}}
}

// prosody is an error answer of Prosody's, which does not.
func prosody(c stanza.Condition) error {
	return component.ErrorAnswer{Stanza: stanza.Error{Type: stanza.Cancel, Condition: c}}
}

var errLost = errors.New("the stream has ended")
