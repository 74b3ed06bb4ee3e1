package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"usher/internal/memorystore"
	"usher/meeting"
)

func testOpen(t *testing.T, b backing) {
	var scenes []*scene
	for i := range 4 {
		s, c := newScene(t, meeting.Created{Room: fmt.Sprint("room", i)})
		commit(t, b.store, c)
		scenes = append(scenes, s)
	}
	scenes[1].play(b.store, human("ada", "u1"), human("bob", ""), gone("ada"))
	scenes[2].play(b.store, human("joe", ""), meeting.Ended{Reason: meeting.EndRequested})
	scenes[3].play(b.store, meeting.Ended{Reason: meeting.EndRequested}, meeting.RoomGone{})
	got := must(b.store.Open(t.Context()))(t)
	if len(got) != 3 {
		t.Fatalf("open = %q, want the first three of four", idsOf(got))
	}
	for i, m := range got {
		sameMeeting(t, m, scenes[i].m)
	}
}

func testList(t *testing.T, b backing) {
	var all []*scene
	create := func(room string) *scene {
		// Made in different seconds.
		s := &scene{t: t, now: time.Now().UTC().Truncate(time.Millisecond).Add(time.Duration(len(all)) * 2 * time.Second)}
		commit(t, b.store, s.apply(meeting.Created{
			Room: room, ReuseRoom: true, ExternalID: "ext-" + fmt.Sprint(len(all)), Metadata: map[string]string{"team": "red", "room": room},
		}))
		all = append(all, s)
		return s
	}
	end := func(s *scene, later time.Duration) {
		s.later(later).play(b.store, meeting.Ended{Reason: meeting.EndRequested}, meeting.RoomGone{})
	}
	end(create("a"), time.Minute)
	end(create("a"), 3*time.Minute)
	end(create("b"), 2*time.Minute)
	create("a").play(b.store, human("ada", "u1"))
	create("c").play(b.store, human("bob", ""))
	create("d")
	create("e")
	idle := create("f")
	idle.play(b.store, human("joe", ""), gone("joe"))
	idle.later(meeting.SessionLinger).play(b.store, meeting.Tick{})
	tests := []struct {
		name   string
		filter meeting.Filter
		want   []int // newest first
	}{
		{"all", meeting.Filter{}, []int{7, 6, 5, 4, 3, 2, 1, 0}},
		{"created", meeting.Filter{State: meeting.StateCreated}, []int{6, 5}},
		{"live", meeting.Filter{State: meeting.StateLive}, []int{4, 3}},
		{"ended, the one that ended last first", meeting.Filter{State: meeting.StateEnded}, []int{1, 2, 0}},
		{"a room's", meeting.Filter{Room: "a"}, []int{3, 1, 0}},
		{"a room's that have ended", meeting.Filter{Room: "a", State: meeting.StateEnded}, []int{1, 0}},
		{"external id", meeting.Filter{ExternalID: "ext-2"}, []int{2}},
		{"external id in another state", meeting.Filter{ExternalID: "ext-2", State: meeting.StateLive}, nil},
		{"unknown external id", meeting.Filter{ExternalID: "ext"}, nil},
		{"unknown room", meeting.Filter{Room: "ext"}, nil},
		{"created from the fifth on", meeting.Filter{CreatedAfter: all[4].m.CreatedAt}, []int{7, 6, 5, 4}},
		{"created before the third", meeting.Filter{CreatedBefore: all[2].m.CreatedAt}, []int{1, 0}},
		{"live, created before the fifth", meeting.Filter{State: meeting.StateLive, CreatedBefore: all[4].m.CreatedAt}, []int{3}},
		{"a room's, created from the second on", meeting.Filter{Room: "a", CreatedAfter: all[1].m.CreatedAt}, []int{3, 1}},
		{"between sessions", meeting.Filter{State: meeting.StateIdle}, []int{7}},
		{"metadata", meeting.Filter{Metadata: map[string]string{"team": "red", "room": "b"}}, []int{2}},
		{"other metadata", meeting.Filter{Metadata: map[string]string{"team": "red", "room": "x"}}, nil},
		{"unknown state", meeting.Filter{State: "over"}, nil},
	}
	for _, tt := range tests {
		var want []string
		for _, i := range tt.want {
			want = append(want, all[i].m.ID)
		}
		for _, limit := range []int{1, 2, MaxPage} {
			var got []string
			for cursor, calls := "", 0; ; calls++ {
				p := must(paged(b.store.List(t.Context(), tt.filter, cursor, limit)))(t)
				got = append(got, idsOf(p.items)...)
				if cursor = p.next; cursor == "" {
					break
				}
				if len(p.items) > limit || calls > 10 {
					t.Fatalf("%s: %d items on page %d of %d", tt.name, len(p.items), calls, limit)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s in pages of %d = %q, want %q", tt.name, limit, got, want)
			}
		}
	}
	live := must(paged(b.store.List(t.Context(), meeting.Filter{Room: "a"}, "", 1)))(t)
	sameMeeting(t, live.items[0], all[3].m)

	// A cursor stays good when its meeting changes its state.
	first := must(paged(b.store.List(t.Context(), meeting.Filter{State: meeting.StateLive}, "", 1)))(t)
	end(all[4], 0)
	second := must(paged(b.store.List(t.Context(), meeting.Filter{State: meeting.StateLive}, first.next, 1)))(t)
	if got, want := idsOf(second.items), []string{all[3].m.ID}; !slices.Equal(got, want) {
		t.Errorf("live meetings after one that has ended = %q, want %q", got, want)
	}
}

// TestPagesWhileDeleting lists ended meetings and deletes each page before it asks for
// the next.
func TestPagesWhileDeleting(t *testing.T) {
	st := startServer(t).open()
	var want, got []string
	for range 5 {
		s, c := newScene(t, meeting.Created{Room: "a", ReuseRoom: true})
		commit(t, st, c)
		s.later(time.Duration(len(want))*time.Minute).play(st, meeting.Ended{Reason: meeting.EndRequested, Forget: true}, meeting.RoomGone{})
		want = append([]string{s.m.ID}, want...)
	}
	for cursor, more := "", true; more; more = cursor != "" {
		p := must(paged(st.List(t.Context(), meeting.Filter{State: meeting.StateEnded}, cursor, 2)))(t)
		for _, m := range p.items {
			got = append(got, m.ID)
			if err := st.Forget(t.Context(), m.ID); err != nil {
				t.Fatal(err)
			}
		}
		cursor = p.next
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed and deleted %q, want %q", got, want)
	}
}

func testSessions(t *testing.T, b backing) {
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, b.store, c)
	var want []string
	for i := range 4 {
		s.play(b.store, human("ada", "u1"))
		want = append([]string{s.m.Session.ID}, want...)
		if i < 3 {
			s.play(b.store, gone("ada"))
			s.later(meeting.SessionLinger).play(b.store, meeting.Tick{})
		}
	}
	var got []string
	for cursor := ""; ; {
		p := must(paged(b.store.Sessions(t.Context(), s.m.ID, cursor, 3)))(t)
		for _, session := range p.items {
			got = append(got, session.ID)
		}
		if cursor = p.next; cursor == "" || len(got) > 10 {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("sessions = %q, want %q", got, want)
	}
}

func testEvents(t *testing.T, b backing) {
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, b.store, c)
	s.play(b.store, human("ada", "u1"), human("bob", ""), gone("bob"))
	all := must(b.store.Events(t.Context(), "", 10))(t)
	for i, want := range []meeting.EventType{
		meeting.MeetingCreated, meeting.SessionStarted, meeting.ParticipantJoined,
		meeting.ParticipantJoined, meeting.ParticipantLeft,
	} {
		if i >= len(all) {
			t.Fatalf("%d events in the log, want 5", len(all))
		}
		var n meeting.Event
		if err := json.Unmarshal(all[i].Event, &n); err != nil {
			t.Fatal(err)
		}
		if n.Type != want || n.Seq != int64(i+1) || n.MeetingID != s.m.ID {
			t.Errorf("event %d is %s seq %d of %s, want %s", i, n.Type, n.Seq, n.MeetingID, want)
		}
	}
	rest := must(b.store.Events(t.Context(), all[1].ID, 2))(t)
	if len(rest) != 2 || rest[0].ID != all[2].ID || rest[1].ID != all[3].ID {
		t.Errorf("two after the second = %v, want the third and the fourth", rest)
	}
	if got := must(b.store.Events(t.Context(), all[4].ID, 2))(t); len(got) != 0 {
		t.Errorf("after the last = %v, want nothing", got)
	}
	for _, after := range []string{"x", "1-", "1-2-3", "-", "(1", "99999999999999999999"} {
		if _, err := b.store.Events(t.Context(), after, 2); !errors.Is(err, ErrCursor) && !errors.Is(err, memorystore.ErrCursor) {
			t.Errorf("events after %q: %v, want ErrCursor", after, err)
		}
	}
}

func testLists(t *testing.T, b backing) {
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, b.store, c)
	join := s.apply(human("ada", "u1"))
	join.Routes = [][]string{{"crm"}, {"crm", "audit"}}
	commit(t, b.store, join)
	s.routes = []string{"crm"}
	s.play(b.store, gone("ada"))
	log := must(b.store.Events(t.Context(), "", 10))(t)
	for endpoint, want := range map[string][]int{"crm": {1, 2, 3}, "audit": {2}, "other": nil} {
		list := must(b.store.ReadQueues(t.Context(), endpoint, []string{s.m.ID}, 9))(t)[0]
		if len(list) != len(want) {
			t.Errorf("%d events for %s, want %d", len(list), endpoint, len(want))
			continue
		}
		for i, n := range want {
			if string(list[i]) != string(log[n].Event) {
				t.Errorf("event %d for %s = %s, want %s", i, endpoint, list[i], log[n].Event)
			}
		}
		meetings, _, _, err := b.store.LoadQueue(t.Context(), endpoint)
		if err != nil || len(want) == 0 && len(meetings) != 0 || len(want) > 0 && !slices.Equal(meetings, []string{s.m.ID}) {
			t.Errorf("meetings with events for %s = %q, %v", endpoint, meetings, err)
		}
	}
}

func testNotFound(t *testing.T, b backing) {
	ctx := context.Background()
	if _, err := b.store.Load(ctx, "mtg_none"); !errors.Is(err, meeting.ErrNotFound) {
		t.Errorf("load: %v, want ErrNotFound", err)
	}
	if _, err := b.store.Session(ctx, "ses_none"); !errors.Is(err, meeting.ErrNotFound) {
		t.Errorf("session: %v, want ErrNotFound", err)
	}
	if got := must(b.store.Participants(ctx, "ses_none"))(t); len(got) != 0 {
		t.Errorf("participants = %v, want none", got)
	}
	if got := must(paged(b.store.Sessions(ctx, "mtg_none", "ses_none", 5)))(t); len(got.items) != 0 || got.next != "" {
		t.Errorf("sessions = %v, want none", got)
	}
	if got := must(b.store.Open(ctx))(t); len(got) != 0 {
		t.Errorf("open = %v, want none", got)
	}
	if err := b.store.Ping(ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
}
