package api

import (
	"context"
	"net/http"
	"strings"

	"usher/meeting"
	"usher/meeting/service"
)

// SessionUsage is what a session came to, as apps see it.
type SessionUsage struct {
	MeetingID  string              `json:"meeting_id"`
	Room       string              `json:"room" doc:"Name of the room in Jitsi, lower case"`
	ExternalID string              `json:"external_id,omitempty"`
	Session    meeting.SessionInfo `json:"session"`
	Usage      meeting.Usage       `json:"usage" doc:"Of an open session so far"`
}

// RoomUsage is what all sessions of a meeting that are kept came to.
type RoomUsage struct {
	MeetingID      string        `json:"meeting_id"`
	Room           string        `json:"room" doc:"Name of the room in Jitsi, lower case"`
	ExternalID     string        `json:"external_id,omitempty"`
	CreatedAt      meeting.Time  `json:"created_at"`
	EndedAt        *meeting.Time `json:"ended_at"`
	Sessions       int           `json:"sessions"`
	FirstSessionAt *meeting.Time `json:"first_session_at" doc:"When the first of them started"`
	LastSessionAt  *meeting.Time `json:"last_session_at" doc:"When the latest of them started"`
	Usage          meeting.Usage `json:"usage" doc:"Of all of them together"`
}

// ofRoom is the input of operations that look at all meetings or at those of
// one room.
type ofRoom struct {
	Room string `query:"room" maxLength:"100" doc:"Only meetings of this room"`
	Paging
}

func (in *ofRoom) filter() meeting.Filter { return meeting.Filter{Room: strings.ToLower(in.Room)} }

func (v *v1) registerInsights() {
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-session-insights", "GET /v1/insights/sessions",
		"List what sessions came to: minutes and different people. Those of one meeting stand together"), v.sessionInsights)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-room-insights", "GET /v1/insights/rooms",
		"List what meetings came to, all their sessions together"), v.roomInsights)
}

func (v *v1) sessionInsights(ctx context.Context, in *ofRoom) (Page[SessionUsage], error) {
	list, next, err := v.svc.SessionUsages(ctx, in.filter(), in.Cursor, in.Limit)
	return pageOf(list, next, err, func(u service.SessionUsage) SessionUsage {
		return SessionUsage{u.Meeting.ID, u.Meeting.Room, u.Meeting.ExternalID, u.Session.Info(), u.Usage}
	})
}

func (v *v1) roomInsights(ctx context.Context, in *ofRoom) (Page[RoomUsage], error) {
	list, next, err := v.svc.MeetingUsages(ctx, in.filter(), in.Cursor, in.Limit)
	return pageOf(list, next, err, func(u service.MeetingUsage) RoomUsage {
		return RoomUsage{
			MeetingID: u.Meeting.ID, Room: u.Meeting.Room, ExternalID: u.Meeting.ExternalID,
			CreatedAt: timeOf(u.Meeting.CreatedAt), EndedAt: meeting.TimeOrNull(u.Meeting.EndedAt),
			Sessions: u.Sessions, FirstSessionAt: meeting.TimeOrNull(u.First), LastSessionAt: meeting.TimeOrNull(u.Last),
			Usage: u.Usage,
		}
	})
}
