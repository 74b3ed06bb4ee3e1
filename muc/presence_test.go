package muc

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"usher/meeting"
)

var testSite = Site{
	MUC: "muc.meet.jitsi", BreakoutDomain: "breakout.meet.jitsi", FocusJID: "focus@auth.meet.jitsi", TrustedDomains: []string{"hidden.meet.jitsi", "auth.meet.jitsi"},
	ComponentDomain: "usher.meet.jitsi", OccupantJID: "usher@hidden.meet.jitsi",
	Nick: "usher", DisplayName: "Usher", IdentityDomains: []string{"meet.jitsi", "tokens.meet.jitsi"},
}

func recordingOf(o meeting.Occupant, p *presence) string {
	switch says := p.focusReport(); {
	case o.Recording != "":
		return " records=" + o.Recording
	case o.Kind == meeting.KindFocus && says.Session != "":
		return fmt.Sprintf(" says=%s %s by=%q failure=%q", says.Status, says.Session, says.Initiator, says.Failure)
	}
	return ""
}

// TestRecordingIsBelievedFromTheFocusAlone forges its word under its nick, and
// a recorder's without its domain.
func TestRecordingIsBelievedFromTheFocusAlone(t *testing.T) {
	const status = `<jibri-recording-status xmlns='http://jitsi.org/protocol/jibri' status='on' session_id='s1' initiator='r@muc.meet.jitsi/aa'/>`
	stanza := func(nick, jid, inside string) presence {
		return decode(t, `<presence from='r@muc.meet.jitsi/`+nick+`'>`+inside+`<x xmlns='http://jabber.org/protocol/muc#user'><item jid='`+jid+`' role='moderator'/></x></presence>`)
	}
	p := stanza("focus", "focus@auth.meet.jitsi/focus", status)
	if o, doubts := testSite.occupant("focus", &p); o.Kind != meeting.KindFocus || len(doubts) > 0 {
		t.Errorf("the focus is %s, doubts %v", o.Kind, doubts)
	}
	if got, want := p.focusReport(), (meeting.FocusSays{Here: true, Session: "s1", Status: "on", Initiator: "aa"}); got != want {
		t.Errorf("the focus says %+v, want %+v", got, want)
	}
	p = stanza("focus", "mallory@meet.jitsi/web", status)
	if o, doubts := testSite.occupant("focus", &p); o.Kind != meeting.KindHuman || !slices.Equal(doubts, []string{"focus", "recording"}) {
		t.Errorf("a forger is %s, doubts %v", o.Kind, doubts)
	}
	p = stanza("focus", "focus@auth.meet.jitsi/focus", strings.Replace(status, "status=", "recording_mode='stream' status=", 1))
	if got, want := p.focusReport(), (meeting.FocusSays{Here: true, Session: "s1", Status: "on", Stream: true, Initiator: "aa"}); got != want {
		t.Errorf("of a live stream the focus says %+v, want %+v", got, want)
	}
	p = stanza("rr", "recorder@hidden.meet.jitsi/x", "<session_id>s1</session_id><mode>stream</mode>")
	if o, _ := testSite.occupant("rr", &p); o.Kind != meeting.KindStreamer || o.Recording != "s1" {
		t.Errorf("a streamer is %s and streams %q", o.Kind, o.Recording)
	}
	p = stanza("rr", "recorder@hidden.meet.jitsi/x", "<session_id>s1</session_id><mode>file</mode>")
	if o, _ := testSite.occupant("rr", &p); o.Kind != meeting.KindRecorder || o.Recording != "s1" {
		t.Errorf("a recorder is %s and records %q", o.Kind, o.Recording)
	}
	p = stanza("rr", "mallory@meet.jitsi/web", "<session_id>s1</session_id><mode>file</mode>")
	if o, _ := testSite.occupant("rr", &p); o.Recording != "" {
		t.Errorf("a human records %q", o.Recording)
	}
}

func decodeAll(t *testing.T, r io.Reader) []presence {
	t.Helper()
	var all []presence
	d := xml.NewDecoder(r)
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if start.Name.Local != "presence" {
			if err := d.Skip(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var p presence
		if err := d.DecodeElement(&p, &start); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func decode(t *testing.T, stanza string) presence {
	t.Helper()
	all := decodeAll(t, strings.NewReader(stanza))
	if len(all) != 1 {
		t.Fatalf("%d presences in %s", len(all), stanza)
	}
	return all[0]
}

func TestLeftReason(t *testing.T) {
	const x = `<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='none'/>%s</x>`
	tests := []struct {
		name, inside, after string
		want                meeting.LeftReason
	}{
		{"plain leave", "", "", meeting.LeftByChoice},
		{"kick (307)", "<status code='307'/>", "", meeting.LeftKicked},
		{"ban (301)", "<status code='301'/>", "", meeting.LeftBanned},
		{"kick after an error (307 and 333)", "<status code='307'/><status code='333'/>", "", meeting.LeftDisconnected},
		{"server shutdown (332)", "<status code='332'/>", "", meeting.LeftServerShutdown},
		{"members only (322)", "<status code='322'/>", "", meeting.LeftKicked},
		{"to a breakout room", "", "<status>switch_room</status>", meeting.LeftSwitchedRoom},
		// Prosody says so of connections that it closes when it is told to stop, but
		// anybody can say the same as they leave.
		{"somebody who says that the server stops", "", "<status>Disconnected: Received SIGTERM</status>", meeting.LeftDisconnected},
		{"lost connection", "", "<status>Disconnected: Hibernating too long</status>", meeting.LeftDisconnected},
		{"room destroyed", "<destroy><reason>over</reason></destroy>", "", meeting.LeftDestroyed},
	}
	for _, tt := range tests {
		p := decode(t, "<presence from='r@m/n' type='unavailable'>"+fmt.Sprintf(x, tt.inside)+tt.after+"</presence>")
		if got := p.leftReason(); got != tt.want {
			t.Errorf("%s: reason = %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestWhoPutSomebodyOut reads the actor of kicks and bans (XEP-0045 §8.2, §9.1).
func TestWhoPutSomebodyOut(t *testing.T) {
	const x = `<presence from='r@m/n' type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='none'>%s<reason>enough</reason></item>%s</x></presence>`
	const kicked = "<status code='307'/>"
	for _, tt := range []struct {
		name, actor, status string
		want                meeting.Gone
	}{
		{"a moderator", "<actor nick='aa' jid='aa@meet.jitsi/web'/>", kicked, meeting.Gone{Reason: meeting.LeftKicked, Actor: "aa"}},
		{"usher, for an app", "<actor nick='usher'/>", kicked, meeting.Gone{Reason: meeting.LeftKicked, ByUsher: true}},
		{"an administrator who is not in", "<actor jid='admin@meet.jitsi'/>", "<status code='301'/>", meeting.Gone{Reason: meeting.LeftBanned}},
		{"nobody named", "", kicked, meeting.Gone{Reason: meeting.LeftKicked}},
		{"a leave that names somebody", "<actor nick='aa'/>", "", meeting.Gone{Reason: meeting.LeftByChoice}},
	} {
		p := decode(t, fmt.Sprintf(x, tt.actor, tt.status))
		tt.want.Nick = "n"
		if got := p.gone("n", "usher"); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestKind holds the rule that real addresses decide, not nicks or claims.
func TestKind(t *testing.T) {
	const feature = "<features><feature var='http://jitsi.org/protocol/%s'/></features>"
	jibri, jigasi, transcriber := fmt.Sprintf(feature, "jibri"), fmt.Sprintf(feature, "jigasi"), fmt.Sprintf(feature, "transcriber")
	const initiator = "<initiator xmlns='http://jitsi.org/protocol/jigasi'/>"
	site := testSite
	site.TrustedDomains = append(site.TrustedDomains, "services.meet.jitsi")
	site.DialInDomains = []string{"phones.meet.jitsi"}
	tests := []struct {
		nick, jid, children string
		want                meeting.Kind
		doubt               string
	}{
		{"ab", "x@meet.jitsi/1", "", meeting.KindHuman, ""},
		{"focus", "focus@auth.meet.jitsi/focus", "", meeting.KindFocus, ""},
		{"focus", "x@meet.jitsi/1", "", meeting.KindHuman, "focus"},
		{"ab", "recorder@hidden.meet.jitsi/1", jibri, meeting.KindRecorder, ""},
		{"ab", "recorder@hidden.meet.jitsi/1", "", meeting.KindRecorder, ""},
		{"ab", "recorder@hidden.meet.jitsi/1", "<mode>stream</mode>", meeting.KindStreamer, ""},
		{"ab", "x@meet.jitsi/1", jibri, meeting.KindHuman, "feature"},
		{"ab", "transcriber@hidden.meet.jitsi/1", transcriber, meeting.KindTranscriber, ""},
		{"ab", "usher@hidden.meet.jitsi/usher", jibri, meeting.KindBot, ""},
		{"ab", "bot@usher.meet.jitsi/usher", jibri, meeting.KindBot, ""},
		{"ab", "jigasi@auth.meet.jitsi/1", jigasi, meeting.KindSIP, ""},
		{"ab", "x@meet.jitsi/1", jigasi, meeting.KindHuman, "feature"},
		{"ab", "x@guest.meet.jitsi/1", jigasi, meeting.KindHuman, "feature"},
		{"ab", "Recorder@HIDDEN.meet.jitsi/1", jibri, meeting.KindRecorder, ""},
		{"ab", "FOCUS@auth.Meet.Jitsi/focus", "", meeting.KindFocus, ""},
		{"ab", "usher.meet.jitsi/1", "", meeting.KindBot, ""},
		{"ab", "hidden.meet.jitsi@meet.jitsi/1", jibri, meeting.KindHuman, "feature"},
		{"ab", "x@nothidden.meet.jitsi/1", jibri, meeting.KindHuman, "feature"},
		{"ab", "x@meet.jitsi/@hidden.meet.jitsi", jibri, meeting.KindHuman, "feature"},
		{"ab", "focus@auth.meet.jitsi.example/focus", "", meeting.KindHuman, ""},
		{"ab", "x@meet.jitsi/1", "<bot type='poltergeist'/>", meeting.KindHuman, ""},
		{"ab", "", "", meeting.KindHuman, ""},
		{"ab", "jigasi@auth.meet.jitsi/1", "", meeting.KindSIP, ""}, // as lists show it
		{"ab", "jigasi@auth.meet.jitsi/1", strings.Replace(jigasi, "</features>", "<feature var='http://jitsi.org/protocol/transcriber'/></features>", 1), meeting.KindTranscriber, ""},
		{"ab", "x@services.meet.jitsi/1", jibri, meeting.KindRecorder, ""},
		{"ab", "x@services.meet.jitsi/1", "", meeting.KindBot, ""},
		{"ab", "jvb@auth.meet.jitsi/1", "", meeting.KindBot, ""},
		{"ab", "x@phones.meet.jitsi/1", jigasi, meeting.KindSIP, ""},
		{"ab", "x@phones.meet.jitsi/1", initiator, meeting.KindSIP, ""},
		{"+49 30 0", "jigasi@phones.meet.jitsi/1", "", meeting.KindHuman, ""}, // people log in there too
		{"ab", "x@phones.meet.jitsi/1", jibri, meeting.KindHuman, "feature"},
		{"ab", "x@phones.meet.jitsi/1", transcriber, meeting.KindHuman, "feature"},
		{"ab", "x@phones.meet.jitsi/1", "<session_id>s1</session_id><mode>stream</mode>", meeting.KindHuman, ""},
		{"ab", "x@meet.jitsi/1", initiator, meeting.KindHuman, ""},
		{"jigasi", "jigasi@meet.jitsi/jigasi", "", meeting.KindHuman, ""},
		{"recorder", "recorder@guest.meet.jitsi/recorder", jibri, meeting.KindHuman, "feature"},
		{"ab", "\u0640@meet.jitsi/\u0640", "", meeting.KindHuman, ""},
	}
	for _, tt := range tests {
		p := decode(t, fmt.Sprintf("<presence from='r@m/%s'>%s<x xmlns='http://jabber.org/protocol/muc#user'><item jid='%s'/></x></presence>", tt.nick, tt.children, tt.jid))
		got, doubts := site.kind(tt.nick, &p)
		if doubt := strings.Join(doubts, ","); got != tt.want || doubt != tt.doubt {
			t.Errorf("%s as %s %s: kind = %s doubts %q, want %s %q", tt.jid, tt.nick, tt.children, got, doubt, tt.want, tt.doubt)
		}
	}
}

// TestPresenceWithoutOneItem holds that of a presence in which the room names
// nobody, or two, nothing is believed.
func TestPresenceWithoutOneItem(t *testing.T) {
	const focus, person = "<item jid='focus@auth.meet.jitsi/focus' role='moderator'/>", "<item jid='x@meet.jitsi/1' role='participant'/>"
	const x = "<x xmlns='http://jabber.org/protocol/muc#user'>%s</x>"
	for name, inside := range map[string]string{
		"none": fmt.Sprintf(x, ""), "no x": "",
		"two": fmt.Sprintf(x, person+focus), "two, the other way round": fmt.Sprintf(x, focus+person),
		"two x": fmt.Sprintf(x, person) + fmt.Sprintf(x, focus),
	} {
		p := decode(t, "<presence from='r@muc.meet.jitsi/n'><identity><user><id>boss</id></user></identity>"+inside+"</presence>")
		o, _ := testSite.occupant("n", &p)
		if want := (meeting.Occupant{Nick: "n", Kind: meeting.KindHuman}); o != want {
			t.Errorf("%s: occupant = %+v, want %+v", name, o, want)
		}
	}
}

// TestHostByToken holds that the token's user says who is a host, where it is
// believed (mod_presence_identity, mod_token_affiliation).
func TestHostByToken(t *testing.T) {
	for _, tt := range []struct {
		fields, domain string
		want           bool
	}{
		{"<moderator>true</moderator><affiliation>owner</affiliation>", "meet.jitsi", true},
		{"<moderator>true</moderator>", "meet.jitsi", true},
		{"<affiliation>teacher</affiliation>", "meet.jitsi", true},
		{"<moderator>false</moderator><affiliation>member</affiliation>", "meet.jitsi", false},
		{"", "meet.jitsi", false},
		{"<moderator>true</moderator>", "guest.meet.jitsi", false},
	} {
		p := decode(t, "<presence from='r@m/n'><identity><user>"+tt.fields+"</user></identity>"+
			"<x xmlns='http://jabber.org/protocol/muc#user'><item jid='x@"+tt.domain+"/1' role='participant'/></x></presence>")
		if o, _ := testSite.occupant("n", &p); o.Host != tt.want || o.Role != meeting.RoleParticipant {
			t.Errorf("%q from %s: host = %v, role %s, want %v and participant", tt.fields, tt.domain, o.Host, o.Role, tt.want)
		}
	}
}

func TestMedia(t *testing.T) {
	tests := []struct {
		name, children       string
		audio, video, screen meeting.Media
	}{
		{"nothing said", "<SourceInfo>{}</SourceInfo>", "", "", ""},
		{"no element", "", "", "", ""},
		{"not JSON", "<SourceInfo>{</SourceInfo>", "", "", ""},
		{"muted, camera on", `<SourceInfo>{"n-a0":{"muted":true},"n-v0":{"muted":false}}</SourceInfo>`, "off", "on", ""},
		{"screen beside camera", `<SourceInfo>{"n-v0":{"muted":true},"n-v1":{"muted":false,"videoType":"desktop"}}</SourceInfo>`, "", "off", "on"},
		{"muted not said", `<SourceInfo>{"n-a0":{}}</SourceInfo>`, "off", "", ""},
		{"somebody else's source", `<SourceInfo>{"m-a0":{"muted":false}}</SourceInfo>`, "", "", ""},
		{"before SourceInfo", "<audiomuted>true</audiomuted><videomuted>false</videomuted>", "off", "on", ""},
	}
	for _, tt := range tests {
		p := decode(t, "<presence from='r@m/n'>"+tt.children+"</presence>")
		if audio, video, screen := media("n", &p); audio != tt.audio || video != tt.video || screen != tt.screen {
			t.Errorf("%s: audio %q video %q screen %q, want %q %q %q", tt.name, audio, video, screen, tt.audio, tt.video, tt.screen)
		}
	}
}

// TestIdentityIsBelievedByDomain holds that only the host which a presence
// comes from decides whether its <identity> counts: everybody may write one,
// and only some hosts' servers take it away.
func TestIdentityIsBelievedByDomain(t *testing.T) {
	tests := []struct {
		name, jid string
		believed  bool
	}{
		{"main domain", "x@meet.jitsi/1", true},
		{"another domain that is listed", "x@tokens.meet.jitsi/1", true},
		{"in another case", "X@MEET.Jitsi/1", true},
		{"main domain without a user", "meet.jitsi/1", true},
		{"guests' host", "x@guest.meet.jitsi/1", false},
		{"visitors' host", "x@v1.meet.jitsi/1", false},
		{"hidden domain", "recorder@hidden.meet.jitsi/1", false},
		{"the services' domain", "jigasi@auth.meet.jitsi/1", false},
		{"the focus", "focus@auth.meet.jitsi/focus", false},
		{"a component", "crowd.meet.jitsi/1", false},
		{"a user of a component", "x@crowd.meet.jitsi/1", false},
		{"ends in the main domain", "x@evilmeet.jitsi/1", false},
		{"begins with the main domain", "x@meet.jitsi.example/1", false},
		{"main domain as the user", "meet.jitsi@guest.meet.jitsi/1", false},
		{"main domain as the resource", "x@guest.meet.jitsi/meet.jitsi", false},
		{"main domain behind an @ in the resource", "x@guest.meet.jitsi/x@meet.jitsi", false},
		{"component with the main domain in its resource", "crowd.meet.jitsi/x@meet.jitsi", false},
		{"no real address", "", false},
	}
	for _, tt := range tests {
		p := decode(t, `<presence from='r@m/n'><identity><user><id>boss</id><name>Boss</name><email>b@example.org</email></user></identity>
			<x xmlns='http://jabber.org/protocol/muc#user'><item jid='`+tt.jid+`'/></x></presence>`)
		o, doubts := testSite.occupant("n", &p)
		want, wantDoubts := "boss Boss b@example.org", 0
		if !tt.believed {
			want, wantDoubts = "  ", 1
		}
		if got := o.UserID + " " + o.Name + " " + o.Email; got != want || len(doubts) != wantDoubts {
			t.Errorf("%s, %q: user, name and email = %q, doubts %v, want %q and %d doubts", tt.name, tt.jid, got, doubts, want, wantDoubts)
		}
		site := testSite
		site.IdentityDomains = nil
		if o, doubts := site.occupant("n", &p); o.UserID+o.Name+o.Email != "" || !slices.Equal(doubts, []string{"identity"}) {
			t.Errorf("%s, no domain trusted: %q %q %q, doubts %v, want none and one doubt", tt.name, o.UserID, o.Name, o.Email, doubts)
		}
	}
}

func TestLongNamesAreCut(t *testing.T) {
	p := presence{Nick: strings.Repeat("é", 1_000_000)}
	if o, _ := testSite.occupant("n", &p); len(o.Name) != maxText || !strings.HasPrefix(p.Nick, o.Name) {
		t.Errorf("name has %d bytes, want %d, cut between characters", len(o.Name), maxText)
	}
}

// TestOurPresence is the conformance test of design: each child is there
// because something breaks without it, and nothing else is.
func TestOurPresence(t *testing.T) {
	site := testSite
	site.Caps = struct {
		XMLName xml.Name `xml:"http://jabber.org/protocol/caps c"`
		Ver     string   `xml:"ver,attr"`
	}{Ver: "abc="}
	got, err := xml.Marshal(site.join(""))
	if err != nil {
		t.Fatal(err)
	}
	const want = `<x xmlns="http://jabber.org/protocol/muc"></x>` +
		`<nick xmlns="http://jabber.org/protocol/nick">Usher</nick>` +
		`<features><feature var="http://jitsi.org/protocol/jibri"></feature></features>` +
		`<bot type="poltergeist"></bot>` +
		`<c xmlns="http://jabber.org/protocol/caps" ver="abc="></c>`
	if string(got) != want {
		t.Errorf("presence has\n%s\nwant\n%s", got, want)
	}
}

func FuzzPresence(f *testing.F) {
	f.Add(`<presence from='r@muc.meet.jitsi/n'><SourceInfo>{"n-a0":{"muted":true}}</SourceInfo></presence>`)
	f.Add(`<presence from='/@/@' type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'><status code='x'/></x></presence>`)
	f.Fuzz(func(t *testing.T, stanza string) {
		var p presence
		if xml.Unmarshal([]byte(stanza), &p) != nil {
			return
		}
		_, _, nick := splitAddress(p.From)
		o, _ := testSite.occupant(nick, &p)
		if len(o.Name) > maxText || o.Kind == "" || p.leftReason() == "" {
			t.Errorf("%q decodes to %+v", stanza, o)
		}
	})
}

// TestWhatALinkSaidIsBelievedOfTheServer proves that the id and the metadata of a link
// come from the token, whole or not at all.
func TestWhatALinkSaidIsBelievedOfTheServer(t *testing.T) {
	for _, tt := range []struct{ jid, metadata, want string }{
		{"x@meet.jitsi/1", `{"a":1}`, `patient/7 {"a":1}`},
		{"x@meet.jitsi/1", strings.Repeat("é", maxAppended/2), "patient/7 " + strings.Repeat("é", maxAppended/2)},
		{"x@meet.jitsi/1", strings.Repeat("a", maxAppended+1), " "},
		{"x@guest.meet.jitsi/1", `{"a":1}`, " "},
	} {
		p := decode(t, `<presence from='r@m/n'><identity><user><external_id>patient/7</external_id><metadata>`+tt.metadata+`</metadata></user></identity>
			<x xmlns='http://jabber.org/protocol/muc#user'><item jid='`+tt.jid+`'/></x></presence>`)
		if o, _ := testSite.occupant("n", &p); o.ExternalID+" "+o.Metadata != tt.want {
			t.Errorf("%s, %d bytes of metadata: %.80q, want %.80q", tt.jid, len(tt.metadata), o.ExternalID+" "+o.Metadata, tt.want)
		}
	}
}

// TestEncryptionIsWhatTheClientSays: only the word true is.
func TestEncryptionIsWhatTheClientSays(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "<jitsi_participant_e2ee.enabled>true</jitsi_participant_e2ee.enabled>": true,
		"<jitsi_participant_e2ee.enabled>false</jitsi_participant_e2ee.enabled>": false,
	} {
		p := decode(t, "<presence>"+text+"<x xmlns='http://jabber.org/protocol/muc#user'><item jid='a@meet.jitsi/web'/></x></presence>")
		o, _ := testSite.occupant("aa", &p)
		if o.Encrypted != want {
			t.Errorf("%q: encrypted %v, want %v", text, o.Encrypted, want)
		}
	}
}
