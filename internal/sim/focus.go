package sim

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"mellium.im/xmpp/stanza"

	"usher/component"
)

// Jicofo's own limits (reference.conf).
const (
	startTimeout = 15 * time.Second // jicofo.conference.initial-timeout
	replyTimeout = 15 * time.Second // jicofo.xmpp.client.reply-timeout

	pendingTimeout = 90 * time.Second // jicofo.jibri.pending-timeout
)

// focusNick is the focus's nick in every room, and its account's name.
const focusNick = "focus"

// FocusConfig configures a [Focus].
type FocusConfig struct {
	Site     Site
	Password string // of focus@auth.<domain>
	Secret   string // of the component focus.<domain>

	// StartTimeout is how long a room may stay empty after a request, and
	// ReplyTimeout how long an occupant may take to answer. Default 15 s each.
	StartTimeout time.Duration
	ReplyTimeout time.Duration
	// NoAutoOwner leaves it to others to make moderators
	// (jicofo.conference.enable-auto-owner = false).
	NoAutoOwner bool
	// TrustedDomains are those where recorders and gateways are believed to be
	// such. Default hidden.<domain>, docker-jitsi-meet's setting with recording.
	TrustedDomains []string
	// Brewery is the bare address of the room in which the Jibris wait; empty:
	// the site records nothing.
	Brewery string
	// PendingTimeout is how long a Jibri may take from pending to on. Default 90 s.
	PendingTimeout time.Duration
	// NoModeratorChecks lets everybody record
	// (jicofo.conference.enable-moderator-checks = false).
	NoModeratorChecks bool
}

// Focus plays Jicofo: it logs in as focus@auth.<domain>/focus, and takes
// conference requests as the external component focus.<domain>, where a real
// site has mod_client_proxy. It is safe for concurrent use.
type Focus struct {
	cfg      FocusConfig
	rooms    *component.Link // the login that is in the rooms
	requests *component.Link // the component that is asked for rooms
	effects  sync.WaitGroup  // goroutines that wait for answers

	changed     bell // any field below, and the conferences
	mu          sync.Mutex
	roomsUp     bool
	requestsUp  bool
	closing     bool
	brewery     brewery
	conferences map[string]*conference   // by room address
	invitations map[string][]*Invitation // by room address; the latest conference's
	knownCaps   map[string]bool          // node#ver that has been asked for
}

// NewFocus returns a focus that does nothing before [Focus.Run].
func NewFocus(cfg FocusConfig) (*Focus, error) {
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = startTimeout
	}
	if cfg.ReplyTimeout == 0 {
		cfg.ReplyTimeout = replyTimeout
	}
	if cfg.PendingTimeout == 0 {
		cfg.PendingTimeout = pendingTimeout
	}
	if cfg.TrustedDomains == nil {
		cfg.TrustedDomains = []string{cfg.Site.hiddenDomain()}
	}
	f := &Focus{
		cfg:         cfg,
		brewery:     brewery{address: cfg.Brewery, jibris: map[string]*instance{}},
		conferences: map[string]*conference{},
		invitations: map[string][]*Invitation{},
		knownCaps:   map[string]bool{},
	}
	var err error
	f.rooms, err = component.NewClient(component.ClientConfig{
		Addr:       cfg.Site.ClientAddr,
		JID:        focusNick + "@" + cfg.Site.authDomain() + "/" + focusNick,
		Password:   cfg.Password,
		ServerName: cfg.Site.authDomain(),
		CAFile:     cfg.Site.CAFile,
		Options: component.Options{Log: cfg.Site.log(), Handler: component.Handler{
			Presence: f.onPresence,
			IQ:       map[xml.Name]func(component.Request){{Space: nsJibri, Local: "jibri"}: f.onJibri},
			Up:       func(string) { f.setUp(&f.roomsUp, true) },
			Down:     f.onRoomsDown,
		}},
	})
	if err != nil {
		return nil, err
	}
	f.requests, err = component.NewComponent(component.ComponentConfig{
		Addr:   cfg.Site.ComponentAddr,
		Domain: cfg.Site.focusDomain(),
		Secret: cfg.Secret,
		Options: component.Options{Log: cfg.Site.log(), Handler: component.Handler{
			IQ: map[xml.Name]func(component.Request){
				{Space: nsFocus, Local: "conference"}: f.onRequest,
			},
			Up:   func(string) { f.setUp(&f.requestsUp, true) },
			Down: func(error) { f.setUp(&f.requestsUp, false) },
		}},
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Run keeps both streams and serves conferences until ctx ends, and returns
// when everything that it started has ended. The rooms are left to the server,
// which sees the stream end. It returns early with an error that trying again
// cannot heal.
func (f *Focus) Run(ctx context.Context) error {
	streams, ctx := errgroup.WithContext(ctx)
	streams.Go(func() error { return f.rooms.Run(ctx) })
	streams.Go(func() error { return f.requests.Run(ctx) })
	err := streams.Wait()

	f.mu.Lock()
	f.closing = true
	f.dropConferences()
	f.mu.Unlock()
	f.effects.Wait()
	return err
}

// WaitUp blocks until both streams are up, or ctx ends.
func (f *Focus) WaitUp(ctx context.Context) error {
	if err := f.changed.await(ctx, f.up); err != nil {
		return fmt.Errorf("focus is not up: %w", err)
	}
	return nil
}

// WaitLeft blocks until the focus has left the room with that name, or ctx
// ends. It returns at once for a room that it is not in.
func (f *Focus) WaitLeft(ctx context.Context, room string) error {
	if err := f.changed.await(ctx, func() bool { return !f.in(room) }); err != nil {
		return fmt.Errorf("focus is still in %s: %w", room, err)
	}
	return nil
}

// Members returns the nicks in the room with that name by arrival, without the
// focus's own.
func (f *Focus) Members(room string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.conferences[f.cfg.Site.Room(room)]
	if c == nil {
		return nil
	}
	var nicks []string
	for _, m := range c.members {
		nicks = append(nicks, m.nick)
	}
	return nicks
}

// Invitations returns what became of the offers of the room's present or last
// conference, in the order in which they were sent.
func (f *Focus) Invitations(room string) []Invitation {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []Invitation
	for _, i := range f.invitations[f.cfg.Site.Room(room)] {
		list = append(list, *i)
	}
	return list
}

// WaitInvitations blocks until ok is true of the room's invitations, or ctx
// ends.
func (f *Focus) WaitInvitations(ctx context.Context, room string, ok func([]Invitation) bool) error {
	err := f.changed.await(ctx, func() bool { return ok(f.Invitations(room)) })
	if err != nil {
		return fmt.Errorf("focus has invited %+v: %w", f.Invitations(room), err)
	}
	return nil
}

func (f *Focus) up() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.roomsUp && f.requestsUp
}

func (f *Focus) in(room string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.conferences[f.cfg.Site.Room(room)] != nil
}

func (f *Focus) setUp(what *bool, up bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*what = up
	if what == &f.roomsUp && up {
		f.enterBrewery()
	}
	f.changed.ring()
}

// onRoomsDown forgets the conferences: the server has taken us out of all rooms.
func (f *Focus) onRoomsDown(error) {
	f.setUp(&f.roomsUp, false)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropConferences()
}

// dropConferences forgets all conferences; f.mu is held.
func (f *Focus) dropConferences() {
	for _, c := range f.conferences {
		c.forget()
	}
	clear(f.brewery.jibris)
}

// onRequest answers a conference request as Jicofo's ConferenceIqHandler does:
// the first one for a room waits until the focus is in; one that comes
// meanwhile is told that the room is not ready.
func (f *Focus) onRequest(r component.Request) {
	var request conferenceRequest
	if err := r.Decode(&request); err != nil || request.Room == "" {
		refuse(r, nil, stanza.BadRequest, "")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.request(r, request)
}

// request is onRequest with f.mu held.
func (f *Focus) request(r component.Request, q conferenceRequest) {
	room := q.Room
	c := f.conferences[room]
	switch {
	case f.closing || !f.roomsUp:
		refuse(r, q, stanza.InternalServerError, "")
	case c == nil:
		c = newConference(f, room)
		f.conferences[room] = c
		f.invitations[room] = nil
		f.effects.Go(func() { f.answer(r, q, c.join()) })
	case c.leaving:
		f.effects.Go(func() {
			<-c.ctx.Done()
			f.mu.Lock()
			defer f.mu.Unlock()
			f.request(r, q)
		})
	default:
		c.restartTimer()
		r.Answer("result", f.readiness(room, c.joined))
	}
}

func (f *Focus) answer(r component.Request, q conferenceRequest, err error) {
	if err == nil {
		r.Answer("result", f.readiness(q.Room, true))
		return
	}
	f.cfg.Site.log().Warn("focus cannot enter a room", "room", q.Room, "err", err)
	condition := stanza.InternalServerError
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		condition = stanza.Condition(refused.Condition)
	}
	refuse(r, q, condition, "")
}

func (f *Focus) readiness(room string, ready bool) conferenceRequest {
	return conferenceRequest{
		Room: room, Ready: fmt.Sprint(ready), FocusJID: focusNick + "@" + f.cfg.Site.authDomain(),
		Properties: []property{{"authentication", "false"}, {"visitors-supported", "false"}},
	}
}

func (f *Focus) onPresence(d *xml.Decoder, start xml.StartElement) {
	if f.isBrewery(start) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.onBrewery(d, start)
		return
	}
	var p occupantPresence
	if err := d.DecodeElement(&p, &start); err != nil {
		f.cfg.Site.log().Warn("undecodable presence", "err", err)
		return
	}
	room, nick := p.occupant()
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.conferences[room]
	switch {
	case c == nil:
	case nick == focusNick:
		c.onOwnPresence(&p)
	default:
		c.queue(func() { c.onPresence(&p, nick) })
	}
	f.changed.ring()
}
