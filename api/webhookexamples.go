package api

import (
	"time"

	"usher/meeting"
)

// webhookExamples are those of the operations on webhooks.
func webhookExamples() map[string]example {
	at := func(clock string) *meeting.Time {
		t, _ := time.Parse(time.RFC3339, "2026-11-22T"+clock+"Z") // the literals below
		return &meeting.Time{Time: t}
	}
	crm := Webhook{
		ID: "whk_01JDB2P4G8S6P3V5X7Z9B1D2F4", Name: "crm", URL: "https://crm.example.org/hooks/usher",
		Events: []string{"session.*", "participant.*"}, Dialect: "standard", HeaderNames: []string{}, Enabled: true, CreatedAt: at("09:30:00"),
	}
	made, one, off := crm, crm, crm
	made.Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	one.Backlog = &WebhookBacklog{}
	off.Enabled, off.Disabled = false, &WebhookDisabled{Reason: "requested", Since: *at("11:00:00")}
	off.Backlog = &WebhookBacklog{Events: 12, Meetings: 3, OldestAt: at("10:58:01"), FailingSince: at("10:58:02")}
	tried := Delivery{
		ID: "dlv_01JDB3958A3R9F5S7U2Z4V6J8P", EventID: "evt_01JDB3957W2Q8E4R6T1Y3U5I7O", EventType: meeting.ParticipantLeft,
		MeetingID: "mtg_01JDB2W8Z3W5V6S0Q5M2T8K4AR", Number: 1, Result: meeting.Delivered, Status: 204,
		At: *at("10:04:11"), DurationMS: 18,
	}
	tested := tried
	tested.ID, tested.EventID, tested.EventType, tested.MeetingID = "dlv_01JDB2QH5N3B6V7C2A4T5R6YEK", "evt_01JDB2QH5M7WX0D9G8F1E2S3A4", "webhook.test", ""
	return map[string]example{
		"create-webhook":        {map[string]any{"url": crm.URL, "events": crm.Events, "name": crm.Name}, made},
		"list-webhooks":         {nil, pageOf(crm)},
		"get-webhook":           {nil, one},
		"patch-webhook":         {map[string]any{"enabled": false}, off},
		"delete-webhook":        {},
		"rotate-webhook-secret": {nil, made},
		"test-webhook":          {nil, tested},
		"list-deliveries":       {nil, pageOf(tried)},
		"retry-delivery":        {},
		"replay-webhook":        {map[string]any{"after": at("10:00:00"), "before": at("10:30:00")}, Replayed{Events: 7}},
	}
}
