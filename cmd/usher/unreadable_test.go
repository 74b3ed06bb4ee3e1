package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"usher/meeting"
)

// TestServeStartsWithUnreadableEntries proves that usher starts, with all that
// can be read, when one entry of each kind cannot.
func TestServeStartsWithUnreadableEntries(t *testing.T) {
	s := newBareScene(t, "--webhook-allow=127.0.0.0/8")
	p := s.runUsher()
	s.until("usher leads", s.leads)
	s.create("one")
	var key struct{ Key string }
	must(t, s.call(t.Context(), "POST", "/v1/api-keys", map[string]any{"name": "app", "scopes": []string{"meetings:read"}}, &key))
	must(t, s.call(t.Context(), "POST", "/v1/webhooks", map[string]any{"url": "http://127.0.0.1:1/"}, nil))
	p.kill()

	// Nobody comes without an XMPP server, so a session is made up.
	rdb, prefix := s.client(), "usher:{main}:"
	var m meeting.Meeting
	must(t, json.Unmarshal([]byte(rdb.HGet(t.Context(), prefix+"meeting:"+s.id, "json").Val()), &m))
	m.Session = meeting.Session{SessionInfo: meeting.SessionInfo{ID: "ses_1", MeetingID: m.ID, StartedAt: meeting.Time{Time: m.CreatedAt}}}
	text, err := json.Marshal(m)
	must(t, err)
	ada, err := json.Marshal(meeting.Participant{Person: meeting.Person{ID: "prt_1", SessionID: "ses_1", Kind: meeting.KindHuman}, Connections: []meeting.Occupant{{Nick: "aa"}}})
	must(t, err)
	for _, fields := range [][]any{
		{"meeting:" + s.id, "json", text},
		{"people:ses_1", "prt_1", ada, "prt_2", bytes.TrimSuffix(ada, []byte("}"))},
		{"meeting:mtg_2", "json", "no meeting"},
		{"endpoints", "whk_2", "no endpoint"},
		{"apikeys", "other/1", "no key"},
	} {
		must(t, rdb.HSet(t.Context(), prefix+fmt.Sprint(fields[0]), fields[1:]...).Err())
	}
	must(t, rdb.Do(t.Context(), "ZADD", prefix+"open", 0, "mtg_2").Err())
	must(t, rdb.Incr(t.Context(), prefix+"endpoints:version").Err())
	// And whoever led was killed while it wrote an emptied store anew.
	must(t, rdb.Set(t.Context(), prefix+"epoch", "?half", 0).Err())

	s.runUsher()
	s.until("usher leads", s.leads)
	if got := s.meeting(); got == nil || got.Occupancy.Humans != 1 {
		t.Errorf("the meeting is %+v, want the one human that can be read", got)
	}
	if got := (asked{method: "GET", url: "http://" + s.at.api + "/v1/meetings/" + s.id, key: key.Key}).status(); got != "200" {
		t.Errorf("a key is answered %s, want 200", got)
	}
	if got := s.check("api_keys").Seen; got != "made over the API: 1; 1 unreadable: other/1" {
		t.Errorf("/readyz says of API keys %q, want the one that is unreadable beside the other", got)
	}
	if got := s.check("store").Seen; !strings.Contains(got, "participant prt_2") || !strings.Contains(got, "meeting mtg_2") {
		t.Errorf("/readyz says of the store %q, want what was left out", got)
	}
	if got := s.log.String(); !strings.Contains(got, "prt_2") || !strings.Contains(got, "mtg_2") {
		t.Error("the log does not name the participant and the meeting that were left out")
	}
	s.create("two") // and all else goes on
	if got := s.check("webhooks").Seen; !strings.Contains(got, "1 unreadable: whk_2") || !strings.Contains(got, "endpoints: 1") {
		t.Errorf("/readyz says of webhooks %q, want one that is unreadable beside the other", got)
	}
}
