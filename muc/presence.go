package muc

import (
	"encoding/json"
	"encoding/xml"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

// Features that services of the site put into their presence; Jicofo believes
// them only from domains it trusts, and so do we.
const (
	featureJibri       = "http://jitsi.org/protocol/jibri"
	featureJigasi      = "http://jitsi.org/protocol/jigasi"
	featureTranscriber = "http://jitsi.org/protocol/transcriber"
)

// modeStream is what a Jibri that streams live, and the focus that has it do so,
// call that; everything else is a file.
const modeStream = "stream"

// maxText is how many bytes of a name, address or user id are kept. What
// people call themselves is theirs to choose, but every change of it is stored
// and sent on; 256 is four times the longest name that Jitsi's field accepts.
const maxText = 256

// maxAppended is how many bytes of what an app has appended to a link are kept:
// those of the 500 characters that a link takes. Half of it would mislead.
const maxAppended = 2000

// presence is a presence in a room as Jitsi's clients, recorders and Jicofo
// send it. Addresses stay strings: some that occur break mellium's jid.Parse.
type presence struct {
	From string `xml:"from,attr"`
	Type string `xml:"type,attr"`
	Nick string `xml:"http://jabber.org/protocol/nick nick"`
	Text string `xml:"status"` // "switch_room", or the server's words on a lost connection
	Mode string `xml:"mode"`   // of a recorder: file or stream
	// SessionID is Jibri's own id of what a recorder records or streams.
	SessionID string `xml:"session_id"`
	// Recording is what the focus says of the room's recording; it stays in
	// every later presence.
	Recording *recordingStatus `xml:"http://jitsi.org/protocol/jibri jibri-recording-status"`
	// Properties are what the focus says of the conference.
	Properties []struct {
		Key   string `xml:"key,attr"`
		Value string `xml:"value,attr"`
	} `xml:"conference-properties>property"`
	Hand  string `xml:"jitsi_participant_raisedHand"`
	E2EE  string `xml:"jitsi_participant_e2ee.enabled"` // end-to-end encryption (lib-jitsi-meet, KeyHandler)
	Sound string `xml:"audiomuted"`                     // before SourceInfo, and still from dial-in
	Sight string `xml:"videomuted"`
	// SourceInfo is JSON: source name → {muted, videoType}.
	SourceInfo string    `xml:"SourceInfo"`
	Features   []feature `xml:"features>feature"`
	Initiator  *struct{} `xml:"http://jitsi.org/protocol/jigasi initiator"`
	// Identity is written by the server of [Site.IdentityDomains], and by
	// anybody else who likes.
	Identity *identity `xml:"identity>user"`
	User     struct {
		Items   []item    `xml:"item"`
		Status  []status  `xml:"status"`
		Destroy *struct{} `xml:"destroy"`
	} `xml:"http://jabber.org/protocol/muc#user x"`
	Error struct {
		Conditions []struct {
			XMLName xml.Name
		} `xml:",any"`
	} `xml:"error"`
}

// identity is the user of a token (mod_presence_identity, which copies all fields).
type identity struct {
	ID          string `xml:"id"`
	Name        string `xml:"name"`
	Email       string `xml:"email"`
	Moderator   string `xml:"moderator"`
	Affiliation string `xml:"affiliation"`
	// What an app has appended to a link; usher's own tokens carry it.
	ExternalID string `xml:"external_id"`
	Metadata   string `xml:"metadata"`
}

// host reports whether the token makes its user a moderator, as
// mod_token_affiliation reads it.
func (id *identity) host() bool {
	return id.Moderator == "true" || slices.Contains([]string{"owner", "moderator", "teacher"}, id.Affiliation)
}

// item returns what the room says about the sender. A presence has one (XEP-0045
// §7.2.3); of none, or of several, nobody can say who the sender is.
func (p *presence) item() item {
	if len(p.User.Items) != 1 {
		return item{}
	}
	return p.User.Items[0]
}

// identified reports whether the presence says whose it is, and who they are from now
// on if they change their nick (XEP-0045 §7.6).
func (p *presence) identified() bool {
	return bareJID(p.item().JID) != "" && (p.item().Nick != "" || !p.has(statusNick))
}

type feature struct {
	Var string `xml:"var,attr"`
}

type status struct {
	Code string `xml:"code,attr"`
}

// recordingStatus is in the focus's presence (jitsi-xmpp-extensions,
// RecordingStatus).
type recordingStatus struct {
	Status    string `xml:"status,attr"`
	Mode      string `xml:"recording_mode,attr"` // file, or stream for a live stream
	Session   string `xml:"session_id,attr"`
	Failure   string `xml:"failure_reason,attr"`
	Initiator string `xml:"initiator,attr"` // occupant address
}

// focusReport returns what the focus's presence reports about recording.
func (p *presence) focusReport() meeting.FocusSays {
	report := meeting.FocusSays{Here: true}
	if r := p.Recording; r != nil && r.Session != "" && len(r.Session) <= maxText {
		_, _, nick := splitAddress(r.Initiator)
		report.Session, report.Status, report.Stream = r.Session, clip(r.Status), r.Mode == modeStream
		report.Failure, report.Initiator = clip(r.Failure), clip(nick)
	}
	return report
}

// Status codes (XEP-0045 §15.6.2).
const (
	statusSelf      = "110"
	statusBanned    = "301"
	statusNick      = "303"
	statusKicked    = "307"
	statusAffil     = "321" // lost membership of a members-only room
	statusMembers   = "322" // the room became members-only
	statusShutdown  = "332"
	statusTechnical = "333" // removed after an error, not by a person
)

func (p *presence) has(code string) bool { return slices.Contains(p.User.Status, status{code}) }

// condition returns the error condition of an error presence.
func (p *presence) condition() stanza.Condition {
	for _, c := range p.Error.Conditions {
		if c.XMLName.Local != "text" {
			return stanza.Condition(c.XMLName.Local)
		}
	}
	return stanza.UndefinedCondition
}

// leftReason says why an occupant is unavailable (XEP-0045 §7.14, §9, §15.6.2).
// Prosody removes a connection that answers with errors by a kick with 333, and
// names a lost one in the status text. That text anybody can choose as they leave,
// so it says nothing of the server: when Prosody is told to stop, who is closed
// before its rooms say 332 or the stream ends counts as disconnected.
func (p *presence) leftReason() meeting.LeftReason {
	switch {
	case p.User.Destroy != nil:
		return meeting.LeftDestroyed
	case p.has(statusShutdown):
		return meeting.LeftServerShutdown
	case p.has(statusTechnical):
		return meeting.LeftDisconnected
	case p.has(statusBanned):
		return meeting.LeftBanned
	case p.has(statusKicked), p.has(statusAffil), p.has(statusMembers):
		return meeting.LeftKicked
	case p.Text == "switch_room":
		return meeting.LeftSwitchedRoom
	case strings.HasPrefix(p.Text, "Disconnected:"):
		return meeting.LeftDisconnected
	}
	return meeting.LeftByChoice
}

// gone is what an unavailable presence reports; usher is usher's own nick in the
// room, which nobody else has.
func (p *presence) gone(nick, usher string) meeting.Gone {
	g := meeting.Gone{Nick: nick, Reason: p.leftReason()}
	by := p.item().Actor
	if by != nil && (g.Reason == meeting.LeftKicked || g.Reason == meeting.LeftBanned) {
		g.ByUsher = by.Nick == usher
		if !g.ByUsher {
			g.Actor = by.Nick
		}
	}
	return g
}

// doubtFeature is a claim to be one of the site's services that is not believed.
const doubtFeature = "feature"

// occupant returns what the presence says about its sender, and which of its
// claims were not believed.
func (s *Site) occupant(nick string, p *presence) (meeting.Occupant, []string) {
	kind, doubts := s.kind(nick, p)
	item := p.item()
	o := meeting.Occupant{
		Nick: nick, JID: item.JID, Kind: kind,
		Role: meeting.Role(item.Role),
		Name: clip(p.Nick),
	}
	if id := p.Identity; id != nil {
		if _, domain, _ := splitAddress(bareJID(item.JID)); slices.Contains(s.IdentityDomains, domain) {
			o.UserID, o.Email, o.Host = clip(id.ID), clip(id.Email), id.host()
			if len(id.ExternalID) <= maxAppended && len(id.Metadata) <= maxAppended {
				o.ExternalID, o.Metadata = id.ExternalID, id.Metadata
			}
			if o.Name == "" {
				o.Name = clip(id.Name)
			}
		} else {
			doubts = append(doubts, "identity")
		}
	}
	if kind == meeting.KindRecorder || kind == meeting.KindStreamer {
		o.Recording = clip(p.SessionID)
	}
	if p.Recording != nil && kind != meeting.KindFocus {
		doubts = append(doubts, "recording")
	}
	o.HandRaised, _ = strconv.ParseInt(p.Hand, 10, 64)
	o.Encrypted = p.E2EE == "true"
	o.Audio, o.Video, o.Screen = media(nick, p)
	return o, doubts
}

// kind returns what an occupant is, by its real address and the features that
// addresses of its domain may claim, and which claims are not believed.
func (s *Site) kind(nick string, p *presence) (meeting.Kind, []string) {
	bare := bareJID(p.item().JID)
	user, domain, _ := splitAddress(bare)
	switch {
	case bare == s.FocusJID:
		return meeting.KindFocus, nil
	case bare == s.OccupantJID, domain == s.ComponentDomain:
		return meeting.KindBot, nil
	case slices.Contains(s.TrustedDomains, domain):
		return p.service(user), nil
	case p.dialIn() && slices.Contains(s.DialInDomains, domain):
		return meeting.KindSIP, nil
	}
	var doubts []string
	if nick == "focus" {
		doubts = append(doubts, "focus")
	}
	if p.claims(featureJibri) || p.claims(featureJigasi) || p.claims(featureTranscriber) {
		doubts = append(doubts, doubtFeature)
	}
	return meeting.KindHuman, doubts
}

// service returns which of the site's own services says this of itself. Lists of
// occupants show only its user, which is then that of docker-jitsi-meet and Debian.
// A Jigasi that transcribes is a Jigasi too.
func (p *presence) service(user string) meeting.Kind {
	switch {
	case p.claims(featureTranscriber), user == "transcriber":
		return meeting.KindTranscriber
	case p.Mode == modeStream:
		return meeting.KindStreamer
	case p.claims(featureJibri), user == "recorder":
		return meeting.KindRecorder
	case p.dialIn(), user == "jigasi":
		return meeting.KindSIP
	}
	return meeting.KindBot
}

// dialIn reports whether the presence claims to be a Jigasi's.
func (p *presence) dialIn() bool { return p.claims(featureJigasi) || p.Initiator != nil }

// claims reports whether the presence lists the feature.
func (p *presence) claims(name string) bool { return slices.Contains(p.Features, feature{name}) }

// media reads microphone, camera and screen share. Sources are named after the
// occupant who sends them; a client that has just joined has named none yet.
func media(nick string, p *presence) (audio, video, screen meeting.Media) {
	if p.SourceInfo == "" {
		return muted(p.Sound), muted(p.Sight), meeting.MediaUnknown
	}
	var sources map[string]struct {
		Muted     *bool  `json:"muted"`
		VideoType string `json:"videoType"`
	}
	if json.Unmarshal([]byte(p.SourceInfo), &sources) != nil {
		return
	}
	for name, source := range sources {
		which, ok := strings.CutPrefix(name, nick+"-")
		if !ok {
			continue
		}
		state := &video
		switch {
		case strings.HasPrefix(which, "a"):
			state = &audio
		case source.VideoType == "desktop":
			state = &screen
		}
		// Jicofo takes a source that does not say for muted.
		if source.Muted != nil && !*source.Muted {
			*state = meeting.MediaOn
		} else if *state == meeting.MediaUnknown {
			*state = meeting.MediaOff
		}
	}
	return audio, video, screen
}

// muted reads the element that clients used before SourceInfo.
func muted(text string) meeting.Media {
	switch text {
	case "true":
		return meeting.MediaOff
	case "false":
		return meeting.MediaOn
	}
	return meeting.MediaUnknown
}

// clip cuts text to maxText bytes without breaking a character.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// splitAddress splits user@domain/resource or room@domain/nick. It accepts
// whatever a server lets through: the resource is everything after the first
// slash, and a domain may have an address of its own, without a user.
func splitAddress(addr string) (user, domain, resource string) {
	bare, resource, _ := strings.Cut(addr, "/")
	user, domain, ok := strings.Cut(bare, "@")
	if !ok {
		return "", bare, resource
	}
	return user, domain, resource
}

// bareJID cuts the resource off a full address. It returns lower case, because
// servers compare addresses without regard to case (RFC 7622 §3.2, §3.3).
func bareJID(full string) string {
	bare, _, _ := strings.Cut(full, "/")
	return strings.ToLower(bare)
}

// join is the presence that usher enters a room with. It has exactly these
// children, each because something breaks without it: the lobby refuses an
// owner without <nick>; web clients stop seeing anybody leave after a hidden
// occupant without <features> has left; without the jibri feature Jicofo takes
// usher for the room's owner and makes no human moderator; without <bot> a lone
// person's browser calls us; without caps Jicofo asks at every join.
func (s *Site) join(password string) []any {
	return []any{
		struct {
			XMLName  xml.Name `xml:"http://jabber.org/protocol/muc x"`
			Password string   `xml:"password,omitempty"`
		}{Password: password},
		struct {
			XMLName xml.Name `xml:"http://jabber.org/protocol/nick nick"`
			Name    string   `xml:",chardata"`
		}{Name: s.DisplayName},
		struct {
			XMLName xml.Name `xml:"features"`
			Feature feature  `xml:"feature"`
		}{Feature: feature{featureJibri}},
		struct {
			XMLName xml.Name `xml:"bot"`
			Type    string   `xml:"type,attr"`
		}{Type: "poltergeist"},
		s.Caps,
	}
}
