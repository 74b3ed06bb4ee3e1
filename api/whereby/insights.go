package whereby

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

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
	usageBody
	// Nobody is asked for a rating.
	Rating       *int `json:"rating"`
	TotalRatings int  `json:"totalRatings"`
}

// usageBody are Whereby's names for a usage.
type usageBody struct {
	ParticipantMinutes int64 `json:"totalParticipantMinutes"`
	RecorderMinutes    int64 `json:"totalRecorderMinutes"`
	StreamerMinutes    int64 `json:"totalStreamerMinutes"`
	UniqueParticipants int   `json:"totalUniqueParticipants"`
	UniqueRecorders    int   `json:"totalUniqueRecorders"`
	UniqueStreamers    int   `json:"totalUniqueStreamers"`
}

func shownUsage(u meeting.Usage) usageBody {
	return usageBody{u.HumanMinutes, u.RecorderMinutes, u.StreamerMinutes, u.Humans, u.Recorders, u.Streamers}
}

// roomBody is a room as Whereby's insights show it.
type roomBody struct {
	RoomName       string        `json:"roomName"`
	CreatedAt      meeting.Time  `json:"createdAt"`
	EndAt          *meeting.Time `json:"endAt"`
	FirstSessionAt *meeting.Time `json:"firstSessionStartedAt"`
	LastSessionAt  *meeting.Time `json:"lastSessionStartedAt"`
	TotalSessions  int           `json:"totalSessions"`
	usageBody
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
	ExternalID    *string       `json:"externalId"` // of the app's user, from the token
	Rating        *int          `json:"rating"`
	Comment       *string       `json:"comment"`
	Tags          []string      `json:"tags"`
}

// insightsSessions answers what Reflector decides the life of its meetings by:
// of an unknown room an empty list, because a 404 would let a meeting live for
// ever; of one that usher cannot see, that it cannot say.
func (f *facade) insightsSessions(w http.ResponseWriter, r *http.Request) error {
	cursor, limit, err := paging(r, insightsPage)
	if err != nil {
		return err
	}
	if !f.svc.Running() {
		return unsynced()
	}
	room := roomOf(r)
	var list []service.SessionUsage
	var next string
	if id := r.URL.Query().Get("roomSessionId"); id != "" {
		list, err = f.oneSession(r.Context(), id, room)
	} else {
		list, next, err = f.svc.SessionUsages(r.Context(), meeting.Filter{Room: room}, cursor, limit)
		if err == nil && room != "" {
			err = f.seen(r.Context(), room, list)
		}
	}
	if err != nil {
		return err
	}
	now := time.Now()
	var shown []sessionBody
	for i, a := range list {
		s := sessionBody{
			RoomSessionID: a.Session.ID, RoomName: roomName(a.Meeting.Room),
			StartedAt: a.Session.StartedAt, EndedAt: meeting.TimeOrNull(a.Session.EndedAt.Time),
			usageBody: shownUsage(a.Usage),
		}
		latest := cursor == "" && (i == 0 || list[i-1].Meeting.ID != a.Meeting.ID)
		if latest && a.Meeting.Expected(now) {
			s.EndedAt = nil // whoever is on the way goes on with it, as far as the app can see
		}
		shown = append(shown, s)
	}
	slices.SortStableFunc(shown, func(a, b sessionBody) int {
		return cmp.Or(cmp.Compare(rank(a.EndedAt), rank(b.EndedAt)), b.StartedAt.Compare(a.StartedAt.Time))
	})
	if ascending(r) {
		slices.Reverse(shown)
	}
	return writeList(w, shown, next)
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
func (f *facade) seen(ctx context.Context, room string, list []service.SessionUsage) error {
	meetings, _, err := f.svc.List(ctx, meeting.Filter{Room: room}, "", maxPage)
	if err != nil {
		return err
	}
	for _, a := range list {
		meetings = append(meetings, a.Meeting)
	}
	for _, m := range meetings {
		if !m.StaleSince.IsZero() && m.State() != meeting.StateEnded {
			return unsynced()
		}
	}
	return nil
}

// oneSession returns the session if there is one, of the room if one is named.
func (f *facade) oneSession(ctx context.Context, id, room string) ([]service.SessionUsage, error) {
	s, m, err := f.svc.SessionOf(ctx, id)
	switch {
	case errors.Is(err, meeting.ErrNotFound), err == nil && room != "" && m.Room != room:
		return nil, nil
	case err != nil:
		return nil, err
	}
	one, err := f.svc.SessionUsageOf(ctx, m, s)
	return []service.SessionUsage{one}, err
}

func (f *facade) insightsRooms(w http.ResponseWriter, r *http.Request) error {
	cursor, limit, err := paging(r, insightsPage)
	if err != nil {
		return err
	}
	if !f.svc.Running() {
		return unsynced()
	}
	list, next, err := f.svc.MeetingUsages(r.Context(), meeting.Filter{Room: roomOf(r)}, cursor, limit)
	if err != nil {
		return err
	}
	begins := bareRoom(r.URL.Query().Get("roomName[startsWith]"))
	var shown []roomBody
	for _, u := range list {
		if !strings.HasPrefix(u.Meeting.Room, begins) {
			continue
		}
		shown = append(shown, roomBody{
			RoomName: roomName(u.Meeting.Room), CreatedAt: meeting.Time{Time: u.Meeting.CreatedAt}, EndAt: meeting.TimeOrNull(endDate(u.Meeting)),
			FirstSessionAt: meeting.TimeOrNull(u.First), LastSessionAt: meeting.TimeOrNull(u.Last), TotalSessions: u.Sessions,
			usageBody: shownUsage(u.Usage),
		})
	}
	if ascending(r) {
		slices.Reverse(shown)
	}
	return writeList(w, shown, next)
}

// people returns everybody of the session that the query names, in the order
// in which they came; of one that does not exist, nobody.
func (f *facade) people(r *http.Request) ([]personBody, error) {
	id := r.URL.Query().Get("roomSessionId")
	if id == "" {
		return nil, refuse("roomSessionId is required")
	}
	if !f.svc.Running() {
		return nil, unsynced()
	}
	_, m, err := f.svc.SessionOf(r.Context(), id)
	if errors.Is(err, meeting.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	list, err := f.svc.Participants(r.Context(), id)
	if err != nil {
		return nil, err
	}
	shown := make([]personBody, 0, len(list))
	for _, p := range list {
		one := personBody{
			RoomSessionID: p.SessionID, RoomName: roomName(m.Room), ParticipantID: p.ID,
			RoleName: roleName(p.Kind, p.Role), DisplayName: p.Name,
			JoinedAt: p.JoinedAt, LeftAt: meeting.TimeOrNull(p.LeftAt.Time), Tags: []string{},
		}
		if p.UserID != "" {
			one.ExternalID = &p.UserID
		}
		shown = append(shown, one)
	}
	return shown, nil
}

func (f *facade) insightsPeople(w http.ResponseWriter, r *http.Request) error {
	cursor, limit, err := paging(r, insightsPage)
	if err != nil {
		return err
	}
	list, err := f.people(r)
	if err != nil {
		return err
	}
	if id := r.URL.Query().Get("externalId"); id != "" {
		list = slices.DeleteFunc(list, func(p personBody) bool { return p.ExternalID == nil || *p.ExternalID != id })
	}
	// The cursor is the last one shown. People never leave this list.
	list = list[1+slices.IndexFunc(list, func(p personBody) bool { return p.ParticipantID == cursor }):]
	next := ""
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ParticipantID
	}
	return writeList(w, list, next)
}

func (f *facade) insightsPerson(w http.ResponseWriter, r *http.Request) error {
	list, err := f.people(r)
	if err != nil {
		return err
	}
	id := r.URL.Query().Get("participantId")
	i := slices.IndexFunc(list, func(p personBody) bool { return p.ParticipantID == id })
	if i < 0 {
		return meeting.ErrNotFound
	}
	write(w, http.StatusOK, list[i])
	return nil
}
