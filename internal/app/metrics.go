package app

import (
	"cmp"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"usher/meeting"
)

// termMetrics count what happens to meetings during one term of leading.
type termMetrics struct {
	events  *prometheus.CounterVec
	latency prometheus.Histogram
	starts  *prometheus.HistogramVec
	settled *prometheus.CounterVec // recordings
	length  prometheus.Histogram   // of sessions
	peak    prometheus.Histogram   // of sessions
	dropped prometheus.Counter
	panics  prometheus.Counter
}

func newTermMetrics(reg prometheus.Registerer, t *term) *termMetrics {
	f := promauto.With(reg)
	m := &termMetrics{
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_events_total", Help: "Events committed, by type.",
		}, []string{"type"}),
		latency: f.NewHistogram(prometheus.HistogramOpts{
			Name: "usher_commit_latency_seconds", Help: "Time from handing over what a room or an app said until it was stored.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .1, .5, 1, 5},
		}),
		starts: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "usher_recording_start_duration_seconds", Help: "Time from asking for a recording until it began, or failed to; waiting for a recorder included.",
			Buckets: []float64{1, 2, 5, 10, 20, 30, 60, 300, 1800},
		}, []string{"result"}),
		settled: f.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_recordings_settled_total", Help: "Recordings that came to an end, by how: available, failed or aborted; and by failure, which is none where nothing went wrong.",
		}, []string{"result", "failure"}),
		length: f.NewHistogram(prometheus.HistogramOpts{
			Name: "usher_session_duration_seconds", Help: "How long people were in a meeting, from the first one's arrival until the last one had left.",
			Buckets: []float64{60, 300, 900, 1800, 2700, 3600, 5400, 7200, 14400, 28800},
		}),
		peak: f.NewHistogram(prometheus.HistogramOpts{
			Name: "usher_session_peak_participants", Help: "Most people at the same time in sessions that have ended.",
			Buckets: sizes,
		}),
		dropped: f.NewCounter(prometheus.CounterOpts{
			Name: "usher_facts_dropped_total", Help: "Presences dropped because a meeting had too many waiting; its roster is asked for anew.",
		}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "usher_panics_total", Help: "Panics while working on a meeting.",
		}),
	}
	for _, t := range meeting.EventTypes {
		m.events.WithLabelValues(string(t))
	}
	for _, result := range []string{"started", "failed"} {
		m.starts.WithLabelValues(result)
	}
	m.settled.WithLabelValues(string(meeting.RecordingAvailable), noFailure)
	m.settled.WithLabelValues(string(meeting.RecordingAborted), noFailure)
	for _, failure := range failures {
		m.settled.WithLabelValues(string(meeting.RecordingFailed), string(failure))
	}
	reg.MustRegister(&occupancy{t})
	return m
}

// sizes are the buckets of how many people there are in a meeting.
var sizes = []float64{1, 2, 3, 5, 10, 20, 50, 100, 200, 500}

// noFailure is the label of a recording that nothing went wrong with.
const noFailure = "none"

// failures are why recordings fail.
var failures = []meeting.RecordingReason{
	meeting.FailQueueTimeout, meeting.ReasonBusy, meeting.ReasonNoRecorder, meeting.ReasonStream, meeting.FailStartTimeout, meeting.FailNoAnswer,
	meeting.FailNotAllowed, meeting.FailRefused, meeting.FailRecorder, meeting.FailFocusLost, meeting.FailFileMissing, meeting.FailHandOver, meeting.FailDisk,
}

// committed is called after each commit.
func (m *termMetrics) committed(c meeting.Commit, latency time.Duration) {
	m.latency.Observe(latency.Seconds())
	for _, n := range c.Events {
		m.events.WithLabelValues(string(n.Type)).Inc()
		if s := n.Data.Session; s != nil && n.Type == meeting.SessionEnded {
			m.length.Observe(s.EndedAt.Sub(s.StartedAt.Time).Seconds())
			m.peak.Observe(float64(s.Peak))
		}
		r := n.Data.Recording
		if r == nil {
			continue
		}
		switch n.Type {
		case meeting.RecordingIsAvailable, meeting.RecordingHasFailed, meeting.RecordingWasAborted:
			m.settled.WithLabelValues(string(r.State), cmp.Or(string(r.Failure), noFailure)).Inc()
		}
		took := n.Timestamp.Sub(r.RequestedAt.Time).Seconds()
		switch {
		case n.Type == meeting.RecordingStarted:
			m.starts.WithLabelValues("started").Observe(took)
		case n.Type == meeting.RecordingHasFailed && r.StartedAt.IsZero():
			m.starts.WithLabelValues("failed").Observe(took)
		}
	}
}

// newProcessMetrics returns the registry of what lives as long as the process.
func newProcessMetrics() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		linesDropped,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "usher_build_info", Help: "Always 1; the labels tell the build.",
			ConstLabels: prometheus.Labels{"version": Version(), "goversion": runtime.Version()},
		}, func() float64 { return 1 }),
	)
	return reg
}
