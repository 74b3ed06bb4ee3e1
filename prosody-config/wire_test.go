package prosodyconfig_test

import (
	"bufio"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"usher/internal/stack"
)

// The tests speak XMPP by hand, so that what they say and hear is in plain
// sight, and independent of the library that the program uses.

// patience bounds one wait for the server.
const patience = 20 * time.Second

// element is any XML element.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Children []element  `xml:",any"`
	Text     string     `xml:",chardata"`
	Inner    string     `xml:",innerxml"`
}

func (e element) attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// find returns the first descendant on the path of local names, or an empty
// element.
func (e element) find(path ...string) element {
	for _, name := range path {
		next := element{}
		for _, child := range e.Children {
			if child.XMLName.Local == name {
				next = child
				break
			}
		}
		e = next
	}
	return e
}

// stream is one XMPP stream.
type stream struct {
	t    testing.TB
	conn net.Conn
	dec  *xml.Decoder
	jid  string
}

func dial(t testing.TB, addr string) *stream {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{t: t, conn: conn}
	t.Cleanup(func() { _ = s.conn.Close() })
	return s
}

func (s *stream) send(format string, args ...any) {
	s.t.Helper()
	if _, err := fmt.Fprintf(s.conn, format, args...); err != nil {
		s.t.Fatal(err)
	}
}

// open sends a stream header and returns the one that answers it.
func (s *stream) open(namespace, domain string) xml.StartElement {
	s.t.Helper()
	s.send("<?xml version='1.0'?><stream:stream xmlns='%s' xmlns:stream='http://etherx.jabber.org/streams' to='%s' version='1.0'>", namespace, domain)
	_ = s.conn.SetReadDeadline(time.Now().Add(patience))
	s.dec = xml.NewDecoder(s.conn)
	for {
		token, err := s.dec.Token()
		if err != nil {
			s.t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok {
			return start
		}
	}
}

// next returns the first element from now on that has the name and that match,
// if given, accepts.
func (s *stream) next(name string, match func(element) bool) element {
	s.t.Helper()
	_ = s.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		var e element
		if err := s.dec.Decode(&e); err != nil {
			s.t.Fatalf("while waiting for <%s>: %v", name, err)
		}
		if e.XMLName.Local == name && (match == nil || match(e)) {
			return e
		}
	}
}

// request sends an IQ and returns its answer.
func (s *stream) request(kind, from, to, payload string) element {
	s.t.Helper()
	s.send("<iq type='%s' id='q' from='%s' to='%s'>%s</iq>", kind, from, to, payload)
	return s.next("iq", func(e element) bool { return e.attr("id") == "q" })
}

// silent fails the test if anything has come that match accepts before the
// server answers a ping sent now.
func (s *stream) silent(from string, match func(element) bool) {
	s.t.Helper()
	s.send("<iq type='get' id='barrier' from='%s' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>", from, stack.AuthDomain)
	_ = s.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		var e element
		if err := s.dec.Decode(&e); err != nil {
			s.t.Fatal(err)
		}
		if match(e) {
			s.t.Errorf("unexpected <%s from=%q>%s", e.XMLName.Local, e.attr("from"), e.Inner)
		}
		if e.attr("id") == "barrier" {
			return
		}
	}
}

// component connects as an external component (XEP-0114).
func component(t testing.TB, p *stack.Prosody, domain, secret string) *stream {
	t.Helper()
	s := handshake(t, p, domain, secret)
	s.next("handshake", nil)
	return s
}

// handshake sends a component's proof and leaves the answer to the caller.
func handshake(t testing.TB, p *stack.Prosody, domain, secret string) *stream {
	t.Helper()
	s := dial(t, p.ComponentAddr)
	header := s.open("jabber:component:accept", domain)
	id := element{Attrs: header.Attr}.attr("id")
	sum := sha1.Sum([]byte(id + secret))
	s.send("<handshake>%s</handshake>", hex.EncodeToString(sum[:]))
	return s
}

// account logs in over StartTLS, trusting the site's authority, by SASL PLAIN.
func account(t testing.TB, p *stack.Prosody, a stack.Account, certificateName string) *stream {
	t.Helper()
	s := dial(t, p.ClientAddr)
	s.open("jabber:client", a.Domain)
	features := s.next("features", nil)
	if offered := features.find("mechanisms"); offered.XMLName.Local != "" {
		t.Errorf("%s offers SASL without encryption", a.Domain)
	}
	s.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	s.next("proceed", nil)
	authority, err := os.ReadFile(p.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	s.conn = tls.Client(s.conn, &tls.Config{RootCAs: roots, ServerName: certificateName})
	s.open("jabber:client", a.Domain)
	s.next("features", nil)
	s.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>",
		base64.StdEncoding.EncodeToString([]byte("\x00"+a.User+"\x00"+a.Password)))
	s.next("success", nil)
	s.bind(a.Domain)
	return s
}

// person logs in anonymously; initial is the initial response of ANONYMOUS.
func person(t testing.TB, p *stack.Prosody, initial string) *stream {
	t.Helper()
	s := anonymous(t, p, stack.Domain, initial)
	s.next("success", nil)
	s.bind(stack.Domain)
	return s
}

// guestPerson logs in on the guest host.
func guestPerson(t testing.TB, p *stack.Prosody) *stream {
	t.Helper()
	s := anonymous(t, p, stack.GuestDomain, "")
	s.next("success", nil)
	s.bind(stack.GuestDomain)
	return s
}

// anonymous sends SASL ANONYMOUS and leaves the answer to the caller.
func anonymous(t testing.TB, p *stack.Prosody, domain, initial string) *stream {
	t.Helper()
	s := dial(t, p.ClientAddr)
	s.open("jabber:client", domain)
	s.next("features", nil)
	s.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'>%s</auth>",
		base64.StdEncoding.EncodeToString([]byte(initial)))
	return s
}

func (s *stream) bind(domain string) {
	s.t.Helper()
	s.open("jabber:client", domain)
	s.next("features", nil)
	s.bindResource()
}

func (s *stream) bindResource() {
	s.t.Helper()
	s.send("<iq type='set' id='bind' xmlns='jabber:client'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	s.jid = s.next("iq", nil).find("bind", "jid").Text
	if s.jid == "" {
		s.t.Fatal("no JID was bound")
	}
}

// webPerson logs in over a websocket (RFC 7395), as web clients do, with the
// token in the URL.
func webPerson(t testing.TB, p *stack.Prosody, token string) *stream {
	t.Helper()
	s := dial(t, p.HTTPAddr)
	fmt.Fprintf(s.conn, "GET /xmpp-websocket?token=%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n", token, stack.Domain)
	buffered := bufio.NewReader(s.conn)
	resp, err := http.ReadResponse(buffered, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("websocket upgrade answered %s", resp.Status)
	}
	ws := &webSocket{Conn: s.conn, r: buffered}
	s.conn, s.dec = ws, xml.NewDecoder(ws)
	open := "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='" + stack.Domain + "' version='1.0'/>"
	s.send("%s", open)
	s.next("features", nil)
	s.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>")
	s.next("success", nil)
	s.send("%s", open)
	s.next("features", nil)
	s.bindResource()
	return s
}

// webSocket is just enough of RFC 6455 for short messages: one text frame per
// Write, and the payloads of incoming frames as one run of bytes.
type webSocket struct {
	net.Conn
	r    *bufio.Reader
	left int // of the frame being read
}

func (w *webSocket) Write(p []byte) (int, error) {
	const finalText, masked = 0x81, 0x80
	frame := []byte{finalText, masked | 126}
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(p)))
	frame = append(frame, 0, 0, 0, 0) // a mask of zeros changes nothing
	if _, err := w.Conn.Write(append(frame, p...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *webSocket) Read(p []byte) (int, error) {
	for w.left == 0 {
		var head [2]byte
		if _, err := io.ReadFull(w.r, head[:]); err != nil {
			return 0, err
		}
		w.left = int(head[1])
		if w.left == 126 {
			var length [2]byte
			if _, err := io.ReadFull(w.r, length[:]); err != nil {
				return 0, err
			}
			w.left = int(binary.BigEndian.Uint16(length[:]))
		}
	}
	n, err := w.r.Read(p[:min(len(p), w.left)])
	w.left -= n
	return n, err
}

// join enters room and returns the self-presence (status 110).
func (s *stream) join(from, room, nick, extra string) element {
	s.t.Helper()
	s.sendJoin(from, room, nick, extra)
	return s.next("presence", isSelf)
}

func (s *stream) sendJoin(from, room, nick, extra string) {
	s.t.Helper()
	s.send("<presence from='%s' to='%s@%s/%s' xmlns='jabber:%s'><x xmlns='http://jabber.org/protocol/muc'/>%s</presence>",
		from, room, stack.MUCDomain, nick, s.namespace(), extra)
}

// namespace is client unless the stream is a component's.
func (s *stream) namespace() string {
	if s.jid == "" {
		return "component:accept"
	}
	return "client"
}

func isSelf(e element) bool { return strings.Contains(e.Inner, `code='110'`) }
