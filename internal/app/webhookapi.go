package app

import (
	"context"
	"errors"
	"slices"
	"time"

	"usher/api"
	"usher/config"
	"usher/meeting"
	"usher/webhook"
)

// webhookAPI is the HTTP side's view of the endpoints (api.Webhooks).
type webhookAPI struct {
	book      *webhook.Book
	deliverer *webhook.Deliverer
}

// disabledByRequest is the reason of an endpoint that an app has disabled.
const disabledByRequest = "requested"

// webhookError returns the error that package api knows.
func webhookError(err error) error {
	var invalid *webhook.InvalidError
	switch {
	case errors.As(err, &invalid):
		return &meeting.InvalidError{Field: invalid.Field, Detail: invalid.Problem}
	case errors.Is(err, webhook.ErrNotFound):
		return meeting.ErrNotFound
	case errors.Is(err, webhook.ErrConfigured):
		return api.ErrConfigured
	case errors.Is(err, webhook.ErrFull):
		return api.ErrTooManyWebhooks
	}
	return err
}

// shownWebhook returns an endpoint as apps see it, without its secret.
func shownWebhook(e webhook.Endpoint) api.Webhook {
	w := api.Webhook{
		ID: e.ID, Name: e.Name, URL: e.URL, Events: slices.Clone(e.Events), MeetingID: e.MeetingID,
		Dialect: e.Dialect, HeaderNames: e.HeaderNames(),
		Enabled: e.Disabled == nil, Configured: e.Configured, CreatedAt: timeOrNil(e.CreatedAt),
	}
	if e.Disabled != nil {
		w.Disabled = &api.WebhookDisabled{Reason: e.Disabled.Reason, Since: meeting.Time{Time: e.Disabled.Since}}
	}
	return w
}

func timeOrNil(t time.Time) *meeting.Time {
	if t.IsZero() {
		return nil
	}
	return &meeting.Time{Time: t}
}

// Webhooks returns all endpoints.
func (w webhookAPI) Webhooks() []api.Webhook {
	var list []api.Webhook
	for _, e := range w.book.List() {
		list = append(list, shownWebhook(e))
	}
	return list
}

// Webhook returns one endpoint with its backlog.
func (w webhookAPI) Webhook(ctx context.Context, id string) (api.Webhook, error) {
	e, err := w.book.Get(id)
	if err != nil {
		return api.Webhook{}, webhookError(err)
	}
	b, err := w.book.Backlog(ctx, id)
	if err != nil {
		return api.Webhook{}, webhookError(err)
	}
	shown := shownWebhook(e)
	shown.Backlog = &api.WebhookBacklog{
		Events: b.Notices, Meetings: b.Lanes, OldestAt: timeOrNil(b.Oldest), FailingSince: timeOrNil(b.FailingSince),
	}
	return shown, nil
}

// CreateWebhook makes an endpoint and shows its secret.
func (w webhookAPI) CreateWebhook(ctx context.Context, c api.WebhookChange) (api.Webhook, error) {
	var e webhook.Endpoint
	applyWebhook(c, &e)
	e, err := w.book.Create(ctx, e)
	if err != nil {
		return api.Webhook{}, webhookError(err)
	}
	shown := shownWebhook(e)
	shown.Secret = string(e.Secrets[0].Key)
	return shown, nil
}

func applyWebhook(c api.WebhookChange, e *webhook.Endpoint) {
	set := func(to, from *string) {
		if from != nil {
			*to = *from
		}
	}
	set(&e.Name, c.Name)
	set(&e.URL, c.URL)
	set(&e.MeetingID, c.MeetingID)
	set(&e.Dialect, c.Dialect)
	if c.Events != nil {
		e.Events = *c.Events
	}
	if c.Headers != nil {
		e.Headers = map[string]config.Secret{}
		for name, value := range *c.Headers {
			e.Headers[name] = config.Secret(value)
		}
	}
}

// ChangeWebhook changes an endpoint, and then enables or disables it.
func (w webhookAPI) ChangeWebhook(ctx context.Context, id string, c api.WebhookChange) error {
	enabled := c.Enabled
	c.Enabled = nil
	if c != (api.WebhookChange{}) {
		_, err := w.book.Update(ctx, id, func(e *webhook.Endpoint) error { applyWebhook(c, e); return nil })
		if err != nil {
			return webhookError(err)
		}
	}
	switch {
	case enabled == nil:
		return nil
	case *enabled:
		return webhookError(w.book.Enable(ctx, id))
	}
	return webhookError(w.book.Disable(ctx, id, disabledByRequest))
}

// DeleteWebhook forgets an endpoint.
func (w webhookAPI) DeleteWebhook(ctx context.Context, id string) error {
	return webhookError(w.book.Delete(ctx, id))
}

// RotateWebhook gives an endpoint a new secret and shows it.
func (w webhookAPI) RotateWebhook(ctx context.Context, id string) (api.Webhook, error) {
	e, err := w.book.Rotate(ctx, id)
	if err != nil {
		return api.Webhook{}, webhookError(err)
	}
	shown := shownWebhook(e)
	shown.Secret = string(e.Secrets[0].Key)
	return shown, nil
}

// TestWebhook posts a webhook.test event.
func (w webhookAPI) TestWebhook(ctx context.Context, id string) (api.Delivery, error) {
	a, err := w.deliverer.Test(ctx, id)
	return api.Delivery(a), webhookError(err)
}

// WebhookDeliveries returns a page of the delivery log.
func (w webhookAPI) WebhookDeliveries(ctx context.Context, id string, dead bool, cursor string, limit int) ([]api.Delivery, string, error) {
	attempts, next, err := w.book.Attempts(ctx, id, dead, cursor, limit)
	if err != nil {
		return nil, "", webhookError(err)
	}
	list := make([]api.Delivery, len(attempts))
	for i, a := range attempts {
		list[i] = api.Delivery(a)
	}
	return list, next, nil
}

// RetryDelivery sends the event of a try once more.
func (w webhookAPI) RetryDelivery(ctx context.Context, id, delivery string) error {
	if err := w.book.Retry(ctx, id, delivery); err != nil {
		return webhookError(err)
	}
	w.deliverer.Wake(id)
	return nil
}

// ReplayWebhook sends once more what happened in the given time.
func (w webhookAPI) ReplayWebhook(ctx context.Context, id string, after, before time.Time) (int, error) {
	n, err := w.book.Replay(ctx, id, after, before)
	w.deliverer.Wake(id)
	return n, webhookError(err)
}
