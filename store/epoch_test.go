package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"usher/meeting"
	"usher/meeting/tracker"
)

// until waits for what takes less than a second on an idle machine.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %v: %s", 3*patience, what)
		}
	}
}

// leadingTracker is a process that leads and tracks meetings, once it may.
type leadingTracker struct {
	store    *Redis
	tracker  atomic.Pointer[tracker.Tracker]
	terms    atomic.Int64
	rewrites atomic.Int64
	stop     func()
}

// leadTracker starts one; before, if there is one, is called before each time
// that all meetings are written anew.
func leadTracker(t *testing.T, r *Redis, holder string, before func(ctx context.Context)) *leadingTracker {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &leadingTracker{store: r}
	done := make(chan error, 1)
	go func() {
		done <- r.Lead(ctx, holder, func(ctx context.Context) error {
			tracker := tracker.New(r, nowhere{}, tracker.Options{})
			return tracker.Run(ctx, func() { l.tracker.Store(tracker); l.terms.Add(1) })
		}, func(ctx context.Context) error {
			l.rewrites.Add(1)
			if before != nil {
				before(ctx)
			}
			return l.tracker.Load().Rewrite(ctx)
		})
	}()
	l.stop = func() {
		cancel()
		if err := wait(t, done); err != nil {
			t.Errorf("Lead = %v", err)
		}
	}
	return l
}

// whole waits until the store has another epoch than before, and is whole.
func whole(t *testing.T, srv *server, r *Redis, before string) string {
	t.Helper()
	var epoch string
	until(t, "the store is whole again", func() bool {
		epoch, _ = srv.raw.Get(t.Context(), r.keys.epoch()).Result()
		return isWhole(epoch) && epoch != before
	})
	return epoch
}

// belongings are what was stored besides meetings.
type belongings struct {
	Endpoints []meeting.StoredEndpoint
	Keys      map[string][]byte
	Links     []map[string][]byte
}

func belongingsOf(t *testing.T, r *Redis, meetings []string) string {
	t.Helper()
	var b belongings
	until(t, "the store answers", func() bool { // once it says that it was written anew
		var err error
		b.Endpoints, _, err = r.Endpoints(t.Context(), "")
		return err == nil
	})
	b.Keys = must(r.APIKeys(t.Context()))(t)
	for _, id := range meetings {
		b.Links = append(b.Links, must(r.Links(t.Context(), id))(t))
	}
	list := b.Endpoints
	for i := range list {
		for j := range i {
			if list[i].ID < list[j].ID {
				list[i], list[j] = list[j], list[i]
			}
		}
	}
	return string(encode(b))
}

// TestAnEmptiedStoreIsWrittenAnewByWhoLeads empties Redis three times, at odd
// moments, under a leader and one that stands by. Whatever was stored by either
// is there afterwards, and what either had deleted is not.
func TestAnEmptiedStoreIsWrittenAnewByWhoLeads(t *testing.T) {
	srv := startServer(t)
	ctx := t.Context()
	r, other := srv.openQuick("one"), srv.openQuick("one")
	a := leadTracker(t, r, "a", nil)
	until(t, "a leads", func() bool { return a.terms.Load() == 1 })
	b := leadTracker(t, other, "b", nil)
	tracker := a.tracker.Load()

	var ids []string
	for i := range 30 {
		room := fmt.Sprint("room", i)
		m, err := tracker.Create(ctx, meeting.Created{Room: room, ExternalID: fmt.Sprint("ext", i)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.ID)
		if i%2 == 0 { // the others are quiet
			now := time.Now()
			tracker.Observe(room, now, human("ada", "u1"))
			tracker.Observe(room, now.Add(time.Millisecond), human("bob", ""))
			tracker.Observe(room, now.Add(2*time.Millisecond), said("j"+room, "on"))
			tracker.Observe(room, now.Add(3*time.Millisecond), gone("ada"))
		}
		if i == 2 {
			if _, err := tracker.Do(ctx, m.ID, meeting.Ended{Reason: meeting.EndRequested}); err != nil {
				t.Fatal(err)
			}
		}
	}
	until(t, "everybody has come", func() bool {
		m, _ := tracker.Room("room28")
		return len(m.People) == 2 && !m.People[0].Present() && len(m.Recordings) == 1
	})
	for i, by := range []*Redis{r, other} {
		who := fmt.Sprint("who", i)
		for _, id := range []string{"kept" + who, "gone" + who} {
			must(by.PutEndpoint(ctx, id, nil, json.RawMessage(`{"name":"x"}`)))(t)
			must(by.AddAPIKey(ctx, id, []byte("key "+id)))(t)
		}
		for _, id := range ids[:5] {
			must(by.PutLink(ctx, id, "hash"+who, []byte(`{"n":1}`), 9))(t)
			must(by.PutLink(ctx, id, "hash"+who, []byte(`{"n":2}`), 9))(t)
		}
		if err := errors.Join(
			by.DisableEndpoint(ctx, "kept"+who, json.RawMessage(`{"reason":"x"}`)),
			by.DisableEndpoint(ctx, "whk_configured"+who, json.RawMessage(`{"reason":"y"}`)),
			by.DeleteEndpoint(ctx, "gone"+who), by.RemoveAPIKey(ctx, "gone"+who, []byte("key gone"+who)),
		); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the leader knows what the other has changed", func() bool {
		r.mirror.mu.Lock()
		defer r.mirror.mu.Unlock()
		settings := r.mirror.hashes[r.keys.apiKeys()]
		return settings["keptwho1"] != "" && settings["gonewho1"] == "" && r.mirror.hashes[r.keys.meeting(ids[4])]["link:hashwho1"] != ""
	})

	epoch := srv.raw.Get(ctx, r.keys.epoch()).Val()
	for round := range 3 {
		time.Sleep(rand.N(2 * quick.renew))
		// What the leader has just stored itself, it holds.
		late := fmt.Sprint("late", round)
		must(r.AddAPIKey(ctx, late, []byte(late)))(t)
		must(r.PutLink(ctx, ids[6], late, []byte(late), 9))(t)
		want := map[string]meeting.Meeting{}
		wantBelongings := belongingsOf(t, r, ids)
		tracker.Each(func(m meeting.Meeting) { want[m.ID] = m })
		srv.do("FLUSHALL")
		epoch = whole(t, srv, r, epoch)

		if got := belongingsOf(t, other, ids); got != wantBelongings {
			t.Errorf("round %d: endpoints, keys and links are\n%s, want\n%s", round, got, wantBelongings)
		}
		for _, id := range ids {
			m := must(other.Load(ctx, id))(t)
			was := want[id]
			if was.State() != meeting.StateEnded {
				was.Seq++ // store.reset was told
			}
			was.Version++
			sameMeeting(t, m, was)
			for _, rec := range was.Recordings {
				got := must(other.RecordingOf(ctx, rec.JibriSession))(t)
				if string(encode(got)) != string(encode(rec)) {
					t.Errorf("round %d: recording is\n%s, want\n%s", round, encode(got), encode(rec))
				}
			}
			if list := must(paged(other.List(ctx, meeting.Filter{ExternalID: m.ExternalID}, "", 9)))(t); len(list.items) != 1 {
				t.Errorf("round %d: %d meetings under %s, want 1", round, len(list.items), m.ExternalID)
			}
		}
		if _, err := tracker.Create(ctx, meeting.Created{Room: "room1"}); !errors.As(err, new(*meeting.ExistsError)) {
			t.Errorf("round %d: a second meeting of a room: %v, want ExistsError", round, err)
		}
		if n := len(must(other.Events(ctx, "", MaxPage))(t)); n != len(ids)-1 {
			t.Errorf("round %d: %d events in the log, want store.reset of the %d meetings that have not ended", round, n, len(ids)-1)
		}
	}
	if a.terms.Load() != 1 || b.terms.Load() != 0 {
		t.Errorf("a led %d times and b %d times, want a once and b never", a.terms.Load(), b.terms.Load())
	}
	if got := r.Findings(); len(got) != 1 {
		t.Errorf("findings of the leader = %q, want that the store was reset", got)
	}

	// A successor finds everything.
	a.stop()
	until(t, "b leads", func() bool { return b.terms.Load() == 1 })
	if m, ok := b.tracker.Load().Room("room28"); !ok || len(m.People) != 2 {
		t.Errorf("the successor has %+v of room28, want the meeting with two people", m)
	}
	b.stop()
}

// TestAStoreIsEmptiedWhileItIsWrittenAnew loses everything again in the middle
// of being written anew, and in the end all is there.
func TestAStoreIsEmptiedWhileItIsWrittenAnew(t *testing.T) {
	srv := startServer(t)
	r := srv.openQuick("one")
	var again atomic.Int64
	a := leadTracker(t, r, "a", func(context.Context) {
		if again.Add(1) < 3 {
			srv.do("FLUSHALL") // after endpoints and keys, before meetings and links
		}
	})
	until(t, "a leads", func() bool { return a.terms.Load() == 1 })
	m, err := a.tracker.Load().Create(t.Context(), meeting.Created{Room: "quiet"})
	if err != nil {
		t.Fatal(err)
	}
	must(r.AddAPIKey(t.Context(), "app/1", []byte("k")))(t)
	must(r.PutLink(t.Context(), m.ID, "h", []byte("l"), 9))(t)
	want := belongingsOf(t, r, []string{m.ID})
	epoch := srv.raw.Get(t.Context(), r.keys.epoch()).Val()
	srv.do("FLUSHALL")
	whole(t, srv, r, epoch)
	if got := belongingsOf(t, r, []string{m.ID}); got != want {
		t.Errorf("endpoints, keys and links are\n%s, want\n%s", got, want)
	}
	if got := must(r.Open(t.Context()))(t); len(got) != 1 || got[0].ID != m.ID {
		t.Errorf("open = %q, want %s", idsOf(got), m.ID)
	}
	if n := a.rewrites.Load(); n != 3 || a.terms.Load() != 1 {
		t.Errorf("written anew %d times in %d terms, want 3 in 1", n, a.terms.Load())
	}
	a.stop()
}

// TestNobodyBelievesAnEmptiedStore: until the leader has written it anew, what
// is not there is unknown, and nothing is stored that would contradict it.
func TestNobodyBelievesAnEmptiedStore(t *testing.T) {
	srv := startServer(t)
	ctx := t.Context()
	for name, empty := range map[string]func(r *Redis){
		"emptied": func(*Redis) { srv.do("FLUSHALL") },
		"being written anew": func(r *Redis) {
			srv.do("FLUSHALL")
			srv.do("SET", r.keys.epoch(), rewritePrefix+"x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv.do("FLUSHALL")
			r := srv.openQuick("one")
			if err := r.checkNow(ctx); err != nil {
				t.Fatal(err)
			}
			empty(r)
			_, created := newScene(t, meeting.Created{Room: "a"})
			for what, call := range map[string]func() error{
				"load":         func() error { _, err := r.Load(ctx, "mtg_1"); return err },
				"list":         func() error { _, _, err := r.List(ctx, meeting.Filter{}, "", 9); return err },
				"sessions":     func() error { _, _, err := r.Sessions(ctx, "mtg_1", "", 9); return err },
				"session":      func() error { _, err := r.Session(ctx, "ses_1"); return err },
				"participants": func() error { _, err := r.Participants(ctx, "ses_1"); return err },
				"recording":    func() error { _, err := r.Recording(ctx, "rec_1"); return err },
				"recording of": func() error { _, err := r.RecordingOf(ctx, "j"); return err },
				"recordings":   func() error { _, _, err := r.Recordings(ctx, meeting.RecordingFilter{}, "", 9); return err },
				"events":       func() error { _, err := r.Events(ctx, "", 9); return err },
				"link":         func() error { _, err := r.Link(ctx, "mtg_1", "h"); return err },
				"links":        func() error { _, err := r.Links(ctx, "mtg_1"); return err },
				"put link":     func() error { _, err := r.PutLink(ctx, "mtg_1", "h", nil, 9); return err },
				"keys":         func() error { _, err := r.APIKeys(ctx); return err },
				"add key":      func() error { _, err := r.AddAPIKey(ctx, "s", []byte("k")); return err },
				"remove key":   func() error { return r.RemoveAPIKey(ctx, "s", []byte("k")) },
				"endpoints":    func() error { _, _, err := r.Endpoints(ctx, ""); return err },
				"put endpoint": func() error { _, err := r.PutEndpoint(ctx, "e", nil, json.RawMessage("{}")); return err },
				"disable":      func() error { return r.DisableEndpoint(ctx, "e", json.RawMessage("{}")) },
				"delete":       func() error { return r.DeleteEndpoint(ctx, "e") },
				"create":       func() error { return r.Commit(ctx, created) },
			} {
				if err := call(); !errors.Is(err, meeting.ErrUnavailable) {
					t.Errorf("%s: %v, want ErrUnavailable", what, err)
				}
			}
			if keys := must(srv.raw.Keys(ctx, "*").Result())(t); len(keys) > 1 {
				t.Errorf("%q were stored, want nothing", keys)
			}
		})
	}
}

// patient are the times of a lease for tests that wait for it to run out.
var patient = leaseTimes{
	ttl: 2 * time.Second, renew: 200 * time.Millisecond, retry: 50 * time.Millisecond, demote: time.Second, poll: 50 * time.Millisecond,
	mirror: 100 * time.Millisecond,
}

// TestNobodyHoldsWhatWasLost proves that a store that is empty, and stays so for
// as long as a leader may need to notice, is begun anew by one process, whether
// it has led before or not.
func TestNobodyHoldsWhatWasLost(t *testing.T) {
	srv := startServer(t)
	a, b := srv.openSite("one"), srv.openSite("one")
	a.times, b.times = patient, patient
	if err := a.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := lead(t, a, "a")
	wait(t, before.began)
	before.stop(t)
	srv.do("FLUSHALL")
	begin := time.Now()
	former, never := lead(t, a, "a"), lead(t, b, "b")
	select {
	case <-former.began:
	case <-never.began:
	case <-time.After(patience):
		t.Fatal("nobody leads")
	}
	if waited := time.Since(begin); waited < patient.ttl {
		t.Errorf("one leads after %v, want %v: another might hold what is lost", waited, patient.ttl)
	}
	time.Sleep(3 * patient.renew)
	if n := len(former.began) + len(never.began); n > 0 {
		t.Error("both lead")
	}
	if epoch := srv.raw.Get(t.Context(), a.keys.epoch()).Val(); !isWhole(epoch) {
		t.Errorf("epoch = %q, want a new one", epoch)
	}
	former.stop(t)
	never.stop(t)
}

// TestLeadingWithoutWaiting: where nobody can hold what is lost, the next
// process leads at once.
func TestLeadingWithoutWaiting(t *testing.T) {
	srv := startServer(t)
	for name, state := range map[string]func(r *Redis){
		"a store of an older version": func(r *Redis) { srv.do("SET", r.keys.fence(), "17") },
		"its leader died while writing it anew": func(r *Redis) {
			srv.do("SET", r.keys.fence(), "17")
			srv.do("SET", r.keys.epoch(), rewritePrefix+"x")
		},
		"nobody else uses this Redis": func(r *Redis) {
			for range 2 {
				if err := r.Begin(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv.do("FLUSHALL")
			r := srv.openSite("one")
			r.times = patient
			r.times.ttl = time.Hour
			state(r)
			a := lead(t, r, "a")
			wait(t, a.began)
			if epoch := srv.raw.Get(t.Context(), r.keys.epoch()).Val(); !isWhole(epoch) {
				t.Errorf("epoch = %q, want one that is whole", epoch)
			}
			a.stop(t)
		})
	}
}
