package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"usher/internal/memorystore"
	"usher/meeting"
)

// backing is one store under test.
type backing struct {
	store queuesContract
}

// TestStore is the conformance suite: both stores do the same.
func TestStore(t *testing.T) {
	srv := startServer(t)
	backings := map[string]func() backing{
		"redis":  func() backing { return backing{srv.open()} },
		"memory": func() backing { return backing{new(memorystore.Memory)} },
	}
	tests := []struct {
		name string
		run  func(t *testing.T, b backing)
	}{
		{"a meeting through its life", testLife},
		{"a repeated operation is done once", testRepeat},
		{"a change of another version is refused", testConflict},
		{"room and external id are taken once", testExists},
		{"a room is held as long as tokens open it", testHeld},
		{"a whole commit replaces what is stored", testWhole},
		{"open meetings come with their people", testOpen},
		{"listing by state, room and external id", testList},
		{"sessions in pages", testSessions},
		{"the log holds events in order", testEvents},
		{"events join the lists of endpoints", testLists},
		{"a forgotten meeting leaves nothing", testForget},
		{"what is not there is not found", testNotFound},
		{"a reply is claimed once, kept and released", testReplies},
		{"API keys have slots", testAPIKeys},
		{"links live with their meeting", testLinks},
		{"the log can be followed", testFollow},
	}
	for name, open := range backings {
		for _, tt := range tests {
			t.Run(name+"/"+tt.name, func(t *testing.T) { tt.run(t, open()) })
		}
	}
}

func testLife(t *testing.T, b backing) {
	ctx, st := t.Context(), b.store
	s, c := newScene(t, meeting.Created{
		Room: "standup", ExternalID: "crm-17", Metadata: map[string]string{"team": "é & <b>"},
		Limits: meeting.Limits{StartAt: time.Now().UTC().Truncate(time.Millisecond), EndAt: time.Now().UTC().Add(time.Hour).Truncate(time.Millisecond)},
	})
	commit(t, st, c)
	check := func() {
		t.Helper()
		sameMeeting(t, must(st.Load(ctx, s.m.ID))(t), s.m)
	}
	check()
	s.play(st, human("ada", "u1"), human("bob", ""), raised("ada", "u1"))
	check()
	session := s.m.Session
	if got := must(st.Session(ctx, session.ID))(t); got != session {
		t.Errorf("session = %+v, want %+v", got, session)
	}
	s.play(st, gone("bob"))
	check() // without Bob, whom nothing would tell when he returns
	s.play(st, gone("ada"))
	check() // with Ada, who may return
	people := must(st.Participants(ctx, session.ID))(t)
	if len(people) != 2 || people[0].UserID != "u1" || people[1].Name != "Name of bob" {
		t.Fatalf("participants = %s, want ada and bob", encode(people))
	}
	for _, p := range people {
		if p.Present() || p.LeftReason != meeting.LeftByChoice || p.LeftAt.IsZero() || p.Stayed == 0 {
			t.Errorf("participant = %s, want gone", encode(p))
		}
	}
	s.later(meeting.SessionLinger).play(st, meeting.Tick{})
	check()
	if got := must(st.Session(ctx, session.ID))(t); got.EndedAt.IsZero() || got.Humans != 2 || got.Peak != 2 {
		t.Errorf("session = %+v, want ended, with two humans", got)
	}
	s.play(st, human("eve", ""), meeting.Ended{Reason: meeting.EndRequested}, meeting.RoomGone{})
	check()
	if got := must(st.Participants(ctx, session.ID))(t); len(got) != 2 {
		t.Errorf("%d participants in the first session, want 2", len(got))
	}
}

func testForget(t *testing.T, b backing) {
	ctx, st := t.Context(), b.store
	s, c := newScene(t, meeting.Created{Room: "standup", ExternalID: "crm-17"})
	commit(t, st, c)
	s.play(st, human("ada", "u1"))
	session := s.m.Session.ID
	s.play(st, meeting.Ended{Reason: meeting.EndRequested, Forget: true}, meeting.RoomGone{})
	if open := must(st.Open(ctx))(t); len(open) != 1 {
		t.Errorf("%d meetings open, want the one that is still to be forgotten", len(open))
	}
	// The same name (if asked for) and external id are free again, and stay with
	// the new one when the old meeting is forgotten once more.
	for range 2 {
		if err := st.Forget(ctx, s.m.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Load(ctx, s.m.ID); !errors.Is(err, meeting.ErrNotFound) {
			t.Errorf("load: %v, want not found", err)
		}
		if people := must(st.Participants(ctx, session))(t); len(people) != 0 {
			t.Errorf("%d people kept", len(people))
		}
		if open := must(st.Open(ctx))(t); len(open) > 1 {
			t.Errorf("%d meetings open", len(open))
		}
		_, c := newScene(t, meeting.Created{Room: "standup", ReuseRoom: true, ExternalID: "crm-17"})
		if err := st.Commit(ctx, c); err != nil {
			var exists *meeting.ExistsError
			if !errors.As(err, &exists) || exists.ID == s.m.ID {
				t.Errorf("the next meeting of that name: %v", err)
			}
		}
	}
}

func testRepeat(t *testing.T, b backing) {
	s, created := newScene(t, meeting.Created{Room: "a"})
	s.routes = []string{"crm"}
	commit(t, b.store, created)
	commit(t, b.store, created)
	join := s.apply(human("ada", ""))
	commit(t, b.store, join)
	commit(t, b.store, join)
	sameMeeting(t, must(b.store.Load(t.Context(), s.m.ID))(t), s.m)
	if got := len(must(b.store.Events(t.Context(), "", 10))(t)); got != 3 {
		t.Errorf("%d events, want 3: created, started, joined", got)
	}
	if list := must(b.store.ReadQueues(t.Context(), "crm", []string{s.m.ID}, 9))(t)[0]; len(list) != 2 {
		t.Errorf("%d events in the list, want 2", len(list))
	}
}

func testConflict(t *testing.T, b backing) {
	s, created := newScene(t, meeting.Created{Room: "a"})
	join := s.apply(human("ada", ""))
	var conflict *meeting.ConflictError
	if err := b.store.Commit(t.Context(), join); !errors.As(err, &conflict) || conflict.Stored != 0 {
		t.Errorf("change of a meeting that is not stored: %v, want conflict with version 0", err)
	}
	commit(t, b.store, created)
	commit(t, b.store, join)
	again := created
	again.Op = "op_other"
	for _, c := range []meeting.Commit{again, {Op: "op_third", From: 7, Meeting: join.Meeting}} {
		if err := b.store.Commit(t.Context(), c); !errors.As(err, &conflict) || conflict.Stored != join.Meeting.Version {
			t.Errorf("change from version %d: %v, want conflict with version %d", c.From, err, join.Meeting.Version)
		}
	}
	if got := len(must(b.store.Events(t.Context(), "", 10))(t)); got != 3 {
		t.Errorf("%d events, want 3: a refused change tells nothing", got)
	}
}

func testExists(t *testing.T, b backing) {
	first, c := newScene(t, meeting.Created{Room: "a", ExternalID: "x"})
	commit(t, b.store, c)
	refused := func(created meeting.Created) {
		t.Helper()
		_, c := newScene(t, created)
		var exists *meeting.ExistsError
		if err := b.store.Commit(t.Context(), c); !errors.As(err, &exists) || exists.ID != first.m.ID {
			t.Errorf("create %+v: %v, want exists as %s", created, err, first.m.ID)
		}
	}
	refused(meeting.Created{Room: "a"})
	refused(meeting.Created{Room: "b", ExternalID: "x"})
	first.play(b.store, meeting.Ended{Reason: meeting.EndRequested})
	refused(meeting.Created{Room: "a"}) // people may still be in it
	first.play(b.store, meeting.RoomGone{})
	refused(meeting.Created{Room: "b", ExternalID: "x"})
	for _, created := range []meeting.Created{{Room: "a", ReuseRoom: true}, {Room: "b"}, {Room: "c"}} {
		_, c := newScene(t, created)
		commit(t, b.store, c)
	}
}

// testHeld ends meetings of one room, one after the other.
func testHeld(t *testing.T, b backing) {
	begin := time.Now().UTC().Truncate(time.Millisecond)
	refused := func(what string, want time.Time) {
		t.Helper()
		_, c := newScene(t, meeting.Created{Room: "a"})
		var held *meeting.RoomHeldError
		if err := b.store.Commit(t.Context(), c); !errors.As(err, &held) || !held.Until.Equal(want) {
			t.Errorf("%s: %v, want held until %v", what, err, want)
		}
	}
	// over takes a meeting from its making to its end, and forgets it.
	over := func(c meeting.Created, token time.Time) *scene {
		t.Helper()
		s, made := newScene(t, c)
		commit(t, b.store, made)
		s.play(b.store, meeting.Invited{TokenExpires: token}, meeting.Ended{Reason: meeting.EndRequested, Forget: true}, meeting.RoomGone{})
		if err := b.store.Forget(t.Context(), s.m.ID); err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := over(meeting.Created{Room: "a"}, time.Time{})
	refused("after an open-ended meeting", first.m.EndedAt.Add(24*time.Hour))
	week := begin.AddDate(0, 0, 7)
	over(meeting.Created{Room: "a", ReuseRoom: true}, week)
	refused("after one with a long token", week)
	over(meeting.Created{Room: "a", ReuseRoom: true}, time.Time{})
	refused("while an older token lives", week)

	// Ended by the clock long enough ago.
	over(meeting.Created{Room: "b", Limits: meeting.Limits{EndAt: begin.Add(-20 * time.Minute)}}, time.Time{})
	_, c := newScene(t, meeting.Created{Room: "b"})
	commit(t, b.store, c)
}

func testWhole(t *testing.T, b backing) {
	s, created := newScene(t, meeting.Created{Room: "a", ExternalID: "x"})
	commit(t, b.store, created)
	recorder := human("jibri", "")
	recorder.Occupant.Kind = meeting.KindRecorder
	s.play(b.store, human("ada", "u1"), human("bob", ""), human("eve", ""), recorder, gone("eve"))
	s.apply(gone("bob")) // these three are lost
	s.apply(gone("jibri"))
	s.apply(human("joe", ""))
	c := s.apply(raised("ada", "u1"))
	c.Whole, c.People, c.Sessions = true, s.m.People, []meeting.Session{s.m.Session}
	for _, p := range s.m.Left {
		c.People = append(c.People, *p)
	}
	commit(t, b.store, c)
	commit(t, b.store, c)
	sameMeeting(t, must(b.store.Load(t.Context(), s.m.ID))(t), s.m)
	var people []string
	for _, p := range must(b.store.Participants(t.Context(), s.m.Session.ID))(t) {
		people = append(people, fmt.Sprint(p.Name, ", in: ", p.Present()))
	}
	// Those whose leave was lost have left now, or are gone if not at hand.
	want := []string{"Name of ada, in: true", "Name of bob, in: false", "Name of eve, in: false", "Name of joe, in: true"}
	if !slices.Equal(people, want) {
		t.Errorf("people of the session = %q, want %q", people, want)
	}
	s.play(b.store, gone("joe"))
	sameMeeting(t, must(b.store.Load(t.Context(), s.m.ID))(t), s.m)

	// A meeting that the store has never seen is found everywhere afterwards.
	lost, _ := newScene(t, meeting.Created{Room: "b", ExternalID: "y"})
	c = lost.apply(human("ada", "u1"))
	c.Whole = true
	commit(t, b.store, c)
	for _, f := range []meeting.Filter{{Room: "b"}, {ExternalID: "y"}, {State: meeting.StateLive, Room: "b"}} {
		got := must(paged(b.store.List(t.Context(), f, "", 10)))(t)
		if len(got.items) != 1 || got.items[0].ID != lost.m.ID {
			t.Errorf("list %+v = %q, want %s", f, idsOf(got.items), lost.m.ID)
		}
	}
	if got := must(b.store.Open(t.Context()))(t); len(got) != 2 {
		t.Errorf("open = %q, want two meetings", idsOf(got))
	}
}
