package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

// Webhooks keeps the webhook endpoints and delivers to them. What is not there
// is [meeting.ErrNotFound], what cannot be taken [meeting.InvalidError] with
// the field of the body, and what may pass wraps [meeting.ErrUnavailable].
type Webhooks interface {
	// CreateWebhook makes an endpoint and returns it with its secret, or
	// [ErrTooManyWebhooks].
	CreateWebhook(ctx context.Context, c WebhookChange) (Webhook, error)
	// Webhooks returns all endpoints, in no order and without secrets.
	Webhooks() []Webhook
	// Webhook returns one endpoint with its backlog, without its secret.
	Webhook(ctx context.Context, id string) (Webhook, error)
	// ChangeWebhook, DeleteWebhook and RotateWebhook refuse endpoints of the
	// configuration with [ErrConfigured]; disabling and enabling them is no
	// change of the configuration. RotateWebhook returns the new secret.
	ChangeWebhook(ctx context.Context, id string, c WebhookChange) error
	DeleteWebhook(ctx context.Context, id string) error
	RotateWebhook(ctx context.Context, id string) (Webhook, error)
	Deliveries
}

// Errors of [Webhooks].
var (
	ErrConfigured      = errors.New("api: the endpoint comes from the configuration")
	ErrTooManyWebhooks = errors.New("api: too many webhook endpoints")
)

// WebhookChange is what is to be different about an endpoint; nil: nothing.
type WebhookChange struct {
	Name, URL, MeetingID, Dialect *string
	Events                        *[]string
	Headers                       *map[string]string // replaces all
	Enabled                       *bool
}

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

// WebhookDisabled says why nothing is sent to an endpoint, and since when.
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
	_         struct{}          `json:"-" additionalProperties:"false"`
	URL       string            `json:"url" minLength:"1" maxLength:"2048" doc:"https, or http to an address that this site allows"`
	Events    []string          `json:"events,omitempty" maxItems:"64" nullable:"false" doc:"Types of events, prefixes such as participant.*, or *; missing: all"`
	MeetingID string            `json:"meeting_id,omitempty" maxLength:"64" doc:"Only events of this meeting"`
	Name      string            `json:"name,omitempty" maxLength:"128" doc:"For people"`
	Dialect   string            `json:"dialect,omitempty" maxLength:"32" doc:"Shape of what is sent: standard, whereby, jitsi or event_sync; missing: standard"`
	Headers   map[string]string `json:"headers,omitempty" doc:"Headers that requests carry besides, such as Authorization"`
}

// webhookChanges is the body that changes an endpoint.
type webhookChanges struct {
	_       struct{}           `json:"-" additionalProperties:"false"`
	URL     *string            `json:"url,omitempty" minLength:"1" maxLength:"2048"`
	Events  *[]string          `json:"events,omitempty" minItems:"1" maxItems:"64" nullable:"false"`
	Dialect *string            `json:"dialect,omitempty" minLength:"1" maxLength:"32"`
	Headers *map[string]string `json:"headers,omitempty" doc:"Replace all that there were; needed together with a URL of another host when there are any"`
	Enabled *bool              `json:"enabled,omitempty" doc:"Events that happen while it is not enabled are not sent later, unless they are replayed"`
}

// oneWebhook is an output of huma's.
type oneWebhook struct{ Body Webhook }

func (v *v1) registerWebhooks(a huma.API) {
	create := operation(ScopeWebhooksWrite, "create-webhook", http.MethodPost, "/v1/webhooks",
		"Make a webhook endpoint: it is told of every event from now on, at least once and in order per meeting",
		http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge)
	create.DefaultStatus = http.StatusCreated
	huma.Register(a, create, v.createWebhook)
	huma.Register(a, operation(ScopeWebhooksWrite, "list-webhooks", http.MethodGet, "/v1/webhooks",
		"List the webhook endpoints"), v.listWebhooks)
	huma.Register(a, operation(ScopeWebhooksWrite, "get-webhook", http.MethodGet, "/v1/webhooks/{id}",
		"Read a webhook endpoint and what waits for it", http.StatusNotFound), v.getWebhook)
	huma.Register(a, operation(ScopeWebhooksWrite, "patch-webhook", http.MethodPatch, "/v1/webhooks/{id}",
		"Change a webhook endpoint, disable or enable it",
		http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge), v.patchWebhook)
	remove := operation(ScopeWebhooksWrite, "delete-webhook", http.MethodDelete, "/v1/webhooks/{id}",
		"Delete a webhook endpoint and what waits for it", http.StatusNotFound, http.StatusConflict)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(a, remove, v.deleteWebhook)
	huma.Register(a, operation(ScopeWebhooksWrite, "rotate-webhook-secret", http.MethodPost, "/v1/webhooks/{id}/rotate-secret",
		"Give a webhook endpoint a new secret. The old one signs as well for another day",
		http.StatusNotFound, http.StatusConflict), v.rotateWebhook)
	v.registerDeliveries(a)
}

// failWebhook is fail for the errors of [Webhooks].
func (v *v1) failWebhook(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrConfigured):
		p := newProblem(http.StatusConflict, "the endpoint comes from usher's configuration")
		p.Code = "configured"
		return p
	case errors.Is(err, ErrTooManyWebhooks):
		p := newProblem(http.StatusConflict, "the site has as many webhook endpoints as it may: delete one")
		p.Code = "too_many_webhooks"
		return p
	}
	return v.fail(ctx, err)
}

func (v *v1) createWebhook(ctx context.Context, in *struct{ Body newWebhook }) (*oneWebhook, error) {
	c := WebhookChange{URL: &in.Body.URL, Events: &in.Body.Events, MeetingID: &in.Body.MeetingID, Name: &in.Body.Name, Dialect: &in.Body.Dialect, Headers: &in.Body.Headers}
	if in.Body.MeetingID != "" {
		if _, err := v.load(ctx, in.Body.MeetingID); errors.Is(err, meeting.ErrNotFound) {
			return nil, v.fail(ctx, &meeting.InvalidError{Field: "meeting_id", Detail: "there is no such meeting"})
		} else if err != nil {
			return nil, v.fail(ctx, err)
		}
	}
	w, err := v.webhooks.CreateWebhook(ctx, c)
	if err != nil {
		return nil, v.failWebhook(ctx, err)
	}
	v.log.Info("webhook endpoint made", "webhook_id", w.ID, "by", exchangeOf(ctx).caller.id)
	return &oneWebhook{w}, nil
}

func (v *v1) listWebhooks(_ context.Context, in *struct{ Paging }) (*page[Webhook], error) {
	list, next := newest(v.webhooks.Webhooks(), in.Paging, func(w Webhook) string { return w.ID })
	return newPage(list, next, func(w Webhook) Webhook { return w }), nil
}

func (v *v1) getWebhook(ctx context.Context, in *ByID) (*oneWebhook, error) {
	w, err := v.webhooks.Webhook(ctx, in.ID)
	if err != nil {
		return nil, v.failWebhook(ctx, err)
	}
	return &oneWebhook{w}, nil
}

func (v *v1) patchWebhook(ctx context.Context, in *struct {
	ByID
	Body webhookChanges
}) (*oneWebhook, error) {
	c := WebhookChange{URL: in.Body.URL, Events: in.Body.Events, Dialect: in.Body.Dialect, Headers: in.Body.Headers, Enabled: in.Body.Enabled}
	if c == (WebhookChange{}) {
		return nil, newProblem(http.StatusUnprocessableEntity, "nothing to change")
	}
	if err := v.webhooks.ChangeWebhook(ctx, in.ID, c); err != nil {
		return nil, v.failWebhook(ctx, err)
	}
	v.log.Info("webhook endpoint changed", "webhook_id", in.ID, "by", exchangeOf(ctx).caller.id)
	return v.getWebhook(ctx, &in.ByID)
}

func (v *v1) deleteWebhook(ctx context.Context, in *ByID) (*struct{}, error) {
	if err := v.webhooks.DeleteWebhook(ctx, in.ID); err != nil {
		return nil, v.failWebhook(ctx, err)
	}
	v.log.Info("webhook endpoint deleted", "webhook_id", in.ID, "by", exchangeOf(ctx).caller.id)
	return nil, nil
}

func (v *v1) rotateWebhook(ctx context.Context, in *ByID) (*oneWebhook, error) {
	w, err := v.webhooks.RotateWebhook(ctx, in.ID)
	if err != nil {
		return nil, v.failWebhook(ctx, err)
	}
	v.log.Info("secret of a webhook endpoint rotated", "webhook_id", w.ID, "by", exchangeOf(ctx).caller.id)
	return &oneWebhook{w}, nil
}
