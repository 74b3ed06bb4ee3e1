package sim

import (
	"encoding/xml"
	"strings"

	"mellium.im/xmpp/stanza"

	"usher/component"
)

// focusVersion is what the focus calls itself in its presence.
const focusVersion = "sim"

// versions names the software, in the focus's presence.
type versions struct {
	XMLName   xml.Name         `xml:"http://jitsi.org/jitmeet versions"`
	Component versionComponent `xml:"component"`
}

type versionComponent struct {
	Name string `xml:"name,attr"`
	Text string `xml:",chardata"`
}

// conferenceProperties are what the focus says of the conference in its presence
// (ConferenceProperties).
type conferenceProperties struct {
	XMLName    xml.Name             `xml:"http://jitsi.org/protocol/focus conference-properties"`
	Properties []conferenceProperty `xml:"property"`
}

type conferenceProperty struct {
	Key   string `xml:"key,attr"`
	Value string `xml:"value,attr"`
}

// Keys of conference properties.
const (
	propertyRestart = "support-terminate-restart"
	propertyBridges = "bridge-count"
)

// smackPriority is in every presence that Smack sends.
var smackPriority = newElement("", "priority", "0")

// focusPresence is what the focus tells everybody about a conference, in
// Jicofo's order (JitsiMeetConferenceImpl.joinTheRoom); status is nil until
// something was recorded.
func focusPresence(room string, properties []conferenceProperty, status *recordingStatus) []any {
	name, _, _ := strings.Cut(room, "@")
	return []any{
		smackPriority,
		newElement("http://jitsi.org/jitmeet/etherpad", "etherpad", name),
		versions{Component: versionComponent{focusNick, focusVersion}},
		conferenceProperties{Properties: properties},
		status,
		newElement(nsCaps, "c", "", "hash", "sha-1", "node", "http://jitsi.org/jicofo", "ver", "Lg0vhCNhxjoeKJi2/hukdsizNWA="),
	}
}

// roomConfig submits a room's configuration form (XEP-0045 §10.2).
type roomConfig struct {
	XMLName xml.Name `xml:"http://jabber.org/protocol/muc#owner query"`
	Form    dataForm `xml:"jabber:x:data x"`
}

type dataForm struct {
	Type   string      `xml:"type,attr"`
	Fields []dataField `xml:"field"`
}

type dataField struct {
	Var   string `xml:"var,attr"`
	Value string `xml:"value"`
}

// nonAnonymous lets everybody see real JIDs: web clients know the focus by its.
var nonAnonymous = roomConfig{Form: dataForm{Type: "submit", Fields: []dataField{
	{"FORM_TYPE", nsRoomConfig},
	{"muc#roomconfig_whois", "anyone"},
}}}

// jingle is an offer of media, or its end (XEP-0166 §7.2). The real one
// describes codecs, transports and bridges.
type jingle struct {
	XMLName xml.Name       `xml:"urn:xmpp:jingle:1 jingle"`
	Action  string         `xml:"action,attr"`
	SID     string         `xml:"sid,attr"`
	Content *jingleContent `xml:"content"`
}

type jingleContent struct {
	Creator string `xml:"creator,attr"`
	Name    string `xml:"name,attr"`
}

// discoInfo asks what somebody can do (XEP-0030 §3.1).
type discoInfo struct {
	XMLName xml.Name `xml:"http://jabber.org/protocol/disco#info query"`
}

// smackError is a stanza error as Smack writes it, which Jicofo and Jibri speak
// with: <text> has no namespace of its own, against RFC 6120 §8.3.2.
type smackError struct {
	XMLName   xml.Name `xml:"error"`
	Type      string   `xml:"type,attr"`
	Condition element
	Text      *smackText
}

type smackText struct {
	XMLName xml.Name `xml:"text"`
	Lang    string   `xml:"http://www.w3.org/XML/1998/namespace lang,attr"`
	Text    string   `xml:",chardata"`
}

func newSmackError(c stanza.Condition, text string) smackError {
	e := smackError{Type: string(stanza.Cancel), Condition: newElement(nsStanzas, string(c), "")}
	if text != "" {
		e.Text = &smackText{Lang: "en", Text: text}
	}
	return e
}

// refuse answers a request as Smack does, which hands it back behind the error;
// q is nil where it could not be read.
func refuse(r component.Request, q any, c stanza.Condition, text string) {
	r.Answer("error", newSmackError(c, text), q)
}
