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

// maxNamed is how many of a kind a line of /readyz names; more would hide the
// rest of it.
const maxNamed = 5

// naming returns a part of a line of /readyz: how many are as said, and which.
// It is empty when none is.
func naming(what string, ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	text := fmt.Sprintf("; %d %s: %s", len(ids), what, strings.Join(ids[:min(len(ids), maxNamed)], ", "))
	if len(ids) > maxNamed {
		text += ", …"
	}
	return text
}

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
		return fmt.Sprintf("endpoints: %d", len(all)) + naming("failing", deliverer.Failing()) +
			naming("disabled", disabled) + naming("unreadable", registry.Unreadable()), nil
	}}
}
