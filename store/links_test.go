package store

import (
	"errors"
	"maps"
	"testing"
	"time"

	"usher/meeting"
)

func testLinks(t *testing.T, b backing) {
	ctx, st := t.Context(), b.store
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, st, c)
	putLink := func(hash, link string) bool {
		t.Helper()
		return must(st.PutLink(ctx, s.m.ID, hash, []byte(link), 2))(t)
	}
	if !putLink("h1", "one") || !putLink("h2", "two") || putLink("h3", "three") {
		t.Error("want two links stored, and a third refused")
	}
	if !putLink("h1", "one, changed") {
		t.Error("a link cannot be changed when there are as many as may be")
	}
	s.play(st, human("ada", "")) // changes of the meeting leave its links alone
	sameMeeting(t, must(st.Load(ctx, s.m.ID))(t), s.m)
	if got := must(st.Link(ctx, s.m.ID, "h1"))(t); string(got) != "one, changed" {
		t.Errorf("link = %q", got)
	}
	got := map[string]string{}
	for hash, link := range must(st.Links(ctx, s.m.ID))(t) {
		got[hash] = string(link)
	}
	if want := map[string]string{"h1": "one, changed", "h2": "two"}; !maps.Equal(got, want) {
		t.Errorf("links = %q, want %q", got, want)
	}
	for _, key := range [][2]string{{s.m.ID, "h3"}, {"mtg_none", "h1"}} {
		if _, err := st.Link(ctx, key[0], key[1]); !errors.Is(err, meeting.ErrNotFound) {
			t.Errorf("link %v = %v, want ErrNotFound", key, err)
		}
	}
	if _, err := st.PutLink(ctx, "mtg_none", "h", nil, 2); !errors.Is(err, meeting.ErrNotFound) {
		t.Errorf("link of a meeting that is not there = %v, want ErrNotFound", err)
	}
	s.play(st, meeting.Ended{Reason: meeting.EndRequested}, meeting.RoomGone{Reason: meeting.LeftDestroyed})
	if _, err := st.Link(ctx, s.m.ID, "h1"); err != nil {
		t.Errorf("link of an ended meeting: %v; people are to be told that it is over", err)
	}
	if err := st.Forget(ctx, s.m.ID); err != nil {
		t.Fatal(err)
	}
	if left := must(st.Links(ctx, s.m.ID))(t); len(left) != 0 {
		t.Errorf("%d links of a forgotten meeting are left", len(left))
	}
}

func TestLinksExpireWithTheirMeeting(t *testing.T) {
	srv := startServer(t)
	r := srv.open()
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, r, c)
	must(r.PutLink(t.Context(), s.m.ID, "h", []byte("x"), 1))(t)
	s.play(r, meeting.Ended{Reason: meeting.EndRequested}, meeting.RoomGone{Reason: meeting.LeftDestroyed})
	must(r.PutLink(t.Context(), s.m.ID, "h", []byte("revoked"), 1))(t)
	if got := must(srv.raw.PTTL(t.Context(), r.keys.meeting(s.m.ID)).Result())(t); got > Retention || got < Retention-time.Minute {
		t.Errorf("the links live %v, want %v", got, Retention)
	}
}
