package prosodyconfig_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"usher/internal/stack"
	"usher/internal/stack/stacktest"
)

// What sites set in their .env, and what the fragment makes of it.

// fragmentVariables returns the names of the variables that the fragment reads,
// with the expressions that they stand in, and fails without any.
func fragmentVariables(t *testing.T) (names, expressions []string) {
	t.Helper()
	text, err := os.ReadFile("usher.cfg.lua")
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`(\w*\(?)ENV_(\w+)`).FindAllStringSubmatch(string(text), -1) {
		expressions, names = append(expressions, found[0]), append(names, found[2])
	}
	if len(names) < 8 {
		t.Fatalf("the fragment reads %q, want all its variables", names)
	}
	return names, expressions
}

// TestEmptyVariablesOfASiteAreUnset: Compose files such as Coolify's pass every
// variable, those that nobody has set as empty ones. An empty domain stopped
// Prosody.
func TestEmptyVariablesOfASiteAreUnset(t *testing.T) {
	names, expressions := fragmentVariables(t)
	for i, name := range names {
		// The second use of a variable that was found to be set is as it is.
		if expressions[i] != "set(ENV_"+name && strings.Count(strings.Join(expressions, " "), "set(ENV_"+name) == 0 {
			t.Errorf("%s is used without set(), so an empty one is not unset", name)
		}
	}
	var env []string
	for _, name := range names {
		switch name {
		case "USHER_COMPONENT_PORT", "USHER_COMPONENT_SECRET": // those of this test
		default:
			env = append(env, name+"=")
		}
	}
	p := stacktest.Prosody(t, stack.ProsodyConfig{Env: env})
	usher := component(t, p, stack.ComponentDomain, stack.ComponentSecret)
	focus := account(t, p, stack.Focus, stack.AuthDomain)
	focus.join("", "one", "focus", "")
	answer := usher.request("get", ctl, room("one"), listModerators)
	if got := answer.find("query", "item").attr("nick"); got != "focus" {
		t.Errorf("moderators as seen by %s = %s, want the focus", ctl, answer.Inner)
	}
	account(t, p, stack.Usher, stack.Domain).join("", "one", "usher", "")
}

// TestAnEmptyComponentSecretLetsNobodyIn: Prosody takes an empty secret for one.
func TestAnEmptyComponentSecretLetsNobodyIn(t *testing.T) {
	p := stacktest.Prosody(t, stack.ProsodyConfig{Env: []string{"USHER_COMPONENT_SECRET="}})
	answer := handshake(t, p, stack.ComponentDomain, "").next("error", nil)
	if answer.find("not-authorized").XMLName.Local == "" {
		t.Errorf("handshake with an empty secret = %s, want not-authorized", answer.Inner)
	}
}

// TestUsherTakesNoSeat: in a room for two, two people come in beside the focus,
// usher and the recorder, which may come when it is full.
func TestUsherTakesNoSeat(t *testing.T) {
	p := stacktest.Prosody(t, stack.ProsodyConfig{Env: []string{"XMPP_MUC_MODULES=muc_max_occupants", "USHER_LOCAL_SEATS=2"}})
	account(t, p, stack.Focus, stack.AuthDomain).join("", "one", "focus", "")
	enters := func(who *stream, from, nick string) string {
		t.Helper()
		who.sendJoin(from, "one", nick, "")
		answer := who.next("presence", func(e element) bool { return isSelf(e) || e.attr("type") == "error" })
		if answer.find("error", "service-unavailable").XMLName.Local != "" {
			return "full"
		}
		return answer.attr("type")
	}
	alice, bob, carol := person(t, p, ""), person(t, p, ""), person(t, p, "")
	occupant, recorder := account(t, p, stack.Usher, stack.Domain), account(t, p, stack.Recorder, stack.Domain)
	labelled := component(t, p, stack.ComponentDomain, stack.ComponentSecret)
	for _, step := range []struct {
		who        *stream
		from, nick string
		want       string
	}{
		{alice, alice.jid, "Alice", ""},
		{occupant, occupant.jid, "usher", ""},
		{bob, bob.jid, "Bob", ""},
		{carol, carol.jid, "Carol", "full"},
		{recorder, recorder.jid, "recorder", ""},
		{labelled, "bot@" + stack.ComponentDomain + "/usher", "bot", ""},
	} {
		if got := enters(step.who, step.from, step.nick); got != step.want {
			t.Errorf("%s enters a room for two: %q, want %q", step.nick, got, step.want)
		}
	}
}

// TestGuestsAreAskedAboutToo: with XMPP_MODULES=presence_identity,reservations a
// guest host asks usher before a room opens, as the main host does, and takes
// away what guests claim to be.
func TestGuestsAreAskedAboutToo(t *testing.T) {
	calls := make(chan string, 10)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		calls <- r.Method + " " + r.URL.Path + " " + r.PostForm.Get("name") + " " + r.Header.Get("Authorization")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"message":"No such meeting."}`)
	}))
	defer api.Close()
	p := stacktest.Prosody(t, stack.ProsodyConfig{
		ReservationURL: api.URL + "/reservations", Env: []string{"XMPP_MODULES=presence_identity,reservations"},
	})
	component(t, p, stack.FocusDomain, stack.FocusSecret)
	visitor := guestPerson(t, p)
	answer := visitor.request("set", visitor.jid, stack.FocusDomain,
		"<conference xmlns='http://jitsi.org/protocol/focus' room='"+room("unknown")+"'/>")
	if got, want := answer.find("error", "text").Text, "No such meeting."; got != want {
		t.Errorf("a guest who asks for a room = %s, want usher's refusal %q", answer.Inner, want)
	}
	select {
	case got := <-calls:
		if want := "POST /reservations/conference unknown Bearer " + stack.ReservationToken; got != want {
			t.Errorf("call = %q, want %q", got, want)
		}
	default:
		t.Error("usher was not asked about a guest's room")
	}

	account(t, p, stack.Focus, stack.AuthDomain).join("", "one", "focus", "")
	self := visitor.join(visitor.jid, "one", guest, "<identity><user><id>forged</id></user></identity>")
	if got := self.find("identity", "user", "id").Text; got != "" {
		t.Errorf("id of a guest who claims one = %q, want none", got)
	}
}

// TestConferenceRequestsNeedTheFocusAccountsRoster: mod_client_proxy hands on what
// is asked of the focus only while it sees the presence of the focus account.
func TestConferenceRequestsNeedTheFocusAccountsRoster(t *testing.T) {
	for _, subscribed := range []bool{false, true} {
		t.Run(fmt.Sprintf("subscribed: %t", subscribed), func(t *testing.T) {
			p := stacktest.Prosody(t, stack.ProsodyConfig{Env: []string{"USHER_LOCAL_FOCUS_MODULE=client_proxy"}})
			if subscribed {
				subscribeFocus(t, p)
			}
			focus := account(t, p, stack.Focus, stack.AuthDomain)
			focus.send("<presence xmlns='jabber:client'/>")
			if subscribed { // Prosody 13 has read the roster before it was written, and the request for it
				focus.send("<presence xmlns='jabber:client' type='subscribed' to='%s'/>", stack.FocusDomain)
			}
			focus.request("get", focus.jid, stack.AuthDomain, "<ping xmlns='urn:xmpp:ping'/>") // until it is seen
			alice := person(t, p, "")
			alice.send("<iq type='set' id='c' to='%s'><conference xmlns='http://jitsi.org/protocol/focus' room='%s'/></iq>",
				stack.FocusDomain, room("one"))
			if !subscribed {
				if answer := alice.next("iq", nil); answer.find("error", "service-unavailable").XMLName.Local == "" {
					t.Errorf("answer = %s, want service-unavailable", answer.Inner)
				}
				return
			}
			request := focus.next("iq", func(e element) bool { return e.find("conference").XMLName.Local != "" })
			if got, want := request.attr("from"), stack.FocusDomain+"/"+alice.jid; got != want {
				t.Errorf("the focus account is asked by %q, want %q", got, want)
			}
			focus.send("<iq type='result' id='%s' to='%s'/>", request.attr("id"), request.attr("from"))
			answer := alice.next("iq", nil)
			if got, want := answer.attr("type")+" from "+answer.attr("from"), "result from "+stack.FocusDomain; got != want {
				t.Errorf("alice's answer is a %s, want a %s", got, want)
			}
		})
	}
}

// subscribeFocus writes what the roster command of README.md comes to, in the form
// of Prosody's internal storage. The account must not be logged in.
func subscribeFocus(t *testing.T, p *stack.Prosody) {
	t.Helper()
	folder := filepath.Join(filepath.Dir(p.Log()), "data", strings.ReplaceAll(stack.AuthDomain, ".", "%2e"), "roster")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	roster := fmt.Sprintf("return { [false] = { version = 1 }; [%q] = { subscription = \"both\", groups = {} } };\n", stack.FocusDomain)
	if err := os.WriteFile(filepath.Join(folder, stack.Focus.User+".dat"), []byte(roster), 0o600); err != nil {
		t.Fatal(err)
	}
}
