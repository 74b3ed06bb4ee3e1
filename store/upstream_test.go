package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/meeting"
)

// TestForward puts events of another server into lists: once each, all or none,
// and only while this process leads.
func TestForward(t *testing.T) {
	srv := startServer(t)
	r, ctx := srv.open(), t.Context()
	r.fence.Store(7)
	endpoints := []string{"whk_a", "whk_b"}
	event := func(id string) json.RawMessage { return json.RawMessage(`{"id":"` + id + `","body":"José"}`) }
	for _, tt := range []struct {
		id    string
		fresh bool
	}{{"e1", true}, {"e1", false}, {"e2", true}, {"e1", false}} {
		if fresh, err := r.Forward(ctx, tt.id, "134", event(tt.id), endpoints); fresh != tt.fresh || err != nil {
			t.Errorf("forward %s = %v, %v, want %v", tt.id, fresh, err, tt.fresh)
		}
	}
	for _, endpoint := range endpoints {
		lists, err := r.ReadQueues(ctx, endpoint, []string{"134"}, 10)
		if want := []string{string(event("e1")), string(event("e2"))}; err != nil || !slices.Equal(texts(lists[0]), want) {
			t.Errorf("list of %s is %s, %v, want %s", endpoint, lists, err, want)
		}
		meetings, _, _, err := r.LoadQueue(ctx, endpoint)
		if err != nil || !slices.Equal(meetings, []string{"134"}) {
			t.Errorf("lists of %s: %q, %v", endpoint, meetings, err)
		}
		err = r.Ack(ctx, meeting.Acks{Endpoint: endpoint, Done: []meeting.Ack{{MeetingID: "134", Last: "e2", Count: 2}}})
		if left, _ := r.ReadQueues(ctx, endpoint, []string{"134"}, 10); err != nil || len(left[0]) > 0 {
			t.Errorf("after the acknowledgement %s is left, %v", left, err)
		}
	}
	if life := srv.raw.PTTL(ctx, r.keys.forwarded("e1")).Val(); life <= ForwardedRetention-time.Minute || life > ForwardedRetention {
		t.Errorf("an id is known for %v, want %v", life, ForwardedRetention)
	}

	srv.do("SET", r.keys.fence(), "8") // another leads
	if _, err := r.Forward(ctx, "e3", "134", event("e3"), endpoints); !errors.Is(err, meeting.ErrFenced) {
		t.Errorf("forward of a process that does not lead: %v, want %v", err, meeting.ErrFenced)
	}
	srv.do("SET", r.keys.fence(), "7")
	srv.do("CONFIG", "SET", "maxmemory", "1") // full
	if _, err := r.Forward(ctx, "e3", "134", event("e3"), endpoints); !errors.Is(err, meeting.ErrUnavailable) {
		t.Errorf("forward into a full Redis: %v, want %v", err, meeting.ErrUnavailable)
	}
	srv.do("CONFIG", "SET", "maxmemory", "0")
	if fresh, err := r.Forward(ctx, "e3", "134", event("e3"), endpoints); !fresh || err != nil {
		t.Errorf("forward of what was refused: %v, %v, want it taken", fresh, err)
	}
}

func texts(list []json.RawMessage) (all []string) {
	for _, text := range list {
		all = append(all, string(text))
	}
	return all
}

// TestUpstreamMeetings keeps where a room is until long after its end.
func TestUpstreamMeetings(t *testing.T) {
	srv := startServer(t)
	r, ctx := srv.open(), t.Context()
	now := time.Now()
	for id, end := range map[string]time.Time{"1": now.Add(time.Hour), "2": now.Add(-time.Hour), "3": now.Add(-2 * Retention)} {
		for range 2 {
			if err := r.PutUpstream(ctx, id, "room-"+id, end); err != nil {
				t.Fatal(err)
			}
		}
	}
	for room, want := range map[string]string{"room-1": "1", "room-2": "2", "room-9": ""} {
		if id, err := r.UpstreamMeeting(ctx, room); id != want || err != nil {
			t.Errorf("meeting of %s is %q, %v, want %q", room, id, err, want)
		}
	}
	if life := srv.raw.PTTL(ctx, r.keys.upstreamRoom("room-1")).Val(); life < Retention+59*time.Minute || life > Retention+time.Hour {
		t.Errorf("room-1 is known for %v, want its hour and %v", life, Retention)
	}
	if n, err := r.UpstreamOpen(ctx); n != 1 || err != nil {
		t.Errorf("%d are not over, %v, want 1", n, err)
	}
	if n := srv.raw.ZCard(ctx, r.keys.upstream()).Val(); n != 2 {
		t.Errorf("%d are kept, want the 2 of the last %v", n, Retention)
	}
	for _, key := range srv.raw.Keys(context.Background(), string(r.keys)+"upstream*").Val() {
		if strings.Contains(key, "room-") && srv.raw.PTTL(ctx, key).Val() <= 0 {
			t.Errorf("%s never expires", key)
		}
	}
}
