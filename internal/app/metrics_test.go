package app

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"usher/internal/memorystore"
	"usher/meeting"
	"usher/meeting/tracker"
	"usher/muc"
)

// TestMetricsFollowTheConventions holds the names and helps of the series of a
// term, the rooms' among them, against Prometheus's rules.
func TestMetricsFollowTheConventions(t *testing.T) {
	reg := prometheus.NewRegistry()
	tm := &term{rooms: muc.New(muc.Config{Metrics: reg})}
	metrics := newTermMetrics(reg, tm)
	tm.tracker = tracker.New(&memorystore.Memory{}, tm.rooms, tracker.Options{})
	metrics.committed(meeting.Commit{Effects: meeting.Effects{Events: []meeting.Event{{Type: meeting.SessionStarted}}}}, 0)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if got := testutil.ToFloat64(metrics.events.WithLabelValues("session.started")); got != 1 {
		t.Errorf("session.started is counted %v times, want 1", got)
	}
}
