package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// loginPoll is how often somebody who logs in looks whether that has failed;
// a login takes about 10 ms.
const loginPoll = 20 * time.Millisecond

// errOutside is what a person who is in no room answers.
var errOutside = errors.New("sim: not in a room")

// Person is somebody with a web client. Call the methods that act (from
// [Person.Join] to [Person.Drop]) from one goroutine at a time; those that look
// are safe for concurrent use.
type Person struct {
	site  Site
	room  string
	name  string
	token string
	phone *phone // nil for somebody with a web client

	changed bell // the stay, or anything in it
	mu      sync.Mutex
	stay    *stay     // the present or last one; nil before the first
	sent    time.Time // of the last presence

	breakouts map[string]string // addresses of breakout rooms, by name
}

// NewPerson returns somebody who wants to meet in the room with that name,
// shown to others under the display name. token is the JWT of the login; empty
// for a guest.
func NewPerson(site Site, room, displayName, token string) *Person {
	return &Person{site: site, room: site.Room(room), name: displayName, token: token}
}

// Join logs in, asks the focus for the room and enters it. It blocks until the
// room says that we are in (status 110, XEP-0045 §7.2.2), or ctx ends. A no of
// the server, the reservation system, the focus or the room comes back as
// [RefusedError]. Somebody who is in already is an error. Whoever has joined
// ends with Leave or Drop: being kicked does not close the stream.
func (p *Person) Join(ctx context.Context) error {
	if err := p.login(ctx); err != nil {
		return err
	}
	err := p.askFocus(ctx)
	if err == nil {
		err = p.enter(ctx)
	}
	if err != nil {
		p.current().close()
	}
	return err
}

// login opens the stream and starts a new stay.
func (p *Person) login(ctx context.Context) error {
	last := p.current()
	if last != nil {
		if !last.over() {
			return fmt.Errorf("join %s: %s is in it already", p.room, p.name)
		}
		last.close()
	}
	s, err := newStay(p)
	if err != nil {
		return fmt.Errorf("login: %w", err)
	}
	tick := time.NewTicker(loginPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.close()
			return fmt.Errorf("login: %w", context.Cause(ctx))
		case <-s.up:
			p.mu.Lock()
			p.stay = s
			p.mu.Unlock()
			return nil
		case <-tick.C:
			if err := s.loginError(); err != nil {
				s.close()
				return fmt.Errorf("login: %w", err)
			}
		}
	}
}

// askFocus sends the conference request. A focus that is still on its way into
// the room says so; lib-jitsi-meet then asks again after one second, two, four
// and so on.
func (p *Person) askFocus(ctx context.Context) error {
	request := conferenceRequest{
		MachineUID: "6c296267472c435caa2315e877840eb1",
		Room:       p.room,
		Token:      p.token,
		Properties: []property{{"rtcstatsEnabled", "false"}, {"visitors-version", "1"}},
	}
	for wait := time.Second; ; wait *= 2 {
		var answer conferenceRequest
		err := p.current().link.As("").IQ(ctx, p.site.focusDomain(), "set", request, &answer)
		if err != nil {
			return refusal("conference request", err)
		}
		if answer.Ready == "true" {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// enter sends the first presence and waits for its echo.
func (p *Person) enter(ctx context.Context) error {
	p.mu.Lock()
	s := p.stay
	payload := s.presence.payload(true)
	p.sent = time.Now()
	p.mu.Unlock()
	to := p.room + "/" + s.presence.nick
	if err := s.link.As("").Send(ctx, "presence", to, "", payload...); err != nil {
		return fmt.Errorf("join %s: %w", p.room, err)
	}
	var answer stayState
	err := p.changed.await(ctx, func() bool {
		answer = s.look()
		return answer.in || answer.refused != nil || answer.exit != nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("join %s: %w", p.room, err)
	case answer.refused != nil:
		return answer.refused
	case answer.exit != nil:
		return fmt.Errorf("join %s: %s: %s", p.room, answer.exit.Why, answer.exit.Text)
	}
	return nil
}

// SetName changes the display name; an empty one takes it away.
func (p *Person) SetName(ctx context.Context, name string) error {
	return p.change(ctx, func(w *webPresence) {
		p.name = name
		w.setName(name)
	})
}

// MuteAudio mutes or opens the microphone.
func (p *Person) MuteAudio(ctx context.Context, muted bool) error {
	return p.change(ctx, func(w *webPresence) { w.setSource("a0", source{Muted: muted}) })
}

// MuteVideo turns the camera off or on.
func (p *Person) MuteVideo(ctx context.Context, muted bool) error {
	return p.change(ctx, func(w *webPresence) { w.setSource("v0", source{Muted: muted}) })
}

// ShareScreen starts or stops sharing; a stopped share stays in the presence
// as a muted source.
func (p *Person) ShareScreen(ctx context.Context, on bool) error {
	return p.change(ctx, func(w *webPresence) { w.setSource("v1", source{Muted: !on, VideoType: "desktop"}) })
}

// RaiseHand raises the hand now.
func (p *Person) RaiseHand(ctx context.Context) error {
	return p.change(ctx, func(w *webPresence) { w.raiseHand(time.Now()) })
}

// LowerHand takes it down.
func (p *Person) LowerHand(ctx context.Context) error {
	return p.change(ctx, (*webPresence).lowerHand)
}

// change sends the whole presence again, with one thing changed. It does not
// wait for the echo.
func (p *Person) change(ctx context.Context, edit func(*webPresence)) error {
	p.mu.Lock()
	s := p.stay
	if s == nil || !s.in {
		p.mu.Unlock()
		return errOutside
	}
	edit(s.presence)
	payload := s.presence.payload(false)
	to := p.room + "/" + s.presence.nick
	p.sent = time.Now()
	p.mu.Unlock()
	return s.link.As("").Send(ctx, "presence", to, "", payload...)
}

// Kick removes the occupant with that nick from the room (XEP-0045 §8.2). Only
// a moderator may.
func (p *Person) Kick(ctx context.Context, nick, reason string) error {
	s := p.current()
	if s == nil {
		return errOutside
	}
	query := adminQuery{Item: adminItem{Nick: nick, Role: "none", Reason: reason}}
	return refusal("kick", s.link.As("").IQ(ctx, p.room, "set", query, nil))
}

// StartRecording asks the focus to record the room, as the client's button
// does, and returns Jibri's id of the recording. It blocks for the answer; a no
// is a [RefusedError].
func (p *Person) StartRecording(ctx context.Context) (session string, err error) {
	answer, err := p.askJibri(ctx, jibriIQ{Action: "start", Mode: "file", AppData: `{"file_recording_metadata":{"share":true}}`})
	return answer.Session, err
}

// StopRecording asks the focus to end it.
func (p *Person) StopRecording(ctx context.Context) error {
	_, err := p.askJibri(ctx, jibriIQ{Action: "stop", Mode: "file"})
	return err
}

func (p *Person) askJibri(ctx context.Context, q jibriIQ) (answer jibriIQ, err error) {
	s := p.current()
	if s == nil {
		return jibriIQ{}, errOutside
	}
	err = s.link.As("").IQ(ctx, p.room+"/"+focusNick, "set", q, &answer)
	return answer, refusal(q.Action+" recording", err)
}

// Recording is what the focus says of the room's recording to everybody in it.
type Recording struct{ Status, Session, Failure, Initiator string }

// Recording returns what the person last heard of it; the zero Recording when
// nothing was said.
func (p *Person) Recording() Recording {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stay == nil {
		return Recording{}
	}
	return p.stay.recording
}

// WaitRecording blocks until ok is true of what the focus says, or ctx ends.
func (p *Person) WaitRecording(ctx context.Context, ok func(Recording) bool) error {
	if err := p.changed.await(ctx, func() bool { return ok(p.Recording()) }); err != nil {
		return fmt.Errorf("%s waits, hearing %+v: %w", p.name, p.Recording(), err)
	}
	return nil
}

// Leave says goodbye, waits until the room has confirmed it, and closes the
// stream. Whoever is out already only closes the stream.
func (p *Person) Leave(ctx context.Context) error {
	s := p.current()
	if s == nil {
		return nil
	}
	defer s.close()
	if s.over() {
		return nil
	}
	p.mu.Lock()
	p.sent = time.Now()
	p.mu.Unlock()
	if err := s.link.As("").Send(ctx, "presence", p.room+"/"+s.presence.nick, "unavailable"); err != nil {
		return fmt.Errorf("leave %s: %w", p.room, err)
	}
	if err := p.changed.await(ctx, s.over); err != nil {
		return fmt.Errorf("leave %s: %w", p.room, err)
	}
	return nil
}

// Drop cuts the connection without a word and returns when our side of it has
// ended. The server notices at once; others see a leave.
func (p *Person) Drop() {
	if s := p.current(); s != nil {
		s.cable.cut()
		s.close()
	}
}

// Reload loads the page again: the same user leaves and comes back as another
// occupant, with another nick and real JID, unknown media and the hand down.
func (p *Person) Reload(ctx context.Context) error {
	if err := p.Leave(ctx); err != nil {
		return err
	}
	return p.Join(ctx)
}

// Sent is when the last presence was sent.
func (p *Person) Sent() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

// Nick is the nick of the present or last stay; empty before the first login.
func (p *Person) Nick() string {
	if s := p.current(); s != nil {
		return s.presence.nick
	}
	return ""
}

// JID is the full JID of the present or last login; empty before the first.
func (p *Person) JID() string {
	if s := p.current(); s != nil {
		return s.jid
	}
	return ""
}

// Occupants returns who is in the room as this person sees it, itself and the
// focus included; empty for somebody outside.
func (p *Person) Occupants() Occupants {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stay == nil {
		return Occupants{}
	}
	return maps.Clone(p.stay.seen)
}

// WaitFor blocks until ok is true of what the person sees, or ctx ends; the
// error then says what there was to see. ok must not call the person.
func (p *Person) WaitFor(ctx context.Context, ok func(Occupants) bool) error {
	err := p.changed.await(ctx, func() bool { return ok(p.Occupants()) })
	if err != nil {
		return fmt.Errorf("%s waits, seeing %+v: %w", p.name, p.Occupants(), err)
	}
	return nil
}

// WaitOut blocks until the person is out of the room and says how, or ctx ends.
func (p *Person) WaitOut(ctx context.Context) (Exit, error) {
	s := p.current()
	if s == nil {
		return Exit{}, errOutside
	}
	if err := p.changed.await(ctx, s.over); err != nil {
		return Exit{}, fmt.Errorf("%s is still in %s: %w", p.name, p.room, err)
	}
	return *s.look().exit, nil
}

func (p *Person) current() *stay {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stay
}

func (p *Person) log() *slog.Logger { return p.site.log().With("room", p.room, "person", p.name) }
