package meeting_test

import (
	"encoding/json"
	"testing"
	"time"

	"usher/meeting"
)

// TestStoredBefore reads what an usher stored whose types for apps and for the
// store were apart.
func TestStoredBefore(t *testing.T) {
	at := func(text string) meeting.Time {
		v, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return meeting.Time{Time: v}
	}
	var s meeting.Session
	var p meeting.Participant
	var r meeting.Recording
	for text, into := range map[string]any{
		`{"id":"ses_1","meeting_id":"mtg_1","started_at":"2026-11-23T15:00:00.25Z","empty_since":"2026-11-23T16:00:00Z","peak":2,"humans":3,"recorders":1}`: &s,
		`{"id":"prt_1","session_id":"ses_1","kind":"human","role":"moderator","name":"Ada","joined_at":"2026-11-23T15:00:00Z","arrived_at":"2026-11-23T15:10:00Z",` +
			`"left_at":"2026-11-23T15:20:00Z","left_reason":"left","stayed":60000000000,"connections":[{"nick":"aa","jid":"a@b/c","kind":"human","role":"moderator"}]}`: &p,
		`{"id":"rec_1","meeting_id":"mtg_1","session_id":"ses_1","room":"standup","jibri_session_id":"j1","mode":"file","state":"processing","since":"2026-11-23T15:00:00Z",` +
			`"by":{"type":"app","name":"key"},"requested_at":"2026-11-23T15:00:00Z","attempts":1,"started_at":"2026-11-23T15:01:00Z","stop":"requested","files":[{"name":"a.mp4","duration":5}]}`: &r,
	} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Error(err)
		}
	}
	if s.ID != "ses_1" || s.StartedAt != at("2026-11-23T15:00:00.25Z") || !s.EndedAt.IsZero() || s.EmptySince.IsZero() || s.Peak != 2 || s.Humans != 3 || s.Recorders != 1 {
		t.Errorf("the session is %+v", s)
	}
	if p.Name != "Ada" || p.LeftAt != at("2026-11-23T15:20:00Z") || p.LeftReason != meeting.LeftByChoice || p.Stayed != time.Minute || len(p.Connections) != 1 || !p.HandSince.IsZero() {
		t.Errorf("the participant is %+v", p)
	}
	if r.JibriSession != "j1" || r.State != meeting.RecordingProcessing || r.StartedAt != at("2026-11-23T15:01:00Z") || !r.StoppedAt.IsZero() || r.By.Name != "key" || r.Attempts != 1 || len(r.Files) != 1 {
		t.Errorf("the recording is %+v", r)
	}
}
