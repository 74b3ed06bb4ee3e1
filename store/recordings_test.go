package store

import (
	"errors"
	"testing"
	"time"

	"usher/internal/memorystore"
	"usher/meeting"
)

// TestRecordings keeps a recording by its id and by Jibri's, over the end of
// its meeting, brings the meeting back for a late file, and forgets both.
func TestRecordings(t *testing.T) {
	srv := startServer(t)
	for name, s := range map[string]contract{"redis": srv.open(), "memory": new(memorystore.Memory)} {
		t.Run(name, func(t *testing.T) {
			defer s.Close()
			ctx := t.Context()
			room := "recorded-" + name
			scene, created := newScene(t, meeting.Created{Room: room})
			commit(t, s, created)
			scene.play(s, human("ada", "u1"), said("one", "on"), said("one", "off"), said("two", "on"),
				meeting.Ended{Reason: meeting.EndRequested}, meeting.RoomGone{Reason: meeting.LeftDestroyed})

			one := must(s.RecordingOf(ctx, "j-one"))(t)
			if got := must(s.Recording(ctx, one.ID))(t); got.State != meeting.RecordingProcessing || got.Room != room {
				t.Errorf("recording one is %+v", got)
			}
			all := must(paged(s.Recordings(ctx, meeting.RecordingFilter{MeetingID: scene.m.ID}, "", 1)))(t)
			if len(all.items) != 1 || all.items[0].JibriSession != "j-two" || all.next == "" {
				t.Errorf("newest recording is %+v, next %q", all.items, all.next)
			}
			all = must(paged(s.Recordings(ctx, meeting.RecordingFilter{MeetingID: scene.m.ID}, all.next, 1)))(t)
			if len(all.items) != 1 || all.items[0].ID != one.ID || all.next != "" {
				t.Errorf("the one before is %+v, next %q", all.items, all.next)
			}
			if _, err := s.RecordingOf(ctx, "j-three"); !errors.Is(err, meeting.ErrNotFound) {
				t.Errorf("a session that nobody knows: %v", err)
			}

			// Its files are awaited, but the next meeting may have the room.
			if open := must(s.Open(ctx))(t); len(open) != 1 {
				t.Errorf("%d meetings are open, want the one that awaits files", len(open))
			}
			_, next := newScene(t, meeting.Created{Room: room, ReuseRoom: true})
			commit(t, s, next)

			scene.play(s, scene.file("j-one"), scene.file("j-two"))
			if got := must(s.Recording(ctx, one.ID))(t); got.State != meeting.RecordingAvailable || len(got.Files) != 1 {
				t.Errorf("recording one is %+v, want it available", got)
			}
			scene.later(2*time.Hour).play(s, meeting.Tick{})
			if open := idsOf(must(s.Open(ctx))(t)); len(open) != 1 || open[0] != next.Meeting.ID {
				t.Errorf("open are %v, want only the room's next meeting", open)
			}
			late := scene.file("j-two")
			late.Recording = must(s.RecordingOf(ctx, "j-two"))(t)
			late.Files[0].Dir = "another"
			scene.play(s, late)
			if open := must(s.Open(ctx))(t); len(open) != 2 {
				t.Errorf("%d meetings are open, want the old one back as well", len(open))
			}
			if err := s.Forget(ctx, scene.m.ID); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Recording(ctx, one.ID); !errors.Is(err, meeting.ErrNotFound) {
				t.Errorf("a forgotten meeting's recording: %v", err)
			}
		})
	}
}
