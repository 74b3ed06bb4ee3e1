package whereby_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/api/whereby"
	"usher/internal/apitest"
	"usher/internal/wherebytest"
	"usher/meeting"
	"usher/webhook"
)

// TestHook takes what Whereby has signed and nothing else, and answers so that
// Whereby tries again when it could not be stored.
func TestHook(t *testing.T) {
	s := newUpstreamSite(t, 0, nil)
	m := s.createMeeting("")
	now := time.Now()
	events := slices.Concat(s.whereby.Join(m.ID, "José <b>"), s.whereby.Record(m.ID))
	post := func(body []byte, signature string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "POST", strings.TrimSuffix(s.base, "/v1")+whereby.HookPath, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Whereby-Signature", signature)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	sign := func(at time.Time, body []byte) string { return wherebytest.Sign(wherebytest.WebhookSecret, at, body) }
	body, long := events[0].Body, bytes.Repeat([]byte(" "), 1<<20)
	for name, tt := range map[string]struct {
		body      []byte
		signature string
		want      int
	}{
		"no signature":    {body, "", 401},
		"another secret":  {body, wherebytest.Sign("another secret of Whereby's", now, body), 401},
		"another body":    {bytes.Replace(body, []byte("Jos"), []byte("Joh"), 1), sign(now, body), 401},
		"two days old":    {body, sign(now.Add(-48*time.Hour), body), 401},
		"from the future": {body, sign(now.Add(time.Hour), body), 401},
		"no time":         {body, strings.Replace(sign(now, body), "t=", "t=x", 1), 401},
		"too long":        {long, sign(now, long), 413},
		"not JSON":        {[]byte("{"), sign(now, []byte("{")), 400},
		"no event":        {[]byte(`{"id":"a"}`), sign(now, []byte(`{"id":"a"}`)), 400},
	} {
		if got := post(tt.body, tt.signature); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
	if len(s.forwarded) > 0 {
		t.Fatalf("forwarded %+v", s.forwarded)
	}
	s.refuse = meeting.ErrFenced // another process leads by now
	if got := post(body, sign(now, body)); got != http.StatusServiceUnavailable {
		t.Errorf("a process that leads no more: %d, want 503", got)
	}
	s.refuse = nil
	for _, at := range []time.Time{now, now.Add(-20 * time.Hour), now} { // late, and repeated
		if got := post(body, sign(at, body)); got != http.StatusNoContent {
			t.Errorf("signed %v ago: %d, want 204", now.Sub(at), got)
		}
	}
	if got := post(events[1].Body, sign(now, events[1].Body)); got != http.StatusNoContent {
		t.Errorf("about a recording: %d, want 204", got)
	}
	for i, want := range []webhook.Forwarded{
		0: {ID: events[0].ID, Type: "room.client.joined", As: meeting.ParticipantJoined, MeetingID: m.ID, Body: body},
		3: {ID: events[1].ID, Type: "recording.finished", As: meeting.RecordingIsAvailable, MeetingID: m.ID, Body: events[1].Body},
	} {
		if want.ID != "" && fmt.Sprintf("%+v", s.forwarded[i]) != fmt.Sprintf("%+v", want) {
			t.Errorf("forwarded %+v, want %+v", s.forwarded[i], want)
		}
	}
	if len(s.forwarded) != 4 {
		t.Errorf("%d forwarded, want 4", len(s.forwarded))
	}

	odd, _ := json.Marshal(map[string]any{"id": "<ö>\"\\", "type": "assistant.requested", "data": map[string]any{"meetingId": 134}})
	if got := post(odd, sign(now, odd)); got != http.StatusNoContent {
		t.Errorf("an odd id: %d", got)
	}
	if f := s.forwarded[len(s.forwarded)-1]; f.MeetingID != "134" || strings.ContainsAny(f.ID, `<"\`) || f.As != "" {
		t.Errorf("an odd id: %+v", f)
	}
}

// TestHookAtAStandby answers 503, whatever it is.
func TestHookAtAStandby(t *testing.T) {
	s := newStandby(t)
	up, err := whereby.NewUpstream(whereby.UpstreamConfig{URL: "http://127.0.0.1:1", Key: "k", WebhookSecret: wherebytest.WebhookSecret})
	if err != nil {
		t.Fatal(err)
	}
	s.serve(func(c *testConfig) { c.Upstream = up })
	body := `{"id":"a","type":"room.client.joined","data":{"meetingId":"134"}}`
	signed := http.Header{"Whereby-Signature": {wherebytest.Sign(wherebytest.WebhookSecret, time.Now(), []byte(body))}, "Authorization": {""}}
	if r := apitest.Send(s.handler, "POST", "/whereby/webhooks", body, signed); r.Code != http.StatusServiceUnavailable || r.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v, want 503 with Retry-After", r.Code, r.Header())
	}
}
