package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Operations that are measured.
const (
	opCommit     = "commit"
	opOpen       = "open"
	opLoad       = "load"
	opForget     = "forget"
	opList       = "list"
	opSessions   = "sessions" // of a meeting, or one
	opPeople     = "people"   // of a session
	opEvents     = "events"
	opQueue      = "queue"    // of events for an endpoint
	opAck        = "ack"      // of deliveries
	opWebhooks   = "webhooks" // all else about endpoints
	opLease      = "lease"
	opPing       = "ping"
	opReplies    = "replies" // to requests that may be repeated
	opKeys       = "apikeys"
	opLinks      = "links"
	opRecordings = "recordings"
	opUpstream   = "upstream" // meetings at another server
	opEpoch      = "epoch"    // and what is held to write the store anew
)

// Reasons for an error.
const (
	reasonTimeout  = "timeout"
	reasonOOM      = "oom"
	reasonReadOnly = "readonly"
	reasonFenced   = "fenced"
	reasonConn     = "conn"
	reasonOther    = "other"
	// reasonUnreadable counts each entry that was left out once per process.
	reasonUnreadable = "unreadable"
)

type metrics struct {
	seconds map[string]prometheus.Observer // by operation
	errors  map[string]prometheus.Counter  // by reason
	leader  prometheus.Gauge
	resets  prometheus.Counter
}

// newMetrics registers the metrics; reg may be nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	seconds := f.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "usher_store_op_seconds",
		Help:    "Time that operations on the store took, failed ones included.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
	}, []string{"op"})
	failures := f.NewCounterVec(prometheus.CounterOpts{
		Name: "usher_store_errors_total",
		Help: "Operations on the store that failed, by reason.",
	}, []string{"reason"})
	m := &metrics{
		seconds: map[string]prometheus.Observer{},
		errors:  map[string]prometheus.Counter{},
		leader: f.NewGauge(prometheus.GaugeOpts{
			Name: "usher_leader",
			Help: "1 while this process leads its site, else 0.",
		}),
		resets: f.NewCounter(prometheus.CounterOpts{
			Name: "usher_store_resets_total",
			Help: "Times that the store was found emptied; what usher held was written anew.",
		}),
	}
	for _, op := range []string{opCommit, opOpen, opLoad, opForget, opList, opSessions, opPeople, opEvents, opQueue, opAck, opWebhooks, opLease, opPing, opReplies, opKeys, opLinks, opRecordings, opUpstream, opEpoch} {
		m.seconds[op] = seconds.WithLabelValues(op)
	}
	for _, reason := range []string{reasonTimeout, reasonOOM, reasonReadOnly, reasonFenced, reasonConn, reasonOther, reasonUnreadable} {
		m.errors[reason] = failures.WithLabelValues(reason)
	}
	return m
}
