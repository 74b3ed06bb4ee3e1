package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"mellium.im/sasl"

	"usher/component"
	"usher/internal/stack"
	"usher/meeting"
)

// TestHostilePeople proves that well-formed stanzas, however odd or false,
// never end usher's stream, that claims which are not theirs to make are not
// believed but counted, and that everybody still counts as one human.
func TestHostilePeople(t *testing.T) {
	s := newScene(t)
	s.enter(s.person("Ada", "u-ada"))
	c := s.dialRaw()
	room := s.room + "@" + stack.MUCDomain
	hostile := []struct{ from, nick, children string }{
		// U+0640 is a letter that XMPP addresses must not hold (RFC 7622), but
		// Prosody lets it through and mellium's parser does not.
		{stack.CrowdDomain + "/web", "\u0640", ""},
		{"u1@" + stack.CrowdDomain + "/\u0640", "resource", ""},
		{"u2@" + stack.CrowdDomain + "/web", "large", "<large>" + strings.Repeat("x", 490<<10) + "</large>"},
		{"u3@" + stack.CrowdDomain + "/web", "longname", "<nick xmlns='http://jabber.org/protocol/nick'>" + strings.Repeat("\u00e9", 100<<10) + "</nick>"},
		{"u4@" + stack.CrowdDomain + "/web", "unknown", "<wild xmlns='urn:example:wild'><wilder/></wild><SourceInfo>{not JSON</SourceInfo><jitsi_participant_raisedHand>soon</jitsi_participant_raisedHand>"},
		{"u5@" + stack.CrowdDomain + "/web", "deep", strings.Repeat("<a>", 50) + strings.Repeat("</a>", 50)},
		{"u6@" + stack.CrowdDomain + "/web", "recorder", "<features><feature var='http://jitsi.org/protocol/jibri'/></features>"},
		{"u7@" + stack.CrowdDomain + "/web", "status", "<jibri-recording-status xmlns='http://jitsi.org/protocol/jibri' status='on' recording_mode='file'/>"},
		{"focus@" + stack.CrowdDomain + "/focus", "focus2", "<x xmlns='http://jabber.org/protocol/muc#user'><item jid='focus@auth.meet.jitsi/focus' role='moderator'/><status code='110'/><status code='307'/></x>"},
	}
	for _, h := range hostile {
		c.send("<presence from='%s' to='%s/%s'><x xmlns='http://jabber.org/protocol/muc'/>%s</presence>", h.from, room, h.nick, h.children)
	}
	s.counts(1 + len(hostile))

	// The server takes out who a client claims to be.
	forger := s.login(stack.Domain)
	must(t, forger.Send(within(t), "presence", room+"/forger", "", element("http://jabber.org/protocol/muc", "x", ""),
		element("", "identity", "<user><id>u-ada</id><name>Ada</name></user>")))
	s.counts(2 + len(hostile))
	// And the room keeps the focus's nick for the focus.
	must(t, forger.Send(within(t), "presence", room+"/focus", ""))

	for _, h := range hostile {
		c.send("<presence from='%s' to='%s/%s' type='unavailable'/>", h.from, room, h.nick)
	}
	s.counts(2)
	must(t, forger.Send(within(t), "presence", room+"/forger", "unavailable"))
	s.counts(1)
	if n := s.metric("usher_xmpp_disconnects_total"); n != 0 {
		t.Errorf("%v streams have ended, want none", n)
	}
	if n := s.metric(`usher_untrusted_presence_total{kind="feature"}`); n == 0 {
		t.Error("a guest's claim to be a recorder was not counted")
	}
	if n := s.metric("usher_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
	for _, n := range s.events() {
		if p := n.Data.Participant; p != nil && len(p.Name) > 256 {
			t.Errorf("a name of %d bytes was recorded", len(p.Name))
		}
	}
	s.waitReady("")
}

// TestIdentityIsBelievedOnlyOfAServerThatVouches proves that without the
// switch nobody becomes somebody else by saying so.
func TestIdentityIsBelievedOnlyOfAServerThatVouches(t *testing.T) {
	s := newScene(t, "--trust-identity=false")
	s.enter(s.person("Ada", "u-ada"))
	c := s.dialRaw()
	c.send("<presence from='u1@%s/web' to='%s@%s/forger'><x xmlns='http://jabber.org/protocol/muc'/>"+
		"<identity><user><id>u-ada</id></user></identity></presence>", stack.CrowdDomain, s.room, stack.MUCDomain)
	s.counts(2)
	if n := s.metric(`usher_untrusted_presence_total{kind="identity"}`); n < 2 {
		t.Errorf("%v claims counted, want both", n)
	}
}

// TestGuestsCannotPoseAsSomebody proves that <identity> counts only from hosts
// that the settings name: whoever comes by another one, where no module takes
// away what clients claim, is a person of their own, under the name that they
// give themselves, and changes nothing about the one they claim to be.
func TestGuestsCannotPoseAsSomebody(t *testing.T) {
	s := newScene(t)
	zoe := s.person("Zoe", "u-7")
	s.enter(zoe)
	room := s.room + "@" + stack.MUCDomain
	const claim = "<user><id>u-7</id><name>Zoe</name><email>zoe@example.org</email></user>"
	join := []any{
		element("http://jabber.org/protocol/muc", "x", ""),
		element("http://jabber.org/protocol/nick", "nick", "Somebody"),
		element("", "identity", claim),
	}
	guest := s.login(stack.GuestDomain)
	must(t, guest.Send(within(t), "presence", room+"/1a2b3c4d", "", join...))
	s.counts(2)
	// A component's users pass no module of any host.
	c := s.dialRaw()
	c.send("<presence from='u1@%s/web' to='%s/forger'><x xmlns='http://jabber.org/protocol/muc'/>"+
		"<nick xmlns='http://jabber.org/protocol/nick'>Nobody</nick><identity>%s</identity></presence>", stack.CrowdDomain, room, claim)
	s.counts(3)
	if n := s.metric(`usher_untrusted_presence_total{kind="identity"}`); n < 2 {
		t.Errorf("%v claims counted, want both", n)
	}
	var people struct{ Data []meeting.ParticipantInfo }
	must(t, s.call(t.Context(), "GET", "/v1/meetings/"+s.id+"/participants", nil, &people))
	var got []string
	for _, p := range people.Data {
		if p.Kind == meeting.KindHuman {
			got = append(got, fmt.Sprintf("%s user=%q email=%q connections=%d", p.Name, p.UserID, p.Email, p.Connections))
		}
	}
	slices.Sort(got)
	if want := []string{
		`Nobody user="" email="" connections=1`, `Somebody user="" email="" connections=1`, `Zoe user="u-7" email="" connections=1`,
	}; !slices.Equal(got, want) {
		t.Errorf("participants are %q, want %q", got, want)
	}
	must(t, zoe.Leave(within(t)))
	s.counts(2)
	s.tells("session.started", "joined Zoe", "joined Somebody", "joined Nobody", "left Zoe left")
}

// TestIdentityOfAnotherHostIsBelievedWhenSet proves that a site may name further
// hosts that load the module.
func TestIdentityOfAnotherHostIsBelievedWhenSet(t *testing.T) {
	s := newScene(t, "--identity-domain="+strings.ToUpper(stack.GuestDomain))
	s.enter(s.person("Zoe", "u-7"))
	guest := s.login(stack.GuestDomain)
	must(t, guest.Send(within(t), "presence", s.room+"@"+stack.MUCDomain+"/1a2b3c4d", "",
		element("http://jabber.org/protocol/muc", "x", ""), element("", "identity", "<user><id>u-8</id><name>Yan</name></user>")))
	s.counts(2)
	s.tells("session.started", "joined Zoe", "joined Yan")
}

// raw is a component stream (XEP-0114) that sends whatever it is told to.
type raw struct {
	t    testing.TB
	conn net.Conn
}

// dialRaw connects as the crowd's component, whose users may say anything.
func (s *scene) dialRaw() *raw {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.prosody.ComponentAddr)
	must(s.t, err)
	c := &raw{s.t, conn}
	c.send("<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='%s'>", stack.CrowdDomain)
	in := bufio.NewReader(conn)
	var id string
	for id == "" {
		tag, err := in.ReadString('>')
		must(s.t, err)
		if _, rest, ok := strings.Cut(tag, " id='"); ok {
			id, _, _ = strings.Cut(rest, "'")
		}
	}
	sum := sha1.Sum([]byte(id + stack.CrowdSecret))
	c.send("<handshake>%s</handshake>", hex.EncodeToString(sum[:]))
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(io.Discard, in) })
	s.t.Cleanup(func() {
		_ = conn.Close()
		reading.Wait()
	})
	return c
}

func (c *raw) send(format string, args ...any) {
	c.t.Helper()
	_, err := fmt.Fprintf(c.conn, format, args...)
	must(c.t, err)
}

// login logs in on the host as a guest who sends whatever it is told to.
func (s *scene) login(host string) *component.Sender {
	s.t.Helper()
	up := make(chan struct{}, 1)
	link, err := component.NewClient(component.ClientConfig{
		Addr: s.prosody.ClientAddr, CAFile: s.prosody.CAFile,
		JID: host, ServerName: stack.Domain, Mechanisms: []sasl.Mechanism{sasl.Anonymous},
		Options: component.Options{Handler: component.Handler{Up: func(string) { up <- struct{}{} }}},
	})
	must(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = link.Run(ctx) })
	s.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	select {
	case <-up:
	case <-within(s.t).Done():
		s.t.Fatal("no login")
	}
	return link.As("")
}

func element(space, local, inner string) any {
	return struct {
		XMLName xml.Name
		Inner   string `xml:",innerxml"`
	}{xml.Name{Space: space, Local: local}, inner}
}
