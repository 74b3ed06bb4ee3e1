package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher/internal/wherebytest"
	"usher/meeting"
)

// wherebyApp is an app that was written for Whereby, and what it has been told.
type wherebyApp struct {
	t *testing.T
	*httptest.Server

	mu     sync.Mutex
	seen   map[string]bool
	told   map[string][]string // by room: type, name and count
	bodies map[string][]string // by room
}

const appSecret = "the app's own secret, as it was"

func startWherebyApp(t *testing.T) *wherebyApp {
	a := &wherebyApp{t: t, seen: map[string]bool{}, told: map[string][]string{}, bodies: map[string][]string{}}
	a.Server = httptest.NewServer(http.HandlerFunc(a.receive))
	t.Cleanup(a.Close)
	return a
}

// receive takes a webhook; one of them it takes and says that it did not.
func (a *wherebyApp) receive(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	stamp, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Whereby-Signature"), "t="), ",")
	seconds, _ := strconv.ParseInt(stamp, 10, 64)
	if wherebytest.Sign(appSecret, time.Unix(seconds, 0), body) != r.Header.Get("Whereby-Signature") {
		a.t.Errorf("a webhook that the app cannot verify: %s %s", r.Header.Get("Whereby-Signature"), body)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var e struct {
		ID, Type string
		Data     struct {
			RoomName, DisplayName, RoleName string
			NumClients                      *int
		}
	}
	if err := json.Unmarshal(body, &e); err != nil {
		a.t.Errorf("webhook %s: %v", body, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen[e.ID] || e.Data.RoleName == "recorder" {
		return
	}
	if a.seen[e.ID] = true; len(a.seen) == 4 {
		w.WriteHeader(http.StatusBadGateway)
	}
	line := strings.TrimSpace(e.Type + " " + e.Data.DisplayName)
	if e.Data.NumClients != nil {
		line += fmt.Sprint(" ", *e.Data.NumClients)
	}
	a.told[e.Data.RoomName] = append(a.told[e.Data.RoomName], line)
	a.bodies[e.Data.RoomName] = append(a.bodies[e.Data.RoomName], string(body))
}

func (a *wherebyApp) of(room string) (told, bodies []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.told[room]), slices.Clone(a.bodies[room])
}

// migration is an app that moves from Whereby to usher.
type migration struct {
	*studio
	app     *wherebyApp
	whereby *wherebytest.Server
	usher   *process
	rooms   []*migrated // in the order in which they were made
}

// migrated is a meeting, wherever it is, and the webhooks that the app is to get.
type migrated struct {
	ID   string `json:"meetingId"`
	Room string `json:"roomName"`
	here bool
	want []string // bodies at Whereby, lines of [wherebyApp] here
}

// restart ends usher with a signal and starts it with another share.
func (m *migration) restart(share int, by syscall.Signal, meanwhile func()) {
	m.t.Helper()
	if m.usher != nil {
		must(m.t, m.usher.Process.Signal(by))
		_ = m.usher.Wait() // the signal, or 0
	}
	meanwhile()
	m.usher = m.runUsher("--whereby-share=" + strconv.Itoa(share))
	m.waitReady("")
}

// makes makes n meetings, of which so many are to be here, and returns the first
// here and the first there.
func (m *migration) makes(n, wantHere int, rest string) (here, there *migrated) {
	m.t.Helper()
	for range n {
		made := new(migrated)
		body := json.RawMessage(`{"endDate":"2099-01-01T00:00:00.000Z","roomNamePrefix":"visit-"` + rest + `}`)
		must(m.t, m.call(m.t.Context(), "POST", "/whereby/v1/meetings", body, made))
		m.rooms = append(m.rooms, made)
		if strings.HasPrefix(made.ID, "mtg_") {
			made.here = true
			wantHere--
			here = cmp.Or(here, made)
		} else {
			there = cmp.Or(there, made)
		}
	}
	if wantHere != 0 {
		m.t.Fatalf("of %d meetings %d too few are here; /readyz: %+v, metrics %v", n, wantHere, m.notReady(), m.metric("usher_whereby_meetings_total"))
	}
	return here, there
}

// looksAt makes a meeting here the one that the scene's questions are about.
func (m *migration) looksAt(r *migrated) { m.id, m.room = r.ID, r.Room[1:] }

// happens notes what the app is to be told of a meeting at Whereby.
func (r *migrated) happens(events []wherebytest.Event) {
	for _, e := range events {
		r.want = append(r.want, string(e.Body))
	}
}

// sessions returns those of a meeting as the app sees them.
func (m *migration) sessions(room string) (list []struct{ EndedAt *time.Time }, err error) {
	var page struct {
		Results []struct{ EndedAt *time.Time }
	}
	err = m.call(m.t.Context(), "GET", "/whereby/v1/insights/room-sessions?roomName="+room, nil, &page)
	return page.Results, err
}

// TestMigration moves an app from Whereby to usher and back, 0, 50, 100 and 0
// percent, with people in meetings of both at each step, restarts of usher, one of
// them a kill, and an outage of Whereby. Each meeting stays where it was made, and
// what the app is told and can ask is complete, and in order.
func TestMigration(t *testing.T) {
	app, whereby := startWherebyApp(t), wherebytest.Start("")
	t.Cleanup(whereby.Close)
	m := &migration{app: app, whereby: whereby}
	m.studio = &studio{scene: newSite(t, "--site-url=https://meet.example.org", "--webhook-allow=127.0.0.0/8",
		`--webhooks=[{"name":"app","url":"`+app.URL+`","secrets":["`+appSecret+`"],"dialect":"whereby"}]`,
		"--whereby-upstream-url="+whereby.URL, "--whereby-upstream-key="+wherebytest.Key,
		"--whereby-upstream-webhook-secret="+wherebytest.WebhookSecret), dirs: map[string]string{}}
	whereby.SetHook("http://" + m.cfg.Listen + "/whereby/webhooks")

	m.restart(0, syscall.SIGTERM, func() {})
	_, old := m.makes(2, 0, "")
	old.happens(whereby.Join(old.ID, "Ada"))
	old.happens(whereby.Join(old.ID, "José <b>"))

	m.restart(50, syscall.SIGTERM, func() { // somebody comes while usher is away
		old.happens(whereby.Join(old.ID, "Cy"))
	})
	here, _ := m.makes(4, 2, "")
	m.looksAt(here)
	di, ed := m.person("Di", ""), m.person("Ed", "")
	must(t, di.Join(within(t)))
	m.counts(1)
	must(t, ed.Join(within(t)))
	m.counts(2)
	here.want = []string{"room.session.started", "room.client.joined Di 1", "room.client.joined Ed 2"}
	old.happens(whereby.Record(old.ID))

	m.restart(100, syscall.SIGKILL, func() { must(t, ed.Leave(within(t))) })
	m.counts(1)
	here.want = append(here.want, "room.client.left Ed 1")
	m.jibri("jibri-1", nil)
	recorded, _ := m.makes(1, 1, `,"recording":{"type":"cloud","startTrigger":"automatic"}`)
	m.looksAt(recorded)
	flo := m.person("Flo", "")
	must(t, flo.Join(within(t)))
	m.newest(meeting.RecordingOn)
	m.counts(1)
	must(t, flo.Leave(within(t)))
	recorded.want = []string{"room.session.started", "room.client.joined Flo 1", "room.client.left Flo 0", "recording.finished"}
	whereby.SetTrouble(wherebytest.Down)
	if list, err := m.sessions(here.Room); err != nil || len(list) != 1 || list[0].EndedAt != nil {
		t.Errorf("while Whereby is away, sessions here: %+v, %v", list, err)
	}
	if list, err := m.sessions(old.Room); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("while Whereby is away, sessions there: %+v, %v, want 503", list, err)
	}
	whereby.SetTrouble(wherebytest.None)
	m.newest(meeting.RecordingAvailable)

	m.restart(0, syscall.SIGTERM, func() { old.happens(whereby.Leave(old.ID, "Cy")) })
	m.makes(2, 0, "")
	m.looksAt(here)
	m.counts(1)
	must(t, di.Leave(within(t)))
	m.counts(0)
	here.want = append(here.want, "room.client.left Di 0")
	old.happens(whereby.Leave(old.ID, "Ada"))
	old.happens(whereby.Leave(old.ID, "José <b>"))

	m.check()
	list, err := m.sessions(old.Room)
	if err != nil || len(list) != 1 || list[0].EndedAt == nil {
		t.Errorf("sessions at Whereby: %+v, %v, want one that has ended", list, err)
	}
	if list, err := m.sessions(here.Room); err != nil || len(list) != 1 {
		t.Errorf("sessions here: %+v, %v, want one", list, err)
	}
	var recordings struct{ Results []struct{ RoomName string } }
	must(t, m.call(t.Context(), "GET", "/whereby/v1/recordings", nil, &recordings))
	if len(recordings.Results) != 2 || recordings.Results[0].RoomName != recorded.Room || recordings.Results[1].RoomName != old.Room {
		t.Errorf("recordings %+v, want that of %s and that of %s", recordings.Results, recorded.Room, old.Room)
	}
}

// check compares the app's view of all meetings with what happened in them.
func (m *migration) check() {
	m.t.Helper()
	for _, r := range m.rooms {
		got := func() []string {
			told, bodies := m.app.of(r.Room)
			if r.here {
				return told
			}
			return bodies
		}
		told := got()
		for deadline := time.Now().Add(patience); len(told) < len(r.want) && time.Now().Before(deadline); told = got() {
			time.Sleep(20 * time.Millisecond)
		}
		if !slices.Equal(told, r.want) {
			m.t.Errorf("the app was told of %s\n%q, want\n%q", r.ID, told, r.want)
		}
	}
	var ids, want []string
	for cursor, more := "", true; more; {
		var page struct {
			Cursor  *string
			Results []migrated
		}
		must(m.t, m.call(m.t.Context(), "GET", "/whereby/v1/meetings?limit=2&cursor="+url.QueryEscape(cursor), nil, &page))
		for _, r := range page.Results {
			ids = append(ids, r.ID)
		}
		if more = page.Cursor != nil; more {
			cursor = *page.Cursor
		}
	}
	for _, r := range m.rooms {
		want = append([]string{r.ID}, want...)
	}
	if !slices.Equal(ids, want) {
		m.t.Errorf("the app's meetings are %q, want %q", ids, want)
	}
}
