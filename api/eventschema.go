package api

import (
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
	"usher/webhook"
)

// occasions are the types of events, each with the moment it fires.
var occasions = map[meeting.EventType]string{
	meeting.MeetingCreated:          "an app created a meeting",
	meeting.MeetingUpdated:          "an app changed it",
	meeting.MeetingEnding:           "five minutes before it ends by the clock",
	meeting.MeetingEnded:            "it is over for good; the meeting's last event",
	meeting.SessionStarted:          "the first human came in",
	meeting.SessionEnded:            "it was empty for the departure timeout, or the meeting ended",
	meeting.ParticipantJoined:       "the first connection of a person",
	meeting.ParticipantLeft:         "the last connection of a person",
	meeting.ParticipantUpdated:      "name, role, media, hand or room of a person changed, or a recorder turned out to stream",
	meeting.ParticipantLobbyJoined:  "somebody waits in the lobby",
	meeting.ParticipantLobbyLeft:    "they wait no more: let in (left_reason admitted), refused or gone",
	meeting.RecordingIsRequested:    "an app or a trigger wants a recording, or a recorder died and another is to go on; one that somebody starts in the client begins with recording.started",
	meeting.RecordingIsQueued:       "no recorder is free, or the meeting is streamed live",
	meeting.RecordingIsStarting:     "the site is asked to record; again at each attempt",
	meeting.RecordingStarted:        "it records",
	meeting.RecordingIsStopping:     "it is to end, and its recorder is still in the room; again if a recorder came back after recording.stopped",
	meeting.RecordingStopped:        "its recorder has left, the file is awaited",
	meeting.RecordingIsAvailable:    "the file can be had; again for each further file",
	meeting.RecordingHasFailed:      "there will be no file",
	meeting.RecordingWasAborted:     "ended on purpose before it began",
	meeting.RecordingWasDeleted:     "an app deleted it",
	meeting.RecordingWasInterrupted: "no bridge sends what is said any more; of the modes tracks and levels",
	meeting.RecordingWasResumed:     "one does again",
	meeting.SpeakerStats:            "a part of a recording of the mode tracks or levels is handed over in which somebody spoke",
	meeting.StreamStarted:           "somebody streams the meeting live",
	meeting.StreamEnded:             "nobody does any more",
	meeting.StoreWasReset:           "Redis was emptied, and usher has written the meeting anew",
}

// eventKinds are the shapes of events, by what their types begin with: what data has
// besides the occupancy, first what is always there.
var eventKinds = map[string][]string{
	"meeting": {"meeting"}, "session": {"session", "participants"}, "participant": {"participant", "changed"},
	"recording": {"recording"}, "speaker": {"recording", "speakers"}, "stream": {"stream"}, "store": {"meeting"},
}

// kindOf returns the name of the schema that events of a type have.
func kindOf(t meeting.EventType) string {
	kind, _, _ := strings.Cut(string(t), ".")
	return strings.ToUpper(kind[:1]) + kind[1:] + "Event"
}

func schemaRef(name string) *huma.Schema { return &huma.Schema{Ref: "#/components/schemas/" + name} }

// describeEvents makes the schema of events one of several, which differ in type and
// data, and adds the webhooks that carry them.
func describeEvents(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas.Map()
	whole, data := schemas["Event"], schemas["Data"].Properties
	delete(schemas, "Data")
	one := &huma.Schema{
		Description:   "There may be more types at any time: ignore those that you do not know",
		Discriminator: &huma.Discriminator{PropertyName: "type", Mapping: map[string]string{}},
	}
	schemas["Event"] = one
	for kind, subjects := range eventKinds {
		part := object([]string{subjects[0], "occupancy"}, data, append(slices.Clone(subjects), "occupancy")...)
		types := &huma.Schema{Type: huma.TypeString}
		for _, t := range meeting.EventTypes {
			if strings.HasPrefix(string(t), kind+".") {
				types.Enum = append(types.Enum, string(t))
				one.Discriminator.Mapping[string(t)] = schemaRef(kindOf(t)).Ref
			}
		}
		event := object(whole.Required, whole.Properties)
		event.Properties["type"], event.Properties["data"] = types, part
		event.Properties["gap"] = &huma.Schema{Type: huma.TypeBoolean, Description: "In webhooks only: events of this meeting before this one were given up, or may be lost"}
		name := kindOf(meeting.EventType(kind))
		schemas[name] = event
		one.OneOf = append(one.OneOf, schemaRef(name))
	}
	slices.SortFunc(one.OneOf, func(a, b *huma.Schema) int { return strings.Compare(a.Ref, b.Ref) })
	about := []string{"id", "type", "timestamp", "api_version", "data"}
	test := object(about, whole.Properties, about...)
	test.Properties["type"] = &huma.Schema{Type: huma.TypeString, Enum: []any{string(webhook.TypeTest)}}
	test.Properties["data"] = object(nil, nil)
	doc.Webhooks = map[string]*huma.PathItem{string(webhook.TypeTest): delivery(webhook.TypeTest, "somebody asked for it", test)}
	for t, when := range occasions {
		doc.Webhooks[string(t)] = delivery(t, when, schemaRef(kindOf(t)))
	}
}

// object returns the schema of an object that may have more fields than are named,
// all that are given unless some are chosen.
func object(required []string, properties map[string]*huma.Schema, chosen ...string) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Required: required, Properties: maps.Clone(properties)}
	maps.DeleteFunc(s.Properties, func(name string, _ *huma.Schema) bool { return chosen != nil && !slices.Contains(chosen, name) })
	return s
}

// delivery returns the webhook that carries events of a type.
func delivery(t meeting.EventType, when string, event *huma.Schema) *huma.PathItem {
	header := func(name, doc string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: true, Description: doc, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	return &huma.PathItem{Post: &huma.Operation{
		OperationID: "on-" + strings.NewReplacer(".", "-", "_", "-").Replace(string(t)), Tags: []string{"events"},
		Summary:     string(t) + ": " + when,
		Description: "Sent to webhook endpoints of the dialect standard that want this type, signed by Standard Webhooks 1.0.0: " + when + ".",
		Parameters: []*huma.Param{
			header("Webhook-Id", "The event's id, the same at every try"),
			header("Webhook-Timestamp", "When this try was made, in seconds since 1970"),
			header("Webhook-Signature", "One signature, or two separated by a space while the secret changes"),
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{jsonType: {Schema: event}}},
		Responses: map[string]*huma.Response{
			"204": {Description: "Taken: the next event of the meeting follows"},
			"4XX": {Description: "Refused; what follows from that is in docs/webhooks.md"},
		},
		Security: []map[string][]string{},
	}}
}
