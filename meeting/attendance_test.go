package meeting_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"usher/meeting"
)

// attended is a meeting whose attendance is looked at.
type attended struct {
	t       *testing.T
	start   time.Time
	m       meeting.Meeting
	stored  map[string]meeting.Participant // the latest of each, read back from JSON
	session meeting.Session
}

func newAttended(t *testing.T) *attended {
	a := &attended{t: t, start: time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC), stored: map[string]meeting.Participant{}}
	a.after(0, meeting.Created{Room: "standup"})
	return a
}

// after applies an input so many seconds after the start.
func (a *attended) after(seconds int, in meeting.Input) {
	a.t.Helper()
	before, err := json.Marshal(a.m.People)
	if err != nil {
		a.t.Fatal(err)
	}
	was := a.m.People
	m, fx, err := meeting.Apply(a.m, meeting.TimedInput{At: a.start.Add(time.Duration(seconds) * time.Second), Seed: meeting.NewSeed(), Input: in})
	if err != nil {
		a.t.Fatal(err)
	}
	if now, _ := json.Marshal(was); string(now) != string(before) {
		a.t.Fatalf("%#v changed what was before: %s, want %s", in, now, before)
	}
	a.m = m
	for _, p := range fx.People {
		text, err := json.Marshal(p)
		if err != nil {
			a.t.Fatal(err)
		}
		var read meeting.Participant
		if err := json.Unmarshal(text, &read); err != nil {
			a.t.Fatal(err)
		}
		a.stored[p.ID] = read
	}
	for _, s := range fx.Sessions {
		a.session = s
	}
}

// seen is the presence of somebody in the main room.
func seen(nick, user string, audio, video meeting.Media) meeting.Seen {
	return meeting.Seen{Occupant: meeting.Occupant{
		Nick: nick, JID: nick + "@meet.jitsi/web", Kind: meeting.KindHuman, Role: meeting.RoleParticipant, UserID: user, Audio: audio, Video: video,
	}}
}

// of is one person's attendance, in seconds since the start.
func (a *attended) of(id string, now int) string {
	p := a.stored[id]
	all := a.m.AttendanceOf(a.session, []meeting.Participant{p}, a.start.Add(time.Duration(now)*time.Second))
	if len(all.Attendees) != 1 {
		return fmt.Sprint(all.Attendees)
	}
	seconds := func(t meeting.Time) string {
		if t.IsZero() {
			return ""
		}
		return fmt.Sprint(t.Sub(a.start).Seconds())
	}
	spans := func(list []meeting.Span) string {
		var words []string
		for _, s := range list {
			words = append(words, seconds(s.From)+"-"+seconds(s.To))
		}
		return strings.Join(words, " ")
	}
	who, rooms := all.Attendees[0], []string{}
	for _, r := range who.BreakoutRooms {
		rooms = append(rooms, r.Name+" "+spans([]meeting.Span{r.Span}))
	}
	return fmt.Sprintf("%d s: %s; muted %s; camera %s; rooms %s", who.PresentS, spans(who.Visits), spans(who.Muted), spans(who.Camera), strings.Join(rooms, ", "))
}

func (a *attended) want(id string, now int, want string) {
	a.t.Helper()
	if got := a.of(id, now); got != want {
		a.t.Errorf("attendance after %d s\ngot  %s\nwant %s", now, got, want)
	}
}

const on, off = meeting.MediaOn, meeting.MediaOff

// TestAttendance follows a user who mutes, reloads the page, goes to a breakout room
// and back, leaves and comes again.
func TestAttendance(t *testing.T) {
	a := newAttended(t)
	a.after(10, seen("aa", "u1", meeting.MediaUnknown, meeting.MediaUnknown))
	id := a.m.People[0].ID
	a.want(id, 15, "5 s: 10-; muted ; camera ; rooms ")
	a.after(20, seen("aa", "u1", off, on))
	a.after(30, seen("aa", "u1", on, on))
	a.after(40, seen("aa", "u1", off, off))
	a.want(id, 45, "35 s: 10-; muted 20-30 40-; camera 20-40; rooms ")

	// The new connection has not said yet; the old one is a ghost that then goes.
	a.after(50, seen("bb", "u1", meeting.MediaUnknown, meeting.MediaUnknown))
	a.after(52, seen("bb", "u1", off, on))
	a.after(60, meeting.Gone{Nick: "aa", Reason: meeting.LeftDisconnected})
	a.want(id, 61, "51 s: 10-; muted 20-30 40-50 52-; camera 20-40 52-; rooms ")

	there := seen("bb", "", meeting.MediaUnknown, meeting.MediaUnknown).Occupant
	there.Elsewhere = &meeting.Elsewhere{Room: meeting.ParticipantRoom{ID: "b1", Name: "one"}}
	a.after(70, meeting.Gone{Nick: "bb", Reason: meeting.LeftSwitchedRoom})
	a.after(71, meeting.Breakouts{Rooms: 2, Occupants: []meeting.Occupant{there}})
	there.Elsewhere = &meeting.Elsewhere{Room: meeting.ParticipantRoom{ID: "b1", Name: "renamed"}}
	a.after(75, meeting.Breakouts{Rooms: 2, Occupants: []meeting.Occupant{there}})
	there.Elsewhere = &meeting.Elsewhere{Room: meeting.ParticipantRoom{ID: "b2", Name: "two"}}
	a.after(80, meeting.Breakouts{Rooms: 2, Occupants: []meeting.Occupant{there}})
	a.want(id, 85, "75 s: 10-; muted 20-30 40-50 52-71; camera 20-40 52-71; rooms one 71-80, two 80-")
	a.after(90, meeting.Breakouts{Rooms: 2})
	a.after(91, seen("bb", "u1", on, on))
	a.after(100, meeting.Gone{Nick: "bb", Reason: meeting.LeftByChoice})
	first := "90 s: 10-100; muted 20-30 40-50 52-71; camera 20-40 52-71 91-100; rooms one 71-80, two 80-91"
	a.want(id, 110, first)

	a.after(120, seen("cc", "u1", off, off))
	a.want(id, 125, "95 s: 10-100 120-; muted 20-30 40-50 52-71 120-; camera 20-40 52-71 91-100; rooms one 71-80, two 80-91")
	a.after(130, meeting.Ended{Reason: meeting.EndRequested})
	a.want(id, 200, "100 s: 10-100 120-130; muted 20-30 40-50 52-71 120-130; camera 20-40 52-71 91-100; rooms one 71-80, two 80-91")
	if n := len(a.stored); n != 1 {
		t.Errorf("%d participants, want the one user", n)
	}
}

// TestAttendanceOfOthers: recorders attend nothing; a phone that outstays the humans
// begins anew with the next session; what an earlier usher stored has no history.
func TestAttendanceOfOthers(t *testing.T) {
	a := newAttended(t)
	recorder, phone := seen("rec", "", off, off), seen("tel", "", off, meeting.MediaUnknown)
	recorder.Occupant.Kind, phone.Occupant.Kind = meeting.KindRecorder, meeting.KindSIP
	a.after(10, seen("aa", "", off, off))
	a.after(10, recorder)
	a.after(20, phone)
	byKind := func(k meeting.Kind) string {
		for _, p := range a.m.People {
			if p.Kind == k {
				return p.ID
			}
		}
		t.Fatalf("no %s", k)
		return ""
	}
	guest, rec, tel := byKind(meeting.KindHuman), byKind(meeting.KindRecorder), byKind(meeting.KindSIP)
	a.want(rec, 30, "[]")
	a.after(30, meeting.Gone{Nick: "aa", Reason: meeting.LeftByChoice})
	a.want(guest, 40, "20 s: 10-30; muted 10-30; camera ; rooms ")
	a.after(95, meeting.Tick{}) // ends the session
	a.want(tel, 100, "75 s: 20-95; muted 20-95; camera ; rooms ")
	a.after(200, seen("bb", "", on, on))
	if again := byKind(meeting.KindSIP); again == tel {
		t.Error("the phone is the participant of the session before")
	} else {
		a.want(again, 210, "115 s: 95-; muted 95-; camera ; rooms ")
	}

	a.stored["old"] = meeting.Participant{
		Person:    meeting.Person{Kind: meeting.KindHuman, JoinedAt: meeting.Time{Time: a.start}, LeftAt: meeting.Time{Time: a.start.Add(time.Minute)}},
		ArrivedAt: a.start, Stayed: time.Minute,
	}
	a.want("old", 100, "60 s: 0-60; muted ; camera ; rooms ")
}

// TestAttendanceIsBounded: of each kind the latest hundred are kept, and time that
// goes back or stands still makes no stretch.
func TestAttendanceIsBounded(t *testing.T) {
	a := newAttended(t)
	a.after(0, seen("aa", "u1", on, on))
	id := a.m.People[0].ID
	there := seen("aa", "", meeting.MediaUnknown, meeting.MediaUnknown).Occupant
	for i := range 110 {
		there.Elsewhere = &meeting.Elsewhere{Room: meeting.ParticipantRoom{ID: fmt.Sprint("b", i)}}
		a.after(10*i+1, seen("aa", "u1", off, on))
		a.after(10*i+2, seen("aa", "u1", on, off))
		a.after(10*i+3, meeting.Breakouts{Rooms: 1, Occupants: []meeting.Occupant{}})
		a.after(10*i+3, meeting.Gone{Nick: "aa", Reason: meeting.LeftSwitchedRoom})
		a.after(10*i+4, meeting.Breakouts{Rooms: 1, Occupants: []meeting.Occupant{there}})
		a.after(10*i+5, seen("aa", "u1", on, off))
		a.after(10*i+6, meeting.Gone{Nick: "aa", Reason: meeting.LeftByChoice})
		a.after(10*i+7, seen("aa", "u1", on, off))
	}
	p := a.stored[id]
	all := a.m.AttendanceOf(a.session, []meeting.Participant{p}, a.start.Add(time.Hour))
	who := all.Attendees[0]
	if len(who.Muted) != 100 || len(who.Camera) != 100 || len(who.BreakoutRooms) != 100 || len(who.Visits) != 101 {
		t.Errorf("%d muted, %d camera, %d rooms, %d visits; want 100 of each, and the open visit", len(who.Muted), len(who.Camera), len(who.BreakoutRooms), len(who.Visits))
	}
	last := a.start.Add(1091 * time.Second)
	if got := who.Muted[99]; !got.From.Equal(last) || !got.To.Equal(last.Add(time.Second)) {
		t.Errorf("the last time muted was %v, want from %v for a second", got, last)
	}
	if text, err := json.Marshal(p); err != nil || len(text) > 15<<10 {
		t.Errorf("stored, they have %d bytes, %v; want 15 kB at most", len(text), err)
	}

	b := newAttended(t)
	b.after(100, seen("aa", "u1", on, on))
	id = b.m.People[0].ID
	b.after(110, seen("aa", "u1", off, on))
	b.after(110, seen("aa", "u1", on, on))
	b.after(120, seen("aa", "u1", off, on))
	b.after(50, seen("aa", "u1", on, on))
	b.after(40, meeting.Gone{Nick: "aa", Reason: meeting.LeftByChoice})
	b.want(id, 200, "0 s: 100-100; muted ; camera ; rooms ")
}
