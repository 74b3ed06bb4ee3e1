package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

// oneSession is an output of huma's.
type oneSession struct{ Body meeting.SessionInfo }

func (v *v1) registerSessions(a huma.API) {
	huma.Register(a, operation(ScopeMeetingsRead, "list-sessions", http.MethodGet, "/v1/meetings/{id}/sessions",
		"List the sessions of a meeting", http.StatusNotFound), v.listSessions)
	huma.Register(a, operation(ScopeMeetingsRead, "get-session", http.MethodGet, "/v1/sessions/{id}",
		"See a session", http.StatusNotFound), v.getSession)
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
