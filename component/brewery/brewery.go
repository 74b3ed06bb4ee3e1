// Package brewery watches a brewery: a MUC in which machines of a Jitsi site,
// such as Jibris and video bridges, announce themselves with a status in their
// presence.
package brewery

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/stanza"
)

const (
	// nick is usher's nick in a brewery.
	nick = "usher"
	// enterTimeout bounds the wait to be let in: a server that keeps strangers
	// out of the brewery says nothing at all (mod_muc_filter_access).
	enterTimeout = 15 * time.Second
	// interval is the time between two looks: a MUC that was reloaded does not say
	// that usher is out of it, so usher asks (XEP-0410).
	interval = time.Minute
	// retryInterval is the time until usher tries again after a refusal, or when
	// nobody was there: a Prosody that was restarted refuses everybody until Jicofo
	// has made the room, which takes up to two minutes, and where everybody may make
	// it usher may be there before Jicofo and the machines are. A try is two stanzas.
	retryInterval = 10 * time.Second
	// maxInterval bounds the time until the next try where the site keeps usher
	// out, which doubles with each: the server logs an error for each. Usher is let
	// in by a change of the configuration, after which Prosody is restarted and the
	// stream begins anew.
	maxInterval = time.Hour
	// pingTimeout bounds that question.
	pingTimeout = 10 * time.Second
)

// Stream is the XMPP stream of the address that watches; its methods block at
// most until ctx ends.
type Stream interface {
	Send(ctx context.Context, kind, to, typ string, payload ...any) error
	IQ(ctx context.Context, to, typ string, payload, reply any) error
}

// Config configures a Watcher whose occupants announce a status S, the Go type
// of an element with its XMLName. All fields are required.
type Config[S any] struct {
	Stream Stream
	Room   string // bare address of the brewery
	Log    *slog.Logger
	// Occupant is called, one call at a time, with what the brewery says of
	// somebody else: status is nil without that element and for who left.
	Occupant func(nick string, here bool, status *S)
	// Unseen is called when usher does not see the brewery any more, and before
	// it enters: whoever is in it is announced anew.
	Unseen func()
}

// Watcher is usher's place in a brewery. Its methods are safe for concurrent
// use, but for Presence, which the stream calls in order.
type Watcher[S any] struct {
	cfg   Config[S]
	again chan struct{} // of length 1: look at once

	mu      sync.Mutex
	up      bool // the stream is
	in      bool // usher is in the brewery
	refused bool // the site keeps usher out
	problem string
	arrived chan error // ends the wait of an entry; nil without one
}

// New returns a Watcher that does nothing until Run.
func New[S any](cfg Config[S]) *Watcher[S] {
	return &Watcher[S]{cfg: cfg, again: make(chan struct{}, 1), problem: "not connected yet"}
}

// Run enters the brewery and stays in it until ctx ends. It blocks.
func (w *Watcher[S]) Run(ctx context.Context) error {
	wait := interval
	for {
		switch err := w.look(ctx); {
		case errors.Is(err, errLockedOut):
			wait = min(2*wait, maxInterval)
		case errors.Is(err, errRefused), errors.Is(err, errAlone):
			wait = retryInterval
		default:
			wait = interval
		}
		select {
		case <-time.After(wait):
		case <-w.again:
			wait = interval
		case <-ctx.Done():
			return nil
		}
	}
}

// Up says that the stream is up: in no room yet.
func (w *Watcher[S]) Up() {
	w.mu.Lock()
	w.up = true
	w.mu.Unlock()
	w.lookAgain()
}

// Down says that the stream has ended.
func (w *Watcher[S]) Down() {
	w.mu.Lock()
	w.up = false
	w.mu.Unlock()
	w.out("the stream is down")
}

// Watching reports whether usher sees the brewery, and why not.
func (w *Watcher[S]) Watching() (ok bool, problem string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.in, w.problem
}

// Refused reports whether usher does not see the brewery because the site keeps it
// out.
func (w *Watcher[S]) Refused() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused
}

func (w *Watcher[S]) lookAgain() {
	select {
	case w.again <- struct{}{}:
	default:
	}
}

// out notes that usher is not in the brewery.
func (w *Watcher[S]) out(why string) {
	w.mu.Lock()
	w.in, w.problem = false, why
	w.mu.Unlock()
	w.cfg.Unseen()
}

// look enters the brewery or checks that usher is still in. It returns why usher
// could not enter.
func (w *Watcher[S]) look(ctx context.Context) error {
	w.mu.Lock()
	up, in := w.up, w.in
	w.mu.Unlock()
	if !up {
		return nil // a stream that comes up ends the wait
	}
	if in {
		if err := w.ping(ctx); err == nil || ctx.Err() != nil {
			return nil
		}
		w.out("usher dropped out of the brewery")
	}
	err := w.enter(ctx)
	w.mu.Lock()
	w.refused = errors.Is(err, errLockedOut) || errors.Is(err, errRefused)
	news := err != nil && ctx.Err() == nil && w.up && err.Error() != w.problem
	if news {
		w.problem = err.Error()
	}
	w.mu.Unlock()
	if news {
		w.cfg.Log.Info("cannot see a brewery", "brewery", w.cfg.Room, "reason", err)
	}
	return err
}

// ping asks whether usher is in the brewery (XEP-0410 §3).
func (w *Watcher[S]) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return w.cfg.Stream.IQ(ctx, w.cfg.Room+"/"+nick, "get", struct {
		XMLName xml.Name `xml:"urn:xmpp:ping ping"`
	}{}, nil)
}

// join asks to be let in without what was said before (XEP-0045 §7.2.13).
type join struct {
	XMLName xml.Name `xml:"http://jabber.org/protocol/muc x"`
	History struct {
		Max int `xml:"maxstanzas,attr"`
	} `xml:"history"`
}

// Reasons for not being in the brewery.
var (
	errLockedOut = errors.New("no answer from the brewery: the site does not let usher in (muc_filter_whitelist)")
	errRefused   = errors.New("the brewery refuses usher")
	errAlone     = errors.New("nobody is in the brewery: none of its machines, and no Jicofo")
)

// enter joins the brewery and blocks until usher is in, was refused, or
// enterTimeout is over.
func (w *Watcher[S]) enter(ctx context.Context) error {
	arrived := make(chan error, 1)
	w.mu.Lock()
	w.arrived = arrived
	w.mu.Unlock()
	w.cfg.Unseen()
	ctx, cancel := context.WithTimeoutCause(ctx, enterTimeout, errLockedOut)
	defer cancel()
	self := w.cfg.Room + "/" + nick
	err := w.cfg.Stream.Send(ctx, "presence", self, "", join{})
	if err == nil {
		select {
		case err = <-arrived:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		// Parked somewhere, or alone: whatever comes of it later, we are not in.
		_ = w.cfg.Stream.Send(context.WithoutCancel(ctx), "presence", self, "unavailable")
	}
	w.mu.Lock()
	w.arrived = nil
	w.mu.Unlock()
	return err
}

// presence of an occupant of the brewery, of usher itself, or a refusal.
type presence[S any] struct {
	From   string `xml:"from,attr"`
	Type   string `xml:"type,attr"`
	Status *S     // by its XMLName
	User   struct {
		Status []status `xml:"status"`
	} `xml:"http://jabber.org/protocol/muc#user x"`
	Error stanza.Error `xml:"error"`
}

type status struct {
	Code string `xml:"code,attr"`
}

func (p *presence[S]) has(code string) bool { return slices.Contains(p.User.Status, status{code}) }

// Status codes (XEP-0045 §15.6.2).
const (
	statusSelf    = "110"
	statusCreated = "201"
)

// Of reports whether a stanza comes from the brewery.
func (w *Watcher[S]) Of(stanza xml.StartElement) bool {
	for _, a := range stanza.Attr {
		if a.Name.Local == "from" {
			room, _, _ := strings.Cut(a.Value, "/")
			return strings.EqualFold(room, w.cfg.Room)
		}
	}
	return false
}

// Presence handles a presence to the watching address; see component.Handler.
// One of another room, or one that cannot be read, is left alone.
func (w *Watcher[S]) Presence(d *xml.Decoder, start xml.StartElement) {
	var p presence[S]
	if err := d.DecodeElement(&p, &start); err != nil {
		return
	}
	room, who, _ := strings.Cut(p.From, "/")
	switch {
	case !strings.EqualFold(room, w.cfg.Room):
	case p.Type == "error":
		refusal := cmp.Or(p.Error.Condition, stanza.UndefinedCondition)
		w.entered(fmt.Errorf("%w: %s", errRefused, refusal))
	case p.has(statusSelf):
		w.self(&p)
	case who != "" && p.Type == "unavailable":
		w.cfg.Occupant(who, false, nil)
	case who != "":
		w.cfg.Occupant(who, true, p.Status)
	}
}

// self handles what the brewery says of usher itself.
func (w *Watcher[S]) self(p *presence[S]) {
	was, _ := w.Watching()
	switch {
	case p.Type == "unavailable":
		if was {
			w.out("usher was put out of the brewery")
			w.lookAgain()
		}
	case p.has(statusCreated):
		// Ours alone. A room that usher made might keep machines out, so it must
		// be gone before one comes.
		w.entered(errAlone)
	default:
		if !was {
			w.cfg.Log.Info("watching a brewery", "brewery", w.cfg.Room)
		}
		w.entered(nil)
	}
}

// entered notes how an entry ended, and ends the wait for it, if there is one.
func (w *Watcher[S]) entered(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.in, w.problem = true, ""
	}
	select {
	case w.arrived <- err: // a nil channel is never ready
	default:
	}
}
