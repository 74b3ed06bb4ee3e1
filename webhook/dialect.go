package webhook

import (
	"bytes"
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
	// GoneIsOfEvent says that 410 refuses one event; in other dialects it
	// disables the endpoint.
	GoneIsOfEvent bool
}

// Renderer makes what is sent of an event: the path below the endpoint's URL,
// and the body, which [EncodePython] encodes. A nil body means that the event
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

// request is what one try posts.
type request struct {
	path   string // below the endpoint's URL
	body   []byte
	header http.Header
}

// errNothing means that a dialect does not send an event.
var errNothing = errors.New("webhook: nothing to send")

// render makes the request of one try, signed as of now. It is pure, and the
// body is the same at every try. Errors: errNothing; after others no try can
// succeed.
func render(e Endpoint, d *delivery, now time.Time) (request, error) {
	if d.event.bad {
		return request{}, errEvent
	}
	r := request{header: http.Header{"Content-Type": {"application/json"}, "Webhook-Id": {d.event.ID}}}
	keys := e.keys(now)
	if e.dialect == nil {
		r.body = d.standard()
		signStandard(r.header, keys, d.event.ID, now, r.body)
		return r, nil
	}
	var err error
	if r.path, r.body, err = e.dialect.body(d.event); err != nil {
		return request{}, err
	}
	if e.dialect.Sign != nil {
		// Such a request carries one signature: the newest key's. While the
		// secret changes, the one before it where that was accepted last, or the
		// other was refused.
		e.dialect.Sign(r.header, keys[d.variant%len(keys)], now, r.body)
	}
	return r, nil
}

// body makes path and body of an event.
func (d *Dialect) body(ev *event) (path string, body []byte, err error) {
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
	orZero(&data.Occupancy)
	path, value := renderer(event)
	if value == nil {
		return "", nil, errNothing
	}
	body, err = EncodePython(value)
	return path, body, err
}

func orZero[T any](p **T) {
	if *p == nil {
		*p = new(T)
	}
}
