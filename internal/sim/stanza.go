package sim

import (
	"encoding/xml"
	"slices"
	"strings"
)

const (
	nsStanzas     = "urn:ietf:params:xml:ns:xmpp-stanzas"       // RFC 6120 §8.3
	nsNick        = "http://jabber.org/protocol/nick"           // XEP-0172
	nsCaps        = "http://jabber.org/protocol/caps"           // XEP-0115
	nsDiscoInfo   = "http://jabber.org/protocol/disco#info"     // XEP-0030
	nsMUC         = "http://jabber.org/protocol/muc"            // XEP-0045 §7.2
	nsMUCAdmin    = "http://jabber.org/protocol/muc#admin"      // XEP-0045 §9
	nsRoomConfig  = "http://jabber.org/protocol/muc#roomconfig" // XEP-0045 §15.5
	nsJingle      = "urn:xmpp:jingle:1"                         // XEP-0166
	nsFocus       = "http://jitsi.org/protocol/focus"           // Jitsi's conference request
	nsJibri       = "http://jitsi.org/protocol/jibri"           // Jitsi's recordings
	featureJibri  = "http://jitsi.org/protocol/jibri"           // of a recorder, in <features>
	featureJigasi = "http://jitsi.org/protocol/jigasi"          // of a SIP gateway, in <features>
)

// element is one payload of a presence: a name, attributes, and text or children.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []element
}

func newElement(space, local, text string, attrs ...string) element {
	e := element{XMLName: xml.Name{Space: space, Local: local}, Text: text}
	for pair := range slices.Chunk(attrs, 2) { // name and value
		e.Attrs = append(e.Attrs, xml.Attr{Name: xml.Name{Local: pair[0]}, Value: pair[1]})
	}
	return e
}

// features are what services of the site put into their presence.
func features(names ...string) element {
	e := newElement("", "features", "")
	for _, name := range names {
		e.Children = append(e.Children, newElement("", "feature", "", "var", name))
	}
	return e
}

// mucJoin asks to enter a room (XEP-0045 §7.2.1).
var mucJoin = newElement(nsMUC, "x", "")

// occupantPresence is a room's presence of one of its occupants (XEP-0045
// §7.2.3), with what Jitsi's programs put into it.
type occupantPresence struct {
	From     string `xml:"from,attr"`
	Type     string `xml:"type,attr"`
	Name     string `xml:"http://jabber.org/protocol/nick nick"`
	Status   string `xml:"status"`
	Sources  string `xml:"SourceInfo"`
	Hand     string `xml:"jitsi_participant_raisedHand"`
	UserID   string `xml:"identity>user>id"`
	Features []struct {
		Var string `xml:"var,attr"`
	} `xml:"features>feature"`
	Recording *recordingStatus `xml:"http://jitsi.org/protocol/jibri jibri-recording-status"`
	Caps      struct {
		Node string `xml:"node,attr"`
		Ver  string `xml:"ver,attr"`
	} `xml:"http://jabber.org/protocol/caps c"`
	MUC struct {
		Item struct {
			Affiliation string `xml:"affiliation,attr"`
			Role        string `xml:"role,attr"`
			JID         string `xml:"jid,attr"`
			Actor       struct {
				Nick string `xml:"nick,attr"`
				JID  string `xml:"jid,attr"`
			} `xml:"actor"`
			Reason string `xml:"reason"`
		} `xml:"item"`
		Status []struct {
			Code string `xml:"code,attr"`
		} `xml:"status"`
		Destroy *struct {
			Reason string `xml:"reason"`
		} `xml:"destroy"`
	} `xml:"http://jabber.org/protocol/muc#user x"`
	Error struct {
		Text       string    `xml:"urn:ietf:params:xml:ns:xmpp-stanzas text"`
		Conditions []element `xml:",any"`
	} `xml:"error"`
}

// occupant returns the room's address and the nick that the presence is from.
func (p *occupantPresence) occupant() (room, nick string) {
	room, nick, _ = strings.Cut(p.From, "/")
	return room, nick
}

// status reports whether the room gave that code (XEP-0045 §15.6.2).
func (p *occupantPresence) status(code string) bool {
	for _, s := range p.MUC.Status {
		if s.Code == code {
			return true
		}
	}
	return false
}

func (p *occupantPresence) hasFeature(name string) bool {
	for _, f := range p.Features {
		if f.Var == name {
			return true
		}
	}
	return false
}

// refusal is what a presence of type error says (RFC 6120 §8.3.2).
func (p *occupantPresence) refusal(step string) *RefusedError {
	refused := &RefusedError{Step: step, Condition: "undefined-condition", Text: p.Error.Text}
	i := slices.IndexFunc(p.Error.Conditions, func(e element) bool { return e.XMLName.Space == nsStanzas })
	if i >= 0 {
		refused.Condition = p.Error.Conditions[i].XMLName.Local
	}
	return refused
}

// conferenceRequest is what a client asks the focus before it enters a room,
// and the focus's answer.
type conferenceRequest struct {
	XMLName    xml.Name   `xml:"http://jitsi.org/protocol/focus conference"`
	MachineUID string     `xml:"machine-uid,attr,omitempty"`
	Room       string     `xml:"room,attr"`
	Token      string     `xml:"token,attr,omitempty"`
	Ready      string     `xml:"ready,attr,omitempty"`
	FocusJID   string     `xml:"focusjid,attr,omitempty"`
	Properties []property `xml:"property"`
}

type property struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

// adminQuery changes a role or an affiliation (XEP-0045 §8.2, §9.5, §10.3).
type adminQuery struct {
	XMLName xml.Name  `xml:"http://jabber.org/protocol/muc#admin query"`
	Item    adminItem `xml:"item"`
}

type adminItem struct {
	Affiliation string `xml:"affiliation,attr,omitempty"`
	Role        string `xml:"role,attr,omitempty"`
	JID         string `xml:"jid,attr,omitempty"`
	Nick        string `xml:"nick,attr,omitempty"`
	Reason      string `xml:"reason,omitempty"`
}
