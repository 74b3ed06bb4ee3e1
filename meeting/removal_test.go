package meeting_test

import (
	"strconv"
	"testing"
	"time"

	"usher/meeting"
)

// apply is the meeting after the input, which must not be refused.
func apply(t *testing.T, m meeting.Meeting, at time.Time, f meeting.Input) meeting.Meeting {
	t.Helper()
	m, _, err := meeting.Apply(m, meeting.TimedInput{At: at, Input: f})
	if err != nil {
		t.Fatalf("%#v: %v", f, err)
	}
	return m
}

func TestRemovalsAreBounded(t *testing.T) {
	now := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	m := apply(t, meeting.Meeting{}, now, meeting.Created{Room: "standup"})
	for i := range 101 {
		m = apply(t, m, now, meeting.Removed{UserID: strconv.Itoa(i)})
	}
	if len(m.Removals) != 100 || m.HasRemoved("0") || !m.HasRemoved("1") || !m.HasRemoved("100") || m.HasRemoved("") {
		t.Errorf("%d removals, from %v to %v; want the latest 100", len(m.Removals), m.Removals[0], m.Removals[len(m.Removals)-1])
	}
}

// TestRoomHeldUntil follows a meeting to its end an hour after it was made.
func TestRoomHeldUntil(t *testing.T) {
	made := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	ended := made.Add(time.Hour)
	for name, tt := range map[string]struct {
		end   time.Time // by the clock
		token time.Time // expiry of one that was handed out
		want  time.Time
	}{
		"open-ended":              {want: ended.Add(24 * time.Hour)},
		"ends by the clock":       {end: ended, want: ended.Add(15 * time.Minute)},
		"ended before its time":   {end: ended.Add(time.Hour), want: ended.Add(75 * time.Minute)},
		"ends in a hundred years": {end: ended.AddDate(100, 0, 0), want: ended.Add(24 * time.Hour)},
		"token for a week":        {token: made.AddDate(0, 0, 7), want: made.AddDate(0, 0, 7)},
		"token for minutes":       {token: made.Add(time.Minute), want: ended.Add(24 * time.Hour)},
	} {
		m := apply(t, meeting.Meeting{}, made, meeting.Created{Room: "standup", Limits: meeting.Limits{EndAt: tt.end}})
		m = apply(t, m, made, meeting.Invited{TokenExpires: tt.token})
		m = apply(t, m, made, meeting.Invited{TokenExpires: made})
		m = apply(t, m, ended, meeting.Ended{Reason: meeting.EndRequested})
		if got := m.RoomHeldUntil(); !got.Equal(tt.want) {
			t.Errorf("%s: held until %v, want %v", name, got, tt.want)
		}
	}
}
