package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/internal/memorystore"
	"usher/meeting"
)

// queuesContract is what both stores offer to package webhook.
type queuesContract interface {
	contract
	LoadQueue(ctx context.Context, endpoint string) ([]string, map[string]meeting.Retry, meeting.Health, error)
	QueuedEndpoints(ctx context.Context) ([]string, error)
	ReadQueues(ctx context.Context, endpoint string, meetings []string, limit int) ([][]json.RawMessage, error)
	Ack(ctx context.Context, a meeting.Acks) error
	Requeue(ctx context.Context, endpoint string, lists map[string][]json.RawMessage, inFront bool) error
	Between(ctx context.Context, from, to time.Time, f func(events []json.RawMessage) error) error
	Attempts(ctx context.Context, endpoint string, dead bool, cursor string, limit int) ([]meeting.Tried, error)
	Backlog(ctx context.Context, endpoint string) (meeting.Backlog, error)
	Endpoints(ctx context.Context, known string) (all []meeting.StoredEndpoint, version string, err error)
	PutEndpoint(ctx context.Context, id string, was, document json.RawMessage) (bool, error)
	DisableEndpoint(ctx context.Context, id string, why json.RawMessage) error
	DeleteEndpoint(ctx context.Context, id string) error
}

// TestQueues is the conformance suite of what waits for endpoints: both stores
// do the same.
func TestQueues(t *testing.T) {
	srv := startServer(t)
	tests := []struct {
		name string
		run  func(t *testing.T, l *queues)
	}{
		{"acks remove up to an event", testAcks},
		{"events can be put back", testRequeue},
		{"the log between two times", testBetween},
		{"tries are logged, newest first", testAttempts},
		{"what waits", testBacklog},
		{"endpoints are kept", testEndpoints},
		{"a deleted endpoint leaves nothing", testDeleted},
	}
	for _, tt := range tests {
		t.Run("redis/"+tt.name, func(t *testing.T) { tt.run(t, &queues{t: t, st: srv.open()}) })
		t.Run("memory/"+tt.name, func(t *testing.T) { tt.run(t, &queues{t: t, st: new(memorystore.Memory)}) })
	}
}

// queues are the lists of the endpoint "crm".
type queues struct {
	t  *testing.T
	st queuesContract
}

// open starts a meeting with n further events, all for the endpoint, and
// returns its id and its events.
func (l *queues) open(room string, n int) (id string, events []string) {
	l.t.Helper()
	s, c := newScene(l.t, meeting.Created{Room: room})
	s.routes = []string{"crm"}
	c.Routes = [][]string{{"crm"}}
	commit(l.t, l.st, c)
	events = append(events, string(encode(c.Events[0])))
	for i := range n {
		c := s.apply(human(fmt.Sprint("n", i), ""))
		commit(l.t, l.st, c)
		for _, n := range c.Events {
			events = append(events, string(encode(n)))
		}
	}
	return s.m.ID, events
}

func (l *queues) ack(a meeting.Acks) {
	l.t.Helper()
	a.Endpoint = "crm"
	if err := l.st.Ack(l.t.Context(), a); err != nil {
		l.t.Fatal(err)
	}
}

// upTo acknowledges a meeting's list up to an event.
func upTo(mtg, event string, count int) meeting.Acks {
	return meeting.Acks{Done: []meeting.Ack{{MeetingID: mtg, Last: eventID(event), Count: count}}}
}

func eventID(event string) string {
	var n struct{ ID string }
	_ = json.Unmarshal([]byte(event), &n) // what is none is its own name
	if n.ID == "" {
		return event
	}
	return n.ID
}

// holds checks what a list holds.
func (l *queues) holds(mtg string, want ...string) {
	l.t.Helper()
	var got []string
	for _, event := range must(l.st.ReadQueues(l.t.Context(), "crm", []string{mtg}, 1000))(l.t)[0] {
		got = append(got, string(event))
	}
	if !slices.Equal(got, want) {
		l.t.Errorf("the list holds %d events\n%s, want %d\n%s", len(got), got, len(want), want)
	}
	meetings, _, _, err := l.st.LoadQueue(l.t.Context(), "crm")
	if known := slices.Contains(meetings, mtg); err != nil || known != (len(want) > 0) {
		l.t.Errorf("meetings with a list = %v, %v", meetings, err)
	}
}

func testAcks(t *testing.T, l *queues) {
	id, events := l.open("a", 4)
	other, others := l.open("b", 0)
	l.ack(upTo(id, events[1], 2))
	l.holds(id, events[2:]...)
	l.ack(upTo(id, events[1], 2)) // made twice
	l.holds(id, events[2:]...)
	l.ack(upTo(id, events[3], 4)) // together with what was stored already
	l.holds(id, events[4:]...)
	l.holds(other, others...)
	if lists := must(l.st.ReadQueues(t.Context(), "crm", []string{"mtg_none", id, other}, 1))(t); len(lists[0]) != 0 || len(lists[1]) != 1 || len(lists[2]) != 1 {
		t.Errorf("first events = %s, want none, one and one", lists)
	}
	l.ack(upTo(id, events[len(events)-1], len(events)-4))
	l.holds(id)
	if err := l.st.Requeue(t.Context(), "crm", map[string][]json.RawMessage{id: raw("garbage", events[0])}, false); err != nil {
		t.Fatal(err)
	}
	l.ack(upTo(id, "garbage", 1))
	l.holds(id, events[0])
}

func testRequeue(t *testing.T, l *queues) {
	id, events := l.open("a", 0)
	put := func() {
		t.Helper()
		if err := l.st.Requeue(t.Context(), "crm", map[string][]json.RawMessage{id: raw(events[0])}, false); err != nil {
			t.Fatal(err)
		}
	}
	put() // is the first one already
	l.holds(id, events...)
	l.ack(upTo(id, events[0], 1))
	put()
	l.holds(id, events[0])
}

func testBetween(t *testing.T, l *queues) {
	ctx, start := t.Context(), time.Now()
	_, want := l.open("a", 150)
	var got []string
	collect := func(page []json.RawMessage) error {
		for _, n := range page {
			got = append(got, string(n))
		}
		return nil
	}
	if err := l.st.Between(ctx, start.Add(-time.Minute), start.Add(time.Hour), collect); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d events between, want the %d of the meeting in order", len(got), len(want))
	}
	got = nil
	if err := l.st.Between(ctx, start.Add(-time.Hour), start.Add(-time.Minute), collect); err != nil || got != nil {
		t.Errorf("before the meeting: %d events, %v", len(got), err)
	}
	enough := errors.New("enough")
	if err := l.st.Between(ctx, start.Add(-time.Minute), start.Add(time.Hour), func([]json.RawMessage) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error = %v, want what f returned", err)
	}
}

func testAttempts(t *testing.T, l *queues) {
	_, events := l.open("a", 4)
	for i, event := range events {
		l.ack(meeting.Acks{Tried: []meeting.Tried{{Record: json.RawMessage(fmt.Sprint(i)), Event: json.RawMessage(event), Dead: i == 3}}})
	}
	var got []string
	for cursor := ""; ; {
		page := must(l.st.Attempts(t.Context(), "crm", false, cursor, 2))(t)
		if len(page) == 0 {
			break
		}
		for _, a := range page {
			if i := len(events) - 1 - len(got); string(a.Event) != events[i] {
				t.Errorf("entry %s is about %s, want %s", a.Record, a.Event, events[i])
			}
			got = append(got, string(a.Record))
			cursor = a.Place
		}
	}
	if want := []string{"5", "4", "3", "2", "1", "0"}; !slices.Equal(got, want) {
		t.Errorf("log = %v, want %v", got, want)
	}
	if _, err := l.st.Attempts(t.Context(), "crm", false, "x", 2); !errors.Is(err, ErrCursor) && !errors.Is(err, memorystore.ErrCursor) {
		t.Errorf("error = %v, want ErrCursor", err)
	}
	if dead := must(l.st.Attempts(t.Context(), "crm", true, "", 2))(t); len(dead) != 1 || string(dead[0].Event) != events[3] {
		t.Errorf("dead letters = %v, want one", dead)
	}
}

func testBacklog(t *testing.T, l *queues) {
	if b := must(l.st.Backlog(t.Context(), "crm"))(t); b != (meeting.Backlog{}) {
		t.Errorf("backlog = %+v, want none", b)
	}
	_, events := l.open("a", 2)
	l.open("b", 1)
	b := must(l.st.Backlog(t.Context(), "crm"))(t)
	if want := must(decode[meeting.Event](events[0], "event"))(t).Timestamp; b.Meetings != 2 || b.Events != 7 || !b.Oldest.Equal(want.Time) || !b.FailingSince.IsZero() {
		t.Errorf("backlog = %+v, want 7 events of 2 meetings since %v", b, want)
	}
}

func testEndpoints(t *testing.T, l *queues) {
	ctx := t.Context()
	all, v0, err := l.st.Endpoints(ctx, "")
	if err != nil || len(all) != 0 || v0 == "" {
		t.Fatalf("endpoints = %v, %q, %v; want none, with a version", all, v0, err)
	}
	put := func(was, doc string, want bool) {
		t.Helper()
		if done := must(l.st.PutEndpoint(ctx, "whk_1", []byte(was), []byte(doc)))(t); done != want {
			t.Errorf("put %s for %s = %v, want %v", doc, was, done, want)
		}
	}
	put("", "one", true)
	put("", "other", false)
	put("one", "two", true)
	if err := l.st.DisableEndpoint(ctx, "whk_1", []byte("why")); err != nil {
		t.Fatal(err)
	}
	if err := l.st.DisableEndpoint(ctx, "whk_fixed", []byte("because")); err != nil {
		t.Fatal(err)
	}
	read := func() (string, string) {
		t.Helper()
		all, v, err := l.st.Endpoints(ctx, v0)
		if err != nil || v == v0 {
			t.Fatalf("version = %q, %v; want another than %q", v, err, v0)
		}
		text := ""
		slices.SortFunc(all, func(a, b meeting.StoredEndpoint) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) })
		for _, e := range all {
			text += fmt.Sprintf("%s=%s(%s) ", e.ID, e.Document, e.Disabled)
		}
		return text, v
	}
	text, v := read()
	if want := "whk_1=two(why) whk_fixed=(because) "; text != want {
		t.Errorf("endpoints = %s, want %s", text, want)
	}
	if all, same, err := l.st.Endpoints(ctx, v); all != nil || same != v || err != nil {
		t.Errorf("endpoints at the version known = %v, %q, %v; want nothing", all, same, err)
	}
	v0 = v
	for _, err := range []error{l.st.DisableEndpoint(ctx, "whk_fixed", nil), l.st.DeleteEndpoint(ctx, "whk_1")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if text, _ := read(); text != "" {
		t.Errorf("endpoints = %s, want none", text)
	}
}

func testDeleted(t *testing.T, l *queues) {
	ctx := t.Context()
	l.open("a", 2)
	l.open("b", 1)
	if _, _, _, err := l.st.LoadQueue(ctx, "crm"); err != nil {
		t.Fatal(err)
	}
	if ids := must(l.st.QueuedEndpoints(ctx))(t); !slices.Equal(ids, []string{"crm"}) {
		t.Errorf("endpoints with lists = %v, want crm", ids)
	}
	l.ack(meeting.Acks{
		Retries: map[string]meeting.Retry{"a": {Failures: 1}}, Health: &meeting.Health{Failures: 1},
		Tried: []meeting.Tried{{Record: json.RawMessage("1"), Event: json.RawMessage("2"), Dead: true}},
	})
	if err := l.st.DeleteEndpoint(ctx, "crm"); err != nil {
		t.Fatal(err)
	}
	if b := must(l.st.Backlog(ctx, "crm"))(t); b != (meeting.Backlog{}) {
		t.Errorf("backlog = %+v, want none", b)
	}
	if ids := must(l.st.QueuedEndpoints(ctx))(t); len(ids) != 0 {
		t.Errorf("endpoints with lists = %v, want none", ids)
	}
	if r, ok := l.st.(*Redis); ok {
		left := slices.DeleteFunc(must(r.rdb.Keys(ctx, "*crm*").Result())(t), func(k string) bool {
			return !strings.HasPrefix(k, string(r.keys))
		})
		if len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// TestRetriesAreKept proves that what a later leader needs to know is stored, and
// removed when there is nothing left to know.
func TestRetriesAreKept(t *testing.T) {
	r := startServer(t).open()
	l := &queues{t: t, st: r}
	id, events := l.open("a", 0)
	load := func() (map[string]meeting.Retry, meeting.Health) {
		t.Helper()
		meetings, retries, h, err := r.LoadQueue(t.Context(), "crm")
		if err != nil || !slices.Equal(meetings, []string{id}) {
			t.Fatalf("meetings = %v, %v; want %s", meetings, err, id)
		}
		return retries, h
	}
	want := meeting.Retry{Refused: time.Hour, Failures: 3, Refusals: 1, Due: 20 * time.Minute, Gap: true}
	health := meeting.Health{Since: 2 * time.Hour, Accepted: time.Minute, Failures: 9, Refusals: 2, Failing: true, Stalled: true, Variant: 1}
	l.ack(meeting.Acks{Retries: map[string]meeting.Retry{id: want, "mtg_other": {Gap: true}}, Health: &health})
	if retries, h := load(); len(retries) != 2 || retries[id] != want || !retries["mtg_other"].Gap || h != health {
		t.Errorf("stored are %+v and %+v, want %+v and %+v", retries, h, want, health)
	}
	if b := must(r.Backlog(t.Context(), "crm"))(t); time.Since(b.FailingSince).Round(time.Minute) != 2*time.Hour {
		t.Errorf("failing since %v, want for two hours", b.FailingSince)
	}
	// What is unreadable is no reason to deliver nothing.
	if err := r.rdb.HSet(t.Context(), r.keys.retry("crm"), "mtg_other", "{").Err(); err != nil {
		t.Fatal(err)
	}
	if retries, h := load(); len(retries) != 1 || retries[id] != want || h != health {
		t.Errorf("beside what is unreadable: %+v, %+v; want the others", retries, h)
	}
	l.ack(meeting.Acks{Retries: map[string]meeting.Retry{id: {}, "mtg_other": {}}, Health: new(meeting.Health)})
	if retries, h := load(); len(retries) != 0 || h != (meeting.Health{}) {
		t.Errorf("stored are %+v and %+v, want nothing", retries, h)
	}
	l.holds(id, events...)
}

// TestQueuesAreFenced proves that a process that does not know yet that another
// one leads changes nothing.
func TestQueuesAreFenced(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	l := &queues{t: t, st: r}
	id, events := l.open("a", 1)
	srv.do("SET", r.keys.fence(), r.fence.Load()+1)
	a := upTo(id, events[0], 1)
	a.Endpoint, a.Health = "crm", &meeting.Health{Failing: true}
	_, _, _, err := r.LoadQueue(t.Context(), "crm")
	for what, err := range map[string]error{
		"ack": r.Ack(t.Context(), a), "load": err,
		"requeue": r.Requeue(t.Context(), "crm", map[string][]json.RawMessage{id: raw("{}")}, false),
	} {
		if !errors.Is(err, meeting.ErrFenced) {
			t.Errorf("%s = %v, want ErrFenced", what, err)
		}
	}
	srv.do("DEL", r.keys.fence())
	l.holds(id, events...)
	if _, _, h, _ := r.LoadQueue(t.Context(), "crm"); h != (meeting.Health{}) {
		t.Errorf("health = %+v, want none", h)
	}
}

// TestOneWritePerEndpoint commits a meeting's end of thirty people to a hundred endpoints.
func TestOneWritePerEndpoint(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, r, c)
	for i := range 30 {
		commit(t, r, s.apply(human(fmt.Sprint("n", i), "")))
	}
	end := s.apply(meeting.RoomGone{Reason: meeting.LeftDestroyed})
	end.Routes = nil
	var endpoints []string
	for i := range 100 {
		endpoints = append(endpoints, fmt.Sprint("whk_", i))
	}
	for range end.Events {
		end.Routes = append(end.Routes, endpoints)
	}
	srv.do("CONFIG", "RESETSTAT")
	eventually(t, r, end) // a busy machine may take longer than a call; a repetition writes nothing
	calls := map[string]int{}
	for line := range strings.Lines(must(srv.raw.Info(t.Context(), "commandstats").Result())(t)) {
		var n int
		if name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls="); ok {
			_, _ = fmt.Sscanf(rest, "%d", &n) // what is no number is none
			calls[name] = n
		}
	}
	if calls["rpush"] != 100 || calls["sadd"] != 100 {
		t.Errorf("%d RPUSH and %d SADD for 100 endpoints, want one each", calls["rpush"], calls["sadd"])
	}
	for _, id := range []string{"whk_0", "whk_99"} {
		list := must(r.ReadQueues(t.Context(), id, []string{s.m.ID}, 1000))(t)[0]
		if len(list) != len(end.Events) || string(list[len(list)-1]) != string(encode(end.Events[len(list)-1])) {
			t.Errorf("%d events for %s, want %d in order", len(list), id, len(end.Events))
		}
	}
}

// TestRequeueInFront puts events back into an emptied Redis to which others have
// been committed since.
func TestRequeueInFront(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	l := &queues{t: t, st: r}
	id, events := l.open("a", 5)
	other, others := l.open("b", 1)
	k := r.keys
	must(0, r.rdb.Del(t.Context(), k.queues(), k.queued("crm"), k.queue("crm", id), k.queue("crm", other)).Err())(t)
	if err := r.Requeue(t.Context(), "crm", map[string][]json.RawMessage{id: raw(events[3:5]...)}, false); err != nil { // committed since
		t.Fatal(err)
	}
	for range 2 { // the second time changes nothing
		lists := map[string][]json.RawMessage{id: raw(events[:4]...), other: raw(others...)}
		if err := r.Requeue(t.Context(), "crm", lists, true); err != nil {
			t.Fatal(err)
		}
		l.holds(id, events[:5]...)
		l.holds(other, others...)
	}
	if err := r.Requeue(t.Context(), "idle", nil, true); err != nil {
		t.Fatal(err)
	}
	if got := must(r.QueuedEndpoints(t.Context()))(t); !slices.Contains(got, "idle") || !slices.Contains(got, "crm") {
		t.Errorf("endpoints with lists = %v, want crm and idle", got)
	}
}

func raw(events ...string) (all []json.RawMessage) {
	for _, event := range events {
		all = append(all, json.RawMessage(event))
	}
	return all
}
