package store

import (
	"cmp"
	"testing"

	"usher/meeting"
)

// TestSequenceNumbersJump restarts Redis between two leaders: where the first
// has not stopped in order, its last events may be lost, and their numbers are
// not given out again.
func TestSequenceNumbersJump(t *testing.T) {
	srv := startServer(t)
	r := srv.openQuick("one")
	ctx, k := t.Context(), r.keys
	s, c := newScene(t, meeting.Created{Room: "a"})
	commit(t, r, c)
	srv.do("SADD", k.queues(), "crm", "erp")
	srv.do("HSET", k.retry("erp"), s.m.ID, `{"failures":3}`, "mtg_other", `{"refusals":1}`)
	seq := s.m.Seq
	runs := func() string { return srv.raw.HGet(ctx, k.redis(), "run_id").Val() }
	// takeover lets another lead and returns the number of the meeting, and which
	// endpoints are to say gap.
	takeover := func() (seq int64, gaps string) {
		t.Helper()
		r := srv.openSite("one")
		r.times = quick
		l := lead(t, r, "x")
		wait(t, l.began)
		seq = must(r.Load(ctx, s.m.ID))(t).Seq
		for _, endpoint := range []string{"crm", "erp"} {
			_, retries, _, err := r.LoadQueue(ctx, endpoint)
			if err != nil {
				t.Fatal(err)
			}
			if retries[s.m.ID].Gap {
				gaps += endpoint
			}
			if u := retries[s.m.ID].GapUntil; u != 0 && u != seq {
				t.Errorf("%s says gap until event %d, want %d: what is lost would come before", endpoint, u, seq)
			}
			if retries[s.m.ID].Gap != (retries[s.m.ID].GapUntil != 0) {
				t.Errorf("retries of %s = %+v, want that events waiting leave gap to those after the jump", endpoint, retries[s.m.ID])
			}
			if endpoint == "erp" && (retries[s.m.ID].Failures != 3 || retries["mtg_other"] != meeting.Retry{Refusals: 1}) {
				t.Errorf("retries of %s = %+v, want what was known kept", endpoint, retries)
			}
		}
		began := runs()
		l.stop(t)
		if got := runs(); got != stoppedRun {
			t.Errorf("run id = %q after an orderly stop, want %q", got, stoppedRun)
		}
		srv.do("HSET", k.redis(), "run_id", began) // as if it had been killed
		return seq, gaps
	}
	check := func(when string, want int64, wantGaps string) {
		t.Helper()
		if got, gaps := takeover(); got != want || gaps != wantGaps {
			t.Errorf("%s: seq %d, gaps at %q, want %d and %q", when, got, gaps, want, wantGaps)
		}
	}
	restart := func() {
		t.Helper()
		srv.Kill()
		srv.start()
	}
	check("a store of an older version", seq, "")
	check("the leader was killed, Redis ran on", seq, "")
	srv.do("HSET", k.redis(), "run_id", stoppedRun)
	restart()
	check("the leader had stopped, Redis was restarted", seq, "")
	before, run := srv.raw.HGet(ctx, k.meeting(s.m.ID), "json").Val(), runs()
	restart()
	first, gaps := takeover()
	if first < seq+seqJump || gaps != "crmerp" {
		t.Errorf("both were killed: seq %d, gaps at %q, want %d at least and crmerp", first, gaps, seq+seqJump)
	}
	check("once more, Redis ran on", first, "crmerp")
	// Redis loses power again and has lost that jump, too.
	srv.do("HSET", k.meeting(s.m.ID), "json", before)
	srv.do("HSET", k.redis(), "run_id", run)
	restart()
	if second, _ := takeover(); second < first+seqPerMS {
		t.Errorf("both were killed twice: seq %d, want more than the first jump to %d and the events after it", second, first)
	}

	// Nothing is written by one whom another has followed.
	old := srv.openQuick("one")
	if err := old.setFields(ctx, []field{{k.redis(), "run_id", []byte("x")}}); err == nil || runs() == "x" {
		t.Errorf("setting a field without leading = %v, run id %q, want ErrFenced", err, runs())
	}
}

// TestRunIDOfAnEmptiedStore: it is written anew with everything else.
func TestRunIDOfAnEmptiedStore(t *testing.T) {
	srv := startServer(t)
	r := srv.openQuick("one")
	l := lead(t, r, "a")
	wait(t, l.began)
	before := srv.raw.HGet(t.Context(), r.keys.redis(), "run_id").Val()
	srv.do("FLUSHALL")
	until(t, "the run id is stored again", func() bool {
		got := srv.raw.HGet(t.Context(), r.keys.redis(), "run_id").Val()
		return got != "" && got == before
	})
	l.stop(t)
}

// TestOrderlyStopHidesNoLoss: a leader that stops before it has made up for what
// Redis has lost, or has looked whether it has, leaves that to the next one.
func TestOrderlyStopHidesNoLoss(t *testing.T) {
	srv := startServer(t)
	r := srv.openQuick("one")
	for noted, want := range map[string]string{
		lostRun:                  lostRun,
		"run id of an old Redis": "run id of an old Redis",
		"":                       stoppedRun, // of this one
	} {
		term := must(r.waitForLease(t.Context(), "a 1", ""))(t)
		srv.do("HSET", r.keys.redis(), "run_id", cmp.Or(noted, term.run))
		if _, _, err := r.lease(t.Context(), releaseScript, "a 1"); err != nil {
			t.Fatal(err)
		}
		if got := must(r.waitForLease(t.Context(), "a 1", ""))(t).before; got != want {
			t.Errorf("noted was %q; after an orderly stop the next leader finds %q, want %q", noted, got, want)
		}
	}
}
