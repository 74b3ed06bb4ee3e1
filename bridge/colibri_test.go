package bridge

import (
	"encoding/xml"
	"errors"
	"fmt"
	"testing"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

// TestBytesToABridge fixes what a bridge is sent, to the byte: another
// namespace throws it off the server.
func TestBytesToABridge(t *testing.T) {
	const id = "61b39dea-7d4f-4d9b-9f3a-0d5b6e0c2f11"
	for want, request := range map[string]conferenceModify{
		`<conference-modify xmlns="jitsi:colibri2" meeting-id="` + id + `"><connects>` +
			`<connect id="usher" create="true" url="ws://usher:8989/record/a/b/c" protocol="mediajson" type="recorder" audio="true">` +
			`<ping interval="10000" timeout="3000"></ping></connect></connects></conference-modify>`: startRequest(id, connects[meeting.ModeTracks], "ws://usher:8989/record/a/b/c"),
		`<conference-modify xmlns="jitsi:colibri2" meeting-id="` + id + `"><connects>` +
			`<connect id="usher" expire="true" url="ws://x/x" protocol="mediajson" type="recorder"></connect></connects></conference-modify>`: stopRequest(id, connects[meeting.ModeTracks]),
	} {
		got, err := xml.Marshal(request)
		if err != nil || string(got) != want {
			t.Errorf("got %s and %v\nwant %s", got, err, want)
		}
	}
}

func TestAnswered(t *testing.T) {
	lost := errors.New("the stream is down")
	bad := stanza.Error{Condition: stanza.BadRequest}
	for _, c := range []struct{ got, want error }{
		{nil, nil},
		{lost, lost},
		{stanza.Error{Condition: stanza.ItemNotFound}, errNotHere},
		{stanza.Error{Condition: stanza.BadRequest, Text: map[string]string{"": "Connect with create=true for an already-existing id=usher"}}, errRunning},
		{stanza.Error{Condition: stanza.FeatureNotImplemented}, errOld},
		{stanza.Error{Condition: stanza.Forbidden}, errOutside},
		{bad, bad},
	} {
		wrapped := c.got
		if c.got != nil {
			wrapped = fmt.Errorf("component: %w", c.got)
		}
		if err := answered(wrapped); c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%v: got %v, want %v", c.got, err, c.want)
		}
	}
}
