package whereby

import (
	"testing"
	"time"

	"usher/config"
)

// TestPlacement goes through what decides where a meeting is made.
func TestPlacement(t *testing.T) {
	fit := SiteState{Ready: true, Watching: true, Idle: 2, Queued: 1}
	busy := SiteState{Ready: true, Watching: true, Idle: 1, Queued: 1}
	unseen := SiteState{Ready: true}
	line := SiteState{Ready: true, Queued: 1}
	away := SiteState{Watching: true, Idle: 2}
	const (
		none, there, both = config.FallbackNone, config.FallbackWhereby, config.FallbackBoth
	)
	teams := []string{"Team-"}
	for _, tt := range []struct {
		name string
		r    rules
		w    wish
		want placement
	}{
		{"share 0", rules{0, nil, both}, wish{turn: 0, site: fit}, placement{atWhereby, reasonShare, ""}},
		{"share 0, Whereby down", rules{0, nil, both}, wish{turn: 0, site: fit, down: true}, placement{atWhereby, reasonShare, ""}},
		{"share 100", rules{100, nil, there}, wish{turn: 99, site: fit}, placement{atUsher, reasonShare, ""}},
		{"within the share", rules{50, nil, there}, wish{turn: 49, site: fit}, placement{atUsher, reasonShare, ""}},
		{"beyond the share", rules{50, nil, there}, wish{turn: 50, site: fit}, placement{atWhereby, reasonShare, ""}},
		{"its prefix", rules{100, teams, there}, wish{prefix: "team-a-", site: fit}, placement{atUsher, reasonShare, ""}},
		{"another prefix", rules{100, teams, there}, wish{prefix: "visit-", site: fit}, placement{atWhereby, reasonPrefix, ""}},
		{"its prefix, share 0", rules{0, teams, there}, wish{prefix: "team-", site: fit}, placement{atWhereby, reasonShare, ""}},

		{"not ready", rules{100, nil, there}, wish{site: away}, placement{atWhereby, reasonNotReady, ""}},
		{"not ready, no fallback", rules{100, nil, none}, wish{site: away}, placement{atUsher, reasonShare, ""}},
		{"not ready, Whereby down", rules{100, nil, both}, wish{site: away, down: true}, placement{atUsher, reasonShare, ""}},
		{"recorders busy", rules{100, nil, there}, wish{records: true, site: busy}, placement{atWhereby, reasonRecorders, ""}},
		{"recorders busy, not recorded", rules{100, nil, there}, wish{site: busy}, placement{atUsher, reasonShare, ""}},
		{"a recorder idle", rules{100, nil, there}, wish{records: true, site: fit}, placement{atUsher, reasonShare, ""}},
		{"recorders out of sight", rules{100, nil, there}, wish{records: true, site: unseen}, placement{atUsher, reasonShare, ""}},
		{"out of sight, a line", rules{100, nil, there}, wish{records: true, site: line}, placement{atWhereby, reasonRecorders, ""}},

		{"Whereby's, both", rules{50, nil, both}, wish{turn: 50, site: fit}, placement{atWhereby, reasonShare, reasonUnavailable}},
		{"Whereby's, it is down", rules{50, nil, both}, wish{turn: 50, site: fit, down: true}, placement{atUsher, reasonUnavailable, ""}},
		{"Whereby's, it is down, one way", rules{50, nil, there}, wish{turn: 50, site: fit, down: true}, placement{atWhereby, reasonShare, ""}},
		{"Whereby's, both down", rules{50, nil, both}, wish{turn: 50, site: away, down: true}, placement{atWhereby, reasonShare, ""}},
	} {
		if got := tt.r.place(tt.w); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestTurns: of any hundred meetings in a row exactly the share is made here, and
// of ten at one half nobody waits long for either.
func TestTurns(t *testing.T) {
	for _, first := range []uint64{0, 17, 1<<64 - 116} {
		seen := map[int]bool{}
		for n := range uint64(100) {
			seen[turnOf(first+n)] = true
		}
		if len(seen) != 100 {
			t.Errorf("a hundred meetings from %d on have %d turns, want 100", first, len(seen))
		}
	}
	here := 0
	for n := range uint64(10) {
		if turnOf(n) < 50 {
			here++
		}
	}
	if here < 4 || here > 6 {
		t.Errorf("%d of ten are made here, want about half", here)
	}
}

// TestBreaker keeps everybody from waiting while a server is down, but for one who
// sees whether it is back.
func TestBreaker(t *testing.T) {
	var b breaker
	now := time.Now()
	fail := func(want bool) {
		t.Helper()
		if !b.enter(now) {
			t.Fatal("nothing is let through")
		}
		if fell, _ := b.leave(failed, now); fell != want {
			t.Errorf("it falls: %v, want %v", fell, want)
		}
	}
	fail(false)
	fail(false)
	b.enter(now)
	b.leave(answered, now) // they were not in a row
	fail(false)
	fail(false)
	b.enter(now)
	b.leave(unknown, now)
	fail(true)
	if b.enter(now.Add(breakFor-time.Nanosecond)) || !b.down(now) {
		t.Error("it is down, and somebody is let through")
	}
	now = now.Add(breakFor)
	if b.down(now) || !b.enter(now) || b.enter(now) || !b.down(now) {
		t.Error("after the pause, want one to be let through, and no other beside it")
	}
	b.leave(failed, now)
	if b.enter(now.Add(breakFor - time.Nanosecond)) {
		t.Error("it is still down, and somebody is let through")
	}
	now = now.Add(breakFor)
	b.enter(now)
	if _, rose := b.leave(answered, now); !rose || !b.enter(now) || !b.enter(now) {
		t.Error("it is back, want everybody let through")
	}
}
