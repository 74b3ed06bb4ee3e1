package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

// Deliveries is the part of [Webhooks] that sends, and knows what was sent.
type Deliveries interface {
	// TestWebhook posts a webhook.test event, disabled or not, and returns what
	// came of it. It takes up to ten seconds.
	TestWebhook(ctx context.Context, id string) (Delivery, error)
	// WebhookDeliveries returns a page of the tries, newest first, or of the
	// events that were given up. Cursors as in [Reads].
	WebhookDeliveries(ctx context.Context, id string, dead bool, cursor string, limit int) ([]Delivery, string, error)
	// RetryDelivery sends the event of a try once more.
	RetryDelivery(ctx context.Context, id, delivery string) error
	// ReplayWebhook sends once more what happened in the given time, and
	// returns how many events that are.
	ReplayWebhook(ctx context.Context, id string, after, before time.Time) (int, error)
}

// Delivery is one try to deliver an event. It holds nothing of what the
// endpoint answered but the status.
type Delivery struct {
	ID         string             `json:"id"`
	EventID    string             `json:"event_id"`
	EventType  meeting.NoticeType `json:"event_type"`
	MeetingID  string             `json:"meeting_id,omitempty"`
	Number     int                `json:"attempt" doc:"1 for the first; the same number again for tries that only see whether the endpoint is back"`
	Result     meeting.Verdict    `json:"result" enum:"delivered,failed,given_up,released"`
	Status     int                `json:"status,omitempty" doc:"Of the answer; missing when there was none"`
	Error      string             `json:"error,omitempty" enum:"dns,blocked,connect,tls,timeout,broken,notice" doc:"Why there was no answer"`
	At         meeting.Time       `json:"at"`
	DurationMS int64              `json:"duration_ms"`
}

// replayRange is the body that replays.
type replayRange struct {
	_      struct{}   `json:"-" additionalProperties:"false"`
	After  time.Time  `json:"after" doc:"Events from then on; the event log reaches back a week"`
	Before *time.Time `json:"before,omitempty" doc:"Events until then; missing: until now"`
}

// Replayed says what a replay has come to.
type Replayed struct {
	Events int `json:"events" doc:"That are on their way once more, behind what waits"`
}

func (v *v1) registerDeliveries(a huma.API) {
	huma.Register(a, operation(ScopeWebhooksWrite, "test-webhook", http.MethodPost, "/v1/webhooks/{id}/test",
		"Send an event of type webhook.test, and say what came of it", http.StatusNotFound), v.testWebhook)
	huma.Register(a, operation(ScopeWebhooksWrite, "list-deliveries", http.MethodGet, "/v1/webhooks/{id}/deliveries",
		"List what was tried, about the last thousand, or the events that were given up in the last thirty days", http.StatusNotFound), v.listDeliveries)
	retry := operation(ScopeWebhooksWrite, "retry-delivery", http.MethodPost, "/v1/webhooks/{id}/deliveries/{delivery}/retry",
		"Deliver an event once more", http.StatusNotFound)
	retry.DefaultStatus = http.StatusNoContent
	huma.Register(a, retry, v.retryDelivery)
	huma.Register(a, operation(ScopeWebhooksWrite, "replay-webhook", http.MethodPost, "/v1/webhooks/{id}/replay",
		"Deliver once more what happened in a time. It may be interrupted; then some events are on their way already",
		http.StatusBadRequest, http.StatusNotFound, http.StatusRequestEntityTooLarge), v.replayWebhook)
}

func (v *v1) testWebhook(ctx context.Context, in *ByID) (*struct{ Body Delivery }, error) {
	d, err := v.webhooks.TestWebhook(ctx, in.ID)
	if err != nil {
		return nil, v.failWebhook(ctx, err)
	}
	return &struct{ Body Delivery }{d}, nil
}

func (v *v1) listDeliveries(ctx context.Context, in *struct {
	ByID
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"Most elements on a page"`
	Cursor string `query:"cursor" maxLength:"40" pattern:"^[0-9]{1,19}-[0-9]{1,19}$" doc:"next_cursor of the page before"`
	Dead   bool   `query:"dead" doc:"The events that were given up"`
}) (*page[Delivery], error) {
	list, next, err := v.webhooks.WebhookDeliveries(ctx, in.ID, in.Dead, in.Cursor, in.Limit)
	if err != nil {
		return nil, v.failWebhook(ctx, err)
	}
	return newPage(list, next, func(d Delivery) Delivery { return d }), nil
}

func (v *v1) retryDelivery(ctx context.Context, in *struct {
	ByID
	Delivery string `path:"delivery" maxLength:"64"`
}) (*struct{}, error) {
	if err := v.webhooks.RetryDelivery(ctx, in.ID, in.Delivery); err != nil {
		return nil, v.failWebhook(ctx, err)
	}
	return nil, nil
}

func (v *v1) replayWebhook(ctx context.Context, in *struct {
	ByID
	Body replayRange
}) (*struct{ Body Replayed }, error) {
	before := time.Now()
	if in.Body.Before != nil {
		before = *in.Body.Before
	}
	if !before.After(in.Body.After) {
		return nil, v.fail(ctx, &meeting.InvalidError{Field: "before", Detail: "is not later than after"})
	}
	n, err := v.webhooks.ReplayWebhook(ctx, in.ID, in.Body.After, before)
	if err != nil {
		return nil, v.failWebhook(ctx, err)
	}
	return &struct{ Body Replayed }{Replayed{n}}, nil
}

// newest returns a page of a list that is at hand, by descending id, and the
// cursor of the next one.
func newest[T any](list []T, p Paging, id func(T) string) (page []T, next string) {
	for _, e := range list {
		if p.Cursor == "" || id(e) < p.Cursor {
			page = append(page, e)
		}
	}
	slices.SortFunc(page, func(a, b T) int { return cmp.Compare(id(b), id(a)) })
	if len(page) > p.Limit {
		page = page[:p.Limit]
		next = id(page[p.Limit-1])
	}
	return page, next
}
