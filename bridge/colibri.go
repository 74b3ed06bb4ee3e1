package bridge

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"mellium.im/xmpp/stanza"
)

const (
	// connectPing and connectPong are the time between two pings of the bridge and
	// that until it gives up waiting for the answer, in ms, as Jicofo has them.
	// Without pings it closes a quiet socket after 60 s.
	connectPing = 10_000
	connectPong = 3_000
)

// conferenceModify is a request of type get to a bridge, as Jicofo sends it
// (jitsi-xmpp-extensions, colibri2). A bridge whose XMPP library meets something
// else answers with broken XML, whereupon Prosody ends its stream and everybody is
// invited anew: send it nothing but what startRequest and stopRequest return.
type conferenceModify struct {
	XMLName  xml.Name  `xml:"jitsi:colibri2 conference-modify"`
	Meeting  string    `xml:"meeting-id,attr"`
	Connects []connect `xml:"connects>connect"`
}

type connect struct {
	ID       string       `xml:"id,attr"`
	Create   bool         `xml:"create,attr,omitempty"`
	Expire   bool         `xml:"expire,attr,omitempty"`
	URL      string       `xml:"url,attr"`
	Protocol string       `xml:"protocol,attr"`
	Type     string       `xml:"type,attr"`
	Audio    bool         `xml:"audio,attr,omitempty"`
	Ping     *connectWait `xml:"ping"`
}

type connectWait struct {
	Interval int `xml:"interval,attr"`
	Timeout  int `xml:"timeout,attr"`
}

// startRequest asks a bridge to send a meeting's audio to url. meeting is
// Jitsi's id, connect what to call this among the connects of the conference;
// Jicofo's own is called transcriber.
func startRequest(meeting, connectID, url string) conferenceModify {
	return conferenceModify{Meeting: meeting, Connects: []connect{{
		ID: connectID, Create: true, URL: url, Protocol: "mediajson", Type: "recorder", Audio: true,
		Ping: &connectWait{connectPing, connectPong},
	}}}
}

// stopRequest asks it to stop.
func stopRequest(meeting, connectID string) conferenceModify {
	return conferenceModify{Meeting: meeting, Connects: []connect{{
		// Required, and without a meaning.
		ID: connectID, Expire: true, URL: "ws://x/x", Protocol: "mediajson", Type: "recorder",
	}}}
}

// errUnseen says that there is no bridge to ask.
var errUnseen = errors.New("no video bridge is in sight")

// What a bridge may answer.
var (
	// errNotHere says that the conference is not on this bridge, perhaps not yet.
	errNotHere = errors.New("bridge: the conference is not on this bridge")
	// errRunning says that the connect exists, with the URL of an earlier part: it
	// cannot be changed, only stopped and started anew.
	errRunning = errors.New("bridge: the bridge sends the meeting's audio already")
	// errOld says that the bridge is from before July 2026 and has a connect of
	// somebody else, or that it cannot do what is asked.
	errOld = errors.New("bridge: this version of the bridge cannot send a meeting's audio to one more service")
	// errOutside says that usher is not in the brewery: a bridge hears only its
	// occupants.
	errOutside = errors.New("bridge: the bridge does not know usher as an occupant of its brewery")
)

// answered says what a bridge's answer to a request means; nil: it does what was
// asked.
func answered(err error) error {
	var e stanza.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Condition {
	case stanza.ItemNotFound:
		return errNotHere
	case stanza.BadRequest:
		for _, text := range e.Text {
			if strings.Contains(text, "already-existing") {
				return errRunning
			}
		}
	case stanza.FeatureNotImplemented:
		return errOld
	case stanza.Forbidden:
		return errOutside
	}
	return fmt.Errorf("bridge: the bridge refuses: %w", err)
}
