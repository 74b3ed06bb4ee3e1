package webhook

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"usher/meeting"
)

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

// signStandard adds the time and a signature for each key, newest first.
func signStandard(h http.Header, keys [][]byte, id string, at time.Time, body []byte) {
	h["Webhook-Timestamp"] = []string{strconv.FormatInt(at.Unix(), 10)}
	h["Webhook-Signature"] = []string{signature(keys, id, at, body)}
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
