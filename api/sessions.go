package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

// oneSession is an output of huma's.
type oneSession struct{ Body meeting.SessionInfo }

// people is the input of operations that list participants.
type people struct {
	ByID
	Active bool `query:"active" doc:"Only those who are in the room now"`
}

func (v *v1) registerSessions(a huma.API) {
	huma.Register(a, operation("list-meeting-participants", http.MethodGet, "/v1/meetings/{id}/participants",
		"List the people of the open session, or of the latest one when none is open",
		http.StatusNotFound), v.meetingParticipants)
	huma.Register(a, operation("list-sessions", http.MethodGet, "/v1/meetings/{id}/sessions",
		"List the sessions of a meeting", http.StatusNotFound), v.listSessions)
	huma.Register(a, operation("get-session", http.MethodGet, "/v1/sessions/{id}",
		"See a session", http.StatusNotFound), v.getSession)
	huma.Register(a, operation("list-session-participants", http.MethodGet, "/v1/sessions/{id}/participants",
		"List the people of a session", http.StatusNotFound), v.sessionParticipants)
}

func (v *v1) meetingParticipants(ctx context.Context, in *people) (*page[meeting.ParticipantInfo], error) {
	m, err := v.load(ctx, in.ID)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	session := m.Session.ID
	if session == "" {
		latest, _, err := v.reads.Sessions(ctx, in.ID, "", 1)
		if err != nil {
			return nil, v.fail(ctx, err)
		}
		if len(latest) == 0 {
			return newPage(nil, "", meeting.Participant.Info), nil
		}
		session = latest[0].ID
	}
	return v.participants(ctx, session, in.Active)
}

func (v *v1) sessionParticipants(ctx context.Context, in *people) (*page[meeting.ParticipantInfo], error) {
	if _, err := v.session(ctx, in.ID); err != nil {
		return nil, v.fail(ctx, err)
	}
	return v.participants(ctx, in.ID, in.Active)
}

func (v *v1) participants(ctx context.Context, session string, active bool) (*page[meeting.ParticipantInfo], error) {
	list, err := v.reads.Participants(ctx, session)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	if active {
		list = slices.DeleteFunc(slices.Clone(list), func(p meeting.Participant) bool { return !p.Present() })
	}
	return newPage(list, "", meeting.Participant.Info), nil
}

func (v *v1) listSessions(ctx context.Context, in *struct {
	ByID
	Paging
}) (*page[meeting.SessionInfo], error) {
	if _, err := v.load(ctx, in.ID); err != nil {
		return nil, v.fail(ctx, err)
	}
	list, next, err := v.reads.Sessions(ctx, in.ID, in.Cursor, in.Limit)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return newPage(list, next, meeting.Session.Info), nil
}

func (v *v1) getSession(ctx context.Context, in *ByID) (*oneSession, error) {
	s, err := v.session(ctx, in.ID)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return &oneSession{Body: s.Info()}, nil
}

// session reads a session of a meeting that is not being forgotten.
func (v *v1) session(ctx context.Context, id string) (meeting.Session, error) {
	s, err := v.reads.Session(ctx, id)
	if err != nil {
		return meeting.Session{}, err
	}
	_, err = v.load(ctx, s.MeetingID)
	return s, err
}
