package service

import (
	"cmp"
	"context"
	"slices"
	"strings"
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

// SessionUsage is what a session came to, as apps see it.
type SessionUsage struct {
	Meeting    meeting.Meeting     `json:"-"`
	MeetingID  string              `json:"meeting_id"`
	Room       string              `json:"room" doc:"Name of the room in Jitsi, lower case"`
	ExternalID string              `json:"external_id,omitempty"`
	Session    meeting.SessionInfo `json:"session"`
	Usage      meeting.Usage       `json:"usage" doc:"Of an open session so far"`
}

// RoomUsage is what all sessions of a meeting that are kept came to.
type RoomUsage struct {
	Meeting        meeting.Meeting `json:"-"`
	MeetingID      string          `json:"meeting_id"`
	Room           string          `json:"room" doc:"Name of the room in Jitsi, lower case"`
	ExternalID     string          `json:"external_id,omitempty"`
	CreatedAt      meeting.Time    `json:"created_at"`
	EndedAt        *meeting.Time   `json:"ended_at"`
	Sessions       int             `json:"sessions"`
	FirstSessionAt *meeting.Time   `json:"first_session_at" doc:"When the first of them started"`
	LastSessionAt  *meeting.Time   `json:"last_session_at" doc:"When the latest of them started"`
	Usage          meeting.Usage   `json:"usage" doc:"Of all of them together"`
}

// Span is a stretch of time: from its beginning until before its end. Either may be
// zero, which is none.
type Span struct{ From, To time.Time }

func (s Span) has(at time.Time) bool {
	return !at.Before(s.From) && (s.To.IsZero() || at.Before(s.To))
}

// SessionUsage returns what one session came to.
func (s *Service) SessionUsage(ctx context.Context, id string) (SessionUsage, error) {
	session, m, err := s.SessionOf(ctx, id)
	if err != nil {
		return SessionUsage{}, err
	}
	return s.sessionUsage(ctx, m, session)
}

func (s *Service) sessionUsage(ctx context.Context, m meeting.Meeting, session meeting.Session) (SessionUsage, error) {
	people, err := s.Participants(ctx, session.ID)
	return SessionUsage{m, m.ID, m.Room, m.ExternalID, session.Info(), meeting.UsageOf(people, m.KnownAt(time.Now()))}, err
}

// SessionUsages returns at most limit sessions of the meetings chosen, meeting by
// meeting, the newest first, and the cursor of the next page. A page may be
// short although there is a next one.
func (s *Service) SessionUsages(ctx context.Context, f meeting.Filter, when Span, cursor string, limit int) ([]SessionUsage, string, error) {
	return ThroughMeetings(ctx, s, f, cursor, limit, func(m meeting.Meeting, cursor string, limit int) ([]SessionUsage, string, error) {
		sessions, left, err := s.Sessions(ctx, m.ID, cursor, limit)
		sessions = slices.DeleteFunc(sessions, func(e meeting.Session) bool { return !when.has(e.StartedAt.Time) })
		list := make([]SessionUsage, len(sessions))
		for i := 0; i < len(list) && err == nil; i++ {
			list[i], err = s.sessionUsage(ctx, m, sessions[i])
		}
		return list, left, err
	})
}

// Visit is a participant of a session, and where that was.
type Visit struct {
	MeetingID   string                  `json:"meeting_id"`
	Room        string                  `json:"room" doc:"Name of the room in Jitsi, lower case"`
	ExternalID  string                  `json:"external_id,omitempty"`
	Participant meeting.ParticipantInfo `json:"participant"`
}

// Visits returns at most limit visits of a user to the meetings chosen, meeting by
// meeting, the newest first, and the cursor of the next page. A page may be short
// although there is a next one.
func (s *Service) Visits(ctx context.Context, f meeting.Filter, user, cursor string, limit int) ([]Visit, string, error) {
	return ThroughMeetings(ctx, s, f, cursor, limit, func(m meeting.Meeting, cursor string, _ int) (list []Visit, left string, err error) {
		// One session a time: those of a user in it, on several devices, are on one page.
		sessions, left, err := s.Sessions(ctx, m.ID, cursor, 1)
		for i := 0; i < len(sessions) && err == nil; i++ {
			var people []meeting.Participant
			people, err = s.Participants(ctx, sessions[i].ID)
			for _, p := range people {
				if p.UserID == user {
					list = append(list, Visit{m.ID, m.Room, m.ExternalID, p.Info()})
				}
			}
		}
		return list, left, err
	})
}

// RoomUsages returns a page of meetings with what all their sessions came to.
func (s *Service) RoomUsages(ctx context.Context, f meeting.Filter, when Span, cursor string, limit int) ([]RoomUsage, string, error) {
	meetings, next, err := s.List(ctx, f, cursor, limit)
	list := make([]RoomUsage, len(meetings))
	for i := 0; i < len(list) && err == nil; i++ {
		list[i], err = s.roomUsage(ctx, meetings[i], when)
	}
	return list, next, err
}

func (s *Service) roomUsage(ctx context.Context, m meeting.Meeting, when Span) (RoomUsage, error) {
	u := RoomUsage{
		Meeting: m, MeetingID: m.ID, Room: m.Room, ExternalID: m.ExternalID,
		CreatedAt: meeting.Time{Time: m.CreatedAt}, EndedAt: meeting.TimeOrNull(m.EndedAt),
	}
	var t meeting.Tally
	at := m.KnownAt(time.Now())
	err := s.eachSession(ctx, m, when, func(session meeting.Session, people []meeting.Participant) {
		t.Add(people, at)
		u.Sessions++
		u.FirstSessionAt = meeting.TimeOrNull(session.StartedAt.Time)
		u.LastSessionAt = cmp.Or(u.LastSessionAt, u.FirstSessionAt)
	})
	u.Usage = t.Usage
	return u, err
}

// ThroughMeetings makes one list of what the meetings chosen have. take returns a
// page of at most limit elements of one meeting, and the cursor of those that are
// left. A cursor that makes no sense means some page.
func ThroughMeetings[T any](ctx context.Context, s *Service, f meeting.Filter, cursor string, limit int,
	take func(m meeting.Meeting, cursor string, limit int) (some []T, left string, err error),
) (list []T, next string, err error) {
	// The cursor of a page of one meeting, and that of a page of what it has.
	meetings, elements, _ := strings.Cut(cursor, ".")
	for range meetingsPerPage {
		page, more, err := s.List(ctx, f, meetings, 1)
		left := ""
		for _, m := range page { // one, or none if it is being forgotten
			var some []T
			some, left, err = take(m, elements, limit-len(list))
			list = append(list, some...)
		}
		switch {
		case err != nil:
			return nil, "", err
		case left == "" && more == "":
			return list, "", nil
		case left == "":
			meetings = more
		}
		if elements = left; len(list) >= limit {
			break
		}
	}
	return list, meetings + "." + elements, nil
}
