package whereby

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type upstreamMetrics struct {
	made     *prometheus.CounterVec
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
	up       prometheus.Gauge
	hooks    *prometheus.CounterVec
}

// newUpstreamMetrics registers the metrics; reg may be nil.
func newUpstreamMetrics(reg prometheus.Registerer) *upstreamMetrics {
	f := promauto.With(reg)
	m := &upstreamMetrics{
		made: f.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_whereby_meetings_total",
			Help: "Meetings made over Whereby's API, by where, and why there.",
		}, []string{"at", "reason"}),
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_whereby_upstream_requests_total",
			Help: "Requests to Whereby by what came of them; refused: not made, because it is down or too many wait.",
		}, []string{"result"}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "usher_whereby_upstream_seconds",
			Help:    "Time that requests to Whereby took, failed ones included.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		up: f.NewGauge(prometheus.GaugeOpts{
			Name: "usher_whereby_upstream_up",
			Help: "1 while Whereby answers, 0 after a request that it did not answer, or answered with what makes no sense.",
		}),
		hooks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_whereby_webhooks_total",
			Help: "Webhooks that came from Whereby, by what became of them.",
		}, []string{"result"}),
	}
	m.up.Set(1)
	for _, reason := range []string{reasonShare, reasonPrefix, reasonNotReady, reasonRecorders} {
		m.made.WithLabelValues(atWhereby, reason)
	}
	for _, reason := range []string{reasonShare, reasonUnavailable} {
		m.made.WithLabelValues(atUsher, reason)
	}
	for _, result := range []string{"ok", "rejected", "limited", "bad_key", "failed", "refused", "cancelled"} {
		m.requests.WithLabelValues(result)
	}
	for _, result := range []string{hookStored, hookUnwanted, hookForged, hookMalformed, hookRefused} {
		m.hooks.WithLabelValues(result)
	}
	return m
}
