package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/meeting"
)

// TestChaosCheck feeds the comparison a run in which one thing is wrong.
func TestChaosCheck(t *testing.T) {
	start := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	commit := func(seq int64, typ, nick string) committedEvent {
		text := fmt.Sprintf(`{"id":"evt_%d","type":%q,"meeting_id":"mtg_a","seq":%d,"data":{"participant":{"id":"prt_%s","kind":"human","endpoint_id":%q}}}`, seq, typ, seq, nick, nick)
		e, err := readEvent(text)
		if err != nil {
			t.Fatal(err)
		}
		return committedEvent{event: e, text: text, at: start.Add(time.Duration(seq) * time.Second)}
	}
	for _, tt := range []struct {
		name   string
		change func(l *ledger)
		want   verdict
	}{
		{"all is well", func(*ledger) {}, verdict{events: 4}},
		{"one came again", func(l *ledger) { l.arrived["app"] = append(l.arrived["app"], l.arrived["app"][1]) }, verdict{events: 4}},
		{"one never came", func(l *ledger) { l.arrived["app"] = slices.Delete(l.arrived["app"], 2, 3) }, verdict{events: 4, lost: 1}},
		{"the last leave never came", func(l *ledger) { l.arrived["app"] = slices.Delete(l.arrived["app"], 3, 4) }, verdict{events: 4, lost: 1, phantom: 1}},
		{"one was overtaken", func(l *ledger) {
			a := l.arrived["app"]
			a[2], a[3] = a[3], a[2]
		}, verdict{events: 4, reordered: 1}},
		{"one was never committed", func(l *ledger) { l.committed = l.committed[:3] }, verdict{events: 3, phantom: 1}},
		{"one came again with another value", func(l *ledger) {
			again := l.arrived["app"][3]
			again.text = `{"id":"evt_4"}`
			l.arrived["app"] = append(l.arrived["app"], again)
		}, verdict{events: 4, phantom: 1}},
		{"one has another value than its commit", func(l *ledger) { l.arrived["app"][3].text = `{"id":"evt_4"}` }, verdict{events: 4, phantom: 1}},
		{"an id was committed for two events", func(l *ledger) {
			e := l.committed[3]
			e.text = `{"id":"evt_4"}`
			l.committed = append([]committedEvent{e}, l.committed...)
		}, verdict{events: 5, phantom: 1}},
		{"somebody is inside unknown to the API", func(l *ledger) { l.listed["mtg_a"] = nil }, verdict{events: 4, lost: 1}},
		{"somebody has left unknown to all", func(l *ledger) { l.inside["mtg_a"] = nil }, verdict{events: 4, phantom: 2}},
		{"somebody is inside unknown to all", func(l *ledger) { l.inside["mtg_a"]["ann"] = true }, verdict{events: 4, lost: 2}},
		{"one was taken from Redis, and the next says gap", func(l *ledger) {
			l.doubt = start
			l.losses = []lossWindow{{start.Add(2 * time.Second), start.Add(3 * time.Second)}}
			l.arrived["app"] = slices.Delete(l.arrived["app"], 2, 3)
			l.arrived["app"][2].gap = true
		}, verdict{events: 4, announced: 1}},
		{"one was taken from Redis, and none says gap", func(l *ledger) {
			l.doubt = start
			l.losses = []lossWindow{{start.Add(2 * time.Second), start.Add(3 * time.Second)}}
			l.arrived["app"] = slices.Delete(l.arrived["app"], 2, 3)
		}, verdict{events: 4, lost: 1}},
		{"the gap came before", func(l *ledger) {
			l.doubt = start
			l.losses = []lossWindow{{start.Add(2 * time.Second), start.Add(5 * time.Second)}}
			l.arrived["app"] = slices.Delete(l.arrived["app"], 3, 4)
			l.arrived["app"][2].gap = true
		}, verdict{events: 4, lost: 1}},
		{"a number is left out, and the next does not say gap", func(l *ledger) {
			l.committed[3].Seq, l.arrived["app"][3].Seq = 1_000_004, 1_000_004
		}, verdict{events: 4, phantom: 1}},
		{"one says gap, and nothing can be missing", func(l *ledger) { l.arrived["app"][2].gap = true }, verdict{events: 4, phantom: 1}},
		{"one says gap before anything can be missing", func(l *ledger) {
			l.doubt = l.committed[3].at
			l.arrived["app"][2].gap = true
		}, verdict{events: 4, phantom: 1}},
		{"a number is left out, and the next says gap", func(l *ledger) {
			l.doubt = start
			l.committed[3].Seq, l.arrived["app"][3].Seq, l.arrived["app"][3].gap = 1_000_004, 1_000_004, true
		}, verdict{events: 4}},
		{"a leave was taken from Redis, and the next says gap", func(l *ledger) {
			l.doubt = start
			l.losses = []lossWindow{{start, start.Add(9 * time.Second)}}
			l.committed = append(l.committed, commit(5, "participant.joined", "eve"))
			l.arrived["app"][3] = arrival{event: l.committed[4].event, text: l.committed[4].text, gap: true, at: l.committed[4].at}
			l.inside["mtg_a"]["eve"], l.listed["mtg_a"] = true, map[string]bool{"bob": true, "eve": true}
		}, verdict{events: 5, announced: 1}},
		{"one is missing from another time, and the next says gap", func(l *ledger) {
			l.doubt = start
			l.losses = []lossWindow{{start, start.Add(time.Second)}}
			l.arrived["app"] = slices.Delete(l.arrived["app"], 2, 3)
			l.arrived["app"][2].gap = true
		}, verdict{events: 4, lost: 1}},
	} {
		l := &ledger{
			committed: []committedEvent{
				commit(1, "participant.joined", "ann"), commit(2, "participant.joined", "bob"),
				commit(3, "participant.updated", "ann"), commit(4, "participant.left", "ann"),
			},
			arrived: map[string][]arrival{},
			inside:  map[string]map[string]bool{"mtg_a": {"bob": true}},
			listed:  map[string]map[string]bool{"mtg_a": {"bob": true}},
		}
		for _, e := range l.committed {
			l.arrived["app"] = append(l.arrived["app"], arrival{event: e.event, text: e.text, at: e.at})
		}
		tt.change(l)
		got := l.check()
		examples := got.examples
		got.examples = nil
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %+v, want %+v; %q", tt.name, got, tt.want, examples)
		}
	}
}

// TestChaosCheckRecordings lets an app be told of one recording, in all orders
// that have something wrong.
func TestChaosCheckRecordings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		states string // as they came
		now    meeting.RecordingState
		want   verdict
	}{
		{"a whole one", "requested queued starting recording stopping processing available", "available", verdict{}},
		{"a second file", "requested starting recording processing available available", "available", verdict{}},
		{"started twice", "requested starting recording stopping recording", "recording", verdict{phantom: 1}},
		{"goes on after its end", "requested failed starting", "starting", verdict{phantom: 1}},
		{"the end is missing", "requested starting recording", "processing", verdict{lost: 1}},
		{"all is missing", "", "processing", verdict{lost: 1}},
	} {
		l := &ledger{arrived: map[string][]arrival{}, recordings: map[string]meeting.RecordingState{"rec_a": tt.now}}
		for i, state := range strings.Fields(tt.states) {
			a := arrival{event: event{ID: fmt.Sprint("evt_", i), Type: "recording." + state, MeetingID: "mtg_a"}}
			if state == "recording" {
				a.Type = "recording.started"
			}
			a.Data.Recording.ID, a.Data.Recording.State = "rec_a", meeting.RecordingState(state)
			l.arrived["app"] = append(l.arrived["app"], a, a) // the second is a repeat
		}
		var got verdict
		l.checkRecordings(&got, "app")
		examples := got.examples
		got.examples = nil
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %+v, want %+v; %q", tt.name, got, tt.want, examples)
		}
		if len(l.arrived["app"]) == 0 {
			continue
		}
		l.arrived["app"][0].gap = true
		got = verdict{}
		if l.checkRecordings(&got, "app"); !got.ok() {
			t.Errorf("%s: %+v although it says gap", tt.name, got)
		}
	}
}

func TestWithoutGap(t *testing.T) {
	for body, want := range map[string]string{
		`{"id":"evt_1"}`:            `{"id":"evt_1"} false`,
		`{"id":"evt_1","gap":true}`: `{"id":"evt_1"} true`,
	} {
		if text, gap := withoutGap(body); fmt.Sprint(text, " ", gap) != want {
			t.Errorf("%s: %s %v, want %s", body, text, gap, want)
		}
	}
}
