package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"usher/meeting"
)

// TestUnreadableEntriesKeepNothingElseAway spoils one entry of each kind, in
// each way that a person or another version may: the others are still there,
// and what was left out is said.
func TestUnreadableEntriesKeepNothingElseAway(t *testing.T) {
	srv := startServer(t)
	for name, spoil := range map[string]func(r *Redis, key, field string){
		"no JSON": func(_ *Redis, key, field string) { srv.set(key, field, "{") },
		"nothing": func(_ *Redis, key, field string) { srv.set(key, field, "") },
		"another type": func(_ *Redis, key, field string) {
			srv.set(key, field, `{"id":17,"joined_at":"yesterday","requested_at":{}}`)
		},
		"another kind of key": func(_ *Redis, key, field string) {
			if field == "" {
				srv.do("DEL", key)
				srv.do("SADD", key, "x")
			} else {
				srv.set(key, field, "{")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, r := t.Context(), srv.open()
			var scenes []*scene
			for _, room := range []string{"a", "b", "c"} {
				s, c := newScene(t, meeting.Created{Room: room})
				commit(t, r, c)
				s.play(r, human("ada", "u1"), said("x", "on"), said("x", "off"))
				s.play(r, human("bob", "u2"), gone("ada"), gone("bob"))
				s.later(meeting.SessionLinger).play(r, meeting.Tick{}, human("ada", "u1"), human("bob", "u2"), said("y", "on"))
				scenes = append(scenes, s)
			}
			bad, session := scenes[1].m, scenes[1].m.Session
			recordings := must(paged(r.Recordings(ctx, meeting.RecordingFilter{}, "", MaxPage)))(t).items
			spoil(r, r.keys.people(session.ID), bad.People[0].ID)
			spoil(r, r.keys.session(session.ID), "")
			spoil(r, r.keys.recording(recordings[0].ID), "")
			spoil(r, r.keys.meeting(scenes[2].m.ID), "json")

			open := must(r.Open(ctx))(t)
			if got, want := idsOf(open), []string{scenes[0].m.ID, bad.ID}; !slices.Equal(got, want) {
				t.Fatalf("open = %q, want %q", got, want)
			}
			sameMeeting(t, open[0], scenes[0].m)
			if got := open[1].People; len(got) != len(bad.People)-1 || got[0].ID == bad.People[0].ID {
				t.Errorf("%d people of the meeting with one that cannot be read, want all %d others", len(got), len(bad.People)-1)
			}
			if got := idsOf(must(paged(r.List(ctx, meeting.Filter{}, "", MaxPage)))(t).items); len(got) != 2 {
				t.Errorf("list = %q, want two", got)
			}
			if got := must(paged(r.Sessions(ctx, bad.ID, "", MaxPage)))(t).items; len(got) != 1 || got[0].ID == session.ID {
				t.Errorf("sessions = %v, want the first one", got)
			}
			if got := must(r.Participants(ctx, session.ID))(t); len(got) != len(bad.People)-1 {
				t.Errorf("%d participants, want %d", len(got), len(bad.People)-1)
			}
			if got := must(paged(r.Recordings(ctx, meeting.RecordingFilter{}, "", MaxPage)))(t).items; len(got) != len(recordings)-1 {
				t.Errorf("%d recordings, want %d", len(got), len(recordings)-1)
			}
			findings := fmt.Sprint(r.Findings())
			if !strings.Contains(findings, "left out 4 that cannot be read: ") {
				t.Errorf("findings are %q, want all four entries", findings)
			}
			if got := testutil.ToFloat64(r.metrics.errors[reasonUnreadable]); got != 4 {
				t.Errorf("counted %v unreadable entries, want each of 4 once", got)
			}
		})
	}
}

// TestAHashOfPeopleThatIsNone proves the same for all people of a session.
func TestAHashOfPeopleThatIsNone(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	a, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, r, c)
	b, c := newScene(t, meeting.Created{Room: "b"})
	commit(t, r, c)
	a.play(r, human("ada", "u1"))
	b.play(r, human("bob", "u2"))
	srv.do("DEL", r.keys.people(a.m.Session.ID))
	srv.do("SET", r.keys.people(a.m.Session.ID), "x")
	open := must(r.Open(t.Context()))(t)
	if len(open) != 2 || len(open[0].People) != 0 {
		t.Fatalf("open = %q, want both, the first without people", idsOf(open))
	}
	sameMeeting(t, open[1], b.m)
}

// set stores a value under a key, or in a field of it.
func (s *server) set(key, field, value string) {
	s.t.Helper()
	if field == "" {
		s.do("SET", key, value)
	} else {
		s.do("HSET", key, field, value)
	}
}
