package meeting

import (
	"encoding/json"
	"time"
)

// What the store and package webhook say to each other about deliveries. The
// store keeps a list of events per webhook endpoint and meeting, oldest first;
// the leader delivers them and acknowledges what is done.
//
// Times are durations that were left, or had passed, when they were written:
// whoever reads them counts anew, so no clock is compared with another.

// DeliveryResult is what came of a try to deliver an event.
type DeliveryResult string

// Results.
const (
	Delivered DeliveryResult = "delivered" // the endpoint accepted it
	Failed    DeliveryResult = "failed"    // it will be tried again
	GivenUp   DeliveryResult = "given_up"  // it became a dead letter, and the next event says gap
	Skipped   DeliveryResult = "skipped"   // the endpoint's dialect has nothing to say of it
)

// Acks is what came of deliveries to one endpoint since the last ones.
type Acks struct {
	Endpoint string
	Done     []Ack
	Retries  map[string]Retry // of the meetings that changed; the zero value: nothing is left to know
	Health   *Health          // nil: unchanged; the zero value: nothing is left to know
	Tried    []Tried          // for the delivery log
}

// Ack says that a meeting's list is done up to an event, and how many events
// that is. It does nothing when the event is not in the list.
type Ack struct {
	MeetingID string
	Last      string // id of the event; its JSON where that has none
	Count     int
}

// Retry is what is known about the first event of a meeting's list.
type Retry struct {
	Failures int           `json:"failures,omitempty"` // that speak of the endpoint
	Refusals int           `json:"refusals,omitempty"` // that speak of the event
	Refused  time.Duration `json:"refused,omitempty"`  // since it was first refused
	Due      time.Duration `json:"due,omitempty"`      // until the next try that counts
	Gap      bool          `json:"gap,omitempty"`      // the event before it was given up, or may be lost
	// GapUntil is the number from which on events may be lost no more: those
	// before it say gap and leave it to the next to say so, too.
	GapUntil int64 `json:"gap_until,omitempty"`
}

// Health is what is known about an endpoint.
type Health struct {
	Since    time.Duration `json:"since,omitempty"`    // since the first failure after the last success
	Accepted time.Duration `json:"accepted,omitempty"` // since the last success
	Failures int           `json:"failures,omitempty"` // in a row that speak of the endpoint
	Refusals int           `json:"refusals,omitempty"` // in a row that may speak of it
	Failing  bool          `json:"failing,omitempty"`  // it is probed
	Stalled  bool          `json:"stalled,omitempty"`  // it gets nothing but probes
	Variant  int           `json:"variant,omitempty"`  // of the request that it accepted last
}

// Tried is an entry of an endpoint's delivery log, or of its dead letters.
type Tried struct {
	Place  string          // in the log, once stored; later ones are greater
	Record json.RawMessage // of the try
	Event  json.RawMessage // that was tried
	Dead   bool            // it is to be in both; not set when it is read
}

// Backlog is what waits for one endpoint.
type Backlog struct {
	Meetings int
	// Events is exact for a thousand meetings and estimated beyond.
	Events int
	// Oldest is the timestamp of the oldest first event, zero when nothing waits;
	// of more than a thousand meetings some are left out.
	Oldest time.Time
	// FailingSince is set while the endpoint fails.
	FailingSince time.Time
}

// StoredEndpoint is a webhook endpoint as the store has it.
type StoredEndpoint struct {
	ID       string
	Document json.RawMessage // nil for one that is known from elsewhere
	Disabled json.RawMessage // why and since when; nil while enabled
}
