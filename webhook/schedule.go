package webhook

import (
	"math/rand/v2"
	"net/http"
	"time"

	"usher/meeting"
)

// Times of delivery that others should know of.
const (
	// ProbeInterval is the time between tries while an endpoint fails: most of
	// its outages are restarts, and it should not wait long once it is back.
	ProbeInterval = 15 * time.Second
	// leaseSlack is how much longer than a try a claim holds, for a process that
	// is slow to hand in what came of it. It is how long the lanes of one that
	// was killed stand still, less what it had already waited.
	leaseSlack = 15 * time.Second
	// DisableAfter is how long an endpoint may fail without one success until it
	// is disabled: well past the schedule and a long weekend, and an end to
	// what Redis has to hold for it.
	DisableAfter = 5 * 24 * time.Hour
	// jitter spreads what failed at the same time: waits are longer or shorter
	// by up to this part.
	jitter = 0.1
)

// schedule has the wait before each try of a notice (Standard Webhooks 1.0.0,
// "Deliverability and reliability"), 75 h in all.
var schedule = []time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
	5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// refusals has the waits where the endpoint answers but does not want the
// notice, 15 minutes in all: it may not know the meeting yet, or be between two
// secrets. Longer would only hold up the meeting's other notices.
var refusals = []time.Duration{0, 5 * time.Second, 55 * time.Second, 4 * time.Minute, 10 * time.Minute}

// timing are the times above; tests change them.
type timing struct {
	schedule, refusals []time.Duration
	probe, leaseSlack  time.Duration
	poll, refresh      time.Duration
	storeRetry         time.Duration
}

var defaultTiming = timing{
	schedule: schedule, refusals: refusals, probe: ProbeInterval, leaseSlack: leaseSlack,
	poll: pollInterval, refresh: refreshInterval, storeRetry: storeRetry,
}

// refused reports whether an answer is about the notice and not the endpoint.
func refused(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusNotFound || status == http.StatusUnprocessableEntity
}

// isGone reports whether the endpoint asked never to be called again.
func isGone(o outcome) bool { return o.status == http.StatusGone }

// settle says what follows from a try.
func (t timing) settle(c meeting.Claim, o outcome) meeting.Settlement {
	s := meeting.Settlement{
		MeetingID: c.MeetingID, Token: c.Token, Verdict: meeting.Failed,
		Failures: c.Failures, Refusals: c.Refusals, Ask: o.ask,
	}
	waits, tries := t.schedule, &s.Failures
	switch {
	case o.ok():
		s.Verdict, s.Ask = meeting.Delivered, 0
		return s
	case o.reason == reasonNotice:
		s.Verdict = meeting.GivenUp
		return s
	case o.reason == reasonNothing:
		s.Verdict = meeting.Skipped
		return s
	case isGone(o):
		// The caller disables it; until every process knows, it is left alone.
		s.Ask, s.Fault = t.probe, true
		return s
	case refused(o.status):
		waits, tries = t.refusals, &s.Refusals
	default:
		s.Fault = true
	}
	if !c.Counts {
		return s
	}
	if *tries++; *tries >= len(waits) {
		s.Verdict = meeting.GivenUp
		return s
	}
	s.Schedule = jittered(waits[*tries])
	return s
}

func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 + jitter*(2*rand.Float64()-1)))
}
