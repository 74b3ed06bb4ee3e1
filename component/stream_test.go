package component_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/disco"
	"mellium.im/xmpp/stanza"

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
		for _, length := range []int{3, component.MaxStanzaIn / 2, component.MaxStanzaIn, 5 * component.MaxStanzaIn, 3} {
			p.send("<message from='a.test' to='usher.test'><body>" + strings.Repeat("x", length) + "</body><text>after</text></message>")
		}
		synctest.Wait()
		want := []string{"3 after", fmt.Sprintf("%d after", component.MaxStanzaIn/2), "0 after", "0 after", "3 after"}
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

func TestAnswersCountOnlyFromTheAddressee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newServer(), nil)
		p := <-b.peers
		synctest.Wait()
		type result struct {
			got payload
			err error
		}
		results := make(chan result, 1)
		go func() {
			var r result
			r.err = b.link.As("ctl@usher.test").IQ(t.Context(), "room@muc.test/focus", "get", payload{Text: "ask"}, &r.got)
			results <- r
		}()
		req := <-p.in
		if req.From != "ctl@usher.test" || req.To != "room@muc.test/focus" || req.Type != "get" {
			t.Errorf("request = %+v", req)
		}
		answer := func(from, typ, inner string) {
			p.send(fmt.Sprintf("<iq type='%s' from='%s' to='ctl@usher.test' id='%s'>%s</iq>", typ, from, req.ID, inner))
			synctest.Wait()
		}
		for _, from := range []string{"", "usher.test", "room@muc.test", "room@muc.test/other", "room@muc.test/Focus", "evil@b.test/focus"} {
			answer(from, "result", "<payload xmlns='urn:test'>forged</payload>")
			answer(from, "error", "<error type='cancel'/>")
		}
		answer("Room@MUC.test/focus", "result", "\n<payload xmlns='urn:test'>true &amp; whole</payload>")
		r := <-results
		if r.err != nil || r.got.Text != "true & whole" {
			t.Errorf("IQ = %q, %v, want the addressee's answer", r.got.Text, r.err)
		}
		answer("room@muc.test/focus", "result", "") // once more, to nobody
		if got := len(b.dialled()); got != 1 {
			t.Errorf("dials = %d, want 1", got)
		}
	})
}

func TestErrorAnswersAreReadLeniently(t *testing.T) {
	tests := []struct {
		name, inner string
		want        stanza.Error
	}{
		{"as it should be", "<payload xmlns='urn:test'/><error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no</text></error>",
			stanza.Error{Type: stanza.Auth, Condition: stanza.Forbidden, Text: map[string]string{"": "no"}}},
		{"client's namespace", "<error xmlns='jabber:client' type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
			stanza.Error{Type: stanza.Cancel, Condition: stanza.ItemNotFound}},
		{"by what is no JID", "<error by='notice' type='wait'><room xmlns='urn:other'/><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
			stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint}},
		{"text without a namespace of its own", "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xml:lang='en'>Unknown session</text></error>",
			stanza.Error{Type: stanza.Cancel, Condition: stanza.ItemNotFound, Text: map[string]string{"": "Unknown session"}}},
		{"text in two languages", "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text/><text xml:lang='en'>over</text><text xml:lang='de'>vorbei</text></error>",
			stanza.Error{Type: stanza.Cancel, Condition: stanza.Gone, Text: map[string]string{"": "over"}}},
		{"nothing", "", stanza.Error{Type: stanza.Cancel, Condition: stanza.UndefinedCondition}},
		{"empty error", "<error/>", stanza.Error{Condition: stanza.UndefinedCondition}},
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newServer(), nil)
		p := <-b.peers
		synctest.Wait()
		for _, tt := range tests {
			failed := make(chan error, 1)
			go func() {
				failed <- b.link.As("ctl@usher.test").IQ(t.Context(), "a@b.test", "set", payload{}, &payload{})
			}()
			req := <-p.in
			p.send(fmt.Sprintf("<iq type='error' from='a@b.test' to='ctl@usher.test' id='%s'>%s</iq>", req.ID, tt.inner))
			err := <-failed
			var got stanza.Error
			if !errors.As(err, &got) || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tt.want) {
				t.Errorf("%s: IQ = %+v, want %+v", tt.name, got, tt.want)
			}
		}
	})
}

// TestAnswerOfJicofo reads what a real Jicofo answered: its words, and the
// request that it hands back, which tells its answer from the server's own.
func TestAnswerOfJicofo(t *testing.T) {
	capture, err := os.ReadFile("testdata/stop-after-jicofo-restart.xml")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(capture)), "\n")
	var jicofo element
	if err := xml.Unmarshal([]byte(strings.TrimPrefix(lines[len(lines)-1], "SEND: ")), &jicofo); err != nil || jicofo.Type != "error" {
		t.Fatalf("the capture's last stanza is of type %q: %v", jicofo.Type, err)
	}
	request := xml.Name{Space: "http://jitsi.org/protocol/jibri", Local: "jibri"}
	for _, tt := range []struct {
		name, inner, text string
		handsBack         bool
	}{
		{"Jicofo", jicofo.Inner, "Unknown session", true},
		{"Jicofo, in another order", "<jibri xmlns='http://jitsi.org/protocol/jibri'/><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", "", true},
		{"Prosody", "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>Recipient not in room</text></error>", "Recipient not in room", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, newServer(), nil)
				p := <-b.peers
				synctest.Wait()
				failed := make(chan error, 1)
				go func() { failed <- b.link.As("ctl@usher.test").IQ(t.Context(), "a@b.test/focus", "set", payload{}, nil) }()
				req := <-p.in
				p.send(fmt.Sprintf("<iq type='error' from='a@b.test/focus' to='ctl@usher.test' id='%s'>%s</iq>", req.ID, tt.inner))
				var got component.ErrorAnswer
				if err := <-failed; !errors.As(err, &got) {
					t.Fatalf("IQ = %v, want an error answer", err)
				}
				if got.Stanza.Condition != stanza.ItemNotFound || got.Stanza.Text[""] != tt.text || got.HandsBack(request) != tt.handsBack {
					t.Errorf("got %s %q, request handed back: %v; want item-not-found %q %v",
						got.Stanza.Condition, got.Stanza.Text[""], got.HandsBack(request), tt.text, tt.handsBack)
				}
			})
		})
	}
}

func TestRequestGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newServer(), nil)
		p := <-b.peers
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := b.link.As("ctl@usher.test").IQ(ctx, "a@b.test", "get", payload{}, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("IQ = %v, want deadline exceeded", err)
		}
		req := <-p.in
		p.send("<iq type='result' from='a@b.test' to='ctl@usher.test' id='" + req.ID + "'/>")
		synctest.Wait() // the late answer finds nobody
	})
}

func TestRequestsToUsAreAnswered(t *testing.T) {
	caps := component.Caps()
	tests := []struct {
		name, typ, inner string
		wantType, want   string // type and part of the answer
	}{
		{"ping", "get", "<ping xmlns='urn:xmpp:ping'/>", "result", ""},
		{"version", "get", "<query xmlns='jabber:iq:version'/>", "result", "<name>usher</name>"},
		{"disco", "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "result", "urn:xmpp:ping"},
		{"disco of our caps", "get", "<query xmlns='http://jabber.org/protocol/disco#info' node='" + caps.Node + "#" + caps.Ver + "'/>", "result", `node="` + caps.Node + "#" + caps.Ver + `"`},
		{"disco of other caps", "get", "<query xmlns='http://jabber.org/protocol/disco#info' node='urn:other'/>", "error", "item-not-found"},
		{"ping as a set", "set", "<ping xmlns='urn:xmpp:ping'/>", "error", "service-unavailable"},
		{"session-initiate", "set", "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate'><content/></jingle>", "error", "service-unavailable"},
		{"unknown", "get", "\n<a xmlns='urn:unknown'><b/></a>", "error", "service-unavailable"},
		{"no payload", "get", "", "error", "bad-request"},
		{"ours", "set", "<payload xmlns='urn:test'>ask</payload>", "result", `<payload xmlns="urn:test">ask answered</payload>`},
		{"ours, refused later", "set", "<later xmlns='urn:test'/>", "error", "not-allowed"},
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newServer(), func(c *component.ComponentConfig) {
			c.Handler.IQ = map[xml.Name]func(component.Request){
				{Space: "urn:test", Local: "payload"}: func(r component.Request) {
					var p payload
					if err := r.Decode(&p); err != nil {
						t.Error(err)
					}
					p.Text += " answered"
					r.Answer("result", p)
				},
				{Space: "urn:test", Local: "later"}: func(r component.Request) {
					go r.Answer("error", stanza.Error{Type: stanza.Cancel, Condition: stanza.NotAllowed})
				},
			}
		})
		p := <-b.peers
		for _, tt := range tests {
			p.send("<iq type='" + tt.typ + "' from='a@b.test/\u0640&amp;' to='bot@usher.test/x' id='i&lt;d'>" + tt.inner + "</iq>")
			got := <-p.in
			if got.Type != tt.wantType || !strings.Contains(got.Inner, tt.want) {
				t.Errorf("%s: answer = %s %s, want %s with %q", tt.name, got.Type, got.Inner, tt.wantType, tt.want)
			}
			if got.From != "bot@usher.test/x" || got.To != "a@b.test/\u0640&" || got.ID != "i<d" {
				t.Errorf("%s: answer is from %q to %q with id %q", tt.name, got.From, got.To, got.ID)
			}
		}
		// Nothing is ever said to presence and messages (RFC 6120 §8.3.1 forbids
		// answers to errors; the rest would give us away in a room).
		p.send("<message from='a@b.test' to='x@usher.test'/><presence type='subscribe' from='a@b.test' to='x@usher.test'/><iq type='error' from='a@b.test' to='usher.test' id='1'/>")
		synctest.Wait()
		if got := len(p.in); got != 0 {
			t.Errorf("answers to what wants none = %d", got)
		}
	})
}

// The hash in our presence is the one that a client computes from our answer
// (XEP-0115 §5.4).
func TestCapsMatchDisco(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newServer(), nil)
		p := <-b.peers
		p.send("<iq type='get' from='a@b.test/c' to='bot@usher.test/x' id='1'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
		var info disco.Info
		if err := xml.Unmarshal([]byte((<-p.in).Inner), &info); err != nil {
			t.Fatal(err)
		}
		if got, want := info.Hash(sha1.New()), component.Caps().Ver; got != want {
			t.Errorf("hash of the answer = %q, want the presence's %q", got, want)
		}
		c, err := xml.Marshal(component.Caps())
		if err != nil {
			t.Fatal(err)
		}
		if want := `hash="sha-1"`; !bytes.Contains(c, []byte(want)) {
			t.Errorf("caps = %s, want %s in it", c, want)
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
