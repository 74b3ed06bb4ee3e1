package component_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/component"
)

// What the wire may say without ending the stream: nicks and resources that no
// JID parser takes, large and strange stanzas, elements that belong to the
// stream level where a participant has put them.
func TestWellFormedStanzasKeepTheStream(t *testing.T) {
	tests := []struct{ name, xml string }{
		{"nick that is no resource", "<presence from='room@muc.test/\u0640' to='bot@usher.test/x'/>"},
		{"real JID that is no JID", "<presence from='room@muc.test/a' to='bot@usher.test/x'><x xmlns='http://jabber.org/protocol/muc#user'><item jid='a@b.test/\u0640' role='boss'/></x></presence>"},
		{"sender that is no JID", "<presence from='notice//' to='bot@usher.test/x'/>"},
		{"no sender", "<presence to='bot@usher.test/x'/>"},
		{"presence of the bare room", "<presence from='room@muc.test' to='bot@usher.test/x'><show>dnd</show></presence>"},
		{"large", "<presence from='room@muc.test/a' to='bot@usher.test/x'><status>" + strings.Repeat("x", 500_000) + "</status></presence>"},
		{"as deep as allowed", "<presence from='room@muc.test/a' to='bot@usher.test/x'>" + strings.Repeat("<a>", component.MaxDepth-1) + strings.Repeat("</a>", component.MaxDepth-1) + "</presence>"},
		{"unknown children", "<presence from='room@muc.test/a' to='bot@usher.test/x'><a/><b xmlns='urn:x'>t<c y:z='1' xmlns:y='urn:y'/></b>text</presence>"},
		{"prefix without a namespace", "<presence from='room@muc.test/a' to='bot@usher.test/x'><y:a y:b='c'/></presence>"},
		{"stream error inside", "<presence from='room@muc.test/a' to='bot@usher.test/x'><error xmlns='http://etherx.jabber.org/streams'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></error></presence>"},
		{"stream inside", "<message from='room@muc.test/a' to='bot@usher.test/x'><stream xmlns='http://etherx.jabber.org/streams'><features/></stream></message>"},
		{"client's namespace", "<presence xmlns='jabber:client' from='room@muc.test/a' to='bot@usher.test/x'/>"},
		{"presence of type error", "<presence type='error' from='room@muc.test/a' to='bot@usher.test/x'><error type='nonsense'/></presence>"},
		{"IQ without anything", "<iq/>"},
		{"IQ of an unknown type", "<iq type='push' from='a@b.test' to='usher.test' id='1'><x/></iq>"},
		{"IQ set with no payload", "<iq type='set' from='a@b.test' to='usher.test' id='1'/>"},
		{"IQ to an address outside", "<iq type='set' from='a@b.test' to='elsewhere.test' id='1'><x/></iq>"},
		{"answer to nothing", "<iq type='result' from='a@b.test' to='usher.test' id='1'><x/></iq>"},
		{"error without error", "<iq type='error' from='a@b.test' to='usher.test' id='1'/>"},
		{"unknown element", "<r xmlns='urn:xmpp:sm:3'/>"},
		{"unknown element of the stream", "<stream:features><x/></stream:features>"},
		{"whitespace", " \r\n\t "},
		{"CDATA and entities", "<message from='a@b.test' to='usher.test'><body><![CDATA[<&>]]>&#x1F600;&lt;</body></message>"},
	}
	// A decoder that trips over everything that can be tripped over, and leaves
	// the element in the middle.
	type clumsy struct {
		Show struct{} `xml:"show"`
		Item struct {
			Role int `xml:"role,attr"`
		} `xml:"http://jabber.org/protocol/muc#user x>item"`
	}
	handlers := map[string]func(d *xml.Decoder, start xml.StartElement){
		"nothing": func(*xml.Decoder, xml.StartElement) {},
		"one token": func(d *xml.Decoder, _ xml.StartElement) {
			d.Token()
		},
		"too much": func(d *xml.Decoder, _ xml.StartElement) {
			for range 10_000 {
				if _, err := d.Token(); err != nil {
					d.Token()
					return
				}
			}
		},
		"decode into what does not fit": func(d *xml.Decoder, start xml.StartElement) {
			var v clumsy
			d.DecodeElement(&v, &start)
		},
	}
	for reads, handle := range handlers {
		t.Run(reads, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := 0
				b := newBench(t, newServer(), func(c *component.ComponentConfig) {
					c.Handler.Presence = func(d *xml.Decoder, start xml.StartElement) {
						if !slices.Contains(start.Attr, xml.Attr{Name: xml.Name{Local: "id"}, Value: "after"}) {
							handle(d, start)
							return
						}
						var p struct {
							Status string `xml:"status"`
						}
						if err := d.DecodeElement(&p, &start); err == nil && p.Status == "still here" {
							told++
						}
					}
				})
				p := <-b.peers
				for i, tt := range tests {
					p.send(tt.xml)
					p.send("<presence from='a@b.test' to='usher.test' id='after'><status>still here</status></presence>")
					synctest.Wait()
					if got := len(b.dialled()); got != 1 {
						t.Fatalf("%s: the stream ended:\n%s", tt.name, b.log)
					}
					if told != i+1 {
						t.Fatalf("%s: the presence after it did not arrive whole", tt.name)
					}
				}
			})
		})
	}
}

func TestBadInputCostsOneReconnect(t *testing.T) {
	tests := []struct{ name, xml, reason string }{
		{"no XML", "\x00\x01\x02", "bad_xml"},
		{"wrong end", "<presence></message>", "bad_xml"},
		{"no UTF-8", "<presence from='\xff\xfe'/>", "bad_xml"},
		{"undefined entity", "<presence>&lol;</presence>", "bad_xml"},
		{"text between stanzas", "hello<presence/>", "bad_xml"},
		{"processing instruction", "<presence><?php evil?></presence>", "bad_xml"},
		{"comment", "<!-- hello -->", "bad_xml"},
		{"document type", "<!DOCTYPE x [<!ENTITY lol 'lol'>]>", "bad_xml"},
		{"too deep", strings.Repeat("<presence>", component.MaxDepth+1), "over_limit"},
		{"attribute too large", "<presence from='" + strings.Repeat("x", component.MaxStanzaIn) + "'/>", "over_limit"},
		{"stanza too large", "<presence>" + strings.Repeat("<status>x</status>", component.MaxStanzaIn/10) + "</presence>", "over_limit"},
		{"end of stream", "</stream:stream>", "closed"},
		{"stream error", "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "stream_error"},
		{"stream error that is none", "<stream:error/>", "stream_error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, newServer(), nil)
				(<-b.peers).send(tt.xml)
				<-b.peers
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := len(b.dialled()); got != 2 {
					t.Errorf("dials = %d, want 2", got)
				}
				if got := b.count(t, "usher_xmpp_disconnects_total", tt.reason); got != 1 {
					t.Errorf("disconnects counted as %s = %v, want 1:\n%s", tt.reason, got, b.log)
				}
			})
		})
	}
}

// A component of the server may send a message of any length: thousands of breakout
// rooms, say, to everybody each time that one changes. If that ended the stream, it
// would be the first thing that comes on the next one.
func TestLongMessageDoesNotEndTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		b := newBench(t, newServer(), func(c *component.ComponentConfig) {
			c.Handler.Message = func(d *xml.Decoder, start xml.StartElement) {
				var m struct {
					Body string `xml:"body"`
					Text string `xml:"text"`
				}
				if err := d.DecodeElement(&m, &start); err != nil {
					m.Text = err.Error()
				}
				got = append(got, fmt.Sprintf("%d %s", len(m.Body), m.Text))
			}
		})
		p := <-b.peers
		for _, length := range []int{3, component.MaxStanzaIn, component.MaxMessageIn / 2, component.MaxMessageIn, 3 * component.MaxMessageIn, 3} {
			p.send("<message from='a.test' to='usher.test'><body>" + strings.Repeat("x", length) + "</body><text>after</text></message>")
		}
		synctest.Wait()
		want := []string{"3 after", fmt.Sprint(component.MaxStanzaIn, " after"), fmt.Sprint(component.MaxMessageIn/2, " after"), "0 after", "0 after", "3 after"}
		if !slices.Equal(got, want) {
			t.Errorf("handed over %q, want %q: what is too long without its text", got, want)
		}
		if n := len(b.dialled()); n != 1 {
			t.Errorf("dials = %d, want the stream to go on:\n%.1000s", n, b.log)
		}
	})
}

// A stanza's sender is who the server says it is, in an attribute without a
// prefix; it passes those with one on as they came from whoever sent them.
func TestForgedAttributesAreTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type heard struct {
			From string `xml:"from,attr"`
			Type string `xml:"type,attr"`
		}
		got := make(chan heard, 1)
		b := newBench(t, newServer(), func(c *component.ComponentConfig) {
			c.Handler.Presence = func(d *xml.Decoder, start xml.StartElement) {
				var p heard
				if err := d.DecodeElement(&p, &start); err != nil {
					t.Error(err)
				}
				got <- p
			}
		})
		(<-b.peers).send("<presence xmlns:x='urn:x' from='room@muc.test/mallory' to='bot@usher.test/x' x:from='room@muc.test/alice' x:type='unavailable'/>")
		if p, want := <-got, (heard{From: "room@muc.test/mallory"}); p != want {
			t.Errorf("presence = %+v, want %+v", p, want)
		}
	})
}

func TestWhatMayBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newServer()
		f.closed.Store(true)
		b := newBench(t, f, nil)
		bot := b.link.As("bot@usher.test/x")
		ctx := t.Context()
		if err := bot.Send(ctx, "presence", "a@b.test", ""); !errors.Is(err, component.ErrDown) {
			t.Errorf("Send while down = %v, want ErrDown", err)
		}
		if err := bot.IQ(ctx, "a@b.test", "get", payload{}, nil); !errors.Is(err, component.ErrDown) {
			t.Errorf("IQ while down = %v, want ErrDown", err)
		}
		f.closed.Store(false)
		p := <-b.peers
		synctest.Wait()
		half := payload{Text: strings.Repeat("x", component.MaxStanzaOut/2)}
		if err := bot.Send(ctx, "message", "a@b.test", "", half, half); !errors.Is(err, component.ErrTooLarge) {
			t.Errorf("Send of too much = %v, want ErrTooLarge", err)
		}
		for name, err := range map[string]error{
			"no address":         bot.Send(ctx, "presence", "", ""),
			"no address, IQ":     bot.IQ(ctx, "", "get", payload{}, nil),
			"sender outside":     b.link.As("bot@other.test").Send(ctx, "presence", "a@b.test", ""),
			"no sender":          b.link.As("").Send(ctx, "presence", "a@b.test", ""),
			"sender of a prefix": b.link.As("usher.test.evil.test").Send(ctx, "presence", "a@b.test", ""),
			"IQ by Send":         bot.Send(ctx, "iq", "a@b.test", "get"),
			"IQ that answers":    bot.IQ(ctx, "a@b.test", "result", nil, nil),
			"no XML":             bot.Send(ctx, "message", "a@b.test", "", func() {}),
		} {
			if err == nil {
				t.Errorf("%s: sent", name)
			}
		}
		if err := bot.Send(ctx, "message", "a@b.test/'\"<>&\u0640", "chat", nil, payload{Text: "<&>"}, half); err != nil {
			t.Fatal(err)
		}
		got := <-p.in
		if got.From != "bot@usher.test/x" || got.To != "a@b.test/'\"<>&\u0640" || got.Type != "chat" || !strings.HasPrefix(got.Inner, `<payload xmlns="urn:test">&lt;&amp;&gt;</payload>`) {
			t.Errorf("arrived = %+v", got)
		}
		if n := len(p.in); n != 0 {
			t.Errorf("stanzas that should not have left = %d", n)
		}
	})
}

// A peer that asks without end and reads nothing ends with its stream, it does
// not hang the link.
func TestUnreadAnswersDoNotHangTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newServer(), nil)
		p := <-b.peers
		synctest.Wait()
		p.in = make(chan element)
		go func() {
			for range 2 * component.QueueLength {
				p.send("<iq type='get' from='a@b.test' to='usher.test' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
			}
		}()
		start := time.Now()
		<-b.peers
		if took, limit := time.Since(start), component.WriteTimeout+2*component.RetryMin+time.Second; took > limit {
			t.Errorf("reconnected after %v, want at most %v", took, limit)
		}
		// What the old stream had sent is read to its end, else its reader stays.
		for {
			synctest.Wait()
			select {
			case <-p.in:
			default:
				return
			}
		}
	})
}

// The fake must refuse what Prosody 13 refuses, or the tests above prove nothing.
func TestFakeServerEnforcesSenders(t *testing.T) {
	for _, from := range []string{"", "other.test", "bot@other.test/usher.test", "xusher.test"} {
		synctest.Test(t, func(t *testing.T) {
			f := newServer()
			conn, err := f.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(conn, "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='usher.test'>")
			said := make(chan string)
			go func() {
				var b bytes.Buffer
				b.ReadFrom(conn)
				said <- b.String()
			}()
			fmt.Fprintf(conn, "<handshake>%x</handshake>", sha1.Sum([]byte("fake-id"+fakeSecret)))
			<-f.peers
			fmt.Fprintf(conn, "<presence from='%s' to='a@b.test'/>", from)
			if got := <-said; !strings.Contains(got, "<invalid-from") {
				t.Errorf("sender %q: server said %s, want invalid-from", from, got)
			}
		})
	}
}

// No log line at any level and no error may hold a secret or what proves it.
func TestSecretsAreNotLogged(t *testing.T) {
	proof := func(b *syncBuffer, where string, secrets ...string) {
		t.Helper()
		for _, s := range append(secrets, "<handshake", "<auth ", "urn:ietf:params:xml:ns:xmpp-sasl") {
			if strings.Contains(b.String(), s) {
				t.Errorf("%s: %q is in the log:\n%s", where, s, b)
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		digest := fmt.Sprintf("%x", sha1.Sum([]byte("fake-id"+fakeSecret)))
		for _, refuse := range []string{"", "not-authorized", "host-unknown"} {
			f := newServer()
			f.refuse = refuse
			b := newBench(t, f, func(c *component.ComponentConfig) { c.LogXML = true })
			time.Sleep(time.Minute)
			_, _, err := b.link.Status()
			fmt.Fprint(b.log, err)
			b.stop()
			proof(b.log, "component, "+refuse, fakeSecret, digest)
			if refuse == "" && !strings.Contains(b.log.String(), "urn:xmpp:ping") {
				t.Errorf("stanzas are not in the log:\n%s", b.log)
			}
		}
	})

	p := startProsody(t)
	for _, password := range []string{"login-secret", "wrong-secret"} {
		log := &syncBuffer{}
		l := must(t, component.NewClient, component.ClientConfig{
			Addr: p.c2s, JID: "usher@hidden.test/usher", Password: password, CAFile: p.certFile, ServerName: "meet.test",
			Options: component.Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), LogXML: true},
		})
		fmt.Fprint(log, outcome(t, l))
		proof(log, "client", password)
	}
}
