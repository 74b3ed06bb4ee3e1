// Package component keeps usher's XMPP streams alive: the external component
// (XEP-0114) and the occupant's ordinary client login (RFC 6120).
//
// It knows nothing of rooms or meetings. Both kinds of stream share one run
// loop, [Link.Run]; what a stream says is handed to a [Handler] on the reading
// goroutine, and everything usher says leaves through one writer.
package component

import (
	"context"
	"encoding/xml"

	"mellium.im/xmpp/stanza"
)

// Handler receives what a stream says. Every function may be nil.
//
// The functions run on the reading goroutine: they decode, hand over and
// return. They must not wait for anything that this stream has yet to say.
// An element that a function leaves half read is skipped by the link, and an
// error while decoding one is the function's own business: it never ends the
// stream.
type Handler struct {
	// Presence and Message get each such stanza, its start element already read.
	Presence func(d *xml.Decoder, start xml.StartElement)
	Message  func(d *xml.Decoder, start xml.StartElement)
	// IQ answers get and set requests by the name of their payload. What is
	// not listed is answered service-unavailable (RFC 6120 §8.4); disco#info,
	// ping and version are answered by the link itself.
	IQ map[xml.Name]func(Request)
	// Up fires when a stream is ready for stanzas, with the full JID it speaks as;
	// Down when that stream has ended, with the reason.
	Up   func(jid string)
	Down func(cause error)
}

// Request is an IQ get or set that waits for our answer.
type Request struct {
	From, To, ID, Type string
	// Decode reads the payload into v; valid only until the handler returns.
	Decode func(v any) error
	link   *Link
}

// Result answers the request; payload may be nil. It may be called later and
// from any goroutine, and reports only whether the answer was queued.
func (r Request) Result(payload any) error { panic("not yet written") }

// Error answers the request with a stanza error (RFC 6120 §8.3).
func (r Request) Error(e stanza.Error) error { panic("not yet written") }

// Link is one XMPP stream that is redialled for as long as [Link.Run] runs.
// Its methods are safe for concurrent use.
type Link struct{}

// Run dials, negotiates and serves the stream, again and again with full
// jitter between tries, until ctx ends; it returns when everything that it
// started has ended. It returns early only for an error that retrying cannot
// heal (see [ErrConflict]).
func (l *Link) Run(ctx context.Context) error { panic("not yet written") }

// As returns the sender for one address of this stream. On a component stream
// jid is any address of the component's domain and is stamped as `from` on
// every stanza; on a client stream it must be empty, the server stamps it.
func (l *Link) As(jid string) *Sender { return &Sender{link: l, jid: jid} }

// Sender sends stanzas from one address.
type Sender struct {
	link *Link
	jid  string
}

// JID returns the full address stanzas leave from; empty before a client
// stream has first been up.
func (s *Sender) JID() string { return s.jid }

// Send queues <kind to= type=>payload…</kind>, kind being presence or message.
// It returns once the stanza is queued: [ErrDown] while there is no stream,
// [ErrTooLarge] over MaxStanzaOut. Payloads are encoding/xml values that name
// their own element.
func (s *Sender) Send(ctx context.Context, kind, to, typ string, payload ...any) error {
	panic("not yet written")
}

// IQ sends a request and blocks for its answer until ctx ends. typ is get or
// set. The answer's payload is decoded into reply, which may be nil. An error
// answer comes back as [stanza.Error] (use errors.As).
func (s *Sender) IQ(ctx context.Context, to, typ string, payload, reply any) error {
	panic("not yet written")
}
