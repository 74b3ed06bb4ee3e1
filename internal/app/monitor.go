package app

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/api"
	"usher/internal/sleep"
)

const (
	// firstLook is when the checks are first looked at: what is well is up by then,
	// and a wrong setting is said within two seconds of the start.
	firstLook = time.Second
	// lookInterval is the time between two looks. Each is some four questions to the
	// XMPP server and four to Redis.
	lookInterval = 5 * time.Second
)

// loggedElsewhere are the checks of parts that log by themselves when they change.
var loggedElsewhere = []string{"leader", "meetings", "component", "occupant", "recorders"}

// monitor looks at the checks of /readyz from time to time, for the log, which gets a
// line when one of them changes, and for the metrics.
type monitor struct {
	health func() api.Health
	log    *slog.Logger
	last   atomic.Pointer[api.Readiness] // nil: not looked yet
}

// run looks until ctx ends. It returns nil.
func (m *monitor) run(ctx context.Context) error {
	states := map[string]api.CheckState{}
	for wait := firstLook; sleep.For(ctx, wait); wait = lookInterval {
		r := m.health().Look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		m.last.Store(&r)
		for _, c := range r.Checks {
			if was, known := states[c.Name]; was != c.State && (known || c.State != api.CheckOK) && !slices.Contains(loggedElsewhere, c.Name) {
				m.note(c)
			}
			states[c.Name] = c.State
		}
	}
	return nil
}

// note logs what a check has come to.
func (m *monitor) note(c api.Result) {
	args := []any{"check", c.Name, "state", c.State, "seen", c.Seen}
	if c.Do != "" {
		args = append(args, "do", c.Do)
	}
	level := []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError}[c.State.Rank()]
	m.log.Log(context.Background(), level, "check of readyz: "+string(c.State), args...)
}

var (
	checkDesc = prometheus.NewDesc("usher_check_state", "What /readyz says of each check: 0 ok, 1 warn, 2 fail. A process that stands by has fewer.", []string{"check"}, nil)
	modeDesc  = prometheus.NewDesc("usher_occupant_mode", "1 for what usher's occupant is: hidden from people, or labelled.", []string{"mode"}, nil)
)

// Describe implements prometheus.Collector.
func (m *monitor) Describe(ch chan<- *prometheus.Desc) {
	ch <- checkDesc
	ch <- modeDesc
}

// Collect implements prometheus.Collector.
func (m *monitor) Collect(ch chan<- prometheus.Metric) {
	mode := m.health().Mode
	for _, one := range []string{modeHidden, modeLabelled} {
		value := 0.0
		if one == mode {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(modeDesc, prometheus.GaugeValue, value, one)
	}
	if r := m.last.Load(); r != nil {
		for _, c := range r.Checks {
			ch <- prometheus.MustNewConstMetric(checkDesc, prometheus.GaugeValue, float64(c.State.Rank()), c.Name)
		}
	}
}
