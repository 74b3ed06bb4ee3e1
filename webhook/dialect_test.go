package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/config"
	"usher/meeting"
	"usher/store"
)

var rewrite = flag.Bool("rewrite", false, "write what is sent into the golden files; read the difference before you keep it")

// textSecret signs in dialects whose receivers use a secret as it is.
const textSecret config.Secret = "whsec-test-secret"

// newDialects returns a book with one endpoint for each dialect but the standard
// one, named like it with a dash.
func newDialects(t testing.TB, st Store) *Book {
	t.Helper()
	var fixed []Endpoint
	for _, name := range Dialects() {
		if name == Standard {
			continue
		}
		fixed = append(fixed, Endpoint{
			Name: strings.ReplaceAll(name, "_", "-"), URL: "https://app.example/hooks", Dialect: name, Secrets: []Secret{{Key: textSecret}},
		})
	}
	b, err := NewBook(Config{Store: st, Endpoints: fixed, MUC: "muc.meet.jitsi", Site: "meet"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rendered makes the request of a notice, at a time after the story.
func rendered(t testing.TB, b *Book, e Endpoint, notice json.RawMessage) (parcel, error) {
	t.Helper()
	m, err := newMessage(notice, false)
	if err != nil {
		t.Fatal(err)
	}
	return b.render(t.Context(), e, m, time.Unix(1795341603, 0))
}

// TestDialects compares what each dialect makes of a whole meeting with
// testdata.
func TestDialects(t *testing.T) {
	st := new(store.Memory)
	b := newDialects(t, st)
	told := map[string]*strings.Builder{}
	tellStory(t, st, func(n json.RawMessage) {
		m, _ := newMessage(n, false)
		for _, e := range b.List() {
			if told[e.Dialect] == nil {
				told[e.Dialect] = &strings.Builder{}
			}
			p, err := rendered(t, b, e, n)
			if errors.Is(err, errNothing) {
				fmt.Fprintf(told[e.Dialect], "%s: nothing\n\n", m.Type)
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			if !e.Wants(m.Type, m.MeetingID) {
				t.Errorf("%s tells of %s and does not want it", e.Dialect, m.Type)
			}
			fmt.Fprintf(told[e.Dialect], "%s\nPOST /hooks%s\n", m.Type, p.path)
			for _, name := range []string{"Content-Type", "Webhook-Id", "Whereby-Signature", "X-Jitsi-Signature", "X-Jitsi-Timestamp", "X-Jitsi-Signature-V2"} {
				if p.header[name] != nil {
					fmt.Fprintf(told[e.Dialect], "%s: %s\n", name, p.header[name][0])
					delete(p.header, name)
				}
			}
			if len(p.header) > 0 {
				t.Errorf("%s: further headers %v", e.Dialect, p.header)
			}
			fmt.Fprintf(told[e.Dialect], "\n%s\n\n", p.body)
		}
	})
	for dialect, text := range told {
		file := filepath.Join("testdata", dialect+".txt")
		if *rewrite {
			if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != text.String() {
			t.Errorf("%s differs; what is sent now:\n%s", file, text)
		}
	}
}

// TestDocumentShowsTheDialects finds the examples of docs/webhooks.md in
// testdata, one or more of each dialect, and the events that each has.
func TestDocumentShowsTheDialects(t *testing.T) {
	text, err := os.ReadFile("../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range dialects {
		if d.events == nil {
			continue
		}
		_, section, found := strings.Cut(string(text), "\n### The dialect `"+name+"`\n")
		golden, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
		if err != nil || !found {
			t.Fatalf("docs/webhooks.md says nothing of %s (%v)", name, err)
		}
		section, _, _ = strings.Cut(section, "\n#")
		blocks := strings.Split(section, "```json\n")
		for _, block := range blocks[1:] {
			block, _, _ = strings.Cut(block, "```")
			var compact bytes.Buffer
			if err := json.Compact(&compact, []byte(block)); err != nil || !bytes.Contains(golden, compact.Bytes()) {
				t.Errorf("%s sends nothing like %s (%v)", name, block, err)
			}
		}
		for event := range d.events {
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
// judge all that Whereby's dialect tells of a meeting.
func TestReflectorVerifies(t *testing.T) {
	p := startPython(t, "testdata/reflector.py")
	st := new(store.Memory)
	b := newDialects(t, st)
	e, err := b.Get("whk_whereby")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	judge := func(n json.RawMessage) {
		m, _ := newMessage(n, false)
		parcel, err := rendered(t, b, e, n)
		if errors.Is(err, errNothing) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		r := reflector{string(textSecret), 1795341603, parcel.header["Whereby-Signature"][0], string(parcel.body)}
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
	tellStory(t, st, judge)
	judge(testNotice(time.Now()))
	want := []string{
		"session.started 200",
		"participant.joined 200 1", "participant.joined 200 2", "participant.joined 200 2", // the third by telephone
		"participant.joined 200 2", "participant.left 200 2", "recording.available 200", // a recorder
		"participant.left 200 2", "participant.left 200 1", "participant.left 200 0",
		"session.ended 200", "webhook.test 200",
	}
	if !slices.Equal(got, want) {
		t.Errorf("judged\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestSignatureVectors are signatures that were made and verified by other
// programs than this.
func TestSignatureVectors(t *testing.T) {
	const want = `{"id":"evt_01HZX0000000000000000000","apiVersion":"1.0","createdAt":"2023-11-14T22:13:20.000Z","type":"room.client.joined",` +
		`"data":{"meetingId":"0b9f5a3e-8a43-4c55-9d3f-3b6a7b1f7c10","roomName":"/standup-0b9f5a3e","subdomain":"meet","roleName":"host",` +
		`"displayName":"Jos\u00e9 <b>\ud83d\ude00","numClients":1,"numClientsByRoleName":{"host":1},"roomSessionId":"s1","participantId":"p1"}}`
	body := AppendPython(nil, Object{
		{"id", "evt_01HZX0000000000000000000"}, {"apiVersion", "1.0"}, {"createdAt", "2023-11-14T22:13:20.000Z"}, {"type", "room.client.joined"},
		{"data", Object{
			{"meetingId", "0b9f5a3e-8a43-4c55-9d3f-3b6a7b1f7c10"}, {"roomName", "/standup-0b9f5a3e"}, {"subdomain", "meet"}, {"roleName", "host"},
			{"displayName", "José <b>😀"}, {"numClients", 1}, {"numClientsByRoleName", Object{{"host", 1}}}, {"roomSessionId", "s1"}, {"participantId", "p1"},
		}},
	})
	if string(body) != want {
		t.Fatalf("body = %s, want %s", body, want)
	}
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
		d, h := dialects[tt.dialect], map[string][]string{}
		key, err := d.key(Secret{Key: tt.secret})
		if err != nil {
			t.Fatal(err)
		}
		d.sign(h, [][]byte{key}, message{envelope: envelope{ID: tt.id}}, at, body)
		if got := h[tt.header]; len(got) != 1 || got[0] != tt.value {
			t.Errorf("%s: %s = %v, want %s", tt.dialect, tt.header, got, tt.value)
		}
	}
}

// TestDialectsTellAnything renders random notices, of meetings that are there
// and of others: what is sent is JSON, and nothing fails.
func TestDialectsTellAnything(t *testing.T) {
	st := new(store.Memory)
	b := newDialects(t, st)
	known := tellStory(t, st, func(json.RawMessage) {}).m
	random := rand.New(rand.NewPCG(3, 4))
	sent := 0
	for range 5000 {
		notice, err := json.Marshal(randomNotice(random, known))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.List() {
			p, err := rendered(t, b, e, notice)
			if errors.Is(err, errNothing) {
				continue
			}
			var body map[string]any
			if err := errors.Join(err, json.Unmarshal(p.body, &body)); err != nil {
				t.Fatalf("%s makes %s of %s: %v", e.Dialect, p.body, notice, err)
			}
			if data, _ := body["data"].(map[string]any); e.Dialect == Whereby && data["meetingId"] == nil {
				t.Errorf("no meeting's id in %s", p.body)
			}
			sent++
		}
	}
	if sent < 5000 {
		t.Errorf("only %d requests were made", sent)
	}
}

func randomNotice(r *rand.Rand, known meeting.Meeting) meeting.Notice {
	at := func() meeting.Time { return meeting.Time{Time: time.Unix(r.Int64N(1<<33), 0).UTC()} }
	types := []meeting.NoticeType{"x.unknown"}
	for _, d := range dialects {
		for t := range d.events {
			types = append(types, t)
		}
	}
	slices.Sort(types) // the same at each run
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	kinds := []meeting.Kind{meeting.KindHuman, meeting.KindHuman, meeting.KindRecorder, meeting.KindSIP, meeting.KindStreamer, meeting.KindTranscriber, ""}
	n := meeting.Notice{
		ID: "evt_" + randomString(r), Type: types[r.IntN(len(types))], Timestamp: at(),
		MeetingID: pick(known.ID, "mtg_none", "", randomString(r)), SessionID: pick("ses_none", "", randomString(r)),
	}
	left := at()
	maybe := func(f func()) {
		if r.IntN(4) > 0 {
			f()
		}
	}
	maybe(func() {
		n.Data.Participant = &meeting.ParticipantInfo{
			ID: randomString(r), Kind: kinds[r.IntN(len(kinds))], Role: meeting.Role(pick("moderator", "participant", "visitor", "")),
			Name: randomString(r), UserID: randomString(r), Email: randomString(r), JoinedAt: at(), LeftAt: &left,
		}
	})
	maybe(func() { n.Data.Session = &meeting.SessionInfo{ID: randomString(r), StartedAt: at()} })
	maybe(func() { n.Data.Occupancy = &meeting.Occupancy{Humans: r.IntN(100)} })
	maybe(func() {
		rec := meeting.RecordingInfo{ID: randomString(r), RequestedBy: meeting.RequesterInfo{Name: randomString(r)}}
		for range r.IntN(3) {
			rec.Files = append(rec.Files, meeting.FileInfo{Name: randomString(r), Size: r.Int64()})
		}
		n.Data.Recording = &rec
	})
	return n
}

// TestForgottenMeeting tells of a meeting that the store has forgotten by then.
func TestForgottenMeeting(t *testing.T) {
	st := new(store.Memory)
	b := newDialects(t, st)
	e, err := b.Get("whk_event-sync")
	if err != nil {
		t.Fatal(err)
	}
	s := newStory(t, st, time.Now())
	for _, n := range s.apply(time.Second, meeting.Seen{Occupant: jose}) {
		if _, err := rendered(t, b, e, n); err != nil {
			t.Fatal(err)
		}
	}
	last := s.apply(time.Second, meeting.Ended{Reason: meeting.EndRequested, Forget: true})
	s.apply(time.Second, meeting.RoomGone{Reason: meeting.LeftDestroyed})
	if err := st.Forget(t.Context(), s.m.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Load(t.Context(), s.m.ID); !errors.Is(err, meeting.ErrNotFound) {
		t.Fatalf("load = %v, want it forgotten", err)
	}
	for i, want := range []string{
		`"active_occupants_count":0`, `"all_occupants":[]`, // of people nothing is kept
	} {
		p, err := rendered(t, b, e, last[i])
		if err != nil || !bytes.Contains(p.body, []byte(`"room_jid":"standup-k3v7@muc.meet.jitsi"`)) || !bytes.Contains(p.body, []byte(want)) {
			t.Errorf("%s, %v; want the room, and %s", p.body, err, want)
		}
	}
	for i := range maxRooms {
		b.rooms.learn(fmt.Sprint(i), "a")
	}
	if n := len(b.rooms.byMeeting); n > maxRooms || b.rooms.recall(fmt.Sprint(maxRooms-1)) != "a" {
		t.Errorf("%d rooms are remembered", n)
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
		_, err := NewBook(Config{Store: new(store.Memory), Endpoints: []Endpoint{e}})
		if (err == nil) != tt.ok {
			t.Errorf("%s with a key of %d signs: %v", tt.dialect, len(tt.key), err)
		} else if err != nil && tt.key != "" && strings.Contains(err.Error(), string(tt.key)) {
			t.Errorf("the secret is in %q", err)
		}
	}
	_, err := NewBook(Config{Store: new(store.Memory), Endpoints: []Endpoint{{Name: "a", URL: "https://a.example/", Dialect: "klingon"}}})
	if want := "endpoint a: webhook: dialect is none of event_sync, jitsi, standard, whereby"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestHeaders(t *testing.T) {
	b := newBook(t, new(store.Memory))
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
	st := new(store.Memory)
	b := newBook(t, st)
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
	if e, err = newBook(t, st).Get(made.ID); err != nil || string(e.Headers["X-Key"]) != "other" || len(e.Headers) != 1 {
		t.Errorf("read again: %v, %v", e.HeaderNames(), err)
	}
	if e, err = update("https://c.example/y", map[string]config.Secret{}); err != nil || len(e.Headers) != 0 {
		t.Errorf("taken away: %v, %v", e.HeaderNames(), err)
	}
}
