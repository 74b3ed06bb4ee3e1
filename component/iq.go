package component

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/xml"
	"fmt"
	"strings"

	"mellium.im/xmpp/stanza"
)

// call is a request that waits for its answer.
type call struct {
	to     string
	answer chan Request // of length 1: the reader never waits
}

// request sends an IQ and waits for the answer of to.
func (s *stream) request(ctx context.Context, from, to, typ string, payload any) (Request, error) {
	id := rand.Text() // unique over restarts too: a late answer to the process before us finds nobody
	c := &call{to: to, answer: make(chan Request, 1)}
	s.mu.Lock()
	s.pending[id] = c
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pending, id)
		s.mu.Unlock()
	}()

	if err := s.send(ctx, "iq", from, to, typ, id, payload); err != nil {
		return Request{}, err
	}
	select {
	case a := <-c.answer:
		return a, nil
	case <-s.dead.Done():
		return Request{}, s.down()
	case <-ctx.Done():
		return Request{}, context.Cause(ctx)
	}
}

// take returns the request that an answer belongs to and forgets it.
func (s *stream) take(id, from string) (*call, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.pending[id]
	if !ok || !s.sameSender(c.to, from) {
		return nil, false
	}
	delete(s.pending, id)
	return c, true
}

// sameSender reports whether an answer from from may be the answer to a request
// to to. Servers fold the case of local part and domain. An answer without a
// sender is the account's own server speaking for the account (RFC 6120 §8.1.2.1).
func (s *stream) sameSender(to, from string) bool {
	if from == "" && s.link.kind == kindClient {
		bare, _, _ := strings.Cut(s.jid, "/")
		return strings.EqualFold(to, bare)
	}
	toBare, toResource, _ := strings.Cut(to, "/")
	fromBare, fromResource, _ := strings.Cut(from, "/")
	return strings.EqualFold(toBare, fromBare) && toResource == fromResource
}

// iq is what is read of an IQ: an <error/> (RFC 6120 §8.3.2) and the payload, in
// any order.
type iq struct {
	Type  string `xml:"type,attr"`
	Error *struct {
		Type       string   `xml:"type,attr"`
		Texts      []string `xml:"text"`
		Conditions []struct {
			XMLName xml.Name
		} `xml:",any"`
	} `xml:"error"`
	Payload payload `xml:",any"`
}

// payload is the first child of an IQ that is no error.
type payload struct {
	name xml.Name
	into any // to be decoded into; nil: only the name counts
}

// UnmarshalXML implements [xml.Unmarshaler].
func (p *payload) UnmarshalXML(d *xml.Decoder, start xml.StartElement) error {
	first := p.name.Local == ""
	if first {
		p.name = start.Name
	}
	if !first || p.into == nil {
		return d.Skip()
	}
	return d.DecodeElement(p.into, &start)
}

// err returns the error of an error answer; what it leaves out is an undefined
// condition. Text is read in any namespace: Smack leaves out the one that
// RFC 6120 §8.3.2 asks for.
func (q iq) err() stanza.Error {
	e := stanza.Error{Type: stanza.Cancel, Condition: stanza.UndefinedCondition}
	if q.Error == nil {
		return e
	}
	e.Type = stanza.ErrorType(q.Error.Type)
	for _, text := range q.Error.Texts {
		if text != "" {
			e.Text = map[string]string{"": text}
			break
		}
	}
	for _, c := range q.Error.Conditions {
		if c.XMLName.Space == stanza.NSError {
			e.Condition = stanza.Condition(c.XMLName.Local)
			break
		}
	}
	return e
}

// ErrorAnswer is an error answer to a request. It wraps its [stanza.Error].
type ErrorAnswer struct {
	Stanza stanza.Error
	// Payload is the request's payload where the answer hands it back, which is
	// up to who answers (RFC 6120 §8.3.1): Smack does, so Jicofo and Jibri, and
	// Prosody does not.
	Payload xml.Name
}

func (e ErrorAnswer) Error() string { return e.Stanza.Error() }

// Unwrap returns the stanza error.
func (e ErrorAnswer) Unwrap() error { return e.Stanza }

// HandsBack reports whether the answer hands back a request with that payload.
func (e ErrorAnswer) HandsBack(payload xml.Name) bool { return e.Payload == payload }

// Request is an IQ as it came: a get or set that waits for our answer.
type Request struct {
	From, To, ID, Type string
	raw                []byte
	stream             *stream
}

// read decodes the payload into v, which may be nil.
func (r Request) read(v any) (iq, error) {
	d := xml.NewDecoder(bytes.NewReader(r.raw))
	d.DefaultSpace = r.stream.link.ns
	q := iq{Payload: payload{into: v}}
	err := d.Decode(&q)
	return q, err
}

// Decode reads the payload into v.
func (r Request) Decode(v any) error {
	_, err := r.read(v)
	return err
}

// result reads an answer's payload into reply, which may be nil; an error answer
// becomes an [ErrorAnswer]. A result without payload leaves reply as it is.
func (r Request) result(reply any) error {
	if r.Type == "error" {
		q, _ := r.read(nil)
		return ErrorAnswer{q.err(), q.Payload.name}
	}
	if reply == nil {
		return nil
	}
	if err := r.Decode(reply); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}

// Answer answers the request; typ is result or error. It may be called later and
// from any goroutine, and blocks while the queue is full, which the write
// deadline bounds. An answer that cannot be queued, on the stream that the
// request came on, is only logged: the asker times out, and for us nothing
// depends on it.
func (r Request) Answer(typ string, payload ...any) {
	from := ""
	if r.stream.link.kind == kindComponent {
		from = r.To
	}
	if err := r.stream.send(context.Background(), "iq", from, r.From, typ, r.ID, payload...); err != nil {
		r.stream.link.log.Debug("request not answered", "jid", r.From, "err", err)
	}
}

// refuse answers the request with a stanza error (RFC 6120 §8.3).
func (r Request) refuse(typ stanza.ErrorType, c stanza.Condition) {
	r.Answer("error", stanza.Error{Type: typ, Condition: c})
}

// handleIQ hands an answer to whoever waits for it, and a request to whoever
// answers such requests.
func (s *stream) handleIQ(start xml.StartElement, raw []byte) {
	attr := func(name string) string {
		for _, a := range start.Attr {
			if a.Name.Local == name {
				return a.Value
			}
		}
		return ""
	}
	r := Request{attr("from"), attr("to"), attr("id"), attr("type"), raw, s}
	switch r.Type {
	case "result", "error":
		if c, ok := s.take(r.ID, r.From); ok {
			c.answer <- r
		}
	case "get", "set":
		q, _ := r.read(nil)
		handle := s.link.opts.Handler.IQ[q.Payload.name]
		if ours := queries[q.Payload.name]; ours != nil && r.Type == "get" {
			handle = ours
		}
		switch {
		case handle != nil:
			handle(r)
		case q.Payload.name.Local == "": // a request has exactly one child (RFC 6120 §8.2.3)
			r.refuse(stanza.Modify, stanza.BadRequest)
		default:
			r.refuse(stanza.Cancel, stanza.ServiceUnavailable)
		}
	}
}
