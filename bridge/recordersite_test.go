package bridge_test

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/bridge"
	"usher/internal/sim"
	"usher/meeting"
)

const (
	breweryRoom = "jvbbrewery@internal-muc.meet.jitsi"
	jitsiID     = "61b39dea-0000"
)

// recordedSite is one meeting of a site that records from bridges, in virtual time.
type recordedSite struct {
	t   *testing.T
	dir string // of parts
	cfg bridge.RecorderConfig

	jvbs map[string]*sim.Colibri // by nick; those that the brewery shows

	mu       sync.Mutex
	m        meeting.Meeting
	recorder *bridge.Recorder // gets what is to be done
	stored   map[string]meeting.Recording
	events   []meeting.EventType
	service  *service
	brewery  *jvbBrewery
	stop     func()                   // ends the process
	lose     func(meeting.Input) bool // which inputs are stored without an answer
}

// onSite plays a story on a site with the bridges named.
func onSite(t *testing.T, jvbs []string, story func(s *recordedSite)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := &recordedSite{t: t, dir: dir, jvbs: map[string]*sim.Colibri{}, stored: map[string]meeting.Recording{}}
		for _, name := range jvbs {
			s.jvbs[name] = s.newBridge()
		}
		s.begin()
		s.apply(meeting.Created{Room: "standup"})
		s.enter("aa", "Ada")
		story(s)
		for _, jvb := range s.jvbs {
			jvb.Die()
		}
		s.stop()
	})
}

// newBridge returns a bridge that connects to whatever process there is then.
func (s *recordedSite) newBridge() *sim.Colibri {
	return sim.NewColibri(sim.BridgeConfig{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		s.mu.Lock()
		service := s.service
		s.mu.Unlock()
		return service.dial(ctx, network, addr)
	}})
}

// appear has a bridge come into the brewery.
func (s *recordedSite) appear(jvb string) {
	s.brewery.announce(jvb)
	synctest.Wait()
}

// begin starts a process: its WebSocket service, and a Recorder that leads.
func (s *recordedSite) begin() {
	ws := newService(s.t)
	cfg := s.cfg
	cfg.Server, cfg.URL, cfg.Dir, cfg.Do = ws.Server, "ws://usher", cmp.Or(cfg.Dir, s.dir), s.do
	cfg.Host = cmp.Or(cfg.Host, "host1")
	if cfg.Results.Root == "" && cfg.Results.Store == nil {
		cfg.Results.Root = s.dir
	}
	cfg.Recording = func(_ context.Context, id string) (meeting.Recording, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r, ok := s.stored[id]; ok {
			return r, nil
		}
		return meeting.Recording{}, meeting.ErrNotFound
	}
	brewery := &jvbBrewery{jvbs: s.jvbs}
	cfg.Bridges = bridge.NewBridges(bridge.BridgesConfig{Stream: brewery, Brewery: breweryRoom})
	brewery.watcher = cfg.Bridges
	r := bridge.NewRecorder(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = cfg.Bridges.Run(ctx) })
	parts.Go(func() { _ = r.Run(ctx) })
	s.mu.Lock()
	s.service, s.recorder, s.brewery = ws, r, brewery
	m := s.m
	s.stop = func() { cancel(); parts.Wait() }
	s.mu.Unlock()
	cfg.Bridges.Up()
	if m.ID != "" {
		r.Work(m)
	}
	synctest.Wait()
}

// do applies an input as the tracker does.
func (s *recordedSite) do(ctx context.Context, _ string, f meeting.Input) (meeting.Meeting, error) {
	if ctx.Err() != nil {
		return meeting.Meeting{}, meeting.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m, fx, err := meeting.Apply(s.m, meeting.TimedInput{At: time.Now(), Seed: meeting.NewSeed(), Input: f, Notice: meeting.NoticeApp})
	if err != nil {
		return m, err
	}
	s.m = m
	for _, r := range fx.Recordings {
		s.stored[r.ID] = r
	}
	for _, e := range fx.Events {
		if e.Data.Recording != nil {
			s.events = append(s.events, e.Type)
		}
	}
	if s.lose != nil && s.lose(f) {
		return meeting.Meeting{}, meeting.ErrUnavailable
	}
	s.recorder.Work(m)
	return m, nil
}

func (s *recordedSite) apply(f meeting.Input) meeting.Meeting {
	s.t.Helper()
	m, err := s.do(s.t.Context(), "", f)
	if err != nil {
		s.t.Fatalf("%T: %v", f, err)
	}
	return m
}

func (s *recordedSite) enter(nick, name string) {
	s.apply(meeting.Seen{Occupant: meeting.Occupant{Nick: nick, JID: nick + "@meet.jitsi/web", Kind: meeting.KindHuman, UserID: "user-" + nick, Name: name}})
}

// record asks for a recording, and returns its id.
func (s *recordedSite) record(mode meeting.RecordingMode) string {
	s.t.Helper()
	m := s.apply(meeting.RecordingWanted{Mode: mode, By: meeting.Requester{Type: meeting.ByApp}})
	r, ok := m.ActiveRecording(mode)
	if !ok {
		s.t.Fatal("no recording is active")
	}
	return r.ID
}

// conference has Jicofo allocate the meeting on a bridge.
func (s *recordedSite) conference(jvb, id string) {
	s.jvbs[jvb].Begin(id)
	s.apply(meeting.ConferenceChanged{Conference: meeting.Conference{JitsiMeetingID: id, Bridges: 1}})
}

func (s *recordedSite) end(id string) {
	s.apply(meeting.RecordingInput{Kind: meeting.RecordingStop, Recording: s.recording(id), Reason: meeting.StopRequested})
}

// recording returns a recording as stored last.
func (s *recordedSite) recording(id string) meeting.Recording {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored[id]
}

// want fails unless the recording is in a state, and returns it.
func (s *recordedSite) want(id string, state meeting.RecordingState) meeting.Recording {
	s.t.Helper()
	synctest.Wait()
	r := s.recording(id)
	if r.State != state {
		s.t.Errorf("the recording is %s (%s %q, parts %+v), want %s", r.State, r.Failure, r.Detail, r.Parts, state)
	}
	return r
}

// speak has somebody speak for a while on a bridge, numbered packets from first on.
func (s *recordedSite) speak(jvb, id, nick string, first int, length time.Duration) {
	s.jvbs[jvb].Play(s.t.Context(), id, sim.Microphone{Endpoint: nick, SSRC: uint32(first) + 1, Sound: numberedFrom(first, length)})
}

// asked returns what a bridge was asked, one word each.
func (s *recordedSite) asked(jvb string) (words []string) {
	for _, q := range s.jvbs[jvb].Asked() {
		for _, c := range q.Connects {
			word := "?"
			switch {
			case c.Create:
				word = "create"
			case c.Expire:
				word = "expire"
			}
			words = append(words, word)
		}
	}
	return words
}

// manifest reads that of a part.
func (s *recordedSite) manifest(part string) bridge.Manifest {
	s.t.Helper()
	return readManifest(s.t, filepath.Join(s.dir, part))
}

// jvbBrewery is the stream on which the bridges' brewery is.
type jvbBrewery struct {
	jvbs    map[string]*sim.Colibri
	watcher *bridge.Bridges
}

func (b *jvbBrewery) Send(_ context.Context, _, _, typ string, _ ...any) error {
	if typ != "" {
		return nil
	}
	b.say("<presence from='" + breweryRoom + "/focus'></presence>")
	for _, nick := range slices.Sorted(maps.Keys(b.jvbs)) {
		b.announce(nick)
	}
	b.say("<presence from='" + breweryRoom + "/usher'><x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x></presence>")
	return nil
}

func (b *jvbBrewery) announce(jvb string) {
	b.say(fmt.Sprintf("<presence from='%s/%s'><stats xmlns='http://jitsi.org/protocol/colibri'><stat name='version' value='2.3'/></stats></presence>", breweryRoom, jvb))
}

func (b *jvbBrewery) say(text string) {
	d := xml.NewDecoder(strings.NewReader(text))
	tok, _ := d.Token()
	b.watcher.Presence(d, tok.(xml.StartElement))
}

func (b *jvbBrewery) IQ(_ context.Context, to, typ string, payload, _ any) error {
	text, err := xml.Marshal(payload)
	if err != nil {
		return err
	}
	if strings.Contains(string(text), "urn:xmpp:ping") {
		return nil
	}
	_, nick, _ := strings.Cut(to, "/")
	var q sim.ConferenceModify
	if err := xml.Unmarshal(text, &q); err != nil || typ != "get" || b.jvbs[nick] == nil {
		return stanza.Error{Condition: stanza.ServiceUnavailable, Text: map[string]string{"en": fmt.Sprintf("%s got a %s: %s, %v", nick, typ, text, err)}}
	}
	return b.jvbs[nick].Modify(q)
}

// noted returns the types of events about recordings so far.
func (s *recordedSite) noted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var words []string
	for _, e := range s.events {
		words = append(words, strings.TrimPrefix(string(e), "recording."))
	}
	return strings.Join(words, " ")
}

// folders returns what is in the directory of parts.
func (s *recordedSite) folders() (names []string) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func describeFiles(files []meeting.RecordingFile) string {
	type short struct {
		Path, Of string
		First    int64
	}
	var list []short
	for _, f := range files {
		s := short{Path: f.Path}
		if f.Track != nil {
			s.Of, s.First = f.Track.Name, f.Track.FirstMS
		}
		list = append(list, s)
	}
	text, _ := json.Marshal(list)
	return string(text)
}
