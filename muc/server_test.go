package muc_test

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
	"usher/muc"
)

var errDown = errors.New("stream is down")

var site = muc.Site{
	MUC: "muc.meet.jitsi", BreakoutDomain: "breakout.meet.jitsi", FocusJID: "focus@auth.meet.jitsi", TrustedDomains: []string{"hidden.meet.jitsi", "auth.meet.jitsi"},
	ComponentDomain: "usher.meet.jitsi", ControlJID: "ctl@usher.meet.jitsi", OccupantJID: "usher@hidden.meet.jitsi",
	Nick: "usher", DisplayName: "Usher", IdentityDomains: []string{"meet.jitsi"},
}

// server is a stand-in for Prosody's MUC with Jitsi's rules, quick enough for
// thousands of rooms in virtual time: it tells presences in order on the
// occupant's stream and answers the control stream at once. The real Prosody
// is met in the tests of cmd/usher.
type server struct {
	mu         sync.Mutex
	rooms      map[string]*fakeRoom
	listener   *muc.Rooms // who hears the occupant's stream
	queue      []func(*muc.Rooms)
	wake       chan struct{}
	occupantUp bool
	controlUp  bool
	lose       bool          // presences to usher are lost while set
	silent     bool          // joins are neither refused nor let in
	noKicks    bool          // kicks fail while set
	noAdmin    bool          // usher's control address is no administrator
	noOwner    bool          // the room makes nobody an owner
	lobbyTakes time.Duration // how long answers about lobbies, and forms, take
	noLobby    bool          // lobbies are not for usher's control address
	log        []string      // what usher did
}

type fakeRoom struct {
	people   map[string]person // by nick
	usher    bool              // usher is in
	affil    string            // usher's affiliation; empty: none
	grants   []string          // what it was given, one after the other
	password string
	nick     string            // usher's own
	seats    int               // for people and usher; 0: no limit
	refuses  string            // the condition that usher is refused with
	members  bool              // for members only
	hides    bool              // shows addresses to moderators only
	stubborn bool              // its form cannot be changed
	lobby    map[string]person // who waits in its lobby, by nick; nil: it has none

	meetingID string            // Jitsi's id
	breakouts map[string]person // who is in a breakout room, by nick; nil: none was ever made
	saying    bool              // that the list changed will be said in a moment
}

type person struct {
	jid, user, name, role, mode string
	properties                  string // what the focus says of the conference
}

func newServer() *server {
	return &server{rooms: map[string]*fakeRoom{}, wake: make(chan struct{}, 1), occupantUp: true, controlUp: true}
}

// set changes the server's ways.
func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// deliver feeds the occupant's stream to usher in order until ctx ends.
func (s *server) deliver(ctx context.Context) {
	for {
		s.mu.Lock()
		queue, rooms := s.queue, s.listener
		s.queue = nil
		s.mu.Unlock()
		for _, f := range queue {
			f(rooms)
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
	}
}

// later queues something on the occupant's stream. s.mu is held.
func (s *server) later(f func(*muc.Rooms)) {
	s.queue = append(s.queue, f)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// tell queues a presence of the room for usher. s.mu is held.
func (s *server) tell(room, nick, typ, children string) {
	if !s.occupantUp || s.lose {
		return
	}
	text := fmt.Sprintf("<presence from='%s@muc.meet.jitsi/%s' type='%s'>%s</presence>", room, nick, typ, children)
	s.later(func(r *muc.Rooms) {
		d := xml.NewDecoder(strings.NewReader(text))
		tok, _ := d.Token()
		r.Presence(d, tok.(xml.StartElement))
	})
}

func userX(jid, role, inside string) string {
	return fmt.Sprintf("<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='%s' jid='%s'/>%s</x>", role, jid, inside)
}

// shows is what the room tells usher of somebody.
func (fr *fakeRoom) shows(p person) string {
	p.jid = fr.address(p)
	return p.children()
}

// address is what the room tells usher of somebody's address.
func (fr *fakeRoom) address(p person) string {
	if fr.hides && fr.affil != "owner" {
		return ""
	}
	return p.jid
}

func (p person) children() string {
	text := "<nick xmlns='http://jabber.org/protocol/nick'>" + p.name + "</nick>"
	if p.user != "" {
		text += "<identity><user><id>" + p.user + "</id></user></identity>"
	}
	if p.mode != "" {
		text += "<mode>" + p.mode + "</mode>"
	}
	text += p.properties
	return text + userX(p.jid, p.role, "")
}

// join lets somebody in; the first one creates the room.
func (s *server) join(room, nick string, p person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fr := s.rooms[room]
	if fr == nil {
		fr = &fakeRoom{people: map[string]person{}}
		s.rooms[room] = fr
	}
	if p.role == "" {
		p.role = "participant"
	}
	if p.jid == "" {
		p.jid = nick + "@meet.jitsi/web"
	}
	fr.people[nick] = p
	if fr.usher {
		s.tell(room, nick, "", fr.shows(p))
	}
	s.sayBreakouts(room)
}

// kick takes out the one whose nick the query has, for an owner.
func (s *server) kick(to, query string) error {
	room, _, _ := strings.Cut(to, "@")
	_, nick, _ := strings.Cut(query, `nick="`)
	nick, _, _ = strings.Cut(nick, `"`)
	s.mu.Lock()
	s.log = append(s.log, "kick "+room+" "+nick)
	fr := s.rooms[room]
	if s.noKicks {
		s.mu.Unlock()
		return stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint}
	}
	if fr == nil || fr.affil != "owner" {
		s.mu.Unlock()
		return stanza.Error{Type: stanza.Cancel, Condition: stanza.NotAllowed}
	}
	_, there := fr.people[nick]
	s.mu.Unlock()
	if !there {
		return stanza.Error{Type: stanza.Modify, Condition: stanza.ItemNotFound}
	}
	s.leave(room, nick, "<status code='307'/>")
	return nil
}

// affiliate changes what usher is to the room. s.mu is held.
func (s *server) affiliate(room, affil string) {
	fr := s.rooms[room]
	fr.affil, fr.grants = affil, append(fr.grants, affil)
	if fr.usher {
		s.tell(room, fr.nick, "", fr.ourselves())
	}
}

// ourselves is what usher's own presence says.
func (fr *fakeRoom) ourselves() string {
	role := "participant"
	if fr.affil == "owner" {
		role = "moderator"
	}
	return fmt.Sprintf("<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='%s' role='%s' jid='usher@hidden.meet.jitsi/usher'/><status code='110'/></x>",
		cmp.Or(fr.affil, "none"), role)
}

func (s *server) focus(room string) {
	s.join(room, "focus", person{jid: "focus@auth.meet.jitsi/focus", role: "moderator"})
}

// leave takes somebody out; an empty room ceases to exist.
func (s *server) leave(room, nick, inside string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fr := s.rooms[room]
	if fr == nil {
		return
	}
	p, ok := fr.people[nick]
	if !ok {
		return
	}
	delete(fr.people, nick)
	if fr.usher {
		s.tell(room, nick, "unavailable", userX(fr.address(p), "none", inside))
	}
	s.sayBreakouts(room)
	s.sweep(room)
}

func (s *server) sweep(room string) {
	if fr := s.rooms[room]; fr != nil && len(fr.people) == 0 && !fr.usher && len(fr.lobby) == 0 { // as mod_persistent_lobby has it
		delete(s.rooms, room)
	}
}

// putOut removes usher from the room.
func (s *server) putOut(room, inside string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fr := s.rooms[room]; fr != nil && fr.usher {
		fr.usher = false
		s.tell(room, fr.nick, "unavailable", userX("usher@hidden.meet.jitsi/usher", "none", inside+"<status code='110'/>"))
		s.sweep(room)
	}
}

// destroyRoom ends the room: each occupant hears only of its own leave.
func (s *server) destroyRoom(room string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.destroyLocked(room)
}

func (s *server) destroyLocked(room string) {
	if fr := s.rooms[room]; fr != nil {
		delete(s.rooms, room)
		if fr.usher {
			s.tell(room, fr.nick, "unavailable", userX("usher@hidden.meet.jitsi/usher", "none", "<destroy><reason>over</reason></destroy><status code='110'/>"))
		}
	}
}

// humans returns the nicks of the people in the room, sorted.
func (s *server) humans(room string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms[room] == nil {
		return nil
	}
	var nicks []string
	for nick, p := range s.rooms[room].people {
		if !strings.HasPrefix(p.jid, "focus@auth") {
			nicks = append(nicks, nick)
		}
	}
	slices.Sort(nicks)
	return nicks
}

func (s *server) usherIn(room string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[room] != nil && s.rooms[room].usher
}

// inAfter lets time pass and says what is wrong unless usher is then in the room
// standup, or out of it.
func (s *server) inAfter(t *testing.T, d time.Duration, want bool, wrong string) {
	t.Helper()
	time.Sleep(d)
	if got := s.usherIn("standup"); got != want {
		t.Fatalf("%s: after %v it is in: %v, want %v", wrong, d, got, want)
	}
}

// count returns how often usher did something that begins with the word.
func (s *server) count(word string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, line := range s.log {
		if strings.HasPrefix(line, word) {
			n++
		}
	}
	return n
}

// dropOccupant ends the occupant's stream, which takes usher out of every room.
func (s *server) dropOccupant() {
	s.mu.Lock()
	s.occupantUp, s.queue = false, nil
	for name, fr := range s.rooms {
		fr.usher = false
		s.sweep(name)
	}
	rooms := s.listener
	s.mu.Unlock()
	rooms.OccupantDown()
}

func (s *server) raiseOccupant() {
	s.mu.Lock()
	s.occupantUp = true
	rooms := s.listener
	s.mu.Unlock()
	rooms.OccupantUp()
}

// restart forgets every room, as Prosody does, and drops both streams.
func (s *server) restart() {
	s.mu.Lock()
	s.rooms = map[string]*fakeRoom{}
	s.mu.Unlock()
	s.dropControl()
	s.dropOccupant()
}

func (s *server) dropControl() {
	s.mu.Lock()
	s.controlUp = false
	rooms := s.listener
	s.mu.Unlock()
	rooms.ControlDown()
}

func (s *server) raiseControl() {
	s.mu.Lock()
	s.controlUp = true
	rooms := s.listener
	s.mu.Unlock()
	rooms.ControlUp()
}

type observed struct {
	mu     sync.Mutex
	inputs []meeting.Input
}

func (o *observed) observe(_ string, _ time.Time, f meeting.Input) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inputs = append(o.inputs, f)
}

// take returns what was observed since the last call, one line each.
func (o *observed) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var lines []string
	for _, f := range o.inputs {
		switch f := f.(type) {
		case meeting.Seen:
			lines = append(lines, "seen "+f.Occupant.Nick)
		case meeting.Gone:
			lines = append(lines, "gone "+f.Nick+" "+string(f.Reason))
		case meeting.Roster:
			var nicks []string
			for _, occ := range f.Occupants {
				nicks = append(nicks, occ.Nick)
			}
			slices.Sort(nicks)
			if f.Breakouts != nil {
				nicks = append(nicks, "breakouts", inBreakouts(*f.Breakouts))
			}
			if f.Visitors > 0 {
				nicks = append(nicks, fmt.Sprint("visitors ", f.Visitors))
			}
			lines = append(lines, strings.TrimSpace("roster "+strings.Join(nicks, " ")))
		case meeting.Breakouts:
			lines = append(lines, strings.TrimSpace("breakouts "+inBreakouts(f)))
		case meeting.Lobby:
			lines = append(lines, lobbyLine(f))
		case meeting.VisitorsCounted:
			lines = append(lines, fmt.Sprint("visitors ", f.Visitors))
		case meeting.ConferenceChanged:
			lines = append(lines, fmt.Sprintf("conference %q on %d", f.Conference.JitsiMeetingID, f.Conference.Bridges))
		case meeting.RoomGone:
			lines = append(lines, "room gone "+string(f.Reason))
		case meeting.SightLost:
			lines = append(lines, "sight lost")
		default:
			lines = append(lines, fmt.Sprintf("%T", f))
		}
	}
	o.inputs = nil
	return lines
}
