package component

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"mellium.im/xmpp/stanza"
)

// Ids of requests are unique over restarts too, so that a late answer to the
// process before us finds nobody.
var (
	idPrefix  = rand.Text()[:8]
	idCounter atomic.Uint64
)

func nextID() string { return idPrefix + "-" + strconv.FormatUint(idCounter.Add(1), 36) }

// call is a request that waits for its answer.
type call struct {
	to     string
	answer chan answer // of length 1: the reader never waits
}

// answer is an IQ of type result or error, as it came.
type answer struct {
	typ string
	raw []byte
}

// request sends an IQ and waits for the answer of to.
func (s *stream) request(ctx context.Context, from, to, typ string, payload any) (answer, error) {
	id := nextID()
	c := &call{to: to, answer: make(chan answer, 1)}
	s.mu.Lock()
	s.pending[id] = c
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pending, id)
		s.mu.Unlock()
	}()

	if err := s.send(ctx, "iq", from, to, typ, id, payload); err != nil {
		return answer{}, err
	}
	select {
	case a := <-c.answer:
		return a, nil
	case <-s.dead.Done():
		return answer{}, s.down()
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
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

// sameSender tells whether an answer from from may be the answer to a request
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

// decode reads the payload of a result into reply, which may be nil; an error
// becomes an [ErrorAnswer]. A result without payload leaves reply as it is.
func (a answer) decode(ns string, reply any) error {
	d := xml.NewDecoder(io.MultiReader(strings.NewReader(streamHeader(ns)), bytes.NewReader(a.raw)))
	_, _ = d.Token() // the stream's header
	_, _ = d.Token() // the answer's own start, which the reader has read already
	if a.typ == "error" {
		return decodeError(d)
	}
	if reply == nil {
		return nil
	}
	for {
		tok, err := d.Token()
		if err != nil {
			return fmt.Errorf("decode answer: %w", err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if err := d.DecodeElement(reply, &t); err != nil {
				return fmt.Errorf("decode answer: %w", err)
			}
			return nil
		case xml.EndElement:
			return nil
		}
	}
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

// decodeError reads the children of an error answer: the <error/> (RFC 6120
// §8.3.2) and perhaps the request's payload, in any order. What cannot be read
// is an undefined condition.
func decodeError(d *xml.Decoder) ErrorAnswer {
	e := ErrorAnswer{Stanza: stanza.Error{Type: stanza.Cancel, Condition: stanza.UndefinedCondition}}
	for {
		tok, err := d.Token()
		if err != nil {
			return e
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if t.Name.Local == "error" {
				err = readStanzaError(d, t, &e.Stanza)
			} else {
				e.Payload = t.Name
				err = d.Skip()
			}
			if err != nil {
				return e
			}
		case xml.EndElement:
			return e
		}
	}
}

// readStanzaError decodes an <error/> into e, which stays as it is on an error.
// Text is read in any namespace: Smack leaves out the one that RFC 6120 §8.3.2
// asks for.
func readStanzaError(d *xml.Decoder, start xml.StartElement, e *stanza.Error) error {
	var x struct {
		Type       string   `xml:"type,attr"`
		Texts      []string `xml:"text"`
		Conditions []struct {
			XMLName xml.Name
		} `xml:",any"`
	}
	if err := d.DecodeElement(&x, &start); err != nil {
		return err
	}
	e.Type = stanza.ErrorType(x.Type)
	for _, text := range x.Texts {
		if text != "" {
			e.Text = map[string]string{"": text}
			break
		}
	}
	for _, c := range x.Conditions {
		if c.XMLName.Space == stanza.NSError {
			e.Condition = stanza.Condition(c.XMLName.Local)
			break
		}
	}
	return nil
}

// Request is an IQ get or set that waits for our answer.
type Request struct {
	From, To, ID, Type string
	// Decode reads the payload into v; valid only until the handler returns.
	Decode func(v any) error
	stream *stream
}

// Result answers the request; payload may be nil. It may be called later and
// from any goroutine, and reports only whether the answer was queued, on the
// stream that the request came on: [ErrDown] once that has ended.
// It blocks while the queue is full, which the write deadline bounds.
func (r Request) Result(payload any) error { return r.Answer("result", payload) }

// Error answers the request with a stanza error (RFC 6120 §8.3). Otherwise it
// is like [Request.Result].
func (r Request) Error(e stanza.Error) error { return r.Answer("error", e) }

// Answer answers the request with what Result and Error cannot say; typ is
// result or error. Otherwise it is like [Request.Result].
func (r Request) Answer(typ string, payload ...any) error {
	from := ""
	if r.stream.link.kind == kindComponent {
		from = r.To
	}
	return r.stream.send(context.Background(), "iq", from, r.From, typ, r.ID, payload...)
}

// handleIQ answers a request or hands it over. For an answer it returns what
// is to be done once the whole stanza has been read.
func (s *stream) handleIQ(d *xml.Decoder, start xml.StartElement) (done func()) {
	req := Request{stream: s}
	for _, a := range start.Attr {
		switch a.Name {
		case xml.Name{Local: "from"}:
			req.From = a.Value
		case xml.Name{Local: "to"}:
			req.To = a.Value
		case xml.Name{Local: "id"}:
			req.ID = a.Value
		case xml.Name{Local: "type"}:
			req.Type = a.Value
		}
	}
	switch req.Type {
	case "result", "error":
		c, ok := s.take(req.ID, req.From)
		if !ok {
			return nil
		}
		return func() { c.answer <- answer{req.Type, bytes.TrimSpace(bytes.Clone(s.conn.raw))} }
	case "get", "set":
		s.handleRequest(d, req)
	}
	return nil
}

func (s *stream) handleRequest(d *xml.Decoder, req Request) {
	for {
		tok, err := d.Token()
		if err != nil {
			return
		}
		switch t := tok.(type) {
		case xml.StartElement:
			payload := t.Copy()
			req.Decode = func(v any) error { return d.DecodeElement(v, &payload) }
			if s.answerItself(req, payload.Name) {
				return
			}
			if h := s.link.handler.IQ[payload.Name]; h != nil {
				h(req)
				return
			}
			s.refuse(req, stanza.Error{Type: stanza.Cancel, Condition: stanza.ServiceUnavailable})
			return
		case xml.EndElement:
			// A request has exactly one child (RFC 6120 §8.2.3).
			s.refuse(req, stanza.Error{Type: stanza.Modify, Condition: stanza.BadRequest})
			return
		}
	}
}

func (s *stream) refuse(req Request, e stanza.Error) { s.answered(req, req.Error(e)) }

// answered logs an answer of our own that could not be queued. The asker times
// out; for us nothing depends on it.
func (s *stream) answered(req Request, err error) {
	if err != nil {
		s.link.log.Debug("request not answered", "jid", req.From, "err", err)
	}
}
