package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"usher/meeting"
)

// memoryEndpoint is what exchange.lua keeps about an endpoint besides its lanes.
type memoryEndpoint struct {
	tries    map[string]laneTries // by meeting
	gaps     map[string]bool
	fails    int
	since    time.Time
	pause    time.Time
	failing  bool
	attempts []meeting.Attempted
	dead     []meeting.Attempted
}

// laneTries is what is known about the head of a lane.
type laneTries struct {
	failures, refusals int
	countsFrom         time.Time
	holder             string
}

// endpoint returns what is kept about an endpoint; s.mu is held.
func (s *Memory) endpoint(id string) *memoryEndpoint {
	e := s.endpoints[id]
	if e == nil {
		e = &memoryEndpoint{tries: map[string]laneTries{}, gaps: map[string]bool{}}
		put(&s.endpoints, id, e)
	}
	return e
}

// Exchange settles claims and gives out new ones, like [Redis.Exchange].
func (s *Memory) Exchange(_ context.Context, x meeting.Exchange) (meeting.Exchanged, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, now := s.endpoint(x.Endpoint), time.Now()
	due := s.due[x.Endpoint]
	if due == nil {
		due = map[string]time.Time{}
		put(&s.due, x.Endpoint, due)
	}
	var answer meeting.Exchanged
	recovered := false
	for _, settled := range x.Settled {
		if t := e.tries[settled.MeetingID]; t.holder != settled.Token {
			answer.Stale++
			continue
		}
		recovered = s.settle(x, settled, now) || recovered
	}
	if x.Hurry || recovered {
		for mtg, at := range due {
			if at.After(now) && e.tries[mtg].holder == "" {
				due[mtg] = now
			}
		}
	}
	if x.Hurry {
		e.fails, e.since, e.pause, e.failing = 0, time.Time{}, time.Time{}, false
	}
	s.claim(x, now, &answer)
	if e.failing {
		answer.FailingSince = e.since
	}
	return answer, nil
}

// settle ends one claim and reports whether the endpoint recovered by it.
func (s *Memory) settle(x meeting.Exchange, settled meeting.Settlement, now time.Time) (recovered bool) {
	e, due, lanes, mtg := s.endpoint(x.Endpoint), s.due[x.Endpoint], s.lanes[x.Endpoint], settled.MeetingID
	t := e.tries[mtg]
	t.holder = ""
	var notice json.RawMessage
	if lane := lanes[mtg]; len(lane) > 0 {
		notice = lane[0]
	}
	entry := func(log []meeting.Attempted) []meeting.Attempted {
		s.places++
		return append(log, meeting.Attempted{Place: strconv.Itoa(s.places) + "-0", Record: settled.Record, Notice: notice})
	}
	pop := func() {
		delete(e.tries, mtg)
		if lanes[mtg] = lanes[mtg][1:]; len(lanes[mtg]) > 0 {
			due[mtg] = now
		} else {
			delete(lanes, mtg)
			delete(due, mtg)
		}
	}
	switch settled.Verdict {
	case meeting.Delivered:
		pop()
		delete(e.gaps, mtg)
		e.fails, e.since = 0, time.Time{}
		if e.failing {
			e.failing, e.pause, recovered = false, time.Time{}, true
		}
	case meeting.Skipped:
		pop()
	case meeting.GivenUp:
		pop()
		e.dead = entry(e.dead)
		e.gaps[mtg] = true
	case meeting.Failed:
		t.failures, t.refusals = settled.Failures, settled.Refusals
		if settled.Schedule > 0 {
			t.countsFrom = now.Add(max(settled.Schedule, settled.Ask))
		}
		e.tries[mtg] = t
		due[mtg] = now.Add(max(0, t.countsFrom.Sub(now)))
		if settled.Ask > 0 {
			due[mtg] = now.Add(settled.Ask)
		}
	case meeting.Released:
		e.tries[mtg] = t
		due[mtg] = now
	}
	if len(settled.Record) > 0 {
		e.attempts = entry(e.attempts)
		e.attempts = e.attempts[max(0, len(e.attempts)-AttemptLog):]
	}
	if settled.Fault {
		e.fails++
		if e.since.IsZero() {
			e.since = now
		}
		e.failing = e.failing || e.fails >= failingAfter || e.fails >= 2 && settled.Failures >= 2
		if asked := now.Add(settled.Ask); asked.After(e.pause) {
			e.pause = asked
		}
	}
	switch {
	case !e.failing:
	case settled.Verdict == meeting.Skipped: // a probe that was no request is followed by another at once
		e.pause = now
	default:
		e.pause = now.Add(max(x.Probe, settled.Ask))
	}
	return recovered
}

// claim gives out what is due.
func (s *Memory) claim(x meeting.Exchange, now time.Time, answer *meeting.Exchanged) {
	e, due := s.endpoint(x.Endpoint), s.due[x.Endpoint]
	order := slices.SortedFunc(maps.Keys(due), func(a, b string) int {
		return cmp.Or(due[a].Compare(due[b]), cmp.Compare(a, b))
	})
	for _, mtg := range order {
		t := e.tries[mtg]
		isDue := !due[mtg].After(now)
		if len(answer.Claims) >= x.Take || now.Before(e.pause) || !isDue && (!e.failing || t.holder != "") {
			continue
		}
		t.holder = x.Token + "." + strconv.Itoa(len(answer.Claims)+1)
		e.tries[mtg] = t
		due[mtg] = now.Add(x.Lease)
		if e.failing {
			e.pause = now.Add(x.Lease)
		}
		answer.Claims = append(answer.Claims, meeting.Claim{
			MeetingID: mtg, Token: t.holder, Notice: s.lanes[x.Endpoint][mtg][0],
			Failures: t.failures, Refusals: t.refusals, Counts: !t.countsFrom.After(now), Gap: e.gaps[mtg],
		})
	}
	if len(answer.Claims) >= x.Take {
		return
	}
	answer.Next = -time.Millisecond
	for _, at := range due {
		wait := max(0, at.Sub(now), e.pause.Sub(now))
		if answer.Next < 0 || wait < answer.Next {
			answer.Next = wait
		}
	}
}

// Requeue puts notices back into lanes, like [Redis.Requeue].
func (s *Memory) Requeue(_ context.Context, endpoint string, meetings []string, notices []json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.endpoint(endpoint)
	for i, mtg := range meetings {
		lanes, due := s.lanes[endpoint], s.due[endpoint]
		_, waits := due[mtg]
		if waits && string(lanes[mtg][0]) == string(notices[i]) {
			if e.tries[mtg].holder == "" {
				due[mtg] = time.Now()
			}
			continue
		}
		put(&lanes, mtg, append(lanes[mtg], notices[i]))
		put(&s.lanes, endpoint, lanes)
		if !waits {
			put(&due, mtg, time.Now())
			put(&s.due, endpoint, due)
		}
	}
	return nil
}

// Between calls f with the notices of the given time, like [Redis.Between], but
// goes by their own timestamps.
func (s *Memory) Between(_ context.Context, from, to time.Time, f func(notice json.RawMessage) error) error {
	s.mu.Lock()
	log := slices.Clone(s.log)
	s.mu.Unlock()
	for _, notice := range log {
		if at := timestampOf(notice); at.Before(from) || at.After(to) {
			continue
		}
		if err := f(notice); err != nil {
			return err
		}
	}
	return nil
}

func timestampOf(notice json.RawMessage) time.Time {
	var n struct {
		Timestamp time.Time `json:"timestamp"`
	}
	_ = json.Unmarshal(notice, &n) // what Commit encoded
	return n.Timestamp
}

// Attempts returns a page of the delivery log or of the dead letters, like
// [Redis.Attempts].
func (s *Memory) Attempts(_ context.Context, endpoint string, dead bool, cursor string, limit int) ([]meeting.Attempted, error) {
	if cursor != "" && !place.MatchString(cursor) {
		return nil, fmt.Errorf("%w: %q", ErrCursor, cursor)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.endpoint(endpoint).attempts
	if dead {
		log = s.endpoint(endpoint).dead
	}
	var page []meeting.Attempted
	for _, entry := range slices.Backward(log) {
		if cursor == entry.Place {
			page, cursor = nil, ""
			continue
		}
		if page = append(page, entry); cursor == "" && len(page) == pageSize(limit) {
			break
		}
	}
	if cursor != "" { // it has left the log, and so has all that was older
		return nil, nil
	}
	return page, nil
}

// Backlog says what waits for an endpoint.
func (s *Memory) Backlog(_ context.Context, endpoint string) (meeting.Backlog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := meeting.Backlog{Lanes: len(s.lanes[endpoint])}
	for _, lane := range s.lanes[endpoint] {
		b.Notices += len(lane)
		if at := timestampOf(lane[0]); b.Oldest.IsZero() || at.Before(b.Oldest) {
			b.Oldest = at
		}
	}
	if e := s.endpoint(endpoint); e.failing {
		b.FailingSince = e.since
	}
	return b, nil
}

// Endpoints returns what is stored about endpoints, like [Redis.Endpoints].
func (s *Memory) Endpoints(_ context.Context, known string) (all []meeting.StoredEndpoint, version string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	version = strconv.Itoa(s.endpointsVersion)
	if version == known {
		return nil, version, nil
	}
	return joinEndpoints(s.documents, s.disabled), version, nil
}

// PutEndpoint stores a document in place of another, like [Redis.PutEndpoint].
func (s *Memory) PutEndpoint(_ context.Context, id string, was, document json.RawMessage) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if string(s.documents[id]) != string(was) {
		return false, nil
	}
	put(&s.documents, id, document)
	s.endpointsVersion++
	return true, nil
}

// DisableEndpoint notes why an endpoint is disabled; nil enables it.
func (s *Memory) DisableEndpoint(_ context.Context, id string, why json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why == nil {
		delete(s.disabled, id)
	} else {
		put(&s.disabled, id, why)
	}
	s.endpointsVersion++
	return nil
}

// DeleteEndpoint removes an endpoint and all that was kept for it.
func (s *Memory) DeleteEndpoint(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.documents[id] != nil || s.disabled[id] != nil {
		s.endpointsVersion++
	}
	delete(s.documents, id)
	delete(s.disabled, id)
	delete(s.lanes, id)
	delete(s.due, id)
	delete(s.endpoints, id)
	return nil
}
