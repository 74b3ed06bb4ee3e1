package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"usher/meeting"
)

// patience is more than any call may take, on a machine that is busy.
const patience = 10 * time.Second

// unavailable checks that the error may pass, and how it was counted.
func unavailable(t *testing.T, r *Redis, err error, reason string) {
	t.Helper()
	if !errors.Is(err, meeting.ErrUnavailable) {
		t.Errorf("error = %v, want one that wraps ErrUnavailable", err)
	}
	if got := testutil.ToFloat64(r.metrics.errors[reason]); got == 0 {
		t.Errorf("no error was counted under %s: %v", reason, err)
	}
}

// eventually repeats a commit until the store takes it, as the tracker does.
func eventually(t *testing.T, r *Redis, c meeting.Commit) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := r.Commit(t.Context(), c)
		if err == nil {
			return
		}
		if !errors.Is(err, meeting.ErrUnavailable) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestKilledServer(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, r, c)
	for i := range 50 {
		s.play(r, human(fmt.Sprint("n", i), ""))
	}
	srv.Kill()
	err := r.Commit(t.Context(), s.apply(human("late", "")))
	unavailable(t, r, err, reasonConn)
	unavailable(t, r, r.Ping(t.Context()), reasonConn)
	srv.start()
	// What was acknowledged is there; the last change was not.
	got := must(r.Load(t.Context(), s.m.ID))(t)
	if got.Version != s.m.Version-1 || len(got.People) != 50 {
		t.Errorf("version %d with %d people after the restart, want %d with 50", got.Version, len(got.People), s.m.Version-1)
	}
	if got := must(r.Events(t.Context(), "", MaxPage))(t); len(got) != 52 {
		t.Errorf("%d events after the restart, want 52", len(got))
	}
}

func TestHungServer(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	s, c := newScene(t, meeting.Created{Room: "a"})
	s.routes = []string{"crm"}
	commit(t, r, c)
	join := s.apply(human("ada", ""))

	srv.Signal(syscall.SIGSTOP)
	start := time.Now()
	err := r.Commit(t.Context(), join) // arrives, and is worked off after the thaw
	if took := time.Since(start); took > patience {
		t.Errorf("commit came back after %v", took)
	}
	unavailable(t, r, err, reasonTimeout)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	unavailable(t, r, r.Commit(ctx, join), reasonTimeout)
	srv.Signal(syscall.SIGCONT)

	eventually(t, r, join)
	if got := must(r.Events(t.Context(), "", 10))(t); len(got) != 3 {
		t.Errorf("%d events in the log, want 3", len(got))
	}
	if got := must(srv.raw.LLen(t.Context(), r.keys.queue("crm", s.m.ID)).Result())(t); got != 2 {
		t.Errorf("%d events in the list, want 2", got)
	}
}

func TestFullServer(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, r, c)
	srv.do("CONFIG", "SET", "maxmemory", "1mb")
	join := s.apply(human("ada", ""))
	before := must(srv.raw.DBSize(t.Context()).Result())(t)
	unavailable(t, r, r.Commit(t.Context(), join), reasonOOM)
	if got := must(srv.raw.DBSize(t.Context()).Result())(t); got != before {
		t.Errorf("%d keys after a refused commit, want %d", got, before)
	}
	if got := must(r.Load(t.Context(), s.m.ID))(t); got.Version != 1 {
		t.Errorf("version = %d after a refused commit, want 1", got.Version)
	}
	srv.do("CONFIG", "SET", "maxmemory", "0")
	eventually(t, r, join)
	if got := must(r.Events(t.Context(), "", 10))(t); len(got) != 3 {
		t.Errorf("%d events in the log, want 3", len(got))
	}
}

func TestReadOnlyServer(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, r, c)
	join := s.apply(human("ada", ""))
	// A port where nobody listens: the replica keeps its data and takes no writes.
	srv.do("REPLICAOF", "127.0.0.1", "1")
	dialled := r.rdb.PoolStats().Misses
	unavailable(t, r, r.Commit(t.Context(), join), reasonReadOnly)
	unavailable(t, r, r.Commit(t.Context(), join), reasonReadOnly)
	if got := r.rdb.PoolStats().Misses; got == dialled {
		t.Error("the connection to a server that takes no writes was used again")
	}
	srv.do("REPLICAOF", "NO", "ONE")
	eventually(t, r, join)
	sameMeeting(t, must(r.Load(t.Context(), s.m.ID))(t), s.m)
}

func TestEmptiedServer(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, r, c)
	s.play(r, human("ada", "u1"), human("bob", ""))
	srv.do("FLUSHALL")
	srv.do("SCRIPT", "FLUSH")
	c = s.apply(gone("bob"))
	var conflict *meeting.ConflictError
	if err := r.Commit(t.Context(), c); !errors.As(err, &conflict) || conflict.Stored != 0 {
		t.Fatalf("commit to an empty server: %v, want conflict with version 0", err)
	}
	c.Whole = true
	c.People = append(c.People, s.m.People...)
	c.Sessions = []meeting.Session{s.m.Session}
	commit(t, r, c)
	if got := must(r.Open(t.Context()))(t); len(got) != 1 {
		t.Fatalf("%d open meetings, want 1", len(got))
	} else {
		sameMeeting(t, got[0], s.m)
	}
}

func TestFence(t *testing.T) {
	srv := startServer(t)
	old, other := srv.openQuick("fence"), srv.openQuick("fence")
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, old, c)
	joined := s.apply(human("ada", ""))
	err := other.Lead(t.Context(), "new", func(ctx context.Context) error {
		if err := old.Commit(ctx, joined); !errors.Is(err, meeting.ErrFenced) || errors.Is(err, meeting.ErrUnavailable) {
			t.Errorf("commit of somebody who does not lead: %v, want ErrFenced", err)
		}
		return other.Commit(ctx, joined)
	}, nothing)
	if err != nil {
		t.Error(err)
	}
	// Nor does it help that nobody leads any more.
	if err := old.Commit(t.Context(), s.apply(gone("ada"))); !errors.Is(err, meeting.ErrFenced) {
		t.Errorf("commit after the other leader has gone: %v, want ErrFenced", err)
	}
	if got := testutil.ToFloat64(old.metrics.errors[reasonFenced]); got != 2 {
		t.Errorf("fenced errors = %v, want 2", got)
	}
}

// TestExpiry holds the layout in keys.go to its promise: once a meeting is
// closed, nothing of it stays for ever.
func TestExpiry(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	s, c := newScene(t, meeting.Created{Room: "a", ExternalID: "x"})
	commit(t, r, c)
	s.play(r, human("ada", "u1"))
	ttls := func() map[string]bool {
		has := map[string]bool{}
		for _, key := range must(srv.raw.Keys(t.Context(), "*").Result())(t) {
			ttl := must(srv.raw.PTTL(t.Context(), key).Result())(t)
			if ttl > Retention {
				t.Errorf("%s expires in %v", key, ttl)
			}
			has[key] = ttl > 0
		}
		return has
	}
	for key, expires := range ttls() {
		if expires {
			t.Errorf("%s of a live meeting expires", key)
		}
	}
	session := s.m.Session.ID
	month := time.Now().Add(-Retention - time.Hour).UnixMilli()
	srv.do("ZADD", r.keys.sessions(s.m.ID), month, "ses_0")
	s.play(r, meeting.Ended{Reason: meeting.EndRequested}, meeting.RoomGone{})
	k := r.keys
	got, want := ttls(), map[string]bool{
		k.meeting(s.m.ID): true, k.session(session): true, k.people(session): true,
		k.sessions(s.m.ID): true, k.external("x"): true, k.room("a"): true, k.held("a"): true,
		k.meetings(): false, k.inState(meeting.StateEnded): false, k.events(): false,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("keys, and whether they expire =\n%v, want\n%v", got, want)
	}

	if got := must(srv.raw.ZCard(t.Context(), k.sessions(s.m.ID)).Result())(t); got != 1 {
		t.Errorf("%d sessions in the index, want 1: one is past", got)
	}

	// The next meeting of the room keeps its index, and what is past leaves
	// the others.
	for i := range 3 {
		old := fmt.Sprint("mtg_0", i)
		srv.do("ZADD", k.inState(meeting.StateEnded), month, old)
		srv.do("ZADD", k.meetings(), 0, old)
		srv.do("ZADD", k.room("a"), month, old)
	}
	next, c := newScene(t, meeting.Created{Room: "a", ReuseRoom: true})
	commit(t, r, c)
	if ttls()[k.room("a")] {
		t.Error("the index of a room with an open meeting expires")
	}
	next.play(r, meeting.Ended{Reason: meeting.EndRequested}, meeting.RoomGone{})
	for _, key := range []string{k.meetings(), k.inState(meeting.StateEnded), k.room("a")} {
		if got := must(srv.raw.ZCard(t.Context(), key).Result())(t); got != 2 {
			t.Errorf("%s has %d entries, want 2", key, got)
		}
	}
}

func TestLogRetention(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	past := time.Now().Add(-LogRetention - time.Hour).UnixMilli()
	const entries = 250 // Redis drops them by blocks of a hundred
	for i := range entries {
		srv.do("XADD", r.keys.events(), fmt.Sprintf("%d-%d", past, i), "notice", "{}")
	}
	_, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, r, c)
	if got := must(srv.raw.XLen(t.Context(), r.keys.events()).Result())(t); got > 101 {
		t.Errorf("%d entries in the log, want most of %d gone", got, entries)
	}
}

func TestNewRedis(t *testing.T) {
	for _, u := range []string{"", "http://:hunter2@host", "redis://:hunter2@host:port", "redis://:hunter2@host/x", "redis://%hunter2"} {
		if _, err := NewRedis(Config{URL: u, Site: "main"}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("NewRedis(%q): %v, want an error without the password", u, err)
		}
	}
	if _, err := NewRedis(Config{URL: "redis://localhost", Site: "a}b"}); err == nil {
		t.Error("a site that would break the hash tag is accepted")
	}
	if _, err := NewRedis(Config{URL: "redis://a?sentinel_password=hunter2", Site: "main"}); err == nil || !strings.Contains(err.Error(), "master_name") {
		t.Errorf("a password for sentinels without a master = %v, want an error that names master_name", err)
	}
	got, err := options("rediss://me:hunter2@a:1/0?addr=b:2&addr=c:3&master_name=m&sentinel_username=us&sentinel_password=hunter3")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a:1", "b:2", "c:3"}; !reflect.DeepEqual(got.Addrs, want) ||
		got.MasterName != "m" || got.Username != "me" || got.Password != "hunter2" || got.TLSConfig == nil ||
		got.SentinelUsername != "us" || got.SentinelPassword != "hunter3" {
		t.Errorf("options = %+v", got)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(reg)
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	m.errors[reasonOOM].Inc()
	want := `# HELP usher_store_errors_total Operations on the store that failed, by reason.
# TYPE usher_store_errors_total counter
usher_store_errors_total{reason="conn"} 0
usher_store_errors_total{reason="fenced"} 0
usher_store_errors_total{reason="oom"} 1
usher_store_errors_total{reason="other"} 0
usher_store_errors_total{reason="readonly"} 0
usher_store_errors_total{reason="timeout"} 0
usher_store_errors_total{reason="unreadable"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "usher_store_errors_total"); err != nil {
		t.Error(err)
	}
}

// reply is an error that Redis answers with.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

func TestRefusalsThatMayPass(t *testing.T) {
	for text, want := range map[string]bool{
		"NOAUTH Authentication required.":                                                  true,
		"WRONGPASS invalid username-password pair or user is disabled.":                    true,
		"NOPERM this user has no permissions to run the 'evalsha' command":                 true,
		"WRONGTYPE Operation against a key holding the wrong kind of value":                false,
		"ERR Error running script: user_script:1: attempt to compare nil with number":      false,
		"ERR max number of clients reached":                                                true,
		"LOADING Redis is loading the dataset in memory":                                   true,
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to.": true,
	} {
		if _, passes := judge(reply(text)); passes != want {
			t.Errorf("%s: tried again = %v, want %v", text, passes, want)
		}
	}
}

// TestFullServerDrains empties lists of a Redis that has no memory left: that is
// what frees some.
func TestFullServerDrains(t *testing.T) {
	srv := startServer(t)
	l := &queues{t: t, st: srv.open()}
	id, events := l.open("a", 5)
	if _, _, _, err := l.st.LoadQueue(t.Context(), "crm"); err != nil {
		t.Fatal(err)
	}
	srv.do("CONFIG", "SET", "maxmemory", "1mb")
	for _, event := range events {
		a := upTo(id, event, 1)
		a.Tried = []meeting.Tried{{Record: []byte("1"), Event: []byte(event)}}
		l.ack(a)
	}
	// A takeover needs to read them then, too.
	if _, _, _, err := l.st.LoadQueue(t.Context(), "crm"); err != nil {
		t.Errorf("load = %v", err)
	}
	srv.do("CONFIG", "SET", "maxmemory", "0")
	l.holds(id)
}

// TestFullServerIsRead proves that a full Redis is led and read, also by a new
// leader, so that what fills it can be delivered, and that nothing is logged as an
// error for it.
func TestFullServerIsRead(t *testing.T) {
	srv := startServer(t)
	var log bytes.Buffer
	open := func() *Redis {
		r := srv.openQuick("one")
		r.log = slog.New(slog.NewTextHandler(&log, nil))
		return r
	}
	first, second := open(), open()
	must(first.PutEndpoint(t.Context(), "crm", nil, json.RawMessage(`{}`)))(t)
	a := leadTracker(t, first, "a", nil)
	until(t, "a leads", func() bool { return a.terms.Load() == 1 })
	srv.do("CONFIG", "SET", "maxmemory", "1mb")
	for _, r := range []*Redis{first, second} {
		if all, _, err := r.Endpoints(t.Context(), ""); err != nil || len(all) != 1 {
			t.Errorf("endpoints in a full Redis = %v, %v, want the one", all, err)
		}
	}
	a.stop()
	b := leadTracker(t, second, "b", nil)
	until(t, "b leads", func() bool { return b.terms.Load() == 1 })
	time.Sleep(5 * quick.mirror)
	b.stop()
	if text := log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "EXECABORT") {
		t.Errorf("log while Redis is full:\n%s", text)
	}
}
