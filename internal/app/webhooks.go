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
		Dialects: Dialects(cfg.Site, cfg.MUC),
	})
}

// Dialects returns those that an endpoint may have besides the standard one.
func Dialects(site, muc string) map[string]webhook.Dialect {
	return map[string]webhook.Dialect{
		whereby.DialectName: whereby.Dialect(site),
		webhook.Jitsi:       webhook.JitsiDialect(),
		webhook.EventSync:   webhook.EventSyncDialect(muc),
	}
}

// maxNamed is how many of a kind a check names; more would hide the rest of it.
const maxNamed = 5

// naming says how many are as said, and which.
func naming(what string, ids []string) string {
	text := fmt.Sprintf("%d %s: %s", len(ids), what, strings.Join(ids[:min(len(ids), maxNamed)], ", "))
	if len(ids) > maxNamed {
		text += ", …"
	}
	return text
}

// namedIn adds a warning about those named, if there are any.
func namedIn(f api.Finding, what string, ids []string, do string) api.Finding {
	if len(ids) == 0 {
		return f
	}
	return also(f, warn(naming(what, ids), do))
}

// webhooksCheck names the endpoints that get nothing at the moment. It never
// fails: they are somebody else's servers, and usher keeps what waits for them.
func webhooksCheck(registry *webhook.Registry, deliverer *webhook.Deliverer) api.Check {
	return api.Check{Name: "webhooks", Run: func(context.Context) api.Finding {
		all := registry.List()
		var requested, gaveUp []string
		for _, e := range all {
			switch {
			case e.Disabled == nil:
			case e.Disabled.Reason == webhook.DisabledRequested:
				requested = append(requested, e.ID)
			default:
				gaveUp = append(gaveUp, e.ID)
			}
		}
		f := ok(fmt.Sprintf("endpoints: %d", len(all)))
		if len(requested) > 0 {
			f = also(f, ok(naming("disabled by an app", requested)))
		}
		f = namedIn(f, "failing", deliverer.Failing(), "GET /v1/webhooks/ID/deliveries says what they answer")
		f = namedIn(f, "disabled because they failed", gaveUp, `mend the receiver, then PATCH /v1/webhooks/ID {"enabled": true}`)
		return namedIn(f, "unreadable", registry.Unreadable(), "delete them and make them again")
	}}
}
