package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/api"
	"usher/internal/child"
	"usher/internal/sim"
	"usher/internal/stack"
	"usher/internal/stack/stacktest"
	"usher/meeting"
	"usher/store"
	"usher/token"
)

// patience bounds a wait for what takes seconds on an idle machine at most,
// the lease of a dead leader among it. It only says when to give up.
const patience = time.Minute

// scene is a test's own site, with a Redis of its own that outlives usher.
type scene struct {
	*localSite
	t     *testing.T
	redis *child.Redis
	log   *logText
	id    string // of the meeting
	room  string

	reader    *store.Redis // of what usher writes, at readerURL
	readerURL string
}

// newSite starts everything but usher.
func newSite(t *testing.T, extra ...string) *scene {
	t.Helper()
	return newSiteOn(t, func(*stack.ProsodyConfig) {}, extra...)
}

// newSiteOn does so with another Prosody: edit changes its configuration.
func newSiteOn(t *testing.T, edit func(*stack.ProsodyConfig), extra ...string) *scene {
	t.Helper()
	t.Parallel() // nothing is shared, and most tests wait for a timeout
	s := &scene{t: t, redis: stacktest.Redis(t), log: &logText{}}
	must(t, beginStore(t.Context(), s.redis.URL))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", s.log)
		}
	})
	var err error
	s.localSite, err = startSite(t.Context(), t.TempDir(), newLog(s.log, slog.LevelInfo), edit,
		append([]string{"--redis-url=" + s.redis.URL}, extra...)...)
	must(t, err)
	s.at = addresses{api: s.cfg.Listen, redis: s.redis.URL}
	t.Cleanup(func() {
		if err := s.site.StopUsher(); err != nil {
			t.Errorf("a part of the site ended: %v", err)
		}
		s.prosody.Kill()
	})
	return s
}

// newScene starts the site and usher, and makes a meeting.
func newScene(t *testing.T, extra ...string) *scene {
	t.Helper()
	return newSceneOn(t, func(*stack.ProsodyConfig) {}, extra...)
}

// newSceneOn does so with another Prosody.
func newSceneOn(t *testing.T, edit func(*stack.ProsodyConfig), extra ...string) *scene {
	t.Helper()
	s := newSiteOn(t, edit, extra...)
	must(t, s.startUsher(t.Context(), newLog(s.log, slog.LevelInfo)))
	s.waitReady("")
	s.create("standup")
	return s
}

func (s *scene) create(room string) {
	s.t.Helper()
	var m meeting.MeetingInfo
	must(s.t, s.call(s.t.Context(), "POST", "/v1/meetings", map[string]any{"room": room}, &m))
	s.id, s.room = m.ID, m.Room
}

// person returns somebody who is gone at the end of the test; user is empty
// for a guest.
func (s *scene) person(name, user string) *sim.Person {
	s.t.Helper()
	ticket := ""
	if user != "" {
		var err error
		ticket, _, err = s.tokens.Issue(time.Now(), token.Claims{Room: s.room, User: token.User{ID: user, Name: name}})
		must(s.t, err)
	}
	p := sim.NewPerson(s.sim, s.room, name, ticket)
	s.t.Cleanup(p.Drop)
	return p
}

// enter lets people join, one after the other, and waits until each is told.
func (s *scene) enter(people ...*sim.Person) {
	s.t.Helper()
	for _, p := range people {
		told := len(s.story())
		must(s.t, p.Join(within(s.t)))
		s.until("the join is in the event log", func() bool { return len(s.story()) > told })
	}
}

// story returns what was recorded of people and sessions, after checking that
// the log has no gap: one line for each event, "joined Ada".
func (s *scene) story() []string {
	s.t.Helper()
	var lines []string
	for _, n := range s.events() {
		line, _ := strings.CutPrefix(n.String(), "participant.")
		if n.Type != meeting.ParticipantUpdated {
			lines = append(lines, line)
		}
	}
	return lines
}

// events returns the meeting's events.
func (s *scene) events() []logged {
	s.t.Helper()
	rdb := s.store()
	var list []logged
	for after := ""; ; {
		entries, err := rdb.Events(s.t.Context(), after, store.MaxPage)
		must(s.t, err)
		if len(entries) == 0 {
			return list
		}
		for _, e := range entries {
			after = e.ID
			var n logged
			must(s.t, json.Unmarshal(e.Event, &n))
			if n.MeetingID != s.id {
				continue
			}
			if list = append(list, n); n.Seq != int64(len(list)) {
				s.t.Fatalf("event %d of the meeting has seq %d: %v", len(list), n.Seq, list)
			}
		}
	}
}

// store returns the store that usher writes to, for reading it.
func (s *scene) store() *store.Redis {
	s.t.Helper()
	if s.reader == nil || s.readerURL != s.at.redis {
		rdb, err := store.NewRedis(store.Config{URL: s.at.redis, Site: s.cfg.Site})
		must(s.t, err)
		s.t.Cleanup(func() { _ = rdb.Close() })
		s.reader, s.readerURL = rdb, s.at.redis
	}
	return s.reader
}

// tells waits until the story is as wanted, after its first event, the
// meeting's creation.
func (s *scene) tells(want ...string) {
	s.t.Helper()
	s.tellsThen(want)
}

// tellsThen waits until the story is as wanted and ends with the events of
// last, whose order usher cannot know.
func (s *scene) tellsThen(want []string, last ...string) {
	s.t.Helper()
	want = append([]string{"meeting.created"}, want...)
	ordered := len(want)
	want = append(want, last...)
	slices.Sort(want[ordered:])
	var got []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got = s.story(); len(got) >= len(want) {
			break
		}
	}
	slices.Sort(got[min(ordered, len(got)):])
	if !slices.Equal(got, want) {
		s.t.Fatalf("recorded %q, want %q", got, want)
	}
}

// meeting returns the meeting as the API has it; nil while it does not answer.
func (s *scene) meeting() *meeting.MeetingInfo {
	var m meeting.MeetingInfo
	if s.call(s.t.Context(), "GET", "/v1/meetings/"+s.id, nil, &m) != nil {
		return nil
	}
	return &m
}

// counts waits until the API shows so many people, seen with open eyes.
func (s *scene) counts(humans int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d humans, not stale", humans), func() bool {
		m := s.meeting()
		return m != nil && m.Occupancy.Humans == humans && m.StaleSince == nil
	})
}

// staleWith waits until the API shows so many people as of some time ago.
func (s *scene) staleWith(humans int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d humans, stale", humans), func() bool {
		m := s.meeting()
		return m != nil && m.Occupancy.Humans == humans && m.StaleSince != nil
	})
}

// oneSession checks that all that happened was one session.
func (s *scene) oneSession() {
	s.t.Helper()
	var sessions struct{ Data []meeting.SessionInfo }
	must(s.t, s.call(s.t.Context(), "GET", "/v1/meetings/"+s.id+"/sessions", nil, &sessions))
	if len(sessions.Data) != 1 {
		s.t.Errorf("%d sessions, want 1", len(sessions.Data))
	}
}

// readiness returns what /readyz says.
func (s *scene) readiness() (r api.Readiness, err error) {
	resp, err := http.Get("http://" + s.at.admin + "/readyz")
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	if err = json.NewDecoder(resp.Body).Decode(&r); err == nil && r.Ready != (resp.StatusCode == http.StatusOK) {
		err = fmt.Errorf("ready is %v and the status %s", r.Ready, resp.Status)
	}
	return r, err
}

// notReady returns what fails by /readyz, and what to do, by check; empty when ready.
func (s *scene) notReady() map[string]string {
	r, err := s.readiness()
	if err != nil {
		return map[string]string{"usher": err.Error()}
	}
	failing := map[string]string{}
	for _, c := range r.Checks {
		if c.State == api.CheckFail {
			failing[c.Name] = c.Seen + "; " + c.Do
		}
	}
	return failing
}

// leads reports whether usher leads and has loaded its meetings.
func (s *scene) leads() bool {
	r, err := s.readiness()
	return err == nil && r.Role == api.RoleLeader && s.notReady()["meetings"] == ""
}

// check returns what /readyz says of one.
func (s *scene) check(name string) api.Finding {
	s.t.Helper()
	r, err := s.readiness()
	must(s.t, err)
	for _, c := range r.Checks {
		if c.Name == name {
			return c.Finding
		}
	}
	return api.Finding{}
}

// waitReady waits until exactly the checks named fail by /readyz, with a space
// between; "" is ready, as the leader. leader is the one that fails while nobody leads.
func (s *scene) waitReady(complaints string) {
	s.t.Helper()
	var got map[string]string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		got = s.notReady()
		names := make([]string, 0, len(got))
		for name := range got {
			names = append(names, name)
		}
		slices.Sort(names)
		if strings.Join(names, " ") == complaints && (complaints != "" || s.leads()) {
			return
		}
	}
	s.t.Fatalf("/readyz complains of %v, want of %q", got, complaints)
}

// standsBy waits until /readyz says that usher is ready to take over.
func (s *scene) standsBy() {
	s.t.Helper()
	s.until("usher stands by", func() bool {
		r, err := s.readiness()
		return err == nil && r.Ready && r.Role == api.RoleStandby
	})
}

// metric returns the sum of the samples whose name and labels begin so.
func (s *scene) metric(prefix string) float64 {
	s.t.Helper()
	sum, found := s.sample(prefix)
	if !found {
		s.t.Fatalf("no metric %s", prefix)
	}
	return sum
}

// sample returns the same, and whether there is any: some are a leader's alone.
func (s *scene) sample(prefix string) (sum float64, found bool) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.at.admin + "/metrics")
	must(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(s.t, err)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, prefix) {
			value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(strings.TrimSpace(line), ' '):]), 64)
			must(s.t, err)
			sum, found = sum+value, true
		}
	}
	return sum, found
}

// refused checks that a command is answered with the status.
func (s *scene) refused(status int) {
	s.t.Helper()
	err := s.call(s.t.Context(), "POST", "/v1/meetings", map[string]any{}, nil)
	if err == nil || !strings.Contains(err.Error(), strconv.Itoa(status)) {
		s.t.Errorf("a command gets %v, want %d", err, status)
	}
}

// client returns a connection to the scene's Redis.
func (s *scene) client() *redis.Client {
	s.t.Helper()
	options, err := redis.ParseURL(s.redis.URL)
	must(s.t, err)
	c := redis.NewClient(options)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *scene) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not so within %v: %s; recorded %q, the API has %+v, /readyz complains of %v",
				patience, what, s.story(), s.meeting(), s.notReady())
		}
	}
}

// logText collects a log; safe for concurrent use.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// lines counts the log's lines that contain all the words.
func (l *logText) lines(words ...string) int {
	n := 0
	for line := range strings.Lines(l.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within bounds one step against real servers.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func freeAddr(t testing.TB) string {
	t.Helper()
	addr, err := stack.FreeAddr()
	must(t, err)
	return addr
}
