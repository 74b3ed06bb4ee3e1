package webhook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"usher/meeting"
)

// TestRefusedEvent lets an endpoint refuse events of meetings that it does not
// know (400) and accept its own: its own are not held up, and those refused are
// tried five times more within 15 minutes and given up.
func TestRefusedEvent(t *testing.T) {
	w := newWorld(t, func(d *delivery) (answer, time.Duration, time.Duration) {
		if strings.HasPrefix(d.list.id, "other") && d.event.Seq == 1 {
			return refused, 0, quick
		}
		return accepted, 0, quick
	})
	w.endpoint("crm")
	for i := range 20 {
		w.commit("crm", fmt.Sprint("other", i), 1, 2)
	}
	w.run(time.Second)
	for seq := 1; seq < 20; seq++ {
		w.commit("crm", "mine", seq, 1)
		w.run(time.Minute)
	}
	for _, a := range w.arrived {
		if due := time.Second + time.Duration(a.seq-1)*time.Minute; a.meeting == "mine" && a.at != due {
			t.Errorf("event %d of mine was sent at %v, want %v", a.seq, a.at, due)
		}
	}
	// The first try is one of ten for a failing endpoint. Then mine was accepted,
	// which makes all due, and shows that it means the event: five tries follow.
	w.want("other3-001", 0, time.Second, 5*time.Second, 10*time.Second, 65*time.Second, 305*time.Second, 905*time.Second)
	if len(w.dead) != 20 {
		t.Errorf("%d dead letters, want 20", len(w.dead))
	}
	if second := w.of("other3-002"); len(second) != 1 || !second[0].gap || second[0].at.Round(time.Second) != 905*time.Second {
		t.Errorf("after the refused event: %+v, want the next one, with a gap", second)
	}
}

// TestRefusedByAll lets an endpoint refuse everything (404: it is not deployed
// yet), so that it fails: it is probed, new meetings are tried once, and nothing
// is given up before three days.
func TestRefusedByAll(t *testing.T) {
	up := false
	w := newWorld(t, func(*delivery) (answer, time.Duration, time.Duration) {
		if up {
			return accepted, 0, quick
		}
		return refused, 0, quick
	})
	w.commit("crm", "a", 1, 3)
	w.run(time.Hour)
	if fails := w.q.fails(); !slices.Equal(fails, []string{"crm"}) {
		t.Errorf("failing are %v, want crm", fails)
	}
	if n := len(w.of("a-001")); n < 235 || n > 250 || len(w.dead) > 0 {
		t.Errorf("%d tries in an hour, %d dead letters; want one every %v, none", n, len(w.dead), ProbeInterval)
	}
	w.commit("crm", "b", 1, 1)
	w.run(time.Second)
	w.want("b-001", time.Hour)
	up = true
	w.run(2 * ProbeInterval)
	for id := range map[string]bool{"a-003": true, "b-001": true} {
		if all := w.of(id); len(all) == 0 || all[len(all)-1].a != accepted {
			t.Errorf("%s has not arrived once the endpoint accepts events", id)
		}
	}
	if fails := w.q.fails(); len(fails) > 0 {
		t.Errorf("failing are %v, want none", fails)
	}
}

// TestScheduleOverTakeover lets processes change while an event waits: its tries
// go on from there, and so does what is known of the endpoint.
func TestScheduleOverTakeover(t *testing.T) {
	w := newWorld(t, func(d *delivery) (answer, time.Duration, time.Duration) {
		if d.list.id == "bad" && d.event.Seq == 1 {
			return failed, 0, quick
		}
		return accepted, 0, quick
	})
	w.commit("crm", "bad", 1, 2)
	for seq := 1; w.now.Before(dawn.Add(80 * time.Hour)); seq++ {
		w.commit("crm", "good", seq, 1) // so that the endpoint never fails
		if w.run(time.Second); w.now.Sub(dawn) > 2*time.Minute {
			w.run(10 * time.Minute)
		}
		if seq%100 == 0 { // an orderly stop
			w.q.remember()
			w.sync()
			w.takeOver()
			w.start()
		}
	}
	var want []time.Duration
	sum := time.Duration(0)
	for _, d := range schedule {
		sum += d
		want = append(want, sum)
	}
	got := w.of("bad-001")
	if len(got) != len(want) {
		t.Fatalf("%d tries at %v, want %d", len(got), at(got), len(want))
	}
	for i := range want {
		if got[i].at < want[i] || got[i].at > want[i]+time.Second {
			t.Errorf("try %d at %v, want %v", i+1, got[i].at, want[i])
		}
	}
	if next := w.of("bad-002"); len(next) != 1 || !next[0].gap {
		t.Errorf("after the dead letter: %+v, want the next event, with a gap", next)
	}
}

// TestFailingOverTakeover proves that a failing endpoint is one for the next
// leader too, and that a gap that nothing could say yet is not forgotten.
func TestFailingOverTakeover(t *testing.T) {
	says := failed
	w := newWorld(t, func(*delivery) (answer, time.Duration, time.Duration) { return says, 0, quick })
	for i := range 30 {
		w.commit("crm", fmt.Sprint("m", i), 1, 2)
	}
	w.run(time.Minute)
	before := len(w.arrived)
	w.takeOver()
	w.start()
	w.run(time.Minute)
	if n := len(w.arrived) - before; n < 4 || n > 5 {
		t.Errorf("%d tries in the minute after the takeover, want one every %v", n, ProbeInterval)
	}
	says = unsendable
	w.commit("crm", "gap", 1, 1)
	w.run(time.Hour)
	w.takeOver()
	says = accepted
	w.commit("crm", "gap", 2, 2)
	w.run(time.Minute)
	if got := w.of("gap-002"); len(got) != 1 || !got[0].gap {
		t.Errorf("after the takeover %+v, want the second event, with a gap", got)
	}
	if got := w.of("gap-003"); len(got) != 1 || got[0].gap {
		t.Errorf("after the takeover %+v, want the third event, without one", got)
	}
	if left, kept := w.retries["crm"]["gap"]; kept {
		t.Errorf("what is kept of retries = %+v, want nothing", left)
	}
}

// TestGapAfterAJump has an event wait while the numbers of its meeting jump: what
// may be lost comes after it, so the first event after the jump says gap, too.
func TestGapAfterAJump(t *testing.T) {
	w := newWorld(t, func(*delivery) (answer, time.Duration, time.Duration) { return accepted, 0, quick })
	w.commit("crm", "a", 20, 2)
	w.retries["crm"]["a"] = meeting.Retry{Gap: true, GapUntil: 120}
	w.takeOver()
	w.start()
	w.run(time.Second)
	w.takeOver()
	w.commit("crm", "a", 121, 2)
	w.run(time.Second)
	got := map[int64]bool{}
	for _, a := range w.arrived[1:] { // the first one got lost
		got[a.seq] = a.gap
	}
	if want := map[int64]bool{20: true, 21: true, 121: true, 122: false}; !maps.Equal(got, want) {
		t.Errorf("gap by number = %v, want %v", got, want)
	}
	if left, kept := w.retries["crm"]["a"]; kept {
		t.Errorf("what is kept of retries = %+v, want nothing", left)
	}
}

// TestFairQueue lets a thousand endpoints hang: one bound holds for all, one that
// answers is served at once, and none of the others is forgotten.
func TestFairQueue(t *testing.T) {
	w := newWorld(t, func(d *delivery) (answer, time.Duration, time.Duration) {
		if d.list.endpoint.id == "good" {
			return accepted, 0, quick
		}
		return failed, 0, Timeout
	})
	w.commit("good", "x", 1, 1)
	w.run(time.Second)
	for i := range 1000 {
		for j := range 3 {
			w.commit(fmt.Sprint("dead", i), fmt.Sprint("m", j), 1, 2)
		}
	}
	for seq := 2; seq < 302; seq++ {
		sent := w.now
		w.commit("good", "x", seq, 1)
		w.run(time.Second)
		all := w.of(fmt.Sprintf("x-%03d", seq))
		if len(all) != 1 || all[0].at != sent.Sub(dawn) {
			t.Fatalf("event %d was sent at %v, want %v", seq, at(all), sent.Sub(dawn))
		}
	}
	if w.most > MaxInFlight || w.most < maxUnproven {
		t.Errorf("%d in flight at the same time, want %d at most", w.most, MaxInFlight)
	}
	tries := map[string]int{}
	for _, a := range w.arrived {
		tries[a.endpoint]++
	}
	// 128 at a time, 10 s each, in 300 s: 3,840 tries of a thousand.
	for i := range 1000 {
		if n := tries[fmt.Sprint("dead", i)]; n < 2 || n > 6 {
			t.Fatalf("endpoint %d was tried %d times, want about 4", i, n)
		}
	}
}

// TestQueueMemory lets an endpoint be slow, and another one be down: of what waits
// for them little is in memory, and all arrives in order.
func TestQueueMemory(t *testing.T) {
	up := false
	w := newWorld(t, func(d *delivery) (answer, time.Duration, time.Duration) {
		if d.list.endpoint.id == "down" && !up {
			return failed, 0, quick
		}
		return accepted, 0, 10 * quick
	})
	for seq := range 100 {
		for m := range 40 {
			for _, e := range []string{"slow", "down"} {
				w.commit(e, fmt.Sprint("m", m), seq+1, 1)
			}
		}
		w.run(5 * quick)
		if n := w.q.endpoints["slow"].inMemory; n > maxInMemory+MaxPerEndpoint {
			t.Fatalf("%d events of the slow endpoint in memory, want %d at most", n, maxInMemory)
		}
		if n := w.q.endpoints["down"].inMemory; seq > 5 && n > 1 {
			t.Fatalf("%d events of an endpoint that is down in memory, want what is probed", n)
		}
	}
	up = true
	w.run(10 * time.Minute)
	last := map[string]int64{}
	for _, a := range w.arrived {
		if a.a != accepted {
			continue
		}
		if key := a.endpoint + a.meeting; a.seq != last[key]+1 {
			t.Fatalf("%s: %d arrived after %d", key, a.seq, last[key])
		} else {
			last[key] = a.seq
		}
	}
	if len(last) != 80 || last["slowm7"] != 100 || last["downm7"] != 100 || len(w.lists["down"]) != 0 {
		t.Errorf("%d lists arrived up to %d and %d, %d are left; want 80, 100, 100, none", len(last), last["slowm7"], last["downm7"], len(w.lists["down"]))
	}
}

// TestQueueModel plays random commits, answers, requeues, takeovers and times,
// and checks what receivers are promised: each event arrives, first arrivals are
// in order, what is given up is followed by a gap, and the bounds hold.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, nil)
		w.t = rt
		calm := false
		w.answer = func(*delivery) (answer, time.Duration, time.Duration) {
			took := time.Duration(rapid.IntRange(1, 3000).Draw(rt, "took")) * time.Millisecond
			if calm {
				return accepted, 0, took
			}
			a := rapid.SampledFrom([]answer{accepted, accepted, accepted, failed, denied, refused, refused, cancelled, unsendable, nothing}).Draw(rt, "answer")
			return a, time.Duration(rapid.SampledFrom([]int{0, 0, 0, 7}).Draw(rt, "ask")) * time.Second, took
		}
		endpoints, meetings := []string{"a", "b"}, []string{"m1", "m2", "m3"}
		for _, e := range endpoints {
			w.endpoint(e)
		}
		committed := map[string]int{}
		rt.Repeat(map[string]func(*rapid.T){
			"commit": func(rt *rapid.T) {
				e, m := rapid.SampledFrom(endpoints).Draw(rt, "endpoint"), rapid.SampledFrom(meetings).Draw(rt, "meeting")
				n := rapid.IntRange(1, 5).Draw(rt, "n")
				w.commit(e, m, committed[e+m]+1, n)
				committed[e+m] += n
			},
			"run": func(rt *rapid.T) {
				w.run(rapid.SampledFrom([]time.Duration{quick, time.Second, time.Minute, 3 * time.Hour}).Draw(rt, "time"))
			},
			"take over": func(*rapid.T) { w.takeOver(); w.start() },
			"disable": func(rt *rapid.T) {
				e := rapid.SampledFrom(endpoints).Draw(rt, "endpoint")
				w.q.disable(e, true, w.now)
				w.run(time.Second)
				w.q.disable(e, false, w.now)
				w.start()
			},
			"retry now": func(rt *rapid.T) {
				w.q.retryNow(rapid.SampledFrom(endpoints).Draw(rt, "endpoint"), w.now)
				w.start()
			},
			"reread": func(rt *rapid.T) {
				e, m := rapid.SampledFrom(endpoints).Draw(rt, "endpoint"), rapid.SampledFrom(meetings).Draw(rt, "meeting")
				w.q.reread(e, m)
				w.sync()
			},
			"": func(rt *rapid.T) {
				if len(w.flights) > MaxInFlight {
					rt.Fatalf("%d in flight", len(w.flights))
				}
			},
		})
		calm = true
		w.run(30 * 24 * time.Hour)
		first := map[string]int64{}
		seen := map[string]bool{}
		for _, a := range w.arrived {
			key := a.endpoint + a.meeting
			if seen[a.endpoint+a.id] {
				continue
			}
			seen[a.endpoint+a.id] = true
			if a.seq != first[key]+1 {
				rt.Fatalf("%s: %d came first after %d", key, a.seq, first[key])
			}
			first[key] = a.seq
		}
		for key, n := range committed {
			if first[key] != int64(n) {
				rt.Fatalf("%s: %d of %d events arrived", key, first[key], n)
			}
		}
		for _, e := range endpoints {
			if len(w.lists[e]) > 0 || !doneWith(w.q, e) || w.q.endpoints[e].in[inFlight].Len() != 0 || w.q.endpoints[e].inMemory != 0 {
				rt.Fatalf("%s: left are %v, queue %+v", e, w.lists[e], w.q.endpoints[e])
			}
		}
		if w.q.inFlight != 0 || w.q.unproven != 0 {
			rt.Fatalf("in flight are %d and %d, want none", w.q.inFlight, w.q.unproven)
		}
	})
}

func doneWith(q *queue, endpoint string) bool {
	_, done := q.rest(endpoint)
	return done
}
