package sim

import (
	"strings"

	"usher/component"
)

// phone is the Jigasi by which somebody dials in.
type phone struct{ account, password string }

// NewPhone returns somebody who dials in: a Jigasi with that account enters the room
// in their place and shows their number (JvbConference). Of what people can do they
// can join, leave and drop the line.
func NewPhone(site Site, room, number, account, password string) *Person {
	p := NewPerson(site, room, number, "")
	p.phone = &phone{account, password}
	return p
}

// logIn has a login be the Jigasi's; each call has one of its own.
func (j *phone) logIn(cfg *component.ClientConfig) {
	_, domain, _ := strings.Cut(j.account, "@")
	cfg.JID, cfg.Password, cfg.ServerName, cfg.Mechanisms = j.account+"/"+randomNick(), j.password, domain, nil
}

// presence is what a Jigasi says of itself in a room.
func (j *phone) presence(number string) *webPresence {
	w := &webPresence{nick: randomNick()}
	w.setName(number)
	w.set(features(featureJigasi, "urn:xmpp:jingle:dtmf:0"))
	w.set(newElement("http://jitsi.org/protocol/jigasi", "initiator", ""))
	return w
}
