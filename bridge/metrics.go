package bridge

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// What becomes of a packet.
const (
	packetTaken     = "taken"
	packetLate      = "late"      // or a repetition
	packetMalformed = "malformed" // no JSON, no Opus, too large, or a field that cannot be
	packetRefused   = "refused"   // of no stream that was announced, or of too many
)

type metrics struct {
	packets map[string]prometheus.Counter
	sockets prometheus.Gauge
	refused prometheus.Counter
}

// newMetrics registers the metrics; reg may be nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	packets := f.NewCounterVec(prometheus.CounterOpts{
		Name: "usher_bridge_packets_total", Help: "Packets and announcements from bridges, by what became of them.",
	}, []string{"result"})
	m := &metrics{
		packets: map[string]prometheus.Counter{},
		sockets: f.NewGauge(prometheus.GaugeOpts{Name: "usher_bridge_sockets", Help: "WebSockets of bridges that are open."}),
		refused: f.NewCounter(prometheus.CounterOpts{
			Name: "usher_bridge_refused_total", Help: "WebSockets that were refused: no such part, a wrong token, or too many.",
		}),
	}
	for _, result := range []string{packetTaken, packetLate, packetMalformed, packetRefused} {
		m.packets[result] = packets.WithLabelValues(result)
	}
	return m
}

func (m *metrics) count(result string) { m.packets[result].Inc() }
