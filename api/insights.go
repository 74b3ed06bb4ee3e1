package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

// meetingsPerPage bounds how many meetings are looked at for one page of their
// sessions: most of them may have none, and a page may be short.
const meetingsPerPage = 100

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

// OfRoom is the input of operations that look at all meetings or at those of
// one room.
type OfRoom struct {
	Room string `query:"room" maxLength:"100" doc:"Only meetings of this room"`
	Paging
}

func (in *OfRoom) filter() meeting.Filter { return meeting.Filter{Room: strings.ToLower(in.Room)} }

func (v *v1) registerInsights(a huma.API) {
	huma.Register(a, operation(ScopeMeetingsRead, "list-session-insights", http.MethodGet, "/v1/insights/sessions",
		"List what sessions came to: minutes and different people. Those of one meeting stand together"), v.sessionInsights)
	huma.Register(a, operation(ScopeMeetingsRead, "list-room-insights", http.MethodGet, "/v1/insights/rooms",
		"List what meetings came to, all their sessions together"), v.roomInsights)
}

func (v *v1) sessionInsights(ctx context.Context, in *OfRoom) (*page[SessionUsage], error) {
	list, next, err := v.attended(ctx, in.filter(), in.Cursor, in.Limit)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return newPage(list, next, func(a attended) SessionUsage {
		return SessionUsage{
			MeetingID: a.meeting.ID, Room: a.meeting.Room, ExternalID: a.meeting.ExternalID,
			Session: a.session.Info(), Usage: a.usage,
		}
	}), nil
}

func (v *v1) roomInsights(ctx context.Context, in *OfRoom) (*page[RoomUsage], error) {
	list, next, err := v.used(ctx, in.filter(), in.Cursor, in.Limit)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	return newPage(list, next, func(u used) RoomUsage {
		return RoomUsage{
			MeetingID: u.meeting.ID, Room: u.meeting.Room, ExternalID: u.meeting.ExternalID,
			CreatedAt: meeting.Time{Time: u.meeting.CreatedAt}, EndedAt: timeOrNull(u.meeting.EndedAt),
			Sessions: u.sessions, FirstSessionAt: timeOrNull(u.first), LastSessionAt: timeOrNull(u.last),
			Usage: u.usage,
		}
	}), nil
}

func timeOrNull(t time.Time) *meeting.Time {
	if t.IsZero() {
		return nil
	}
	return &meeting.Time{Time: t}
}

// attended is a session and what it came to.
type attended struct {
	meeting meeting.Meeting
	session meeting.Session
	usage   meeting.Usage
}

// place is where a list that goes through several meetings has come to.
type place struct {
	Meetings string `json:"m,omitempty"` // cursor of the meeting's page, which holds only it
	Elements string `json:"e,omitempty"` // cursor among what the meeting has
}

func (p place) cursor() string {
	data, _ := json.Marshal(p) // a struct of text always encodes
	return base64.RawURLEncoding.EncodeToString(data)
}

// placeOf returns the place of a cursor; of one that makes no sense, the
// beginning.
func placeOf(cursor string) (p place) {
	data, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || json.Unmarshal(data, &p) != nil {
		return place{}
	}
	return p
}

// attended returns at most limit sessions of the meetings chosen, meeting by
// meeting, the newest first, and the cursor of the next page. A page may be
// short although there is a next one.
func (v *v1) attended(ctx context.Context, f meeting.Filter, cursor string, limit int) (list []attended, next string, err error) {
	next, err = v.throughMeetings(ctx, f, cursor, limit, func(m meeting.Meeting, cursor string, limit int) (int, string, error) {
		sessions, left, err := v.reads.Sessions(ctx, m.ID, cursor, limit)
		for i := 0; i < len(sessions) && err == nil; i++ {
			var people []meeting.Participant
			people, err = v.reads.Participants(ctx, sessions[i].ID)
			list = append(list, attended{m, sessions[i], meeting.UsageOf(people, m.KnownAt(time.Now()))})
		}
		return len(sessions), left, err
	})
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}

// throughMeetings makes one list of what the meetings chosen have. take takes a
// page of at most limit elements of one meeting, and returns how many there were
// and the cursor of those that are left.
func (v *v1) throughMeetings(ctx context.Context, f meeting.Filter, cursor string, limit int,
	take func(m meeting.Meeting, cursor string, limit int) (taken int, left string, err error),
) (next string, err error) {
	at := placeOf(cursor)
	for range meetingsPerPage {
		meetings, more, err := v.reads.List(ctx, f, at.Meetings, 1)
		if err != nil {
			return "", err
		}
		left := ""
		for _, m := range meetings {
			if m.Forgotten {
				continue
			}
			var taken int
			if taken, left, err = take(m, at.Elements, limit); err != nil {
				return "", err
			}
			limit -= taken
		}
		switch {
		case left != "":
			at.Elements = left
		case more == "":
			return "", nil
		default:
			at = place{Meetings: more}
		}
		if limit <= 0 {
			break
		}
	}
	return at.cursor(), nil
}

// used is a meeting and what its sessions came to.
type used struct {
	meeting     meeting.Meeting
	sessions    int
	first, last time.Time // starts of the first and of the latest session
	usage       meeting.Usage
}

// used returns a page of meetings with what all their sessions came to.
func (v *v1) used(ctx context.Context, f meeting.Filter, cursor string, limit int) (list []used, next string, err error) {
	meetings, next, err := v.reads.List(ctx, f, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	for _, m := range meetings {
		if m.Forgotten {
			continue
		}
		u, err := v.usedBy(ctx, m)
		if err != nil {
			return nil, "", err
		}
		list = append(list, u)
	}
	return list, next, nil
}

func (v *v1) usedBy(ctx context.Context, m meeting.Meeting) (used, error) {
	u := used{meeting: m}
	var people []meeting.Participant
	for cursor, more := "", true; more; more = cursor != "" {
		var sessions []meeting.Session
		var err error
		sessions, cursor, err = v.reads.Sessions(ctx, m.ID, cursor, maxSessions)
		if err != nil {
			return used{}, err
		}
		for _, s := range sessions {
			in, err := v.reads.Participants(ctx, s.ID)
			if err != nil {
				return used{}, err
			}
			people = append(people, in...)
			if u.first.IsZero() || s.StartedAt.Before(u.first) {
				u.first = s.StartedAt
			}
			if s.StartedAt.After(u.last) {
				u.last = s.StartedAt
			}
		}
		u.sessions += len(sessions)
	}
	u.usage = meeting.UsageOf(people, m.KnownAt(time.Now()))
	return u, nil
}

// maxSessions is how many sessions are read at a time: as many as a store gives.
const maxSessions = 100
