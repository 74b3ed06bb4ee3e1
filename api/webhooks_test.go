package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/meeting"
)

// fakeWebhooks keeps endpoints, sends nothing, and has one of the
// configuration, whk_crm. An endpoint with the name full is one too many.
type fakeWebhooks struct {
	made     map[string]Webhook
	replayed string
}

var crm = Webhook{ID: "whk_crm", Name: "crm", URL: "https://crm.example/", Events: []string{"*"}, Dialect: "standard", HeaderNames: []string{}, Enabled: true, Configured: true}

func (f *fakeWebhooks) CreateWebhook(_ context.Context, c WebhookChange) (Webhook, error) {
	switch {
	case !strings.HasPrefix(*c.URL, "https://"):
		return Webhook{}, &meeting.InvalidError{Field: "url", Detail: "is not https"}
	case *c.Name == "full":
		return Webhook{}, ErrTooManyWebhooks
	}
	if f.made == nil {
		f.made = map[string]Webhook{}
	}
	w := Webhook{
		ID: fmt.Sprint("whk_", len(f.made)+1), Name: *c.Name, URL: *c.URL, Events: append([]string{}, *c.Events...), MeetingID: *c.MeetingID,
		Dialect: *c.Dialect, HeaderNames: append([]string{}, slices.Sorted(maps.Keys(*c.Headers))...), Enabled: true, CreatedAt: &meeting.Time{Time: time.Now()},
	}
	f.made[w.ID] = w
	w.Secret = "whsec_of_" + w.ID
	return w, nil
}

func (f *fakeWebhooks) Webhooks() []Webhook {
	return append(slices.Collect(maps.Values(f.made)), crm)
}

func (f *fakeWebhooks) Webhook(_ context.Context, id string) (Webhook, error) {
	w, known := f.made[id]
	if id == crm.ID {
		w, known = crm, true
	}
	if !known {
		return Webhook{}, meeting.ErrNotFound
	}
	w.Backlog = &WebhookBacklog{Events: 3, Meetings: 1}
	return w, nil
}

// change returns why an endpoint cannot be changed.
func (f *fakeWebhooks) change(id string) error {
	if _, err := f.Webhook(context.Background(), id); err != nil || id != crm.ID {
		return err
	}
	return ErrConfigured
}

func (f *fakeWebhooks) ChangeWebhook(_ context.Context, id string, c WebhookChange) error {
	if err := f.change(id); err != nil {
		return err
	}
	w := f.made[id]
	if c.URL != nil {
		w.URL = *c.URL
	}
	if c.Dialect != nil {
		w.Dialect = *c.Dialect
	}
	if c.Headers != nil {
		w.HeaderNames = append([]string{}, slices.Sorted(maps.Keys(*c.Headers))...)
	}
	if c.Enabled != nil {
		w.Enabled, w.Disabled = *c.Enabled, nil
		if !w.Enabled {
			w.Disabled = &WebhookDisabled{Reason: "requested", Since: meeting.Time{Time: time.Now()}}
		}
	}
	f.made[id] = w
	return nil
}

func (f *fakeWebhooks) DeleteWebhook(_ context.Context, id string) error {
	err := f.change(id)
	if err == nil {
		delete(f.made, id)
	}
	return err
}

func (f *fakeWebhooks) RotateWebhook(_ context.Context, id string) (Webhook, error) {
	w := f.made[id]
	w.Secret = "whsec_another"
	return w, f.change(id)
}

var tried = Delivery{ID: "dlv_1", EventID: "evt_1", EventType: "webhook.test", Number: 1, Result: meeting.Failed, Error: "connect"}

func (f *fakeWebhooks) TestWebhook(ctx context.Context, id string) (Delivery, error) {
	_, err := f.Webhook(ctx, id)
	return tried, err
}

func (f *fakeWebhooks) WebhookDeliveries(ctx context.Context, id string, dead bool, cursor string, limit int) ([]Delivery, string, error) {
	_, err := f.Webhook(ctx, id)
	if dead {
		return nil, "", err
	}
	return []Delivery{tried}, "1-2", err
}

func (f *fakeWebhooks) RetryDelivery(ctx context.Context, id, delivery string) error {
	if delivery != tried.ID {
		return meeting.ErrNotFound
	}
	_, err := f.Webhook(ctx, id)
	return err
}

func (f *fakeWebhooks) ReplayWebhook(ctx context.Context, id string, after, before time.Time) (int, error) {
	f.replayed = fmt.Sprint(after.UTC().Format(time.RFC3339), " ", before.UTC().Format(time.RFC3339))
	_, err := f.Webhook(ctx, id)
	return 7, err
}

// webhookRequests use the operations, well and badly.
var webhookRequests = []string{
	`POST /v1/webhooks {"url":"https://a.example/","events":["session.*"],"name":"a"}`, "GET /v1/webhooks", "GET /v1/webhooks/whk_1",
	`PATCH /v1/webhooks/whk_1 {"enabled":false}`, "POST /v1/webhooks/whk_1/rotate-secret", "POST /v1/webhooks/whk_1/test",
	"GET /v1/webhooks/whk_1/deliveries?dead=true", "GET /v1/webhooks/whk_1/deliveries?cursor=1-2", "POST /v1/webhooks/whk_1/deliveries/dlv_1/retry",
	`POST /v1/webhooks/whk_1/replay {"after":"2026-11-22T10:00:00Z"}`, "DELETE /v1/webhooks/whk_1",
	"GET /v1/webhooks/whk_1", `PATCH /v1/webhooks/whk_crm {"url":"https://b.example/"}`, "DELETE /v1/webhooks/whk_crm", `POST /v1/webhooks {"url":7}`,
}

func TestWebhooks(t *testing.T) {
	s := newSite(t)
	var w Webhook
	s.do("POST", "/v1/webhooks", `{"url":"https://a.example/","events":["session.*"],"name":"a"}`).into(http.StatusCreated, &w)
	if w.Secret == "" || w.URL != "https://a.example/" || w.Name != "a" || !w.Enabled || !slices.Equal(w.Events, []string{"session.*"}) {
		t.Errorf("made %+v", w)
	}
	path := "/v1/webhooks/" + w.ID
	var shown Webhook
	s.do("POST", "/v1/webhooks", `{"url":"https://c.example/","dialect":"whereby","headers":{"X-Key":"whsec_hidden"}}`).into(http.StatusCreated, &shown)
	if shown.Dialect != "whereby" || !slices.Equal(shown.HeaderNames, []string{"X-Key"}) {
		t.Errorf("made %+v", shown)
	}
	shown = Webhook{}
	s.do("PATCH", "/v1/webhooks/whk_2", `{"dialect":"jitsi","headers":{}}`).into(http.StatusOK, &shown)
	if shown.Dialect != "jitsi" || len(shown.HeaderNames) != 0 {
		t.Errorf("changed %+v", shown)
	}
	s.do("DELETE", "/v1/webhooks/whk_2", "")
	shown = Webhook{}
	s.do("GET", path, "").into(http.StatusOK, &shown)
	if shown.Secret != "" || shown.Backlog == nil || shown.Backlog.Events != 3 {
		t.Errorf("shown %+v, want a backlog and no secret", shown)
	}
	m := s.create(`{}`)["id"].(string)
	s.do("POST", "/v1/webhooks", `{"url":"https://b.example/","meeting_id":"`+m+`"}`).into(http.StatusCreated, &shown)
	var list Page[Webhook]
	s.do("GET", "/v1/webhooks?limit=2", "").into(http.StatusOK, &list)
	if len(list.Data) != 2 || list.Data[0].ID != "whk_crm" || list.Data[1].MeetingID != m || list.NextCursor == nil {
		t.Fatalf("page = %+v", list)
	}
	s.do("GET", "/v1/webhooks?limit=2&cursor="+*list.NextCursor, "").into(http.StatusOK, &list)
	if len(list.Data) != 1 || list.Data[0].ID != w.ID || list.NextCursor != nil {
		t.Errorf("last page = %+v", list)
	}
	s.do("PATCH", path, `{"enabled":false}`).into(http.StatusOK, &shown)
	if shown.Enabled || shown.Disabled == nil || shown.Disabled.Reason != "requested" {
		t.Errorf("disabled %+v", shown)
	}
	s.do("POST", path+"/rotate-secret", "").into(http.StatusOK, &shown)
	if shown.Secret == "" || shown.Secret == w.Secret {
		t.Error("the new secret is not shown")
	}
	var d Delivery
	s.do("POST", path+"/test", "").into(http.StatusOK, &d)
	var log Page[Delivery]
	s.do("GET", path+"/deliveries?dead=false", "").into(http.StatusOK, &log)
	if len(log.Data) != 1 || log.Data[0] != d || d.Error != "connect" || *log.NextCursor != "1-2" {
		t.Errorf("test = %+v, log = %+v", d, log)
	}
	var r Replayed
	s.do("POST", path+"/replay", `{"after":"2026-11-22T10:00:00Z","before":"2026-11-22T11:00:00Z"}`).into(http.StatusOK, &r)
	if r.Events != 7 {
		t.Errorf("replayed %d, want 7", r.Events)
	}
	if got := s.do("POST", path+"/deliveries/dlv_1/retry", "").Code; got != http.StatusNoContent {
		t.Errorf("retry: %d", got)
	}
	if got := s.do("DELETE", path, "").Code; got != http.StatusNoContent {
		t.Errorf("delete: %d", got)
	}
	if text := s.log.String(); strings.Contains(text, "whsec_") {
		t.Error("a secret is in the log")
	}
}

func TestWebhookRefusals(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct {
		request, field string
		status         int
		code           string
	}{
		{`POST /v1/webhooks {"url":"http://a.example"}`, "url", 422, "invalid"},
		{`POST /v1/webhooks {"url":"https://a.example","meeting_id":"mtg_none"}`, "meeting_id", 422, "invalid"},
		{`POST /v1/webhooks {"url":"https://a.example","secret":"x"}`, "secret", 422, "invalid"},
		{`POST /v1/webhooks {"url":"https://a.example","name":"full"}`, "", 409, "too_many_webhooks"},
		{`PATCH /v1/webhooks/whk_crm {"events":["*"]}`, "", 409, "configured"},
		{`DELETE /v1/webhooks/whk_crm`, "", 409, "configured"},
		{`POST /v1/webhooks/whk_crm/rotate-secret`, "", 409, "configured"},
		{`PATCH /v1/webhooks/whk_crm {}`, "", 422, "invalid"},
		{`PATCH /v1/webhooks/whk_none {"enabled":true}`, "", 404, "not_found"},
		{`POST /v1/webhooks/whk_none/test`, "", 404, "not_found"},
		{`GET /v1/webhooks/whk_none/deliveries`, "", 404, "not_found"},
		{`GET /v1/webhooks/whk_crm/deliveries?cursor=x`, "", 422, "invalid"},
		{`POST /v1/webhooks/whk_crm/deliveries/dlv_2/retry`, "", 404, "not_found"},
		{`POST /v1/webhooks/whk_crm/replay {}`, "after", 422, "invalid"},
		{`POST /v1/webhooks/whk_crm/replay {"after":"2026-11-22T10:00:00Z","before":"2026-11-22T10:00:00Z"}`, "before", 422, "invalid"},
	} {
		method, rest, _ := strings.Cut(tt.request, " ")
		target, body, _ := strings.Cut(rest, " ")
		p := s.do(method, target, body).problem(tt.status)
		if p.Code != tt.code {
			t.Errorf("%s: code %q, want %q", tt.request, p.Code, tt.code)
		}
		if !strings.Contains(fmt.Sprint(p.Errors), tt.field) {
			t.Errorf("%s: errors %v, want %s named", tt.request, p.Errors, tt.field)
		}
	}
	s.as(s.makeKey("poor", `"meetings:write","events:read"`).Key, "GET", "/v1/webhooks", "").problemCode(403, "forbidden")
}
