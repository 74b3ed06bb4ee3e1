package memorystore

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"usher/meeting"
)

// push puts an event at the end of a list; s.mu is held.
func (s *Memory) push(endpoint, mtg string, event json.RawMessage) {
	lists := s.queues[endpoint]
	put(&lists, mtg, append(lists[mtg], event))
	put(&s.queues, endpoint, lists)
}

// LoadQueue returns the meetings that have a list of events for an endpoint. It
// knows nothing of retries: nobody but the process that makes them sees them.
func (s *Memory) LoadQueue(_ context.Context, endpoint string) (meetings []string, _ map[string]meeting.Retry, _ meeting.Health, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.queues[endpoint])), nil, meeting.Health{}, nil
}

// QueuedEndpoints returns the endpoints that have lists.
func (s *Memory) QueuedEndpoints(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.queues)), nil
}

// ReadQueues returns the first events of lists, like store.Redis.ReadQueues.
func (s *Memory) ReadQueues(_ context.Context, endpoint string, meetings []string, limit int) ([][]json.RawMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lists := make([][]json.RawMessage, len(meetings))
	for i, id := range meetings {
		list := s.queues[endpoint][id]
		lists[i] = slices.Clone(list[:min(limit, len(list))])
	}
	return lists, nil
}

// Ack removes what is done and logs tries, like store.Redis.Ack.
func (s *Memory) Ack(_ context.Context, a meeting.Acks) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	lists := s.queues[a.Endpoint]
	for _, done := range a.Done {
		last := slices.IndexFunc(lists[done.MeetingID], func(event json.RawMessage) bool {
			return strings.HasPrefix(string(event), `{"id":"`+done.Last+`"`) || string(event) == done.Last
		})
		if lists[done.MeetingID] = lists[done.MeetingID][last+1:]; len(lists[done.MeetingID]) == 0 {
			delete(lists, done.MeetingID)
		}
	}
	if a.Health != nil {
		put(&s.health, a.Endpoint, *a.Health)
	}
	for _, t := range a.Tried {
		s.places++
		entry := meeting.Tried{Place: fmt.Sprintf("%d-%d", time.Now().UnixMilli(), s.places), Record: t.Record, Event: t.Event}
		put(&s.attempts, a.Endpoint, append(s.attempts[a.Endpoint], entry))
		if t.Dead {
			put(&s.dead, a.Endpoint, append(s.dead[a.Endpoint], entry))
		}
	}
	return nil
}

// Requeue puts events at the end of lists, like store.Redis.Requeue; in front is
// for a store that was emptied, which this one never is.
func (s *Memory) Requeue(_ context.Context, endpoint string, lists map[string][]json.RawMessage, inFront bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for mtg, events := range lists {
		for _, event := range events {
			if list := s.queues[endpoint][mtg]; !inFront && (len(list) == 0 || string(list[0]) != string(event)) {
				s.push(endpoint, mtg, event)
			}
		}
	}
	return nil
}

// Forward puts an event at the end of lists, like store.Redis.Forward.
func (s *Memory) Forward(_ context.Context, id, meetingID string, event json.RawMessage, endpoints []string) (fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forwarded[id] {
		return false, nil
	}
	put(&s.forwarded, id, true)
	for _, endpoint := range endpoints {
		s.push(endpoint, meetingID, event)
	}
	return true, nil
}

// Between calls f with the events of the given time, like store.Redis.Between, but
// goes by their own timestamps.
func (s *Memory) Between(_ context.Context, from, to time.Time, f func(events []json.RawMessage) error) error {
	s.mu.Lock()
	events := slices.DeleteFunc(slices.Clone(s.log), func(event json.RawMessage) bool {
		at := timestampOf(event)
		return at.Before(from) || at.After(to)
	})
	s.mu.Unlock()
	if len(events) == 0 {
		return nil
	}
	return f(events)
}

func timestampOf(event json.RawMessage) time.Time {
	var n struct {
		Timestamp time.Time `json:"timestamp"`
	}
	_ = json.Unmarshal(event, &n) // what Commit encoded
	return n.Timestamp
}

// Attempts returns a page of the delivery log or of the dead letters, like
// store.Redis.Attempts.
func (s *Memory) Attempts(_ context.Context, endpoint string, dead bool, cursor string, limit int) ([]meeting.Tried, error) {
	if cursor != "" && !place.MatchString(cursor) {
		return nil, fmt.Errorf("%w: %q", ErrCursor, cursor)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.attempts[endpoint]
	if dead {
		log = s.dead[endpoint]
	}
	var page []meeting.Tried
	for _, entry := range slices.Backward(log) {
		if cursor != "" && !earlier(entry.Place, cursor) {
			continue
		}
		if page = append(page, entry); len(page) == pageSize(limit) {
			break
		}
	}
	return page, nil
}

// earlier reports whether a place comes before another.
func earlier(a, b string) bool {
	number := func(place string) (ms, n int) {
		first, second, _ := strings.Cut(place, "-")
		ms, _ = strconv.Atoi(first)
		n, _ = strconv.Atoi(second)
		return ms, n
	}
	ms1, n1 := number(a)
	ms2, n2 := number(b)
	return ms1 < ms2 || ms1 == ms2 && n1 < n2
}

// Backlog says what waits for an endpoint.
func (s *Memory) Backlog(_ context.Context, endpoint string) (meeting.Backlog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := meeting.Backlog{Meetings: len(s.queues[endpoint])}
	for _, list := range s.queues[endpoint] {
		b.Events += len(list)
		if at := timestampOf(list[0]); b.Oldest.IsZero() || at.Before(b.Oldest) {
			b.Oldest = at
		}
	}
	if h := s.health[endpoint]; h.Failing {
		b.FailingSince = time.Now().Add(-h.Since).UTC()
	}
	return b, nil
}

// Endpoints returns what is stored about endpoints, like store.Redis.Endpoints.
func (s *Memory) Endpoints(_ context.Context, known string) (all []meeting.StoredEndpoint, version string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	version = strconv.Itoa(s.endpointsVersion)
	if version == known {
		return nil, version, nil
	}
	return s.endpoints(), version, nil
}

func (s *Memory) endpoints() (all []meeting.StoredEndpoint) {
	for id, document := range s.documents {
		all = append(all, meeting.StoredEndpoint{ID: id, Document: document, Disabled: s.disabled[id]})
	}
	for id, why := range s.disabled {
		if s.documents[id] == nil {
			all = append(all, meeting.StoredEndpoint{ID: id, Disabled: why})
		}
	}
	return all
}

// PutEndpoint stores a document in place of another, like store.Redis.PutEndpoint.
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
	delete(s.queues, id)
	delete(s.attempts, id)
	delete(s.dead, id)
	return nil
}
