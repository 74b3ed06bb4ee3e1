package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

// people is the input of operations that list participants.
type people struct {
	ByID
	Active bool `query:"active" doc:"Only those who are in the room now"`
}

// oneParticipant is an output of huma's.
type oneParticipant struct{ Body meeting.ParticipantInfo }

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

func (v *v1) registerPeople(a huma.API) {
	huma.Register(a, operation(ScopeMeetingsRead, "list-rooms", http.MethodGet, "/v1/rooms",
		"List the rooms that are live: an open session, and who is in counted"), v.listRooms)
	huma.Register(a, operation(ScopeMeetingsRead, "list-meeting-participants", http.MethodGet, "/v1/meetings/{id}/participants",
		"List the people of the open session, or of the latest one when none is open",
		http.StatusNotFound), v.meetingParticipants)
	huma.Register(a, operation(ScopeMeetingsRead, "list-session-participants", http.MethodGet, "/v1/sessions/{id}/participants",
		"List the people of a session", http.StatusNotFound), v.sessionParticipants)
	huma.Register(a, operation(ScopeMeetingsRead, "get-participant", http.MethodGet, "/v1/meetings/{id}/participants/{participant}",
		"See one of the people of the open or latest session", http.StatusNotFound), v.getParticipant)
	kick := operation(ScopeParticipantsWrite, "kick-participant", http.MethodDelete, "/v1/meetings/{id}/participants/{participant}",
		"Put a person out of the room, on every connection they have. Somebody with a user id is put out again whenever they come back, "+
			"until the meeting ends or an app makes a token or link for them; a guest can come back",
		http.StatusNotFound, http.StatusConflict)
	kick.DefaultStatus = http.StatusNoContent
	huma.Register(a, kick, v.kick)
}

func (v *v1) listRooms(ctx context.Context, in *Paging) (*page[Room], error) {
	live, next, err := v.reads.List(ctx, meeting.Filter{State: meeting.StateLive}, in.Cursor, in.Limit)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return newPage(live, next, func(m meeting.Meeting) Room {
		info := m.Info()
		return Room{
			Room: info.Room, MeetingID: info.ID, ExternalID: info.ExternalID,
			StaleSince: info.StaleSince, Occupancy: info.Occupancy, Session: info.Session,
		}
	}), nil
}

func (v *v1) meetingParticipants(ctx context.Context, in *people) (*page[meeting.ParticipantInfo], error) {
	m, err := v.load(ctx, in.ID)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	list, err := v.peopleOf(ctx, m)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return shownPeople(list, in.Active), nil
}

// peopleOf returns everybody of the open session, or of the latest one when
// none is open.
func (v *v1) peopleOf(ctx context.Context, m meeting.Meeting) ([]meeting.Participant, error) {
	session := m.Session.ID
	if session == "" {
		latest, _, err := v.reads.Sessions(ctx, m.ID, "", 1)
		if err != nil || len(latest) == 0 {
			return nil, err
		}
		session = latest[0].ID
	}
	return v.reads.Participants(ctx, session)
}

func (v *v1) sessionParticipants(ctx context.Context, in *people) (*page[meeting.ParticipantInfo], error) {
	if _, err := v.session(ctx, in.ID); err != nil {
		return nil, v.fail(ctx, err)
	}
	list, err := v.reads.Participants(ctx, in.ID)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return shownPeople(list, in.Active), nil
}

func shownPeople(list []meeting.Participant, active bool) *page[meeting.ParticipantInfo] {
	if active {
		list = slices.DeleteFunc(slices.Clone(list), func(p meeting.Participant) bool { return !p.Present() })
	}
	return newPage(list, "", meeting.Participant.Info)
}

func (v *v1) getParticipant(ctx context.Context, in *ByPerson) (*oneParticipant, error) {
	_, p, err := v.person(ctx, in)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return &oneParticipant{Body: p.Info()}, nil
}

// person reads the meeting, and the one of its open or latest session's people
// that is asked for.
func (v *v1) person(ctx context.Context, in *ByPerson) (meeting.Meeting, meeting.Participant, error) {
	m, err := v.load(ctx, in.ID)
	if err != nil {
		return meeting.Meeting{}, meeting.Participant{}, err
	}
	list, err := v.peopleOf(ctx, m)
	if err != nil {
		return meeting.Meeting{}, meeting.Participant{}, err
	}
	i := slices.IndexFunc(list, func(p meeting.Participant) bool { return p.ID == in.Participant })
	if i < 0 {
		return meeting.Meeting{}, meeting.Participant{}, meeting.ErrNotFound
	}
	return m, list[i], nil
}

func (v *v1) kick(ctx context.Context, in *struct {
	ByPerson
	Reason string `query:"reason" maxLength:"200" doc:"Shown to the person" example:"This meeting is for the team only"`
}) (*struct{}, error) {
	m, p, err := v.person(ctx, &in.ByPerson)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	if !p.Present() {
		refusal := newProblem(http.StatusConflict, "this person is not in the room")
		refusal.Code = "not_present"
		return nil, refusal
	}
	if p.UserID != "" {
		// Before the kick, or who is quick to come back would stay in.
		if _, err := v.commands.Do(ctx, m.ID, meeting.Removed{UserID: p.UserID, Reason: in.Reason}); err != nil {
			return nil, v.fail(ctx, err)
		}
	}
	var nicks []string
	for _, c := range p.Connections {
		nicks = append(nicks, c.Nick)
	}
	if err := v.rooms.Kick(ctx, m.Room, nicks, in.Reason); err != nil {
		v.log.Warn("cannot put a person out of a room", "request_id", requestID(ctx), "meeting_id", m.ID, "participant_id", p.ID, "err", err)
		return nil, newProblem(http.StatusServiceUnavailable, "this cannot be done right now, try again")
	}
	return nil, nil
}
