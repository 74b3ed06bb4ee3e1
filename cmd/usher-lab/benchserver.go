package main

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"usher/internal/stack"
)

// fakeProsody is the server of one component, as fast as it can write: what is
// measured against it holds nothing of Prosody's own time. It has rooms with
// people in them, answers what usher asks about them, and says what people do.
type fakeProsody struct {
	listener net.Listener
	served   sync.WaitGroup

	mu    sync.Mutex
	out   *bufio.Writer // to the component; nil while there is none
	rooms map[string]*fakeRoom
	pool  *fakePool // nil: there are no recorders
}

type fakeRoom struct {
	name    string
	address string
	people  []*fakePerson
	away    *fakePerson // who left last and is to come back; nil: all are in
	// occupant is usher's address in the room while it is in, affiliation what the
	// room has been asked to make of it.
	occupant, affiliation string
}

// fakePerson is one occupant, and what their presence says.
type fakePerson struct {
	number, stay int
	nick         string
	codecs       string
	muted        bool
	hand         int64 // since when, Unix milliseconds; 0 is down
}

// usherAddress is where a component's occupant hears of a room.
const usherAddress = "bot@" + stack.ComponentDomain + "/usher"

// newFakeProsody listens on loopback; rooms are named room-0 and on. pool may
// be nil.
func newFakeProsody(rooms, per int, pool *fakePool) (*fakeProsody, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &fakeProsody{listener: ln, rooms: newFakeRooms(rooms, per), pool: pool}
	f.served.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			f.serve(conn) // one component, so one connection at a time
		}
	})
	return f, nil
}

func newFakeRooms(rooms, per int) map[string]*fakeRoom {
	all := map[string]*fakeRoom{}
	for i := range rooms {
		room := &fakeRoom{name: "room-" + strconv.Itoa(i), affiliation: "none"}
		room.address = room.name + "@" + stack.MUCDomain
		for j := range per {
			room.people = append(room.people, newFakePerson(i*per+j, 0))
		}
		all[room.name] = room
	}
	return all
}

// newFakePerson returns somebody who is in for the given time, counted from 0.
func newFakePerson(number, stay int) *fakePerson {
	return &fakePerson{
		number: number, stay: stay, codecs: codecLists[0],
		nick: fmt.Sprintf("%08x", uint32(stay*1_000_003+number)*2654435761), // odd factors: no nick twice
	}
}

// close ends the server; usher has to be gone, or the last word is its.
func (f *fakeProsody) close() {
	f.listener.Close()
	f.served.Wait()
}

func (f *fakeProsody) addr() string { return f.listener.Addr().String() }

func (f *fakeProsody) names() []string {
	var names []string
	for i := range len(f.rooms) {
		names = append(names, "room-"+strconv.Itoa(i))
	}
	return names
}

// serve speaks XEP-0114 until the component hangs up.
func (f *fakeProsody) serve(conn net.Conn) {
	defer conn.Close()
	d := xml.NewDecoder(conn)
	f.mu.Lock()
	f.out = bufio.NewWriterSize(conn, 64<<10)
	f.mu.Unlock()
	for {
		tok, err := d.Token()
		if err != nil {
			return
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if start.Name.Local == "stream" {
			f.write(func(out *bufio.Writer) {
				fmt.Fprintf(out, "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' "+
					"xmlns:stream='http://etherx.jabber.org/streams' from='%s' id='1'>", stack.ComponentDomain)
			})
			continue
		}
		var q fakeQuestion
		if d.DecodeElement(&q, &start) != nil {
			return
		}
		f.write(func(out *bufio.Writer) { f.answer(out, start.Name.Local, &q) })
	}
}

// write lets say write to the component, with the state of rooms and people
// held still, and sends it.
func (f *fakeProsody) write(say func(out *bufio.Writer)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	say(f.out)
	_ = f.out.Flush() // a component that has gone is seen by serve
}

// fakeQuestion is a stanza of usher's.
type fakeQuestion struct {
	From  string `xml:"from,attr"`
	To    string `xml:"to,attr"`
	Type  string `xml:"type,attr"`
	ID    string `xml:"id,attr"`
	Admin *struct {
		Item struct {
			Role        string `xml:"role,attr"`
			Affiliation string `xml:"affiliation,attr"`
		} `xml:"item"`
	} `xml:"http://jabber.org/protocol/muc#admin query"`
	Jibri *struct {
		Action string `xml:"action,attr"`
	} `xml:"http://jitsi.org/protocol/jibri jibri"`
	Info  *struct{} `xml:"http://jabber.org/protocol/disco#info query"`
	Items *struct{} `xml:"http://jabber.org/protocol/disco#items query"`
}

// answer says what Prosody says to a stanza of that kind.
func (f *fakeProsody) answer(out *bufio.Writer, kind string, q *fakeQuestion) {
	name, _, _ := strings.Cut(q.To, "@")
	room := f.rooms[name]
	switch kind {
	case "handshake":
		_, _ = out.WriteString("<handshake/>")
	case "presence":
		f.answerPresence(out, room, q)
	case "iq":
		f.answerIQ(out, room, q)
	}
}

func (f *fakeProsody) answerPresence(out *bufio.Writer, room *fakeRoom, q *fakeQuestion) {
	switch {
	case q.Type == "unavailable":
		if room != nil {
			room.occupant = ""
		}
		fmt.Fprintf(out, "<presence from='%s' to='%s' type='unavailable'>"+
			"<x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x></presence>", q.To, q.From)
	case room == nil && f.pool != nil:
		f.pool.enter(out, q)
	case room == nil:
		fmt.Fprintf(out, "<presence type='error' from='%s' to='%s'><error type='cancel'>"+
			"<not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>", q.To, q.From)
	default:
		fmt.Fprintf(out, "<presence from='%s/focus' to='%s'><x xmlns='http://jabber.org/protocol/muc#user'>"+
			"<item affiliation='owner' role='moderator' jid='%s/focus'/></x></presence>", room.address, q.From, stack.Focus.JID())
		for _, p := range room.people {
			p.write(out, room)
		}
		room.occupant = q.To
		room.presentSelf(out)
	}
}

func (f *fakeProsody) answerIQ(out *bufio.Writer, room *fakeRoom, q *fakeQuestion) {
	switch {
	case q.Jibri != nil:
		f.pool.command(out, room, q)
	case room != nil && q.Admin != nil && q.Admin.Item.Affiliation != "":
		room.affiliation = q.Admin.Item.Affiliation
		q.result(out, "")
		room.presentSelf(out)
	case q.To == stack.MUCDomain:
		q.result(out, mucDomainAnswer(q))
	case q.To == stack.Focus.JID()+"/focus":
		q.result(out, "") // to usher's ping
	case room == nil && strings.Contains(q.To, "@") && f.pool == nil:
		fmt.Fprintf(out, "<iq type='error' from='%s' to='%s' id='%s'><error type='cancel'>"+
			"<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", q.To, q.From, q.ID)
	case q.Type == "get" || q.Type == "set":
		fmt.Fprintf(out, "<iq type='result' from='%s' to='%s' id='%s'>", q.To, q.From, q.ID)
		if q.Admin != nil && q.Type == "get" {
			room.list(out, q.Admin.Item.Role)
		}
		_, _ = out.WriteString("</iq>")
	}
}

// presentSelf says usher's own presence, if it is in (XEP-0045 §7.2.2, §10.3).
func (r *fakeRoom) presentSelf(out *bufio.Writer) {
	role := "participant"
	if r.affiliation == "owner" {
		role = "moderator"
	}
	if r.occupant != "" {
		fmt.Fprintf(out, "<presence from='%s' to='"+usherAddress+"'><x xmlns='http://jabber.org/protocol/muc#user'>"+
			"<item affiliation='%s' role='%s' jid='"+usherAddress+"'/><status code='110'/></x></presence>", r.occupant, r.affiliation, role)
	}
}

// mucDomainAnswer is what usher asks the rooms' domain before it is ready: that it has
// rooms (XEP-0045 §6.1), and a command that Prosody lists for its administrators alone.
func mucDomainAnswer(q *fakeQuestion) string {
	switch {
	case q.Info != nil:
		return "<query xmlns='http://jabber.org/protocol/disco#info'><identity category='conference' type='text'/></query>"
	case q.Items != nil:
		return "<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'>" +
			"<item jid='" + stack.MUCDomain + "' node='http://prosody.im/protocol/muc#destroy'/></query>"
	}
	return ""
}

// result answers a question.
func (q *fakeQuestion) result(out *bufio.Writer, payload string) {
	fmt.Fprintf(out, "<iq type='result' from='%s' to='%s' id='%s'>%s</iq>", q.To, q.From, q.ID, payload)
}

// list writes who has the role (XEP-0045 §9.7).
func (r *fakeRoom) list(out *bufio.Writer, role string) {
	_, _ = out.WriteString("<query xmlns='http://jabber.org/protocol/muc#admin'>")
	if role == "moderator" {
		fmt.Fprintf(out, "<item role='moderator' nick='focus' jid='%s/focus'/>", stack.Focus.JID())
	}
	for _, p := range r.people {
		if p.role() == role {
			fmt.Fprintf(out, "<item role='%s' nick='%s' jid='%s'/>", role, p.nick, p.jid())
		}
	}
	_, _ = out.WriteString("</query>")
}

func (p *fakePerson) jid() string {
	return fmt.Sprintf("%s-94eb-4aef-a077-a481466a023c@%s/-6iEZkJVIOgF", p.nick, stack.Domain)
}

func (p *fakePerson) role() string {
	if p.number%10 == 0 {
		return "moderator"
	}
	return "participant"
}

// codecLists are what web clients say about their codecs, which is nothing
// that usher reads.
var codecLists = [2]string{"av1,vp9,vp8,h264", "vp9,vp8,h264,av1"}

// write says the person's presence: a web client's, with the identity that a
// site with tokens adds.
func (p *fakePerson) write(out *bufio.Writer, room *fakeRoom) {
	hand := ""
	if p.hand > 0 {
		hand = "<jitsi_participant_raisedHand>" + strconv.FormatInt(p.hand, 10) + "</jitsi_participant_raisedHand>"
	}
	fmt.Fprintf(out, "<presence from='%[1]s/%[2]s' xmlns='jabber:component:accept' to='"+usherAddress+"' xml:lang='en'>"+
		"<stats-id>Ignatius-eyO</stats-id>"+
		"<c hash='sha-1' xmlns='http://jabber.org/protocol/caps' node='https://jitsi.org/jitsi-meet' ver='dtzK/3xhISaXUMVg59IpXxdvKyQ='/>"+
		"<jitsi_participant_region>eu-central-1</jitsi_participant_region>"+
		"<jitsi_participant_codecList>%[3]s</jitsi_participant_codecList>"+
		"<nick xmlns='http://jabber.org/protocol/nick'>Person %[4]d</nick>"+
		"<SourceInfo>{&quot;%[2]s-a0&quot;:{&quot;muted&quot;:%[5]t},&quot;%[2]s-v0&quot;:{&quot;muted&quot;:false,&quot;videoType&quot;:&quot;camera&quot;}}</SourceInfo>%[6]s"+
		"<identity><user><avatar>https://avatars.meet.jitsi/people/u-%[4]d/picture-of-medium-size.png</avatar>"+
		"<name>Person %[4]d</name><email>person-%[4]d@people.meet.jitsi</email><id>u-%[4]d</id></user></identity>"+
		"<occupant-id xmlns='urn:xmpp:occupant-id:0' id='ciBt4HfQR6EUrkYARlu6ifoxqOMOJ5rFQKSD7SsdySk='/>"+
		"<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='%[7]s' jid='%[8]s'/></x></presence>",
		room.address, p.nick, p.codecs, p.number, p.muted, hand, p.role(), p.jid())
}

// leave says that the person is gone.
func (p *fakePerson) leave(out *bufio.Writer, room *fakeRoom) {
	fmt.Fprintf(out, "<presence from='%s/%s' xmlns='jabber:component:accept' to='"+usherAddress+"' type='unavailable' xml:lang='en'>"+
		"<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='none' jid='%s'/></x></presence>",
		room.address, p.nick, p.jid())
}
