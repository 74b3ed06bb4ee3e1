package webhook

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"usher/meeting"
)

// Attempt is one try to deliver an event, as the delivery log has it. It holds
// nothing of what the endpoint said, and no secrets.
type Attempt struct {
	ID        string            `json:"id"` // dlv_ and a ULID
	EventID   string            `json:"event_id"`
	EventType meeting.EventType `json:"event_type"`
	MeetingID string            `json:"meeting_id,omitempty"`
	// Number is 1 for the first try. It stays the same in tries that do not
	// count because they only see whether the endpoint is back.
	Number     int                    `json:"attempt" doc:"1 for the first; the same number again for tries that only see whether the endpoint is back"`
	Result     meeting.DeliveryResult `json:"result" enum:"delivered,failed,given_up"`
	Status     int                    `json:"status,omitempty" doc:"Of the answer; missing when there was none"`
	Error      string                 `json:"error,omitempty" enum:"dns,blocked,connect,tls,timeout,broken,notice" doc:"Why there was no answer"`
	At         meeting.Time           `json:"at"`
	DurationMS int64                  `json:"duration_ms"`

	event json.RawMessage // that was tried
}

// newAttempt records a first try that has just ended, as one that failed.
func newAttempt(ev *event, o outcome) Attempt {
	at := time.Now().Add(-o.took)
	return Attempt{
		ID: meeting.NewID("dlv_", at, meeting.NewSeed(), 0), EventID: ev.ID, EventType: ev.Type, MeetingID: ev.MeetingID,
		Number: 1, Result: meeting.Failed, Status: o.status, Error: o.reason,
		At: meeting.Time{Time: at.UTC()}, DurationMS: o.took.Milliseconds(),
	}
}

// Attempts returns a page of an endpoint's tries, newest first, or of the
// events that were given up, and the cursor of the next page, empty at the
// end. The log holds about the last thousand, the dead letters those of thirty
// days. limit is taken as 1 to 100. Errors: [ErrNotFound],
// [meeting.ErrUnavailable], and one for a cursor that is none.
func (r *Registry) Attempts(ctx context.Context, id string, dead bool, cursor string, limit int) (page []Attempt, next string, err error) {
	if _, err := r.Get(id); err != nil {
		return nil, "", err
	}
	limit = min(max(limit, 1), attemptsPage)
	entries, err := r.store.Attempts(ctx, id, dead, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	for _, entry := range entries {
		var a Attempt
		if err := json.Unmarshal(entry.Record, &a); err != nil {
			r.log.Error("entry in the delivery log is unreadable", "endpoint", id, "err", err)
			continue
		}
		a.event = entry.Event
		page = append(page, a)
	}
	if len(entries) == limit {
		next = entries[limit-1].Place
	}
	return page, next, nil
}

// attemptsPage is how many entries of the log are read at a time.
const attemptsPage = 100

// attemptSlack is how long before or after its try an entry of the log is looked
// for: the store's clock and this one may differ, and it may have been away.
const attemptSlack = time.Hour

// attempt returns an entry of the delivery log or of the dead letters. The
// entry's id says when it was, so only that part is read.
func (r *Registry) attempt(ctx context.Context, id, attempt string) (Attempt, error) {
	at, ok := meeting.IDTime("dlv_", attempt)
	if !ok {
		return Attempt{}, ErrNotFound
	}
	for _, dead := range []bool{false, true} {
		cursor := strconv.FormatInt(at.Add(attemptSlack).UnixMilli(), 10)
		for cursor != "" {
			page, next, err := r.Attempts(ctx, id, dead, cursor, attemptsPage)
			if err != nil {
				return Attempt{}, err
			}
			cursor = next
			for _, a := range page {
				if a.ID == attempt {
					return a, nil
				}
				if a.At.Before(at.Add(-attemptSlack)) {
					cursor = ""
				}
			}
		}
	}
	return Attempt{}, ErrNotFound
}

// Backlog says what waits for an endpoint, and whether it fails. Errors:
// [ErrNotFound], [meeting.ErrUnavailable].
func (r *Registry) Backlog(ctx context.Context, id string) (meeting.Backlog, error) {
	if _, err := r.Get(id); err != nil {
		return meeting.Backlog{}, err
	}
	return r.store.Backlog(ctx, id)
}
