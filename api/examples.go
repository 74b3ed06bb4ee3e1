package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

// example is what the document shows of an operation. A nil one has no body.
type example struct{ request, answer any }

// examples are those of all operations, by id. They tell one story: a standup
// of two people, one of whom is put out.
func examples() map[string]example {
	at := func(clock string) time.Time {
		t, _ := time.Parse(time.RFC3339, "2026-11-22T"+clock+"Z") // the literals below
		return t
	}
	ada := meeting.Participant{
		ID: "prt_01JDB30VKJ0W8Y6QFZ9H4T1M5C", SessionID: "ses_01JDB30VKHN5T2Q4XH9G7B3DWE",
		Kind: meeting.KindHuman, Role: meeting.RoleModerator, UserID: "u1", Name: "Ada", Audio: meeting.MediaOn, Video: meeting.MediaOff,
		JoinedAt: at("10:00:03"), ArrivedAt: at("10:00:03"),
		Connections: []meeting.Occupant{{Nick: "a1b2c3d4"}},
	}
	bob := ada
	bob.ID, bob.Role, bob.UserID, bob.Name = "prt_01JDB31D9E7M3K5RSV2C8N6XJB", meeting.RoleParticipant, "", "Bob"
	bob.JoinedAt, bob.ArrivedAt, bob.LeftAt = at("10:00:20"), at("10:00:20"), at("10:04:11")
	bob.LeftReason, bob.Stayed, bob.Connections = meeting.LeftKicked, 231*time.Second, nil
	created := meeting.Meeting{
		ID: "mtg_01JDB2W8Z3W5V6S0Q5M2T8K4AR", Room: "standup-k3v7q5n2w6x4y3z7a5b2c4d6e8", ExternalID: "crm-4711",
		Metadata: map[string]string{"team": "a"}, CreatedAt: at("09:58:00"), Version: 1,
		Limits: meeting.Limits{
			EndAt: at("10:15:00"), MaxDuration: time.Hour, EmptyTimeout: 30 * time.Minute, MaxParticipants: 50,
		},
	}
	live := created
	live.Version, live.FirstSession, live.People = 9, at("10:00:03"), []meeting.Participant{ada}
	live.Session = meeting.Session{
		ID: ada.SessionID, MeetingID: created.ID, StartedAt: at("10:00:03"), Peak: 2, Humans: 2,
	}
	ended := live
	ended.Version, ended.EndedAt, ended.EndReason = 14, at("10:12:40"), meeting.EndRequested
	ended.People, ended.Session = nil, meeting.Session{}
	past := live.Session
	past.EndedAt = ended.EndedAt
	changed := live
	changed.Version, changed.EndAt = 10, at("10:30:00")
	usage := meeting.UsageOf([]meeting.Participant{ada, bob}, ended.EndedAt)
	room := live.Info()
	who := User{ID: "u1", Name: "Ada", Email: "ada@example.org"}
	ticket := link{ID: "lnk_01JDB2X5T0C7R9D3F6H8J1K4M7", User: who.claims(), Host: true, Created: at("09:58:30")}
	newLink := ticket.info(created.ID)
	newLink.URL = "https://usher.example.org/j/01JDB2W8Z3W5V6S0Q5M2T8K4AR-KZ4X2M7QH5N3B6V7C2A4T5R6YE"
	key := storedKey{ID: "key_01JDB2N4G8S6P3V5X7Z9B1D2F4", Name: "crm", Scopes: []Scope{ScopeMeetingsRead, ScopeMeetingsWrite}, Created: at("09:00:00")}
	newKey := key.info()
	newKey.Key = "usk_01JDB2N4G8S6P3V5X7Z9B1D2F4_T5R6YEKZ4X2M7QH5N3B6V7C2A4"
	notice, _ := json.Marshal(meeting.Notice{ // types that always encode
		ID: "evt_01JDB3957W2Q8E4R6T1Y3U5I7O", Type: meeting.ParticipantLeft, Timestamp: meeting.Time{Time: bob.LeftAt},
		APIVersion: meeting.APIVersion, MeetingID: created.ID, Room: created.Room, ExternalID: created.ExternalID, SessionID: ada.SessionID,
		Seq: 5, StateVersion: live.Version,
		Data: meeting.Data{Participant: new(bob.Info()), Occupancy: new(live.Occupancy())},
	})
	people := []meeting.ParticipantInfo{ada.Info(), bob.Info()}
	jwt := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb29tIjoic3RhbmR1cC4uLiJ9.c2lnbmF0dXJl"

	recording := meeting.Recording{
		ID: "rec_01JDB3255K9E7M3R5SV2C8N6XJ", MeetingID: created.ID, SessionID: ada.SessionID, Room: created.Room,
		Mode: meeting.ModeFile, State: meeting.RecordingRequested, By: meeting.Requester{Type: meeting.ByApp, Name: "key_01JDB2N4G8S6P3V5X7Z9B1D2F4"},
		RequestedAt: at("10:01:00"), QueueUntil: at("10:31:00"),
	}
	waits := recording
	waits.State, waits.Waits = meeting.RecordingQueued, meeting.ReasonBusy
	stopping := recording
	stopping.State, stopping.Stop, stopping.Attempts, stopping.StartedAt = meeting.RecordingStopping, meeting.StopRequested, 1, at("10:01:06")
	stopping.JibriSession = "5e4a3c1f8d7b4f0e9a6c2b1d3e5f7a9b"
	stored := stopping
	stored.State, stored.StoppedAt, stored.SettledAt, stored.Recorder = meeting.RecordingAvailable, at("10:12:00"), at("10:12:20"), "jibri-1"
	file := meeting.RecordingFile{
		Name: created.Room + "_2026-11-22-10-01-06.mp4", Storage: meeting.StorageFile, Path: created.Room + "-2026-11-22T10:01:06Z.mp4",
		Size: 48_611_904, SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Duration: 654 * time.Second, StoredAt: at("10:12:20"),
	}
	stored.Files = []meeting.RecordingFile{file}

	all := map[string]example{
		"start-recording":         {map[string]any{"priority": 5, "max_length_s": 7200}, recording.Info()},
		"list-meeting-recordings": {nil, pageOf(stored.Info())},
		"list-recordings":         {nil, pageOf(stored.Info())},
		"get-recording":           {nil, stored.Info()},
		"stop-recording":          {nil, stopping.Info()},
		"delete-recording":        {},
		"link-recording": {nil, FileLink{
			URL: "https://usher.example.org/d/Q7n1…", Name: file.Path, Size: file.Size, SHA256: file.SHA256, ExpiresAt: meeting.Time{Time: at("11:15:00")},
		}},
		"list-recorders": {nil, RecorderList{Watching: true, Data: []Recorder{
			{"jibri-1", "busy", meeting.Time{Time: at("10:01:02")}, "brewery"}, {"jibri-2", "idle", meeting.Time{Time: at("09:40:11")}, "brewery"},
		}}},
		"list-recording-queue": {nil, pageOf(Queued{1, waits.Info()})},
		"create-meeting": {map[string]any{
			"name_prefix": "standup", "external_id": created.ExternalID, "end_at": meeting.Time{Time: created.EndAt},
			"max_duration_s": 3600, "empty_timeout_s": 1800, "max_participants": 50, "metadata": created.Metadata,
			"recording": map[string]any{"trigger": "automatic", "max_length_s": 7200},
		}, created.Info()},
		"list-meetings": {nil, pageOf(live.Info())},
		"get-meeting":   {nil, live.Info()},
		"patch-meeting": {map[string]any{"end_at": meeting.Time{Time: changed.EndAt}, "max_duration_s": nil}, changed.Info()},
		"end-meeting":   {nil, ended.Info()},

		"delete-meeting": {},
		"list-rooms": {nil, pageOf(Room{
			Room: room.Room, MeetingID: room.ID, ExternalID: room.ExternalID, Occupancy: room.Occupancy, Session: room.Session,
		})},
		"list-sessions": {nil, pageOf(past.Info())},
		"get-session":   {nil, past.Info()},
		"list-session-insights": {nil, pageOf(SessionUsage{
			MeetingID: ended.ID, Room: ended.Room, ExternalID: ended.ExternalID, Session: past.Info(), Usage: usage,
		})},
		"list-room-insights": {nil, pageOf(RoomUsage{
			MeetingID: ended.ID, Room: ended.Room, ExternalID: ended.ExternalID, CreatedAt: meeting.Time{Time: ended.CreatedAt},
			EndedAt: timeOrNull(ended.EndedAt), Sessions: 1, FirstSessionAt: timeOrNull(past.StartedAt), LastSessionAt: timeOrNull(past.StartedAt), Usage: usage,
		})},
		"list-meeting-participants": {nil, pageOf(people...)},
		"list-session-participants": {nil, pageOf(people...)},
		"get-participant":           {nil, ada.Info()},
		"kick-participant":          {},
		"create-token": {map[string]any{"user": who, "role": "host"}, Ticket{
			Token: jwt, URL: "https://meet.example.org/" + created.Room + "#jwt=" + jwt, ExpiresAt: meeting.Time{Time: at("10:30:00")},
		}},
		"create-link":    {map[string]any{"user": who, "role": "host"}, newLink},
		"list-links":     {nil, pageOf(ticket.info(created.ID))},
		"revoke-link":    {},
		"list-events":    {nil, Events{Data: []Event{notice}, NextCursor: "1795342451003-0"}},
		"stream-events":  {nil, "id: 1795342451003-0\nevent: participant.left\ndata: " + string(notice) + "\n\n"},
		"create-api-key": {map[string]any{"name": key.Name, "scopes": key.Scopes}, newKey},
		"list-api-keys":  {nil, pageOf(key.info())},
		"revoke-api-key": {},
	}
	maps.Copy(all, webhookExamples())
	return all
}

func pageOf[T any](elements ...T) Page[T] { return Page[T]{Data: elements} }

// illustrate puts the examples into the document. It fails when an operation
// has none, so that none is forgotten.
func illustrate(doc *huma.OpenAPI) error {
	all := examples()
	for path, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Put, item.Delete} {
			if op == nil {
				continue
			}
			shown, known := all[op.OperationID]
			if !known {
				return fmt.Errorf("no example of %s %s", op.Method, path)
			}
			if op.RequestBody != nil {
				op.RequestBody.Content["application/json"].Example = shown.request
			}
			for _, content := range op.Responses[strconv.Itoa(op.DefaultStatus)].Content {
				content.Example = shown.answer
			}
			for status, response := range op.Responses {
				if content := response.Content["application/json"]; content != nil && status < "300" {
					content.Example = shown.answer // of any good answer
				}
				if content := response.Content[problemType]; content != nil {
					code, _ := strconv.Atoi(status)
					p := newProblem(code, "")
					p.RequestID = "req_01JDB30VKJ0W8Y6QFZ9H4T1M5C"
					content.Example = p
				}
			}
			if op.DefaultStatus == http.StatusNoContent {
				op.Responses["204"].Description = "Done"
			}
		}
	}
	return nil
}
