package webhook

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestStoreEmptied loses all lists of the store while one event is in flight, two
// wait behind it, and one is to be tried again later.
func TestStoreEmptied(t *testing.T) {
	w := newWorld(t, func(d *delivery) (answer, time.Duration, time.Duration) {
		if d.list.id == "mtg_later" && d.event.Seq == 1 {
			return failed, 0, time.Millisecond
		}
		return accepted, 0, time.Second
	})
	w.commit("a", "mtg_later", 1, 1)
	w.run(10 * time.Millisecond)
	w.commit("a", "mtg_now", 1, 3)
	held := w.q.storeEmptied(w.now)
	if got := len(held["a"]["mtg_now"]); got != 3 || len(held["a"]) != 1 {
		t.Errorf("%v are in memory, want the three events of mtg_now", held)
	}
	w.lists["a"] = map[string][]*event{"mtg_now": w.lists["a"]["mtg_now"]}
	w.commit("a", "mtg_later", 2, 1)
	w.run(10 * time.Second)
	var got []string
	for _, a := range w.arrived[1:] {
		got = append(got, fmt.Sprint(a.id, " ", a.gap))
	}
	slices.Sort(got)
	if want := []string{"mtg_later-002 true", "mtg_now-001 false", "mtg_now-002 false", "mtg_now-003 false"}; !slices.Equal(got, want) {
		t.Errorf("arrived %v, want %v", got, want)
	}
}

// TestStoreEmptiedOfWhatWasNotInMemory loses the lists of an endpoint that hangs,
// which are in the store alone, and those beyond what fits into memory. The events
// that come next say gap, up to the first one after the loss.
func TestStoreEmptiedOfWhatWasNotInMemory(t *testing.T) {
	hangs := true
	w := newWorld(t, func(d *delivery) (answer, time.Duration, time.Duration) {
		if hangs && d.list.endpoint.id == "hangs" {
			return failed, 0, time.Second
		}
		return accepted, 0, time.Millisecond
	})
	w.commit("hangs", "mtg_1", 1, 3)
	w.commit("hangs", "mtg_2", 1, 1)
	w.run(time.Minute)
	w.commit("hangs", "mtg_2", 2, 1)
	const beyond = maxInMemory + 10
	w.commit("works", "mtg_3", 1, beyond)
	inMemory := w.q.storeEmptied(w.now)["works"]["mtg_3"]
	if len(inMemory) == 0 || len(inMemory) >= beyond {
		t.Fatalf("%d events in memory, want some of %d", len(inMemory), beyond)
	}
	for endpoint, lists := range w.lists {
		for id, list := range lists {
			if endpoint == "works" {
				lists[id] = list[:len(inMemory)]
			} else {
				delete(lists, id)
			}
		}
	}
	hangs, w.arrived = false, nil
	w.commit("hangs", "mtg_1", 4, 2)
	w.commit("hangs", "mtg_2", 3, 2)
	w.commit("works", "mtg_3", beyond+1, 2)
	w.run(time.Minute)
	var got []string
	for _, a := range w.arrived {
		if a.seq > 2 && (a.endpoint == "hangs" || a.seq > beyond) {
			got = append(got, fmt.Sprint(a.id, " ", a.gap))
		}
	}
	slices.Sort(got)
	want := []string{"mtg_1-004 true", "mtg_1-005 false", "mtg_2-003 true", "mtg_2-004 false",
		fmt.Sprintf("mtg_3-%03d true", beyond+1), fmt.Sprintf("mtg_3-%03d false", beyond+2)}
	if !slices.Equal(got, want) {
		t.Errorf("arrived %v, want %v", got, want)
	}
}
