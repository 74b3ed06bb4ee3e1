package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"usher/internal/localsite"
	"usher/internal/sim"
	"usher/meeting"
	"usher/meeting/service"
	"usher/store"
)

// stepPatience is how long a step's events may take to reach Redis and the
// webhook inbox. They take milliseconds; a step that waits for a probe of
// usher's takes seconds.
const stepPatience = 15 * time.Second

// playMeeting plays one meeting from its creation to its end, prints a line for
// each step, and returns the last line. It fails unless every event was
// recorded and delivered, in order.
func playMeeting(ctx context.Context, site *localsite.Site, around *outside, out io.Writer) (string, error) {
	s := &script{site: site, out: out, arrived: map[string]string{}}
	s.changed = sync.NewCond(&s.mu)
	err := around.subscribe(ctx, site, s.receive, func(err error) { s.fail(fmt.Errorf("a webhook does not verify: %w", err)) })
	if err != nil {
		return "", err
	}
	reading, cancel := context.WithCancel(ctx)
	var reader sync.WaitGroup
	reader.Go(func() { s.read(reading) })
	defer reader.Wait()
	defer cancel()
	return s.play(ctx)
}

// script follows what Redis holds and what the inbox gets while people act.
type script struct {
	site *localsite.Site
	out  io.Writer
	id   string // of the meeting

	mu      sync.Mutex
	changed *sync.Cond
	log     []logged          // as Redis has it
	hooks   []logged          // as it was delivered, without repeats
	arrived map[string]string // what was delivered, by id
	err     error

	want []string // every event so far, as describeEvent has it
}

// logged is an event and when it was seen.
type logged struct {
	localsite.Event
	seen time.Time
}

func (s *script) play(ctx context.Context) (string, error) {
	var m meeting.MeetingInfo
	err := s.step(ctx, "an app creates the meeting over HTTP", func() (time.Time, error) {
		begin := time.Now()
		err := s.site.Call(ctx, "POST", "/v1/meetings", map[string]any{
			"name_prefix": "demo", "departure_timeout_s": 2,
		}, &m)
		s.mu.Lock()
		s.id = m.ID
		s.mu.Unlock()
		return begin, err
	}, "meeting.created")
	if err != nil {
		return "", err
	}
	host, guest, err := s.invite(ctx)
	if err != nil {
		return "", err
	}
	ada := sim.NewPerson(s.site.Sim, m.Room, "Ada", host)
	bob := sim.NewPerson(s.site.Sim, m.Room, "Bob", "")
	cy := sim.NewPerson(s.site.Sim, m.Room, "Cy", guest)
	defer func() {
		for _, p := range []*sim.Person{ada, bob, cy} {
			p.Drop() // whoever is still in after a failure
		}
	}()
	act := func(p *sim.Person, f func(context.Context) error) func() (time.Time, error) {
		return func() (time.Time, error) {
			err := f(ctx)
			return p.Sent(), err
		}
	}
	steps := []struct {
		title string
		do    func() (time.Time, error)
		want  []string
	}{
		{"somebody asks for a room that no app created", s.stranger(ctx), nil},
		{"Ada joins by her host link", act(ada, ada.Join), []string{"session.started", "participant.joined Ada"}},
		{"Bob joins without a token", act(bob, bob.Join), []string{"participant.joined Bob"}},
		{"Cy joins with a guest token", act(cy, cy.Join), []string{"participant.joined Cy"}},
		{"Bob renames himself", act(bob, func(ctx context.Context) error { return bob.SetName(ctx, "Bobby") }), []string{"participant.updated Bobby name"}},
		{"Ada mutes", act(ada, func(ctx context.Context) error { return ada.MuteAudio(ctx, true) }), []string{"participant.updated Ada audio"}},
		{"Cy raises a hand", act(cy, cy.RaiseHand), []string{"participant.updated Cy hand_raised_at"}},
		{"Ada kicks Bobby", func() (time.Time, error) {
			begin := time.Now()
			return begin, ada.Kick(ctx, bob.Nick(), "enough")
		}, []string{"participant.left Bobby kicked"}},
		{"Cy reloads the page", act(cy, cy.Reload), []string{"participant.left Cy left", "participant.joined Cy"}},
		{"Cy leaves", act(cy, cy.Leave), []string{"participant.left Cy left"}},
		{"Ada leaves", act(ada, ada.Leave), []string{"participant.left Ada left"}},
		{"nobody comes back for 2 s: the session closes", func() (time.Time, error) {
			return ada.Sent().Add(2 * time.Second), nil
		}, []string{"session.ended"}},
		{"the app ends the meeting", func() (time.Time, error) {
			return time.Now(), s.site.Call(ctx, "POST", "/v1/meetings/"+m.ID+"/end", nil, nil)
		}, []string{"meeting.ended"}},
	}
	for _, st := range steps {
		if err := s.step(ctx, st.title, st.do, st.want...); err != nil {
			return "", err
		}
	}
	return s.verdict(ctx, m.ID)
}

// invite makes a host link for Ada, who clicks it, and a guest token for Cy,
// and returns the tokens of both.
func (s *script) invite(ctx context.Context) (host, guest string, err error) {
	path := "/v1/meetings/" + s.id
	var link service.Link
	err = s.site.Call(ctx, "POST", path+"/links", map[string]any{
		"user": map[string]any{"id": "u-ada", "name": "Ada"}, "role": "host",
	}, &link)
	if err != nil {
		return "", "", err
	}
	if host, err = click(ctx, link.URL); err != nil {
		return "", "", err
	}
	var ticket service.Ticket
	err = s.site.Call(ctx, "POST", path+"/tokens", map[string]any{
		"user": map[string]any{"id": "u-cy", "name": "Cy"}, "role": "guest",
	}, &ticket)
	return host, ticket.Token, err
}

// step lets something happen, waits until Redis and the inbox have the events
// it must give rise to, and prints how long after the stanza (or request) the
// last of them was there.
func (s *script) step(ctx context.Context, title string, do func() (time.Time, error), want ...string) error {
	since, err := do()
	if err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	s.want = append(s.want, want...)
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	wake := context.AfterFunc(ctx, s.changed.Broadcast)
	defer wake()
	s.mu.Lock()
	defer s.mu.Unlock()
	done := func() bool {
		return len(s.told(s.log)) >= len(s.want) && len(s.told(s.hooks)) >= len(s.want)
	}
	for !done() && ctx.Err() == nil && s.err == nil {
		s.changed.Wait()
	}
	got, delivered := s.told(s.log), s.told(s.hooks)
	switch {
	case s.err != nil:
		return fmt.Errorf("%s: %w", title, s.err)
	case !done():
		return fmt.Errorf("%s: lost=%d: Redis has %q and the webhook inbox %q, want %q",
			title, len(s.want)-min(len(got), len(delivered)), got, delivered, s.want)
	}
	if len(want) == 0 {
		fmt.Fprintf(s.out, "          %s\n", title)
		return nil
	}
	last := len(s.want) - 1
	fmt.Fprintf(s.out, "%6.1f ms  %-48s %s (%d in)  webhook %.1f ms\n", milliseconds(got[last].seen.Sub(since)), title,
		strings.Join(want, ", "), got[last].Data.Occupancy.Humans, milliseconds(delivered[last].seen.Sub(since)))
	return nil
}

// told returns the meeting's events but one kind: when the focus makes Ada a
// moderator is its own business, it may come before usher is in. s.mu is held.
func (s *script) told(list []logged) []logged {
	var told []logged
	for _, n := range list {
		if n.MeetingID == s.id && !(n.Type == meeting.ParticipantUpdated && slices.Equal(n.Data.Changed, []string{"role"})) {
			told = append(told, n)
		}
	}
	return told
}

// receive takes a delivery that was verified. One that comes again is fine as
// long as it says the same.
func (s *script) receive(body []byte, at time.Time) {
	n := logged{seen: at}
	if err := json.Unmarshal(body, &n); err != nil {
		s.fail(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was, known := s.arrived[n.ID]
	switch {
	case known && was != string(body):
		s.err = fmt.Errorf("webhook %s came again and was another", n.ID)
	case !known:
		s.arrived[n.ID] = string(body)
		s.hooks = append(s.hooks, n)
	}
	s.changed.Broadcast()
}

// read follows the event log in Redis; it looks every millisecond, so times
// are that exact.
func (s *script) read(ctx context.Context) {
	rdb, err := store.NewRedis(store.Config{URL: s.site.At.Redis, Site: s.site.Config.Site})
	if err != nil {
		s.fail(err)
		return
	}
	defer rdb.Close()
	last := ""
	for ctx.Err() == nil {
		entries, err := rdb.Events(ctx, last, store.MaxPage)
		if err != nil && ctx.Err() == nil {
			s.fail(err)
			return
		}
		now := time.Now()
		for _, e := range entries {
			last = e.ID
			n := logged{seen: now}
			if err := json.Unmarshal(e.Event, &n); err != nil {
				s.fail(err)
				return
			}
			s.mu.Lock()
			s.log = append(s.log, n)
			s.changed.Broadcast()
			s.mu.Unlock()
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *script) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.changed.Broadcast()
}

// stranger returns a step in which somebody is kept out of a room that was not
// created over the API.
func (s *script) stranger(ctx context.Context) func() (time.Time, error) {
	return func() (time.Time, error) {
		p := sim.NewPerson(s.site.Sim, "made-up-name", "Mallory", "")
		defer p.Drop()
		err := p.Join(ctx)
		var refused *sim.RefusedError
		if !errors.As(err, &refused) {
			return time.Time{}, fmt.Errorf("let in, or failed for another reason: %w", err)
		}
		fmt.Fprintf(s.out, "          %q\n", refused.Text)
		return time.Time{}, nil
	}
}

// compare returns how many events of the script a list lacks, how many are out
// of place, by the script or by their numbers, and how many of the meeting it
// has. s.mu is held.
func (s *script) compare(list []logged) (lost, reordered, all int) {
	told := s.told(list)
	for i, want := range s.want {
		switch {
		case i >= len(told):
			lost++
		case told[i].String() != want:
			reordered++
		}
	}
	for _, n := range list {
		if n.MeetingID != s.id {
			continue
		}
		if all++; n.Seq != int64(all) {
			reordered++
		}
	}
	return lost, reordered, all
}

// verdict compares everything that was recorded and delivered with everything
// that happened.
func (s *script) verdict(ctx context.Context, id string) (string, error) {
	s.mu.Lock()
	lost, reordered := 0, 0
	var counts [2]int // recorded, delivered
	for i, list := range [][]logged{s.log, s.hooks} {
		l, r, n := s.compare(list)
		lost, reordered, counts[i] = lost+l, reordered+r, n
	}
	lost += max(counts[0]-counts[1], 0)
	recorded := s.told(s.log)
	s.mu.Unlock()

	var sessions struct {
		Data []struct {
			ID     string
			Humans int
			Peak   int
			Ended  *time.Time `json:"ended_at"`
		}
	}
	if err := s.site.Call(ctx, "GET", "/v1/meetings/"+id+"/sessions", nil, &sessions); err != nil {
		return "", err
	}
	if len(sessions.Data) != 1 || sessions.Data[0].Humans != 3 || sessions.Data[0].Peak != 3 || sessions.Data[0].Ended == nil {
		return "", fmt.Errorf("sessions are %+v, want one that ended, of 3 people, 3 at once", sessions.Data)
	}
	var people struct {
		Data []struct {
			Name       string
			Role       meeting.Role
			LeftReason meeting.LeftReason `json:"left_reason"`
		}
	}
	if err := s.site.Call(ctx, "GET", "/v1/sessions/"+sessions.Data[0].ID+"/participants", nil, &people); err != nil {
		return "", err
	}
	got := fmt.Sprint(people.Data)
	if want := "[{Ada moderator left} {Bobby participant kicked} {Cy participant left}]"; got != want {
		return "", fmt.Errorf("people are %s, want %s", got, want)
	}
	line := fmt.Sprintf("people=%d events=%d webhooks=%d lost=%d reordered=%d", len(people.Data), counts[0], counts[1], lost, reordered)
	if lost+reordered > 0 {
		return "", fmt.Errorf("demo: %s: recorded %v, want %q", line, recorded, s.want)
	}
	return "demo: ok " + line, nil
}
