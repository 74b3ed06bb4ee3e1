"""Takes usher's webhooks (dialect standard) for Reflector.

It goes to server/reflector/views/jitsi.py; README.md has the rest.
"""

import json

from fastapi import APIRouter, HTTPException, Request

from reflector.db.meetings import meetings_controller
from reflector.db.recordings import recordings_controller
from reflector.logger import logger as _logger
from reflector.video_platforms.factory import create_platform_client
from reflector.worker.process import process_recording

router = APIRouter()

logger = _logger.bind(platform="jitsi")


@router.post("/jitsi", status_code=204)
async def jitsi_webhook(request: Request):
    """Verifies an event and takes over what it says. Each event comes at least
    once, those of a meeting in order; to take one twice changes nothing."""
    body = await request.body()
    client = create_platform_client("jitsi")
    if not client.verify_webhook_signature(
        body,
        request.headers.get("webhook-signature", ""),
        request.headers.get("webhook-timestamp", ""),
    ):
        raise HTTPException(status_code=401, detail="Invalid webhook signature")
    event = json.loads(body)
    meeting = await meetings_controller.get_by_id(event.get("meeting_id", ""))
    if not meeting:
        # A test, another app's meeting, or one that is just being made.
        return
    log = logger.bind(meeting_id=meeting.id, event_type=event["type"])

    # Counts are absolute: they are taken over, and never added up.
    data = event["data"]
    if data.get("occupancy"):
        humans = data["occupancy"]["humans"]
        if humans != meeting.num_clients:
            await meetings_controller.update_meeting(meeting.id, num_clients=humans)
    if event["type"] == "meeting.ended":
        await meetings_controller.update_meeting(meeting.id, is_active=False)

    recordings = [data["recording"]] if data.get("recording") else []
    if event.get("gap"):
        # Something was given up before it: a recording may have been among it.
        recordings = await client.list_recordings(meeting.id)
    for recording in recordings:
        if recording["state"] == "available":
            await _process(recording, log)
        elif recording["state"] == "failed":
            log.error(
                "Recording failed",
                recording_id=recording["id"],
                failure=recording.get("failure"),
                detail=recording.get("detail"),
            )


async def _process(recording: dict, log) -> None:
    """Has each mixed file transcribed that is not known yet. A recording has a
    second one when its recorder died and another went on."""
    if recording["mode"] != "file" or recording.get("deleted_at"):
        return  # a file per person, and a manifest, from the video bridges
    for file in recording["files"]:
        if file["storage"] != "s3":
            log.error(
                "Recording is not in S3: set USHER_HANDOVER=s3 on the recorders' hosts",
                recording_id=recording["id"],
            )
        elif not await recordings_controller.get_by_object_key(
            file["bucket"], file["name"]
        ):
            process_recording.delay(file["bucket"], file["name"])
