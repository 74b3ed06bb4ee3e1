package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	independent "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"usher/api"
	"usher/internal/s3test"
	"usher/internal/sim"
	"usher/meeting"
)

// reflector is examples/reflector inside a stand-in for Reflector.
type reflector struct {
	t     *testing.T
	url   string // of its webhook
	in    *json.Encoder
	lines *bufio.Scanner
}

// startReflector puts the files where their README says and runs them.
func startReflector(t *testing.T) *reflector {
	t.Helper()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS("../../examples/reflector/testdata")))
	for from, to := range map[string]string{"jitsi.py": "video_platforms", "jitsi_webhook.py": "views"} {
		text, err := os.ReadFile("../../examples/reflector/" + from)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "reflector", to, "jitsi.py"), text, 0o600))
	}
	cmd := exec.Command("/usr/bin/python3", "drive.py") // the one that has Debian's packages
	cmd.Dir, cmd.Stderr = dir, t.Output()
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // what it does is checked line by line
	})
	r := &reflector{t, "", json.NewEncoder(in), bufio.NewScanner(out)}
	r.url = "http://127.0.0.1:" + r.line() + "/v1/jitsi"
	return r
}

func (r *reflector) line() string {
	r.t.Helper()
	if !r.lines.Scan() {
		r.t.Fatal("the stand-in for Reflector has ended")
	}
	return r.lines.Text()
}

// try calls a function and decodes its result into out, which may be nil. It
// returns the exception as text.
func (r *reflector) try(out any, name string, arguments map[string]any) string {
	r.t.Helper()
	must(r.t, r.in.Encode([]any{name, arguments}))
	var answer struct {
		Result json.RawMessage
		Error  string
	}
	must(r.t, json.Unmarshal([]byte(r.line()), &answer))
	if answer.Error == "" && out != nil {
		must(r.t, json.Unmarshal(answer.Result, out))
	}
	return answer.Error
}

// call is try of what must succeed.
func (r *reflector) call(out any, name string, arguments map[string]any) {
	r.t.Helper()
	if exception := r.try(out, name, arguments); exception != "" {
		r.t.Fatalf("%s: %s", name, exception)
	}
}

// reflectorMeeting is what Reflector keeps of a meeting.
type reflectorMeeting struct {
	ID       string `json:"meeting_id"`
	RoomName string `json:"room_name"`
	RoomURL  string `json:"room_url"`
	HostURL  string `json:"host_room_url"`
	Platform string
}

type reflectorSession struct {
	ID        string     `json:"session_id"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
}

type reflectorState struct {
	Clients   int  `json:"num_clients"`
	Active    bool `json:"is_active"`
	Processed [][2]string
	Errors    []map[string]string
}

func (r *reflector) state(id string) (s reflectorState) {
	r.t.Helper()
	r.call(&s, "state", map[string]any{"meeting_id": id})
	return s
}

func (r *reflector) sessions(m reflectorMeeting) (list []reflectorSession) {
	r.t.Helper()
	r.call(&list, "get_room_sessions", map[string]any{"room_name": m.RoomName})
	return list
}

// create makes a meeting as Reflector does for a room of this name.
func (r *reflector) create(name, recording string) (m reflectorMeeting) {
	r.t.Helper()
	r.call(&m, "create_meeting", map[string]any{
		"prefix": name, "end_date": time.Now().UTC().Add(8 * time.Hour).Format("2006-01-02T15:04:05.000000+00:00"),
		"name": name, "is_locked": false, "recording_type": recording, "recording_trigger": "automatic-2nd-participant",
	})
	return m
}

// connect gives the stand-in a key with the scopes of the README and an endpoint
// of usher's, at an address that may be another than usher's own.
func (s *scene) connect(r *reflector, address string) (hook api.Webhook) {
	s.t.Helper()
	var key api.APIKey
	must(s.t, s.call(s.t.Context(), "POST", "/v1/api-keys", map[string]any{
		"name": "reflector", "scopes": []string{"meetings:read", "meetings:write", "recordings:write"},
	}, &key))
	must(s.t, s.call(s.t.Context(), "POST", "/v1/webhooks", map[string]any{"name": "reflector", "url": r.url}, &hook))
	r.call(nil, "configure", map[string]any{"api_url": address + "/", "api_key": key.Key, "webhook_secret": hook.Secret})
	return hook
}

// ticketOf opens a link as a page does that embeds Jitsi.
func ticketOf(t *testing.T, link string) (ticket struct{ Token, URL string }) {
	t.Helper()
	request, err := http.NewRequestWithContext(within(t), http.MethodGet, link, http.NoBody)
	must(t, err)
	request.Header.Set("Accept", "application/json")
	resp, err := http.DefaultClient.Do(request)
	must(t, err)
	defer resp.Body.Close()
	must(t, json.NewDecoder(resp.Body).Decode(&ticket))
	return ticket
}

// TestReflector plays a meeting of Reflector's with the files of
// examples/reflector: a guest by the room's link, the owner by a token, a
// recording into S3 with its webhook, the end of the session and of the meeting.
func TestReflector(t *testing.T) {
	s := newStudio(t, "--site-url=https://meet.example.org", "--webhook-allow=127.0.0.0/8")
	bucket := s3test.Start(t)
	s.jibri("jibri-1", func(j *sim.JibriConfig) {
		j.Env = append(j.Env, "USHER_HANDOVER=s3", "USHER_S3_ENDPOINT="+bucket.Endpoint, "USHER_S3_BUCKET="+bucket.Bucket,
			"USHER_S3_ACCESS_KEY="+bucket.AccessKey, "USHER_S3_SECRET_KEY="+bucket.SecretKey)
	})
	r := startReflector(t)
	hook := s.connect(r, "http://"+s.at.api)
	var tried struct{ Status int }
	must(t, s.call(t.Context(), "POST", "/v1/webhooks/"+hook.ID+"/test", nil, &tried))
	if tried.Status != http.StatusNoContent {
		t.Errorf("a test of the endpoint is answered %d, want 204", tried.Status)
	}

	m := r.create("Team Sync_É", "cloud")
	if !strings.HasPrefix(m.RoomName, "/team-sync-") || m.RoomURL == "" || m.HostURL != m.RoomURL || m.Platform != "jitsi" {
		t.Fatalf("made %+v", m)
	}
	s.id, s.room = m.ID, m.RoomName[1:]
	must(t, s.call(t.Context(), "PATCH", "/v1/meetings/"+m.ID, map[string]any{"departure_timeout_s": 3}, nil))
	if list := r.sessions(m); len(list) > 0 {
		t.Errorf("sessions before anybody came: %+v", list)
	}

	guest := sim.NewPerson(s.sim, s.room, "Guest", ticketOf(t, m.RoomURL).Token)
	t.Cleanup(guest.Drop)
	must(t, guest.Join(within(t)))
	s.until("Reflector knows of the guest", func() bool { return r.state(m.ID).Clients == 1 })
	var joinURL string
	r.call(&joinURL, "create_join_url", map[string]any{"meeting_id": m.ID, "user_id": "u-ada", "user_name": "José <b>&😀", "is_owner": true})
	_, ticket, ok := strings.Cut(joinURL, "#jwt=")
	if !ok || !strings.HasPrefix(joinURL, "https://meet.example.org/"+s.room+"#") {
		t.Fatalf("the owner's URL is %s", joinURL)
	}
	owner := sim.NewPerson(s.sim, s.room, "José <b>&😀", ticket)
	t.Cleanup(owner.Drop)
	must(t, owner.Join(within(t)))
	s.until("Reflector knows of both", func() bool { return r.state(m.ID).Clients == 2 })
	var people []struct {
		Name, Kind string
		UserID     string     `json:"user_id"`
		LeftAt     *time.Time `json:"left_at"`
	}
	r.call(&people, "get_participants", map[string]any{"meeting_id": m.ID})
	if len(people) < 2 || people[0].UserID != "" || people[1].UserID != "u-ada" || people[1].Name != "José <b>&😀" || people[1].LeftAt != nil {
		t.Errorf("participants %+v", people)
	}

	// Two are in, so a recording begins; to ask for one gives the same.
	s.newest("recording")
	var recording struct{ ID, State string }
	r.call(&recording, "start_recording", map[string]any{"meeting_id": m.ID})
	if want := s.list(); len(want) != 1 || recording.ID != want[0].ID {
		t.Errorf("asked for a recording: %+v, want the one of %+v", recording, want)
	}
	r.call(nil, "stop_recording", map[string]any{"recording_id": recording.ID})
	s.until("Reflector processes the file", func() bool { return len(r.state(m.ID).Processed) > 0 })
	got := r.state(m.ID)
	if len(got.Processed) != 1 || got.Processed[0][0] != bucket.Bucket || !strings.HasPrefix(got.Processed[0][1], s.room+"-2") || len(got.Errors) > 0 {
		t.Errorf("after the recording %+v", got)
	}
	var recordings []struct{ ID, State string }
	r.call(&recordings, "list_recordings", map[string]any{"meeting_id": m.ID})
	if len(recordings) != 1 || recordings[0].ID != recording.ID || recordings[0].State != "available" {
		t.Errorf("recordings %+v", recordings)
	}

	if list := r.sessions(m); len(list) != 1 || list[0].EndedAt != nil || list[0].StartedAt.IsZero() {
		t.Errorf("sessions with two people in: %+v", list)
	}
	must(t, guest.Leave(within(t)))
	must(t, owner.Leave(within(t)))
	s.until("Reflector knows that nobody is in", func() bool { return r.state(m.ID).Clients == 0 })
	s.until("the session has ended", func() bool { l := r.sessions(m); return len(l) == 1 && l[0].EndedAt != nil })
	// While somebody is on the way it must not look over.
	ticketOf(t, m.RoomURL)
	if list := r.sessions(m); len(list) != 1 || list[0].EndedAt != nil {
		t.Errorf("sessions with somebody on the way: %+v", list)
	}
	if !r.state(m.ID).Active {
		t.Error("the meeting is over for Reflector before it has ended")
	}
	r.call(nil, "end_meeting", map[string]any{"meeting_id": m.ID})
	s.until("Reflector knows that the meeting is over", func() bool { return !r.state(m.ID).Active })
	if exception := r.try(nil, "create_join_url", map[string]any{"meeting_id": m.ID, "user_id": "u-ada"}); !strings.Contains(exception, "409") || !strings.Contains(exception, "ended") {
		t.Errorf("a token for a meeting that is over: %q, want usher's own words", exception)
	}
}

// TestReflectorTranscribesMixedAudio: of a recording of tracks neither the files of
// single people nor the manifest are a meeting's audio.
func TestReflectorTranscribesMixedAudio(t *testing.T) {
	t.Parallel()
	r := startReflector(t)
	file := func(name string, track *meeting.Track) meeting.FileInfo {
		return meeting.FileInfo{Name: name, Storage: meeting.StorageS3, Bucket: "recordings", Track: track}
	}
	recording := meeting.RecordingInfo{Files: []meeting.FileInfo{
		file("001.ogg", &meeting.Track{ParticipantID: "prt_1", Name: "Ada"}), file("manifest.json", nil),
	}}
	recording.Mode = meeting.ModeTracks
	var got []string
	r.call(&got, "process", map[string]any{"recording": recording})
	if len(got) > 0 {
		t.Errorf("of tracks %q are transcribed, want nothing", got)
	}
	r.call(&got, "get_track_keys", map[string]any{"recording": recording})
	if want := []string{"001.ogg"}; !slices.Equal(got, want) {
		t.Errorf("tracks %q, want %q", got, want)
	}
	recording.Mode, recording.Files = meeting.ModeFile, []meeting.FileInfo{file("standup.mp4", nil)}
	r.call(&got, "process", map[string]any{"recording": recording})
	if want := []string{"standup.mp4"}; !slices.Equal(got, want) {
		t.Errorf("of a file %q is transcribed, want %q", got, want)
	}
}

// TestReflectorVerifies gives the client what usher signs, and what nobody did.
func TestReflectorVerifies(t *testing.T) {
	t.Parallel()
	r := startReflector(t)
	const secret = "whsec_dXNoZXItZG9jcy10ZXN0LXZlY3Rvci0x"
	r.call(nil, "configure", map[string]any{"webhook_secret": secret})
	w, err := independent.NewWebhook(secret)
	must(t, err)
	sign := func(at time.Time, id, body string) map[string]any {
		signature, err := w.Sign(id, at, []byte(body))
		must(t, err)
		return map[string]any{"body": body, "signature": signature, "timestamp": fmt.Sprint(at.Unix())}
	}
	with := func(v map[string]any, key string, value any) map[string]any {
		v[key] = value
		return v
	}
	now := time.Now()
	const body = `{"id":"evt_1","name":"José <b>&😀"}`
	for name, tt := range map[string]struct {
		v    map[string]any
		want bool
	}{
		"usher's":               {sign(now, "evt_1", body), true},
		"while it changes":      {with(sign(now, "evt_1", body), "signature", "v1,AAAA "+sign(now, "evt_1", body)["signature"].(string)), true},
		"four minutes old":      {sign(now.Add(-4*time.Minute), "evt_1", body), true},
		"six minutes old":       {sign(now.Add(-6*time.Minute), "evt_1", body), false},
		"six minutes early":     {sign(now.Add(6*time.Minute), "evt_1", body), false},
		"another id":            {sign(now, "evt_2", body), false},
		"another body":          {with(sign(now, "evt_1", body), "body", strings.Replace(body, "é", "e", 1)), false},
		"no signature":          {with(sign(now, "evt_1", body), "signature", ""), false},
		"signature of another":  {with(sign(now, "evt_1", body), "signature", "v1,é"), false},
		"no time":               {with(sign(now, "evt_1", body), "timestamp", nil), false},
		"time is no number":     {with(sign(now, "evt_1", body), "timestamp", "soon"), false},
		"not JSON":              {sign(now, "evt_1", "{"), false},
		"no object":             {sign(now, "evt_1", `["id"]`), false},
		"no id":                 {sign(now, "", `{}`), false},
		"the id is not a text":  {sign(now, "1", `{"id":[1]}`), false},
		"another time than was": {with(sign(now, "evt_1", body), "timestamp", fmt.Sprint(now.Unix()+1)), false},
	} {
		var got bool
		r.call(&got, "verify", tt.v)
		if got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	for _, bad := range []string{"", "whsec_", "whsec_é", "not base64"} {
		r.call(nil, "configure", map[string]any{"webhook_secret": bad})
		var got bool
		if r.call(&got, "verify", sign(now, "evt_1", body)); got {
			t.Errorf("with the secret %q all is accepted", bad)
		}
	}
	resp, err := http.Post(r.url, "application/json", strings.NewReader(body))
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a webhook without a signature is answered %d, want 401", resp.StatusCode)
	}
}

// TestReflectorWhileUsherIsAway puts a server between the client and usher that
// has usher away for a moment, and loses an answer.
func TestReflectorWhileUsherIsAway(t *testing.T) {
	s := newScene(t, "--site-url=https://meet.example.org", "--webhook-allow=127.0.0.0/8")
	usher := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.at.api})
	var tries, lost atomic.Int32
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/meetings" || r.Method != http.MethodPost {
			usher.ServeHTTP(w, r)
			return
		}
		if tries.Add(1) == 1 {
			// usher has made it, and its answer does not arrive.
			usher.ServeHTTP(httptest.NewRecorder(), r)
			w.WriteHeader(http.StatusServiceUnavailable)
			lost.Add(1)
			return
		}
		usher.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	r := startReflector(t)
	s.connect(r, front.URL)
	m := r.create("retro", "none")
	var list struct{ Data []struct{ ID, Room string } }
	must(t, s.call(t.Context(), "GET", "/v1/meetings", nil, &list))
	retros := slices.DeleteFunc(list.Data, func(m struct{ ID, Room string }) bool { return !strings.HasPrefix(m.Room, "retro-") })
	if len(retros) != 1 || retros[0].ID != m.ID || lost.Load() != 1 {
		t.Errorf("meetings %+v, want %s alone", retros, m.ID)
	}

	// Without Prosody usher cannot say whether anybody is in: it must not look
	// as if nobody was.
	person := sim.NewPerson(s.sim, m.RoomName[1:], "Ada", "")
	t.Cleanup(person.Drop)
	must(t, person.Join(within(t)))
	s.until("a session is open", func() bool { l := r.sessions(m); return len(l) == 1 && l[0].EndedAt == nil })
	s.prosody.Kill()
	s.until("usher has lost sight", func() bool {
		exception := r.try(nil, "get_room_sessions", map[string]any{"room_name": m.RoomName})
		return strings.Contains(exception, "does not see the room")
	})
	// One that is not there at all: the exception is httpx's own.
	front.Close()
	if exception := r.try(nil, "get_room_sessions", map[string]any{"room_name": m.RoomName}); !strings.HasPrefix(exception, "ConnectError") {
		t.Errorf("without usher: %q, want a ConnectError", exception)
	}
}
