package jibri

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"usher/meeting"
)

// TestPlan holds each rule of the plan in one small situation.
func TestPlan(t *testing.T) {
	now := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	// waiting is a meeting that asked for a recorder so many minutes ago.
	waiting := func(minutes int, change func(*task)) *task {
		k := &task{m: meeting.Meeting{
			Focus:      meeting.FocusSays{Here: true},
			People:     []meeting.Participant{{Person: meeting.Person{Kind: meeting.KindHuman}, Connections: []meeting.Occupant{{}}}},
			Recordings: []meeting.Recording{{RecordingStatus: meeting.RecordingStatus{State: meeting.RecordingRequested, RequestedAt: meeting.Time{Time: in(-time.Duration(minutes) * time.Minute)}}}},
		}}
		if change != nil {
			change(k)
		}
		return k
	}
	asking := func(since time.Duration) func(*task) {
		return func(k *task) { k.calling, k.startedAt = true, in(-since) }
	}
	rec := func(change func(r *meeting.Recording)) func(*task) {
		return func(k *task) { change(&k.m.Recordings[0]) }
	}
	stopping := rec(func(r *meeting.Recording) { r.State = meeting.RecordingStopping })
	hidden, idle := recorderCount{}, func(n int) recorderCount { return recorderCount{visible: true, idle: n} }
	for _, tt := range []struct {
		name  string
		tasks map[string]*task
		s     situation
		want  string
	}{
		{"nothing to do", nil, situation{recorders: idle(1)}, ""},
		{"who asked first is first", map[string]*task{"a": waiting(1, nil), "b": waiting(2, nil)},
			situation{recorders: idle(2)}, "start b a"},
		{"priority is before that", map[string]*task{"a": waiting(1, rec(func(r *meeting.Recording) { r.Priority = 1 })), "b": waiting(2, nil)},
			situation{recorders: idle(2)}, "start a b"},
		{"as many as are idle", map[string]*task{"a": waiting(1, nil), "b": waiting(2, nil)},
			situation{recorders: idle(1)}, "start b, wait a recorders_busy"},
		{"a request under way has one", map[string]*task{"a": waiting(1, nil), "b": waiting(2, asking(time.Minute))},
			situation{recorders: idle(1)}, "wait a recorders_busy"},
		{"who was just found counts as taken", map[string]*task{"a": waiting(1, nil)},
			situation{recorders: idle(1), taken: []time.Time{in(time.Second)}}, "wait a recorders_busy, next 1s"},
		{"unless one became busy", map[string]*task{"a": waiting(1, nil)},
			situation{recorders: recorderCount{true, 1, 1}, taken: []time.Time{in(time.Second)}}, "start a"},
		{"none before the time to try again", map[string]*task{"a": waiting(1, nil)},
			situation{recorders: idle(1), retryAt: in(time.Second)}, "wait a recorders_busy, next 1s"},
		{"hidden recorders are asked for one at a time", map[string]*task{"a": waiting(1, nil), "b": waiting(2, nil)},
			situation{recorders: hidden}, "start b"},
		{"while the focus is quick to answer", map[string]*task{"a": waiting(1, nil), "b": waiting(2, asking(time.Second))},
			situation{recorders: hidden}, "next 2s"},
		{"and no longer", map[string]*task{"a": waiting(1, nil), "b": waiting(2, asking(3*time.Second))},
			situation{recorders: hidden}, "start a"},
		{"the focus's reason", map[string]*task{"a": waiting(1, nil)},
			situation{recorders: hidden, retryAt: in(5 * time.Second), shortage: meeting.ReasonNoRecorder}, "wait a no_recorders, next 5s"},
		{"told once", map[string]*task{"a": waiting(1, rec(func(r *meeting.Recording) { r.State, r.Waits = meeting.RecordingQueued, meeting.ReasonBusy }))},
			situation{recorders: idle(0)}, ""},
		{"not ready yet", map[string]*task{"a": waiting(1, rec(func(r *meeting.Recording) { r.NotBefore = in(4 * time.Second) })), "b": waiting(0, nil)},
			situation{recorders: idle(1)}, "start b, next 4s"},
		{"a report is under way", map[string]*task{"a": waiting(1, func(k *task) { k.calling = true })},
			situation{recorders: idle(1)}, ""},
		{"stop", map[string]*task{"a": waiting(1, stopping)}, situation{recorders: idle(0)}, "stop a"},
		{"stop again", map[string]*task{"a": waiting(1, func(k *task) { stopping(k); k.stopAt = in(2 * time.Second) })},
			situation{recorders: idle(0)}, "next 2s"},
	} {
		for name, k := range tt.tasks {
			k.id, k.m.ID, k.m.Recordings[0].ID = name, name, name
		}
		tt.s.now, tt.s.tasks = now, tt.tasks
		if got := words(tt.s.plan(), now); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// words puts a plan on one line.
func words(p plan, now time.Time) string {
	var parts []string
	add := func(verb string, tasks []*task, reason string) {
		if len(tasks) == 0 {
			return
		}
		for _, k := range tasks {
			verb += " " + k.id
		}
		parts = append(parts, strings.TrimSpace(verb+" "+reason))
	}
	add("stop", p.stop, "")
	add("start", p.start, "")
	add("wait", p.wait, string(p.reason))
	if !p.next.IsZero() {
		parts = append(parts, fmt.Sprintf("next %v", p.next.Sub(now)))
	}
	return strings.Join(parts, ", ")
}
