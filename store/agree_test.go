package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"usher/internal/memorystore"
	"usher/meeting"
)

// TestStoresAgree plays random meetings into both stores, with repetitions,
// stale versions and whole commits, and compares all that they say.
func TestStoresAgree(t *testing.T) {
	srv := startServer(t)
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		r, mem := srv.open(), new(memorystore.Memory)
		defer r.Close()
		var scenes []*scene
		both := func(c meeting.Commit) error {
			got, want := r.Commit(ctx, c), mem.Commit(ctx, c)
			var conflict, conflict2 *meeting.ConflictError
			var exists, exists2 *meeting.ExistsError
			var held, held2 *meeting.RoomHeldError
			switch {
			case got == nil && want == nil:
			case errors.As(got, &conflict) && errors.As(want, &conflict2) && *conflict == *conflict2:
			case errors.As(got, &exists) && errors.As(want, &exists2) && *exists == *exists2:
			case errors.As(got, &held) && errors.As(want, &held2) && held.Until.Equal(held2.Until):
			default:
				rt.Fatalf("commit of %s: redis says %v, memory %v", encode(c.Meeting), got, want)
			}
			return got
		}
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				s, c := newScene(t, meeting.Created{
					Room:       rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "room"),
					ExternalID: rapid.SampledFrom([]string{"", "x", "y", "z"}).Draw(rt, "external"),
					ReuseRoom:  rapid.Bool().Draw(rt, "reuse"),
				})
				s.later(time.Duration(len(scenes)) * time.Minute)
				if both(c) == nil {
					scenes = append(scenes, s)
				}
			},
			"change": func(rt *rapid.T) {
				// Skip is rapid's word for an action that does not apply now: it draws
				// another one, and the sequence goes on.
				if len(scenes) == 0 {
					rt.Skip()
				}
				s := rapid.SampledFrom(scenes).Draw(rt, "meeting")
				nick := rapid.SampledFrom([]string{"ada", "bob", "eve"}).Draw(rt, "nick")
				user := rapid.SampledFrom([]string{"", "u1"}).Draw(rt, "user")
				f := rapid.SampledFrom([]meeting.Input{
					human(nick, user), raised(nick, user), gone(nick), meeting.Tick{}, meeting.SightLost{},
					meeting.Invited{UserID: user, TokenExpires: s.now.AddDate(0, 0, len(nick+user)).UTC()},
					meeting.Ended{Reason: meeting.EndRequested}, meeting.RoomGone{Reason: meeting.LeftDestroyed},
					said(nick, "on"), said(nick, "off"), said("", ""), s.file("j-" + nick),
				}).Draw(rt, "input")
				if stored, is := f.(meeting.RecordingInput); is && stored.Recording.ID == "" {
					rt.Skip()
				}
				switch f.(type) {
				case meeting.Ended, meeting.Invited:
					if s.m.State() == meeting.StateEnded {
						rt.Skip()
					}
				}
				was := s.m
				c := s.later(rapid.SampledFrom([]time.Duration{0, 2 * meeting.SessionLinger}).Draw(rt, "later")).apply(f)
				if c.Meeting.Version == was.Version {
					return
				}
				switch rapid.IntRange(0, 9).Draw(rt, "twist") {
				case 0: // lost
					s.m = was
					return
				case 1:
					c.Whole = true
					c.People = append(c.People, notIn(c.People, s.m.People)...)
					c.Recordings = s.m.Recordings
				case 2:
					c.From--
				}
				if both(c) != nil {
					s.m = was
				} else if rapid.Bool().Draw(rt, "again") {
					_ = both(c)
				}
			},
		})
		agree(ctx, rt, r, mem, scenes)
	})
}

// notIn returns those of a session who are not on the list yet.
func notIn(list, all []meeting.Participant) (rest []meeting.Participant) {
	known := map[string]bool{"": true}
	for _, p := range list {
		known[p.ID] = true
	}
	for _, p := range all {
		if !known[p.ID] && p.SessionID != "" {
			rest = append(rest, p)
		}
	}
	return rest
}

// agree compares everything that the two stores hold.
func agree(ctx context.Context, t *rapid.T, r, mem contract, scenes []*scene) {
	same := func(what string, f func(s contract) (any, error)) {
		got, err := f(r)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		want, err := f(mem)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !reflect.DeepEqual(string(encode(got)), string(encode(want))) {
			t.Fatalf("%s:\nredis  %s\nmemory %s", what, encode(got), encode(want))
		}
	}
	same("open", func(s contract) (any, error) { return withPeople(s.Open(ctx)) })
	for _, f := range []meeting.Filter{
		{}, {State: meeting.StateCreated}, {State: meeting.StateLive}, {State: meeting.StateEnded},
		{Room: "a"}, {Room: "b", State: meeting.StateEnded}, {ExternalID: "x"},
	} {
		same(fmt.Sprintf("list %+v", f), func(s contract) (any, error) {
			all, _, err := s.List(ctx, f, "", MaxPage)
			return withPeople(all, err)
		})
	}
	for _, f := range []meeting.RecordingFilter{{}, {State: meeting.RecordingOn}, {State: meeting.RecordingAvailable}} {
		same(fmt.Sprintf("recordings %+v", f), func(s contract) (any, error) {
			all, _, err := s.Recordings(ctx, f, "", MaxPage)
			return append([]meeting.Recording{}, all...), err
		})
	}
	ids := []string{"mtg_nobody"}
	for _, s := range scenes {
		ids = append(ids, s.m.ID)
	}
	same("over", func(s contract) (any, error) { return s.Over(ctx, ids) })
	for _, s := range scenes {
		same("recordings of a meeting", func(st contract) (any, error) {
			all, _, err := st.Recordings(ctx, meeting.RecordingFilter{MeetingID: s.m.ID}, "", MaxPage)
			return append([]meeting.Recording{}, all...), err
		})
		var sessions []meeting.Session
		same("sessions", func(st contract) (_ any, err error) {
			sessions, _, err = st.Sessions(ctx, s.m.ID, "", MaxPage)
			return append([]meeting.Session{}, sessions...), err
		})
		for _, session := range sessions {
			same("session", func(st contract) (any, error) { return st.Session(ctx, session.ID) })
			same("participants", func(st contract) (any, error) {
				people, err := st.Participants(ctx, session.ID)
				return append([]meeting.Participant{}, people...), err
			})
		}
	}
	same("events", func(s contract) (any, error) {
		entries, err := s.Events(ctx, "", MaxPage)
		events := []string{}
		for _, e := range entries {
			events = append(events, string(e.Event))
		}
		return events, err
	})
}

// withPeople is meetings as text that holds their people too.
func withPeople(all []meeting.Meeting, err error) (any, error) {
	text := []string{}
	for _, m := range all {
		text = append(text, string(encode(m))+string(encode(append([]meeting.Participant{}, m.People...))))
	}
	return text, err
}
