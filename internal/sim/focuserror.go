package sim

import (
	"encoding/xml"

	"mellium.im/xmpp/stanza"

	"usher/component"
)

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
