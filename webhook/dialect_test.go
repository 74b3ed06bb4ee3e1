package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/config"
	"usher/internal/golden"
	"usher/internal/memorystore"
	"usher/meeting"
)

// textSecret signs in dialects whose receivers use a secret as it is.
const textSecret config.Secret = "whsec-test-secret"

// allDialects are those of a site, by name. That of Whereby, whose package imports
// this one, is added in whereby_test.go.
var allDialects = map[string]Dialect{Jitsi: JitsiDialect(), EventSync: EventSyncDialect("muc.meet.jitsi")}

// AllDialects is the same for package webhook_test.
var AllDialects = allDialects

// Whereby is the name of the dialect of Whereby's webhooks.
const Whereby = "whereby"

// speaking returns an endpoint of a dialect.
func speaking(t testing.TB, dialect string) Endpoint {
	t.Helper()
	e := Endpoint{Name: "a", URL: "https://app.example/hooks", Dialect: dialect, Secrets: []Secret{{Key: textSecret}}}
	if err := e.prepare(new(guard), allDialects); err != nil {
		t.Fatal(err)
	}
	return e
}

// request is what one try posts, without the headers that are the same in all.
type request struct {
	path   string // below the endpoint's URL
	body   []byte
	header http.Header
}

// rendered makes the request of an event, at a time after the story.
func rendered(t testing.TB, e Endpoint, event json.RawMessage) (*event, request, error) {
	t.Helper()
	d := &delivery{event: readEvent(event)}
	if e.target == nil {
		e.target = new(url.URL)
	}
	r, err := render(t.Context(), e, d, time.Unix(1795341603, 0))
	if err != nil {
		return d.event, request{}, err
	}
	body, err := io.ReadAll(r.Body)
	delete(r.Header, "User-Agent")
	delete(r.Header, "X-Idempotency-Key")
	return d.event, request{strings.TrimPrefix(r.URL.Path, "/hooks"), body, r.Header}, err
}

// TestDialects compares what each dialect makes of a whole meeting with
// testdata.
func TestDialects(t *testing.T) {
	events := playStory(t)
	for dialect := range allDialects {
		e := speaking(t, dialect)
		var text strings.Builder
		for _, n := range events {
			m, r, err := rendered(t, e, n)
			if errors.Is(err, errNothing) {
				fmt.Fprintf(&text, "%s: nothing\n\n", m.Type)
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			if !e.Wants(m.Type, m.MeetingID) {
				t.Errorf("%s sends %s and does not want it", dialect, m.Type)
			}
			fmt.Fprintf(&text, "%s\nPOST /hooks%s\n", m.Type, r.path)
			for _, name := range []string{"Content-Type", "Webhook-Id", "Whereby-Signature", "X-Jitsi-Signature", "X-Jitsi-Timestamp", "X-Jitsi-Signature-V2"} {
				if r.header[name] != nil {
					fmt.Fprintf(&text, "%s: %s\n", name, r.header[name][0])
					delete(r.header, name)
				}
			}
			if len(r.header) > 0 {
				t.Errorf("%s: further headers %v", dialect, r.header)
			}
			fmt.Fprintf(&text, "\n%s\n\n", r.body)
		}
		golden.Compare(t, filepath.Join("testdata", dialect+".txt"), text.String())
	}
}

// TestDocumentShowsTheDialects finds the examples of docs/webhooks.md in
// testdata, one or more of each dialect, and the events that each has.
func TestDocumentShowsTheDialects(t *testing.T) {
	text, err := os.ReadFile("../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range allDialects {
		_, section, found := strings.Cut(string(text), "\n### The dialect `"+name+"`\n")
		sent, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
		if err != nil || !found {
			t.Fatalf("docs/webhooks.md says nothing of %s (%v)", name, err)
		}
		section, _, _ = strings.Cut(section, "\n#")
		blocks := strings.Split(section, "```json\n")
		for _, block := range blocks[1:] {
			block, _, _ = strings.Cut(block, "```")
			var compact bytes.Buffer
			if err := json.Compact(&compact, []byte(block)); err != nil || !bytes.Contains(sent, compact.Bytes()) {
				t.Errorf("%s sends nothing like %s (%v)", name, block, err)
			}
		}
		for event := range d.Render {
			if !strings.Contains(section, "`"+string(event)+"`") {
				t.Errorf("docs/webhooks.md does not say what %s makes of %s", name, event)
			}
		}
		if len(blocks) < 2 {
			t.Errorf("docs/webhooks.md has no example of %s", name)
		}
	}
}

// reflector is the request that testdata/reflector.py reads.
type reflector struct {
	Secret string `json:"secret"`
	Now    int64  `json:"now"`
	Header string `json:"header"`
	Body   string `json:"body"`
}

func (p *python) judge(t testing.TB, r reflector) string {
	t.Helper()
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return p.ask(t, string(line))
}

// TestReflectorVerifies lets a Python program that does what Reflector does
// judge all that Whereby's dialect sends of a meeting.
func TestReflectorVerifies(t *testing.T) {
	p := startPython(t, "testdata/reflector.py")
	e := speaking(t, Whereby)
	var got []string
	for _, n := range append(playStory(t), testEvent(time.Now())) {
		m, sent, err := rendered(t, e, n)
		if errors.Is(err, errNothing) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		r := reflector{string(textSecret), 1795341603, sent.header["Whereby-Signature"][0], string(sent.body)}
		got = append(got, string(m.Type)+" "+p.judge(t, r))
		for want, r := range map[string]reflector{
			"401 signature": {r.Secret, r.Now, r.Header, strings.Replace(r.Body, `"createdAt":"2`, `"createdAt":"3`, 1)},
			"401 age":       {r.Secret, r.Now + 60, r.Header, r.Body},
		} {
			if answer := p.judge(t, r); answer != want {
				t.Errorf("a request that is not ours, or late, is answered %s, want %s", answer, want)
			}
		}
	}
	want := []string{
		"session.started 200",
		"participant.joined 200 1", "participant.joined 200 2", "participant.joined 200 2", // the third by telephone
		"participant.joined 200 2", "participant.left 200 2", "recording.available 200", // a recorder
		"participant.lobby_joined 200", "participant.left 200 2", "participant.left 200 1", "participant.lobby_left 200", "participant.left 200 0",
		"session.ended 200", "webhook.test 200",
	}
	if !slices.Equal(got, want) {
		t.Errorf("judged\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestSignatureVectors are signatures that were made and verified by other
// programs than this.
func TestSignatureVectors(t *testing.T) {
	const text = `{"id":"evt_01HZX0000000000000000000","apiVersion":"1.0","createdAt":"2023-11-14T22:13:20.000Z","type":"room.client.joined",` +
		`"data":{"meetingId":"0b9f5a3e-8a43-4c55-9d3f-3b6a7b1f7c10","roomName":"/standup-0b9f5a3e","subdomain":"meet","roleName":"host",` +
		`"displayName":"Jos\u00e9 <b>\ud83d\ude00","numClients":1,"numClientsByRoleName":{"host":1},"roomSessionId":"s1","participantId":"p1"}}`
	body := []byte(text)
	at := time.Unix(1_700_000_000, 0)
	for _, tt := range []struct {
		dialect, id   string
		secret        config.Secret
		header, value string
	}{
		{Whereby, "", "whsec-test-secret", "Whereby-Signature", "t=1700000000,v1=35f5a9b0fbc9d0296385bb5f2373b9a4a17bc5fee5f80ddd0e8e2786cc16672c"},
		{Jitsi, "", "whsec-test-secret", "X-Jitsi-Signature", "68c24d7d6ec000164b970fb7c24e593b41f9e77edc4b57a1da8e5b76cc454b0e"},
		{Standard, "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "Webhook-Signature", "v1,Kb8inz3BcLGoL2zzo6dBKXZEd9K/ftkm1EpShaOUvPg="},
	} {
		h := map[string][]string{}
		if d, ok := allDialects[tt.dialect]; ok {
			d.Sign(h, []byte(tt.secret), at, body)
		} else {
			key, err := Secret{Key: tt.secret}.bytes()
			if err != nil {
				t.Fatal(err)
			}
			signStandard(h, [][]byte{key}, tt.id, at, body)
		}
		if got := h[tt.header]; len(got) != 1 || got[0] != tt.value {
			t.Errorf("%s: %s = %v, want %s", tt.dialect, tt.header, got, tt.value)
		}
	}
}

// TestDialectsRenderAnything renders random events, many of which lack what
// they should have: what is sent is what Python writes, the same at each try,
// and nothing fails.
func TestDialectsRenderAnything(t *testing.T) {
	p := startPython(t, "-c", pythonAgain)
	random := rand.New(rand.NewPCG(3, 4))
	sent := 0
	for range 5000 {
		event, err := json.Marshal(randomEvent(random))
		if err != nil {
			t.Fatal(err)
		}
		for name := range allDialects {
			e := speaking(t, name)
			_, r, err := rendered(t, e, event)
			if errors.Is(err, errNothing) {
				continue
			}
			var body map[string]any
			if err := errors.Join(err, json.Unmarshal(r.body, &body)); err != nil {
				t.Fatalf("%s makes %s of %s: %v", name, r.body, event, err)
			}
			if again := p.ask(t, string(r.body)); again != string(r.body) {
				t.Errorf("%s makes\n%s, and Python of that\n%s", name, r.body, again)
			}
			if data, _ := body["data"].(map[string]any); name == Whereby && data["meetingId"] == nil {
				t.Errorf("no meeting's id in %s", r.body)
			}
			if _, again, err := rendered(t, e, event); err != nil || !bytes.Equal(again.body, r.body) {
				t.Errorf("%s makes %s the second time, and first %s (%v)", name, again.body, r.body, err)
			}
			sent++
		}
	}
	if sent < 5000 {
		t.Errorf("only %d requests were made", sent)
	}
}

func randomEvent(r *rand.Rand) meeting.Event {
	at := func() meeting.Time { return meeting.Time{Time: time.Unix(r.Int64N(1<<33), 0).UTC()} }
	types := []meeting.EventType{"x.unknown"}
	for _, d := range allDialects {
		for t := range d.Render {
			types = append(types, t)
		}
	}
	slices.Sort(types) // the same at each run
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	kinds := []meeting.Kind{meeting.KindHuman, meeting.KindHuman, meeting.KindRecorder, meeting.KindSIP, meeting.KindStreamer, meeting.KindTranscriber, ""}
	n := meeting.Event{
		ID: "evt_" + randomString(r), Type: types[r.IntN(len(types))], Timestamp: at(),
		MeetingID: pick("mtg_a", "", randomString(r)), Room: pick("standup", "", randomString(r)), SessionID: pick("ses_none", "", randomString(r)),
	}
	left := at()
	maybe := func(f func()) {
		if r.IntN(4) > 0 {
			f()
		}
	}
	maybe(func() {
		n.Data.Participant = &meeting.ParticipantInfo{Person: meeting.Person{
			ID: randomString(r), Kind: kinds[r.IntN(len(kinds))], Role: meeting.Role(pick("moderator", "participant", "visitor", "")),
			Name: randomString(r), UserID: randomString(r), Email: randomString(r), JoinedAt: at(), LeftAt: left,
		}}
	})
	maybe(func() { n.Data.Session = &meeting.SessionInfo{ID: randomString(r), StartedAt: at()} })
	maybe(func() {
		n.Data.Participants = []meeting.ParticipantInfo{{Person: meeting.Person{ID: randomString(r), Name: randomString(r)}}}
	})
	maybe(func() { n.Data.Occupancy = &meeting.Occupancy{Humans: r.IntN(100)} })
	maybe(func() {
		rec := meeting.RecordingInfo{RecordingStatus: meeting.RecordingStatus{ID: randomString(r)}, RequestedBy: meeting.Requester{Name: randomString(r)}}
		for range r.IntN(3) {
			rec.Files = append(rec.Files, meeting.FileInfo{Name: randomString(r), Size: r.Int64()})
		}
		n.Data.Recording = &rec
	})
	return n
}

// TestEventsOfAnEarlierUsher renders events as an usher committed them that gave
// them no room and no list of participants.
func TestEventsOfAnEarlierUsher(t *testing.T) {
	const (
		joined = `{"id":"evt_1","type":"participant.joined","timestamp":"2026-11-22T10:00:03.482Z","api_version":"2026-11-01",` +
			`"meeting_id":"mtg_1","session_id":"ses_1","seq":3,"state_version":3,"data":{"participant":{"id":"prt_1","session_id":"ses_1",` +
			`"endpoint_id":"a1b2c3d4","kind":"human","role":"moderator","user_id":"u1","name":"Ada","hand_raised_at":null,` +
			`"joined_at":"2026-11-22T10:00:03.482Z","left_at":null,"present_seconds":0,"connections":1},` +
			`"occupancy":{"humans":3,"moderators":1,"recorders":0,"others":0,"peak":3,"pending_joins":0}}}`
		ended = `{"id":"evt_2","type":"session.ended","timestamp":"2026-11-22T10:12:40.251Z","api_version":"2026-11-01","meeting_id":"mtg_1",` +
			`"session_id":"ses_1","seq":8,"state_version":8,"data":{"session":{"id":"ses_1","meeting_id":"mtg_1","started_at":"2026-11-22T10:00:03.482Z",` +
			`"ended_at":"2026-11-22T10:11:40.250Z","peak":1,"humans":1,"recorders":0},` +
			`"occupancy":{"humans":0,"moderators":0,"recorders":0,"others":0,"peak":1,"pending_joins":0}}}`
	)
	for _, tt := range []struct{ dialect, event, want string }{
		{Whereby, joined, `{"id":"evt_1","apiVersion":"1.0","createdAt":"2026-11-22T10:00:03.482Z","type":"room.client.joined",` +
			`"data":{"meetingId":"mtg_1","roomName":"","subdomain":"meet","roleName":"host","displayName":"Ada","numClients":3,` +
			`"numClientsByRoleName":{"host":1,"visitor":2},"roomSessionId":"ses_1","participantId":"prt_1","isDialIn":false,"externalId":"u1"}}`},
		{Whereby, ended, `{"id":"evt_2","apiVersion":"1.0","createdAt":"2026-11-22T10:12:40.251Z","type":"room.session.ended",` +
			`"data":{"meetingId":"mtg_1","roomName":"","subdomain":"meet","roomSessionId":"ses_1"}}`},
		{Jitsi, joined, `{"event":"muc-occupant-joined","room":"","timestamp":"2026-11-22T10:00:03.482Z","data":{"meeting_id":"mtg_1","session_id":"ses_1",` +
			`"occupant_id":"prt_1","nick":"Ada","role":"moderator","user_id":"u1","email":"","active_occupants_count":3}}`},
		{EventSync, ended, `{"event_name":"muc-room-destroyed","room_name":"","room_jid":"@muc.meet.jitsi","is_breakout":false,` +
			`"created_at":1795341603,"destroyed_at":1795342300,"all_occupants":[]}`},
		{Standard, joined, joined},
	} {
		e := Endpoint{Secrets: []Secret{NewSecret()}}
		if tt.dialect != Standard {
			e = speaking(t, tt.dialect)
		}
		if _, r, err := rendered(t, e, json.RawMessage(tt.event)); err != nil || string(r.body) != tt.want {
			t.Errorf("%s makes\n%s, %v; want\n%s", tt.dialect, r.body, err, tt.want)
		}
	}
}

// TestDialectKeys has what secrets each dialect takes.
func TestDialectKeys(t *testing.T) {
	for _, tt := range []struct {
		dialect string
		key     config.Secret
		ok      bool
	}{
		{Standard, textSecret, false},
		{Standard, NewSecret().Key, true},
		{Whereby, textSecret, true},
		{Whereby, NewSecret().Key, true},
		{Whereby, "fifteen signs..", false},
		{Jitsi, config.Secret(strings.Repeat("x", 257)), false},
		{Jitsi, config.Secret(strings.Repeat("x", 256)), true},
		{Jitsi, "", false},
		{EventSync, "", true},
	} {
		e := Endpoint{Name: "a", URL: "https://a.example/", Dialect: tt.dialect}
		if tt.key != "" {
			e.Secrets = []Secret{{Key: tt.key}}
		}
		_, err := NewRegistry(Config{Store: new(memorystore.Memory), Endpoints: []Endpoint{e}, Dialects: allDialects})
		if (err == nil) != tt.ok {
			t.Errorf("%s with a key of %d signs: %v", tt.dialect, len(tt.key), err)
		} else if err != nil && tt.key != "" && strings.Contains(err.Error(), string(tt.key)) {
			t.Errorf("the secret is in %q", err)
		}
	}
	_, err := NewRegistry(Config{Store: new(memorystore.Memory), Endpoints: []Endpoint{{Name: "a", URL: "https://a.example/", Dialect: "klingon"}}, Dialects: allDialects})
	if want := "endpoint a: webhook: dialect is none of event_sync, jitsi, standard, whereby"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestHeaders(t *testing.T) {
	b := newRegistry(t, new(memorystore.Memory))
	for _, tt := range []struct {
		name  string
		value config.Secret
		ok    bool
	}{
		{"authorization", "Bearer h1dden", true},
		{"X-Tenant", "a b\x7e", true},
		{"", "h1dden", false},
		{"a b", "h1dden", false},
		{"a:b", "h1dden", false},
		{"é", "h1dden", false},
		{"a\r\nb", "h1dden", false},
		{"a", "h1dden\r\nb: c", false},
		{"a", "h1dden\x00", false},
		{"a", "h1ddené", false},
		{"a", " h1dden", false},
		{"a", "h1dden\t", false},
		{"a", "", false},
		{"a", config.Secret(strings.Repeat("h1dden", 1000)), false},
		{"host", "h1dden", false},
		{"Content-type", "h1dden", false},
		{"content-LENGTH", "h1dden", false},
		{"transfer-encoding", "h1dden", false},
		{"webhook-signature", "h1dden", false},
		{"whereby-signature", "h1dden", false},
		{"x-jitsi-signature-v2", "h1dden", false},
		{"proxy-authorization", "h1dden", false},
		{"x-idempotency-key", "h1dden", false},
	} {
		e, err := b.Create(t.Context(), Endpoint{URL: "https://a.example/", Headers: map[string]config.Secret{tt.name: tt.value}})
		if (err == nil) != tt.ok {
			t.Errorf("%q: %q: %v", tt.name, string(tt.value), err)
		}
		if text := fmt.Sprintf("%v %+v", err, e); strings.Contains(text, "h1dden") {
			t.Errorf("the value shows in %s", text)
		}
	}
	many := map[string]config.Secret{}
	for i := range 17 {
		many[fmt.Sprint("a", i)] = "b"
	}
	for _, headers := range []map[string]config.Secret{many, {"x-a": "1", "X-A": "2"}} {
		if _, err := b.Create(t.Context(), Endpoint{URL: "https://a.example/", Headers: headers}); err == nil {
			t.Errorf("%d headers are taken", len(headers))
		}
	}
}

// TestHeadersStayWithTheirHost keeps somebody who may change endpoints but was
// never shown their headers from having them sent to himself.
func TestHeadersStayWithTheirHost(t *testing.T) {
	st := new(memorystore.Memory)
	b := newRegistry(t, st)
	made, err := b.Create(t.Context(), Endpoint{URL: "https://a.example/x", Headers: map[string]config.Secret{"authorization": "h1dden"}})
	if err != nil {
		t.Fatal(err)
	}
	update := func(url string, headers map[string]config.Secret) (Endpoint, error) {
		return b.Update(t.Context(), made.ID, func(e *Endpoint) error {
			if e.Headers != nil {
				t.Error("the headers are shown")
			}
			e.URL, e.Headers = url, headers
			return nil
		})
	}
	e, err := update("https://a.example/y", nil)
	if err != nil || e.Headers["Authorization"] != "h1dden" || !slices.Equal(e.HeaderNames(), []string{"Authorization"}) {
		t.Errorf("after a change of the path: %v, %v", e.HeaderNames(), err)
	}
	var invalid *InvalidError
	for _, url := range []string{"https://b.example/y", "https://a.example:80/y"} {
		if _, err := update(url, nil); !errors.As(err, &invalid) || invalid.Field != "headers" {
			t.Errorf("%s: %v, want headers refused", url, err)
		}
	}
	if e, err = update("https://b.example/y", map[string]config.Secret{"x-key": "other"}); err != nil || string(e.Headers["X-Key"]) != "other" {
		t.Errorf("with other headers: %v, %v", e.HeaderNames(), err)
	}
	// As another process reads it.
	if e, err = newRegistry(t, st).Get(made.ID); err != nil || string(e.Headers["X-Key"]) != "other" || len(e.Headers) != 1 {
		t.Errorf("read again: %v, %v", e.HeaderNames(), err)
	}
	if e, err = update("https://c.example/y", map[string]config.Secret{}); err != nil || len(e.Headers) != 0 {
		t.Errorf("taken away: %v, %v", e.HeaderNames(), err)
	}
}
