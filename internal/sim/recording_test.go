package sim

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/component"
	"usher/internal/stack"
)

// TestErrorOfSmack compares an error of the simulated focus with a real one, as
// it was captured.
func TestErrorOfSmack(t *testing.T) {
	capture, err := os.ReadFile("../../component/testdata/stop-after-jicofo-restart.xml")
	must(t, err)
	got, err := xml.Marshal(newSmackError(stanza.ItemNotFound, "Unknown session"))
	must(t, err)
	if want := strings.ReplaceAll(string(got), `"`, "'"); !strings.Contains(strings.ReplaceAll(string(capture), "/>", "></item-not-found>"), want) {
		t.Errorf("the focus says %s, which is not in the capture", want)
	}
}

// studio is a site with a focus that records.
type studio struct {
	t     *testing.T
	site  Site
	focus *Focus
}

func newStudio(t *testing.T) *studio {
	site := startSite(t, stack.ProsodyConfig{})
	focus := startFocus(t, site, func(c *FocusConfig) {
		c.Brewery, c.PendingTimeout, c.ReplyTimeout = stack.Brewery, 2*time.Second, time.Second
	})
	return &studio{t, site, focus}
}

// jibri starts a recorder that is gone at the end of the test.
func (s *studio) jibri(t *testing.T, name string, edit func(*JibriConfig)) *Jibri {
	t.Helper()
	cfg := JibriConfig{
		Site: s.site, Name: name, Brewery: stack.Brewery, Dir: t.TempDir(),
		Password: stack.Jibri.Password, RecorderPassword: stack.Recorder.Password,
		BrowserDelay: time.Millisecond, EmptyPatience: 500 * time.Millisecond, Hibernation: 500 * time.Millisecond,
		Finalize: []string{"true"},
	}
	if edit != nil {
		edit(&cfg)
	}
	all, _ := s.focus.Jibris()
	j, err := StartJibri(within(t), cfg)
	must(t, err)
	must(t, s.focus.changed.await(within(t), func() bool { now, _ := s.focus.Jibris(); return now > all }))
	t.Cleanup(func() {
		j.Die()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		must(t, s.focus.changed.await(ctx, func() bool { now, _ := s.focus.Jibris(); return now <= all }))
	})
	return j
}

func (s *studio) selectable(t *testing.T, want int) {
	t.Helper()
	must(t, s.focus.changed.await(within(t), func() bool { _, n := s.focus.Jibris(); return n == want }))
}

// moderator returns somebody in the room who may record.
func (s *studio) moderator(t *testing.T, room string) *Person {
	t.Helper()
	p := visit(t, s.site, room, "Ada", true)
	waitFor(t, p, func(o Occupants) bool { return o.Named("Ada").Role == "moderator" })
	return p
}

func hears(t *testing.T, p *Person, status, failure string) Recording {
	t.Helper()
	must(t, p.WaitRecording(within(t), func(r Recording) bool { return r.Status == status }))
	r := p.Recording()
	if r.Failure != failure {
		t.Errorf("the focus says %+v, want failure %q", r, failure)
	}
	return r
}

func refusedWith(t *testing.T, err error, condition string) {
	t.Helper()
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || refused.Condition != condition {
		t.Errorf("%v, want %s", err, condition)
	}
}

// recorders returns how many browsers of recorders are in the room.
func recorders(o Occupants) (n int) {
	for _, one := range o {
		if strings.HasPrefix(one.JID, "recorder@hidden.") {
			n++
		}
	}
	return n
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range list {
		names = append(names, f.Name())
	}
	return names
}

func TestRecording(t *testing.T) {
	s := newStudio(t)

	t.Run("from start to file", func(t *testing.T) {
		var dir string
		j := s.jibri(t, "j1", func(c *JibriConfig) { dir = c.Dir })
		ada := s.moderator(t, "ok")
		session, err := ada.StartRecording(within(t))
		must(t, err)
		on := hears(t, ada, "on", "")
		if on.Session != session || !strings.HasSuffix(on.Initiator, "/"+ada.Nick()) {
			t.Errorf("the focus says %+v, want session %s of %s", on, session, ada.Nick())
		}
		waitFor(t, ada, func(o Occupants) bool { return recorders(o) == 1 })
		_, err = ada.StartRecording(within(t))
		refusedWith(t, err, "unexpected-request")
		must(t, ada.StopRecording(within(t)))
		if off := hears(t, ada, "off", ""); off.Initiator == "" {
			t.Error("off without an initiator")
		}
		must(t, j.WaitIdle(within(t)))
		// Jicofo's words come without a namespace and with the request; see
		// component/testdata/stop-after-jicofo-restart.xml.
		err = ada.current().link.As("").IQ(within(t), ada.room+"/"+focusNick, "set", jibriIQ{Action: "stop", Mode: "file"}, nil)
		if e, ok := errors.AsType[component.ErrorAnswer](err); !ok || e.Stanza.Condition != stanza.ItemNotFound ||
			e.Stanza.Text[""] != "Unknown session" || !e.HandsBack(xml.Name{Space: nsJibri, Local: "jibri"}) {
			t.Errorf("a second stop is answered %+v, want Jicofo's item-not-found", err)
		}
		if hooks := j.Hooks(); len(hooks) != 1 || hooks[0] != filepath.Join(dir, session) {
			t.Fatalf("hooks ran for %v", hooks)
		}
		names := files(t, filepath.Join(dir, session))
		if len(names) != 2 || names[0] != "metadata.json" || !strings.HasPrefix(names[1], "ok_") || !strings.HasSuffix(names[1], ".mp4") {
			t.Errorf("files %v", names)
		}
		text, err := os.ReadFile(filepath.Join(dir, session, "metadata.json"))
		must(t, err)
		var metadata map[string]any
		must(t, json.Unmarshal(text, &metadata))
		if metadata["share"] != true || metadata["meeting_url"] != "https://meet.jitsi/ok" {
			t.Errorf("metadata %s", text)
		}
	})

	t.Run("refusals", func(t *testing.T) {
		ada := s.moderator(t, "no")
		_, err := ada.StartRecording(within(t))
		refusedWith(t, err, "service-unavailable") // there is no Jibri
		j := s.jibri(t, "j1", nil)
		bob := visit(t, s.site, "no", "Bob", true)
		_, err = bob.StartRecording(within(t))
		refusedWith(t, err, "not-allowed")
		_, err = ada.askJibri(within(t), jibriIQ{Action: "start", Mode: "stream"})
		refusedWith(t, err, "bad-request")
		_, err = ada.askJibri(within(t), jibriIQ{Action: "pause", Mode: "file"})
		refusedWith(t, err, "bad-request")
		j.SetHealthy(false)
		s.selectable(t, 0)
		_, err = ada.StartRecording(within(t))
		refusedWith(t, err, "resource-constraint")
		j.SetHealthy(true)
		s.selectable(t, 1)
		j.Behave(Silent)
		_, err = ada.StartRecording(within(t))
		refusedWith(t, err, "resource-constraint") // silent, so left alone, and there is no other
	})

	t.Run("another takes over while starting", func(t *testing.T) {
		s.jibri(t, "j1", nil).Behave(SaysBusy)
		s.jibri(t, "j2", nil).Behave(Fails)
		s.jibri(t, "j3", nil).Behave(FailsLater)
		s.jibri(t, "j4", nil)
		ada := s.moderator(t, "fails")
		session, err := ada.StartRecording(within(t))
		must(t, err)
		if on := hears(t, ada, "on", ""); on.Session != session {
			t.Errorf("on with session %s, want %s", on.Session, session)
		}
	})

	t.Run("none takes over while starting", func(t *testing.T) {
		s.jibri(t, "j1", nil).Behave(FailsLater)
		ada := s.moderator(t, "none")
		_, err := ada.StartRecording(within(t))
		must(t, err)
		hears(t, ada, "off", "error")
	})

	t.Run("pending for too long", func(t *testing.T) {
		j := s.jibri(t, "j1", nil)
		j.Behave(NeverOn)
		ada := s.moderator(t, "pending")
		_, err := ada.StartRecording(within(t))
		must(t, err)
		hears(t, ada, "off", "")
		must(t, j.WaitIdle(within(t)))
	})

	t.Run("a recorder dies", func(t *testing.T) {
		var dir string
		first := s.jibri(t, "j1", func(c *JibriConfig) { dir = c.Dir })
		ada := s.moderator(t, "dies")
		session, err := ada.StartRecording(within(t))
		must(t, err)
		hears(t, ada, "on", "")
		second := s.jibri(t, "j2", nil)
		first.Die()
		if len(first.Hooks()) > 0 || len(files(t, filepath.Join(dir, session))) != 1 {
			t.Errorf("a dead recorder ran hooks %v, left %v", first.Hooks(), files(t, filepath.Join(dir, session)))
		}
		must(t, second.changed.await(within(t), func() bool { return second.Session() == session }))
		second.Die()
		hears(t, ada, "off", "error")
	})

	t.Run("a recorder is killed and its browser lives on", func(t *testing.T) {
		first := s.jibri(t, "j1", nil)
		ada := s.moderator(t, "killed")
		session, err := ada.StartRecording(within(t))
		must(t, err)
		hears(t, ada, "on", "")
		second := s.jibri(t, "j2", nil)
		begin := time.Now()
		first.Kill()
		must(t, second.changed.await(within(t), func() bool { return second.Session() == session }))
		if took := time.Since(begin); took < 500*time.Millisecond {
			t.Errorf("it was missed after %v, want the server to keep it for 500 ms", took)
		}
		waitFor(t, ada, func(o Occupants) bool { return recorders(o) == 2 })
	})

	t.Run("a start holds the room up", func(t *testing.T) {
		s.jibri(t, "j1", func(c *JibriConfig) { c.BrowserDelay = 700 * time.Millisecond })
		ada := s.moderator(t, "held")
		started := make(chan error, 1)
		ctx := within(t)
		go func() {
			_, err := ada.StartRecording(ctx)
			started <- err
		}()
		must(t, s.focus.changed.await(ctx, func() bool {
			s.focus.mu.Lock()
			defer s.focus.mu.Unlock()
			return s.focus.conferences[s.site.Room("held")].blocked
		}))
		bob := visit(t, s.site, "held", "Bob", true)
		members := s.focus.Members("held")
		select {
		case err := <-started:
			t.Fatalf("the start was answered, %v, before Bob came", err)
		default:
		}
		if slices.Contains(members, bob.Nick()) {
			t.Error("the focus sees Bob while a Jibri starts")
		}
		must(t, <-started)
		must(t, s.focus.WaitInvitations(ctx, "held", func(list []Invitation) bool {
			return slices.ContainsFunc(list, func(i Invitation) bool { return i.Nick == bob.Nick() })
		}))
	})

	t.Run("everybody leaves", func(t *testing.T) {
		j := s.jibri(t, "j1", nil)
		ada := s.moderator(t, "empty")
		_, err := ada.StartRecording(within(t))
		must(t, err)
		hears(t, ada, "on", "")
		must(t, ada.Leave(within(t)))
		must(t, j.WaitIdle(within(t)))
		if len(j.Hooks()) != 1 {
			t.Errorf("hooks ran for %v, want one", j.Hooks())
		}
		must(t, s.focus.WaitLeft(within(t), "empty"))
	})

	t.Run("no media", func(t *testing.T) {
		var dir string
		j := s.jibri(t, "j1", func(c *JibriConfig) { dir = c.Dir })
		j.Behave(NoMedia)
		ada := s.moderator(t, "mute")
		_, err := ada.StartRecording(within(t))
		must(t, err)
		hears(t, ada, "on", "")
		j.Finish()
		hears(t, ada, "off", "")
		must(t, j.WaitIdle(within(t)))
		if len(j.Hooks()) > 0 || len(files(t, dir)) > 0 {
			t.Errorf("hooks ran for %v, there are %v", j.Hooks(), files(t, dir))
		}
	})

	t.Run("the focus restarts", func(t *testing.T) {
		j := s.jibri(t, "j1", func(c *JibriConfig) { c.EmptyPatience = time.Minute })
		ada := s.moderator(t, "restart")
		session, err := ada.StartRecording(within(t))
		must(t, err)
		hears(t, ada, "on", "")
		must(t, s.focus.Restart(within(t)))
		must(t, ada.Reload(within(t)))
		waitFor(t, ada, func(o Occupants) bool { return o[focusNick].Role == "moderator" && recorders(o) == 1 })
		if r := ada.Recording(); r.Status != "" || j.Session() != session {
			t.Errorf("the new focus says %+v, the recorder has %q", r, j.Session())
		}
	})
}
