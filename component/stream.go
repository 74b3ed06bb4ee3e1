package component

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/stanza"
	xstream "mellium.im/xmpp/stream"
)

const (
	// pingInterval and pingTimeout are those of XEP-0199 pings: a peer that
	// has silently gone is noticed within their sum.
	pingInterval = 10 * time.Second
	pingTimeout  = 10 * time.Second

	// closeTimeout is how long an orderly end may take: writing what is queued
	// and waiting for the server to close its side. Closing at once could make
	// TCP discard what the server has not read yet.
	closeTimeout = 2 * time.Second
)

// stream is one negotiated stream, from its login to its end.
type stream struct {
	link  *Link
	conn  *conn
	jid   string
	queue chan outgoing

	// dead ends with the stream; its cause is why.
	dead context.Context
	end  context.CancelCauseFunc

	heard atomic.Int64 // stanzas read so far

	mu      sync.Mutex
	pending map[string]*call // requests that wait for their answer, by id
}

func newStream(l *Link, c *conn, jid string) *stream {
	dead, end := context.WithCancelCause(context.Background())
	return &stream{
		link:    l,
		conn:    c,
		jid:     jid,
		queue:   make(chan outgoing, queueLength),
		dead:    dead,
		end:     end,
		pending: make(map[string]*call),
	}
}

// serve reads the stream to its end on this goroutine, with a writer and a
// watcher beside it, and returns why it ended when all three have.
func (s *stream) serve(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.write(ctx) })
	wg.Go(func() { s.watch(ctx) })
	if s.link.opts.Handler.Up != nil {
		s.link.opts.Handler.Up(s.jid)
	}
	s.fail(s.read())
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return errStopped
	}
	return context.Cause(s.dead)
}

// fail ends the stream; the first cause counts.
func (s *stream) fail(err error) {
	s.end(err)
	s.conn.Close()
}

// watch pings the server and, when ctx ends, bounds the orderly end.
func (s *stream) watch(ctx context.Context) {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.dead.Done():
			return
		case <-ctx.Done():
			select {
			case <-s.dead.Done():
			case <-time.After(closeTimeout):
				s.fail(errStopped)
			}
			return
		case <-tick.C:
			s.ping(ctx)
		}
	}
}

// ping asks for a sign of life (XEP-0199). An error answer is one as well.
//
// A component pings its own domain: the server routes that back to us and then
// our answer, which proves both directions and its router, whatever other
// domains it serves. A client pings the domain of its account.
//
// A server that has thousands of our stanzas to work off answers late but goes
// on talking; dropping the stream would only give it more to do.
func (s *stream) ping(ctx context.Context) {
	heard := s.heard.Load()
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	start := time.Now()
	from := ""
	if s.link.kind == kindComponent {
		from = s.link.domain
	}
	_, err := s.request(ctx, from, s.link.domain, "get", pingQuery{})
	switch {
	case err == nil:
		s.link.metrics.ping.Observe(time.Since(start).Seconds())
	case errors.Is(err, context.DeadlineExceeded) && s.heard.Load() == heard:
		s.fail(errPing)
	}
}

// read hands over one stanza after the other until the stream ends.
func (s *stream) read() error {
	g := newGuard(s.conn, s.link.ns)
	d := xml.NewTokenDecoder(g)
	if _, err := d.Token(); err != nil { // the stream's own header
		return err
	}
	s.conn.reset()
	for {
		g.inside = false
		tok, err := d.Token()
		if err != nil {
			return err
		}
		g.inside = true
		switch t := tok.(type) {
		case xml.StartElement:
			s.heard.Add(1)
			done, err := s.dispatch(d, t.Copy())
			if err != nil {
				return err
			}
			for g.within() && g.err == nil {
				_, _ = d.Token() // g keeps what ends the stream
			}
			if g.err != nil {
				return g.err
			}
			if s.link.opts.LogXML {
				s.link.log.Debug("stanza received", "xml", string(bytes.TrimSpace(s.conn.raw)))
			}
			if done != nil {
				done()
			}
			s.conn.reset()
		case xml.CharData:
			// Whitespace is a keepalive (RFC 6120 §4.6.1).
			if len(bytes.TrimSpace(t)) != 0 {
				return fmt.Errorf("%w: text between stanzas", errBadXML)
			}
		case xml.EndElement:
			return errClosed
		}
	}
}

// dispatch gives one top-level element to whoever it is for. Only a stream
// error is returned. What is left of the element is skipped by the caller, who
// then calls done if there is one.
func (s *stream) dispatch(d *xml.Decoder, start xml.StartElement) (done func(), err error) {
	if start.Name == (xml.Name{Space: xstream.NS, Local: "error"}) {
		return nil, readStreamError(d, start)
	}
	start.Attr = slices.DeleteFunc(start.Attr, func(a xml.Attr) bool { return a.Name.Space != "" })
	kind := "other"
	switch start.Name.Space {
	// Prosody may leave a client's namespace on what it routes to a component.
	case s.link.ns, stanza.NSClient:
		kind = start.Name.Local
	}
	switch kind {
	case "presence":
		if handle := s.link.opts.Handler.Presence; handle != nil {
			handle(d, start)
		}
	case "message":
		s.conn.isMessage = true
		if handle := s.link.opts.Handler.Message; handle != nil {
			handle(d, start)
		}
	case "iq":
		done = func() { s.handleIQ(start, bytes.TrimSpace(bytes.Clone(s.conn.raw))) }
	default:
		kind = "other"
	}
	s.link.metrics.received.WithLabelValues(kind).Inc()
	return done, nil
}

// readStreamError decodes the server's farewell (RFC 6120 §4.9).
func readStreamError(d *xml.Decoder, start xml.StartElement) error {
	var e struct {
		Text       string `xml:"urn:ietf:params:xml:ns:xmpp-streams text"`
		Conditions []struct {
			XMLName xml.Name
		} `xml:",any"`
	}
	if err := d.DecodeElement(&e, &start); err != nil {
		return fmt.Errorf("%w: stream error that cannot be read", errClosed)
	}
	se := xstream.UndefinedCondition
	for _, c := range e.Conditions {
		if c.XMLName.Space == xstream.NSError {
			se = xstream.Error{Err: c.XMLName.Local}
			break
		}
	}
	if e.Text != "" {
		return fmt.Errorf("%w (%.200q)", streamError(se), e.Text)
	}
	return streamError(se)
}
