package webhook

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"time"

	"usher/meeting"
)

// Attempt is one try to deliver a notice, as the delivery log has it. It holds
// nothing of what the endpoint said, and no secrets.
type Attempt struct {
	ID        string             `json:"id"` // dlv_ and a ULID
	EventID   string             `json:"event_id"`
	EventType meeting.NoticeType `json:"event_type"`
	MeetingID string             `json:"meeting_id,omitempty"`
	// Number is 1 for the first try. It stays the same in tries that do not
	// count because they only see whether the endpoint is back.
	Number     int             `json:"attempt" doc:"1 for the first; the same number again for tries that only see whether the endpoint is back"`
	Result     meeting.Verdict `json:"result" enum:"delivered,failed,given_up,released"`
	Status     int             `json:"status,omitempty" doc:"Of the answer; missing when there was none"`
	Error      string          `json:"error,omitempty" enum:"dns,blocked,connect,tls,timeout,broken,notice" doc:"Why there was no answer"`
	At         meeting.Time    `json:"at"`
	DurationMS int64           `json:"duration_ms"`
}

// newAttempt records a try that has just ended.
func newAttempt(m message, meetingID string, number int, result meeting.Verdict, o outcome) Attempt {
	var seed meeting.Seed
	_, _ = rand.Read(seed[:]) // never fails (crypto/rand)
	at := time.Now().Add(-o.took)
	return Attempt{
		ID: meeting.NewID("dlv_", at, seed, 0), EventID: m.ID, EventType: m.Type, MeetingID: meetingID,
		Number: number, Result: result, Status: o.status, Error: o.reason,
		At: meeting.Time{Time: at.UTC()}, DurationMS: o.took.Milliseconds(),
	}
}

// Attempts returns a page of an endpoint's tries, newest first, or of the
// notices that were given up, and the cursor of the next page, empty at the
// end. The log holds about the last thousand, the dead letters those of thirty
// days. limit is taken as 1 to 100. Errors: [ErrNotFound],
// [meeting.ErrUnavailable], and one for a cursor that is none.
func (b *Book) Attempts(ctx context.Context, id string, dead bool, cursor string, limit int) (page []Attempt, next string, err error) {
	if _, err := b.Get(id); err != nil {
		return nil, "", err
	}
	limit = min(max(limit, 1), attemptsPage)
	entries, err := b.store.Attempts(ctx, id, dead, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	for _, entry := range entries {
		var a Attempt
		if err := json.Unmarshal(entry.Record, &a); err != nil {
			b.log.Error("entry in the delivery log is unreadable", "endpoint", id, "err", err)
			continue
		}
		page = append(page, a)
	}
	if len(entries) == limit {
		next = entries[limit-1].Place
	}
	return page, next, nil
}

// attemptsPage is how many entries of the log are read at a time.
const attemptsPage = 100

// Retry delivers once more what a try of the log or of the dead letters was
// about. If that still waits at the head of its lane it is due now, or at the
// next probe while the endpoint fails; otherwise it joins the lane again, behind
// what waits. Errors: [ErrNotFound],
// [meeting.ErrUnavailable].
func (b *Book) Retry(ctx context.Context, id, attempt string) error {
	if _, err := b.Get(id); err != nil {
		return err
	}
	for _, dead := range []bool{false, true} {
		for cursor := ""; ; {
			entries, err := b.store.Attempts(ctx, id, dead, cursor, attemptsPage)
			if err != nil {
				return err
			}
			for _, entry := range entries {
				var a Attempt
				if json.Unmarshal(entry.Record, &a) == nil && a.ID == attempt {
					return b.store.Requeue(ctx, id, []string{a.MeetingID}, []json.RawMessage{entry.Notice})
				}
			}
			if len(entries) < attemptsPage {
				break
			}
			cursor = entries[len(entries)-1].Place
		}
	}
	return ErrNotFound
}

// RetryNow makes all that waits for an endpoint due now, as if it had never
// failed. Errors: [ErrNotFound],
// [meeting.ErrUnavailable].
func (b *Book) RetryNow(ctx context.Context, id string) error {
	if _, err := b.Get(id); err != nil {
		return err
	}
	_, err := b.store.Exchange(ctx, meeting.Exchange{Endpoint: id, Hurry: true})
	return err
}

// Replay delivers once more what was committed in the given time and what the
// endpoint wants now, and returns how many notices that are. They join their
// lanes behind what waits there, so they arrive after newer ones. The event log
// reaches back seven days. When it fails, some may be on their way already.
// Errors: [ErrNotFound], [meeting.ErrUnavailable].
func (b *Book) Replay(ctx context.Context, id string, from, to time.Time) (int, error) {
	e, err := b.Get(id)
	if err != nil {
		return 0, err
	}
	var meetings []string
	var notices []json.RawMessage
	replayed := 0
	flush := func() error {
		if err := b.store.Requeue(ctx, id, meetings, notices); err != nil {
			return err
		}
		replayed += len(notices)
		meetings, notices = nil, nil
		return nil
	}
	err = b.store.Between(ctx, from, to, func(notice json.RawMessage) error {
		m, err := newMessage(notice, false)
		if err != nil || !e.Wants(m.Type, m.MeetingID) {
			return nil // what cannot be read is nothing to send
		}
		meetings, notices = append(meetings, m.MeetingID), append(notices, notice)
		if len(notices) < attemptsPage {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	return replayed, err
}

// Backlog says what waits for an endpoint, and whether it fails. Errors:
// [ErrNotFound], [meeting.ErrUnavailable].
func (b *Book) Backlog(ctx context.Context, id string) (meeting.Backlog, error) {
	if _, err := b.Get(id); err != nil {
		return meeting.Backlog{}, err
	}
	return b.store.Backlog(ctx, id)
}
