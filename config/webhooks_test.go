package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher/config"
)

func TestWebhooks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(file, []byte("crm=whsec_bmV3,crm=whsec_b2xk,erp=whsec_YQ==\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parse(t, map[string]string{"USHER_WEBHOOK_SECRET_FILE": file, "USHER_WEBHOOK": "crm=https://a.example/x?y=z,erp=https://b.example"},
		"--component-secret=s", "--api-key="+key, "--webhook-allow=10.0.0.0/8", "--webhook-dialect=erp=event_sync",
		`--webhook-header=erp=Authorization: Bearer h1dden==\, a:b`, "--webhook-header=erp=X-Tenant:7,crm=x-tenant: 8")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(c.WebhookDialects, c.WebhookHeaders), "[{erp event_sync}] "+
		"[{erp Authorization [redacted]} {erp X-Tenant [redacted]} {crm x-tenant [redacted]}]"; got != want {
		t.Errorf("dialects and headers = %s, want %s", got, want)
	}
	for i, want := range []config.Secret{"Bearer h1dden==, a:b", "7", "8"} {
		if got := c.WebhookHeaders[i].Value; got != want {
			t.Errorf("header %d = %q, want %q", i, string(got), string(want))
		}
	}
	if got, want := fmt.Sprint(c.Webhooks, c.WebhookAllow), "[{crm https://a.example/x?y=z} {erp https://b.example}] [10.0.0.0/8]"; got != want {
		t.Errorf("webhooks = %s, want %s", got, want)
	}
	got := ""
	for _, s := range c.WebhookSecrets {
		got += s.Name + "=" + string(s.Key) + " "
	}
	if want := "crm=whsec_bmV3 crm=whsec_b2xk erp=whsec_YQ== "; got != want {
		t.Errorf("secrets = %s, want %s", got, want)
	}
	if text := fmt.Sprint(c.WebhookSecrets); strings.Contains(text, "whsec_") {
		t.Errorf("secrets show in %s", text)
	}
}

func TestWrongWebhooks(t *testing.T) {
	for _, tt := range []struct{ flags, want string }{
		{"--webhook=crm=https://h1dden.example", "webhook crm has no webhook-secret"},
		{"--webhook=https://h1dden.example/?a=b", "NAME=URL"},
		{"--webhook-secret=crm=whsec_h1dden", "a webhook that there is not"},
		{"--webhook-secret=whsec_h1dden==", "NAME=SECRET"},
		{"--webhook-secret=h1dden", "NAME=SECRET"},
		{"--webhook-header=Authorization: h1dden=", "NAME=HEADER: VALUE"},
		{"--webhook-header=crm=h1dden", "NAME=HEADER: VALUE"},
		{"--webhook-header=crm=Authorization: h1dden", "webhook-header names a webhook that there is not"},
		{"--webhook-dialect=whereby", "NAME=DIALECT"},
		{"--webhook-dialect=crm=whereby,crm=jitsi", "webhook crm has two dialects"},
		{"--webhook-dialect=crm=whereby", "webhook-dialect names a webhook that there is not"},
	} {
		_, err := parse(t, nil, "--component-secret=s", "--api-key="+key, tt.flags)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "h1dden") {
			t.Errorf("%s: %v, want %q and nothing that may be secret", tt.flags, err, tt.want)
		}
	}
}
