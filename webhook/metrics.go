package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"usher/meeting"
)

// apiLabel stands for all endpoints that were made over the API: their names
// would make as many series as apps like.
const apiLabel = "api"

// Classes of what came of a try, as metrics have them.
var classes = []string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

type metrics struct {
	deliveries *prometheus.CounterVec
	latency    *prometheus.HistogramVec
	endToEnd   prometheus.Histogram
	backlog    *prometheus.GaugeVec
	oldest     *prometheus.GaugeVec
	dead       *prometheus.CounterVec
	up         *prometheus.GaugeVec
}

// newMetrics registers the metrics with a series for each label; reg may be nil.
func newMetrics(reg prometheus.Registerer, labels []string) *metrics {
	f := promauto.With(reg)
	endpoint := []string{"endpoint"}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, endpoint)
	}
	m := &metrics{
		deliveries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_webhook_deliveries_total",
			Help: "Tries to deliver an event, by what came of them and the class of the answer's status; skipped: the endpoint's dialect has nothing to say of it.",
		}, []string{"endpoint", "result", "code_class"}),
		latency: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "usher_webhook_latency_seconds",
			Help:    "Time that a try took, failed ones included.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15},
		}, endpoint),
		endToEnd: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "usher_webhook_end_to_end_seconds",
			Help:    "Time from an event to the answer that accepted it.",
			Buckets: []float64{.05, .1, .25, .5, 1, 5, 15, 60, 300, 900, 3600},
		}),
		dead:    f.NewCounterVec(prometheus.CounterOpts{Name: "usher_webhook_dead_total", Help: "Events that were given up."}, endpoint),
		backlog: gauge("usher_webhook_backlog", "Events that wait for an endpoint; estimated when they are of more than a thousand meetings."),
		oldest:  gauge("usher_webhook_oldest_seconds", "Age of the oldest event that waits for an endpoint."),
		up:      gauge("usher_webhook_endpoint_up", "0 while an endpoint fails or is disabled, else 1; for those of the API, 0 when one of them is."),
	}
	for _, label := range labels {
		for _, class := range classes {
			result := meeting.Failed
			if class == "2xx" {
				result = meeting.Delivered
			}
			m.deliveries.WithLabelValues(label, string(result), class)
		}
		m.deliveries.WithLabelValues(label, string(meeting.Skipped), classes[0])
		m.latency.WithLabelValues(label)
		m.backlog.WithLabelValues(label)
		m.oldest.WithLabelValues(label)
		m.dead.WithLabelValues(label)
		m.up.WithLabelValues(label).Set(1)
	}
	return m
}

// label returns the value of the endpoint label.
func (e Endpoint) label() string {
	if e.Configured {
		return e.Name
	}
	return apiLabel
}

// tried counts what came of one try.
func (m *metrics) tried(label string, ev *event, r meeting.DeliveryResult, o outcome) {
	counted := r
	if r == meeting.GivenUp {
		counted = meeting.Failed
		m.dead.WithLabelValues(label).Inc()
	}
	m.deliveries.WithLabelValues(label, string(counted), classes[min(max(o.status/100, 0), len(classes)-1)]).Inc()
	if r == meeting.Skipped {
		return
	}
	m.latency.WithLabelValues(label).Observe(o.took.Seconds())
	if r == meeting.Delivered {
		m.endToEnd.Observe(time.Since(ev.Timestamp).Seconds())
	}
}
