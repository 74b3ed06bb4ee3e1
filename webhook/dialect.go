package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"usher/meeting"
)

// Dialect is one shape of what is sent, for receivers that were written for
// another system. [Config] has those that endpoints may name besides
// [Standard].
type Dialect struct {
	// Render has what makes the body, by type of event. Events of other types
	// are not sent.
	Render map[meeting.EventType]Renderer
	// Sign adds the signature of a body to the headers of its request; key is
	// the text of the endpoint's secret. nil: requests are not signed, and the
	// endpoint needs no secret.
	Sign func(h http.Header, key []byte, at time.Time, body []byte)
	// Encodings are the forms of JSON that its receivers may want, the usual one
	// first; nil: [EncodePython] alone.
	Encodings []func(value any) ([]byte, error)
	// GoneIsOfEvent says that 410 refuses one event; in other dialects it
	// disables the endpoint.
	GoneIsOfEvent bool
	// Forwards says that events of the other system itself go on to its endpoints;
	// see [Deliverer.Forward].
	Forwards bool
}

// Renderer makes what is sent of an event: the path below the endpoint's URL,
// and the body, which one of the dialect's encodings makes JSON. A nil body means that the event
// is not sent. It is pure, so that every try sends the same. No part of the
// event's data is nil: what the event lacks is there as the zero value.
type Renderer func(event meeting.Event) (path string, body any)

// event is an event that is to be sent, and what delivering needs to know of it.
type event struct {
	ID        string            `json:"id"`
	Type      meeting.EventType `json:"type"`
	MeetingID string            `json:"meeting_id"`
	Timestamp time.Time         `json:"timestamp"`
	Seq       int64             `json:"seq"`

	text json.RawMessage
	bad  bool // the text cannot be read
}

// readEvent reads what the queue wants to know of an event. That stands before
// the greater part of the text, which is not looked at.
func readEvent(text json.RawMessage) *event {
	ev := &event{text: text}
	head, _, cut := bytes.Cut(text, []byte(`,"state_version":`))
	if cut {
		head = append(slices.Clip(head), '}')
	}
	err := json.Unmarshal(head, ev)
	ev.bad = err != nil || ev.ID == ""
	return ev
}

// name returns what an acknowledgement calls the event.
func (e *event) name() string {
	if e.bad {
		return string(e.text)
	}
	return e.ID
}

var errEvent = errors.New("webhook: event is unreadable")

// errNothing means that a dialect does not send an event.
var errNothing = errors.New("webhook: nothing to send")

// render makes the request of one try, signed as of now. It does no I/O, and the
// body is the same at every try. Errors: errNothing; after others no try can
// succeed. It sets what the delivery knows of its dialect's encodings.
func render(ctx context.Context, e Endpoint, d *delivery, now time.Time) (*http.Request, error) {
	switch {
	case d.event.bad:
		return nil, errEvent
	case e.dialect == nil && d.event.forwarded() != nil:
		return nil, errNothing
	}
	header, target, body := http.Header{}, e.target, d.standard()
	keys := e.keys(now)
	if e.dialect == nil {
		signStandard(header, keys, d.event.ID, now, body)
	} else {
		path, forms, err := e.dialect.bodies(d.event)
		if err != nil {
			return nil, err
		}
		// Of a variant's number the encoding is the remainder.
		d.encodings = len(forms)
		d.alike = !slices.ContainsFunc(forms, func(other []byte) bool { return !bytes.Equal(other, forms[0]) })
		if body = forms[d.variant%len(forms)]; path != "" {
			target = target.JoinPath(path)
		}
		if e.dialect.Sign != nil {
			// Such a request carries one signature: the newest key's. While the
			// secret changes, the one before it where that was accepted last, or the
			// other was refused.
			e.dialect.Sign(header, keys[d.variant/len(forms)%len(keys)], now, body)
		}
	}
	for name, value := range e.Headers {
		header[name] = []string{string(value)}
	}
	header["Content-Type"], header["User-Agent"], header["Webhook-Id"] = []string{"application/json"}, []string{UserAgent}, []string{d.event.ID}
	// This marks the request as one that may be sent again on a new connection
	// when the server closes the old one just then; it is not itself sent
	// (net/http.Transport).
	header["X-Idempotency-Key"] = []string{}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.URL, r.Host, r.Header = target, target.Host, header
	return r, nil
}

// bodies makes path and body of an event, the body in each encoding.
func (d *Dialect) bodies(ev *event) (path string, bodies [][]byte, err error) {
	encodings := d.Encodings
	if encodings == nil {
		encodings = []func(any) ([]byte, error){EncodePython}
	}
	if body := ev.forwarded(); body != nil {
		if !d.Forwards {
			return "", nil, errNothing
		}
		return "", slices.Repeat([][]byte{body}, len(encodings)), nil
	}
	path, value, err := d.rendered(ev)
	if err != nil {
		return "", nil, err
	}
	for _, encode := range encodings {
		body, err := encode(value)
		if err != nil {
			return "", nil, err
		}
		bodies = append(bodies, body)
	}
	return path, bodies, nil
}

// rendered returns what the dialect makes of an event of ours.
func (d *Dialect) rendered(ev *event) (path string, value any, err error) {
	renderer := d.Render[ev.Type]
	if renderer == nil {
		return "", nil, errNothing
	}
	var event meeting.Event
	if err := json.Unmarshal(ev.text, &event); err != nil {
		return "", nil, errEvent
	}
	data := &event.Data
	orZero(&data.Meeting)
	orZero(&data.Session)
	orZero(&data.Participant)
	orZero(&data.Recording)
	if data.Recording.Mode.FromBridge() {
		return "", nil, errNothing // no other product knows these: they are not one file
	}
	orZero(&data.Occupancy)
	if path, value = renderer(event); value == nil {
		return "", nil, errNothing
	}
	return path, value, nil
}

func orZero[T any](p **T) {
	if *p == nil {
		*p = new(T)
	}
}

// Standard is the dialect of Standard Webhooks 1.0.0: the event itself, byte
// for byte as it was committed, at every try. An event that follows one that
// was given up has "gap":true as its last field.
const Standard = "standard"

// standard returns the body.
func (d *delivery) standard() []byte {
	text := d.event.text
	if !d.gap {
		return text
	}
	end := bytes.LastIndexByte(text, '}')
	return slices.Concat(text[:end], []byte(`,"gap":true}`))
}

// TypeTest is the type of the event that [Deliverer.Test] sends.
const TypeTest meeting.EventType = "webhook.test"

// testEvent returns an event that is about nothing.
func testEvent(now time.Time) json.RawMessage {
	event, _ := json.Marshal(struct { // always encodes
		ID         string            `json:"id"`
		Type       meeting.EventType `json:"type"`
		Timestamp  meeting.Time      `json:"timestamp"`
		APIVersion string            `json:"api_version"`
		Data       struct{}          `json:"data"`
	}{ID: meeting.NewID("evt_", now, meeting.NewSeed(), 0), Type: TypeTest, Timestamp: meeting.Time{Time: now}, APIVersion: meeting.APIVersion})
	return event
}
