package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"usher/api"
	"usher/api/whereby"
	"usher/config"
	"usher/webhook"
)

// newRegistry returns a registry with the endpoints of the configuration.
func newRegistry(cfg config.Config, st webhook.Store, log *slog.Logger, reg prometheus.Registerer) (*webhook.Registry, error) {
	var endpoints []webhook.Endpoint
	for _, w := range cfg.Webhooks {
		e := webhook.Endpoint{Name: w.Name, URL: w.URL, Dialect: w.Dialect, Headers: w.Headers}
		for _, key := range w.Secrets {
			e.Secrets = append(e.Secrets, webhook.Secret{Key: key})
		}
		endpoints = append(endpoints, e)
	}
	return webhook.NewRegistry(webhook.Config{
		Store: st, Endpoints: endpoints, AllowCIDRs: cfg.WebhookAllow, Log: log, Registerer: reg,
		Dialects: map[string]webhook.Dialect{
			whereby.DialectName: whereby.Dialect(cfg.Site),
			webhook.Jitsi:       webhook.JitsiDialect(),
			webhook.EventSync:   webhook.EventSyncDialect(cfg.MUC),
		},
	})
}

// maxNamed is how many endpoints a line of /readyz names; more would hide the
// rest of it.
const maxNamed = 5

// webhooksCheck names the endpoints that get nothing at the moment. It never
// fails: they are somebody else's servers, and usher keeps what waits for them.
func webhooksCheck(registry *webhook.Registry, deliverer *webhook.Deliverer) api.Check {
	return api.Check{Name: "webhooks", Run: func(context.Context) (string, error) {
		all := registry.List()
		var disabled []string
		for _, e := range all {
			if e.Disabled != nil {
				disabled = append(disabled, e.ID)
			}
		}
		text := fmt.Sprintf("endpoints: %d", len(all))
		for _, group := range []struct {
			what string
			ids  []string
		}{{"failing", deliverer.Failing()}, {"disabled", disabled}, {"unreadable", registry.Unreadable()}} {
			if n := len(group.ids); n > 0 {
				text += fmt.Sprintf("; %d %s: %s", n, group.what, strings.Join(group.ids[:min(n, maxNamed)], ", "))
				if n > maxNamed {
					text += ", …"
				}
			}
		}
		return text, nil
	}}
}
