package whereby

import (
	"slices"
	"strings"

	"usher/config"
)

// MadeAt is a header that says where a meeting was made, and why: usher or
// whereby, and one of the reasons below, as in "whereby; reason=share".
const MadeAt = "X-Usher-Made-At"

// Where a meeting can be made.
const (
	atUsher   = "usher"
	atWhereby = "whereby"
)

// Reasons for where a meeting is made.
const (
	reasonShare       = "share"
	reasonPrefix      = "prefix" // it is none of those that the share is of
	reasonNotReady    = "usher_not_ready"
	reasonRecorders   = "recorders_busy"
	reasonUnavailable = "whereby_unavailable"
)

// SiteState is how usher is placed to take a meeting.
type SiteState struct {
	Ready    bool // leads, sees the rooms, and stores what it is told
	Watching bool // knows of the recorders
	Idle     int  // recorders
	Queued   int  // recordings that wait for one
}

// takes reports whether a meeting could be held here, and recorded if need be:
// recorders that are idle are counted against the recordings in line.
func (s SiteState) takes(records bool) (reason string, ok bool) {
	busy := s.Queued > 0
	if s.Watching {
		busy = s.Idle <= s.Queued
	}
	switch {
	case !s.Ready:
		return reasonNotReady, false
	case records && busy:
		return reasonRecorders, false
	}
	return "", true
}

// wish is what decides where a meeting is made, at its creation and never again.
type wish struct {
	prefix  string // of the room's name, as the app has sent it
	records bool   // on the server
	turn    int    // from 0 to 99
	site    SiteState
	down    bool // Whereby does not answer
}

// placement is where a meeting is made, and why. instead, if not empty, is why it
// is made here should Whereby fail to make it.
type placement struct{ at, reason, instead string }

// rules are the settings that decide.
type rules struct {
	share    int // percent of meetings that are made here
	prefixes []string
	fallback string
}

// shared reports whether the share is also of rooms with the prefix.
func (r rules) shared(prefix string) bool {
	return len(r.prefixes) == 0 || slices.ContainsFunc(r.prefixes, func(p string) bool { return strings.HasPrefix(strings.ToLower(prefix), strings.ToLower(p)) })
}

func (r rules) place(w wish) placement {
	here, reason := w.turn < r.share, reasonShare
	if !r.shared(w.prefix) {
		here, reason = false, reasonPrefix
	}
	unfit, fits := w.site.takes(w.records)
	switch {
	case here && !fits && r.fallback != config.FallbackNone && !w.down:
		return placement{at: atWhereby, reason: unfit}
	case here:
		return placement{at: atUsher, reason: reason}
	case r.share == 0 || !fits || r.fallback != config.FallbackBoth:
		return placement{at: atWhereby, reason: reason}
	case w.down:
		return placement{at: atUsher, reason: reasonUnavailable}
	}
	return placement{atWhereby, reason, reasonUnavailable}
}

// turnStep spreads turns: of any hundred in a row each is another, and any few of
// them are spread over the whole (61 of 100 is near the golden ratio).
const turnStep = 61

// turnOf returns the turn of the nth meeting.
func turnOf(n uint64) int { return int(n % 100 * turnStep % 100) }
