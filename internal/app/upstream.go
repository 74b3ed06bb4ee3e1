package app

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"usher/api"
	"usher/api/whereby"
	"usher/config"
	"usher/meeting"
	"usher/store"
)

// newUpstream returns Whereby itself where the settings name it, else nil.
func newUpstream(cfg config.Config, st *store.Redis, l *leader, log *slog.Logger, reg prometheus.Registerer) (*whereby.Upstream, error) {
	if cfg.UpstreamURL == "" {
		return nil, nil
	}
	return whereby.NewUpstream(whereby.UpstreamConfig{
		URL: cfg.UpstreamURL, Key: string(cfg.UpstreamKey), WebhookSecret: string(cfg.UpstreamWebhookSecret),
		Share: cfg.Share, Prefixes: cfg.SharePrefixes, Fallback: cfg.Fallback,
		Meetings: st, State: l.siteState, Forward: l.deliverer.Forward, Log: log, Metrics: reg,
	})
}

// upstreamChecks says in /readyz how Whereby does, where there is one.
func upstreamChecks(u *whereby.Upstream) []api.Check {
	if u == nil {
		return nil
	}
	return []api.Check{{Name: "whereby", Run: func(ctx context.Context) (string, error) { return u.Status(ctx), nil }}}
}

// siteState says how this process is placed to take a meeting. It does no I/O.
func (l *leader) siteState() (s whereby.SiteState) {
	t := l.term.Load()
	if t == nil {
		return s
	}
	up, _, _ := t.component.Status()
	if up && t.login != nil {
		up, _, _ = t.login.Status()
	}
	s.Ready = up && t.tracker.Running() && !t.tracker.StoreFailing()
	s.Watching, _ = t.pool.Watching()
	for _, r := range t.pool.Recorders() {
		if r.Status == meeting.RecorderIdle {
			s.Idle++
		}
	}
	s.Queued = len(t.scheduler.Queue())
	return s
}
