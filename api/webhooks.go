package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"usher/config"
	"usher/meeting"
	"usher/webhook"
)

// Webhook is a webhook endpoint as apps see it.
type Webhook struct {
	ID          string           `json:"id"`
	Name        string           `json:"name" doc:"For people"`
	URL         string           `json:"url"`
	Events      []string         `json:"events" nullable:"false" doc:"Types of events, prefixes such as participant.*, or *"`
	MeetingID   string           `json:"meeting_id,omitempty" doc:"Only events of this meeting; missing: of all"`
	Dialect     string           `json:"dialect" doc:"Shape of what is sent: standard, whereby, jitsi or event_sync"`
	HeaderNames []string         `json:"header_names" nullable:"false" doc:"Names of the headers that requests carry besides; nobody is shown their values"`
	Enabled     bool             `json:"enabled"`
	Disabled    *WebhookDisabled `json:"disabled,omitempty" doc:"While it is not enabled: why, and since when"`
	Configured  bool             `json:"configured" doc:"It comes from usher's configuration: it can be disabled and enabled, not changed"`
	CreatedAt   *meeting.Time    `json:"created_at,omitempty" doc:"Missing for those of the configuration"`
	Secret      string           `json:"secret,omitempty" doc:"What signs deliveries (Standard Webhooks), shown this once"`
	Backlog     *WebhookBacklog  `json:"backlog,omitempty" doc:"What waits, where one endpoint is asked for"`
}

// WebhookDisabled is why nothing is sent to an endpoint, and since when.
type WebhookDisabled struct {
	Reason string       `json:"reason" enum:"requested,gone,failing" doc:"gone: it answered 410; failing: it did nothing else for days"`
	Since  meeting.Time `json:"since"`
}

// WebhookBacklog is what waits for an endpoint.
type WebhookBacklog struct {
	Events       int           `json:"events" doc:"That wait; an estimate when they are of very many meetings"`
	Meetings     int           `json:"meetings" doc:"That they are about"`
	OldestAt     *meeting.Time `json:"oldest_at,omitempty" doc:"When the oldest of them happened"`
	FailingSince *meeting.Time `json:"failing_since,omitempty" doc:"Set while the endpoint fails; it is tried every few seconds then"`
}

// newWebhook is the body that makes an endpoint.
type newWebhook struct {
	_         struct{}                 `json:"-" additionalProperties:"false"`
	URL       string                   `json:"url" minLength:"1" maxLength:"2048" doc:"https, or http to an address that this site allows"`
	Events    []string                 `json:"events,omitempty" maxItems:"64" nullable:"false" doc:"Types of events, prefixes such as participant.*, or *; missing: all"`
	MeetingID string                   `json:"meeting_id,omitempty" maxLength:"64" doc:"Only events of this meeting"`
	Name      string                   `json:"name,omitempty" maxLength:"128" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" doc:"For people"`
	Dialect   string                   `json:"dialect,omitempty" maxLength:"32" doc:"Shape of what is sent: standard, whereby, jitsi or event_sync; missing: standard"`
	Headers   map[string]config.Secret `json:"headers,omitempty" doc:"Headers that requests carry besides, such as Authorization"`
}

// webhookChanges is the body that changes an endpoint.
type webhookChanges struct {
	_       struct{}                  `json:"-" additionalProperties:"false"`
	URL     *string                   `json:"url,omitempty" minLength:"1" maxLength:"2048"`
	Events  *[]string                 `json:"events,omitempty" minItems:"1" maxItems:"64" nullable:"false"`
	Dialect *string                   `json:"dialect,omitempty" minLength:"1" maxLength:"32"`
	Headers *map[string]config.Secret `json:"headers,omitempty" doc:"Replace all that there were; needed together with a URL of another host when there are any"`
	Enabled *bool                     `json:"enabled,omitempty" doc:"Events that happen while it is not enabled are not sent later, unless they are replayed"`
}

// replayRange is the body that replays.
type replayRange struct {
	_      struct{} `json:"-" additionalProperties:"false"`
	After  Instant  `json:"after" doc:"Events from then on; the event log reaches back a week"`
	Before *Instant `json:"before,omitempty" doc:"Events until then; missing: until now"`
}

// Replayed is the outcome of a replay.
type Replayed struct {
	Events int `json:"events" doc:"That are on their way once more, behind what waits"`
}

func (v *v1) registerWebhooks() {
	show(v, operation(ScopeWebhooksWrite, http.StatusCreated, "create-webhook", "POST /v1/webhooks",
		"Make a webhook endpoint: it gets every event from now on, at least once and in order per meeting",
		http.StatusConflict), v.createWebhook)
	show(v, operation(ScopeWebhooksWrite, http.StatusOK, "list-webhooks", "GET /v1/webhooks",
		"List the webhook endpoints"), v.listWebhooks)
	show(v, operation(ScopeWebhooksWrite, http.StatusOK, "get-webhook", "GET /v1/webhooks/{id}",
		"Read a webhook endpoint and what waits for it"), v.getWebhook)
	show(v, operation(ScopeWebhooksWrite, http.StatusOK, "patch-webhook", "PATCH /v1/webhooks/{id}",
		"Change a webhook endpoint, disable or enable it", http.StatusConflict), v.patchWebhook)
	done(v, operation(ScopeWebhooksWrite, http.StatusNoContent, "delete-webhook", "DELETE /v1/webhooks/{id}",
		"Delete a webhook endpoint and what waits for it", http.StatusConflict), v.deleteWebhook)
	show(v, operation(ScopeWebhooksWrite, http.StatusOK, "rotate-webhook-secret", "POST /v1/webhooks/{id}/rotate-secret",
		"Give a webhook endpoint a new secret. The old one signs as well for another day", http.StatusConflict), v.rotateWebhook)
	show(v, operation(ScopeWebhooksWrite, http.StatusOK, "test-webhook", "POST /v1/webhooks/{id}/test",
		"Send an event of type webhook.test, and say what came of it"), v.testWebhook)
	show(v, operation(ScopeWebhooksWrite, http.StatusOK, "list-deliveries", "GET /v1/webhooks/{id}/deliveries",
		"List what was tried, about the last thousand, or the events that were given up in the last thirty days"), v.listDeliveries)
	done(v, operation(ScopeWebhooksWrite, http.StatusNoContent, "retry-delivery", "POST /v1/webhooks/{id}/deliveries/{delivery}/retry",
		"Deliver an event once more"), v.retryDelivery)
	show(v, operation(ScopeWebhooksWrite, http.StatusOK, "replay-webhook", "POST /v1/webhooks/{id}/replay",
		"Deliver once more what happened in a time. It may be interrupted; then some events are on their way already"), v.replayWebhook)
}

// shownWebhook returns an endpoint without its secret.
func shownWebhook(e webhook.Endpoint) Webhook {
	w := Webhook{
		ID: e.ID, Name: e.Name, URL: e.URL, Events: slices.Clone(e.Events), MeetingID: e.MeetingID,
		Dialect: e.Dialect, HeaderNames: e.HeaderNames(),
		Enabled: e.Disabled == nil, Configured: e.Configured, CreatedAt: meeting.TimeOrNull(e.CreatedAt),
	}
	if e.Disabled != nil {
		w.Disabled = &WebhookDisabled{Reason: e.Disabled.Reason, Since: timeOf(e.Disabled.Since)}
	}
	return w
}

// withSecret logs what was done and returns an endpoint with its newest secret.
func (v *v1) withSecret(ctx context.Context, done string, e webhook.Endpoint, err error) (Webhook, error) {
	if err != nil {
		return Webhook{}, err
	}
	v.Log.Info(done, "webhook_id", e.ID, "by", infoOf(ctx).caller.id)
	w := shownWebhook(e)
	w.Secret = string(e.Secrets[0].Key)
	return w, nil
}

func (v *v1) createWebhook(ctx context.Context, in *body[newWebhook]) (Webhook, error) {
	if id := in.Body.MeetingID; id != "" {
		if _, err := v.Service.Load(ctx, id); errors.Is(err, meeting.ErrNotFound) {
			return Webhook{}, &meeting.InvalidError{Field: "meeting_id", Detail: "there is no such meeting"}
		} else if err != nil {
			return Webhook{}, err
		}
	}
	e, err := v.Webhooks.Create(ctx, webhook.Endpoint{
		URL: in.Body.URL, Events: in.Body.Events, MeetingID: in.Body.MeetingID, Name: in.Body.Name,
		Dialect: in.Body.Dialect, Headers: in.Body.Headers,
	})
	return v.withSecret(ctx, "webhook endpoint made", e, err)
}

func (v *v1) listWebhooks(_ context.Context, in *Paging) (Page[Webhook], error) {
	list, next := newestOf(v.Webhooks.List(), *in, func(e webhook.Endpoint) string { return e.ID })
	return pageOf(list, next, nil, shownWebhook)
}

func (v *v1) getWebhook(ctx context.Context, in *ByID) (Webhook, error) {
	e, err := v.Webhooks.Get(in.ID)
	if err != nil {
		return Webhook{}, err
	}
	w := shownWebhook(e)
	b, err := v.Webhooks.Backlog(ctx, in.ID)
	w.Backlog = &WebhookBacklog{
		Events: b.Events, Meetings: b.Meetings, OldestAt: meeting.TimeOrNull(b.Oldest), FailingSince: meeting.TimeOrNull(b.FailingSince),
	}
	return w, err
}

func (v *v1) patchWebhook(ctx context.Context, in *struct {
	ByID
	Body webhookChanges
}) (Webhook, error) {
	if in.Body == (webhookChanges{}) {
		return Webhook{}, NewProblem(http.StatusUnprocessableEntity, "nothing to change")
	}
	var err error
	enabled := in.Body.Enabled
	if in.Body != (webhookChanges{Enabled: enabled}) {
		_, err = v.Webhooks.Update(ctx, in.ID, in.Body.apply)
	}
	switch {
	case err != nil || enabled == nil:
	case *enabled:
		if err = v.Webhooks.Enable(ctx, in.ID); err == nil {
			v.Deliverer.RetryNow(in.ID) // also one that only failed
		}
	default:
		err = v.Webhooks.Disable(ctx, in.ID, webhook.DisabledRequested)
	}
	if err != nil {
		return Webhook{}, err
	}
	v.Log.Info("webhook endpoint changed", "webhook_id", in.ID, "by", infoOf(ctx).caller.id)
	return v.getWebhook(ctx, &in.ByID)
}

func (c webhookChanges) apply(e *webhook.Endpoint) error {
	setIfGiven(&e.URL, c.URL)
	setIfGiven(&e.Events, c.Events)
	setIfGiven(&e.Dialect, c.Dialect)
	setIfGiven(&e.Headers, c.Headers)
	return nil
}

func setIfGiven[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func (v *v1) deleteWebhook(ctx context.Context, in *ByID) error {
	err := v.Webhooks.Delete(ctx, in.ID)
	if err == nil {
		v.Log.Info("webhook endpoint deleted", "webhook_id", in.ID, "by", infoOf(ctx).caller.id)
	}
	return err
}

func (v *v1) rotateWebhook(ctx context.Context, in *ByID) (Webhook, error) {
	e, err := v.Webhooks.Rotate(ctx, in.ID)
	return v.withSecret(ctx, "secret of a webhook endpoint rotated", e, err)
}

func (v *v1) testWebhook(ctx context.Context, in *ByID) (webhook.Attempt, error) {
	return v.Deliverer.Test(ctx, in.ID)
}

func (v *v1) listDeliveries(ctx context.Context, in *struct {
	ByID
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"Most elements on a page"`
	Cursor string `query:"cursor" maxLength:"40" pattern:"^([1-9][0-9]{0,18}-[0-9]{1,19})?$" doc:"next_cursor of the page before; empty: the first page"`
	Dead   bool   `query:"dead" doc:"The events that were given up"`
}) (Page[webhook.Attempt], error) {
	list, next, err := v.Webhooks.Attempts(ctx, in.ID, in.Dead, in.Cursor, in.Limit)
	return pageOf(list, next, err, func(a webhook.Attempt) webhook.Attempt { return a })
}

func (v *v1) retryDelivery(ctx context.Context, in *struct {
	ByID
	Delivery string `path:"delivery" maxLength:"64"`
}) error {
	return v.Deliverer.Retry(ctx, in.ID, in.Delivery)
}

func (v *v1) replayWebhook(ctx context.Context, in *struct {
	ByID
	Body replayRange
}) (Replayed, error) {
	after, before := in.Body.After.Time, time.Now()
	if in.Body.Before != nil {
		before = in.Body.Before.Time
	}
	switch {
	case before.After(after):
	case in.Body.Before == nil:
		return Replayed{}, &meeting.InvalidError{Field: "after", Detail: "is not in the past"}
	default:
		return Replayed{}, &meeting.InvalidError{Field: "before", Detail: "is not later than after"}
	}
	n, err := v.Deliverer.Replay(ctx, in.ID, after, before)
	return Replayed{n}, err
}
