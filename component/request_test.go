package component_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/disco"
	"mellium.im/xmpp/stanza"

	"usher/component"
)

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
		{"a JVB a29d97d13 without the conference", "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xml:lang='en'>Conference not found for ID: cf6f7f6d-c517-4eac-b051-782ff7523f47</text>" +
			"<error reason='conference_not_found' xmlns='jitsi:colibri2'/></error><conference-modify meeting-id='cf6f7f6d-c517-4eac-b051-782ff7523f47' xmlns='jitsi:colibri2'/>",
			stanza.Error{Type: stanza.Cancel, Condition: stanza.ItemNotFound, Text: map[string]string{"": "Conference not found for ID: cf6f7f6d-c517-4eac-b051-782ff7523f47"}}},
		{"a JVB that sends already", "<error type='modify'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xml:lang='en'>Connect with create=true for an already-existing id=usher</text></error>" +
			"<conference-modify meeting-id='d3f6d8da-4bbc-43b9-9d25-ac6efc137be5' xmlns='jitsi:colibri2'/>",
			stanza.Error{Type: stanza.Modify, Condition: stanza.BadRequest, Text: map[string]string{"": "Connect with create=true for an already-existing id=usher"}}},
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
