package main

import (
	"context"
	"encoding/xml"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"usher/component"
	"usher/internal/sim"
	"usher/internal/stack"
	"usher/internal/stack/stacktest"
	"usher/jibri"
	"usher/meeting"
)

// Each test here is something that usher met on a site with real Jicofo and Jibri.

// TestBrowserOfADeadRecorderIsPutOut kills a Jibri whose browser lives on in the
// room: once the people are gone, usher puts it out and leaves, so that the focus's
// conference and the meeting's session end.
func TestBrowserOfADeadRecorderIsPutOut(t *testing.T) {
	s := newStudio(t)
	j := s.jibri("jibri-1", killedSoon)
	s.meets("standup", "automatic")
	ada := s.enters("Ada")
	s.newest(meeting.RecordingOn)
	j.Kill()
	s.until("it goes on as another recording", func() bool { return len(s.list()) == 2 })
	must(t, ada.Leave(within(t)))
	must(t, s.focus.WaitLeft(within(t), s.room))
	s.until("usher follows no room", func() bool { return s.metric("usher_rooms_followed") == 0 })
	if m := s.meeting(); m.Occupancy.Recorders != 0 || m.Occupancy.Humans != 0 {
		t.Errorf("in the meeting: %+v, want nobody", m.Occupancy)
	}
}

// TestLonePersonHasASessionOnTheBridge holds what the README says of usher's presence:
// Jicofo counts it, so somebody who waits alone is invited already, and usher, who is
// invited too, refuses.
func TestLonePersonHasASessionOnTheBridge(t *testing.T) {
	s := newScene(t)
	ada := s.person("Ada", "")
	s.enter(ada)
	must(t, s.focus.WaitInvitations(within(t), s.room, func(list []sim.Invitation) bool {
		return slices.ContainsFunc(list, func(i sim.Invitation) bool { return i.Nick == ada.Nick() && i.Outcome == sim.OutcomeAccepted }) &&
			slices.ContainsFunc(list, func(i sim.Invitation) bool { return i.Nick == "usher" && i.Outcome == sim.OutcomeRefused })
	}))
	if n := len(ada.Occupants()); n != 3 {
		t.Errorf("%d occupants, want Ada, the focus and usher", n)
	}
}

// TestStartHoldsUpNobodyWhoComesAtOnce has somebody come right behind the first:
// Jicofo deals with nothing else in the room while a Jibri starts its browser, so
// the start waits for those who come together.
func TestStartHoldsUpNobodyWhoComesAtOnce(t *testing.T) {
	const delay, browser = 8 * time.Second, 5 * time.Second
	s := newStudio(t, "--recording-delay="+delay.String())
	s.jibri("jibri-1", func(c *sim.JibriConfig) { c.BrowserDelay = browser })
	s.meets("standup", "automatic")
	s.enters("Ada")
	bob := s.person("Bob", "")
	must(t, bob.Join(within(t)))
	began := time.Now()
	must(t, s.focus.WaitInvitations(within(t), s.room, func(list []sim.Invitation) bool {
		return slices.ContainsFunc(list, func(i sim.Invitation) bool { return i.Nick == bob.Nick() })
	}))
	if took := time.Since(began); took > browser/2 {
		t.Errorf("Bob was invited after %v, want at once", took)
	}
	s.newest(meeting.RecordingOn)
}

// TestStartBehindAnotherOne asks for a recording while a moderator's own request,
// made in the client, holds the room up: usher stays an owner until it is answered,
// and takes over the recording that there is then.
func TestStartBehindAnotherOne(t *testing.T) {
	s := newStudio(t)
	s.jibri("jibri-1", func(c *sim.JibriConfig) { c.BrowserDelay = 3 * time.Second })
	s.meets("standup", "none")
	ada := s.enters("Ada")
	s.until("Ada is a moderator", func() bool { return ada.Occupants()[ada.Nick()].Role == "moderator" })
	started := make(chan error, 1)
	ctx := within(t)
	go func() {
		_, err := ada.StartRecording(ctx)
		started <- err
	}()
	time.Sleep(time.Second) // so that hers is first
	s.record()
	must(t, <-started)
	r := s.newest(meeting.RecordingOn)
	if len(s.list()) != 1 || r.JibriSession != ada.Recording().Session {
		t.Errorf("recordings %+v, want the one of session %s", s.list(), ada.Recording().Session)
	}
	if n := s.log.lines("WARN", "not-allowed"); n > 0 {
		t.Errorf("usher was not allowed to, %d times", n)
	}
}

// TestBreweryThatJicofoMakesLater watches the recorders' room of a Prosody that was
// just started: it refuses usher until Jicofo has made the room, and soon after
// that usher sees who is in it.
func TestBreweryThatJicofoMakesLater(t *testing.T) {
	t.Parallel()
	prosody := stacktest.Prosody(t, stack.ProsodyConfig{KeepPoolOut: true})
	site := sim.Site{Domain: stack.Domain, ClientAddr: prosody.ClientAddr, ComponentAddr: prosody.ComponentAddr, CAFile: prosody.CAFile}
	var pool *jibri.Pool
	link, err := component.NewClient(component.ClientConfig{
		Addr: site.ClientAddr, JID: stack.Watcher.JID() + "/usher", Password: stack.Watcher.Password,
		ServerName: stack.AuthDomain, CAFile: site.CAFile,
		Options: component.Options{Handler: component.Handler{
			Presence: func(d *xml.Decoder, start xml.StartElement) { pool.Presence(d, start) },
			Up:       func(string) { pool.Up() },
			Down:     func(error) { pool.Down() },
		}},
	})
	must(t, err)
	pool = jibri.NewPool(jibri.PoolConfig{Stream: link.As(""), Brewery: stack.Brewery})
	run := background(t)
	run(link.Run)
	run(pool.Run)
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				_, problem := pool.Watching()
				t.Fatalf("not so within %v: %s; it sees %+v, problem %q", patience, what, pool.Recorders(), problem)
			}
		}
	}
	until("usher is refused", func() bool { _, problem := pool.Watching(); return problem == "the brewery refuses usher: not-allowed" })

	focus, err := sim.NewFocus(sim.FocusConfig{Site: site, Password: stack.Focus.Password, Secret: stack.FocusSecret, Brewery: stack.Brewery})
	must(t, err)
	run(focus.Run)
	must(t, focus.WaitUp(within(t)))
	j, err := sim.StartJibri(within(t), sim.JibriConfig{
		Site: site, Name: "jibri-1", Brewery: stack.Brewery, Dir: t.TempDir(),
		Password: stack.Jibri.Password, RecorderPassword: stack.Recorder.Password,
	})
	must(t, err)
	t.Cleanup(j.Die)
	began := time.Now()
	until("usher sees the recorder", func() bool {
		list := pool.Recorders()
		return len(list) == 1 && list[0].Status == meeting.RecorderIdle
	})
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("usher saw the recorder after %v, want 10 s at most", took)
	}
}

// background returns what runs something until the end of the test.
func background(t *testing.T) func(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var all errgroup.Group
	t.Cleanup(func() {
		cancel()
		if err := all.Wait(); err != nil {
			t.Error(err)
		}
	})
	return func(run func(context.Context) error) { all.Go(func() error { return run(ctx) }) }
}
