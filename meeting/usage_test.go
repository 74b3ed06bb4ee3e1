package meeting_test

import (
	"testing"
	"time"

	"usher/meeting"
)

func TestUsageOf(t *testing.T) {
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	in := []meeting.Occupant{{Nick: "a"}}
	left := func(kind meeting.Kind, user string, stayed time.Duration) meeting.Participant {
		return meeting.Participant{Person: meeting.Person{Kind: kind, UserID: user}, Stayed: stayed}
	}
	here := func(kind meeting.Kind, user string, stayed, ago time.Duration) meeting.Participant {
		return meeting.Participant{Person: meeting.Person{Kind: kind, UserID: user}, Stayed: stayed, ArrivedAt: start.Add(-ago), Connections: in}
	}
	tests := []struct {
		name   string
		people []meeting.Participant
		want   meeting.Usage
	}{
		{"nobody", nil, meeting.Usage{}},
		{"a second is a minute", []meeting.Participant{left(meeting.KindHuman, "", time.Second)}, meeting.Usage{HumanMinutes: 1, Humans: 1}},
		{"whole minutes stay", []meeting.Participant{left(meeting.KindHuman, "", 2*time.Minute)}, meeting.Usage{HumanMinutes: 2, Humans: 1}},
		{"guests are each another", []meeting.Participant{left(meeting.KindHuman, "", time.Minute), left(meeting.KindHuman, "", time.Minute)},
			meeting.Usage{HumanMinutes: 2, Humans: 2}},
		{"a user of two sessions is one", []meeting.Participant{left(meeting.KindHuman, "u", 61*time.Second), left(meeting.KindHuman, "u", time.Minute)},
			meeting.Usage{HumanMinutes: 3, Humans: 1}},
		{"an open visit counts with those before", []meeting.Participant{here(meeting.KindHuman, "u", time.Minute, 90*time.Second)},
			meeting.Usage{HumanMinutes: 3, Humans: 1}},
		{"a clock that went back takes nothing away", []meeting.Participant{here(meeting.KindHuman, "u", time.Minute, -time.Hour)},
			meeting.Usage{HumanMinutes: 1, Humans: 1}},
		{"recorders and streamers apart", []meeting.Participant{
			left(meeting.KindRecorder, "", 4*time.Minute), left(meeting.KindRecorder, "", time.Second),
			left(meeting.KindStreamer, "", time.Minute), left(meeting.KindSIP, "", time.Hour),
		}, meeting.Usage{RecorderMinutes: 5, Recorders: 2, StreamerMinutes: 1, Streamers: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := meeting.UsageOf(tt.people, start); got != tt.want {
				t.Errorf("usage = %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestExpectedAndKnownAt(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	m := meeting.Meeting{Pending: []meeting.Pending{{Until: now.Add(-time.Minute)}, {Until: now.Add(time.Second)}}}
	if !m.Expected(now) || m.Expected(now.Add(time.Second)) {
		t.Error("somebody is expected until their time is over, and no longer")
	}
	if got := m.KnownAt(now); got != now {
		t.Errorf("known at %v, want now", got)
	}
	m.StaleSince = now.Add(-time.Hour)
	if got := m.KnownAt(now); got != m.StaleSince {
		t.Errorf("known at %v, want when sight was lost", got)
	}
}
