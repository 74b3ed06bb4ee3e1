package muc_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mellium.im/xmpp/stanza"

	"usher/muc"
)

// control is the administrator's stream.
type control struct{ s *server }

func (c control) Send(context.Context, string, string, string, ...any) error { return errDown }

func (c control) IQ(_ context.Context, to, typ string, payload, reply any) error {
	text, err := xml.Marshal(payload)
	if err != nil {
		return err
	}
	query := string(text)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if !c.s.controlUp {
		return errDown
	}
	room, domain, _ := strings.Cut(to, "@")
	fr := c.s.rooms[room]
	what := "list"
	switch {
	case strings.Contains(query, "<destroy>"):
		what = "destroy"
	case strings.Contains(query, `affiliation="`):
		what = "grant"
	case strings.Contains(query, `type="submit"`):
		what = "submit"
	case strings.Contains(query, "muc#owner"):
		what = "form"
	}
	c.s.log = append(c.s.log, what+" "+room)
	if fr == nil {
		return stanza.Error{Type: stanza.Cancel, Condition: stanza.ItemNotFound}
	}
	if domain == lobbyDomain {
		err := c.s.listLobby(fr, query, reply)
		c.s.takeTime()
		return err
	}
	if c.s.noAdmin {
		return stanza.Error{Type: stanza.Auth, Condition: stanza.Forbidden}
	}
	switch what {
	case "destroy":
		c.s.destroyLocked(room)
	case "submit":
		if fr.stubborn {
			return stanza.Error{Type: stanza.Cancel, Condition: stanza.NotAllowed}
		}
		fr.hides = false
	case "grant":
		_, affil, _ := strings.Cut(query, `affiliation="`)
		affil, _, _ = strings.Cut(affil, `"`)
		if c.s.noOwner && affil == "owner" {
			return stanza.Error{Type: stanza.Cancel, Condition: stanza.ServiceUnavailable}
		}
		c.s.affiliate(room, affil)
	case "form":
		defer c.s.takeTime()
		return xml.Unmarshal([]byte("<query><x xmlns='jabber:x:data'><field var='muc#roomconfig_roomsecret'><value>"+fr.password+"</value></field>"+
			fr.membersOnly()+"</x></query>"), reply)
	case "list":
		var b strings.Builder
		for _, nick := range slices.Sorted(maps.Keys(fr.people)) {
			if p := fr.people[nick]; strings.Contains(query, `role="`+p.role+`"`) {
				fmt.Fprintf(&b, "<item nick='%s' jid='%s' role='%s'/>", nick, p.jid, p.role)
			}
		}
		if fr.usher && strings.Contains(query, `role="moderator"`) {
			b.WriteString("<item nick='" + fr.nick + "' jid='usher@hidden.meet.jitsi/usher' role='moderator'/>")
		}
		return xml.Unmarshal([]byte("<query xmlns='http://jabber.org/protocol/muc#admin'>"+b.String()+"</query>"), reply)
	}
	return nil
}

// occupant is the stream that is in the rooms.
type occupant struct{ s *server }

func (o occupant) Send(_ context.Context, kind, to, typ string, payload ...any) error {
	text, err := xml.Marshal(payload)
	if err != nil {
		return err
	}
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	if !o.s.occupantUp {
		return errDown
	}
	room, _, _ := strings.Cut(to, "@")
	_, nick, _ := strings.Cut(to, "/")
	fr := o.s.rooms[room]
	o.s.log = append(o.s.log, strings.TrimSpace("presence "+typ+" "+room))
	refuse := func(condition string) {
		o.s.tell(room, nick, "error", "<error type='cancel'><"+condition+" xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>")
	}
	switch {
	case o.s.silent:
	case typ == "unavailable":
		if fr != nil && fr.usher {
			fr.usher = false
			o.s.tell(room, fr.nick, "unavailable", userX("usher@hidden.meet.jitsi/usher", "none", "<status code='110'/>"))
			o.s.sweep(room)
		}
	case fr == nil:
		refuse("not-allowed")
	case fr.usher: // a resync
		o.s.list(room)
	case fr.refuses != "":
		refuse(fr.refuses)
	case fr.affil == "outcast":
		refuse("forbidden")
	case fr.members && fr.affil != "member" && fr.affil != "owner":
		refuse("registration-required")
	case fr.password != "" && !strings.Contains(string(text), "<password>"+fr.password+"</password>"):
		refuse("not-authorized")
	case fr.people[nick].jid != "":
		refuse("conflict")
	case fr.seats > 0 && len(fr.people) > fr.seats: // the focus needs none
		refuse("service-unavailable")
	default:
		fr.usher, fr.nick = true, nick
		o.s.list(room)
		o.s.sayBreakouts(room)
	}
	return nil
}

// list tells usher who is in the room. s.mu is held.
func (s *server) list(room string) {
	fr := s.rooms[room]
	for _, nick := range slices.Sorted(maps.Keys(fr.people)) {
		s.tell(room, nick, "", fr.shows(fr.people[nick]))
	}
	s.tell(room, fr.nick, "", fr.ourselves())
}

// IQ answers the self-ping (XEP-0410), after everything told before, and kicks.
func (o occupant) IQ(ctx context.Context, to, _ string, payload, reply any) error {
	text, err := xml.Marshal(payload)
	if err != nil {
		return err
	}
	if query := string(text); strings.Contains(query, `role="none"`) {
		return o.answer(ctx, o.s.kick(to, query))
	}
	o.s.mu.Lock()
	room, _, _ := strings.Cut(to, "@")
	var answer error
	fr := o.s.rooms[room]
	if fr == nil || !fr.usher {
		answer = stanza.Error{Type: stanza.Cancel, Condition: stanza.NotAcceptable}
	}
	if strings.Contains(string(text), "disco#info") {
		o.s.log = append(o.s.log, "info "+room)
		answer = xml.Unmarshal([]byte("<query><x xmlns='jabber:x:data'><field var='muc#roominfo_meetingId'><value>"+fr.meetingID+"</value></field></x></query>"), reply)
	}
	o.s.mu.Unlock()
	return o.answer(ctx, answer)
}

// answer answers after everything told before.
func (o occupant) answer(ctx context.Context, answer error) error {
	done := make(chan error, 1)
	o.s.mu.Lock()
	if !o.s.occupantUp {
		o.s.mu.Unlock()
		return errDown
	}
	o.s.later(func(*muc.Rooms) { done <- answer })
	o.s.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// observed collects what usher concluded from a room.
