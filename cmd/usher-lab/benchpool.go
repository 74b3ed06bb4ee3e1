package main

import (
	"bufio"
	"fmt"
	"strconv"
	"time"

	"usher/internal/stack"
)

// fakePool is a focus with its recorders inside a fakeProsody: it answers at
// once, so that what is measured is usher. fakeProsody.mu guards it.
type fakePool struct {
	usher     string // who watches the recorders; empty: nobody
	recorders map[string]*fakeRoom
	names     []string
	sessions  map[*fakeRoom]string
	count     int
	// started is called when usher asks for a recorder and gets one.
	started func(room string, at time.Time)
}

func newFakePool(recorders int) *fakePool {
	p := &fakePool{recorders: map[string]*fakeRoom{}, sessions: map[*fakeRoom]string{}}
	for i := range recorders {
		p.names = append(p.names, "jibri-"+strconv.Itoa(i))
	}
	return p
}

const fakeBrewery = "jibribrewery@" + stack.InternalMUCDomain

// enter lets usher into the brewery.
func (p *fakePool) enter(out *bufio.Writer, q *fakeQuestion) {
	p.usher = q.From
	for _, name := range p.names {
		p.present(out, name)
	}
	fmt.Fprintf(out, "<presence from='%s' to='%s'><x xmlns='http://jabber.org/protocol/muc#user'>"+
		"<item affiliation='none' role='participant'/><status code='110'/></x></presence>", q.To, q.From)
}

// present says whether a recorder is idle.
func (p *fakePool) present(out *bufio.Writer, name string) {
	if p.usher == "" {
		return
	}
	busy := "idle"
	if p.recorders[name] != nil {
		busy = "busy"
	}
	fmt.Fprintf(out, "<presence from='"+fakeBrewery+"/%s' to='%s'><jibri-status xmlns='http://jitsi.org/protocol/jibri'>"+
		"<busy-status xmlns='http://jitsi.org/protocol/jibri' status='%s'/>"+
		"<health-status xmlns='http://jitsi.org/protocol/health' status='healthy'/></jibri-status></presence>", name, p.usher, busy)
}

// command answers as Jicofo's BaseJibri does. A recorder that was found records
// at once.
func (p *fakePool) command(out *bufio.Writer, room *fakeRoom, q *fakeQuestion) {
	if q.Jibri.Action == "stop" {
		fmt.Fprintf(out, "<iq type='result' from='%s' to='%s' id='%s'/>", q.To, q.From, q.ID)
		p.end(out, room)
		return
	}
	refuse := func(condition string) {
		fmt.Fprintf(out, "<iq type='error' from='%s' to='%s' id='%s'><error type='cancel'>"+
			"<%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", q.To, q.From, q.ID, condition)
	}
	if p.sessions[room] != "" {
		refuse("unexpected-request")
		return
	}
	for _, name := range p.names {
		if p.recorders[name] != nil {
			continue
		}
		p.count++
		session := "session-" + strconv.Itoa(p.count)
		p.recorders[name], p.sessions[room] = room, session
		fmt.Fprintf(out, "<iq type='result' from='%s' to='%s' id='%s'>"+
			"<jibri xmlns='http://jitsi.org/protocol/jibri' session_id='%s'/></iq>", q.To, q.From, q.ID, session)
		p.present(out, name)
		p.say(out, room, "on", session)
		p.started(room.name, time.Now())
		return
	}
	refuse("resource-constraint")
}

// end makes a recorder stop by itself.
func (p *fakePool) end(out *bufio.Writer, room *fakeRoom) {
	session := p.sessions[room]
	if session == "" {
		return
	}
	delete(p.sessions, room)
	p.say(out, room, "off", session)
	for _, name := range p.names {
		if p.recorders[name] == room {
			delete(p.recorders, name)
			p.present(out, name)
		}
	}
}

// say says the focus's presence.
func (p *fakePool) say(out *bufio.Writer, room *fakeRoom, status, session string) {
	fmt.Fprintf(out, "<presence from='%s/focus' to='"+usherAddress+"'>"+
		"<jibri-recording-status xmlns='http://jitsi.org/protocol/jibri' status='%s' session_id='%s' recording_mode='file'/>"+
		"<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner' role='moderator' jid='%s/focus'/></x></presence>",
		room.address, status, session, stack.Focus.JID())
}
