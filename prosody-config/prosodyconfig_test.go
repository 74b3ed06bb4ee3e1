package prosodyconfig_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"usher/internal/stack"
	"usher/internal/stack/stacktest"
)

const (
	ctl   = "ctl@" + stack.ComponentDomain
	guest = "Guest1"

	listModerators = "<query xmlns='http://jabber.org/protocol/muc#admin'><item role='moderator'/></query>"
	readForm       = "<query xmlns='http://jabber.org/protocol/muc#owner'/>"
)

func room(name string) string { return name + "@" + stack.MUCDomain }

func TestControlAddressSeesRoomsFromOutside(t *testing.T) {
	p := stacktest.Prosody(t, stack.ProsodyConfig{})
	usher := component(t, p, stack.ComponentDomain, stack.ComponentSecret)

	answer := usher.request("get", ctl, room("one"), listModerators)
	if got := answer.find("error", "item-not-found").XMLName.Local; got == "" {
		t.Errorf("role list of a missing room = %s, want item-not-found", answer.Inner)
	}

	focus := account(t, p, stack.Focus, stack.AuthDomain)
	focus.join("", "one", "focus", "")
	answer = usher.request("get", ctl, room("one"), listModerators)
	item := answer.find("query", "item")
	if got, want := item.attr("nick")+" "+item.attr("jid"), "focus "+focus.jid; got != want {
		t.Errorf("moderators = %q, want %q", got, want)
	}
	if form := usher.request("get", ctl, room("one"), readForm); meetingID(form) == "" {
		t.Errorf("no meeting id in the room's form: %s", form.Inner)
	}

	other := usher.request("get", "bot@"+stack.ComponentDomain, room("one"), listModerators)
	if got := other.attr("type"); got != "error" {
		t.Errorf("role list for another address of the component = %q, want error", got)
	}
	info := usher.request("get", ctl, room("one"), "<query xmlns='http://jabber.org/protocol/disco#info'/>")
	if info.find("error", "forbidden").XMLName.Local == "" {
		t.Errorf("disco#info for a non-occupant = %s, want forbidden", info.Inner)
	}
}

func TestOnlyTheFocusOpensRooms(t *testing.T) {
	p := stacktest.Prosody(t, stack.ProsodyConfig{})
	alice := person(t, p, "")
	alice.sendJoin(alice.jid, "one", guest, "")
	refusal := alice.next("presence", nil).find("error")
	if refusal.find("not-allowed").XMLName.Local == "" || refusal.find("text").Text != "Room creation is restricted" {
		t.Errorf("first join by a person = %s, want not-allowed", refusal.Inner)
	}
}

// An admin who is first is what must never happen; the room shows why.
func TestJoinsWaitForTheFocus(t *testing.T) {
	p := stacktest.Prosody(t, stack.ProsodyConfig{})
	usher := component(t, p, stack.ComponentDomain, stack.ComponentSecret)
	alice := person(t, p, "")
	presence := func(e element) bool { return e.XMLName.Local == "presence" }

	usher.sendJoin(ctl+"/1", "one", "early", "")
	usher.silent(ctl, presence)
	alice.sendJoin(alice.jid, "one", guest, "")
	alice.silent(alice.jid, presence)

	focus := account(t, p, stack.Focus, stack.AuthDomain)
	focus.join("", "one", "focus", "")
	if got, want := alice.next("presence", isSelf).attr("from"), room("one")+"/"+guest; got != want {
		t.Errorf("self-presence after the focus came is from %q, want %q", got, want)
	}
	form := usher.request("get", ctl, room("one"), readForm)
	if got := meetingID(form); got != "" {
		t.Errorf("meeting id of a room that an admin opened = %q, want none", got)
	}
}

func TestNicksAreChecked(t *testing.T) {
	p := stacktest.Prosody(t, stack.ProsodyConfig{})
	account(t, p, stack.Focus, stack.AuthDomain).join("", "one", "focus", "")
	alice := person(t, p, "")
	for _, nick := range []string{"a.b", "_a", "a-b", "\u0640"} {
		alice.sendJoin(alice.jid, "one", nick, "")
		if answer := alice.next("presence", nil); answer.find("error", "not-allowed").XMLName.Local == "" {
			t.Errorf("join as %q = %s, want not-allowed", nick, answer.Inner)
		}
	}
	alice.join(alice.jid, "one", guest, "")
	alice.sendJoin(alice.jid, "one", "Other", "")
	if answer := alice.next("presence", nil); answer.find("error", "not-allowed").XMLName.Local == "" {
		t.Errorf("change of nick = %s, want not-allowed", answer.Inner)
	}
}

func TestNewerComponentConnectionWins(t *testing.T) {
	p := stacktest.Prosody(t, stack.ProsodyConfig{})
	old := component(t, p, stack.ComponentDomain, stack.ComponentSecret)
	component(t, p, stack.ComponentDomain, stack.ComponentSecret)
	if got := old.next("error", nil); got.find("conflict").XMLName.Local == "" {
		t.Errorf("the older connection ended with %s, want conflict", got.Inner)
	}
}

func TestHiddenLogin(t *testing.T) {
	p := stacktest.Prosody(t, stack.ProsodyConfig{})
	focus := account(t, p, stack.Focus, stack.AuthDomain)
	focus.join("", "one", "focus", "")
	// The hidden domain shows the main domain's certificate.
	occupant := account(t, p, stack.Usher, stack.Domain)
	if self := occupant.join("", "one", "usher", ""); self.find("x", "item").attr("role") != "participant" {
		t.Errorf("self-presence = %s, want role participant", self.Inner)
	}

	// At the 10 kB/s of other logins this would take 30 seconds.
	const sent, limit = 300 << 10, 10 * time.Second
	start := time.Now()
	for range sent >> 10 {
		occupant.send("<message to='%s'><body>%s</body></message>", occupant.jid, strings.Repeat("x", 1<<10))
	}
	occupant.request("get", occupant.jid, stack.HiddenDomain, "<ping xmlns='urn:xmpp:ping'/>")
	if took := time.Since(start); took > limit {
		t.Errorf("%d bytes took %v: unlimited_jids has no effect", sent, took)
	}
}

// usher asks for the roster anew by joining again, and takes its own presence
// for the end of the answer.
func TestSecondJoinTellsEverybodyAnew(t *testing.T) {
	p := stacktest.Prosody(t, stack.ProsodyConfig{})
	account(t, p, stack.Focus, stack.AuthDomain).join("", "one", "focus", "")
	occupant := account(t, p, stack.Usher, stack.Domain)
	occupant.join("", "one", "usher", "")
	occupant.sendJoin("", "one", "usher", "")
	var told []string
	for {
		e := occupant.next("presence", nil)
		told = append(told, strings.TrimPrefix(e.attr("from"), room("one")+"/"))
		if isSelf(e) {
			break
		}
	}
	if got := strings.Join(told, " "); got != "focus usher" {
		t.Errorf("the second join was answered with %q, want the focus, then usher", got)
	}
}

// The brewery is for the focus and the Jibris; a site may let usher in as well.
// Whoever is kept out hears nothing at all.
func TestBreweryLetsInWhomTheSiteNames(t *testing.T) {
	const brewery = "jibribrewery@" + stack.InternalMUCDomain
	const pool = "pool@" + stack.ComponentDomain
	for _, out := range []bool{false, true} {
		t.Run(fmt.Sprintf("usher is kept out: %t", out), func(t *testing.T) {
			p := stacktest.Prosody(t, stack.ProsodyConfig{KeepPoolOut: out})
			jibri := account(t, p, stack.Jibri, stack.AuthDomain)
			jibri.send("<presence to='%s/j1'><x xmlns='http://jabber.org/protocol/muc'/>"+
				"<jibri-status xmlns='http://jitsi.org/protocol/jibri'/></presence>", brewery)
			jibri.next("presence", isSelf)

			usher := component(t, p, stack.ComponentDomain, stack.ComponentSecret)
			usher.send("<presence from='%s' to='%s/usher'><x xmlns='http://jabber.org/protocol/muc'/></presence>", pool, brewery)
			if out {
				usher.silent(pool, func(e element) bool { return e.XMLName.Local == "presence" })
				// An account beside those of the focus and the Jibris is let in.
				watcher := account(t, p, stack.Watcher, stack.AuthDomain)
				watcher.send("<presence to='%s/usher'><x xmlns='http://jabber.org/protocol/muc'/></presence>", brewery)
				if first := watcher.next("presence", nil); first.find("jibri-status").XMLName.Local == "" {
					t.Errorf("the first that %s sees is %s, want j1 with its status", stack.Watcher.JID(), first.Inner)
				}
				return
			}
			if first := usher.next("presence", nil); first.attr("from") != brewery+"/j1" || first.find("jibri-status").XMLName.Local == "" {
				t.Errorf("the first to be seen is %q with %s, want j1 with its status", first.attr("from"), first.Inner)
			}
			usher.next("presence", isSelf)
		})
	}
}

func TestTokensSayWhoSomebodyIs(t *testing.T) {
	p := stacktest.Prosody(t, stack.ProsodyConfig{})
	focus := account(t, p, stack.Focus, stack.AuthDomain)
	focus.join("", "one", "focus", "")
	focus.join("", "two", "focus", "")
	const forged = "<identity><user><id>forged</id></user></identity>"
	id := func(self element) string { return self.find("identity", "user", "id").Text }

	token := signed(t, stack.JWTAppSecret, "one")
	ada := person(t, p, "token="+token)
	if got := id(ada.join(ada.jid, "one", "Ada", forged)); got != "ada" {
		t.Errorf("id of somebody with a token = %q, want ada", got)
	}
	ada.sendJoin(ada.jid, "two", "Ada", "")
	if answer := ada.next("presence", func(e element) bool { return strings.HasPrefix(e.attr("from"), "two@") }); answer.attr("type") != "error" {
		t.Errorf("join of a room that the token does not open = %s, want an error", answer.Inner)
	}
	web := webPerson(t, p, token)
	if got := id(web.join(web.jid, "one", "AdaWeb", forged)); got != "ada" {
		t.Errorf("id of somebody with a token in the URL = %q, want ada", got)
	}
	bob := person(t, p, "")
	if got := id(bob.join(bob.jid, "one", "Bob", forged)); got != "" {
		t.Errorf("id of a guest = %q, want none", got)
	}

	failure := anonymous(t, p, stack.Domain, "token="+signed(t, "another secret", "one")).next("failure", nil)
	if failure.find("not-allowed").XMLName.Local == "" {
		t.Errorf("login with a wrongly signed token = %s, want not-allowed", failure.Inner)
	}
}

func TestReservations(t *testing.T) {
	type call struct {
		method, path, authorization string
		form                        url.Values
	}
	calls := make(chan call, 10)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		calls <- call{r.Method, r.URL.Path, r.Header.Get("Authorization"), r.PostForm}
		if r.PostForm.Get("name") == "unknown" {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"message":"No such meeting."}`)
			return
		}
		fmt.Fprintf(w, `{"id":7,"name":%q,"mail_owner":%q,"start_time":%q,"duration":3600}`,
			r.PostForm.Get("name"), r.PostForm.Get("mail_owner"), r.PostForm.Get("start_time"))
	}))
	defer api.Close()
	nextCall := func() call {
		t.Helper()
		select {
		case c := <-calls:
			return c
		case <-time.After(patience):
			t.Fatal("no call to the reservation system")
			return call{}
		}
	}
	p := stacktest.Prosody(t, stack.ProsodyConfig{ReservationURL: api.URL + "/reservation"})
	proxy := component(t, p, stack.FocusDomain, stack.FocusSecret)
	alice := person(t, p, "")
	ask := func(name string) {
		alice.send("<iq type='set' id='%s' to='%s'><conference xmlns='http://jitsi.org/protocol/focus' room='%s'/></iq>",
			name, stack.FocusDomain, room(name))
	}

	ask("known")
	got := nextCall()
	if got.method != http.MethodPost || got.path != "/reservation/conference" || got.authorization != "Bearer "+stack.ReservationToken {
		t.Errorf("call = %s %s with %q, want POST /reservation/conference with our token", got.method, got.path, got.authorization)
	}
	bare, _, _ := strings.Cut(alice.jid, "/")
	if len(got.form) != 3 || got.form.Get("name") != "known" || got.form.Get("mail_owner") != bare {
		t.Errorf("form = %v, want name=known, mail_owner=%s and start_time", got.form, bare)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z", got.form.Get("start_time")); err != nil {
		t.Error(err)
	}
	if request := proxy.next("iq", nil); request.attr("from") != alice.jid || request.find("conference").attr("room") != room("known") {
		t.Errorf("the focus got %s from %s, want alice's request", request.Inner, request.attr("from"))
	}

	focus := account(t, p, stack.Focus, stack.AuthDomain)
	focus.join("", "known", "focus", "")
	ask("known") // the room exists: no question
	proxy.next("iq", nil)
	focus.send("<presence type='unavailable' to='%s/focus'/>", room("known"))
	if got = nextCall(); got.method != http.MethodDelete || got.path != "/reservation/conference/7" {
		t.Errorf("call at the end of the room = %s %s, want DELETE /reservation/conference/7", got.method, got.path)
	}

	ask("unknown")
	nextCall()
	refusal := alice.next("iq", nil).find("error")
	if got, want := refusal.find("text").Text, "No such meeting."; refusal.find("service-unavailable").XMLName.Local == "" || got != want {
		t.Errorf("refusal = %s, want service-unavailable with %q", refusal.Inner, want)
	}
	if got, want := refusal.find("reservation-error").attr("error-code"), "403"; got != want {
		t.Errorf("error-code = %q, want %q", got, want)
	}
	ask("unknown")
	alice.next("iq", nil)
	if len(calls) != 0 {
		t.Errorf("a refusal was asked for again at once")
	}
}

func meetingID(form element) string {
	for _, field := range form.find("query", "x").Children {
		if field.attr("var") == "muc#roominfo_meetingId" {
			return field.find("value").Text
		}
	}
	return ""
}

func signed(t *testing.T, secret, room string) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": stack.JWTAppID, "aud": stack.JWTAppID, "room": room,
		"exp":     time.Now().Add(time.Hour).Unix(),
		"context": map[string]any{"user": map[string]any{"id": "ada", "name": "Ada", "moderator": true}},
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}
