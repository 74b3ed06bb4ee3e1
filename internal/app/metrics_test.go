package app

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"usher/internal/memorystore"
	"usher/meeting"
	"usher/meeting/tracker"
	"usher/muc"
)

// TestMetricsFollowTheConventions holds the names and helps of the series of a
// term, the rooms' among them, against Prometheus's rules.
func TestMetricsFollowTheConventions(t *testing.T) {
	reg := prometheus.NewRegistry()
	tm := &term{rooms: muc.New(muc.Config{Metrics: reg})}
	metrics := newTermMetrics(reg, tm)
	tm.tracker = tracker.New(&memorystore.Memory{}, tm.rooms, tracker.Options{})
	metrics.committed(meeting.Commit{Effects: meeting.Effects{Events: []meeting.Event{{Type: meeting.SessionStarted}}}}, 0)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	began := time.Now()
	session := meeting.SessionInfo{Peak: 4, StartedAt: meeting.Time{Time: began}, EndedAt: meeting.Time{Time: began.Add(10 * time.Minute)}}
	failed := meeting.RecordingInfo{}
	failed.State, failed.Failure = meeting.RecordingFailed, meeting.FailDisk
	metrics.committed(meeting.Commit{Effects: meeting.Effects{Events: []meeting.Event{
		{Type: meeting.SessionEnded, Data: meeting.Data{Session: &session}},
		{Type: meeting.RecordingHasFailed, Data: meeting.Data{Recording: &failed}},
	}}}, 0)
	if got := testutil.ToFloat64(metrics.settled.WithLabelValues("failed", "disk")); got != 1 {
		t.Errorf("a recording that failed is counted %v times, want 1", got)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP usher_session_duration_seconds How long people were in a meeting, from the first one's arrival until the last one had left.
# TYPE usher_session_duration_seconds histogram
usher_session_duration_seconds_bucket{le="60"} 0
usher_session_duration_seconds_bucket{le="300"} 0
usher_session_duration_seconds_bucket{le="900"} 1
usher_session_duration_seconds_bucket{le="1800"} 1
usher_session_duration_seconds_bucket{le="2700"} 1
usher_session_duration_seconds_bucket{le="3600"} 1
usher_session_duration_seconds_bucket{le="5400"} 1
usher_session_duration_seconds_bucket{le="7200"} 1
usher_session_duration_seconds_bucket{le="14400"} 1
usher_session_duration_seconds_bucket{le="28800"} 1
usher_session_duration_seconds_bucket{le="+Inf"} 1
usher_session_duration_seconds_sum 600
usher_session_duration_seconds_count 1
`), "usher_session_duration_seconds"); err != nil {
		t.Error(err)
	}
	if got := testutil.ToFloat64(metrics.events.WithLabelValues("session.started")); got != 1 {
		t.Errorf("session.started is counted %v times, want 1", got)
	}
}

// TestTally counts a live meeting of two people, one a moderator, that waits for
// a recorder, and one that has not begun.
func TestTally(t *testing.T) {
	asked := time.Now().Add(-time.Minute)
	live := meeting.Meeting{Session: meeting.Session{SessionInfo: meeting.SessionInfo{ID: "ses_1"}}, StaleSince: asked}
	for _, role := range []meeting.Role{meeting.RoleModerator, "participant"} {
		live.People = append(live.People, meeting.Participant{
			Person: meeting.Person{Kind: meeting.KindHuman, Role: role}, Connections: []meeting.Occupant{{Nick: string(role)}},
		})
	}
	rec := meeting.Recording{}
	rec.State, rec.RequestedAt = meeting.RecordingQueued, meeting.Time{Time: asked}
	live.Recordings = []meeting.Recording{rec}
	got := newTally()
	got.add(live)
	got.add(meeting.Meeting{})
	if got.meetings[meeting.StateLive] != 1 || got.meetings[meeting.StateCreated] != 1 || got.people.Humans != 2 || got.people.Moderators != 1 || got.stale != 1 {
		t.Errorf("counted %+v, want one live meeting of two that is not seen, and one that is created", got)
	}
	if got.sizes[1] != 0 || got.sizes[2] != 1 || got.sizes[500] != 1 {
		t.Errorf("sizes %v, want one meeting of two people", got.sizes)
	}
	if got.recordings[meeting.RecordingQueued] != 1 || !got.since.Equal(asked) {
		t.Errorf("in the queue %d since %v, want 1 since %v", got.recordings[meeting.RecordingQueued], got.since, asked)
	}
}
