package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Events of a bridge (jicoco-mediajson, MediaJson.kt). Another one, session-end,
// comes right before the end of the socket, which says the same.
const (
	eventInfo  = "info"
	eventStart = "start"
	eventMedia = "media"
	eventPing  = "ping"
)

// message is what a bridge sends: which of its fields are set is up to Event.
//
// Most messages have the key event twice, and where the two differ the last is
// right; it is the one that encoding/json takes. Keys and events that are not
// known here are left alone.
type message struct {
	Event   string  `json:"event"`
	ID      integer `json:"id"`      // of a ping
	Version string  `json:"version"` // of info
	Start   start   `json:"start"`
	Media   media   `json:"media"`
}

// start announces a stream of packets. It comes again for the same tag when
// the bridge has connected anew, and when the sender's SSRC or payload type has
// changed; there is no message for a stream's end.
type start struct {
	// Tag names the stream on its socket. Bridges before July 2026 put the SSRC
	// into it, later ones the name of the source.
	Tag    string `json:"tag"`
	Format struct {
		Encoding string `json:"encoding"` // opus, or red with Opus in it
	} `json:"mediaFormat"`
	Custom struct {
		Endpoint string `json:"endpointId"` // the nick in the MUC
	} `json:"customParameters"`
}

// media is one packet.
type media struct {
	Tag       string  `json:"tag"`
	Timestamp integer `json:"timestamp"` // 48 kHz; its zero is new on each socket
	Payload   []byte  `json:"payload"`
	// Level is 0 (loudest) to 127 −dBov (RFC 6464); nil before July 2026.
	Level *integer `json:"audioLevel"`
}

var errNoEvent = errors.New("message without an event")

// decode reads one message.
func decode(text []byte) (message, error) {
	var m message
	if err := json.Unmarshal(text, &m); err != nil {
		return message{}, err
	}
	if m.Event == "" {
		return message{}, errNoEvent
	}
	return m, nil
}

// integer is a number that a bridge writes as a number or as a string.
type integer int64

// UnmarshalJSON reads either form.
func (i *integer) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	if len(text) >= 2 && text[0] == '"' {
		text = text[1 : len(text)-1]
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return fmt.Errorf("not an integer: %.30q", text)
	}
	*i = integer(n)
	return nil
}

// pong is the answer to the ping with the given id.
func pong(id integer) []byte {
	return fmt.Appendf(nil, `{"event":"pong","id":%d}`, id)
}
