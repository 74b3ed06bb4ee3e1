package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"usher/config"
)

const someWebhooks = `[
	{"name":"crm","url":"https://a.example/x?y=z,1","secrets":["whsec_bmV3","whsec_b2xk"]},
	{"name":"erp","url":"https://b.example","dialect":"event_sync","headers":{"Authorization":"Bearer h1dden==, a:b","X-Tenant":"7"}}
]`

// shown writes webhooks down, with their secrets.
func shown(list []config.Webhook) string {
	text := ""
	for _, w := range list {
		text += w.Name + " " + w.URL + " " + w.Dialect
		for _, s := range w.Secrets {
			text += " " + string(s)
		}
		var headers []string
		for name, value := range w.Headers {
			headers = append(headers, " "+name+": "+string(value))
		}
		slices.Sort(headers)
		text += strings.Join(headers, "") + "\n"
	}
	return text
}

const someShown = `crm https://a.example/x?y=z,1  whsec_bmV3 whsec_b2xk
erp https://b.example event_sync Authorization: Bearer h1dden==, a:b X-Tenant: 7
`

func TestWebhooks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "webhooks.json")
	settings := filepath.Join(t.TempDir(), "usher.json")
	for path, text := range map[string]string{file: someWebhooks + "\n", settings: `{"webhooks":` + someWebhooks + `}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
	}{
		{name: "flag", args: []string{"--webhooks=" + someWebhooks}},
		{name: "environment", env: map[string]string{"USHER_WEBHOOKS": someWebhooks}},
		{name: "file of the setting", env: map[string]string{"USHER_WEBHOOKS_FILE": file}},
		{name: "file of all settings", args: []string{"--config=" + settings}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse(t, tt.env, append(tt.args, "--component-secret=s", "--api-key="+key, "--webhook-allow=10.0.0.0/8")...)
			if err != nil {
				t.Fatal(err)
			}
			if got := shown(c.Webhooks); got != someShown || len(c.Warnings) > 0 {
				t.Errorf("webhooks are\n%swant\n%swarnings %q, want none", got, someShown, c.Warnings)
			}
			if text := fmt.Sprintf("%v %+v", c.Webhooks, c.Webhooks); strings.Contains(text, "whsec_") || strings.Contains(text, "h1dden") {
				t.Errorf("secrets show in %s", text)
			}
			if got, want := fmt.Sprint(c.WebhookAllow), "[10.0.0.0/8]"; got != want {
				t.Errorf("networks allowed are %s, want %s", got, want)
			}
		})
	}
}

// TestWebhooksAsTheyWere gives the four settings that were before.
func TestWebhooksAsTheyWere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(file, []byte("crm=whsec_bmV3,crm=whsec_b2xk\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parse(t, map[string]string{"USHER_WEBHOOK_SECRET_FILE": file, "USHER_WEBHOOK": `crm=https://a.example/x?y=z\,1,erp=https://b.example`},
		"--component-secret=s", "--api-key="+key, "--webhook-dialect=erp=event_sync",
		`--webhook-header=erp=Authorization: Bearer h1dden==\, a:b`, "--webhook-header=erp=X-Tenant:7",
		`--webhooks=[{"name":"new","url":"https://c.example","secrets":["whsec_YQ=="]}]`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := shown(c.Webhooks), "new https://c.example  whsec_YQ==\n"+someShown; got != want {
		t.Errorf("webhooks are\n%swant\n%s", got, want)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "USHER_WEBHOOKS") {
		t.Errorf("warnings: %q, want one line that names USHER_WEBHOOKS", c.Warnings)
	}
}

func TestWrongWebhooks(t *testing.T) {
	for _, tt := range []struct{ flags, want string }{
		{`--webhooks=h1dden`, "not a list of webhooks as JSON"},
		{`--webhooks=crm=https://h1dden.example`, "not a list of webhooks as JSON"},
		{`--webhooks={"name":"crm","url":"https://h1dden.example"}`, "not a list of webhooks as JSON"},
		{`--webhooks=[{"name":"crm","secret":"whsec_h1dden"}]`, `unknown field "secret"`},
		{`--webhooks=[{"name":"crm","secrets":"whsec_h1dden"}]`, "secrets"},
		{`--webhooks=[] h1dden`, "not a list of webhooks as JSON"},
		{`--webhooks=[]]`, "something follows the list"},
		{`--webhooks=[{"url":"https://h1dden.example","secrets":["whsec_h1dden"]}]`, "number 1 of webhooks has no name"},
		{`--webhooks=[{"name":"crm","secrets":["whsec_h1dden"]}]`, "webhook crm has no url"},
		{`--webhooks=[{"name":"crm","url":"https://h1dden.example"}]`, "webhook crm has neither secrets nor headers"},
		{`--webhooks=[{"name":"crm","url":"https://a.example","secrets":["h1dden"]},{"name":"crm","url":"https://b.example","secrets":["h1dden"]}]`, "two webhooks have the name crm"},
		{"--webhook=crm=https://h1dden.example", "webhook crm has neither secrets nor headers"},
		{"--webhook=https://h1dden.example/?a=b", "NAME=URL"},
		{"--webhook=https://h1dden.example", "--webhook: it must be given as NAME=VALUE"},
		{"--webhook-secret=crm=whsec_h1dden", "a webhook that there is not"},
		{"--webhook-secret=whsec_h1dden==", "webhook-secret names a webhook that there is not"},
		{"--webhook-secret=h1dden", "--webhook-secret: it must be given as NAME=VALUE"},
		{"--webhook-header=Authorization: h1dden=", "--webhook-header: it must be given as NAME=VALUE"},
		{"--webhook-header=crm=h1dden", "webhook-header names a webhook that there is not"},
		{"--webhook-header=crm=Authorization: h1dden", "webhook-header names a webhook that there is not"},
		{"--webhook-dialect=whereby", "--webhook-dialect: it must be given as NAME=VALUE"},
		{"--webhook-dialect=crm=whereby", "webhook-dialect names a webhook that there is not"},
	} {
		_, err := parse(t, nil, "--component-secret=s", "--api-key="+key, tt.flags)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "h1dden") {
			t.Errorf("%s: %v, want %q and nothing that may be secret", tt.flags, err, tt.want)
		}
	}
	_, err := parse(t, nil, "--component-secret=s", "--api-key="+key, "--webhook=crm=https://a.example", "--webhook-secret=crm=whsec_YQ==", "--webhook-dialect=crm=whereby,crm=jitsi", "--webhook-header=crm=h1dden")
	if err == nil || !strings.Contains(err.Error(), "webhook crm has two dialects") || !strings.Contains(err.Error(), "given as NAME=HEADER: VALUE") || strings.Contains(err.Error(), "h1dden") {
		t.Errorf("two dialects and a header without a name: %v, want them refused", err)
	}
}

// withConfigFile are settings with the flag that `usher serve` has besides.
type withConfigFile struct {
	config.Config
	File config.File `name:"config"`
}
