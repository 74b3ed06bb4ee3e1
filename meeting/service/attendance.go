package service

import (
	"context"
	"time"

	"usher/meeting"
)

// Attendance returns who was in a session when.
func (s *Service) Attendance(ctx context.Context, sessionID string) (meeting.Attendance, error) {
	session, m, err := s.SessionOf(ctx, sessionID)
	if err != nil {
		return meeting.Attendance{}, err
	}
	people, err := s.Participants(ctx, session.ID)
	return m.AttendanceOf(session, people, time.Now()), err
}
