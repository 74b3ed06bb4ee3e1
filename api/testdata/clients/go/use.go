package client

import "context"

// Use makes a meeting and a link, and reads an event.
func Use(ctx context.Context, c *ClientWithResponses, event Event) (name string, err error) {
	trigger := NewPolicyTriggerNone
	made, err := c.CreateMeetingWithResponse(ctx, nil, NewMeeting{Recording: &NewPolicy{Trigger: &trigger}})
	if err != nil || made.JSON201 == nil {
		return "", err
	}
	if _, err = c.CreateLinkWithResponse(ctx, made.JSON201.Id, nil, NewLink{}); err != nil {
		return "", err
	}
	kind, err := event.ValueByDiscriminator()
	if recording, ok := kind.(RecordingEvent); ok && recording.Type == RecordingAvailable {
		name = recording.Data.Recording.Id
	}
	return name, err
}
