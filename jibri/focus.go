package jibri

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

const (
	// startTimeout bounds the wait for the focus to find a recorder. It gives
	// each of up to six 15 s (jicofo.jibri.reply-timeout, num-retries).
	startTimeout = 90 * time.Second
	// stopTimeout is the same for the end of a recording, which it answers at once.
	stopTimeout = 10 * time.Second
)

// maxSession is how many bytes a name of Jibri's may have; they are UUIDs of 36. muc
// believes none that is longer.
const maxSession = 256

var errNoAnswer = errors.New("jibri: no answer from the focus")

// Stream sends from one address of an XMPP stream.
type Stream interface {
	// Send queues a presence or message.
	Send(ctx context.Context, kind, to, typ string, payload ...any) error
	// IQ blocks for the answer; an error answer wraps a mellium stanza.Error and
	// has a method HandsBack that reports whether it hands the request back.
	IQ(ctx context.Context, to, typ string, payload, reply any) error
}

// commandName is the name of a command on the wire.
var commandName = xml.Name{Space: "http://jitsi.org/protocol/jibri", Local: "jibri"}

// command is a request to the focus (jitsi-xmpp-extensions, JibriIq).
type command struct {
	XMLName xml.Name `xml:"http://jitsi.org/protocol/jibri jibri"`
	Action  string   `xml:"action,attr"` // start or stop
	Mode    string   `xml:"recording_mode,attr"`
	AppData string   `xml:"app_data,attr,omitempty"` // JSON; see appData
}

// appData is what travels through the focus to Jibri, which writes everything
// below file_recording_metadata into the file's metadata.json.
type appData struct {
	Metadata struct {
		Share bool `json:"share"`
		Usher struct {
			MeetingID   string `json:"meeting_id"`
			RecordingID string `json:"recording_id"`
		} `json:"usher"`
	} `json:"file_recording_metadata"`
}

// askStart asks for a recorder and blocks for at most startTimeout. It returns
// what the meeting is to know: [meeting.RecordingAccepted] with Jibri's session,
// or [meeting.RecordingRefused]. An error means that ctx ended, which leaves open
// what the focus does.
func (s *Scheduler) askStart(ctx context.Context, r meeting.Recording) (meeting.RecordingInput, error) {
	answer := meeting.RecordingInput{Kind: meeting.RecordingRefused, Recording: r}
	var data appData
	data.Metadata.Usher.MeetingID, data.Metadata.Usher.RecordingID = r.MeetingID, r.ID
	text, err := json.Marshal(data)
	if err != nil {
		return answer, err
	}
	var reply struct {
		Session string `xml:"session_id,attr"`
	}
	err = s.ask(ctx, startTimeout, r, command{Action: "start", Mode: string(r.Mode), AppData: string(text)}, &reply)
	switch {
	case ctx.Err() != nil:
		return answer, context.Cause(ctx)
	case err != nil:
		answer.Refusal, answer.Detail = refused(err)
	case reply.Session == "", len(reply.Session) > maxSession:
		answer.Refusal, answer.Detail = meeting.RefusedSilent, "the focus named no session"
	default:
		answer.Kind, answer.JibriSession = meeting.RecordingAccepted, reply.Session
	}
	return answer, nil
}

// askStop asks for the end of the room's recording and blocks for at most
// stopTimeout. unknown means that the focus knows of none: it hands the request
// back with item-not-found, which Prosody, answering for a focus that is not in
// the room, does not. Its words do not count. Otherwise the focus's
// presence is what reports the end; an error is a reason to ask again.
func (s *Scheduler) askStop(ctx context.Context, r meeting.Recording) (unknown bool, err error) {
	err = s.ask(ctx, stopTimeout, r, command{Action: "stop", Mode: string(r.Mode)}, nil)
	var e stanza.Error
	var answer interface{ HandsBack(payload xml.Name) bool }
	if errors.As(err, &e) && e.Condition == stanza.ItemNotFound && errors.As(err, &answer) && answer.HandsBack(commandName) {
		return true, nil
	}
	return false, err
}

// ask sends a command to Jicofo, which is the occupant named focus of each room
// and obeys moderators only. It reads the sender's role when the room's queue
// gets to the command, so usher stays an owner until the answer or the timeout.
func (s *Scheduler) ask(ctx context.Context, timeout time.Duration, r meeting.Recording, c command, reply any) error {
	return s.cfg.Own(ctx, r.Room, func() error {
		ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer)
		defer cancel()
		return s.cfg.Occupant.IQ(ctx, r.Room+"@"+s.cfg.MUC+"/focus", "set", c, reply)
	})
}

// refusals are the conditions of error answers to a start (Jicofo's BaseJibri and
// JibriRecorder; Prosody's MUC when the focus or usher is not in the room). Any
// other is [meeting.RefusedBroken].
var refusals = map[stanza.Condition]meeting.Refusal{
	stanza.ResourceConstraint: meeting.RefusedBusy,
	stanza.ServiceUnavailable: meeting.RefusedNone,
	// No conference yet, or none any more; or the site has no brewery.
	stanza.ItemNotFound:          meeting.RefusedNotReady,
	stanza.NotAcceptable:         meeting.RefusedNotReady,
	stanza.UnexpectedRequest:     meeting.RefusedExists,
	stanza.Forbidden:             meeting.RefusedNotAllowed,
	stanza.NotAllowed:            meeting.RefusedNotAllowed,
	stanza.BadRequest:            meeting.RefusedInvalid,
	stanza.FeatureNotImplemented: meeting.RefusedInvalid,
	stanza.JIDMalformed:          meeting.RefusedInvalid,
}

// refused says what an error of a start means.
func refused(err error) (meeting.Refusal, string) {
	var e stanza.Error
	switch {
	case errors.As(err, &e):
		detail := fmt.Sprintf("the focus answered %s", e.Condition)
		for _, text := range e.Text { // one language will do
			detail += ": " + text
			break
		}
		return cmp.Or(refusals[e.Condition], meeting.RefusedBroken), detail
	case errors.Is(err, errNoAnswer):
		return meeting.RefusedSilent, err.Error()
	}
	return meeting.RefusedNotReady, err.Error() // the stream has ended; the focus may have heard
}
