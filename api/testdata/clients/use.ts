// What an app sends, and how it reads an event, with the generated types.
import type { components, paths, webhooks } from "./client";
type S = components["schemas"];
// What an app may leave out.
export const link: S["NewLink"] = {};
export const token: S["NewToken"] = { user: { id: "u1" } };
export const meeting: S["NewMeeting"] = { recording: { trigger: "none" } };
export const change: S["MeetingChanges"] = { end_at: null };
export const hook: S["NewWebhook"] = { url: "https://app.example.org/usher" };
// An event's type says what it holds.
export function read(event: S["Event"]): string {
  switch (event.type) {
    case "recording.available":
      return event.data.recording.files[0]?.name ?? "";
    case "participant.joined":
    case "participant.left":
      return event.data.participant.user_id ?? event.data.participant.name ?? "";
    case "session.ended":
      return String(event.data.participants?.length);
    case "meeting.ended":
      return event.data.meeting.end_reason ?? "";
  }
  return event.id;
}
export type Delivered = webhooks["stream.started"]["post"]["requestBody"]["content"]["application/json"];
export const since = (d: Delivered) => d.data.stream.since;
export type Found = paths["/v1/participants"]["get"]["responses"]["200"]["content"]["application/json"];
