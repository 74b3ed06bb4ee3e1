package service

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"time"

	"usher/meeting"
)

const (
	// meetingsPerPage bounds how many meetings are looked at for one page of
	// what they have: most of them may have nothing, and a page may be short.
	meetingsPerPage = 100
	// sessionsPage is how many sessions are read at a time: as many as a store
	// gives.
	sessionsPage = 100
)

// SessionUsage is a session and what it came to.
type SessionUsage struct {
	Meeting meeting.Meeting
	Session meeting.Session
	Usage   meeting.Usage // of an open session so far
}

// MeetingUsage is a meeting and what all its sessions came to.
type MeetingUsage struct {
	Meeting     meeting.Meeting
	Sessions    int
	First, Last time.Time // starts of the first and of the latest session
	Usage       meeting.Usage
}

// SessionUsageOf returns what one session came to.
func (s *Service) SessionUsageOf(ctx context.Context, m meeting.Meeting, session meeting.Session) (SessionUsage, error) {
	people, err := s.Participants(ctx, session.ID)
	return SessionUsage{m, session, meeting.UsageOf(people, m.KnownAt(time.Now()))}, err
}

// SessionUsages returns at most limit sessions of the meetings chosen, meeting by
// meeting, the newest first, and the cursor of the next page. A page may be
// short although there is a next one.
func (s *Service) SessionUsages(ctx context.Context, f meeting.Filter, cursor string, limit int) ([]SessionUsage, string, error) {
	return ThroughMeetings(ctx, s, f, cursor, limit, func(m meeting.Meeting, cursor string, limit int) (list []SessionUsage, left string, err error) {
		sessions, left, err := s.Sessions(ctx, m.ID, cursor, limit)
		for i := 0; i < len(sessions) && err == nil; i++ {
			var one SessionUsage
			one, err = s.SessionUsageOf(ctx, m, sessions[i])
			list = append(list, one)
		}
		return list, left, err
	})
}

// MeetingUsages returns a page of meetings with what all their sessions came to.
func (s *Service) MeetingUsages(ctx context.Context, f meeting.Filter, cursor string, limit int) (list []MeetingUsage, next string, err error) {
	meetings, next, err := s.List(ctx, f, cursor, limit)
	for i := 0; i < len(meetings) && err == nil; i++ {
		var one MeetingUsage
		one, err = s.meetingUsage(ctx, meetings[i])
		list = append(list, one)
	}
	return list, next, err
}

func (s *Service) meetingUsage(ctx context.Context, m meeting.Meeting) (MeetingUsage, error) {
	u := MeetingUsage{Meeting: m}
	var people []meeting.Participant
	for cursor, more := "", true; more; more = cursor != "" {
		var sessions []meeting.Session
		var err error
		if sessions, cursor, err = s.Sessions(ctx, m.ID, cursor, sessionsPage); err != nil {
			return u, err
		}
		for _, session := range sessions {
			in, err := s.Participants(ctx, session.ID)
			if err != nil {
				return u, err
			}
			people = append(people, in...)
			if u.First.IsZero() || session.StartedAt.Before(u.First) {
				u.First = session.StartedAt.Time
			}
			if session.StartedAt.After(u.Last) {
				u.Last = session.StartedAt.Time
			}
		}
		u.Sessions += len(sessions)
	}
	u.Usage = meeting.UsageOf(people, m.KnownAt(time.Now()))
	return u, nil
}

// place is where a list that goes through several meetings has come to.
type place struct {
	Meetings string `json:"m,omitempty"` // cursor of the meeting's page, which holds only it
	Elements string `json:"e,omitempty"` // cursor among what the meeting has
}

// ThroughMeetings makes one list of what the meetings chosen have. take returns a
// page of at most limit elements of one meeting, and the cursor of those that are
// left. A cursor that makes no sense means the beginning.
func ThroughMeetings[T any](ctx context.Context, s *Service, f meeting.Filter, cursor string, limit int,
	take func(m meeting.Meeting, cursor string, limit int) (some []T, left string, err error),
) (list []T, next string, err error) {
	var at place
	if data, err := base64.RawURLEncoding.DecodeString(cursor); err != nil || json.Unmarshal(data, &at) != nil {
		at = place{}
	}
	for range meetingsPerPage {
		meetings, more, err := s.List(ctx, f, at.Meetings, 1)
		if err != nil {
			return nil, "", err
		}
		left := ""
		for _, m := range meetings {
			var some []T
			if some, left, err = take(m, at.Elements, limit-len(list)); err != nil {
				return nil, "", err
			}
			list = append(list, some...)
		}
		switch {
		case left != "":
			at.Elements = left
		case more == "":
			return list, "", nil
		default:
			at = place{Meetings: more}
		}
		if len(list) >= limit {
			break
		}
	}
	data, _ := json.Marshal(at) // a struct of text always encodes
	return list, base64.RawURLEncoding.EncodeToString(data), nil
}
