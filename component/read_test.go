package component

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// inputConn is a connection that says input and swallows what it is told.
type inputConn struct {
	net.Conn
	input io.Reader
}

func (c inputConn) Read(p []byte) (int, error)       { return c.input.Read(p) }
func (c inputConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c inputConn) Close() error                     { return nil }
func (c inputConn) SetWriteDeadline(time.Time) error { return nil }

// readAll runs the read loop over input and returns why it ended.
func readAll(tb testing.TB, h Handler, input io.Reader) error {
	tb.Helper()
	l, err := NewComponent(ComponentConfig{Addr: "x:1", Domain: "usher.test", Secret: "s", Options: Options{Handler: h}})
	if err != nil {
		tb.Fatal(err)
	}
	s := newStream(l, newConn(inputConn{input: input}), "usher.test")
	ctx, cancel := context.WithCancel(context.Background())
	written := make(chan struct{})
	go func() { defer close(written); s.write(ctx) }()
	err = s.read()
	s.fail(err)
	cancel()
	<-written
	return err
}

// Whatever the bytes, reading ends with them, without a panic, and a stanza is
// handed over only whole within its own bounds.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"",
		"<presence from='a@b/c'><x xmlns='http://jabber.org/protocol/muc#user'><item role='none'/></x></presence>",
		"<iq type='get' id='1' from='a@b'><query xmlns='http://jabber.org/protocol/disco#info'/></iq> <message/>",
		"<iq type='result' id='1' from='a@b'/><iq type='set'><a:b/></iq>",
		"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text>x</text></stream:error>",
		"<a><b><c></c></b>", "</stream:stream>", "<!DOCTYPE x>", "<?xml version='1.0' encoding='latin1'?>", "<a xmlns:a='b' a:a='\u0640'>&#0;",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		type anything struct {
			From string `xml:"from,attr"`
			N    int    `xml:"n,attr"`
			Any  []struct {
				XMLName xml.Name
				Inner   []anyChild `xml:",any"`
			} `xml:",any"`
		}
		handle := func(d *xml.Decoder, start xml.StartElement) {
			if start.Name.Local != "presence" && start.Name.Local != "message" {
				t.Errorf("handed over %v", start.Name)
			}
			var v anything
			d.DecodeElement(&v, &start)
		}
		h := Handler{Presence: handle, Message: handle}
		if err := readAll(t, h, strings.NewReader(input)); err == nil {
			t.Error("reading ended without an error")
		}
	})
}

type anyChild struct {
	XMLName xml.Name
	Text    string `xml:",chardata"`
}

// A presence as Jitsi's web client sends it takes this long from bytes to the
// decoded value.
func BenchmarkReadPresence(b *testing.B) {
	const one = `<presence xmlns='jabber:client' from='room@muc.meet.jitsi/a1b2c3d4' to='usher@hidden.meet.jitsi/usher'>` +
		`<stats-id>Ada-x1Y</stats-id><c hash='sha-1' node='https://jitsi.org/jitsi-meet' ver='8B3ZyoHm1e0bL8s8dI8JTy1X2Yc=' xmlns='http://jabber.org/protocol/caps'/>` +
		`<SourceInfo>{&quot;a1b2c3d4-a0&quot;:{&quot;muted&quot;:true},&quot;a1b2c3d4-v0&quot;:{&quot;muted&quot;:true}}</SourceInfo>` +
		`<jitsi_participant_region>eu</jitsi_participant_region><jitsi_participant_codecList>av1,vp9,vp8</jitsi_participant_codecList>` +
		`<nick xmlns='http://jabber.org/protocol/nick'>Ada Lovelace</nick><jitsi_participant_raisedHand/>` +
		`<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant' jid='q8s7@meet.jitsi/web-a1'/></x></presence>`
	type presence struct {
		From string `xml:"from,attr"`
		Nick string `xml:"http://jabber.org/protocol/nick nick"`
		Item struct {
			JID  string `xml:"jid,attr"`
			Role string `xml:"role,attr"`
		} `xml:"http://jabber.org/protocol/muc#user x>item"`
	}
	n := 0
	h := Handler{Presence: func(d *xml.Decoder, start xml.StartElement) {
		var p presence
		if err := d.DecodeElement(&p, &start); err != nil || p.Item.Role != "participant" {
			b.Errorf("decoded %+v, %v", p, err)
		}
		n++
	}}
	input := bytes.Repeat([]byte(one), b.N)
	b.SetBytes(int64(len(one)))
	b.ReportAllocs()
	b.ResetTimer()
	readAll(b, h, bytes.NewReader(input))
	if n != b.N {
		b.Fatalf("read %d of %d", n, b.N)
	}
}
