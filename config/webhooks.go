package config

import (
	"errors"
	"strings"
)

// Webhook is a webhook endpoint of the configuration.
type Webhook struct{ Name, URL string }

// UnmarshalText reads NAME=URL. Its error quotes nothing: the URL may hold a
// secret.
func (w *Webhook) UnmarshalText(text []byte) error {
	name, url, ok := strings.Cut(string(text), "=")
	if !ok || name == "" || strings.Contains(name, ":") {
		return errors.New("a webhook is given as NAME=URL")
	}
	*w = Webhook{name, url}
	return nil
}

// WebhookSecret is a key that signs what is sent to the endpoint of that name.
type WebhookSecret struct {
	Name string
	Key  Secret
}

// UnmarshalText reads NAME=SECRET. Its error quotes nothing.
func (s *WebhookSecret) UnmarshalText(text []byte) error {
	name, key, ok := strings.Cut(string(text), "=")
	// A key without a name may end in the = of base64.
	if !ok || name == "" || strings.HasPrefix(name, "whsec_") {
		return errors.New("a webhook's secret is given as NAME=SECRET")
	}
	*s = WebhookSecret{name, Secret(key)}
	return nil
}

// WebhookDialect is the shape of what is sent to the endpoint of that name.
type WebhookDialect struct{ Name, Dialect string }

// UnmarshalText reads NAME=DIALECT. Which dialects there are package webhook
// says.
func (d *WebhookDialect) UnmarshalText(text []byte) error {
	name, dialect, ok := strings.Cut(string(text), "=")
	if !ok || name == "" || dialect == "" {
		return errors.New("a webhook's dialect is given as NAME=DIALECT")
	}
	*d = WebhookDialect{name, dialect}
	return nil
}

// WebhookHeader is a header that requests to the endpoint of that name carry.
type WebhookHeader struct {
	Name   string
	Header string // its name
	Value  Secret
}

// UnmarshalText reads NAME=HEADER: VALUE. Its error quotes nothing.
func (h *WebhookHeader) UnmarshalText(text []byte) error {
	name, line, ok := strings.Cut(string(text), "=")
	header, value, isHeader := strings.Cut(line, ":")
	if !ok || !isHeader || name == "" || header == "" || strings.Contains(name, ":") {
		return errors.New("a webhook's header is given as NAME=HEADER: VALUE")
	}
	*h = WebhookHeader{name, header, Secret(strings.TrimSpace(value))}
	return nil
}

// checkWebhooks reports endpoints that nobody could tell from others, and
// settings of none.
func (c *Config) checkWebhooks() error {
	var problems []error
	known, proven, dialects := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, w := range c.Webhooks {
		known[w.Name] = true
	}
	belongs := func(setting, name string) {
		if !known[name] {
			problems = append(problems, errors.New(setting+" names a webhook that there is not"))
		}
	}
	for _, s := range c.WebhookSecrets {
		proven[s.Name] = true
		belongs("webhook-secret", s.Name)
	}
	for _, h := range c.WebhookHeaders {
		proven[h.Name] = true // a dialect that signs wants a secret all the same
		belongs("webhook-header", h.Name)
	}
	for _, d := range c.WebhookDialects {
		belongs("webhook-dialect", d.Name)
		if dialects[d.Name] {
			problems = append(problems, errors.New("webhook "+d.Name+" has two dialects"))
		}
		dialects[d.Name] = true
	}
	for _, w := range c.Webhooks {
		if !proven[w.Name] {
			problems = append(problems, errors.New("webhook "+w.Name+" has no webhook-secret and no webhook-header: nobody could tell its deliveries from forged ones"))
		}
	}
	return errors.Join(problems...)
}
