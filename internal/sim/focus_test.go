package sim

import (
	"slices"
	"testing"
	"time"

	"usher/internal/stack"
)

func TestFocusFollowsJicofo(t *testing.T) {
	site := startSite(t, stack.ProsodyConfig{})
	focus := startFocus(t, site, func(c *FocusConfig) { c.StartTimeout = 500 * time.Millisecond })
	moderators := func(o Occupants) []string {
		var names []string
		for _, one := range o {
			if one.Role == "moderator" && one.Nick != focusNick {
				names = append(names, one.Name)
			}
		}
		return names
	}

	t.Run("the first is elected, then the next", func(t *testing.T) {
		alice := visit(t, site, "elect", "Alice", true)
		bob := visit(t, site, "elect", "Bob", true)
		carol := visit(t, site, "elect", "Carol", true)
		waitFor(t, carol, func(o Occupants) bool { return slices.Equal(moderators(o), []string{"Alice"}) })
		must(t, alice.Leave(within(t)))
		waitFor(t, carol, func(o Occupants) bool { return slices.Equal(moderators(o), []string{"Bob"}) })
		bob.Drop()
		waitFor(t, carol, func(o Occupants) bool { return slices.Equal(moderators(o), []string{"Carol"}) })
	})

	t.Run("members are invited from two on", func(t *testing.T) {
		alice := visit(t, site, "invite", "Alice", true)
		if got := focus.Invitations("invite"); len(got) != 0 {
			t.Errorf("a lone person was invited: %+v", got)
		}
		bob := visit(t, site, "invite", "Bob", true)
		carol := visit(t, site, "invite", "Carol", true)
		must(t, focus.WaitInvitations(within(t), "invite", func(list []Invitation) bool {
			accepted := 0
			for _, i := range list {
				if i.Outcome == OutcomeAccepted {
					accepted++
				}
			}
			return accepted == 3
		}))
		var nicks []string
		for _, i := range focus.Invitations("invite") {
			nicks = append(nicks, i.Nick)
		}
		want := []string{alice.Nick(), bob.Nick(), carol.Nick()}
		slices.Sort(nicks)
		slices.Sort(want)
		if !slices.Equal(nicks, want) {
			t.Errorf("invited %v, want %v", nicks, want)
		}
		if got := len(focus.Members("invite")); got != 3 {
			t.Errorf("focus counts %d members, want 3", got)
		}
	})

	t.Run("the focus leaves with the last", func(t *testing.T) {
		alice := visit(t, site, "last", "Alice", true)
		if !focus.in("last") {
			t.Error("the focus is not in the room")
		}
		must(t, alice.Leave(within(t)))
		must(t, focus.WaitLeft(within(t), "last"))
		// The room starts anew, focus first.
		must(t, alice.Join(within(t)))
		if got := alice.Occupants()[focusNick].Affiliation; got != "owner" {
			t.Errorf("the focus is %q, want owner", got)
		}
	})

	t.Run("the focus does not wait for ever", func(t *testing.T) {
		alice := visit(t, site, "nobody", "Alice", false)
		must(t, alice.login(within(t)))
		must(t, alice.askFocus(within(t)))
		if !focus.in("nobody") {
			t.Error("the focus is not in the room")
		}
		must(t, focus.WaitLeft(within(t), "nobody"))
	})
}

func TestFocusWithoutAutoOwner(t *testing.T) {
	site := startSite(t, stack.ProsodyConfig{})
	focus := startFocus(t, site, func(c *FocusConfig) { c.NoAutoOwner = true })
	alice := visit(t, site, "equals", "Alice", true)
	bob := visit(t, site, "equals", "Bob", true)
	// Offers come after elections, on the same stream.
	must(t, focus.WaitInvitations(within(t), "equals", func(list []Invitation) bool {
		return len(list) == 2 && list[0].Outcome == OutcomeAccepted && list[1].Outcome == OutcomeAccepted
	}))
	for _, p := range []*Person{alice, bob} {
		if got := bob.Occupants()[p.Nick()].Role; got != "participant" {
			t.Errorf("%s is %s, want participant", p.name, got)
		}
	}
}

// What usher's occupant is to a focus: a member that may refuse the offer, or
// not answer at all, and that must not be the owner.
func TestFocusAndBots(t *testing.T) {
	const jibri = "<features><feature var='" + featureJibri + "'/></features>"
	site := startSite(t, stack.ProsodyConfig{})
	focus := startFocus(t, site, func(c *FocusConfig) {
		c.ReplyTimeout = time.Second
		c.TrustedDomains = []string{stack.CrowdDomain}
	})

	// enter brings a bot in before the person, by a component that answers
	// nothing but what the test lets it answer.
	enter := func(t *testing.T, room, extra, answer string) *Person {
		alice := visit(t, site, room, "Alice", false)
		must(t, alice.login(within(t)))
		must(t, alice.askFocus(within(t)))
		bot, err := dialWire(within(t), site.ComponentAddr, stack.CrowdDomain, stack.CrowdSecret)
		must(t, err)
		done := make(chan struct{})
		t.Cleanup(func() {
			bot.conn.Close()
			<-done
		})
		go func() {
			defer close(done)
			for {
				tag, err := bot.next()
				if err != nil {
					return
				}
				if tag.name() == "iq" && (tag.attr("type") == "get" || tag.attr("type") == "set") && answer != "" {
					_ = bot.write("<iq from='", tag.attr("to"), "' to='", tag.attr("from"), "' id='", tag.attr("id"), "' ", answer)
				}
			}
		}()
		must(t, bot.write("<presence from='bot@", stack.CrowdDomain, "/x' to='", site.Room(room), "/bot'><x xmlns='", nsMUC, "'/>", extra, "</presence>"))
		must(t, focus.changed.await(within(t), func() bool { return len(focus.Members(room)) == 1 }))
		must(t, alice.enter(within(t)))
		return alice
	}
	outcome := func(t *testing.T, room string, want Invitation) {
		t.Helper()
		must(t, focus.WaitInvitations(within(t), room, func(list []Invitation) bool {
			return slices.ContainsFunc(list, func(i Invitation) bool {
				return i.Nick == "bot" && i.Outcome == want.Outcome && i.Condition == want.Condition
			})
		}))
	}

	t.Run("a recorder is never elected, and may refuse", func(t *testing.T) {
		alice := enter(t, "recorder", jibri,
			"type='error'><error type='cancel'><service-unavailable xmlns='"+nsStanzas+"'/></error></iq>")
		waitFor(t, alice, func(o Occupants) bool { return o[alice.Nick()].Role == "moderator" })
		outcome(t, "recorder", Invitation{Outcome: OutcomeRefused, Condition: "service-unavailable"})
	})
	t.Run("a bot without the feature is elected, and may be silent", func(t *testing.T) {
		alice := enter(t, "bot", "", "")
		waitFor(t, alice, func(o Occupants) bool { return o["bot"].Role == "moderator" })
		outcome(t, "bot", Invitation{Outcome: OutcomeSilent})
		if got := alice.Occupants()[alice.Nick()].Role; got != "participant" {
			t.Errorf("alice is %s beside a bot that is owner, want participant", got)
		}
	})
}
