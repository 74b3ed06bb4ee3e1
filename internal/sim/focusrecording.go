package sim

import (
	"context"
	"crypto/rand"
	"encoding/hex"
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
	if room == f.brewery.address && room != "" {
		r.Answer("result")
		f.jibriSays(nick, q)
		return
	}
	c := f.conferences[room]
	m := c.member(nick)
	switch {
	case m == nil || f.brewery.address == "":
		refuse(r, q, stanza.ItemNotFound, "")
	case m.role == visitor && !f.cfg.NoModeratorChecks:
		refuse(r, q, stanza.Forbidden, "")
	case m.role < moderator && !f.cfg.NoModeratorChecks:
		refuse(r, q, stanza.NotAllowed, "")
	case q.Action == "start":
		c.startRecording(r, q)
	case q.Action == "stop" && c.session == nil:
		refuse(r, q, stanza.ItemNotFound, "Unknown session")
	case q.Action == "stop":
		r.Answer("result")
		c.stopRecording(r.From)
	default:
		refuse(r, q, stanza.BadRequest, "")
	}
}

// member returns who has the nick, or nil; also of no conference.
func (c *conference) member(nick string) *member {
	if c == nil {
		return nil
	}
	if i := slices.IndexFunc(c.members, func(m *member) bool { return m.nick == nick }); i >= 0 {
		return c.members[i]
	}
	return nil
}

// startRecording answers once a Jibri has accepted, or none does.
func (c *conference) startRecording(r component.Request, q jibriIQ) {
	switch {
	case c.session != nil:
		refuse(r, q, stanza.UnexpectedRequest, "Recording or live streaming is already enabled")
		return
	case (q.Mode == "stream") != (q.Stream != "") || q.Mode != "stream" && q.Mode != "file":
		refuse(r, q, stanza.BadRequest, "")
		return
	case len(c.focus.brewery.jibris) == 0:
		refuse(r, q, stanza.ServiceUnavailable, "no Jibris available")
		return
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	s := &session{id: hex.EncodeToString(id[:]), initiator: r.From, request: q}
	c.session = s
	c.focus.effects.Go(func() {
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
// session. Call it without the lock; it blocks.
func (c *conference) findJibri(s *session) (stanza.Condition, string) {
	f := c.focus
	for ; s.tries <= recordTries; s.tries++ {
		f.mu.Lock()
		j := f.brewery.choose(time.Now())
		if j != nil {
			s.jibri = j.nick // what it says may come before its answer is worked off
		}
		f.mu.Unlock()
		if j == nil {
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
			if c.session != s { // stopped meanwhile, or the conference is over
				f.tell(j.nick, jibriIQ{Action: "stop", Session: s.id})
				f.mu.Unlock()
				return stanza.InternalServerError, "stopped"
			}
			if s.pending == nil {
				s.pending = time.AfterFunc(f.cfg.PendingTimeout, func() { c.pendingTooLong(s) })
			}
			f.mu.Unlock()
			return "", ""
		case err == nil && answer.Failure == "error" && answer.Retry == "false":
			f.mu.Unlock()
			return stanza.InternalServerError, "Jibri failed"
		}
		j.failed, s.jibri = time.Now(), "" // busy, in error, unexpected, or silent
		f.mu.Unlock()
	}
	return stanza.InternalServerError, "retries exhausted"
}

// ask sends a request to a Jibri and blocks for its answer.
func (f *Focus) ask(ctx context.Context, jibri string, q jibriIQ) (answer jibriIQ, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.ReplyTimeout)
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
	payload := append(focusPresence(c.created), c.status)
	ctx, cancel := c.focus.replyPatience()
	defer cancel()
	_ = c.focus.rooms.As("").Send(ctx, "presence", c.room+"/"+focusNick, "", payload...)
}

// jibriSays takes in what a Jibri says of the session that it has. f.mu is held.
func (f *Focus) jibriSays(nick string, q jibriIQ) {
	c := f.recordedBy(nick)
	if c == nil {
		return // of before this focus's time
	}
	s := c.session
	switch {
	case q.Status == "on":
		s.on = true
		s.end()
		c.publish(recordingStatus{Status: "on", Session: s.id, Mode: s.request.Mode, Initiator: s.initiator})
	case q.Status == "off" && q.Failure != "" && q.Retry == "true":
		c.another(s)
	case q.Status == "off":
		c.session = nil
		s.end()
		c.publish(recordingStatus{Status: "off", Session: s.id, Mode: s.request.Mode, Failure: q.Failure})
	}
}

// jibriGone takes in that a Jibri has left the brewery. f.mu is held.
func (f *Focus) jibriGone(nick string) {
	if c := f.recordedBy(nick); c != nil {
		c.another(c.session)
	}
}

// another goes on with another Jibri under the same id, which nobody is told if
// it succeeds. f.mu is held.
func (c *conference) another(s *session) {
	if j := c.focus.brewery.jibris[s.jibri]; j != nil {
		j.failed = time.Now()
	}
	s.jibri = ""
	s.tries++
	c.focus.effects.Go(func() {
		condition, _ := c.findJibri(s)
		c.focus.mu.Lock()
		defer c.focus.mu.Unlock()
		if condition != "" && c.session == s {
			c.session = nil
			s.end()
			c.publish(recordingStatus{Status: "off", Session: s.id, Mode: s.request.Mode, Failure: "error"})
		}
	})
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
