package webhook

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"usher/meeting"
)

// Forwarded is an event that another system has made. It goes on as it is, signed
// anew, to the endpoints whose dialect is that system's ([Dialect.Forwards]).
type Forwarded struct {
	ID        string            // that the other system gave it: letters, digits, dash and underscore
	Type      string            // by the other system's name
	As        meeting.EventType // the type of ours that endpoints choose it by; empty: only those that want all get it
	MeetingID string            // with whose events it comes in order; any text
	Body      []byte            // sent byte for byte
}

// forwardedEvent is how one is stored. Seq is 0, as of no other event of a meeting.
type forwardedEvent struct {
	ID           string       `json:"id"`
	Type         string       `json:"type"`
	Timestamp    meeting.Time `json:"timestamp"`
	MeetingID    string       `json:"meeting_id"`
	Seq          int64        `json:"seq"`
	StateVersion int64        `json:"state_version"` // behind what [readEvent] looks at
	Body         []byte       `json:"forwarded"`
}

// Forward stores the event for every endpoint that is to get it, and reports false
// if it was stored before, or nobody wants it. It may be repeated. Errors:
// [meeting.ErrUnavailable], also while another process leads, and
// [meeting.ErrFenced].
func (d *Deliverer) Forward(ctx context.Context, f Forwarded) (stored bool, err error) {
	if err := d.locked(func(*queue, time.Time) {}); err != nil {
		return false, err
	}
	var endpoints []string
	for _, e := range d.registry.List() {
		if e.Disabled == nil && e.forwards(f) {
			endpoints = append(endpoints, e.ID)
		}
	}
	if len(endpoints) == 0 {
		return false, nil
	}
	text, err := json.Marshal(forwardedEvent{ID: f.ID, Type: f.Type, Timestamp: meeting.Time{Time: time.Now()}, MeetingID: f.MeetingID, Body: f.Body})
	if err != nil {
		return false, err
	}
	stored, err = d.registry.store.Forward(ctx, f.ID, f.MeetingID, text, endpoints)
	// Whatever the store says: it may have stored the event and its answer was lost,
	// now or at an earlier try. If another process leads by now, it finds the event in
	// the lists.
	_ = d.update(func(q *queue, _ time.Time) {
		for _, id := range endpoints {
			q.appended(id, f.MeetingID)
		}
	})
	return stored, err
}

// forwards reports whether the endpoint is to get the event.
func (e Endpoint) forwards(f Forwarded) bool {
	return e.dialect != nil && e.dialect.Forwards && (e.MeetingID == "" || e.MeetingID == f.MeetingID) &&
		(slices.Contains(e.Events, "*") || f.As != "" && f.As.IsOneOf(e.Events))
}

// forwarded returns the body of an event that another system has made, nil of
// any other.
func (e *event) forwarded() []byte {
	var f forwardedEvent
	if e.Seq != 0 || json.Unmarshal(e.text, &f) != nil {
		return nil
	}
	return f.Body
}

// appended says that the store has put an event at the end of a list that the
// queue is not handed.
func (q *queue) appended(endpoint, meetingID string) {
	l := q.of(endpoint).of(meetingID)
	l.more = true
	if l.state == idle {
		l.enqueue()
	}
}
