package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"usher/meeting"
)

// lanesContract is what both stores offer to package webhook.
type lanesContract interface {
	contract
	Exchange(ctx context.Context, x meeting.Exchange) (meeting.Exchanged, error)
	Requeue(ctx context.Context, endpoint string, meetings []string, notices []json.RawMessage) error
	Between(ctx context.Context, from, to time.Time, f func(notice json.RawMessage) error) error
	Attempts(ctx context.Context, endpoint string, dead bool, cursor string, limit int) ([]meeting.Attempted, error)
	Backlog(ctx context.Context, endpoint string) (meeting.Backlog, error)
	Endpoints(ctx context.Context, known string) (all []meeting.StoredEndpoint, version string, err error)
	PutEndpoint(ctx context.Context, id string, was, document json.RawMessage) (bool, error)
	DisableEndpoint(ctx context.Context, id string, why json.RawMessage) error
	DeleteEndpoint(ctx context.Context, id string) error
}

// TestLanes is the conformance suite of lanes: both stores do the same.
func TestLanes(t *testing.T) {
	srv := startServer(t)
	tests := []struct {
		name string
		run  func(t *testing.T, l *lanes)
	}{
		{"claims are settled in order", testClaims},
		{"a claim is given out once, and again after its lease", testLease},
		{"a settlement of a claim that passed on is ignored", testStaleSettlement},
		{"a failure waits and keeps the count", testFailure},
		{"a try that does not count leaves the wait as it is", testUncounted},
		{"a notice that is given up leaves a gap", testGivenUp},
		{"one of which there is nothing to send says nothing", testSkipped},
		{"failures in a row stop all but probes, a success ends it", testFailing},
		{"who asks for it is left alone", testAsk},
		{"what was not tried is due at once", testReleased},
		{"notices can be put back", testRequeue},
		{"the log between two times", testBetween},
		{"tries are logged, newest first", testAttempts},
		{"what waits", testBacklog},
		{"endpoints are kept", testEndpoints},
		{"a deleted endpoint leaves nothing", testDeleted},
	}
	for _, tt := range tests {
		t.Run("redis/"+tt.name, func(t *testing.T) { tt.run(t, &lanes{t: t, st: srv.open()}) })
		t.Run("memory/"+tt.name, func(t *testing.T) { tt.run(t, &lanes{t: t, st: new(Memory)}) })
	}
}

// lanes are those of the endpoint "crm".
type lanes struct {
	t     *testing.T
	st    lanesContract
	calls int
}

// open starts a meeting with n further notices, all for the endpoint, and
// returns its id and its notices.
func (l *lanes) open(room string, n int) (id string, notices []string) {
	l.t.Helper()
	s, c := newScene(l.t, meeting.Created{Room: room})
	s.routes = []string{"crm"}
	c.Routes = [][]string{{"crm"}}
	commit(l.t, l.st, c)
	notices = append(notices, string(encode(c.Notices[0])))
	for i := range n {
		c := s.apply(human(fmt.Sprint("n", i), ""))
		commit(l.t, l.st, c)
		for _, n := range c.Notices {
			notices = append(notices, string(encode(n)))
		}
	}
	return s.m.ID, notices
}

const (
	lease = 10 * time.Second
	probe = 300 * time.Millisecond
	brief = 100 * time.Millisecond // a wait that a test sits out
)

func (l *lanes) exchange(take int, settled ...meeting.Settlement) meeting.Exchanged {
	l.t.Helper()
	return l.do(meeting.Exchange{Take: take, Settled: settled})
}

func (l *lanes) do(x meeting.Exchange) meeting.Exchanged {
	l.t.Helper()
	l.calls++
	x.Endpoint, x.Token, x.Probe = "crm", fmt.Sprint("me.", l.calls), probe
	if x.Lease == 0 {
		x.Lease = lease
	}
	return must(l.st.Exchange(l.t.Context(), x))(l.t)
}

// one takes exactly one claim.
func (l *lanes) one(settled ...meeting.Settlement) meeting.Claim {
	l.t.Helper()
	x := l.exchange(1, settled...)
	if len(x.Claims) != 1 || x.Stale != 0 {
		l.t.Fatalf("exchange = %+v, want one claim and none stale", x)
	}
	return x.Claims[0]
}

// none checks that nothing can be claimed.
func (l *lanes) none(settled ...meeting.Settlement) meeting.Exchanged {
	l.t.Helper()
	x := l.exchange(10, settled...)
	if len(x.Claims) != 0 || x.Stale != 0 {
		l.t.Fatalf("exchange = %+v, want nothing", x)
	}
	return x
}

func ended(c meeting.Claim, v meeting.Verdict) meeting.Settlement {
	return meeting.Settlement{MeetingID: c.MeetingID, Token: c.Token, Verdict: v, Failures: c.Failures, Refusals: c.Refusals}
}

// failed counts one more failure, or one that does not count when wait is 0.
func failed(c meeting.Claim, wait time.Duration) meeting.Settlement {
	s := ended(c, meeting.Failed)
	if s.Schedule = wait; wait > 0 {
		s.Failures++
	}
	return s
}

// faulty is failed, by fault of the endpoint.
func faulty(c meeting.Claim, wait time.Duration) meeting.Settlement {
	s := failed(c, wait)
	s.Fault = true
	return s
}

func testClaims(t *testing.T, l *lanes) {
	want := map[string][]string{}
	for _, room := range []string{"a", "b", "c"} {
		id, notices := l.open(room, 4)
		want[id] = notices
	}
	got := map[string][]string{}
	var settled []meeting.Settlement
	for range 30 {
		x := l.exchange(2, settled...)
		settled = nil
		if len(x.Claims) > 2 {
			t.Fatalf("%d claims, want 2 at most", len(x.Claims))
		}
		for _, c := range x.Claims {
			if !c.Counts || c.Gap || c.Failures != 0 || c.Refusals != 0 {
				t.Errorf("claim = %+v, want a first try", c)
			}
			got[c.MeetingID] = append(got[c.MeetingID], string(c.Notice))
			settled = append(settled, ended(c, meeting.Delivered))
		}
	}
	for id := range want {
		if !slices.Equal(got[id], want[id]) {
			t.Errorf("claimed of %s\n%s, want\n%s", id, got[id], want[id])
		}
	}
	if x := l.none(); x.Next >= 0 {
		t.Errorf("next = %v, want negative", x.Next)
	}
	id, _ := l.open("d", 0)
	if c := l.one(); c.MeetingID != id {
		t.Errorf("claimed %s, want %s", c.MeetingID, id)
	}
}

func testLease(t *testing.T, l *lanes) {
	l.open("a", 1)
	first := l.do(meeting.Exchange{Take: 1, Lease: brief}).Claims[0]
	if x := l.none(); x.Next <= 0 || x.Next > brief {
		t.Errorf("next = %v, want the rest of the lease", x.Next)
	}
	time.Sleep(brief + 10*time.Millisecond)
	again := l.one()
	if string(again.Notice) != string(first.Notice) || again.Token == first.Token {
		t.Errorf("claim = %+v, want the same notice with another token as %+v", again, first)
	}
}

func testStaleSettlement(t *testing.T, l *lanes) {
	_, notices := l.open("a", 1)
	first := l.do(meeting.Exchange{Take: 1, Lease: time.Millisecond}).Claims[0]
	time.Sleep(10 * time.Millisecond)
	again := l.one()
	if x := l.exchange(0, ended(first, meeting.Delivered)); x.Stale != 1 {
		t.Errorf("stale = %d, want 1", x.Stale)
	}
	next := l.one(ended(again, meeting.Delivered))
	if string(next.Notice) != notices[1] {
		t.Errorf("claimed %s, want the second notice", next.Notice)
	}
	if x := l.exchange(0, ended(again, meeting.Delivered)); x.Stale != 1 { // a call made twice
		t.Errorf("stale = %d, want 1", x.Stale)
	}
}

func testFailure(t *testing.T, l *lanes) {
	l.open("a", 1)
	c := l.one()
	s := failed(c, brief)
	s.Refusals = 2
	x := l.none(s)
	if x.Next <= 0 || x.Next > brief {
		t.Errorf("next = %v, want within %v", x.Next, brief)
	}
	time.Sleep(brief + 10*time.Millisecond)
	again := l.one()
	if again.Failures != 1 || again.Refusals != 2 || !again.Counts || string(again.Notice) != string(c.Notice) {
		t.Errorf("claim = %+v, want the same notice with one failure and two refusals", again)
	}
	if next := l.one(ended(again, meeting.Delivered)); next.Failures != 0 || next.Refusals != 0 {
		t.Errorf("claim = %+v, want a fresh count", next)
	}
}

func testUncounted(t *testing.T, l *lanes) {
	l.open("a", 0)
	l.none(failed(l.one(), lease))
	x := l.do(meeting.Exchange{Take: 1, Hurry: true})
	if len(x.Claims) != 1 || x.Claims[0].Counts || x.Claims[0].Failures != 1 {
		t.Fatalf("exchange = %+v, want a try that does not count", x)
	}
	if x := l.none(failed(x.Claims[0], 0)); x.Next < lease/2 || x.Next > lease {
		t.Errorf("next = %v, want what was left of %v", x.Next, lease)
	}
}

func testGivenUp(t *testing.T, l *lanes) {
	ctx := t.Context()
	id, notices := l.open("a", 1)
	l.open("b", 0)
	claims := l.exchange(2).Claims
	i := slices.IndexFunc(claims, func(c meeting.Claim) bool { return c.MeetingID == id })
	s := ended(claims[i], meeting.GivenUp)
	s.Record = json.RawMessage(`{"n":1}`)
	c := l.one(s, ended(claims[1-i], meeting.Delivered))
	if string(c.Notice) != notices[1] || !c.Gap {
		t.Errorf("claim = %+v, want the second notice, with a gap", c)
	}
	dead := must(l.st.Attempts(ctx, "crm", true, "", 10))(t)
	if len(dead) != 1 || string(dead[0].Notice) != notices[0] || string(dead[0].Record) != `{"n":1}` {
		t.Errorf("dead letters = %+v, want the first notice", dead)
	}
	// The last of the lane is given up, and the next one comes later.
	c = l.one(ended(c, meeting.GivenUp))
	if string(c.Notice) != notices[2] || !c.Gap {
		t.Errorf("claim = %+v, want the third notice, with a gap", c)
	}
	l.none(ended(c, meeting.GivenUp))
	if err := l.st.Requeue(ctx, "crm", []string{id, id}, []json.RawMessage{[]byte(notices[0]), []byte(notices[1])}); err != nil {
		t.Fatal(err)
	}
	if c = l.one(); !c.Gap {
		t.Errorf("claim = %+v, want a gap over an empty lane", c)
	}
	if c = l.one(ended(c, meeting.Delivered)); c.Gap {
		t.Errorf("claim = %+v, want no gap after it was told", c)
	}
}

func testSkipped(t *testing.T, l *lanes) {
	_, notices := l.open("a", 2)
	c := l.one(ended(l.one(), meeting.GivenUp))
	c = l.one(ended(c, meeting.Skipped))
	if string(c.Notice) != notices[2] || !c.Gap {
		t.Errorf("claim = %+v, want the third notice, with the gap that was not told yet", c)
	}
	if dead := must(l.st.Attempts(t.Context(), "crm", true, "", 10))(t); len(dead) != 1 {
		t.Errorf("%d dead letters, want the one that was given up", len(dead))
	}
	for i := range failingAfter {
		l.open(fmt.Sprint("room", i), 0)
	}
	var settled []meeting.Settlement
	for _, claim := range l.exchange(failingAfter).Claims {
		settled = append(settled, faulty(claim, lease))
	}
	l.none(settled...)
	x := l.exchange(10, ended(c, meeting.Skipped))
	if len(x.Claims) != 1 || x.FailingSince.IsZero() {
		t.Errorf("exchange = %+v, want the endpoint to fail still, and a probe", x)
	}
}

func testFailing(t *testing.T, l *lanes) {
	for i := range 8 {
		l.open(fmt.Sprint("room", i), 0)
	}
	claims := l.exchange(6).Claims
	var settled []meeting.Settlement
	for _, c := range claims[:5] {
		settled = append(settled, faulty(c, lease))
	}
	x := l.none(settled...) // two more are due, but not for a failing endpoint
	if x.FailingSince.IsZero() || time.Since(x.FailingSince).Abs() > time.Minute {
		t.Errorf("failing since %v, want now", x.FailingSince)
	}
	if x.Next <= 0 || x.Next > probe {
		t.Errorf("next = %v, want the probe within %v", x.Next, probe)
	}
	time.Sleep(probe + 10*time.Millisecond)
	x = l.exchange(10)
	if len(x.Claims) != 1 || !x.Claims[0].Counts {
		t.Fatalf("exchange = %+v, want one probe, with a lane that is due", x)
	}
	l.none() // one at a time
	l.none(faulty(x.Claims[0], lease))
	time.Sleep(probe + 10*time.Millisecond)
	second := l.exchange(10)
	if len(second.Claims) != 1 || second.Claims[0].MeetingID == x.Claims[0].MeetingID {
		t.Fatalf("exchange = %+v, want the next lane", second)
	}
	l.none(faulty(second.Claims[0], lease))
	time.Sleep(probe + 10*time.Millisecond)
	third := l.exchange(10)
	if len(third.Claims) != 1 || third.Claims[0].Counts {
		t.Fatalf("exchange = %+v, want a lane that is not due", third)
	}
	x = l.exchange(10, ended(third.Claims[0], meeting.Delivered))
	// Seven are left; one of them is claimed since before the endpoint failed.
	if len(x.Claims) != 6 || !x.FailingSince.IsZero() {
		t.Errorf("after a success: %d claims, failing since %v; want 6 and not failing", len(x.Claims), x.FailingSince)
	}
	x = l.exchange(0, ended(claims[5], meeting.Delivered))
	if x.Stale != 0 {
		t.Error("the claim from before the failure was lost")
	}
}

func testAsk(t *testing.T, l *lanes) {
	l.open("a", 0)
	l.open("b", 0)
	s := faulty(l.one(), time.Millisecond)
	s.Ask = probe
	x := l.none(s)
	if !x.FailingSince.IsZero() || x.Next <= probe/2 || x.Next > probe {
		t.Errorf("exchange = %+v, want to wait as asked, not failing", x)
	}
	time.Sleep(probe + 10*time.Millisecond)
	if x := l.exchange(10); len(x.Claims) != 2 {
		t.Errorf("%d claims, want 2", len(x.Claims))
	}
}

func testReleased(t *testing.T, l *lanes) {
	l.open("a", 0)
	c := l.one(ended(l.one(), meeting.Released))
	if !c.Counts || c.Failures != 0 {
		t.Errorf("claim = %+v, want a first try", c)
	}
}

func testRequeue(t *testing.T, l *lanes) {
	ctx := t.Context()
	id, notices := l.open("a", 0)
	first := json.RawMessage(notices[0])
	put := func() {
		t.Helper()
		if err := l.st.Requeue(ctx, "crm", []string{id}, []json.RawMessage{first}); err != nil {
			t.Fatal(err)
		}
	}
	put() // waits already
	c := l.one()
	put() // is on its way
	l.none()
	l.none(failed(c, lease))
	put() // waits, and is due now
	l.none(ended(l.one(), meeting.Delivered))
	put()
	if c := l.one(); string(c.Notice) != string(first) {
		t.Errorf("claimed %s, want what was put back", c.Notice)
	}
}

func testBetween(t *testing.T, l *lanes) {
	ctx, start := t.Context(), time.Now()
	_, want := l.open("a", 150)
	var got []string
	collect := func(n json.RawMessage) error {
		got = append(got, string(n))
		return nil
	}
	if err := l.st.Between(ctx, start.Add(-time.Minute), start.Add(time.Hour), collect); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d notices between, want the %d of the meeting in order", len(got), len(want))
	}
	got = nil
	if err := l.st.Between(ctx, start.Add(-time.Hour), start.Add(-time.Minute), collect); err != nil || got != nil {
		t.Errorf("before the meeting: %d notices, %v", len(got), err)
	}
	enough := errors.New("enough")
	if err := l.st.Between(ctx, start.Add(-time.Minute), start.Add(time.Hour), func(json.RawMessage) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error = %v, want what f returned", err)
	}
}

func testAttempts(t *testing.T, l *lanes) {
	ctx := t.Context()
	_, notices := l.open("a", 4)
	c := l.one()
	for i := range notices {
		s := ended(c, meeting.Delivered)
		s.Record = json.RawMessage(fmt.Sprint(i))
		if x := l.exchange(1, s); len(x.Claims) > 0 {
			c = x.Claims[0]
		}
	}
	var got []string
	for cursor := ""; ; {
		page := must(l.st.Attempts(ctx, "crm", false, cursor, 2))(t)
		if len(page) == 0 {
			break
		}
		for _, a := range page {
			if i := len(notices) - 1 - len(got); string(a.Notice) != notices[i] {
				t.Errorf("entry %s is about %s, want %s", a.Record, a.Notice, notices[i])
			}
			got = append(got, string(a.Record))
			cursor = a.Place
		}
	}
	if want := []string{"5", "4", "3", "2", "1", "0"}; !slices.Equal(got, want) {
		t.Errorf("log = %v, want %v", got, want)
	}
	if _, err := l.st.Attempts(ctx, "crm", false, "x", 2); !errors.Is(err, ErrCursor) {
		t.Errorf("error = %v, want ErrCursor", err)
	}
	if dead := must(l.st.Attempts(ctx, "crm", true, "", 2))(t); len(dead) != 0 {
		t.Errorf("dead letters = %v, want none", dead)
	}
}

func testBacklog(t *testing.T, l *lanes) {
	ctx := t.Context()
	if b := must(l.st.Backlog(ctx, "crm"))(t); b != (meeting.Backlog{}) {
		t.Errorf("backlog = %+v, want none", b)
	}
	_, notices := l.open("a", 2)
	l.open("b", 1)
	b := must(l.st.Backlog(ctx, "crm"))(t)
	if want := timestampOf([]byte(notices[0])); b.Lanes != 2 || b.Notices != 7 || !b.Oldest.Equal(want) || !b.FailingSince.IsZero() {
		t.Errorf("backlog = %+v, want 7 notices in 2 lanes since %v", b, want)
	}
	for range 2 {
		s := faulty(l.one(), time.Millisecond)
		s.Failures = 2
		l.exchange(0, s)
	}
	if b := must(l.st.Backlog(ctx, "crm"))(t); b.FailingSince.IsZero() {
		t.Errorf("backlog = %+v, want failing", b)
	}
}

func testEndpoints(t *testing.T, l *lanes) {
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

func testDeleted(t *testing.T, l *lanes) {
	ctx := t.Context()
	l.open("a", 2)
	l.open("b", 1)
	s := ended(l.one(), meeting.GivenUp)
	s.Record, s.Fault = json.RawMessage("1"), true
	l.exchange(0, s)
	if err := l.st.DeleteEndpoint(ctx, "crm"); err != nil {
		t.Fatal(err)
	}
	l.none()
	if b := must(l.st.Backlog(ctx, "crm"))(t); b != (meeting.Backlog{}) {
		t.Errorf("backlog = %+v, want none", b)
	}
	if r, ok := l.st.(*Redis); ok {
		if left := must(r.rdb.Keys(ctx, "*crm*").Result())(t); slices.ContainsFunc(left, func(k string) bool {
			return len(k) > len(r.keys) && k[:len(r.keys)] == string(r.keys)
		}) {
			t.Errorf("left behind: %v", left)
		}
	}
}
