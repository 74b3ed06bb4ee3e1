package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/meeting"
)

// occupancy counts meetings and people at each scrape.
type occupancy struct{ t *term }

var (
	meetingsDesc     = prometheus.NewDesc("usher_meetings", "Meetings that are not over, by state.", []string{"state"}, nil)
	sizesDesc        = prometheus.NewDesc("usher_meeting_participants", "Sizes of the live meetings now, in people.", nil, nil)
	participantsDesc = prometheus.NewDesc("usher_participants", "People and services in meetings now, by kind.", []string{"kind"}, nil)
	moderatorsDesc   = prometheus.NewDesc("usher_moderators", "People in meetings now who are moderators.", nil, nil)
	recordingsDesc   = prometheus.NewDesc("usher_recordings", "Recordings that are not settled, by state.", []string{"state"}, nil)
	waitDesc         = prometheus.NewDesc("usher_recording_queue_oldest_seconds", "How long the recording that has waited longest for a recorder has waited; 0: none waits.", nil, nil)
	streamsDesc      = prometheus.NewDesc("usher_live_streams", "Meetings that are streamed live.", nil, nil)
	staleDesc        = prometheus.NewDesc("usher_meetings_stale", "Meetings with people whose room usher cannot see.", nil, nil)
)

// Describe implements prometheus.Collector.
func (o *occupancy) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{meetingsDesc, sizesDesc, participantsDesc, moderatorsDesc, recordingsDesc, waitDesc, streamsDesc, staleDesc} {
		ch <- d
	}
}

// tally is what there is at one scrape.
type tally struct {
	meetings   map[meeting.State]int
	recordings map[meeting.RecordingState]int
	sizes      map[float64]uint64 // live meetings of so many people at most, by the bucket
	people     meeting.Occupancy  // of all meetings
	streams    int
	stale      int
	since      time.Time // when the oldest recording in the queue was asked for
}

func newTally() *tally {
	t := &tally{
		meetings: map[meeting.State]int{meeting.StateCreated: 0, meeting.StateIdle: 0, meeting.StateLive: 0},
		recordings: map[meeting.RecordingState]int{
			meeting.RecordingRequested: 0, meeting.RecordingQueued: 0, meeting.RecordingStarting: 0,
			meeting.RecordingOn: 0, meeting.RecordingStopping: 0, meeting.RecordingProcessing: 0,
		},
		sizes: map[float64]uint64{},
	}
	for _, size := range sizes {
		t.sizes[size] = 0
	}
	return t
}

func (t *tally) add(m meeting.Meeting) {
	if _, counts := t.meetings[m.State()]; counts {
		t.meetings[m.State()]++
	}
	if m.Stream.Session != "" {
		t.streams++
	}
	if !m.StaleSince.IsZero() {
		t.stale++
	}
	for _, r := range m.Recordings {
		if !r.State.Settled() {
			t.recordings[r.State]++
		}
		if r.State == meeting.RecordingQueued && (t.since.IsZero() || r.RequestedAt.Before(t.since)) {
			t.since = r.RequestedAt.Time
		}
	}
	who := m.Occupancy()
	t.people.Humans += who.Humans
	t.people.Moderators += who.Moderators
	t.people.Recorders += who.Recorders
	t.people.Others += who.Others
	t.people.Visitors += who.Visitors
	if m.State() == meeting.StateLive {
		for _, size := range sizes {
			if float64(who.Humans) <= size {
				t.sizes[size]++
			}
		}
	}
}

// Collect implements prometheus.Collector.
func (o *occupancy) Collect(ch chan<- prometheus.Metric) {
	t := newTally()
	o.t.tracker.Each(t.add)
	gauge := func(d *prometheus.Desc, n float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, labels...)
	}
	for state, n := range t.meetings {
		gauge(meetingsDesc, float64(n), string(state))
	}
	for state, n := range t.recordings {
		gauge(recordingsDesc, float64(n), string(state))
	}
	wait := 0.0
	if !t.since.IsZero() {
		wait = time.Since(t.since).Seconds()
	}
	gauge(waitDesc, wait)
	gauge(staleDesc, float64(t.stale))
	gauge(streamsDesc, float64(t.streams))
	gauge(participantsDesc, float64(t.people.Humans), "human")
	gauge(participantsDesc, float64(t.people.Recorders), "recorder")
	gauge(participantsDesc, float64(t.people.Others), "other")
	gauge(participantsDesc, float64(t.people.Visitors), "visitor")
	gauge(moderatorsDesc, float64(t.people.Moderators))
	ch <- prometheus.MustNewConstHistogram(sizesDesc, uint64(t.meetings[meeting.StateLive]), float64(t.people.Humans), t.sizes)
}
