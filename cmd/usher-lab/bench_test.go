package main

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"usher/internal/stack/stacktest"
)

func TestBudgetLine(t *testing.T) {
	for _, tt := range []struct {
		budget budget
		value  float64
		want   string
	}{
		{budget{name: "a", unit: "ms", limit: 0.5}, 0.25, `{"name":"a","value":0.250,"unit":"ms","budget":0.5,"ok":true}`},
		{budget{name: "a", unit: "ms", limit: 0.5}, 0.5, `{"name":"a","value":0.500,"unit":"ms","budget":0.5,"ok":true}`},
		{budget{name: "a", unit: "ms", limit: 0.5}, 0.6, `{"name":"a","value":0.600,"unit":"ms","budget":0.5,"ok":false}`},
		{budget{name: "b", unit: "1/s", limit: 20_000, atLeast: true}, 19_999.4, `{"name":"b","value":19999,"unit":"1/s","budget":20000,"ok":false}`},
		{budget{name: "b", unit: "1/s", limit: 20_000, atLeast: true}, 20_000, `{"name":"b","value":20000,"unit":"1/s","budget":20000,"ok":true}`},
		{budget{name: "c", unit: "ms"}, 2, `{"name":"c","value":2.000,"unit":"ms"}`},
	} {
		var b bytes.Buffer
		if err := tt.budget.print(&b, tt.value); err != nil || b.String() != tt.want+"\n" {
			t.Errorf("%v of %v = %s (%v), want %s", tt.budget.name, tt.value, b.String(), err, tt.want)
		}
	}
}

// TestRig proves that usher gets ready, sees everybody and has a meeting recorded on
// the server that the measurements have in Prosody's place.
func TestRig(t *testing.T) {
	stacktest.Needed(t)
	t.Parallel()
	b := &bench{program: usher(t), dir: t.TempDir(), progress: t.Output(), begin: time.Now()}
	full, err := b.newRig(t.Context(), 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	full.stop()
	r, started, ids, err := b.recordRig(t.Context(), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.stop()
	if err := r.usher.record(t.Context(), ids["room-0"], 0); err != nil {
		t.Fatal(err)
	}
	if err := r.usher.until(t.Context(), func() (bool, error) { return started.count() == 1, nil }); err != nil {
		t.Errorf("a recording: %v", err)
	}
}

func TestPercentile(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	for p, want := range map[int]float64{0: 1, 50: 3, 99: 4, 100: 5} {
		if got := percentile(values, p); got != want {
			t.Errorf("percentile %d = %v, want %v", p, got, want)
		}
	}
}

func TestBenchReceiver(t *testing.T) {
	for _, tt := range []struct {
		name string
		seqs []int
		want int
		ok   bool
	}{
		{"in order", []int{1, 2, 3}, 3, true},
		{"one again", []int{1, 2, 2, 3}, 3, true},
		{"one lost", []int{1, 3}, 2, false},
		{"overtaken", []int{2, 1}, 2, false},
		{"last one lost", []int{1, 2}, 3, false},
	} {
		h, err := newBenchReceiver()
		if err != nil {
			t.Fatal(err)
		}
		for _, seq := range tt.seqs {
			body := fmt.Sprintf(`{"id":"evt_%d","meeting_id":"mtg_a","seq":%d}`, seq, seq)
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(body)))
		}
		if _, err := h.take(tt.want); (err == nil) != tt.ok {
			t.Errorf("%s: take = %v", tt.name, err)
		}
		h.close()
	}
}
