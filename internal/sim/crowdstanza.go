package sim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// errStreamClosed is the server's orderly end of a crowd's stream.
var errStreamClosed = errors.New("closed by the server")

// newNick returns eight hex digits that this crowd has not used; c.mu is held.
func (c *Crowd) newNick() string {
	c.nicks++
	// An odd factor spreads the numbers without giving one twice.
	return fmt.Sprintf("%08x", uint32(c.nicks)*2654435761)
}

// rename gives a user who has left the nick of the next stay.
func (c *Crowd) rename(u *crowdUser) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.in { // the leave is sent, its echo will not be recognised any more
		u.in = false
		c.inside--
	}
	u.nick = c.newNick()
}

// open asks the focus for the user's room.
func (c *Crowd) open(u *crowdUser) error {
	return c.wire.write("<iq type='set' from='", u.jid, "' to='", c.cfg.Site.focusDomain(), "' id='", u.room,
		"'><conference xmlns='", nsFocus, "' machine-uid='crowd' room='", u.room, "'/></iq>")
}

// join sends the first presence of a web client.
func (c *Crowd) join(u *crowdUser) error { return c.wire.write(u.joinStanza()...) }

func (u *crowdUser) joinStanza() []string {
	return []string{
		"<presence from='", u.jid, "' to='", u.room, "/", u.nick, "'><x xmlns='", nsMUC,
		"'/><stats-id>Ignatius-eyO</stats-id><c xmlns='", nsCaps, "' hash='sha-1' node='", webCapsNode,
		"' ver='", webCapsVer, "'/><SourceInfo>{}</SourceInfo>" +
			"<jitsi_participant_codecList>av1,vp9,vp8,h264</jitsi_participant_codecList><nick xmlns='", nsNick,
		"'>User ", strconv.Itoa(u.number), "</nick></presence>",
	}
}

func (c *Crowd) leave(u *crowdUser) error {
	return c.wire.write("<presence from='", u.jid, "' to='", u.room, "/", u.nick, "' type='unavailable'/>")
}

// crowdStanza is what a crowd keeps of a stanza's first tag, as it stood there.
type crowdStanza struct{ kind, typ, from, to, id string }

// read looks through the stream until it ends.
func (c *Crowd) read() error {
	var s crowdStanza
	for depth := 1; ; { // inside <stream:stream>
		t, err := c.wire.next()
		if err != nil {
			return err
		}
		if t.end() {
			if depth--; depth == 0 {
				return errStreamClosed
			}
			continue
		}
		switch {
		case depth == 1:
			s = crowdStanza{t.name(), t.attr("type"), t.attr("from"), t.attr("to"), t.attr("id")}
			if s.kind == "presence" {
				c.onPresence(s)
			}
		case depth == 2 && s.kind == "iq":
			err = c.onIQ(s, t)
		case depth == 3 && s.typ == "error" && t.attr("xmlns") == nsStanzas && t.name() != "text":
			c.onRefused(s, t.name())
		}
		if err != nil {
			return err
		}
		if !t.empty() {
			depth++
		}
	}
}

// onPresence looks for a user's own presence.
func (c *Crowd) onPresence(s crowdStanza) {
	user, _, _ := strings.Cut(s.to, "@")
	number, err := strconv.Atoi(strings.TrimPrefix(user, "user-"))
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || number < 0 || number >= len(c.users) {
		return
	}
	u := c.users[number]
	if s.from != u.room+"/"+u.nick {
		return
	}
	switch {
	case s.typ == "" && !u.in:
		u.in = true
		c.inside++
		c.joined[u.nick] = time.Now()
	case s.typ == "unavailable" && u.in:
		u.in = false
		c.inside--
	default:
		return
	}
	c.changed.ring()
}

// onIQ notes the focus's answers, and answers requests as a web client does;
// payload is the tag of what is asked.
func (c *Crowd) onIQ(s crowdStanza, payload tag) error {
	reply := fmt.Sprintf("<iq from='%s' to='%s' id='%s' type=", s.to, s.from, s.id)
	switch {
	case s.typ == "result" && payload.attr("xmlns") == nsFocus:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ready[s.id] = true
		c.changed.ring()
		return nil
	case s.typ != "get" && s.typ != "set":
		return nil
	case payload.attr("xmlns") == nsJingle:
		return c.wire.write(reply, "'result'/>")
	case payload.attr("xmlns") == nsDiscoInfo:
		return c.wire.write(reply, "'result'><query xmlns='", nsDiscoInfo,
			"'><identity category='client' type='web'/><feature var='", nsDiscoInfo, "'/></query></iq>")
	}
	return c.wire.write(reply, "'error'><error type='cancel'><service-unavailable xmlns='", nsStanzas, "'/></error></iq>")
}

func (c *Crowd) onRefused(s crowdStanza, condition string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		c.refused = &RefusedError{Step: s.kind + " of " + s.to, Condition: condition}
	}
	c.changed.ring()
}
