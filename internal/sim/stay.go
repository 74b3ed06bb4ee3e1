package sim

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"mellium.im/sasl"

	"usher/component"
)

// stay is one login of a [Person] and its time in the room.
type stay struct {
	person *Person
	cable  *cable
	link   *component.Link
	cancel context.CancelFunc
	done   chan struct{} // closed when the link's goroutine has ended
	up     chan struct{} // closed when the login has succeeded

	// Set before up is closed; the presence's content is the person's lock's.
	jid      string // full JID
	presence *webPresence

	stayState
}

// stayState is what a room has said; it is the person's lock's.
type stayState struct {
	seen    Occupants
	in      bool          // the room has confirmed us
	refused *RefusedError // why it did not
	exit    *Exit         // how the stay ended

	recording Recording
}

// newStay plugs in and starts the stream's goroutine; [stay.close] ends both.
func newStay(p *Person) (*stay, error) {
	s := &stay{person: p, done: make(chan struct{}), up: make(chan struct{})}
	s.seen = Occupants{}
	var err error
	if s.cable, err = newCable(p.site.ClientAddr); err != nil {
		return nil, err
	}
	trace := ""
	if p.token != "" {
		// How mod_auth_token's stand-in takes a token without a URL.
		trace = "token=" + p.token
	}
	cfg := component.ClientConfig{
		Addr:       s.cable.addr(),
		JID:        p.site.Domain,
		Mechanisms: []sasl.Mechanism{anonymous(trace)},
		ServerName: p.site.Domain,
		CAFile:     p.site.CAFile,
		Options: component.Options{Log: p.log(), Handler: component.Handler{
			Presence: s.onPresence,
			Message:  s.onMessage,
			IQ: map[xml.Name]func(component.Request){
				// A browser acknowledges the focus's offer before it answers it.
				{Space: nsJingle, Local: "jingle"}: func(r component.Request) { r.Answer("result") },
			},
			Up:   s.onUp,
			Down: s.onDown,
		}},
	}
	if p.phone != nil {
		p.phone.logIn(&cfg)
	}
	if s.link, err = component.NewClient(cfg); err != nil {
		s.cable.cut()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		defer close(s.done)
		_ = s.link.Run(ctx) // Down has said why
		s.end(Exit{Why: WhyDisconnected})
	}()
	return s, nil
}

// anonymous is SASL ANONYMOUS with a trace (RFC 4505 §2), which mellium's own never
// sends (XEP-0175 advises against one): a server may take a token there.
func anonymous(trace string) sasl.Mechanism {
	m := sasl.Anonymous
	m.Start = func(*sasl.Negotiator) (bool, []byte, any, error) {
		if trace == "" {
			return false, nil, nil, nil
		}
		return false, []byte(trace), nil, nil
	}
	return m
}

// close ends the stream in good order, and returns when everything that the
// stay has started has ended.
func (s *stay) close() {
	s.cancel()
	<-s.done
	s.cable.cut()
}

// loginError is what the first try to log in came to. The link goes on trying
// and tells nobody; a person looks.
func (s *stay) loginError() error {
	_, _, err := s.link.Status()
	if errors.Is(err, component.ErrNotAuthorized) {
		return &RefusedError{Step: "login", Condition: "not-authorized", Text: err.Error()}
	}
	return err
}

func (s *stay) onUp(jid string) {
	p := s.person
	p.mu.Lock()
	name := p.name
	p.mu.Unlock()
	s.jid = jid
	if p.phone != nil {
		s.presence = p.phone.presence(name)
	} else {
		// The user is a random uuid, and its first eight digits are the nick.
		user, _, _ := strings.Cut(jid, "@")
		s.presence = newWebPresence(user[:min(8, len(user))], name)
	}
	close(s.up)
}

// onDown ends the login for good: a web client that lost its stream loads the
// page again, and that is [Person.Join].
func (s *stay) onDown(cause error) {
	s.end(Exit{Why: WhyDisconnected, Text: fmt.Sprint(cause)})
	s.cancel()
}

// look returns the state as it is now, for all but seen.
func (s *stay) look() stayState {
	s.person.mu.Lock()
	defer s.person.mu.Unlock()
	return s.stayState
}

// over reports whether the stay has ended, in whatever way.
func (s *stay) over() bool { return s.look().exit != nil }

// end notes how the stay ended; the first word counts.
func (s *stay) end(e Exit) {
	p := s.person
	p.mu.Lock()
	defer p.mu.Unlock()
	s.endLocked(e)
}

func (s *stay) endLocked(e Exit) {
	if s.exit == nil {
		s.exit = &e
		s.in = false
		s.seen = Occupants{}
	}
	s.person.changed.ring()
}

func (s *stay) onPresence(d *xml.Decoder, start xml.StartElement) {
	var pres occupantPresence
	if err := d.DecodeElement(&pres, &start); err != nil {
		s.person.log().Warn("undecodable presence", "err", err)
		return
	}
	p := s.person
	p.mu.Lock()
	defer p.mu.Unlock()
	room, nick := pres.occupant()
	if room != p.room {
		return
	}
	self := nick == s.presence.nick
	switch {
	case pres.Type == "error":
		if self && !s.in {
			s.refused = pres.refusal("join")
		}
	case pres.Type == "unavailable" && self:
		s.endLocked(pres.exit())
	case pres.Type == "unavailable":
		delete(s.seen, nick)
	case nick != "":
		s.seen[nick] = newOccupant(&pres)
		if r := pres.Recording; nick == focusNick && r != nil {
			s.recording = Recording{r.Status, r.Session, r.Failure, r.Initiator}
		}
		s.in = s.in || self && pres.status("110")
	}
	p.changed.ring()
}
