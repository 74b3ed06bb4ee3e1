package meeting

import (
	"encoding/json"
	"time"
)

// A lane holds the notices that one webhook endpoint still has to get about one
// meeting, oldest first. At most one of them is on its way at a time, which
// keeps their order. The store keeps lanes, the deliverer of any process
// empties them; the types below are what these two say to each other.

// Claim is the head of a lane, lent to one deliverer.
type Claim struct {
	MeetingID string
	Token     string          // proves the loan when it is settled
	Notice    json.RawMessage // of a [Notice], as it was committed
	Failures  int             // tries so far that failed and counted
	Refusals  int             // tries so far that were refused and counted
	// Counts says that this try uses up one of those the notice has: the wait
	// after the last one is over. Others are made to see if the endpoint is back.
	Counts bool
	Gap    bool // the notice before this one was given up
}

// Verdict is what becomes of a claimed notice.
type Verdict string

// Verdicts.
const (
	Delivered Verdict = "delivered" // it leaves the lane
	Failed    Verdict = "failed"    // it stays the head and waits
	GivenUp   Verdict = "given_up"  // it leaves the lane for the dead letters, and the next one says so
	Released  Verdict = "released"  // it was not tried and is due at once
	Skipped   Verdict = "skipped"   // it leaves the lane and says nothing about the endpoint: there was nothing to send
)

// Settlement is the end of a claim.
type Settlement struct {
	MeetingID string
	Token     string
	Verdict   Verdict
	Failures  int // from now on
	Refusals  int // from now on
	// Schedule is the wait after a try that failed and counted; 0 when it did
	// not count, which leaves the wait that is running as it is.
	Schedule time.Duration
	// Ask is how long the endpoint asked to be left alone; 0 when it did not.
	Ask time.Duration
	// Fault says that the endpoint failed, and not just this notice.
	Fault bool
	// Record is what the delivery log says about the try; empty: nothing.
	Record json.RawMessage
}

// Exchange hands in settlements of one endpoint and asks for claims.
type Exchange struct {
	Endpoint string
	Settled  []Settlement
	Take     int           // most claims wanted
	Token    string        // different at each exchange; tokens of claims begin with it
	Lease    time.Duration // a claim not settled by then may be taken by another
	Probe    time.Duration // between tries while the endpoint fails
	// Hurry makes every lane due at once that nobody has claimed, and forgets
	// that the endpoint failed.
	Hurry bool
}

// Exchanged is the answer to an [Exchange].
type Exchanged struct {
	Claims []Claim
	// Next is when asking again is worth while if nothing is committed until
	// then; 0: at once, negative: nothing waits.
	Next time.Duration
	// FailingSince is set while the endpoint fails: one claim is given out per
	// probe until a delivery succeeds, which makes all lanes due.
	FailingSince time.Time
	// Stale counts settlements of claims that had passed to others. They were
	// ignored.
	Stale int
}

// Backlog is what waits for one endpoint.
type Backlog struct {
	Lanes int
	// Notices is exact for a thousand lanes and estimated beyond.
	Notices int
	// Oldest is the timestamp of the oldest head, zero when nothing waits; of
	// more than a thousand lanes some are left out.
	Oldest time.Time
	// FailingSince is set while the endpoint fails.
	FailingSince time.Time
}

// Attempted is an entry of an endpoint's delivery log, or of its dead letters.
type Attempted struct {
	Place  string          // in the log; later ones are greater
	Record json.RawMessage // as it was settled
	Notice json.RawMessage // the notice that was tried
}

// StoredEndpoint is a webhook endpoint as the store has it.
type StoredEndpoint struct {
	ID       string
	Document json.RawMessage // nil for one that is known from elsewhere
	Disabled json.RawMessage // why and since when; nil while enabled
}
