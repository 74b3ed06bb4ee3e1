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

// checkWebhooks reports endpoints without a secret, and secrets of none.
func (c *Config) checkWebhooks() error {
	var problems []error
	known, signed := map[string]bool{}, map[string]bool{}
	for _, w := range c.Webhooks {
		known[w.Name] = true
	}
	for _, s := range c.WebhookSecrets {
		signed[s.Name] = true
		if !known[s.Name] {
			problems = append(problems, errors.New("webhook-secret names a webhook that there is not"))
		}
	}
	for _, w := range c.Webhooks {
		if !signed[w.Name] {
			problems = append(problems, errors.New("webhook "+w.Name+" has no webhook-secret: nobody could tell its deliveries from forged ones"))
		}
	}
	return errors.Join(problems...)
}
