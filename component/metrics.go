package component

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// The closed set of the label link.
const (
	kindComponent = "component"
	kindClient    = "client"
)

type metrics struct {
	up          *prometheus.GaugeVec
	connects    *prometheus.CounterVec
	disconnects *prometheus.CounterVec
	received    *prometheus.CounterVec
	sent        *prometheus.CounterVec
	ping        *prometheus.HistogramVec
}

// newMetrics registers the series of one link; two links share a registry.
func newMetrics(reg prometheus.Registerer, link string) *metrics {
	m := &metrics{
		up: register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "usher_xmpp_up", Help: "1 while the XMPP stream is up."}, []string{"link"})),
		connects: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_xmpp_connects_total", Help: "Logins tried, by how they ended."}, []string{"link", "result"})),
		disconnects: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_xmpp_disconnects_total", Help: "Streams ended, by reason."}, []string{"link", "reason"})),
		received: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_stanzas_received_total", Help: "Top-level elements received."}, []string{"link", "kind"})),
		sent: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_stanzas_sent_total", Help: "Stanzas handed to the connection."}, []string{"link", "kind"})),
		ping: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "usher_xmpp_ping_seconds", Help: "Time from an XMPP ping to its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 2.5, 10}}, []string{"link"})),
	}
	m.up.WithLabelValues(link)
	m.ping.WithLabelValues(link)
	m.connects.WithLabelValues(link, "ok")
	for _, r := range reasons {
		m.connects.WithLabelValues(link, r)
		m.disconnects.WithLabelValues(link, r)
	}
	for _, kind := range []string{"presence", "message", "iq"} {
		m.received.WithLabelValues(link, kind)
		m.sent.WithLabelValues(link, kind)
	}
	m.received.WithLabelValues(link, "other")
	return m
}

// register returns c, or what the other link has registered in its place.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	var have prometheus.AlreadyRegisteredError
	if errors.As(err, &have) {
		return have.ExistingCollector.(C)
	}
	if err != nil {
		panic(err) // two packages claim one name: a mistake in the program
	}
	return c
}
