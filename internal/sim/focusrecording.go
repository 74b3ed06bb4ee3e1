package sim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/component"
)

// recordTries is how many further Jibris are asked after the first has failed
// (jicofo.jibri.num-retries).
const recordTries = 5

// session is one recording as the focus knows it (Jicofo's JibriSession). The
// focus's lock guards it.
type session struct {
	id        string
	jibri     string // nick in the brewery; empty while none has accepted
	initiator string // occupant address
	request   jibriIQ
	on        bool
	tries     int
	pending   *time.Timer
}

// onJibri handles what clients ask and what Jibris say (BaseJibri).
func (f *Focus) onJibri(r component.Request) {
	var q jibriIQ
	if err := r.Decode(&q); err != nil {
		refuse(r, nil, stanza.BadRequest, "")
		return
	}
	room, nick, _ := strings.Cut(r.From, "/")
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.conferences[room]
	if room == f.brewery.address {
		c = f.recordedBy(nick)
	}
	if c == nil || f.brewery.address == "" {
		refuse(r, q, stanza.ItemNotFound, "") // no conference takes it
		return
	}
	c.queue(func() { c.onJibri(r, q, nick) })
}

// onJibri handles a request of a member of the room, or of the Jibri that
// records it, when the queue gets to it.
func (c *conference) onJibri(r component.Request, q jibriIQ, nick string) {
	if bare(r.From) == c.focus.brewery.address && c.session != nil && c.session.jibri == nick {
		r.Answer("result")
		c.jibriSays(q)
		return
	}
	m, checks := c.member(nick), !c.focus.cfg.NoModeratorChecks
	switch {
	case m == nil && checks:
		refuse(r, q, stanza.Forbidden, "")
	case checks && m.role < moderator:
		refuse(r, q, stanza.NotAllowed, "")
	case q.Action == "start":
		c.startRecording(r, q)
	case q.Action == "stop" && c.session == nil:
		refuse(r, q, stanza.ItemNotFound, "Unknown session")
	case q.Action == "stop":
		c.stopRecording(r.From)
		r.Answer("result")
	default:
		refuse(r, q, stanza.BadRequest, "undefined action")
	}
}

// member returns who has the nick, or nil.
func (c *conference) member(nick string) *member {
	if i := slices.IndexFunc(c.members, func(m *member) bool { return m.nick == nick }); i >= 0 {
		return c.members[i]
	}
	return nil
}

// startRecording answers once a Jibri has accepted, or none does. Until then the
// room's queue waits.
func (c *conference) startRecording(r component.Request, q jibriIQ) {
	switch {
	case c.session != nil:
		refuse(r, q, stanza.UnexpectedRequest, "Recording or live streaming is already enabled")
		return
	case q.Stream == "" && q.Mode != "file":
		refuse(r, q, stanza.BadRequest, "Stream ID is empty or undefined")
		return
	case q.Stream != "" && q.Mode == "file":
		refuse(r, q, stanza.BadRequest, "Stream ID is provided for a FILE recording.")
		return
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	s := &session{
		id:        fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
		initiator: r.From, request: q,
	}
	c.session = s
	c.block(func() {
		condition, text := c.findJibri(s)
		c.focus.mu.Lock()
		defer c.focus.mu.Unlock()
		if condition != "" {
			if c.session == s {
				c.session = nil
			}
			refuse(r, q, condition, text)
			return
		}
		r.Answer("result", jibriIQ{Session: s.id})
	})
}

// findJibri asks one Jibri after the other and returns why none took the
// session (JibriSession.startInternal). Call it without the lock; it blocks.
func (c *conference) findJibri(s *session) (stanza.Condition, string) {
	f := c.focus
	for ; s.tries <= recordTries; s.tries++ {
		f.mu.Lock()
		if c.session != s { // the conference is over
			f.mu.Unlock()
			return stanza.InternalServerError, "Internal server error"
		}
		none := len(f.brewery.jibris) == 0
		j := f.brewery.choose(time.Now())
		if j != nil {
			s.jibri = j.nick // what it says may come before its answer is worked off
			s.end()
			s.pending = time.AfterFunc(f.cfg.PendingTimeout, func() { c.pendingTooLong(s) })
		}
		f.mu.Unlock()
		switch {
		case none:
			return stanza.ServiceUnavailable, "no Jibris available"
		case j == nil:
			return stanza.ResourceConstraint, "all Jibris are busy"
		}
		answer, err := f.ask(c.ctx, j.nick, jibriIQ{
			Action: "start", Mode: s.request.Mode, Room: c.room, Session: s.id, AppData: s.request.AppData, Stream: s.request.Stream,
		})
		f.mu.Lock()
		switch {
		case s.jibri != j.nick: // it has failed since, and another is being looked for
			f.mu.Unlock()
			return "", ""
		case err == nil && answer.Status == "pending":
			f.mu.Unlock()
			return "", ""
		case errors.Is(err, errSilent):
			// Its browser may be about to come; it is not to stay.
			f.tell(j.nick, jibriIQ{Action: "stop", Session: s.id})
		}
		j.failed, s.jibri = time.Now(), "" // busy, in error, unexpected, or silent
		f.mu.Unlock()
	}
	return stanza.InternalServerError, "Internal server error"
}

var errSilent = errors.New("no answer from the Jibri")

// ask sends a request to a Jibri and blocks for its answer.
func (f *Focus) ask(ctx context.Context, jibri string, q jibriIQ) (answer jibriIQ, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.cfg.ReplyTimeout, errSilent)
	defer cancel()
	err = f.rooms.As("").IQ(ctx, f.brewery.address+"/"+jibri, "set", q, &answer)
	return answer, err
}

// tell sends a request and lets the answer be, which may take long: a Jibri
// answers a stop when its hook has ended.
func (f *Focus) tell(jibri string, q jibriIQ) {
	f.effects.Go(func() { _, _ = f.ask(context.Background(), jibri, q) })
}

// SetPendingTimeout changes how long a Jibri may take from pending to on.
func (f *Focus) SetPendingTimeout(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cfg.PendingTimeout = d
}

// pendingTooLong is PendingStatusTimeout: Jicofo stops the session first, which
// says off without a reason; the retry that its source has next finds nothing.
func (c *conference) pendingTooLong(s *session) {
	c.focus.mu.Lock()
	defer c.focus.mu.Unlock()
	if c.session == s && !s.on {
		c.stopRecording("")
	}
}

// stopRecording says off at once. f.mu is held.
func (c *conference) stopRecording(by string) {
	s := c.session
	c.session = nil
	s.end()
	if s.jibri != "" {
		c.focus.tell(s.jibri, jibriIQ{Action: "stop", Session: s.id})
	}
	c.publish(recordingStatus{Status: "off", Session: s.id, Mode: s.request.Mode, Initiator: by})
}

func (s *session) end() {
	if s.pending != nil {
		s.pending.Stop()
	}
}

// publish says a status in the focus's presence, where it stays. f.mu is held.
func (c *conference) publish(status recordingStatus) {
	c.status = &status
	c.present()
}

// present says the focus's presence anew. f.mu is held, so that no older one
// can come later.
func (c *conference) present() {
	ctx, cancel := c.focus.replyPatience()
	defer cancel()
	_ = c.focus.rooms.As("").Send(ctx, "presence", c.room+"/"+focusNick, "", focusPresence(c.room, c.properties, c.status)...)
}

// jibriSays takes in what the Jibri says of its session
// (JibriSession.handleJibriStatusUpdate). f.mu is held.
func (c *conference) jibriSays(q jibriIQ) {
	s := c.session
	switch {
	case q.Status == "on":
		s.on = true
		s.end()
		c.publish(recordingStatus{Status: "on", Session: s.id, Mode: s.request.Mode, Initiator: s.initiator})
	case q.Status == "off" && q.Failure != "" && q.Retry == "true" && s.tries < recordTries:
		c.block(c.another(s))
	case q.Status == "off":
		c.over(s, q.Failure)
	}
}

// over ends a session that nobody stopped. f.mu is held.
func (c *conference) over(s *session, failure string) {
	c.session = nil
	s.end()
	c.publish(recordingStatus{Status: "off", Session: s.id, Mode: s.request.Mode, Failure: failure})
}

// jibriGone takes in that a Jibri has left the brewery, which Jicofo does not
// learn from the room, so the queue goes on. f.mu is held.
func (f *Focus) jibriGone(nick string) {
	if c := f.recordedBy(nick); c != nil {
		f.effects.Go(c.another(c.session))
	}
}

// another returns what goes on with another Jibri under the same id, which
// nobody is told if it succeeds; it is called without the lock. f.mu is held.
func (c *conference) another(s *session) func() {
	s.jibri, s.on = "", false
	s.end()
	s.tries++
	return func() {
		condition, _ := c.findJibri(s)
		c.focus.mu.Lock()
		defer c.focus.mu.Unlock()
		if condition != "" && c.session == s {
			c.over(s, "error")
		}
	}
}

// recordedBy returns the conference that a Jibri records. f.mu is held.
func (f *Focus) recordedBy(nick string) *conference {
	for _, c := range f.conferences {
		if c.session != nil && c.session.jibri == nick {
			return c
		}
	}
	return nil
}

// replyPatience returns a context that bounds one word to the server.
func (f *Focus) replyPatience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), f.cfg.ReplyTimeout)
}

// Restart leaves all rooms and forgets everything, as Jicofo does when it is
// started anew: what is recorded goes on without it. Whoever asks for the room
// again brings the focus back. It blocks until the rooms have confirmed, or ctx
// ends.
func (f *Focus) Restart(ctx context.Context) error {
	f.mu.Lock()
	var left []*conference
	for _, c := range f.conferences {
		if c.session != nil {
			c.session.end()
			c.session = nil
		}
		c.leave()
		left = append(left, c)
	}
	f.mu.Unlock()
	for _, c := range left {
		select {
		case <-c.ctx.Done():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
