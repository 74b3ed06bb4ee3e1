package localsite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"usher/internal/sim"
	"usher/internal/stack"
	"usher/meeting"
	"usher/token"
)

// countPatience is how long after a step everything may take to count it. The
// longest waits: for a recorder's hook, and for a session to close.
const countPatience = 30 * time.Second

// FullMeeting is a meeting with everything in it that is counted, each in its own
// way: a host and guests, two breakout rooms, a phone, visitors, a recorder and a
// live stream.
type FullMeeting struct {
	Site    *Site
	Whereby WherebyInbox // is to get what is delivered to the URL of Play

	id, room  string
	people    map[string]*sim.Person
	breakouts map[string]string // addresses of breakout rooms, by name
	events    int               // seen in earlier steps
	hooks     int               // likewise
}

// step is something that happens in the meeting, and what there is to count then.
// What is empty is as before.
type step struct {
	title string
	do    func(context.Context) error
	in    string // occupancy
	where string // who is in which room
	media string // what is recorded and streamed
	total string // who was in, so far
	// What is reported of it, each in any order: events with the names of people, and
	// what an app is told that was written for Whereby.
	events, hooks []string
}

// Play plays the meeting. After each step it waits until all that counts says the
// same, then calls show with what that is and how long it took. dir is for the files
// of the recorder, and url is where the inbox can be reached.
func (f *FullMeeting) Play(ctx context.Context, dir, url string, show func(title, counted string, took time.Duration)) error {
	defer func() {
		for _, p := range f.people {
			p.Drop()
		}
	}()
	jibri, err := f.prepare(ctx, dir, url)
	if err != nil {
		return err
	}
	defer jibri.Die()
	var now step
	for _, st := range f.steps() {
		begin := time.Now()
		if err := st.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", st.title, err)
		}
		now.follow(st)
		if err := f.counted(ctx, now); err != nil {
			return fmt.Errorf("%s: %w", st.title, err)
		}
		show(now.title, now.String(), time.Since(begin))
	}
	for !SpoolEmpty(dir) && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	return context.Cause(ctx)
}

// follow makes the step the one after itself.
func (s *step) follow(next step) {
	for _, field := range []struct{ was, is *string }{{&s.in, &next.in}, {&s.where, &next.where}, {&s.media, &next.media}, {&s.total, &next.total}} {
		if *field.is == "" {
			*field.is = *field.was
		}
	}
	*s = next
}

// String returns the numbers that people look at.
func (s step) String() string {
	text := s.in
	if s.where != "nobody" {
		text += " | " + s.where
	}
	if s.media != "" {
		text += " | " + s.media
	}
	return text
}

// prepare makes the meeting, and everybody who is to be in it.
func (f *FullMeeting) prepare(ctx context.Context, dir, url string) (*sim.Jibri, error) {
	if err := f.Whereby.Subscribe(ctx, f.Site, "counts", url); err != nil {
		return nil, err
	}
	var m meeting.MeetingInfo
	err := f.Site.Call(ctx, "POST", "/v1/meetings", map[string]any{"room": f.Whereby.Rooms, "departure_timeout_s": 1}, &m)
	if err != nil {
		return nil, err
	}
	f.id, f.room, f.events = m.ID, m.Room, 1 // meeting.created
	host, _, err := f.Site.Tokens.Issue(time.Now(), token.Claims{Room: m.Room, User: token.User{ID: "u-ada", Name: "Ada"}, Host: true})
	if err != nil {
		return nil, err
	}
	f.breakouts = map[string]string{}
	f.people = map[string]*sim.Person{
		"Ada": sim.NewPerson(f.Site.Sim, m.Room, "Ada", host),
		"Bob": sim.NewPerson(f.Site.Sim, m.Room, "Bob", ""),
		"Cy":  sim.NewPerson(f.Site.Sim, m.Room, "Cy", ""),
		"555": sim.NewPhone(f.Site.Sim, m.Room, "555", stack.Jigasi.JID(), stack.Jigasi.Password),
	}
	return f.Site.StartJibri(ctx, dir, "jibri-2", nil)
}

func (f *FullMeeting) steps() []step {
	ada, bob, cy, phone := f.people["Ada"], f.people["Bob"], f.people["Cy"], f.people["555"]
	visitors := func(n int) func(context.Context) error {
		return func(context.Context) error { f.Site.Focus.SetVisitors(f.room, n); return nil }
	}
	return []step{
		{
			title: "Ada comes as a host", do: ada.Join,
			in: "1 human, 1 host", where: "main: Ada", total: "1 human",
			events: []string{"session.started", "participant.joined Ada"},
			hooks:  []string{"room.session.started", "room.client.joined host numClients=1 [host:1]"},
		}, {
			title: "Bob comes as a guest", do: bob.Join,
			in: "2 humans, 1 host", where: "main: Ada, Bob", total: "2 humans",
			events: []string{"participant.joined Bob"},
			hooks:  []string{"room.client.joined visitor numClients=2 [host:1 visitor:1]"},
		}, {
			title: "Cy comes as a guest", do: cy.Join,
			in: "3 humans, 1 host", where: "main: Ada, Bob, Cy", total: "3 humans",
			events: []string{"participant.joined Cy"},
			hooks:  []string{"room.client.joined visitor numClients=3 [host:1 visitor:2]"},
		}, {
			title: "somebody dials in", do: phone.Join,
			in: "3 humans, 1 host, 1 other", where: "main: 555, Ada, Bob, Cy",
			events: []string{"participant.joined 555"},
			hooks:  []string{"room.client.joined phone numClients=3 [host:1 visitor:2]"},
		}, {
			title: "40 visitors watch", do: visitors(40),
			in: "3 humans, 1 host, 1 other, 40 visitors",
		}, {
			title: "an app has it recorded", do: f.record,
			in: "3 humans, 1 host, 1 recorder, 1 other, 40 visitors", where: "main: 555, Ada, Bob, Cy, recorder",
			media: "recording", total: "3 humans, 1 recorder",
			events: []string{"recording.requested", "recording.starting", "participant.joined recorder", "recording.started"},
			hooks:  []string{"room.client.joined recorder numClients=43 [host:1 viewer:40 visitor:2]"},
		}, {
			title: "Bob goes to a breakout room", do: f.toBreakout(bob, "one"),
			where: "main: 555, Ada, Cy, recorder; one: Bob", events: []string{"participant.updated Bob room"},
		}, {
			title: "Cy goes to another", do: f.toBreakout(cy, "two"),
			where: "main: 555, Ada, recorder; one: Bob; two: Cy", events: []string{"participant.updated Cy room"},
		}, {
			title: "Ada follows Cy", do: f.toBreakout(ada, "two"),
			where: "main: 555, recorder; one: Bob; two: Ada, Cy", events: []string{"participant.updated Ada room"},
		}, {
			title: "Ada comes back", do: f.toMain(ada),
			where: "main: 555, Ada, recorder; one: Bob; two: Cy", events: []string{"participant.updated Ada room"},
		}, {
			title: "the app stops the recording", do: f.stopRecording,
			in: "3 humans, 1 host, 1 other, 40 visitors", where: "main: 555, Ada; one: Bob; two: Cy", media: "available",
			events: []string{"recording.stopping", "participant.left recorder left", "recording.stopped", "recording.available"},
			hooks:  []string{"room.client.left recorder numClients=43 [host:1 viewer:40 visitor:2]", "recording.finished"},
		}, {
			title: "Ada streams it live", do: func(ctx context.Context) error { _, err := ada.StartStream(ctx); return err },
			in: "3 humans, 1 host, 2 others, 40 visitors", where: "main: 555, Ada, streamer; one: Bob; two: Cy",
			media: "available, 1 live stream", total: "3 humans, 1 recorder, 1 streamer",
			// A Jibri says what it does once it is in.
			events: []string{"participant.joined recorder", "participant.updated streamer kind", "stream.started"},
			hooks:  []string{"room.client.joined recorder numClients=43 [host:1 viewer:40 visitor:2]"},
		}, {
			title: "the app asks for a recording, which waits", do: f.record,
			media:  "queued, available, 1 live stream",
			events: []string{"recording.requested", "recording.queued"},
		}, {
			title: "Bob comes back", do: f.toMain(bob),
			where: "main: 555, Ada, Bob, streamer; two: Cy", events: []string{"participant.updated Bob room"},
		}, {
			title: "Bob leaves", do: bob.Leave,
			in: "2 humans, 1 host, 2 others, 40 visitors", where: "main: 555, Ada, streamer; two: Cy",
			events: []string{"participant.left Bob left"},
			hooks:  []string{"room.client.left visitor numClients=42 [host:1 viewer:40 visitor:1]"},
		}, {
			title: "the stream ends, and it is recorded", do: ada.StopStream,
			in: "2 humans, 1 host, 1 recorder, 1 other, 40 visitors", where: "main: 555, Ada, recorder; two: Cy",
			media: "recording, available", total: "3 humans, 2 recorders, 1 streamer",
			events: []string{"participant.left streamer left", "stream.ended", "recording.starting", "participant.joined recorder", "recording.started"},
			hooks: []string{
				"room.client.left streamer numClients=42 [host:1 viewer:40 visitor:1]", "room.client.joined recorder numClients=42 [host:1 viewer:40 visitor:1]",
			},
		}, {
			title: "the visitors go", do: visitors(0),
			in: "2 humans, 1 host, 1 recorder, 1 other",
		}, {
			title: "Cy comes back", do: f.toMain(cy),
			where: "main: 555, Ada, Cy, recorder", events: []string{"participant.updated Cy room"},
		}, {
			title: "the caller hangs up", do: phone.Leave,
			in: "2 humans, 1 host, 1 recorder", where: "main: Ada, Cy, recorder",
			events: []string{"participant.left 555 left"},
			hooks:  []string{"room.client.left phone numClients=2 [host:1 visitor:1]"},
		}, {
			title: "all leave, the recording and the session end",
			do:    func(ctx context.Context) error { return errors.Join(cy.Leave(ctx), ada.Leave(ctx)) },
			in:    "nobody", where: "nobody", media: "available, available",
			events: []string{
				"participant.left Cy left", "participant.left Ada left", "participant.left recorder left",
				"recording.stopping", "recording.stopped", "recording.available", "session.ended",
			},
			hooks: []string{
				"room.client.left visitor numClients=1 [host:1]", "room.client.left host numClients=0 []", "room.client.left recorder numClients=0 []",
				"recording.finished", "room.session.ended",
			},
		},
	}
}

func (f *FullMeeting) record(ctx context.Context) error {
	return f.Site.Call(ctx, "POST", "/v1/meetings/"+f.id+"/recordings", nil, nil)
}

func (f *FullMeeting) stopRecording(ctx context.Context) error {
	var m meeting.MeetingInfo
	if err := f.Site.Call(ctx, "GET", "/v1/meetings/"+f.id, nil, &m); err != nil || m.ActiveRecording == nil {
		return fmt.Errorf("the active recording is %v: %w", m.ActiveRecording, err)
	}
	return f.Site.Call(ctx, "POST", "/v1/recordings/"+m.ActiveRecording.ID+"/stop", nil, nil)
}

// toBreakout has somebody go to the breakout room with that name, which Ada makes if
// there is none.
func (f *FullMeeting) toBreakout(p *sim.Person, name string) func(context.Context) error {
	return func(ctx context.Context) error {
		if f.breakouts[name] == "" {
			address, err := f.people["Ada"].MakeBreakout(ctx, name)
			if err != nil {
				return err
			}
			f.breakouts[name] = address
		}
		return p.MoveTo(ctx, f.breakouts[name])
	}
}

func (f *FullMeeting) toMain(p *sim.Person) func(context.Context) error {
	return func(ctx context.Context) error { return p.MoveTo(ctx, f.Site.Sim.Room(f.room)) }
}
