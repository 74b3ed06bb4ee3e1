package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"usher/meeting"
)

// wherebySession is a session as Whereby shows it. An app may end a meeting for
// good as soon as it sees a session and none that is open, so endedAt stays null
// while the session lingers, and while somebody is on the way.
type wherebySession struct {
	RoomSessionID string        `json:"roomSessionId"`
	RoomName      string        `json:"roomName"`
	StartedAt     meeting.Time  `json:"startedAt"`
	EndedAt       *meeting.Time `json:"endedAt"`
	wherebyUsage
	// Nobody is asked for a rating.
	Rating       *int `json:"rating"`
	TotalRatings int  `json:"totalRatings"`
}

// wherebyUsage are Whereby's names for a usage.
type wherebyUsage struct {
	ParticipantMinutes int64 `json:"totalParticipantMinutes"`
	RecorderMinutes    int64 `json:"totalRecorderMinutes"`
	StreamerMinutes    int64 `json:"totalStreamerMinutes"`
	UniqueParticipants int   `json:"totalUniqueParticipants"`
	UniqueRecorders    int   `json:"totalUniqueRecorders"`
	UniqueStreamers    int   `json:"totalUniqueStreamers"`
}

func shownUsage(u meeting.Usage) wherebyUsage {
	return wherebyUsage{u.HumanMinutes, u.RecorderMinutes, u.StreamerMinutes, u.Humans, u.Recorders, u.Streamers}
}

// wherebyRoom is a room as Whereby's insights show it.
type wherebyRoom struct {
	RoomName       string        `json:"roomName"`
	CreatedAt      meeting.Time  `json:"createdAt"`
	EndAt          *meeting.Time `json:"endAt"`
	FirstSessionAt *meeting.Time `json:"firstSessionStartedAt"`
	LastSessionAt  *meeting.Time `json:"lastSessionStartedAt"`
	TotalSessions  int           `json:"totalSessions"`
	wherebyUsage
}

// wherebyPerson is a participant as Whereby's insights show one. What has no
// counterpart is null.
type wherebyPerson struct {
	RoomSessionID string        `json:"roomSessionId"`
	RoomName      string        `json:"roomName"`
	ParticipantID string        `json:"participantId"`
	DeviceID      *string       `json:"deviceId"`
	UserID        *string       `json:"userId"`
	RoleName      string        `json:"roleName"`
	DisplayName   string        `json:"displayName"`
	JoinedAt      meeting.Time  `json:"joinedAt"`
	LeftAt        *meeting.Time `json:"leftAt"`
	ExternalID    *string       `json:"externalId"` // of the app's user, from the token
	Rating        *int          `json:"rating"`
	Comment       *string       `json:"comment"`
	Tags          []string      `json:"tags"`
}

// insightsSessions answers what Reflector decides the life of its meetings by:
// of an unknown room an empty list, because a 404 would let a meeting live for
// ever; of one that usher cannot see, that it cannot say.
func (f *facade) insightsSessions(w http.ResponseWriter, r *http.Request, _ string) error {
	cursor, limit, err := paging(r, wherebyInsightsPage)
	if err != nil {
		return err
	}
	if !f.v.commands.Running() {
		return unsynced()
	}
	room := roomOf(r)
	var list []attended
	var next string
	if id := r.URL.Query().Get("roomSessionId"); id != "" {
		list, err = f.oneSession(r.Context(), id, room)
	} else {
		list, next, err = f.v.attended(r.Context(), meeting.Filter{Room: room}, cursor, limit)
		if err == nil && room != "" {
			err = f.seen(r.Context(), room, list)
		}
	}
	if err != nil {
		return err
	}
	now := time.Now()
	var shown []wherebySession
	for i, a := range list {
		s := wherebySession{
			RoomSessionID: a.session.ID, RoomName: shownRoom(a.meeting.Room),
			StartedAt: meeting.Time{Time: a.session.StartedAt}, EndedAt: timeOrNull(a.session.EndedAt),
			wherebyUsage: shownUsage(a.usage),
		}
		latest := cursor == "" && (i == 0 || list[i-1].meeting.ID != a.meeting.ID)
		if latest && a.meeting.Expected(now) {
			s.EndedAt = nil // whoever is on the way goes on with it, as far as the app can see
		}
		shown = append(shown, s)
	}
	slices.SortStableFunc(shown, func(a, b wherebySession) int {
		return cmp.Or(cmp.Compare(rank(a.EndedAt), rank(b.EndedAt)), b.StartedAt.Compare(a.StartedAt.Time))
	})
	if ascending(r) {
		slices.Reverse(shown)
	}
	writeWherebyList(w, shown, next)
	return nil
}

// rank puts what is open before what has ended.
func rank(ended *meeting.Time) int {
	if ended == nil {
		return 0
	}
	return 1
}

// seen refuses when usher has lost sight of the room, before or after the list
// was read: people may be in.
func (f *facade) seen(ctx context.Context, room string, list []attended) error {
	meetings, _, err := f.v.reads.List(ctx, meeting.Filter{Room: room}, "", maxWherebyPage)
	if err != nil {
		return err
	}
	for _, a := range list {
		meetings = append(meetings, a.meeting)
	}
	for _, m := range meetings {
		if !m.StaleSince.IsZero() && m.State() != meeting.StateEnded {
			return unsynced()
		}
	}
	return nil
}

// oneSession returns the session if there is one, of the room if one is named.
func (f *facade) oneSession(ctx context.Context, id, room string) ([]attended, error) {
	s, m, err := f.sessionOf(ctx, id)
	switch {
	case errors.Is(err, meeting.ErrNotFound), err == nil && room != "" && m.Room != room:
		return nil, nil
	case err != nil:
		return nil, err
	}
	people, err := f.v.reads.Participants(ctx, id)
	if err != nil {
		return nil, err
	}
	return []attended{{m, s, meeting.UsageOf(people, m.KnownAt(time.Now()))}}, nil
}

func (f *facade) sessionOf(ctx context.Context, id string) (meeting.Session, meeting.Meeting, error) {
	s, err := f.v.reads.Session(ctx, id)
	if err != nil {
		return meeting.Session{}, meeting.Meeting{}, err
	}
	m, err := f.v.load(ctx, s.MeetingID)
	return s, m, err
}

func (f *facade) insightsRooms(w http.ResponseWriter, r *http.Request, _ string) error {
	cursor, limit, err := paging(r, wherebyInsightsPage)
	if err != nil {
		return err
	}
	if !f.v.commands.Running() {
		return unsynced()
	}
	list, next, err := f.v.used(r.Context(), meeting.Filter{Room: roomOf(r)}, cursor, limit)
	if err != nil {
		return err
	}
	begins := bareRoom(r.URL.Query().Get("roomName[startsWith]"))
	var shown []wherebyRoom
	for _, u := range list {
		if len(u.meeting.Room) < len(begins) || u.meeting.Room[:len(begins)] != begins {
			continue
		}
		shown = append(shown, wherebyRoom{
			RoomName: shownRoom(u.meeting.Room), CreatedAt: meeting.Time{Time: u.meeting.CreatedAt}, EndAt: timeOrNull(endDate(u.meeting)),
			FirstSessionAt: timeOrNull(u.first), LastSessionAt: timeOrNull(u.last), TotalSessions: u.sessions,
			wherebyUsage: shownUsage(u.usage),
		})
	}
	if ascending(r) {
		slices.Reverse(shown)
	}
	writeWherebyList(w, shown, next)
	return nil
}

// people returns everybody of the session that the query names, in the order
// in which they came; of one that does not exist, nobody.
func (f *facade) people(r *http.Request) ([]wherebyPerson, error) {
	id := r.URL.Query().Get("roomSessionId")
	if id == "" {
		return nil, wrong("roomSessionId is required")
	}
	if !f.v.commands.Running() {
		return nil, unsynced()
	}
	_, m, err := f.sessionOf(r.Context(), id)
	if errors.Is(err, meeting.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	list, err := f.v.reads.Participants(r.Context(), id)
	if err != nil {
		return nil, err
	}
	shown := make([]wherebyPerson, 0, len(list))
	for _, p := range list {
		one := wherebyPerson{
			RoomSessionID: p.SessionID, RoomName: shownRoom(m.Room), ParticipantID: p.ID,
			RoleName: wherebyRole(p), DisplayName: p.Name,
			JoinedAt: meeting.Time{Time: p.JoinedAt}, LeftAt: timeOrNull(p.LeftAt), Tags: []string{},
		}
		if p.UserID != "" {
			one.ExternalID = &p.UserID
		}
		shown = append(shown, one)
	}
	return shown, nil
}

// wherebyRole returns Whereby's name for what somebody is in the room.
func wherebyRole(p meeting.Participant) string {
	switch {
	case p.Kind == meeting.KindRecorder:
		return "recorder"
	case p.Kind == meeting.KindStreamer:
		return "streamer"
	case p.Kind == meeting.KindTranscriber:
		return "captioner"
	case p.Role == meeting.RoleModerator:
		return "host"
	case p.Role == meeting.RoleVisitor:
		return "viewer"
	}
	return "visitor"
}

func (f *facade) insightsPeople(w http.ResponseWriter, r *http.Request, _ string) error {
	cursor, limit, err := paging(r, wherebyInsightsPage)
	if err != nil {
		return err
	}
	list, err := f.people(r)
	if err != nil {
		return err
	}
	if id := r.URL.Query().Get("externalId"); id != "" {
		list = slices.DeleteFunc(list, func(p wherebyPerson) bool { return p.ExternalID == nil || *p.ExternalID != id })
	}
	// The cursor is the last one shown. People never leave this list.
	list = list[1+slices.IndexFunc(list, func(p wherebyPerson) bool { return p.ParticipantID == cursor }):]
	next := ""
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ParticipantID
	}
	writeWherebyList(w, list, next)
	return nil
}

func (f *facade) insightsPerson(w http.ResponseWriter, r *http.Request, _ string) error {
	list, err := f.people(r)
	if err != nil {
		return err
	}
	id := r.URL.Query().Get("participantId")
	i := slices.IndexFunc(list, func(p wherebyPerson) bool { return p.ParticipantID == id })
	if i < 0 {
		return meeting.ErrNotFound
	}
	writeWhereby(w, http.StatusOK, list[i])
	return nil
}
