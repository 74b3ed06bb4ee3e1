package webhook

import (
	"context"

	"usher/meeting"
)

// EventSync is the dialect of event_sync, a Prosody component of
// jitsi-contrib/prosody-plugins (mod_event_sync_component.lua). It signs
// nothing: receivers know it by a header that the endpoint is given.
const EventSync = "event_sync"

var eventSyncDialect = dialect{
	events: map[meeting.NoticeType]telling{
		meeting.SessionStarted:    eventSyncCreated,
		meeting.SessionEnded:      eventSyncDestroyed,
		meeting.ParticipantJoined: eventSyncOccupant("joined"),
		meeting.ParticipantLeft:   eventSyncOccupant("left"),
		TypeTest: func(context.Context, about) (string, Object, error) {
			return "/events/webhook/test", Object{{"event_name", "webhook-test"}}, nil
		},
	},
}

// eventSync returns a body. Breakout rooms are not followed.
func eventSync(a about, name string, rest ...Member) Object {
	return append(Object{
		{"event_name", name},
		{"room_name", a.meeting.Room},
		{"room_jid", roomJID(a)},
		{"is_breakout", false},
	}, rest...)
}

func roomJID(a about) string { return a.meeting.Room + "@" + a.muc }

func eventSyncCreated(_ context.Context, a about) (string, Object, error) {
	return "/events/room/created", eventSync(a, "muc-room-created",
		Member{"created_at", a.session().StartedAt.Unix()}), nil
}

func eventSyncDestroyed(ctx context.Context, a about) (string, Object, error) {
	people, err := a.people(ctx, a.notice.SessionID)
	if err != nil {
		return "", nil, err
	}
	all := []any{}
	for i := range people {
		if people[i].Kind == meeting.KindHuman {
			all = append(all, occupantOf(a, people[i].Info()))
		}
	}
	s := a.session()
	destroyed := a.notice.Timestamp
	if s.EndedAt != nil {
		destroyed = *s.EndedAt
	}
	return "/events/room/destroyed", eventSync(a, "muc-room-destroyed",
		Member{"created_at", s.StartedAt.Unix()}, Member{"destroyed_at", destroyed.Unix()}, Member{"all_occupants", all}), nil
}

func eventSyncOccupant(what string) telling {
	return func(_ context.Context, a about) (string, Object, error) {
		p := a.participant()
		if p.Kind != meeting.KindHuman {
			return "", nil, nil // event_sync takes recorders for people; their number is of no use
		}
		return "/events/occupant/" + what, eventSync(a, "muc-occupant-"+what,
			Member{"active_occupants_count", a.occupancy().Humans}, Member{"occupant", occupantOf(a, p)}), nil
	}
}

// occupantOf returns somebody as event_sync shows them. The address that
// receivers tell people apart by is made of the participant's id: notices have
// no real ones, and this one stays the same when somebody comes back.
func occupantOf(a about, p meeting.ParticipantInfo) Object {
	o := Object{}
	for _, m := range []Member{{"name", p.Name}, {"email", p.Email}, {"id", p.UserID}} {
		if m.Value != "" {
			o = append(o, m)
		}
	}
	o = append(o, Member{"occupant_jid", roomJID(a) + "/" + p.ID}, Member{"joined_at", p.JoinedAt.Unix()})
	if p.LeftAt != nil {
		o = append(o, Member{"left_at", p.LeftAt.Unix()})
	}
	return o
}
