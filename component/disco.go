package component

import (
	"crypto/sha1"
	"encoding/xml"
	"runtime/debug"

	"mellium.im/xmpp/crypto"
	"mellium.im/xmpp/disco"
	"mellium.im/xmpp/disco/info"
	"mellium.im/xmpp/ping"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/version"
)

// capsNode identifies the program in entity capabilities (XEP-0115 §4). It has
// to be a URI, not a page: .invalid belongs to nobody (RFC 2606).
const capsNode = "https://usher.invalid/caps"

// pingQuery is the payload of XEP-0199.
type pingQuery struct {
	XMLName xml.Name `xml:"urn:xmpp:ping ping"`
}

// discoInfo is what we answer to disco#info at every address (XEP-0030 §3.1).
func discoInfo() disco.Info {
	return disco.Info{
		Identity: []info.Identity{{Category: "client", Type: "bot", Name: "usher"}},
		Features: []info.Feature{
			{Var: disco.NSCaps},
			{Var: disco.NSInfo},
			{Var: version.NS},
			{Var: ping.NS},
		},
	}
}

// Caps returns the <c/> element (XEP-0115) that matches our answer to
// disco#info, to be put into presence.
func Caps() disco.Caps {
	return disco.Caps{Hash: crypto.SHA1, Node: capsNode, Ver: capsVer}
}

var capsVer = discoInfo().Hash(sha1.New())

// queries are those about the program rather than about meetings, by payload.
var queries = map[xml.Name]func(Request){
	{Space: disco.NSInfo, Local: "query"}: answerInfo,
	{Space: ping.NS, Local: "ping"}:       func(r Request) { r.Answer("result") },
	{Space: version.NS, Local: "query"}: func(r Request) {
		r.Answer("result", version.Query{Name: "usher", Version: buildVersion()})
	},
}

func answerInfo(r Request) {
	var q struct {
		Node string `xml:"node,attr"`
	}
	if r.Decode(&q) != nil || q.Node != "" && q.Node != capsNode+"#"+capsVer {
		r.refuse(stanza.Cancel, stanza.ItemNotFound)
		return
	}
	i := discoInfo()
	i.Node = q.Node
	r.Answer("result", i)
}

func buildVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "unknown"
}
