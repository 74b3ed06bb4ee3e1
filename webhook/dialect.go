package webhook

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"usher/meeting"
)

// Dialect is one shape of what is sent, for receivers that were written for
// another system. [Config] has those that endpoints may name besides
// [Standard].
type Dialect struct {
	// Render has what makes the body, by type of event. Events of other types
	// are not sent.
	Render map[meeting.NoticeType]Renderer
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
type Renderer func(event meeting.Notice) (path string, body any)

// message is an event on its way to an endpoint.
type message struct {
	envelope
	notice  json.RawMessage
	gap     bool // the one before it was given up
	variant int  // which way to say and sign it; see [endpointQueue.variant]
}

// envelope is what delivering needs to know of an event.
type envelope struct {
	ID        string             `json:"id"`
	Type      meeting.NoticeType `json:"type"`
	MeetingID string             `json:"meeting_id"`
	Timestamp time.Time          `json:"timestamp"`
	Seq       int64              `json:"seq"`
}

var errNotice = errors.New("webhook: event is unreadable")

func newMessage(notice json.RawMessage, gap bool) (message, error) {
	m := message{notice: notice, gap: gap}
	if err := json.Unmarshal(notice, &m.envelope); err != nil || m.ID == "" {
		return m, errNotice
	}
	return m, nil
}

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
func render(e Endpoint, m message, now time.Time) (request, error) {
	r := request{header: http.Header{"Content-Type": {"application/json"}, "Webhook-Id": {m.ID}}}
	keys, err := e.keys(now)
	if err != nil {
		return request{}, err
	}
	if e.dialect == nil {
		r.body = m.standard()
		signStandard(r.header, keys, m.ID, now, r.body)
		return r, nil
	}
	if r.path, r.body, err = e.dialect.body(m); err != nil {
		return request{}, err
	}
	if e.dialect.Sign != nil {
		// Such a request carries one signature: the newest key's. While the
		// secret changes, the one before it where that was accepted last, or the
		// other was refused.
		e.dialect.Sign(r.header, keys[m.variant%len(keys)], now, r.body)
	}
	return r, nil
}

// body makes path and body of an event.
func (d *Dialect) body(m message) (path string, body []byte, err error) {
	renderer := d.Render[m.Type]
	if renderer == nil {
		return "", nil, errNothing
	}
	var event meeting.Notice
	if err := json.Unmarshal(m.notice, &event); err != nil {
		return "", nil, errNotice
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
