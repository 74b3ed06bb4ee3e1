package receiver_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	independent "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"usher/meeting"
)

func readDocument(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocumentShowsThePrograms compares the code in the document with the files
// that the tests run.
func TestDocumentShowsThePrograms(t *testing.T) {
	doc := readDocument(t)
	for language, file := range map[string]string{"go": "go/main.go", "python": "python/receiver.py", "js": "node/receiver.mjs"} {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(doc, "\n```"+language+"\n"+string(code)+"```\n") {
			t.Errorf("docs/webhooks.md does not show %s as it is", file)
		}
	}
}

var jsonBlock = regexp.MustCompile("(?s)\n### ([a-z._]+)\n[^#]*?```json\n(.*?)```\n")

// TestDocumentShowsTheEvents compares the examples in the document with what
// the types of package meeting make of them: the same fields in the same order,
// and an example of each type.
func TestDocumentShowsTheEvents(t *testing.T) {
	var shown []meeting.EventType
	for _, m := range jsonBlock.FindAllStringSubmatch(readDocument(t), -1) {
		var n meeting.Event
		d := json.NewDecoder(strings.NewReader(m[2]))
		d.DisallowUnknownFields()
		if err := d.Decode(&n); err != nil {
			t.Errorf("%s: %v", m[1], err)
			continue
		}
		again, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(m[2])); err != nil {
			t.Fatal(err)
		}
		if string(n.Type) != m[1] || n.Room == "" || compact.String() != string(again) {
			t.Errorf("the example of %s is\n%s, usher sends\n%s", m[1], compact.String(), again)
		}
		shown = append(shown, n.Type)
	}
	want := []meeting.EventType{
		meeting.MeetingCreated, meeting.MeetingUpdated, meeting.MeetingEnding, meeting.MeetingEnded,
		meeting.SessionStarted, meeting.SessionEnded,
		meeting.ParticipantJoined, meeting.ParticipantLeft, meeting.ParticipantUpdated,
		meeting.RecordingIsRequested, meeting.RecordingIsQueued, meeting.RecordingIsStarting, meeting.RecordingStarted,
		meeting.RecordingIsStopping, meeting.RecordingStopped, meeting.RecordingIsAvailable, meeting.RecordingHasFailed,
		meeting.RecordingWasAborted, meeting.RecordingWasDeleted,
		meeting.StreamStarted, meeting.StreamEnded, meeting.ParticipantLobbyJoined, meeting.ParticipantLobbyLeft,
		meeting.StoreWasReset,
	}
	slices.Sort(shown)
	slices.Sort(want)
	if !slices.Equal(shown, want) {
		t.Errorf("examples of %v, want of %v", shown, want)
	}
}

// TestDocumentSigns computes the example of a signature.
func TestDocumentSigns(t *testing.T) {
	m := regexp.MustCompile("the secret `(.*?)`, the id `(.*?)`, the timestamp `1795341603` and the body `(.*?)` give\n\n```\n(.*)\n```").
		FindStringSubmatch(readDocument(t))
	if m == nil {
		t.Fatal("docs/webhooks.md has no example of a signature")
	}
	w, err := independent.NewWebhook(m[1])
	if err != nil {
		t.Fatal(err)
	}
	want, err := w.Sign(m[2], time.Unix(1795341603, 0), []byte(m[3]))
	if err != nil || m[4] != want {
		t.Errorf("signature = %s, want %s (%v)", m[4], want, err)
	}
}
