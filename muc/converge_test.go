package muc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"usher/meeting"
	"usher/meeting/tracker"
	"usher/muc"
)

// TestConverges proves that whatever happens to people, streams, the server,
// the store and usher itself, once all is well again the store holds exactly
// the people who are there, and the event log tells one story without gaps.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		actions := rapid.SliceOfN(rapid.Custom(drawAction), 30, 80).Draw(rt, "actions")
		var happened []string
		var wrong error
		// The bubble reports by a value, so that rapid can look for a shorter list.
		synctest.Test(t, func(t *testing.T) { happened, wrong = converge(t.Context(), actions) })
		if wrong != nil {
			rt.Fatalf("%v\nafter\n\t%s", wrong, strings.Join(happened, "\n\t"))
		}
	})
}

// action is one thing that happens. Which fields count depends on the verb;
// who is one of those who are in the room then, so that most actions matter.
type action struct {
	verb, room, nick, user, status, fault string
	who                                   int
	wait                                  time.Duration
	hurry                                 bool // the next action comes before usher has come to rest
}

var (
	convergeRooms = []string{"standup", "retro"}
	convergeNicks = []string{"aa", "bb", "cc", "dd"}
	// By choice, kicked, banned, removed after an error.
	leaveStatuses = []string{"", "<status code='307'/>", "<status code='301'/>", "<status code='333'/>"}
	storeFaults   = []string{faultRefuses, faultStoresSilently, faultHangs, faultStoresAndHangs, ""}
	waits         = []time.Duration{
		time.Millisecond, 30 * time.Millisecond, time.Second, 6 * time.Second, 20 * time.Second, 70 * time.Second,
	}
)

// verbs are drawn from evenly: what stands here twice happens twice as often.
var verbs = []string{
	"join", "join", "join", "join", "leave", "leave", "leave", "rename", "reload", "change",
	"breakout", "breakout", "breakout", "back", "back", "close breakout",
	"hide addresses", "affiliate", "members only", "no seat", "seat", "squat",
	"take over", "again", "again gone", "destroy", "put usher out",
	"lose presences", "lose none", "drop occupant", "drop control", "raise streams",
	"restart server", "shut server down", "store", "store", "crash", "start", "start",
	"wait", "wait", "wait", "wait",
}

func drawAction(t *rapid.T) action {
	return action{
		verb:   rapid.SampledFrom(verbs).Draw(t, "verb"),
		room:   rapid.SampledFrom(convergeRooms).Draw(t, "room"),
		nick:   rapid.SampledFrom(convergeNicks).Draw(t, "nick"),
		user:   rapid.SampledFrom([]string{"", "", "u1", "u2"}).Draw(t, "user"),
		status: rapid.SampledFrom(leaveStatuses).Draw(t, "status"),
		fault:  rapid.SampledFrom(storeFaults).Draw(t, "fault"),
		hurry:  rapid.IntRange(0, 3).Draw(t, "hurry") == 3,
		who:    rapid.IntRange(0, len(convergeNicks)-1).Draw(t, "who"),
		wait:   rapid.SampledFrom(waits).Draw(t, "wait"),
	}
}

// healing is longer than anything that usher waits for: a check against the
// server's lists every minute, a session's linger of a minute, and retries.
const healing = 5 * time.Minute

// converge lets the actions happen, heals everything, and says what is wrong
// then. It runs in a synctest bubble.
func converge(ctx context.Context, actions []action) (happened []string, wrong error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &world{server: newServer(), store: &faultyStore{}}
	w.server.occupantUp, w.server.controlUp = false, false
	w.start(ctx)
	var background sync.WaitGroup
	background.Go(func() { w.server.deliver(ctx) })
	background.Go(func() { w.server.focusLeavesWhenAlone(ctx) })
	defer background.Wait()
	defer cancel()
	defer w.crash()

	synctest.Wait()
	for i, room := range convergeRooms {
		// One session that ends soon after the last human, one that lingers.
		linger := []time.Duration{10 * time.Second, 0}[i]
		if _, err := w.tracker.Create(ctx, meeting.Created{Room: room, Limits: meeting.Limits{Linger: linger}}); err != nil {
			return nil, err
		}
	}
	for _, a := range actions {
		w.do(ctx, a)
	}
	w.server.set(func() {
		for _, fr := range w.server.rooms {
			fr.seats = 0
		}
	})
	for _, verb := range []string{"start", "lose none", "store", "raise streams"} {
		w.do(ctx, action{verb: verb})
	}
	time.Sleep(healing)
	synctest.Wait()
	for _, room := range convergeRooms {
		wrong = errors.Join(wrong, w.check(room))
	}
	return w.happened, wrong
}

// world is a server, a store, and an usher between them that can crash.
type world struct {
	server   *server
	store    *faultyStore
	logins   int
	happened []string

	tracker *tracker.Tracker
	stop    context.CancelFunc // nil while usher is not running
	parts   sync.WaitGroup
}

// start runs a new usher with nothing but what the store holds.
func (w *world) start(ctx context.Context) {
	if w.stop != nil {
		return
	}
	ctx, w.stop = context.WithCancel(ctx)
	var meetings *tracker.Tracker
	rooms := muc.New(muc.Config{
		Site: site, Control: control{w.server}, Occupant: occupant{w.server},
		Observe: func(room string, at time.Time, f meeting.Input) { meetings.Observe(room, at, f) },
	})
	meetings = tracker.New(w.store, rooms, tracker.Options{})
	w.tracker = meetings
	w.server.set(func() { w.server.listener = rooms })
	w.parts.Go(func() { _ = meetings.Run(ctx, func() {}) })
	w.parts.Go(func() { _ = rooms.Run(ctx) })
	synctest.Wait()
	w.server.raise()
}

// crash ends usher between whatever it was doing and what would have followed.
func (w *world) crash() {
	if w.stop == nil {
		return
	}
	w.stop()
	w.parts.Wait()
	w.stop = nil
	// Only now: usher must not hear of it.
	w.server.dropControl()
	w.server.dropOccupant()
}

// do makes the action happen, or nothing when it cannot.
func (w *world) do(ctx context.Context, a action) {
	s := w.server
	nick, p, somebody := s.pick(a.room, a.who)
	_, taken := s.person(a.room, a.nick)
	away := s.inBreakouts(a.room)
	taken = taken || slices.Contains(away, a.nick) // the breakout component sees to that
	switch {
	// Of people who go to one of a room that usher has left it hears nothing.
	case a.verb == "breakout" && somebody && s.usherIn(a.room):
		w.note(a, nick)
		s.toBreakout(a.room, nick)
	case len(away) > 0 && (a.verb == "back" || a.verb == "close breakout"):
		nick := away[a.who%len(away)]
		w.note(a, nick)
		s.fromBreakout(a.room, nick, a.verb == "back")
	case a.verb == "join" && !taken:
		w.join(a, a.nick, a.user)
	case a.verb == "take over" && somebody: // the leave of the one before is never told
		w.join(a, nick, a.user)
	case a.verb == "leave" && somebody:
		w.note(a, nick, a.status)
		s.leave(a.room, nick, a.status)
	case a.verb == "reload" && somebody && !taken:
		w.note(a, nick)
		s.leave(a.room, nick, "")
		w.join(a, a.nick, p.user)
	case a.verb == "rename" && somebody && !taken:
		w.note(a, nick, a.nick)
		s.rename(a.room, nick, a.nick)
	// The server's lists do not have names: one that is lost stays lost.
	case a.verb == "change" && somebody && !s.lose:
		w.note(a, nick)
		p.name += "+"
		s.join(a.room, nick, p)
	case a.verb == "again" && somebody:
		w.note(a, nick)
		s.join(a.room, nick, p)
	case a.verb == "again gone" && !taken:
		w.note(a, a.nick)
		s.set(func() { s.tell(a.room, a.nick, "unavailable", userX(a.nick+"@meet.jitsi/old", "none", "")) })
	case a.verb == "destroy" && somebody:
		w.note(a)
		s.destroyRoom(a.room)
	case a.verb == "put usher out" && s.usherIn(a.room):
		w.note(a)
		s.putOut(a.room, "<status code='307'/>")
	case a.verb == "squat" && somebody && !s.usherIn(a.room):
		if _, taken := s.person(a.room, "usher"); !taken {
			w.join(a, "usher", a.user)
		}
	case slices.Contains([]string{"hide addresses", "affiliate", "members only", "no seat", "seat"}, a.verb) && somebody:
		affil := []string{"owner", "admin", "none", "outcast"}[a.who]
		w.note(a, affil)
		s.set(func() { s.rooms[a.room].change(s, a.room, a.verb, affil) })
		if a.verb == "affiliate" && affil == "outcast" {
			s.putOut(a.room, "<status code='301'/>")
		}
	case a.verb == "lose presences", a.verb == "lose none":
		w.note(a)
		s.set(func() { s.lose = a.verb == "lose presences" })
	case a.verb == "drop occupant":
		w.note(a)
		s.dropOccupant()
	case a.verb == "drop control":
		w.note(a)
		s.dropControl()
	case a.verb == "raise streams" && w.stop != nil:
		w.note(a)
		s.raise()
	case a.verb == "restart server":
		w.note(a)
		s.restart()
	case a.verb == "shut server down":
		w.note(a)
		s.sayGoodbye()
		synctest.Wait()
		s.restart()
	case a.verb == "store":
		w.note(a, a.fault)
		w.store.set(a.fault)
	case a.verb == "crash" && w.stop != nil:
		w.note(a)
		w.crash()
	case a.verb == "start" && w.stop == nil:
		w.note(a)
		w.start(ctx)
	case a.verb == "wait":
		w.note(a, a.wait.String())
		time.Sleep(a.wait)
	}
	if !a.hurry {
		synctest.Wait()
	}
}

// change is what a host does to the room. server.mu is held.
func (fr *fakeRoom) change(s *server, room, verb, affil string) {
	switch verb {
	case "hide addresses":
		fr.hides = true
	case "affiliate":
		s.affiliate(room, affil)
	case "members only":
		fr.members = true
	case "no seat":
		fr.seats = 1
	case "seat":
		fr.seats = 0
	}
}

func (w *world) note(a action, more ...string) {
	w.happened = append(w.happened, strings.Join(append([]string{a.room, a.verb}, more...), " "))
}

// join lets somebody in over a new connection. As on any Jitsi site the focus
// makes the room.
func (w *world) join(a action, nick, user string) {
	w.note(a, nick, user)
	if _, in := w.server.person(a.room, "focus"); !in {
		w.server.focus(a.room)
	}
	w.logins++
	w.server.join(a.room, nick, person{jid: fmt.Sprintf("c%d@meet.jitsi/web", w.logins), user: user, name: nick})
}

// raise brings up those streams that are down.
func (s *server) raise() {
	s.mu.Lock()
	occupantDown, controlDown := !s.occupantUp, !s.controlUp
	s.mu.Unlock()
	if controlDown {
		s.raiseControl()
	}
	if occupantDown {
		s.raiseOccupant()
	}
}

func (s *server) person(room, nick string) (p person, in bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fr := s.rooms[room]; fr != nil {
		p, in = fr.people[nick]
	}
	return p, in
}

// pick returns one of the people in the room, if there is one.
func (s *server) pick(room string, which int) (nick string, p person, ok bool) {
	nicks := s.humans(room)
	if len(nicks) == 0 {
		return "", person{}, false
	}
	nick = nicks[which%len(nicks)]
	p, ok = s.person(room, nick)
	return nick, p, ok
}

// people returns nick, address, user and name of each connection of a human.
func (s *server) people(room string) []string {
	var list []string
	for _, nick := range s.humans(room) {
		p, _ := s.person(room, nick)
		list = append(list, nick+" "+p.jid+" "+p.user+" "+p.name)
	}
	for _, nick := range s.inBreakouts(room) {
		s.mu.Lock()
		p := s.rooms[room].breakouts[nick]
		s.mu.Unlock()
		list = append(list, nick+" "+p.jid+"  "+p.name) // who they are, a breakout room does not say
	}
	slices.Sort(list)
	return list
}

// rename changes a nick to one that is free (XEP-0045 §7.6).
func (s *server) rename(room, from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fr := s.rooms[room]
	if fr == nil {
		return
	}
	p, in := fr.people[from]
	if _, taken := fr.people[to]; !in || taken {
		return
	}
	delete(fr.people, from)
	fr.people[to] = p
	if fr.usher {
		s.tell(room, from, "unavailable", fmt.Sprintf("<x xmlns='http://jabber.org/protocol/muc#user'>"+
			"<item role='%s' jid='%s' nick='%s'/><status code='303'/></x>", p.role, p.jid, to))
		s.tell(room, to, "", fr.shows(p))
	}
}

// sayGoodbye takes everybody out as Prosody does when it is told to stop.
func (s *server) sayGoodbye() {
	for _, room := range convergeRooms {
		for _, nick := range append(s.humans(room), "focus") {
			s.leave(room, nick, "<status code='332'/>")
		}
	}
}

// focusLeavesWhenAlone plays the part of Jicofo that ends rooms.
func (s *server) focusLeavesWhenAlone(ctx context.Context) {
	for ctx.Err() == nil {
		for _, room := range convergeRooms {
			if s.humans(room) == nil && !s.usherIn(room) && len(s.inBreakouts(room)) == 0 {
				s.leave(room, "focus", "")
			}
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
