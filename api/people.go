package api

import (
	"context"
	"net/http"
	"slices"

	"usher/meeting"
	"usher/meeting/service"
)

// people is the input of operations that list participants.
type people struct {
	ByID
	Active bool `query:"active" doc:"Only those who are in the room now"`
}

// ByPerson is the input of operations on one participant.
type ByPerson struct {
	ByID
	Participant string `path:"participant" maxLength:"64"`
}

// Room is a room with people in it, as apps see it.
type Room struct {
	Room       string               `json:"room" doc:"Name of the room in Jitsi, lower case"`
	MeetingID  string               `json:"meeting_id"`
	ExternalID string               `json:"external_id,omitempty"`
	StaleSince *meeting.Time        `json:"stale_since" doc:"Set while usher cannot see the room; the counts are as of then"`
	Occupancy  meeting.Occupancy    `json:"occupancy"`
	Session    *meeting.SessionInfo `json:"session" doc:"The open session"`
}

func (v *v1) registerPeople() {
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-sessions", "GET /v1/meetings/{id}/sessions",
		"List the sessions of a meeting"), v.listSessions)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "get-session", "GET /v1/sessions/{id}",
		"See a session"), v.getSession)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-rooms", "GET /v1/rooms",
		"List the rooms that are live: an open session, and who is in counted"), v.listRooms)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-meeting-participants", "GET /v1/meetings/{id}/participants",
		"List the people of the open session, or of the latest one when none is open"), v.meetingParticipants)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-session-participants", "GET /v1/sessions/{id}/participants",
		"List the people of a session"), v.sessionParticipants)
	v.registerAttendance()
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-visits", "GET /v1/participants",
		"List the sessions that a user was in, or is"), v.listVisits)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "get-participant", "GET /v1/meetings/{id}/participants/{participant}",
		"See one of the people of the open or latest session"), v.getParticipant)
	done(v, operation(ScopeParticipantsWrite, http.StatusNoContent, "kick-participant", "DELETE /v1/meetings/{id}/participants/{participant}",
		"Put a person out of the room, on every connection they have. Somebody with a user id is put out again whenever they come back, "+
			"until the meeting ends or an app makes a token or link for them; a guest can come back. In a breakout room usher cannot reach them: "+
			"a user is put out on coming back to the main room, a guest cannot be put out there",
		http.StatusConflict), v.kick)
}

func (v *v1) listSessions(ctx context.Context, in *pageByID) (page Page[meeting.SessionInfo], err error) {
	if _, err := v.Service.Load(ctx, in.ID); err != nil {
		return page, err
	}
	list, next, err := v.Service.Sessions(ctx, in.ID, in.Cursor, in.Limit)
	return pageOf(list, next, err, meeting.Session.Info)
}

func (v *v1) getSession(ctx context.Context, in *ByID) (meeting.SessionInfo, error) {
	s, _, err := v.Service.SessionOf(ctx, in.ID)
	return s.Info(), err
}

func (v *v1) listRooms(ctx context.Context, in *Paging) (Page[Room], error) {
	live, next, err := v.Service.List(ctx, meeting.Filter{State: meeting.StateLive}, in.Cursor, in.Limit)
	return pageOf(live, next, err, func(m meeting.Meeting) Room {
		info := m.Info()
		return Room{
			Room: info.Room, MeetingID: info.ID, ExternalID: info.ExternalID,
			StaleSince: info.StaleSince, Occupancy: info.Occupancy, Session: info.Session,
		}
	})
}

func (v *v1) meetingParticipants(ctx context.Context, in *people) (page Page[meeting.ParticipantInfo], err error) {
	m, err := v.Service.Load(ctx, in.ID)
	if err != nil {
		return page, err
	}
	list, err := v.Service.People(ctx, m)
	return in.page(list, err)
}

func (v *v1) sessionParticipants(ctx context.Context, in *people) (page Page[meeting.ParticipantInfo], err error) {
	if _, _, err := v.Service.SessionOf(ctx, in.ID); err != nil {
		return page, err
	}
	list, err := v.Service.Participants(ctx, in.ID)
	return in.page(list, err)
}

func (in *people) page(list []meeting.Participant, err error) (Page[meeting.ParticipantInfo], error) {
	if in.Active {
		list = slices.DeleteFunc(slices.Clone(list), func(p meeting.Participant) bool { return !p.Present() })
	}
	return pageOf(list, "", err, meeting.Participant.Info)
}

func (v *v1) listVisits(ctx context.Context, in *struct {
	UserID string `query:"user_id" required:"true" minLength:"1" maxLength:"200" doc:"The app's own id of the user, from tokens and links"`
	Active bool   `query:"active" doc:"Only meetings that the user is in now"`
	MeetingFilter
	Paging
}) (Page[service.Visit], error) {
	f := in.filter()
	if in.Active {
		f.State = meeting.StateLive
	}
	list, next, err := v.Service.Visits(ctx, f, in.UserID, in.Cursor, in.Limit)
	if in.Active {
		list = slices.DeleteFunc(list, func(visit service.Visit) bool { return visit.Participant.Connections == 0 })
	}
	return pageOf(list, next, err, same)
}

func (v *v1) getParticipant(ctx context.Context, in *ByPerson) (meeting.ParticipantInfo, error) {
	_, p, err := v.Service.Person(ctx, in.ID, in.Participant)
	return p.Info(), err
}

func (v *v1) kick(ctx context.Context, in *struct {
	ByPerson
	Reason string `query:"reason" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" doc:"Shown to the person" example:"This meeting is for the team only"`
}) error {
	return v.Service.Remove(ctx, in.ID, in.Participant, in.Reason)
}
