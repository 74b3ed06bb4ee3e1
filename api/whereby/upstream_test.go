package whereby_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/api/whereby"
	"usher/config"
	"usher/internal/apitest"
	"usher/internal/stack/stacktest"
	"usher/internal/wherebytest"
	"usher/meeting"
	"usher/store"
	"usher/webhook"
)

// upstreamSite is a site with a stand-in for Whereby behind it.
type upstreamSite struct {
	*wherebySite
	whereby  *wherebytest.Server
	meetings *store.Redis
	upstream *whereby.Upstream
	log      *bytes.Buffer

	mu        sync.Mutex
	state     whereby.SiteState
	forwarded []webhook.Forwarded
	refuse    error // answers what is forwarded while set
}

// newUpstreamSite starts one; change may be nil.
func newUpstreamSite(t *testing.T, share int, change func(*whereby.UpstreamConfig)) *upstreamSite {
	t.Helper()
	s := &upstreamSite{whereby: wherebytest.Start(""), log: new(bytes.Buffer), state: whereby.SiteState{Ready: true}}
	t.Cleanup(s.whereby.Close)
	var err error
	if s.meetings, err = store.NewRedis(store.Config{URL: stacktest.Redis(t).URL, Site: "main"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.meetings.Close() })
	cfg := whereby.UpstreamConfig{
		URL: s.whereby.URL + "/", Key: wherebytest.Key, WebhookSecret: wherebytest.WebhookSecret,
		Share: share, Fallback: config.FallbackWhereby, Meetings: s.meetings,
		State: func(context.Context) whereby.SiteState { s.mu.Lock(); defer s.mu.Unlock(); return s.state },
		Forward: func(_ context.Context, f webhook.Forwarded) (bool, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.refuse != nil {
				return false, s.refuse
			}
			known := slices.ContainsFunc(s.forwarded, func(g webhook.Forwarded) bool { return g.ID == f.ID })
			s.forwarded = append(s.forwarded, f)
			return !known, nil
		},
		Log: slog.New(slog.NewTextHandler(s.log, nil)), Metrics: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&cfg)
	}
	if s.upstream, err = whereby.NewUpstream(cfg); err != nil {
		t.Fatal(err)
	}
	s.wherebySite = newWherebySite(t, func(c *testConfig) { c.Upstream = s.upstream })
	return s
}

func (s *upstreamSite) setState(state whereby.SiteState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

// quiet checks that Whereby was not asked for anything.
func (s *upstreamSite) quiet(what string) {
	s.t.Helper()
	if calls := s.whereby.Calls(); len(calls) > 0 {
		s.t.Errorf("%s: Whereby was asked %q, want nothing", what, calls)
	}
}

// page is a list as a client reads it.
type listPage struct {
	Cursor  *string
	Results []map[string]any
}

// TestShareDecidesWhereAMeetingIsMade makes twenty meetings at one half; each says
// where it is, and what the app has sent goes to Whereby as it is.
func TestShareDecidesWhereAMeetingIsMade(t *testing.T) {
	s := newUpstreamSite(t, 50, nil)
	here, there := 0, 0
	for range 20 {
		m := s.createMeeting(`,"roomNamePrefix":"standup-", "unknown":{"a": 1.0}`)
		switch at := m.header.Get(whereby.MadeAt); {
		case at == "usher; reason=share" && strings.HasPrefix(m.ID, "mtg_"):
			here++
		case at == "whereby; reason=share" && strings.HasPrefix(m.URL, "https://acme.whereby.com/standup-") && strings.Contains(m.HostURL, "roomKey="):
			there++
			if body := s.whereby.Meeting(m.ID).Body; !bytes.Contains(body, []byte(`"unknown":{"a": 1.0}`)) {
				t.Errorf("Whereby got %s, want it as it was sent", body)
			}
			if id, err := s.meetings.UpstreamMeeting(t.Context(), m.Room); id != m.ID || err != nil {
				t.Errorf("%s is noted as %q, %v, want %q", m.Room, id, err, m.ID)
			}
		default:
			t.Errorf("%+v is said to be at %q", m, at)
		}
	}
	if here < 8 || there < 8 || here+there != 20 {
		t.Errorf("%d made here and %d there, want about half", here, there)
	}
	if seen, problem := s.upstream.Status(t.Context()); problem != "" || !strings.Contains(seen, "50 percent; meetings at Whereby that are not over: "+fmt.Sprint(there)) {
		t.Errorf("status %q, %q", seen, problem)
	}
}

// TestShareZeroIsPassThrough: what usher would refuse or does not know goes to
// Whereby as it is, with nobody's key but usher's own, and meetings that were made
// here before go on.
func TestShareZeroIsPassThrough(t *testing.T) {
	s := newUpstreamSite(t, 100, nil)
	before := s.createMeeting("")
	s.quiet("a meeting made here")
	rest, err := whereby.NewUpstream(whereby.UpstreamConfig{
		URL: s.whereby.URL, Key: wherebytest.Key, Fallback: config.FallbackBoth, Meetings: s.meetings,
		State: func(context.Context) whereby.SiteState { return whereby.SiteState{Ready: true} },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.serve(func(c *testConfig) { c.Upstream = rest })

	for _, body := range []string{`{"endDate":"2099-01-01T00:00:00Z","recording":{"startTrigger":"tea"}}`, `{"endDate":"2099-01-01T00:00:00Z","roomNamePrefix":"` + strings.Repeat("a", 300) + `"}`} {
		if status, _, text := s.call("POST", s.base+"/meetings", "application/json", []byte(body)); status != http.StatusCreated {
			t.Errorf("create with %.60s: %d %s, want Whereby's 201", body, status, text)
		}
	}
	if status, _, text := s.call("POST", s.base+"/meetings", "application/json", []byte(`{`)); status != http.StatusBadRequest || !strings.Contains(text, "endDate is required") {
		t.Errorf("a bad body: %d %s, want what Whereby says of it", status, text)
	}
	for _, call := range []string{"GET /transcriptions", "PUT /rooms/standup-1/theme/logo", "DELETE /meetings/134", "POST /recordings/bulk-delete"} {
		method, path, _ := strings.Cut(call, " ")
		s.whereby.Calls()
		if status, _, text := s.call(method, s.base+path, "application/json", []byte(`{}`)); status/100 != 2 {
			t.Errorf("%s: %d %s", call, status, text)
		}
		if calls := s.whereby.Calls(); !slices.Equal(calls, []string{call}) {
			t.Errorf("%s: Whereby was asked %q", call, calls)
		}
	}
	for _, path := range []string{"/meetings/999", "/something/else"} {
		s.refused("GET", path, "", "", http.StatusNotFound)
	}

	s.whereby.Calls()
	var m map[string]any
	if s.get("/meetings/"+before.ID, &m); m["roomName"] != "/"+before.Room {
		t.Errorf("the meeting from before is %v", m)
	}
	s.get("/insights/room-sessions?roomName=/"+before.Room, &m)
	if status, _, _ := s.call("DELETE", s.base+"/meetings/"+before.ID, "", nil); status != http.StatusNoContent {
		t.Errorf("deleting it: %d", status)
	}
	s.quiet("a meeting from before")
}

// TestPassedOnWithTheKeysScope: whatever a path looks like, a key that may not see
// links of meetings does not see Whereby's.
func TestPassedOnWithTheKeysScope(t *testing.T) {
	s := newUpstreamSite(t, 0, nil)
	m := s.createMeeting("")
	key := s.makeKey("reads", `"meetings:read"`).Key
	s.whereby.Calls()
	for _, path := range []string{
		"/meetings/" + m.ID, "/Meetings/" + m.ID, "//meetings//" + m.ID, "/x/../meetings/" + m.ID, "/meetings%2F" + m.ID,
		"/x%2F..%2Fmeetings%2F" + m.ID, "/x%252F..%252Fmeetings%252F" + m.ID, "/something",
	} {
		r := s.as(key, "GET", "/whereby/v1"+path, "")
		if r.Code != http.StatusForbidden || strings.Contains(r.Body.String(), "roomUrl") {
			t.Errorf("GET %s: %d %s, want 403", path, r.Code, r.Body)
		}
	}
	s.quiet("a key without the scope")
	// What is encoded twice arrives so, and is no other path at Whereby.
	hidden := "/transcriptions/%2E%2E%2Fmeetings%2F" + m.ID
	if r := s.as(key, "GET", "/whereby/v1"+strings.ReplaceAll(hidden, "%", "%25"), ""); r.Code != http.StatusNotFound {
		t.Errorf("GET %s: %d %s, want 404", hidden, r.Code, r.Body)
	}
	if calls := s.whereby.Calls(); !slices.Equal(calls, []string{"GET " + hidden}) {
		t.Errorf("Whereby was asked %q, want GET %s", calls, hidden)
	}
}

// TestListsAreMerged pages through meetings of both, with pages of every size, and
// finds each once, the newest first.
func TestListsAreMerged(t *testing.T) {
	s := newUpstreamSite(t, 50, nil)
	var want []string
	for range 13 {
		want = append([]string{s.createMeeting("").ID}, want...)
	}
	for limit := 1; limit <= 14; limit++ {
		var got []string
		cursor, pages := "", 0
		for more := true; more; pages++ {
			var list listPage
			s.get(fmt.Sprintf("/meetings?limit=%d&cursor=%s", limit, url.QueryEscape(cursor)), &list)
			for _, m := range list.Results {
				got = append(got, m["meetingId"].(string))
			}
			if more = list.Cursor != nil; more {
				cursor = *list.Cursor
			}
			if len(list.Results) > limit || pages > 40 {
				t.Fatalf("limit %d: page %d has %d", limit, pages, len(list.Results))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %q, want %q", limit, got, want)
		}
	}
	for _, bad := range []string{"cursor=x", "cursor=eyJ4", "limit=0", "limit=101"} {
		s.refused("GET", "/meetings?"+bad, "", "", http.StatusBadRequest)
	}

	// In the other order, and of a kind that is on one side alone.
	var list listPage
	s.get("/meetings?sortBy=startDate:desc&limit=100", &list)
	if len(list.Results) != 13 || list.Cursor != nil {
		t.Errorf("all in one page: %d, cursor %v", len(list.Results), list.Cursor)
	}
	there := slices.IndexFunc(want, func(id string) bool { return !strings.HasPrefix(id, "mtg_") })
	s.whereby.Record(want[there])
	s.get("/recordings", &list)
	if len(list.Results) != 1 || list.Results[0]["sizeInMegaBytes"] != 1.0 || list.Cursor != nil {
		t.Errorf("recordings %+v", list)
	}
}

// TestSessionsOfEitherSide asks for the sessions of one room, as Reflector does
// each minute: only the side where the room is is asked, and what Whereby says
// comes as it is.
func TestSessionsOfEitherSide(t *testing.T) {
	s := newUpstreamSite(t, 50, nil)
	var here, there madeMeeting
	for here.ID == "" || there.ID == "" {
		if m := s.createMeeting(""); strings.HasPrefix(m.ID, "mtg_") {
			here = m
		} else {
			there = m
		}
	}
	s.observe(here.Room, meeting.Seen{Occupant: human("a")})
	s.whereby.Join(there.ID, "Ada")
	s.whereby.Join(there.ID, "Bob")
	s.whereby.Calls()
	var list listPage
	s.get("/insights/room-sessions?roomName=/"+here.Room, &list)
	if len(list.Results) != 1 || list.Results[0]["endedAt"] != nil || !strings.HasPrefix(list.Results[0]["roomSessionId"].(string), "ses_") {
		t.Errorf("sessions here %+v", list.Results)
	}
	s.quiet("sessions of a room here")
	s.get("/insights/room-sessions?roomName=/"+there.Room, &list)
	session := s.whereby.Meeting(there.ID).Sessions[0]
	if len(list.Results) != 1 || list.Results[0]["roomSessionId"] != session.RoomSessionID || list.Results[0]["endedAt"] != nil {
		t.Errorf("sessions there %+v, want %+v", list.Results, session)
	}
	s.get("/insights/room-sessions", &list)
	if len(list.Results) != 2 || list.Results[0]["roomSessionId"] != session.RoomSessionID {
		t.Errorf("sessions of both %+v, want Whereby's first", list.Results)
	}

	// Without a view of its own rooms usher says nothing of them, and of Whereby's
	// what Whereby says.
	s.observe(here.Room, meeting.SightLost{})
	s.refused("GET", "/insights/room-sessions?roomName="+here.Room, "", "", http.StatusServiceUnavailable)
	s.get("/insights/room-sessions?roomName="+there.Room, &list)

	// And without Whereby the other way round.
	s.whereby.SetTrouble(wherebytest.Failing)
	s.refused("GET", "/insights/room-sessions?roomName="+there.Room, "", "", http.StatusServiceUnavailable)
	s.refused("GET", "/meetings", "", "", http.StatusServiceUnavailable)
	var one map[string]any
	s.get("/meetings/"+here.ID, &one)
}

// TestWherebyInTrouble: whatever Whereby does, an app gets an answer of the API's
// in time, and usher's own meetings do not wait.
func TestWherebyInTrouble(t *testing.T) {
	s := newUpstreamSite(t, 50, func(c *whereby.UpstreamConfig) { c.Fallback = config.FallbackNone })
	var there madeMeeting
	for there.ID == "" || strings.HasPrefix(there.ID, "mtg_") {
		there = s.createMeeting("")
	}
	for trouble, want := range map[wherebytest.Trouble]string{
		wherebytest.Page: "makes no sense", wherebytest.Moved: "makes no sense", wherebytest.Failing: "makes no sense",
	} {
		s.whereby.SetTrouble(trouble)
		if got := s.refused("GET", "/meetings/"+there.ID, "", "", http.StatusServiceUnavailable); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", trouble, got, want)
		}
		s.whereby.SetTrouble(wherebytest.None)
		s.get("/meetings/"+there.ID, &map[string]any{})
	}
	s.whereby.SetTrouble(wherebytest.Limited)
	status, h, text := s.call("GET", s.base+"/meetings/"+there.ID, "", nil)
	if status != http.StatusTooManyRequests || h.Get("Retry-After") != "39" || h.Get("X-RateLimit-Limit") != "1000" || !strings.Contains(text, `"msLeft":38689`) {
		t.Errorf("limited: %d %v %s, want Whereby's own answer", status, h, text)
	}
	s.whereby.SetTrouble(wherebytest.None)
	s.whereby.SetKey("another")
	if got := s.refused("GET", "/meetings/"+there.ID, "", "", http.StatusServiceUnavailable); !strings.Contains(got, "whereby-upstream-key") {
		t.Errorf("wrong key: %q", got)
	}
	if _, problem := s.upstream.Status(t.Context()); !strings.Contains(problem, "whereby-upstream-key; since 20") {
		t.Errorf("wrong key: status %q", problem)
	}
	s.whereby.SetKey(wherebytest.Key)

	s.whereby.SetTrouble(wherebytest.Down)
	for range 3 {
		s.refused("GET", "/meetings/"+there.ID, "", "", http.StatusServiceUnavailable)
	}
	s.whereby.SetTrouble(wherebytest.Slow)
	s.whereby.Calls()
	start := time.Now()
	s.refused("GET", "/meetings/"+there.ID, "", "", http.StatusServiceUnavailable)
	s.quiet("while it is down") // nobody waits for it
	if took := time.Since(start); took > time.Second {
		t.Errorf("that took %v", took)
	}
	if text := s.log.String(); strings.Contains(text, wherebytest.Key) || strings.Count(text, "cannot be used") > 8 {
		t.Errorf("log %s", text)
	}
}

// TestFallback: a meeting that one side cannot take is made at the other where the
// rule says so, and is there for good.
func TestFallback(t *testing.T) {
	s := newUpstreamSite(t, 50, func(c *whereby.UpstreamConfig) { c.Fallback = config.FallbackBoth })
	s.setState(whereby.SiteState{})
	reasons := map[string]int{}
	for range 4 {
		reasons[s.createMeeting("").header.Get(whereby.MadeAt)]++
	}
	if reasons["whereby; reason=usher_not_ready"] == 0 || reasons["whereby; reason=usher_not_ready"]+reasons["whereby; reason=share"] != 4 {
		t.Errorf("while usher is not ready: %v", reasons)
	}
	s.setState(whereby.SiteState{Ready: true, Watching: true})
	for range 4 {
		reasons[s.createMeeting(`,"recording":{"type":"cloud"}`).header.Get(whereby.MadeAt)]++
	}
	if reasons["whereby; reason=recorders_busy"] == 0 {
		t.Errorf("without an idle recorder: %v", reasons)
	}
	for _, trouble := range []wherebytest.Trouble{wherebytest.Limited, wherebytest.Down} {
		s.whereby.SetTrouble(trouble)
		clear(reasons)
		for range 10 {
			m := s.createMeeting("")
			reasons[m.header.Get(whereby.MadeAt)]++
			var shown map[string]any
			if s.get("/meetings/"+m.ID, &shown); shown["meetingId"] != m.ID {
				t.Errorf("made as %s, shown as %v", m.ID, shown)
			}
		}
		if reasons["usher; reason=whereby_unavailable"] < 3 || reasons["usher; reason=whereby_unavailable"]+reasons["usher; reason=share"] != 10 {
			t.Errorf("while Whereby is %s: %v", trouble, reasons)
		}
	}
}

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
	body := events[0].Body
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

	odd, _ := json.Marshal(map[string]any{"id": "<ö>\"\\", "type": "room.client.knocked", "data": map[string]any{"meetingId": 134}})
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
