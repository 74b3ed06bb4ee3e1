package whereby_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"usher/api/whereby"
	"usher/config"
	"usher/internal/stack/stacktest"
	"usher/internal/wherebytest"
	"usher/store"
	"usher/webhook"
)

// upstreamSite is a site with a stand-in for Whereby behind it.
type upstreamSite struct {
	*wherebySite
	whereby  *wherebytest.Server
	meetings *store.Redis
	upstream *whereby.Upstream
	log      *bytes.Buffer

	mu        sync.Mutex
	state     whereby.SiteState
	forwarded []webhook.Forwarded
	refuse    error // answers what is forwarded while set
}

// newUpstreamSite starts one; change may be nil.
func newUpstreamSite(t *testing.T, share int, change func(*whereby.UpstreamConfig)) *upstreamSite {
	t.Helper()
	s := &upstreamSite{whereby: wherebytest.Start(""), log: new(bytes.Buffer), state: whereby.SiteState{Ready: true}}
	t.Cleanup(s.whereby.Close)
	var err error
	if s.meetings, err = store.NewRedis(store.Config{URL: stacktest.Redis(t).URL, Site: "main"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.meetings.Close() })
	cfg := whereby.UpstreamConfig{
		URL: s.whereby.URL + "/", Key: wherebytest.Key, WebhookSecret: wherebytest.WebhookSecret,
		Share: share, Fallback: config.FallbackWhereby, Meetings: s.meetings,
		State: func(context.Context) whereby.SiteState { s.mu.Lock(); defer s.mu.Unlock(); return s.state },
		Forward: func(_ context.Context, f webhook.Forwarded) (bool, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.refuse != nil {
				return false, s.refuse
			}
			known := slices.ContainsFunc(s.forwarded, func(g webhook.Forwarded) bool { return g.ID == f.ID })
			s.forwarded = append(s.forwarded, f)
			return !known, nil
		},
		Log: slog.New(slog.NewTextHandler(s.log, nil)), Metrics: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&cfg)
	}
	if s.upstream, err = whereby.NewUpstream(cfg); err != nil {
		t.Fatal(err)
	}
	s.wherebySite = newWherebySite(t, func(c *testConfig) { c.Upstream = s.upstream })
	return s
}

func (s *upstreamSite) setState(state whereby.SiteState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

// quiet checks that Whereby was not asked for anything.
func (s *upstreamSite) quiet(what string) {
	s.t.Helper()
	if calls := s.whereby.Calls(); len(calls) > 0 {
		s.t.Errorf("%s: Whereby was asked %q, want nothing", what, calls)
	}
}

// page is a list as a client reads it.
type listPage struct {
	Cursor  *string
	Results []map[string]any
}
