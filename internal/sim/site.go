package sim

import (
	"errors"
	"log/slog"
	"strings"

	"mellium.im/xmpp/stanza"
)

// Site says where a Jitsi site is. Its hosts have docker-jitsi-meet's names:
// muc., focus., auth. and hidden. in front of Domain.
type Site struct {
	Domain        string // such as meet.jitsi
	ClientAddr    string // host:port of Prosody's client listener
	ComponentAddr string // host:port of Prosody's component listener
	CAFile        string // PEM file with the authority of the client listener's certificates
	Log           *slog.Logger
}

// Room returns the address of the room with that name.
func (s Site) Room(name string) string { return name + "@muc." + s.Domain }

// lobby returns the address of the lobby of the room with that address.
func (s Site) lobby(room string) string {
	name, _, _ := strings.Cut(room, "@")
	return name + "@lobby." + s.Domain
}

func (s Site) focusDomain() string  { return "focus." + s.Domain }
func (s Site) authDomain() string   { return "auth." + s.Domain }
func (s Site) hiddenDomain() string { return "hidden." + s.Domain }

func (s Site) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// RefusedError is a server's or the focus's no.
type RefusedError struct {
	Step      string // what was refused: login, conference request, join, kick
	Condition string // RFC 6120 §8.3.3
	Text      string // meant for people; may be empty
}

func (e *RefusedError) Error() string {
	text := e.Step + " refused: " + e.Condition
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// refusal turns an error answer to an IQ into a [RefusedError].
func refusal(step string, err error) error {
	answer, ok := errors.AsType[stanza.Error](err)
	if !ok {
		return err
	}
	refused := &RefusedError{Step: step, Condition: string(answer.Condition)}
	for _, text := range answer.Text {
		refused.Text = text
	}
	return refused
}

// bare cuts the resource off a JID.
func bare(jid string) string {
	jid, _, _ = strings.Cut(jid, "/")
	return jid
}
