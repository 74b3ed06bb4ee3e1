package webhook

import (
	"errors"
	"net/http"
	"time"
)

// Times of delivery that others should know of.
const (
	// ProbeInterval is the time between tries while an endpoint fails: most of
	// its outages are restarts, and it should not wait long once it is back.
	ProbeInterval = 15 * time.Second
	// DisableAfter is how long an endpoint may fail without one success until it
	// is disabled: well past the schedule and a long weekend, and an end to
	// what Redis has to hold for it.
	DisableAfter = 5 * 24 * time.Hour
	// jitter spreads what failed at the same time: waits are longer or shorter
	// by up to this part.
	jitter = 0.1
	// failingAfter is how many failures in a row make an endpoint a failing one:
	// more than chance brings together where a few of a hundred fail. The second
	// failure of one event does it too, if nothing succeeded in between, because
	// a quiet endpoint would otherwise need minutes to show that it is down.
	failingAfter = 5
	// storeRetry is the wait after the store has failed.
	storeRetry = 250 * time.Millisecond
)

// schedule has the wait before each try of an event (Standard Webhooks 1.0.0,
// "Deliverability and reliability"), 75 h in all.
var schedule = []time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
	5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// refusals has the waits where the endpoint accepts other events but not this
// one, 15 minutes in all: it may not know the meeting yet. Longer would only
// hold up the meeting's other events.
var refusals = []time.Duration{0, 5 * time.Second, 55 * time.Second, 4 * time.Minute, 10 * time.Minute}

// timing are the times above; tests change them.
type timing struct {
	schedule, refusals []time.Duration
	probe              time.Duration
	refresh            time.Duration // of the endpoints, from the store
	flush              time.Duration // most that an acknowledgement waits
	storeRetry         time.Duration
}

var defaultTiming = timing{
	schedule: schedule, refusals: refusals, probe: ProbeInterval,
	refresh: refreshInterval, flush: flushInterval, storeRetry: storeRetry,
}

// answer is what the outcome of a try says.
type answer int

const (
	accepted   answer = iota
	failed            // it speaks of the endpoint
	denied            // likewise, and the request may be said or signed another way
	refused           // it speaks of the event, if the endpoint accepts others
	gone              // the endpoint asks never to be called again
	unsendable        // the event can never be sent
	nothing           // the dialect has nothing to say of the event
	cancelled         // this process stops leading
)

// answerOf says what follows from the outcome of a try in a dialect; nil:
// [Standard].
func answerOf(o outcome, dialect *Dialect) answer {
	switch s := o.status; {
	case errors.Is(o.err, errNothing):
		return nothing
	case o.reason == reasonEvent:
		return unsendable
	case o.ok():
		return accepted
	case s == http.StatusGone && (dialect == nil || !dialect.GoneIsOfEvent):
		return gone
	case s == http.StatusUnauthorized:
		return denied
	case s == http.StatusRequestTimeout, s == http.StatusTooManyRequests:
		return failed
	case s >= 400 && s <= 499:
		return refused
	}
	return failed
}

// jittered spreads a wait; random is from 0 up to 1.
func jittered(d time.Duration, random float64) time.Duration {
	return time.Duration(float64(d) * (1 + jitter*(2*random-1)))
}
