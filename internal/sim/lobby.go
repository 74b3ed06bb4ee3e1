package sim

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
)

// Lobbies, as people see them (lib-jitsi-meet's Lobby.js). The room that is one is
// made by a plugin of the test's Prosody (mod_muc_lobby_rooms).

// formSubmit changes fields of a room's configuration (XEP-0045 §10.2).
type formSubmit struct {
	XMLName xml.Name    `xml:"http://jabber.org/protocol/muc#owner query"`
	Form    submittable `xml:"jabber:x:data x"`
}

type submittable struct {
	Type   string        `xml:"type,attr"`
	Fields []submitField `xml:"field"`
}

type submitField struct {
	Var   string `xml:"var,attr"`
	Value string `xml:"value"`
}

// invite lets somebody in (XEP-0045 §7.8.2).
type invite struct {
	XMLName xml.Name `xml:"http://jabber.org/protocol/muc#user x"`
	Invite  struct {
		To string `xml:"to,attr"`
	} `xml:"invite"`
}

// SetLobby switches the room's lobby on or off. It blocks for the answer; a no is a
// [RefusedError]. Only an owner may; others who are in the room and have no
// affiliation are thrown out.
func (p *Person) SetLobby(ctx context.Context, on bool) error {
	s := p.current()
	if s == nil {
		return errOutside
	}
	query := formSubmit{Form: submittable{Type: "submit", Fields: []submitField{
		{"FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig"}, {"muc#roomconfig_membersonly", fmt.Sprint(on)},
	}}}
	return refusal("lobby", s.link.As("").IQ(ctx, p.room, "set", query, nil))
}

// Knock is Join into a room with a lobby: it is refused, and waits in the lobby. It
// does not wait until the lobby says so.
func (p *Person) Knock(ctx context.Context) error {
	err := p.login(ctx)
	if err == nil {
		err = p.askFocus(ctx)
	}
	if err == nil {
		err = p.enter(ctx)
	}
	if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Condition != "registration-required" {
		return fmt.Errorf("knock at %s: %w, want registration-required", p.room, err)
	}
	return p.toLobby(ctx, "", p.current().presence.payload(true)...)
}

// ComeIn enters the room after [Person.Admit], and then leaves the lobby.
func (p *Person) ComeIn(ctx context.Context) error {
	p.mu.Lock()
	p.stay.refused = nil
	p.mu.Unlock()
	if err := p.enter(ctx); err != nil {
		return err
	}
	return p.toLobby(ctx, "unavailable")
}

func (p *Person) toLobby(ctx context.Context, typ string, payload ...any) error {
	s := p.current()
	return s.link.As("").Send(ctx, "presence", p.site.lobby(p.room)+"/"+s.presence.nick, typ, payload...)
}

// Admit lets somebody in who waits in the lobby, and blocks until the room has taken
// note. Only an owner may.
func (p *Person) Admit(ctx context.Context, who *Person) error {
	s := p.current()
	if s == nil {
		return errOutside
	}
	var x invite
	x.Invite.To = who.JID()
	if err := s.link.As("").Send(ctx, "message", p.room, "", x); err != nil {
		return err
	}
	// The room answers this after the message, which it does not answer.
	return refusal("admit", s.link.As("").IQ(ctx, p.room, "get", newElement(nsDiscoInfo, "query", ""), nil))
}
