package sim

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
)

// Breakout rooms, as people see them and as the focus has them. The component that
// keeps them is a plugin of the test's Prosody (mod_muc_breakout_rooms).

// propertyVisitors is the key of how many visitors there are.
const propertyVisitors = "visitor-count"

// breakoutRequest asks the component of the breakout rooms for something.
type breakoutRequest struct {
	XMLName xml.Name `xml:"breakout_rooms"` // in no namespace of its own
	Type    string   `xml:"type,attr"`
	Subject string   `xml:"subject,attr,omitempty"`
	Room    string   `xml:"breakoutRoomJid,attr,omitempty"`
}

func (s Site) breakoutDomain() string { return "breakout." + s.Domain }

// MakeBreakout makes a breakout room with that name, and returns its address. It
// blocks until the component says that it is there, or ctx ends. Only a moderator
// may.
func (p *Person) MakeBreakout(ctx context.Context, name string) (address string, err error) {
	if err := p.askBreakouts(ctx, breakoutRequest{Type: "features/breakout-rooms/add", Subject: name}); err != nil {
		return "", err
	}
	return p.WaitBreakout(ctx, name)
}

// WaitBreakout blocks until the component says that there is a breakout room with
// that name, or ctx ends, and returns its address.
func (p *Person) WaitBreakout(ctx context.Context, name string) (address string, err error) {
	err = p.changed.await(ctx, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		address = p.breakouts[name]
		return address != ""
	})
	if err != nil {
		return "", fmt.Errorf("%s waits for the breakout room %s: %w", p.name, name, err)
	}
	return address, nil
}

// RenameBreakout gives a breakout room another name, and RemoveBreakout removes it,
// which puts out who is in. They do not wait for it.
func (p *Person) RenameBreakout(ctx context.Context, address, name string) error {
	return p.askBreakouts(ctx, breakoutRequest{Type: "features/breakout-rooms/rename", Room: address, Subject: name})
}

// RemoveBreakout is described with [Person.RenameBreakout].
func (p *Person) RemoveBreakout(ctx context.Context, address string) error {
	return p.askBreakouts(ctx, breakoutRequest{Type: "features/breakout-rooms/remove", Room: address})
}

func (p *Person) askBreakouts(ctx context.Context, q breakoutRequest) error {
	s := p.current()
	if s == nil {
		return errOutside
	}
	return s.link.As("").Send(ctx, "message", p.site.breakoutDomain(), "", q)
}

// MoveTo goes to the room with that address, a breakout room or the main room, as
// lib-jitsi-meet does: on the same connection and with the same nick, first out of
// the one, then into the other. It blocks until the new room says that we are in.
func (p *Person) MoveTo(ctx context.Context, room string) error {
	s := p.current()
	if s == nil {
		return errOutside
	}
	switching := newElement("", "status", "switch_room")
	if err := s.link.As("").Send(ctx, "presence", p.room+"/"+s.presence.nick, "unavailable", switching); err != nil {
		return fmt.Errorf("leave %s: %w", p.room, err)
	}
	p.mu.Lock()
	p.room = room // from here on the old one's goodbye is no news
	s.stayState = stayState{seen: Occupants{}, recording: s.recording}
	p.mu.Unlock()
	err := p.askFocus(ctx)
	if err == nil {
		err = p.enter(ctx)
	}
	return err
}

// onMessage takes note of the breakout rooms that there are.
func (s *stay) onMessage(d *xml.Decoder, start xml.StartElement) {
	var m struct {
		From string `xml:"from,attr"`
		JSON string `xml:"json-message"`
	}
	p := s.person
	if err := d.DecodeElement(&m, &start); err != nil || m.From != p.site.breakoutDomain() {
		return
	}
	var says struct {
		Rooms map[string]struct {
			JID  string `json:"jid"`
			Name string `json:"name"`
			Main bool   `json:"isMainRoom"`
		} `json:"rooms"`
	}
	if err := json.Unmarshal([]byte(m.JSON), &says); err != nil {
		p.log().Warn("undecodable breakout message", "err", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.breakouts = map[string]string{}
	for _, room := range says.Rooms {
		if !room.Main {
			p.breakouts[room.Name] = room.JID
		}
	}
	p.changed.ring()
}

// SetVisitors has the focus count so many visitors, who are on other servers.
func (f *Focus) SetVisitors(room string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.conferences[f.cfg.Site.Room(room)]; c != nil {
		c.setProperty(propertyVisitors, fmt.Sprint(n))
	}
}

// isBreakout reports whether the conference is one of a breakout room.
func (c *conference) isBreakout() bool {
	return strings.HasSuffix(c.room, "@"+c.focus.cfg.Site.breakoutDomain())
}

// findMain reads from the form of a breakout room which main room it has. Call it
// without the lock.
func (c *conference) findMain(ctx context.Context) error {
	if !c.isBreakout() {
		return nil
	}
	var form struct {
		Fields []dataField `xml:"jabber:x:data x>field"`
	}
	query := newElement("http://jabber.org/protocol/muc#owner", "query", "")
	if err := c.focus.rooms.As("").IQ(ctx, c.room, "get", query, &form); err != nil {
		return refusal("room configuration", err)
	}
	if i := slices.IndexFunc(form.Fields, func(f dataField) bool { return f.Var == "muc#roominfo_breakout_main_room" }); i >= 0 {
		c.focus.mu.Lock()
		c.main = form.Fields[i].Value
		c.focus.mu.Unlock()
	}
	return nil
}

// hasBreakouts reports whether conferences of breakout rooms of this one go on,
// which keeps it alive (FocusManager.hasBreakoutRooms). f.mu is held.
func (c *conference) hasBreakouts() bool {
	for _, other := range c.focus.conferences {
		if other.main == c.room && !other.leaving {
			return true
		}
	}
	return false
}

// maybeStop ends the conference when nobody is in it any more, or gives people time
// who are on the way to a breakout room (JitsiMeetConferenceImpl.maybeStop). f.mu is
// held.
func (c *conference) maybeStop(switching bool) {
	switch {
	case len(c.members) > 0 || !c.joined || c.hasBreakouts():
	case switching:
		c.startTimer()
	default:
		c.leave()
	}
}
