package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/webhook"
)

// deliver runs the deliverer as one that leads until the test ends, and returns
// the URL of an endpoint that takes everything.
func (s *site) deliver() (inbox string) {
	s.t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- s.deliverer.Run(ctx) }()
	go func() { done <- s.deliverer.Lead(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				s.t.Errorf("deliverer ended with %v", err)
			}
		}
		srv.Close()
	})
	s.until(func() bool {
		_, err := s.deliverer.Replay(ctx, "whk_crm", time.Now(), time.Now())
		return err == nil // it leads
	})
	return srv.URL
}

// delivered returns the first entry of an endpoint's delivery log, once there is
// one.
func (s *site) delivered(path string) (a webhook.Attempt) {
	s.t.Helper()
	s.until(func() bool {
		var log Page[webhook.Attempt]
		s.do("GET", path+"/deliveries", "").into(http.StatusOK, &log)
		if len(log.Data) > 0 {
			a = log.Data[0]
		}
		return len(log.Data) > 0
	})
	return a
}

// useWebhooks uses the operations, well and badly.
func (s *site) useWebhooks() {
	s.t.Helper()
	inbox := s.deliver()
	var made Webhook
	s.do("POST", "/v1/webhooks", `{"url":"`+inbox+`","events":["*"],"name":"a"}`).into(http.StatusCreated, &made)
	path := "/v1/webhooks/" + made.ID
	s.do("POST", path+"/replay", `{"after":"2026-01-01T00:00:00Z"}`).into(http.StatusOK, &Replayed{})
	tried := s.delivered(path)
	for _, request := range []string{
		"GET /v1/webhooks", "GET " + path, "GET " + path + "/deliveries?dead=true", "GET " + path + "/deliveries?cursor=1-2",
		"POST " + path + "/deliveries/" + tried.ID + "/retry", "POST " + path + "/test", "POST " + path + "/rotate-secret",
		`PATCH ` + path + ` {"enabled":false}`, "GET " + path, "DELETE " + path, "GET " + path,
		`PATCH /v1/webhooks/whk_crm {"url":"https://b.example/"}`, "DELETE /v1/webhooks/whk_crm", `POST /v1/webhooks {"url":7}`,
	} {
		method, rest, _ := strings.Cut(request, " ")
		target, body, _ := strings.Cut(rest, " ")
		s.do(method, target, body)
	}
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
	s.do("POST", "/v1/webhooks", `{"url":"https://c.example/","headers":{"X-Key":"whsec_hidden"}}`).into(http.StatusCreated, &shown)
	if shown.Dialect != "standard" || !slices.Equal(shown.HeaderNames, []string{"X-Key"}) {
		t.Errorf("made %+v", shown)
	}
	second := "/v1/webhooks/" + shown.ID
	shown = Webhook{}
	s.do("PATCH", second, `{"dialect":"jitsi","headers":{}}`).into(http.StatusOK, &shown)
	if shown.Dialect != "jitsi" || len(shown.HeaderNames) != 0 {
		t.Errorf("changed %+v", shown)
	}
	s.do("DELETE", second, "")
	shown = Webhook{}
	s.do("GET", path, "").into(http.StatusOK, &shown)
	if shown.Secret != "" || shown.Backlog == nil || shown.Backlog.Events != 0 {
		t.Errorf("shown %+v, want an empty backlog and no secret", shown)
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
	s.do("PATCH", path, `{"enabled":false,"events":["session.started"]}`).into(http.StatusOK, &shown)
	if shown.Enabled || shown.Disabled == nil || shown.Disabled.Reason != "requested" || !slices.Equal(shown.Events, []string{"session.started"}) {
		t.Errorf("disabled %+v", shown)
	}
	shown = Webhook{}
	s.do("PATCH", path, `{"enabled":true}`).into(http.StatusOK, &shown)
	if !shown.Enabled || shown.Disabled != nil {
		t.Errorf("enabled %+v", shown)
	}
	s.do("POST", path+"/rotate-secret", "").into(http.StatusOK, &shown)
	if shown.Secret == "" || shown.Secret == w.Secret {
		t.Error("the new secret is not shown")
	}
	if got := s.do("DELETE", path, "").Code; got != http.StatusNoContent {
		t.Errorf("delete: %d", got)
	}
	if text := s.log.String(); strings.Contains(text, "whsec_") {
		t.Error("a secret is in the log")
	}
}

func TestDeliveries(t *testing.T) {
	s := newSite(t)
	inbox := s.deliver()
	s.create(`{}`)
	var w Webhook
	s.do("POST", "/v1/webhooks", `{"url":"`+inbox+`"}`).into(http.StatusCreated, &w)
	path := "/v1/webhooks/" + w.ID
	var d webhook.Attempt
	s.do("POST", path+"/test", "").into(http.StatusOK, &d)
	if d.Result != "delivered" || d.Status != 200 || d.EventType != webhook.TypeTest {
		t.Errorf("test = %+v, want it delivered", d)
	}
	var r Replayed
	s.do("POST", path+"/replay", `{"after":"2026-11-22T10:00:00Z","before":"2026-11-22T11:00:00Z"}`).into(http.StatusOK, &r)
	if r.Events != 0 {
		t.Errorf("replayed %d of another day, want 0", r.Events)
	}
	s.do("POST", path+"/replay", `{"after":"2026-01-01T00:00:00Z"}`).into(http.StatusOK, &r)
	if r.Events != 1 {
		t.Errorf("replayed %d, want 1", r.Events)
	}
	first := s.delivered(path)
	if first.EventType != "meeting.created" || first.Result != "delivered" {
		t.Errorf("log = %+v, want the meeting's creation", first)
	}
	if got := s.do("POST", path+"/deliveries/"+first.ID+"/retry", "").Code; got != http.StatusNoContent {
		t.Errorf("retry: %d", got)
	}
	s.until(func() bool { return s.delivered(path).ID != first.ID })
	var log Page[webhook.Attempt]
	s.do("GET", path+"/deliveries?dead=true", "").into(http.StatusOK, &log)
	if len(log.Data) != 0 {
		t.Errorf("dead letters %+v", log.Data)
	}
}

// fillWebhooks makes as many endpoints as a site may have.
func (s *site) fillWebhooks() {
	s.t.Helper()
	for i := range webhook.MaxEndpoints {
		document := `{"url":"https://a.example/","events":["*"],"dialect":"standard","secrets":[{"key":"` + string(webhook.NewSecret().Key) + `"}]}`
		if _, err := s.store.PutEndpoint(s.t.Context(), fmt.Sprint("whk_", i), nil, []byte(document)); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := s.registry.Load(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func TestWebhookRefusals(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct {
		request, field string
		status         int
		code           string
	}{
		{`POST /v1/webhooks {"url":"ftp://a.example"}`, "url", 422, "invalid"},
		{`POST /v1/webhooks {"url":"https://a.example","meeting_id":"mtg_none"}`, "meeting_id", 422, "invalid"},
		{`POST /v1/webhooks {"url":"https://a.example","secret":"x"}`, "secret", 422, "invalid"},
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
	s.fillWebhooks()
	s.do("POST", "/v1/webhooks", `{"url":"https://a.example"}`).problemCode(409, "too_many_webhooks")
}
