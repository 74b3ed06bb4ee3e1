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
func newUpstream(cfg config.Config, st *store.Redis, l *leader, refused func(api.SitePart), log *slog.Logger, reg prometheus.Registerer) (*whereby.Upstream, error) {
	if cfg.UpstreamURL == "" {
		return nil, nil
	}
	return whereby.NewUpstream(whereby.UpstreamConfig{
		URL: cfg.UpstreamURL, Key: string(cfg.UpstreamKey), WebhookSecret: string(cfg.UpstreamWebhookSecret),
		Share: cfg.Share, Prefixes: cfg.SharePrefixes, Fallback: cfg.Fallback,
		Meetings: st, State: func(ctx context.Context) whereby.SiteState { return l.siteState(ctx, st) },
		Forward: l.deliverer.Forward, Refused: func() { refused(api.PartWherebyHook) }, Log: log, Metrics: reg,
	})
}

// upstreamChecks says in /readyz how Whereby does, where there is one. They never
// fail: usher's own meetings need no Whereby.
func upstreamChecks(u *whereby.Upstream) []api.Check {
	if u == nil {
		return nil
	}
	return []api.Check{{Name: "whereby", Run: func(ctx context.Context) api.Finding {
		seen, problem := u.Status(ctx)
		if problem != "" {
			return warn(problem+"; "+seen, "look whether "+u.URL+" answers from here, with whereby-upstream-key")
		}
		return ok(seen)
	}}}
}

// siteState says how the site is placed to take a meeting. Where another process
// leads it counts as ready: that one takes the meeting when the app tries again.
func (l *leader) siteState(ctx context.Context, st *store.Redis) (s whereby.SiteState) {
	t := l.term.Load()
	if t == nil {
		holder, err := st.Holder(ctx)
		s.Ready = err == nil && holder != "" && holder != l.name
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
