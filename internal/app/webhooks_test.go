package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"usher/api"
	"usher/api/whereby"
	"usher/config"
	"usher/internal/memorystore"
	"usher/meeting/service"
	"usher/webhook"
)

// TestWebhooksOverHTTP uses the endpoints of a real registry over the API.
func TestWebhooksOverHTTP(t *testing.T) {
	const key = "key-of-some-length"
	st := &memorystore.Memory{}
	cfg := config.Config{
		Webhooks: config.Webhooks{
			{Name: "crm", URL: "https://crm.example/", Secrets: []config.Secret{webhook.NewSecret().Key}},
			{Name: "sync", URL: "https://sync.example/", Dialect: webhook.EventSync, Headers: map[string]config.Secret{"authorization": "h1dden"}},
		},
		WebhookAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	registry, err := newRegistry(cfg, st, slog.New(slog.DiscardHandler), nil)
	must(t, err)
	deliverer := webhook.NewDeliverer(registry)
	l := newLeader(cfg, st, registry, deliverer, slog.New(slog.DiscardHandler))
	svc := service.New(service.Config{Leader: l, Store: st})
	handler, err := api.New(api.Config{Service: svc, Store: st, Webhooks: registry, Deliverer: deliverer, Keys: []string{key}})
	must(t, err)
	do := func(method, path, body string, status int, out any) {
		t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != status {
			t.Fatalf("%s %s: %d, want %d: %s", method, path, w.Code, status, w.Body)
		}
		if out != nil {
			must(t, json.Unmarshal(w.Body.Bytes(), out))
		}
	}

	secret, verified := "", 0
	inbox := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		hook, err := standard.NewWebhook(secret)
		if err == nil {
			err = hook.Verify(body, r.Header)
		}
		if err != nil {
			t.Errorf("delivery does not verify: %v", err)
		}
		verified++
	}))
	defer inbox.Close()
	var made, got api.Webhook
	do("POST", "/v1/webhooks", fmt.Sprintf(`{"url":%q,"events":["participant.*"]}`, inbox.URL), 201, &made)
	var tried webhook.Attempt
	path := "/v1/webhooks/" + made.ID
	for _, rotate := range []bool{false, true} {
		if secret = made.Secret; rotate { // the old one signs as well
			do("POST", path+"/rotate-secret", "", 200, &made)
		}
		do("POST", path+"/test", "", 200, &tried)
		if tried.Result != "delivered" || tried.Status != 200 || tried.EventType != "webhook.test" {
			t.Errorf("test gives %+v", tried)
		}
	}
	if made.Secret == secret || verified != 2 {
		t.Errorf("%d deliveries verified, want 2; rotated %v", verified, made.Secret != secret)
	}
	do("PATCH", path, `{"enabled":false,"events":["session.started"]}`, 200, &got)
	if got.Enabled || got.Disabled.Reason != "requested" || got.Events[0] != "session.started" || got.Backlog == nil {
		t.Errorf("changed %+v", got)
	}
	got = api.Webhook{}
	do("PATCH", path, `{"enabled":true}`, 200, &got)
	if !got.Enabled || got.Disabled != nil {
		t.Errorf("enabled %+v", got)
	}
	var log api.Page[webhook.Attempt]
	do("GET", path+"/deliveries", "", 200, &log)
	do("GET", path+"/deliveries?dead=true", "", 200, &log)
	if len(log.Data) != 0 {
		t.Errorf("dead letters %+v", log.Data)
	}
	do("POST", path+"/replay", `{"after":"2026-01-01T00:00:00Z"}`, 503, nil) // another process leads
	ctx, cancel := context.WithCancel(t.Context())
	led := make(chan error, 1)
	go func() { led <- deliverer.Lead(ctx) }()
	for begun := false; !begun; time.Sleep(time.Millisecond) {
		_, err := deliverer.Replay(ctx, "whk_crm", time.Now(), time.Now())
		begun = err == nil
	}
	do("POST", path+"/replay", `{"after":"2026-01-01T00:00:00Z"}`, 200, nil)
	cancel()
	if err := <-led; err != nil {
		t.Errorf("lead = %v", err)
	}
	var p api.Problem
	for _, tt := range [][2]string{
		{`{"url":"https://a.example/","dialect":"klingon"}`, "/dialect"}, {`{"url":"https://a.example/","headers":{"Host":"h1dden"}}`, "/headers"},
		{`{"url":"https://a.example/","headers":{"X-Key":["h1dden"]}}`, "/headers/X-Key"},
		{`{"url":"http://10.1.2.3/"}`, "/url"}, {`{"url":"https://a.example/","events":["Odd!"]}`, "/events"}, {`{"url":"ftp://a.example/"}`, "/url"},
	} {
		do("POST", "/v1/webhooks", tt[0], 422, &p)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != tt[1] {
			t.Errorf("%s: %+v, want %s named", tt[0], p.Errors, tt[1])
		}
		if text := fmt.Sprint(p); strings.Contains(text, "h1dden") {
			t.Errorf("a header's value is in the answer: %s", text)
		}
	}
	do("GET", "/v1/webhooks/whk_sync", "", 200, &got)
	if got.Dialect != webhook.EventSync || fmt.Sprint(got.HeaderNames) != "[Authorization]" {
		t.Errorf("configured %+v, want dialect and names of headers", got)
	}
	do("PATCH", path, `{"dialect":"whereby","headers":{"x-key":"h1dden"}}`, 200, &got)
	if got.Dialect != whereby.DialectName || fmt.Sprint(got.HeaderNames) != "[X-Key]" {
		t.Errorf("changed %+v, want dialect and names of headers", got)
	}
	do("PATCH", path, `{"url":"https://b.example/"}`, 422, &p)
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "/headers" {
		t.Errorf("another host without the headers: %+v", p.Errors)
	}
	do("PATCH", path, `{"url":"https://b.example/","headers":{}}`, 200, &got)
	if len(got.HeaderNames) != 0 {
		t.Errorf("headers taken away: %+v", got)
	}
	do("DELETE", "/v1/webhooks/whk_crm", "", 409, nil)
	do("PATCH", "/v1/webhooks/whk_crm", `{"url":"https://b.example/"}`, 409, nil)
	do("PATCH", "/v1/webhooks/whk_crm", `{"enabled":false}`, 200, &got)
	if !got.Configured || got.Enabled {
		t.Errorf("configured %+v, want it disabled", got)
	}
	if got, want := webhooksCheck(registry, deliverer).Run(t.Context()), ok("endpoints: 3; 1 disabled by an app: whk_crm"); got != want {
		t.Errorf("/readyz says %+v, want %+v", got, want)
	}
	do("DELETE", path, "", 204, nil)
	do("GET", path, "", 404, nil)
	do("POST", path+"/deliveries/dlv_1/retry", "", 404, nil)
}

// TestOldSettingIsNamed has a start that comes no further than its settings.
func TestOldSettingIsNamed(t *testing.T) {
	var text strings.Builder
	cfg := config.Config{Store: "redis", RedisURL: "not a url", Warnings: []string{"USHER_A is now USHER_B"}}
	if err := Run(t.Context(), cfg, slog.New(slog.NewTextHandler(&text, nil)), nil); err == nil {
		t.Fatal("usher started without a store, want an error")
	}
	if got := text.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "USHER_A is now USHER_B") {
		t.Errorf("log: %q, want one line that names the new setting", got)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
