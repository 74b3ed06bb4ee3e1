package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	if _, more := d.Token(); err == nil && !errors.Is(more, io.EOF) {
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
	URLs     []Named `name:"webhook" env:"USHER_WEBHOOK" hidden:""`
	Secrets  []Named `name:"webhook-secret" env:"USHER_WEBHOOK_SECRET" hidden:""`
	Dialects []Named `name:"webhook-dialect" env:"USHER_WEBHOOK_DIALECT" hidden:""`
	Headers  []Named `name:"webhook-header" env:"USHER_WEBHOOK_HEADER" hidden:""` // values are HEADER: VALUE
}

// list returns the endpoints in the new form, and reports what is wrong with them.
func (o *OldWebhooks) list(p *problems) (list []Webhook) {
	for _, u := range o.URLs {
		if strings.Contains(u.Name, ":") { // a URL without a name that has an =
			p.add("a webhook is given as NAME=URL")
			return nil
		}
		list = append(list, Webhook{Name: u.Name, URL: string(u.Value)})
	}
	each := func(setting string, values []Named, set func(w *Webhook, value Secret)) {
		for _, v := range values {
			i := slices.IndexFunc(list, func(w Webhook) bool { return w.Name == v.Name })
			if i < 0 {
				p.add("%s names a webhook that there is not", setting)
				continue
			}
			set(&list[i], v.Value)
		}
	}
	each("webhook-secret", o.Secrets, func(w *Webhook, key Secret) { w.Secrets = append(w.Secrets, key) })
	each("webhook-header", o.Headers, func(w *Webhook, line Secret) {
		header, value, ok := strings.Cut(string(line), ":")
		if !ok || header == "" {
			p.add("a webhook-header is given as NAME=HEADER: VALUE")
			return
		}
		if w.Headers == nil {
			w.Headers = map[string]Secret{}
		}
		w.Headers[header] = Secret(strings.TrimSpace(value))
	})
	each("webhook-dialect", o.Dialects, func(w *Webhook, dialect Secret) {
		p.when(w.Dialect != "", "webhook %s has two dialects", w.Name)
		w.Dialect = string(dialect)
	})
	return list
}

// checkWebhooks takes over the old settings, and reports endpoints that nobody
// could tell from others or whose deliveries nobody could tell from forged ones.
func (c *Config) checkWebhooks(p *problems) {
	old := c.OldWebhooks.list(p)
	if len(old) > 0 {
		c.Warnings = append(c.Warnings, "USHER_WEBHOOK, USHER_WEBHOOK_SECRET, USHER_WEBHOOK_DIALECT and USHER_WEBHOOK_HEADER are now one setting, USHER_WEBHOOKS; the next release will not know them")
	}
	c.Webhooks = append(c.Webhooks, old...)
	known := map[string]bool{}
	for i, w := range c.Webhooks {
		switch {
		case w.Name == "":
			p.add("number %d of webhooks has no name", i+1)
			continue
		case w.URL == "":
			p.add("webhook %s has no url", w.Name)
		case known[w.Name]:
			p.add("two webhooks have the name %s", w.Name)
		}
		known[w.Name] = true
		// A dialect that signs needs a secret all the same; package webhook says so.
		p.when(len(w.Secrets) == 0 && len(w.Headers) == 0, "webhook %s has neither secrets nor headers: nobody could tell its deliveries from forged ones", w.Name)
	}
}
