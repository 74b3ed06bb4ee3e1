package sim

import (
	"bufio"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/internal/stack"
)

func TestCrowdSendsWhatTheBrowserSends(t *testing.T) {
	u := &crowdUser{number: 7, jid: "user-7@crowd.meet.jitsi/web", room: "r@muc.meet.jitsi", nick: "ef7b1097"}
	got := tokens(t, []byte(strings.Join(u.joinStanza(), "")))
	want := tokens(t, readTestdata(t, "web-join.xml"))
	// Addresses and namespace belong to the stream, the name to the person.
	got[0], want[0] = "presence", "presence"
	got[slices.Index(got, "User 7")] = "Alice"
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "{jabber:client}", "{}")
	}
	if !slices.Equal(got, want) {
		t.Errorf("join:\n got %s\nwant %s", strings.Join(got, " "), strings.Join(want, " "))
	}
}

func TestWireReadsTags(t *testing.T) {
	const text = "<?xml version='1.0'?><a id='1' xml:lang=\"en\">text<b x='&gt;&apos;'/> </a>"
	w := &wire{in: bufio.NewReader(strings.NewReader(text))}
	var got []string
	for {
		tag, err := w.next()
		if err != nil {
			break
		}
		got = append(got, string(tag))
		switch tag.name() {
		case "a":
			if tag.attr("id") != "1" || tag.attr("xml:lang") != "en" || tag.attr("lang") != "" || tag.empty() || tag.end() {
				t.Errorf("%s read wrongly", tag)
			}
		case "b":
			if tag.attr("x") != "&gt;&apos;" || !tag.empty() {
				t.Errorf("%s read wrongly", tag)
			}
		case "/a":
			if !tag.end() {
				t.Errorf("%s read wrongly", tag)
			}
		}
	}
	want := []string{"<?xml version='1.0'?>", `<a id='1' xml:lang="en">`, "<b x='&gt;&apos;'/>", "</a>"}
	if !slices.Equal(got, want) {
		t.Errorf("tags = %q, want %q", got, want)
	}
}

func TestCrowd(t *testing.T) {
	const rooms, per = 20, 5
	site := startSite(t, stack.ProsodyConfig{})
	focus := startFocus(t, site, nil)
	crowd, err := DialCrowd(within(t), CrowdConfig{Site: site, Domain: stack.CrowdDomain, Secret: stack.CrowdSecret})
	must(t, err)
	t.Cleanup(crowd.Close)

	must(t, crowd.Fill(within(t), rooms, per))
	if got := crowd.Inside(); got != rooms*per {
		t.Errorf("%d are inside, want %d", got, rooms*per)
	}
	if got := len(crowd.Rooms()); got != rooms {
		t.Errorf("%d rooms, want %d", got, rooms)
	}
	guest := visit(t, site, "crowd-7", "Guest", true)
	waitFor(t, guest, func(o Occupants) bool { return len(o) == per+2 }) // the focus and the guest
	must(t, focus.WaitInvitations(within(t), "crowd-7", func(list []Invitation) bool {
		return len(list) == per+1 && !slices.ContainsFunc(list, func(i Invitation) bool { return i.Outcome != OutcomeAccepted })
	}))

	var changes []Change
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	must(t, crowd.Churn(ctx, 100, func(c Change) { changes = append(changes, c) }))
	if len(changes) < 10 || changes[0].Joined || !changes[1].Joined || changes[0].Room != changes[1].Room {
		t.Errorf("%d changes, beginning %+v", len(changes), changes[:min(2, len(changes))])
	}
	must(t, crowd.wait(within(t), func() bool { return crowd.inside >= rooms*per-1 }))

	must(t, guest.Leave(within(t)))
	must(t, crowd.Empty(within(t)))
	for _, room := range crowd.Rooms() {
		name, _, _ := strings.Cut(room, "@")
		must(t, focus.WaitLeft(within(t), name))
	}
}

func TestCrowdIsToldWhatIsWrong(t *testing.T) {
	site := startSite(t, stack.ProsodyConfig{})
	_, err := DialCrowd(within(t), CrowdConfig{Site: site, Domain: stack.CrowdDomain, Secret: "wrong"})
	if err == nil || !strings.Contains(err.Error(), "not-authorized") {
		t.Errorf("wrong secret: %v, want not-authorized", err)
	}
	crowd, err := DialCrowd(within(t), CrowdConfig{Site: site, Domain: stack.CrowdDomain, Secret: stack.CrowdSecret})
	must(t, err)
	t.Cleanup(crowd.Close)
	if err := crowd.Fill(within(t), 1, 1); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("fill without a focus = %v, want a refusal", err)
	}
}
