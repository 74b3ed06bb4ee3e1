package service

import (
	"cmp"
	"context"
	"slices"
	"time"

	"usher/meeting"
)

// DayUsage is what the sessions came to that started on one day, in meetings that were
// made with one API key.
type DayUsage struct {
	Day      string        `json:"day" format:"date" doc:"In UTC; a session counts on the day on which it started"`
	KeyID    string        `json:"key_id,omitempty" doc:"API key that made the meetings, configured for those of usher's configuration; missing: not known, where an earlier usher made the meeting"`
	App      string        `json:"app,omitempty" doc:"Name of the key, unless it has been revoked"`
	Sessions int           `json:"sessions"`
	Usage    meeting.Usage `json:"usage" doc:"Of open sessions so far"`
}

// UsageByDay adds up all sessions of a stretch of time, the latest day first. It
// looks at every meeting that was open in it, some thousand a second.
func (s *Service) UsageByDay(ctx context.Context, when Span, key string) ([]DayUsage, error) {
	type row struct{ day, key string }
	tallies, sessions := map[row]*meeting.Tally{}, map[row]int{}
	now := time.Now()
	err := s.eachUsed(ctx, when, func(m meeting.Meeting) error {
		if key != "" && m.Key != key || !when.mayHave(m) {
			return nil
		}
		return s.eachSession(ctx, m, when, func(session meeting.Session, people []meeting.Participant) {
			r := row{session.StartedAt.UTC().Format(time.DateOnly), m.Key}
			if tallies[r] == nil {
				tallies[r] = new(meeting.Tally)
			}
			tallies[r].Add(people, m.KnownAt(now))
			sessions[r]++
		})
	})
	list := make([]DayUsage, 0, len(tallies))
	for r, t := range tallies {
		list = append(list, DayUsage{Day: r.day, KeyID: r.key, Sessions: sessions[r], Usage: t.Usage})
	}
	slices.SortFunc(list, func(a, b DayUsage) int { return cmp.Or(cmp.Compare(b.Day, a.Day), cmp.Compare(a.KeyID, b.KeyID)) })
	return list, err
}

// mayHave reports whether a meeting may have a session that started then.
func (s Span) mayHave(m meeting.Meeting) bool {
	return !m.FirstSession.IsZero() && (s.To.IsZero() || m.FirstSession.Before(s.To)) &&
		(m.Session.ID != "" || !m.IdleSince.Before(s.From))
}

// usedStates are those of meetings that had sessions, in an order in which none is
// missed that goes from one to another meanwhile.
var usedStates = []meeting.State{meeting.StateLive, meeting.StateIdle, meeting.StateLive, meeting.StateEnded}

// eachUsed calls f once with every meeting that had sessions, and was not over before
// the stretch of time.
func (s *Service) eachUsed(ctx context.Context, when Span, call func(meeting.Meeting) error) error {
	seen := map[string]bool{}
	for _, state := range usedStates {
		for cursor, more := "", true; more; more = cursor != "" {
			page, next, err := s.List(ctx, meeting.Filter{State: state, CreatedBefore: when.To}, cursor, meetingsPerPage)
			for _, m := range page {
				if state == meeting.StateEnded && m.EndedAt.Before(when.From) {
					return err // so are all that follow: they come by their end
				}
				if err == nil && !seen[m.ID] {
					seen[m.ID] = true
					err = call(m)
				}
			}
			if cursor = next; err != nil {
				return err
			}
		}
	}
	return nil
}

// eachSession calls f with every session of the meeting that started in the stretch of
// time, the newest first, and everybody who was in it.
func (s *Service) eachSession(ctx context.Context, m meeting.Meeting, when Span, call func(meeting.Session, []meeting.Participant)) error {
	for cursor, more := "", true; more; more = cursor != "" {
		var page []meeting.Session
		var err error
		if page, cursor, err = s.Sessions(ctx, m.ID, cursor, sessionsPage); err != nil {
			return err
		}
		for _, session := range page {
			if !when.has(session.StartedAt.Time) {
				continue
			}
			people, err := s.Participants(ctx, session.ID)
			if err != nil {
				return err
			}
			call(session, people)
		}
	}
	return nil
}
