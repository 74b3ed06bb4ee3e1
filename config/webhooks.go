package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Webhook is a webhook endpoint of the configuration: an object of the setting
// webhooks.
type Webhook struct {
	Name    string            `json:"name"` // part of its id
	URL     string            `json:"url"`
	Secrets []Secret          `json:"secrets"` // sign what is sent, the newest first
	Dialect string            `json:"dialect"` // see package webhook; empty: usher's own
	Headers map[string]Secret `json:"headers"` // that its requests carry besides, by name
}

// Webhooks is the setting webhooks: a JSON list of endpoints, as a text, or as it
// is in a file with settings.
type Webhooks []Webhook

// Decode reads the setting (kong.MapperValue). Its errors quote no value: it may
// be secret.
func (w *Webhooks) Decode(ctx *kong.DecodeContext) error {
	token, err := ctx.Scan.PopValue("webhooks")
	if err != nil {
		return err
	}
	text, ok := token.Value.(string)
	if !ok {
		raw, err := json.Marshal(token.Value)
		if err != nil {
			return err
		}
		text = string(raw)
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	var list []Webhook
	err = d.Decode(&list)
	if err == nil && d.More() {
		err = errors.New("something follows the list")
	}
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not a list of webhooks as JSON: character %d is wrong", syntax.Offset)
	case err != nil:
		return fmt.Errorf("not a list of webhooks as JSON: %w", err)
	}
	*w = append(*w, list...)
	return nil
}

// OldWebhooks are the settings that webhooks was before: four lists, joined by
// the endpoint's name. They work for this release.
type OldWebhooks struct {
	URLs     []WebhookURL     `name:"webhook" env:"USHER_WEBHOOK" hidden:""`
	Secrets  []WebhookSecret  `name:"webhook-secret" env:"USHER_WEBHOOK_SECRET" hidden:""`
	Dialects []WebhookDialect `name:"webhook-dialect" env:"USHER_WEBHOOK_DIALECT" hidden:""`
	Headers  []WebhookHeader  `name:"webhook-header" env:"USHER_WEBHOOK_HEADER" hidden:""`
}

// WebhookURL is an endpoint in the old form.
type WebhookURL struct{ Name, URL string }

// UnmarshalText reads NAME=URL. Its error quotes nothing: the URL may hold a
// secret.
func (w *WebhookURL) UnmarshalText(text []byte) error {
	name, url, ok := strings.Cut(string(text), "=")
	if !ok || name == "" || strings.Contains(name, ":") {
		return errors.New("a webhook is given as NAME=URL")
	}
	*w = WebhookURL{name, url}
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

// list returns the endpoints in the new form, and what is wrong with them.
func (o *OldWebhooks) list() (list []Webhook, problems []error) {
	for _, u := range o.URLs {
		list = append(list, Webhook{Name: u.Name, URL: u.URL})
	}
	of := func(setting, name string) *Webhook {
		i := slices.IndexFunc(list, func(w Webhook) bool { return w.Name == name })
		if i < 0 {
			problems = append(problems, errors.New(setting+" names a webhook that there is not"))
			return &Webhook{}
		}
		return &list[i]
	}
	for _, s := range o.Secrets {
		w := of("webhook-secret", s.Name)
		w.Secrets = append(w.Secrets, s.Key)
	}
	for _, h := range o.Headers {
		w := of("webhook-header", h.Name)
		if w.Headers == nil {
			w.Headers = map[string]Secret{}
		}
		w.Headers[h.Header] = h.Value
	}
	for _, d := range o.Dialects {
		w := of("webhook-dialect", d.Name)
		if w.Dialect != "" {
			problems = append(problems, errors.New("webhook "+d.Name+" has two dialects"))
		}
		w.Dialect = d.Dialect
	}
	return list, problems
}

// checkWebhooks takes over the old settings, and reports endpoints that nobody
// could tell from others or whose deliveries nobody could tell from forged ones.
func (c *Config) checkWebhooks() error {
	old, problems := c.OldWebhooks.list()
	if len(old) > 0 {
		c.Deprecated = append(c.Deprecated, "USHER_WEBHOOK, USHER_WEBHOOK_SECRET, USHER_WEBHOOK_DIALECT and USHER_WEBHOOK_HEADER are now one setting, USHER_WEBHOOKS")
	}
	c.Webhooks = append(c.Webhooks, old...)
	known := map[string]bool{}
	for i, w := range c.Webhooks {
		switch {
		case w.Name == "":
			problems = append(problems, fmt.Errorf("number %d of webhooks has no name", i+1))
			continue
		case w.URL == "":
			problems = append(problems, errors.New("webhook "+w.Name+" has no url"))
		case known[w.Name]:
			problems = append(problems, errors.New("two webhooks have the name "+w.Name))
		}
		known[w.Name] = true
		// A dialect that signs needs a secret all the same; package webhook says so.
		if len(w.Secrets) == 0 && len(w.Headers) == 0 {
			problems = append(problems, errors.New("webhook "+w.Name+" has neither secrets nor headers: nobody could tell its deliveries from forged ones"))
		}
	}
	return errors.Join(problems...)
}
