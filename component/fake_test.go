package component_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/component"
)

// server is the server's side of XEP-0114 on in-memory pipes. It holds Prosody
// 13's rule that a stanza's sender is an address of the component, and routes
// what is addressed to the component's domain back to it, as Prosody does.
type server struct {
	refuse string                  // condition of a stream error instead of the handshake's answer
	silent bool                    // accept the connection and say nothing
	closed atomic.Bool             // nobody listens
	wrap   func(net.Conn) net.Conn // around the component's end, if not nil

	mu    sync.Mutex
	dials []time.Time
	peers chan *peer // each connection once its handshake is done
}

const (
	fakeDomain = "usher.test"
	fakeSecret = "component-secret"
)

func newServer() *server { return &server{peers: make(chan *peer, 64)} }

// peer is the server's side of one connection.
type peer struct {
	conn net.Conn
	d    *xml.Decoder
	in   chan element // what the component sent to anybody but itself
	mute atomic.Bool  // say nothing any more
	mu   sync.Mutex   // held for a write
}

// element is a stanza as the server has received it.
type element struct {
	XMLName xml.Name
	From    string `xml:"from,attr"`
	To      string `xml:"to,attr"`
	Type    string `xml:"type,attr"`
	ID      string `xml:"id,attr"`
	Inner   string `xml:",innerxml"`
}

func (f *server) dial(context.Context, string, string) (net.Conn, error) {
	f.mu.Lock()
	f.dials = append(f.dials, time.Now())
	f.mu.Unlock()
	if f.closed.Load() {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	client, conn := net.Pipe()
	if !f.silent {
		go f.serve(&peer{conn: conn, d: xml.NewDecoder(conn), in: make(chan element, 2*component.QueueLength)})
	}
	if f.wrap != nil {
		client = f.wrap(client)
	}
	return client, nil
}

func (f *server) dialled() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Time(nil), f.dials...)
}

func (f *server) serve(p *peer) {
	defer p.conn.Close()
	if _, err := p.d.Token(); err != nil {
		return
	}
	p.send(`<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' from='` + fakeDomain + `' id='fake-id'>`)
	var handshake struct {
		Digest string `xml:",chardata"`
	}
	if p.d.Decode(&handshake) != nil {
		return
	}
	switch want := fmt.Sprintf("%x", sha1.Sum([]byte("fake-id"+fakeSecret))); {
	case f.refuse != "":
		p.streamError(f.refuse)
		return
	case handshake.Digest != want:
		p.streamError("not-authorized")
		return
	}
	p.send("<handshake/>")
	f.peers <- p
	p.read()
}

// read takes stanzas until the component ends the stream or breaks a rule.
func (p *peer) read() {
	for {
		tok, err := p.d.Token()
		if err != nil {
			return
		}
		switch t := tok.(type) {
		case xml.EndElement:
			p.send("</stream:stream>")
			return
		case xml.StartElement:
			var e element
			if p.d.DecodeElement(&e, &t) != nil {
				return
			}
			if domain(e.From) != fakeDomain {
				p.streamError("invalid-from")
				return
			}
			if domain(e.To) == fakeDomain {
				p.send(fmt.Sprintf("<%s from='%s' to='%s' type='%s' id='%s'>%s</%s>",
					e.XMLName.Local, e.From, e.To, e.Type, e.ID, e.Inner, e.XMLName.Local))
				continue
			}
			p.in <- e
		}
	}
}

func domain(jid string) string {
	bare, _, _ := strings.Cut(jid, "/")
	return bare[strings.IndexByte(bare, '@')+1:]
}

func (p *peer) send(xml string) {
	if p.mute.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn.Write([]byte(xml))
}

func (p *peer) streamError(condition string) {
	p.send("<stream:error><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
	p.conn.Close()
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// bench is a component's link, run against a fake server.
type bench struct {
	*server
	link    *component.Link
	log     *syncBuffer
	metrics *prometheus.Registry
	stop    func() // ends Run and waits for it
	ended   chan error
}

// newBench starts the link; call it in a synctest bubble. The test's end stops
// the link, unless it did so itself.
func newBench(t *testing.T, f *server, change func(*component.ComponentConfig)) *bench {
	t.Helper()
	b := &bench{server: f, log: &syncBuffer{}, metrics: prometheus.NewRegistry(), ended: make(chan error, 1)}
	cfg := component.ComponentConfig{
		Addr: "fake:5347", Domain: fakeDomain, Secret: fakeSecret,
		Options: component.Options{
			Log:     slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Metrics: b.metrics,
		},
	}
	if change != nil {
		change(&cfg)
	}
	b.link = must(t, component.NewComponent, cfg)
	b.link.SetDial(f.dial)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.ended <- b.link.Run(ctx)
	}()
	b.stop = func() { cancel(); <-done }
	t.Cleanup(b.stop)
	return b
}

// count returns a counter or gauge of the link by its name and labels.
func (b *bench) count(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := b.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
	series:
		for _, m := range family.GetMetric() {
			for _, want := range labels {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetValue() == want
				}
				if !found {
					continue series
				}
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no series %s%v", name, labels)
	return 0
}
