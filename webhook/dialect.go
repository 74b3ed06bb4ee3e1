package webhook

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"usher/meeting"
)

// Standard is the dialect of Standard Webhooks 1.0.0: the notice itself, byte
// for byte as it was committed. A notice that follows one that was given up has
// "gap":true as its last field.
const Standard = "standard"

// dialects make requests out of notices, by name.
var dialects = map[string]dialect{
	Standard: standard,
}

// Dialects returns the names of the dialects that endpoints may have.
func Dialects() []string { return slices.Sorted(maps.Keys(dialects)) }

// dialect returns the body and the headers of one try. The body depends on the
// message alone, so that every try sends the same; an error means that no try
// can succeed.
type dialect func(m message, secrets []Secret, at time.Time) (body []byte, h http.Header, err error)

// message is a notice on its way to an endpoint.
type message struct {
	envelope
	notice json.RawMessage
	gap    bool // the one before it was given up
}

// envelope is what delivering wants to know of a notice.
type envelope struct {
	ID        string             `json:"id"`
	Type      meeting.NoticeType `json:"type"`
	MeetingID string             `json:"meeting_id"`
	Timestamp time.Time          `json:"timestamp"`
}

var errNotice = errors.New("webhook: notice is unreadable")

func newMessage(notice json.RawMessage, gap bool) (message, error) {
	m := message{notice: notice, gap: gap}
	if err := json.Unmarshal(notice, &m.envelope); err != nil || m.ID == "" {
		return m, errNotice
	}
	return m, nil
}

func standard(m message, secrets []Secret, at time.Time) ([]byte, http.Header, error) {
	body := []byte(m.notice)
	if m.gap {
		end := bytes.LastIndexByte(body, '}')
		body = slices.Concat(body[:end], []byte(`,"gap":true}`))
	}
	signed, err := signature(secrets, m.ID, at, body)
	if err != nil {
		return nil, nil, err
	}
	return body, http.Header{
		"Content-Type":      {"application/json"},
		"Webhook-Id":        {m.ID},
		"Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)},
		"Webhook-Signature": {signed},
	}, nil
}

// TypeTest is the type of the notice that [Deliverer.Test] sends.
const TypeTest meeting.NoticeType = "webhook.test"

// testNotice returns a notice that is about nothing.
func testNotice(now time.Time) json.RawMessage {
	var seed meeting.Seed
	_, _ = rand.Read(seed[:])          // never fails (crypto/rand)
	notice, _ := json.Marshal(struct { // always encodes
		ID         string             `json:"id"`
		Type       meeting.NoticeType `json:"type"`
		Timestamp  meeting.Time       `json:"timestamp"`
		APIVersion string             `json:"api_version"`
		Data       struct{}           `json:"data"`
	}{ID: meeting.NewID("evt_", now, seed, 0), Type: TypeTest, Timestamp: meeting.Time{Time: now}, APIVersion: meeting.APIVersion})
	return notice
}
