package app

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"usher/meeting"
)

// maxRooms is how many rooms have series of their own, the largest ones: Prometheus
// keeps the series of every room that there ever was.
const maxRooms = 200

// roomMetrics are the series of /metrics/rooms, one for each live meeting.
type roomMetrics struct{ l *leader }

var (
	roomPeopleDesc    = prometheus.NewDesc("usher_room_participants", "People in the room of a live meeting now.", []string{"room"}, nil)
	roomRecordingDesc = prometheus.NewDesc("usher_room_recording", "1 while the meeting is recorded, else 0.", []string{"room"}, nil)
	roomStaleDesc     = prometheus.NewDesc("usher_room_stale", "1 while usher cannot see the room, else 0.", []string{"room"}, nil)
	truncatedDesc     = prometheus.NewDesc("usher_rooms_truncated", "Live meetings that have no series here, because there are larger ones.", nil, nil)
)

// Describe implements prometheus.Collector.
func (r roomMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{roomPeopleDesc, roomRecordingDesc, roomStaleDesc, truncatedDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (r roomMetrics) Collect(ch chan<- prometheus.Metric) {
	type room struct {
		name             string
		people           int
		recording, stale float64
	}
	var rooms []room
	if t := r.l.term.Load(); t != nil {
		t.tracker.Each(func(m meeting.Meeting) {
			if m.State() != meeting.StateLive {
				return
			}
			one := room{name: m.Room, people: m.Occupancy().Humans}
			if !m.StaleSince.IsZero() {
				one.stale = 1
			}
			for _, rec := range m.Recordings {
				if rec.State == meeting.RecordingOn {
					one.recording = 1
				}
			}
			rooms = append(rooms, one)
		})
	}
	slices.SortFunc(rooms, func(a, b room) int {
		return cmp.Or(cmp.Compare(b.people, a.people), cmp.Compare(a.name, b.name))
	})
	shown := rooms[:min(len(rooms), maxRooms)]
	gauge := func(d *prometheus.Desc, n float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, labels...)
	}
	for _, one := range shown {
		gauge(roomPeopleDesc, float64(one.people), one.name)
		gauge(roomRecordingDesc, one.recording, one.name)
		gauge(roomStaleDesc, one.stale, one.name)
	}
	gauge(truncatedDesc, float64(len(rooms)-len(shown)))
}
