package api

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"usher/meeting"
)

// adaSpeaks is a site on which nobody else does.
type adaSpeaks struct{}

func (adaSpeaks) Speakers(_ context.Context, of meeting.SessionInfo) ([]meeting.SpeakerInfo, error) {
	return []meeting.SpeakerInfo{{ParticipantID: "prt_1", Name: "Ada", SpeakingS: 1.5, Turns: 1, Share: 1, FirstAt: of.StartedAt, LastAt: of.StartedAt}}, nil
}

func (adaSpeaks) Timeline(_ context.Context, _ meeting.SessionInfo, format string, w io.Writer) error {
	_, err := io.WriteString(w, format+" of Ada\n")
	return err
}

// TestWhoSpokeWhen asks for a session in each format, and for one that is none.
func TestWhoSpokeWhen(t *testing.T) {
	s := newSite(t)
	m := s.create(`{"room":"standup"}`)
	s.observe("standup", meeting.Seen{Occupant: human("aa")})
	var sessions struct{ Data []meeting.SessionInfo }
	s.do("GET", "/v1/meetings/"+m["id"].(string)+"/sessions", "").into(http.StatusOK, &sessions)
	path := "/v1/sessions/" + sessions.Data[0].ID
	var list struct{ Data []meeting.SpeakerInfo }
	s.do("GET", path+"/speakers", "").into(http.StatusOK, &list)
	if len(list.Data) != 1 || list.Data[0].Name != "Ada" || list.Data[0].SpeakingS != 1.5 {
		t.Errorf("speakers %+v, want Ada", list.Data)
	}
	for query, want := range map[string][2]string{
		"":              {"application/jsonl", "jsonl of Ada\n"},
		"?format=vtt":   {"text/vtt", "vtt of Ada\n"},
		"?format=rttm":  {"text/plain; charset=utf-8", "rttm of Ada\n"},
		"?format=jsonl": {"application/jsonl", "jsonl of Ada\n"},
	} {
		res := s.do("GET", path+"/timeline"+query, "")
		if got := res.Header().Get("Content-Type"); res.Code != http.StatusOK || got != want[0] || res.Body.String() != want[1] {
			t.Errorf("timeline%s: %d, %s, %q, want 200, %s, %q", query, res.Code, got, res.Body, want[0], want[1])
		}
	}
	if res := s.do("GET", path+"/timeline?format=srt", ""); res.Code != http.StatusUnprocessableEntity || !strings.Contains(res.Body.String(), "format") {
		t.Errorf("an unknown format: %d, %s, want 422 that names it", res.Code, res.Body)
	}
	if res := s.do("GET", "/v1/sessions/ses_none/speakers", ""); res.Code != http.StatusNotFound {
		t.Errorf("an unknown session: %d, want 404", res.Code)
	}
	bare := newSite(t)
	bare.serve(func(c *testConfig) { c.Speakers = nil })
	m = bare.create(`{"room":"standup"}`)
	bare.observe("standup", meeting.Seen{Occupant: human("aa")})
	bare.do("GET", "/v1/meetings/"+m["id"].(string)+"/sessions", "").into(http.StatusOK, &sessions)
	if res := bare.do("GET", "/v1/sessions/"+sessions.Data[0].ID+"/speakers", ""); res.Code != http.StatusNotImplemented {
		t.Errorf("a site that records nothing from bridges: %d, want 501", res.Code)
	}
}
