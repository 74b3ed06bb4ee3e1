package jibri

import (
	"context"
	"encoding/xml"
	"errors"
	"strings"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

const (
	// poolNick is usher's nick in the brewery.
	poolNick = "usher"
	// enterPatience bounds the wait to be let in: a server that keeps strangers
	// out of the brewery says nothing at all (mod_muc_filter_access).
	enterPatience = 15 * time.Second
	// enterPace is the time between two tries. Somebody has to change the
	// server's configuration first, or a Jibri to come.
	enterPace = time.Minute
	// lookPace is how often usher asks whether it is still in (XEP-0410): a MUC
	// that was reloaded tells nobody.
	lookPace = time.Minute
	// lookPatience bounds that question.
	lookPatience = 10 * time.Second
)

// Run enters the brewery and stays in it until ctx ends. It blocks.
func (p *Pool) Run(ctx context.Context) error {
	for {
		wait := p.look(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-p.again:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// Up says that the component's stream is up: in no room yet.
func (p *Pool) Up() {
	p.mu.Lock()
	p.up = true
	p.mu.Unlock()
	p.lookAgain()
}

// Down says that the component's stream has ended.
func (p *Pool) Down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up = false
	p.leave("the component's stream is down")
}

func (p *Pool) lookAgain() {
	select {
	case p.again <- struct{}{}:
	default:
	}
}

// leave notes that usher is not in the brewery. p.mu is held.
func (p *Pool) leave(why string) {
	p.in, p.problem = false, why
	clear(p.inside)
}

// look enters the brewery or checks that usher is still in, and returns when to
// look again.
func (p *Pool) look(ctx context.Context) time.Duration {
	p.mu.Lock()
	up, in := p.up, p.in
	p.mu.Unlock()
	if !up {
		return enterPace // a stream that comes up ends the wait
	}
	if in {
		if err := p.ping(ctx); err != nil && ctx.Err() == nil {
			p.mu.Lock()
			p.leave("usher dropped out of the brewery")
			p.mu.Unlock()
			in = false
		}
	}
	if in {
		return lookPace
	}
	err := p.enter(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil || ctx.Err() != nil || !p.up {
		return lookPace
	}
	if why := err.Error(); why != p.problem {
		p.log.Info("cannot see the recorders", "brewery", p.cfg.Brewery, "reason", why)
		p.problem = why
	}
	return enterPace
}

// ping asks whether usher is in the brewery (XEP-0410 §3).
func (p *Pool) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	return p.cfg.Stream.IQ(ctx, p.cfg.Brewery+"/"+poolNick, "get", struct {
		XMLName xml.Name `xml:"urn:xmpp:ping ping"`
	}{}, nil)
}

// join asks to be let in without being told what was said before (XEP-0045
// §7.2.13).
type join struct {
	XMLName xml.Name `xml:"http://jabber.org/protocol/muc x"`
	History struct {
		Max int `xml:"maxstanzas,attr"`
	} `xml:"history"`
}

// Reasons for not being in the brewery.
var (
	errLockedOut = errors.New("no answer from the brewery: the site does not let usher in (muc_filter_whitelist)")
	errNoBrewery = errors.New("nobody is in the brewery: no Jibri and no Jicofo")
)

// enter joins the brewery and blocks until usher is in, was refused, or the
// patience is over.
func (p *Pool) enter(ctx context.Context) error {
	arrived := make(chan error, 1)
	p.mu.Lock()
	p.arrived = arrived
	clear(p.inside)
	p.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, enterPatience, errLockedOut)
	defer cancel()
	err := p.cfg.Stream.Send(ctx, "presence", p.cfg.Brewery+"/"+poolNick, "", join{})
	if err == nil {
		select {
		case err = <-arrived:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		// Parked somewhere, or alone: whatever comes of it later, we are not in.
		_ = p.cfg.Stream.Send(context.WithoutCancel(ctx), "presence", p.cfg.Brewery+"/"+poolNick, "unavailable")
	}
	p.mu.Lock()
	p.arrived = nil
	p.mu.Unlock()
	return err
}

// presence of a Jibri in the brewery (jitsi-xmpp-extensions, JibriStatus).
type presence struct {
	From   string `xml:"from,attr"`
	Type   string `xml:"type,attr"`
	Status *struct {
		Busy struct {
			Status string `xml:"status,attr"`
		} `xml:"http://jitsi.org/protocol/jibri busy-status"`
		Health struct {
			Status string `xml:"status,attr"`
		} `xml:"http://jitsi.org/protocol/health health-status"`
	} `xml:"http://jitsi.org/protocol/jibri jibri-status"`
	User struct {
		Status []struct {
			Code string `xml:"code,attr"`
		} `xml:"status"`
	} `xml:"http://jabber.org/protocol/muc#user x"`
	Error *struct {
		Conditions []struct {
			XMLName xml.Name
		} `xml:",any"`
	} `xml:"error"`
}

func (p *presence) has(code string) bool {
	for _, s := range p.User.Status {
		if s.Code == code {
			return true
		}
	}
	return false
}

// Presence handles a presence to the pool's address; see component.Handler.
func (p *Pool) Presence(d *xml.Decoder, start xml.StartElement) {
	now := time.Now()
	var pr presence
	if err := d.DecodeElement(&pr, &start); err != nil {
		return
	}
	room, nick, _ := strings.Cut(pr.From, "/")
	if !strings.EqualFold(room, p.cfg.Brewery) {
		return
	}
	p.mu.Lock()
	freed := false
	switch {
	case pr.Type == "error":
		p.refused(&pr)
	case pr.has(statusSelf):
		p.self(&pr)
	case nick != "":
		freed = p.occupant(now, nick, &pr)
	}
	p.mu.Unlock()
	if freed {
		p.wake()
	}
}

// Status codes (XEP-0045 §15.6.2).
const (
	statusSelf    = "110"
	statusCreated = "201"
)

func (p *Pool) refused(pr *presence) {
	if p.arrived == nil || pr.Error == nil {
		return
	}
	condition := string(stanza.UndefinedCondition)
	for _, c := range pr.Error.Conditions {
		if c.XMLName.Space == stanza.NSError && c.XMLName.Local != "text" {
			condition = c.XMLName.Local
			break
		}
	}
	p.signal(errors.New("the brewery refuses usher: " + condition))
}

// self handles what the brewery says of usher itself.
func (p *Pool) self(pr *presence) {
	switch {
	case pr.Type == "unavailable":
		if p.in {
			p.leave("usher was put out of the brewery")
			p.lookAgain()
		}
	case pr.has(statusCreated):
		// Ours alone. A room that usher made might keep Jibris out, so it must be
		// gone before one comes.
		p.signal(errNoBrewery)
	default:
		if !p.in {
			p.log.Info("watching the recorders", "brewery", p.cfg.Brewery)
		}
		p.in, p.problem = true, ""
		p.signal(nil)
	}
}

func (p *Pool) signal(err error) {
	select {
	case p.arrived <- err: // blocks for ever without an entry
	default:
	}
}

// occupant handles what the brewery says of somebody else and reports whether
// a recorder has become free. Whoever has no status is no recorder.
func (p *Pool) occupant(now time.Time, nick string, pr *presence) (freed bool) {
	was, known := p.inside[nick]
	is := meeting.Recorder{Name: nick, Since: now, Source: fromBrewery}
	switch {
	case pr.Type == "unavailable" && !known:
		return false
	case pr.Type == "unavailable":
		is.Status = meeting.RecorderGone
	case pr.Status == nil:
		return false
	default:
		is.Status = status(pr.Status.Busy.Status == "idle", pr.Status.Health.Status == "healthy")
	}
	if was.Status != is.Status {
		p.inside[nick] = is
	}
	if was.Status == meeting.RecorderIdle && is.Status == meeting.RecorderBusy {
		p.turned = append(p.turned, now)
	}
	return is.Status == meeting.RecorderIdle && was.Status != is.Status
}
