package whereby

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"usher/api"
	"usher/meeting"
	"usher/meeting/service"
)

// sessionBody is a session as Whereby shows it. An app may end a meeting for
// good as soon as it sees a session and none that is open, so endedAt stays null
// while the session lingers, and while somebody is on the way.
type sessionBody struct {
	RoomSessionID string        `json:"roomSessionId"`
	RoomName      string        `json:"roomName"`
	StartedAt     meeting.Time  `json:"startedAt"`
	EndedAt       *meeting.Time `json:"endedAt"`
	UsageBody
	// Nobody is asked for a rating.
	Rating       *int `json:"rating"`
	TotalRatings int  `json:"totalRatings"`
}

// UsageBody is a [meeting.Usage] by Whereby's names.
type UsageBody struct {
	HumanMinutes    int64 `json:"totalParticipantMinutes"`
	RecorderMinutes int64 `json:"totalRecorderMinutes"`
	StreamerMinutes int64 `json:"totalStreamerMinutes"`
	Humans          int   `json:"totalUniqueParticipants"`
	Recorders       int   `json:"totalUniqueRecorders"`
	Streamers       int   `json:"totalUniqueStreamers"`
}

// roomBody is a room as Whereby's insights show it.
type roomBody struct {
	RoomName       string        `json:"roomName"`
	CreatedAt      meeting.Time  `json:"createdAt"`
	EndAt          *meeting.Time `json:"endAt"`
	FirstSessionAt *meeting.Time `json:"firstSessionStartedAt"`
	LastSessionAt  *meeting.Time `json:"lastSessionStartedAt"`
	TotalSessions  int           `json:"totalSessions"`
	UsageBody
}

// personBody is a participant as Whereby's insights show one. What has no
// counterpart is null.
type personBody struct {
	RoomSessionID string        `json:"roomSessionId"`
	RoomName      string        `json:"roomName"`
	ParticipantID string        `json:"participantId"`
	DeviceID      *string       `json:"deviceId"`
	UserID        *string       `json:"userId"`
	RoleName      string        `json:"roleName"`
	DisplayName   string        `json:"displayName"`
	JoinedAt      meeting.Time  `json:"joinedAt"`
	LeftAt        *meeting.Time `json:"leftAt"`
	ExternalID    *string       `json:"externalId"` // of the app's user
	Metadata      *string       `json:"metadata"`
	Rating        *int          `json:"rating"`
	Comment       *string       `json:"comment"`
	Tags          []string      `json:"tags"`
}

// insightsSessions answers what Reflector decides the life of its meetings by:
// of an unknown room an empty list, because a 404 would let a meeting live for
// ever; of one that usher cannot see, that it cannot say.
func (f *facade) insightsSessions(r *http.Request, cursor string, limit int) (shown []sessionBody, next string, err error) {
	room := roomOf(r)
	var list []service.SessionUsage
	if id := r.URL.Query().Get("roomSessionId"); id != "" {
		list, err = f.oneSession(r.Context(), id, room)
	} else {
		list, next, err = f.SessionUsages(r.Context(), meeting.Filter{Room: room}, service.Span{}, cursor, limit)
		if err == nil && room != "" {
			err = f.seen(r.Context(), room, list)
		}
	}
	now := time.Now()
	for i, u := range list {
		s := sessionBody{
			RoomSessionID: u.Session.ID, RoomName: roomName(u.Room),
			StartedAt: u.Session.StartedAt, EndedAt: meeting.TimeOrNull(u.Session.EndedAt.Time), UsageBody: UsageBody(u.Usage),
		}
		latest := cursor == "" && (i == 0 || list[i-1].MeetingID != u.MeetingID)
		if latest && u.Meeting.Expected(now) {
			s.EndedAt = nil // whoever is on the way goes on with it, as far as the app can see
		}
		shown = append(shown, s)
	}
	rank := func(s sessionBody) int { // what is open before what has ended
		if s.EndedAt == nil {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(shown, func(a, b sessionBody) int {
		return cmp.Or(rank(a)-rank(b), b.StartedAt.Compare(a.StartedAt.Time))
	})
	return inOrder(r, shown), next, err
}

// unsynced refuses what usher cannot know before it sees the rooms again. To say
// instead that nobody is in would make an app end the meeting for good.
func unsynced() error {
	return api.NewProblem(http.StatusServiceUnavailable, "usher does not see this room right now, try again")
}

func (f *facade) synced() error {
	if !f.Running() {
		return unsynced()
	}
	return nil
}

// seen refuses when usher has lost sight of the room, before or after the list
// was read: people may be in.
func (f *facade) seen(ctx context.Context, room string, list []service.SessionUsage) error {
	meetings, _, err := f.List(ctx, meeting.Filter{Room: room}, "", maxPage)
	for _, u := range list {
		meetings = append(meetings, u.Meeting)
	}
	lost := func(m meeting.Meeting) bool { return !m.StaleSince.IsZero() && m.State() != meeting.StateEnded }
	if err == nil && slices.ContainsFunc(meetings, lost) {
		err = unsynced()
	}
	return err
}

// oneSession returns the session if there is one, of the room if one is named.
func (f *facade) oneSession(ctx context.Context, id, room string) ([]service.SessionUsage, error) {
	u, err := f.SessionUsage(ctx, id)
	if errors.Is(err, meeting.ErrNotFound) || err == nil && room != "" && u.Room != room {
		return nil, nil
	}
	return []service.SessionUsage{u}, err
}

func (f *facade) insightsRooms(r *http.Request, cursor string, limit int) (shown []roomBody, next string, err error) {
	list, next, err := f.RoomUsages(r.Context(), meeting.Filter{Room: roomOf(r)}, service.Span{}, cursor, limit)
	begins := bareRoom(r.URL.Query().Get("roomName[startsWith]"))
	for _, u := range list {
		if strings.HasPrefix(u.Room, begins) {
			shown = append(shown, roomBody{
				RoomName: roomName(u.Room), CreatedAt: u.CreatedAt, EndAt: meeting.TimeOrNull(endDate(u.Meeting)),
				FirstSessionAt: u.FirstSessionAt, LastSessionAt: u.LastSessionAt, TotalSessions: u.Sessions,
				UsageBody: UsageBody(u.Usage),
			})
		}
	}
	return inOrder(r, shown), next, err
}

// people returns everybody of the session that the query names, in the order
// in which they came; of one that does not exist, nobody.
func (f *facade) people(r *http.Request) (shown []personBody, err error) {
	id := r.URL.Query().Get("roomSessionId")
	if id == "" {
		return nil, refuse("roomSessionId is required")
	}
	_, m, err := f.SessionOf(r.Context(), id)
	var list []meeting.Participant
	if err == nil {
		list, err = f.Participants(r.Context(), id)
	}
	if errors.Is(err, meeting.ErrNotFound) {
		return nil, nil
	}
	for _, p := range list {
		shown = append(shown, personBody{
			RoomSessionID: p.SessionID, RoomName: roomName(m.Room), ParticipantID: p.ID,
			RoleName: roleName(p.Person), DisplayName: p.Name,
			JoinedAt: p.JoinedAt, LeftAt: meeting.TimeOrNull(p.LeftAt.Time), Tags: []string{},
			ExternalID: orNull(externalID(p.Person)), Metadata: orNull(p.Metadata),
		})
	}
	return shown, err
}

func (f *facade) insightsPeople(r *http.Request, cursor string, limit int) (list []personBody, next string, err error) {
	list, err = f.people(r)
	if id := r.URL.Query().Get("externalId"); id != "" {
		list = slices.DeleteFunc(list, func(p personBody) bool { return p.ExternalID == nil || *p.ExternalID != id })
	}
	// The cursor is the last one shown. People never leave this list.
	list = list[1+slices.IndexFunc(list, func(p personBody) bool { return p.ParticipantID == cursor }):]
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ParticipantID
	}
	return list, next, err
}

func (f *facade) insightsPerson(_ http.ResponseWriter, r *http.Request) (any, error) {
	list, err := f.people(r)
	if err != nil {
		return nil, err
	}
	id := r.URL.Query().Get("participantId")
	i := slices.IndexFunc(list, func(p personBody) bool { return p.ParticipantID == id })
	if i < 0 {
		return nil, meeting.ErrNotFound
	}
	return list[i], nil
}
