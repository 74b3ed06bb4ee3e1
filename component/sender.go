package component

import (
	"context"
	"fmt"
	"strings"
)

// As returns the sender for one address of this stream. On a component stream
// jid is any address of the component's domain and is stamped as `from` on
// every stanza; on a client stream it must be empty, the server stamps it.
func (l *Link) As(jid string) *Sender { return &Sender{link: l, jid: jid} }

// Sender sends stanzas from one address. Its methods are safe for concurrent use.
type Sender struct {
	link *Link
	jid  string
}

// Send queues <kind to= type=>payload…</kind>, kind being presence or message.
// It returns once the stanza is queued: [ErrDown] while there is no stream,
// [ErrTooLarge] over [MaxStanzaOut]. It blocks while the queue is full, at most
// until ctx or the stream ends. Payloads are encoding/xml values that name
// their own element.
func (s *Sender) Send(ctx context.Context, kind, to, typ string, payload ...any) error {
	if kind != "presence" && kind != "message" {
		return fmt.Errorf("component: cannot send a %q", kind)
	}
	st, err := s.stream(to)
	if err != nil {
		return err
	}
	return st.send(ctx, kind, s.jid, to, typ, "", payload...)
}

// IQ sends a request and blocks for its answer until ctx ends, whose cause is
// then returned. typ is get or set. The answer's payload is decoded into reply,
// which may be nil. An error answer comes back as [ErrorAnswer] (use errors.As,
// also for the stanza.Error in it), the stream's end as [ErrDown]; whether the
// request was carried out is then unknown.
//
// Only the addressee's own answer counts (RFC 6120 §8.2.3): anybody may send
// us an IQ with an id that they have guessed.
func (s *Sender) IQ(ctx context.Context, to, typ string, payload, reply any) error {
	if typ != "get" && typ != "set" {
		return fmt.Errorf("component: %q is no type of a request", typ)
	}
	st, err := s.stream(to)
	if err != nil {
		return err
	}
	answer, err := st.request(ctx, s.jid, to, typ, payload)
	if err != nil {
		return err
	}
	return answer.result(reply)
}

// stream returns the stream that a stanza to that address leaves on.
func (s *Sender) stream(to string) (*stream, error) {
	if to == "" {
		return nil, errNoTo
	}
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	if s.link.cur == nil {
		return nil, ErrDown
	}
	return s.link.cur, nil
}

// domainOf returns the domain of an address as it stands, unchecked (RFC 7622 §3.1).
func domainOf(jid string) string {
	bare, _, _ := strings.Cut(jid, "/")
	if _, domain, ok := strings.Cut(bare, "@"); ok {
		return domain
	}
	return bare
}
