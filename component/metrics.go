package component

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The kinds of links, and what their label link is unless [Options] names another.
const (
	kindComponent = "component"
	kindClient    = "client"
)

// metrics of one link. Every label value exists from the start.
type metrics struct {
	up          prometheus.Gauge
	connects    *prometheus.CounterVec // by result
	disconnects *prometheus.CounterVec // by reason
	received    *prometheus.CounterVec // by kind
	sent        *prometheus.CounterVec // by kind
	ping        prometheus.Histogram
}

// newMetrics registers the series of one link; two links share a registry.
func newMetrics(reg prometheus.Registerer, link string) *metrics {
	f := promauto.With(prometheus.WrapRegistererWith(prometheus.Labels{"link": link}, reg))
	counter := func(name, help, label string, values ...string) *prometheus.CounterVec {
		c := f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		for _, v := range values {
			c.WithLabelValues(v)
		}
		return c
	}
	reasons := allReasons()
	return &metrics{
		up: f.NewGauge(prometheus.GaugeOpts{Name: "usher_xmpp_up", Help: "1 while the XMPP stream is up."}),
		connects: counter("usher_xmpp_connects_total", "Logins tried, by how they ended.",
			"result", append(reasons, "ok")...),
		disconnects: counter("usher_xmpp_disconnects_total", "Streams ended, by reason.", "reason", reasons...),
		received: counter("usher_stanzas_received_total", "Top-level elements received.",
			"kind", "presence", "message", "iq", "other"),
		sent: counter("usher_stanzas_sent_total", "Stanzas handed to the connection.", "kind", "presence", "message", "iq"),
		ping: f.NewHistogram(prometheus.HistogramOpts{
			Name: "usher_xmpp_ping_seconds", Help: "Time from an XMPP ping to its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 2.5, 10}}),
	}
}
