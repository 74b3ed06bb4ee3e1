package whereby

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"usher/api"
	"usher/meeting"
	"usher/token"
	"usher/webhook"
)

const (
	// HookPath is where Whereby's webhooks arrive, below the API's prefix.
	HookPath = "/webhooks"
	// hookAge is how old a signature may be. A repetition within that time is known
	// by the event's id, which is kept longer (store.ForwardedRetention), so all
	// that this has to keep away is an event of days ago.
	hookAge = 24 * time.Hour
	// maxHook, in bytes, is far more than Whereby's events have, and lets those of
	// 500 that wait for an endpoint fit into memory.
	maxHook = 64 << 10
	// hookEarly is how far Whereby's clock may be ahead.
	hookEarly = 5 * time.Minute
)

// What becomes of a webhook.
const (
	hookStored    = "stored"
	hookUnwanted  = "unwanted" // it came before, or no endpoint wants it
	hookForged    = "forged"
	hookMalformed = "malformed"
	hookRefused   = "refused" // it cannot be stored now
)

// hookEvent is what matters of an event of Whereby's.
type hookEvent struct {
	ID   string
	Type string
	Data struct {
		MeetingID any // text; a number would do
		RoomName  string
	}
}

// ourTypes are the types of usher's by which endpoints choose Whereby's.
var ourTypes = map[string]meeting.EventType{
	"room.client.knocked":        meeting.ParticipantLobbyJoined,
	"room.client.knockCancelled": meeting.ParticipantLobbyLeft,
	"room.client.joined":         meeting.ParticipantJoined,
	"room.client.left":           meeting.ParticipantLeft,
	"room.session.started":       meeting.SessionStarted,
	"room.session.ended":         meeting.SessionEnded,
	"recording.finished":         meeting.RecordingIsAvailable,
}

// takeHook stores an event of Whereby's for the endpoints of its dialect. Whereby
// tries again after a 5xx, and so does not lose what cannot be stored now.
func (f *facade) takeHook(w http.ResponseWriter, r *http.Request) error {
	result, err := f.hooked(w, r)
	f.Upstream.metrics.hooks.WithLabelValues(result).Inc()
	if result == hookForged && f.Upstream.Refused != nil {
		f.Upstream.Refused()
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (f *facade) hooked(w http.ResponseWriter, r *http.Request) (result string, err error) {
	signature := r.Header.Get("Whereby-Signature")
	if signature == "" {
		return hookForged, api.NewProblem(http.StatusUnauthorized, "the header Whereby-Signature is missing")
	}
	body, err := api.ReadBody(http.MaxBytesReader(w, r.Body, maxHook))
	if err != nil {
		return hookMalformed, err
	}
	if !verified(f.Upstream.WebhookSecret, signature, body, time.Now()) {
		return hookForged, api.NewProblem(http.StatusUnauthorized, "the signature is wrong, or too old")
	}
	var event hookEvent
	if json.Unmarshal(body, &event) != nil || event.ID == "" || event.Type == "" {
		return hookMalformed, refuse("the body is no event of Whereby's")
	}
	if !f.Running() {
		return hookRefused, api.NewProblem(http.StatusServiceUnavailable, "another process leads, try again")
	}
	id, err := f.meetingOf(r, event)
	if err != nil {
		return hookRefused, err
	}
	stored, err := f.Upstream.Forward(r.Context(), webhook.Forwarded{
		ID: eventID(event.ID), Type: event.Type, As: ourTypes[event.Type], MeetingID: id, Body: body,
	})
	switch {
	case err != nil:
		return hookRefused, err
	case stored:
		return hookStored, nil
	}
	return hookUnwanted, nil
}

// maxHookName, in bytes, bounds what names a list of events.
const maxHookName = 200

// meetingOf returns the meeting with whose events the event comes in order.
// Whereby leaves it out of those about recordings and transcriptions.
func (f *facade) meetingOf(r *http.Request, event hookEvent) (id string, err error) {
	switch v := event.Data.MeetingID.(type) {
	case string:
		id = v
	case float64:
		id = strconv.FormatFloat(v, 'f', -1, 64)
	}
	room := bareRoom(event.Data.RoomName)
	if id == "" && room != "" {
		id, err = f.Upstream.Meetings.UpstreamMeeting(r.Context(), room)
	}
	id = cmp.Or(id, room, "whereby")
	return id[:min(len(id), maxHookName)], err
}

// eventForm is that of ids that can be stored as they are.
var eventForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func eventID(theirs string) string {
	if eventForm.MatchString(theirs) {
		return theirs
	}
	sum := sha256.Sum256([]byte(theirs))
	return hex.EncodeToString(sum[:])
}

// verified reports whether Whereby has signed the body not long ago
// (https://docs.whereby.com, "Validating events").
func verified(secret, header string, body []byte, now time.Time) bool {
	values := map[string]string{}
	for part := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		values[name] = value
	}
	seconds, errTime := strconv.ParseInt(values["t"], 10, 64)
	given, errGiven := hex.DecodeString(values["v1"])
	age := now.Sub(time.Unix(seconds, 0))
	return errTime == nil && age <= hookAge && age >= -hookEarly &&
		errGiven == nil && hmac.Equal(given, token.MAC([]byte(secret), values["t"]+".", body))
}
