package sim

import (
	"errors"
	"testing"
	"time"

	"usher/internal/stack"
)

func TestPeopleMeet(t *testing.T) {
	site := startSite(t, stack.ProsodyConfig{})
	startFocus(t, site, nil)

	t.Run("two see each other", func(t *testing.T) {
		alice := visit(t, site, "meet", "Alice", true)
		bob := visit(t, site, "meet", "Bob", true)
		waitFor(t, alice, func(o Occupants) bool { return o.Named("Bob").Nick == bob.Nick() })
		if got := bob.Occupants().Named("Alice"); got.Nick != alice.Nick() || got.JID != alice.JID() {
			t.Errorf("bob sees %+v, want nick %s and JID %s", got, alice.Nick(), alice.JID())
		}
		if got := bob.Occupants()["focus"].JID; got != "focus@auth.meet.jitsi/focus" {
			t.Errorf("focus is %q", got)
		}
		if got := bob.Occupants().Named("Alice"); got.Audio != MediaUnknown || got.Video != MediaUnknown {
			t.Errorf("at the join, bob sees %+v, want unknown media", got)
		}

		ctx := within(t)
		must(t, alice.MuteAudio(ctx, true))
		must(t, alice.MuteVideo(ctx, false))
		must(t, alice.RaiseHand(ctx))
		must(t, alice.ShareScreen(ctx, true))
		must(t, alice.SetName(ctx, "Alice B"))
		waitFor(t, bob, func(o Occupants) bool {
			a := o.Named("Alice B")
			return a.Audio == MediaMuted && a.Video == MediaOn && a.Hand && a.Sharing
		})
		must(t, alice.LowerHand(ctx))
		must(t, alice.ShareScreen(ctx, false))
		must(t, alice.MuteAudio(ctx, false))
		waitFor(t, bob, func(o Occupants) bool {
			a := o.Named("Alice B")
			return a.Audio == MediaOn && !a.Hand && !a.Sharing
		})

		must(t, alice.Leave(ctx))
		waitFor(t, bob, func(o Occupants) bool { return o.Named("Alice B").Nick == "" })
		if exit, err := alice.WaitOut(ctx); err != nil || exit.Why != WhyLeft {
			t.Errorf("alice is out by %+v, %v, want left", exit, err)
		}
	})

	t.Run("reload is another occupant", func(t *testing.T) {
		alice := visit(t, site, "reload", "Alice", true)
		bob := visit(t, site, "reload", "Bob", true)
		before, jid := alice.Nick(), alice.JID()
		must(t, alice.Reload(within(t)))
		if alice.Nick() == before || alice.JID() == jid {
			t.Errorf("after the reload alice is still %s, %s", alice.Nick(), alice.JID())
		}
		waitFor(t, bob, func(o Occupants) bool {
			_, old := o[before]
			return !old && o.Named("Alice").Nick == alice.Nick()
		})
	})

	t.Run("a drop is a leave to others", func(t *testing.T) {
		alice := visit(t, site, "drop", "Alice", true)
		bob := visit(t, site, "drop", "Bob", true)
		waitFor(t, alice, func(o Occupants) bool { return len(o) == 3 })
		bob.Drop()
		waitFor(t, alice, func(o Occupants) bool { return len(o) == 2 })
		exit, err := bob.WaitOut(within(t))
		if err != nil || exit.Why != WhyDisconnected {
			t.Errorf("bob is out by %+v, %v, want disconnected", exit, err)
		}
		must(t, bob.Join(within(t)))
	})

	t.Run("a moderator kicks", func(t *testing.T) {
		alice := visit(t, site, "kick", "Alice", true)
		bob := visit(t, site, "kick", "Bob", true)
		waitFor(t, alice, func(o Occupants) bool { return o[alice.Nick()].Role == "moderator" && len(o) == 3 })
		if refused, ok := errors.AsType[*RefusedError](bob.Kick(within(t), alice.Nick(), "no")); !ok {
			t.Errorf("bob kicked alice: %v", refused)
		}
		must(t, alice.Kick(within(t), bob.Nick(), "Enough now"))
		want := Exit{Why: WhyKicked, Text: "Enough now", Actor: alice.Nick()}
		if exit, err := bob.WaitOut(within(t)); err != nil || exit != want {
			t.Errorf("bob is out by %+v, %v, want %+v", exit, err, want)
		}
		if err := bob.RaiseHand(within(t)); err == nil {
			t.Error("bob raised a hand after being kicked")
		}
	})
}

func TestRoomEndsForAll(t *testing.T) {
	site := startSite(t, stack.ProsodyConfig{})
	focus := startFocus(t, site, nil)
	alice := visit(t, site, "ends", "Alice", true)
	bob := visit(t, site, "ends", "Bob", true)
	waitFor(t, alice, func(o Occupants) bool { return len(o) == 3 })
	admin, err := dialWire(within(t), site.ComponentAddr, stack.ComponentDomain, stack.ComponentSecret)
	must(t, err)
	t.Cleanup(func() { admin.conn.Close() })
	must(t, admin.write("<iq type='set' id='1' from='ctl@usher.meet.jitsi' to='", site.Room("ends"),
		"'><query xmlns='http://jabber.org/protocol/muc#owner'><destroy><reason>Time is up</reason></destroy></query></iq>"))
	for _, p := range []*Person{alice, bob} {
		exit, err := p.WaitOut(within(t))
		if want := (Exit{Why: WhyDestroyed, Text: "Time is up"}); err != nil || exit != want {
			t.Errorf("out by %+v, %v, want %+v", exit, err, want)
		}
	}
	must(t, focus.WaitLeft(within(t), "ends"))
	must(t, alice.Join(within(t)))
}

// An admin who enters a room first creates it, and then waits for the focus
// together with everybody who comes (mod_muc_meeting_id).
func TestPersonBeforeTheFocusIsQueued(t *testing.T) {
	site := startSite(t, stack.ProsodyConfig{})
	startFocus(t, site, nil)
	admin, err := dialWire(within(t), site.ComponentAddr, stack.ComponentDomain, stack.ComponentSecret)
	must(t, err)
	t.Cleanup(func() { admin.conn.Close() })
	must(t, admin.write("<presence from='ctl@usher.meet.jitsi/x' to='", site.Room("early"), "/ctl'><x xmlns='", nsMUC, "'/></presence>"))

	early := visit(t, site, "early", "Early", false)
	must(t, early.login(within(t)))
	entered := make(chan error, 1)
	go func() { entered <- early.enter(within(t)) }()
	select {
	case err := <-entered:
		t.Fatalf("entered before the focus: %v", err)
	case <-time.After(200 * time.Millisecond): // silence has no sign of its own
	}

	late := visit(t, site, "early", "Late", true)
	must(t, <-entered)
	waitFor(t, late, func(o Occupants) bool { return o.Named("Early").Nick == early.Nick() })
}

func TestRoomWithoutFocusIsRefused(t *testing.T) {
	site := startSite(t, stack.ProsodyConfig{})
	p := visit(t, site, "nobody", "Alice", false)
	must(t, p.login(within(t)))
	err := p.enter(within(t))
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || refused.Condition != "not-allowed" || refused.Text != "Room creation is restricted" {
		t.Errorf("enter = %v, want not-allowed: Room creation is restricted", err)
	}
}
