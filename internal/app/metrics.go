package app

import (
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
	dropped prometheus.Counter
	panics  prometheus.Counter
}

var eventTypes = []meeting.EventType{
	meeting.MeetingCreated, meeting.MeetingUpdated, meeting.MeetingEnding, meeting.MeetingEnded,
	meeting.SessionStarted, meeting.SessionEnded,
	meeting.ParticipantJoined, meeting.ParticipantLeft, meeting.ParticipantUpdated,
	meeting.RecordingIsRequested, meeting.RecordingIsQueued, meeting.RecordingIsStarting, meeting.RecordingStarted,
	meeting.RecordingIsStopping, meeting.RecordingStopped, meeting.RecordingIsAvailable, meeting.RecordingHasFailed,
	meeting.RecordingWasAborted, meeting.RecordingWasDeleted, meeting.RecordingWasInterrupted, meeting.RecordingWasResumed, meeting.SpeakerStats,
	meeting.StreamStarted, meeting.StreamEnded,
	meeting.StoreWasReset,
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
		dropped: f.NewCounter(prometheus.CounterOpts{
			Name: "usher_facts_dropped_total", Help: "Presences dropped because a meeting had too many waiting; its roster is asked for anew.",
		}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "usher_panics_total", Help: "Panics while working on a meeting.",
		}),
	}
	for _, t := range eventTypes {
		m.events.WithLabelValues(string(t))
	}
	for _, result := range []string{"started", "failed"} {
		m.starts.WithLabelValues(result)
	}
	reg.MustRegister(&occupancy{t})
	return m
}

// committed is called after each commit.
func (m *termMetrics) committed(c meeting.Commit, latency time.Duration) {
	m.latency.Observe(latency.Seconds())
	for _, n := range c.Events {
		m.events.WithLabelValues(string(n.Type)).Inc()
		r := n.Data.Recording
		if r == nil {
			continue
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

// occupancy counts meetings and people at each scrape.
type occupancy struct{ t *term }

var (
	meetingsDesc     = prometheus.NewDesc("usher_meetings", "Meetings that are not over, by state.", []string{"state"}, nil)
	participantsDesc = prometheus.NewDesc("usher_participants", "People and services in meetings now, by kind.", []string{"kind"}, nil)
	recordingsDesc   = prometheus.NewDesc("usher_recordings", "Recordings that are not settled, by state.", []string{"state"}, nil)
	streamsDesc      = prometheus.NewDesc("usher_live_streams", "Meetings that are streamed live.", nil, nil)
	staleDesc        = prometheus.NewDesc("usher_meetings_stale", "Meetings with people whose room usher cannot see.", nil, nil)
)

// Describe implements prometheus.Collector.
func (o *occupancy) Describe(ch chan<- *prometheus.Desc) {
	ch <- meetingsDesc
	ch <- participantsDesc
	ch <- staleDesc
	ch <- recordingsDesc
	ch <- streamsDesc
}

// Collect implements prometheus.Collector.
func (o *occupancy) Collect(ch chan<- prometheus.Metric) {
	recordings := map[meeting.RecordingState]int{
		meeting.RecordingRequested: 0, meeting.RecordingQueued: 0, meeting.RecordingStarting: 0,
		meeting.RecordingOn: 0, meeting.RecordingStopping: 0, meeting.RecordingProcessing: 0,
	}
	var created, idle, live, streams, stale, humans, recorders, others, visitors int
	o.t.tracker.Each(func(m meeting.Meeting) {
		switch m.State() {
		case meeting.StateCreated:
			created++
		case meeting.StateIdle:
			idle++
		case meeting.StateLive:
			live++
		}
		if m.Stream.Session != "" {
			streams++
		}
		if !m.StaleSince.IsZero() {
			stale++
		}
		for _, r := range m.Recordings {
			if !r.State.Settled() {
				recordings[r.State]++
			}
		}
		who := m.Occupancy()
		humans += who.Humans
		recorders += who.Recorders
		others += who.Others
		visitors += who.Visitors
	})
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(meetingsDesc, created, "created")
	gauge(meetingsDesc, idle, "idle")
	gauge(meetingsDesc, live, "live")
	gauge(staleDesc, stale)
	gauge(streamsDesc, streams)
	for state, n := range recordings {
		gauge(recordingsDesc, n, string(state))
	}
	gauge(participantsDesc, humans, "human")
	gauge(participantsDesc, recorders, "recorder")
	gauge(participantsDesc, others, "other")
	gauge(participantsDesc, visitors, "visitor")
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
