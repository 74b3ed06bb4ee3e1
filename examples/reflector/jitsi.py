"""Jitsi as a video platform of Reflector: a client of usher's API.

It goes to server/reflector/video_platforms/jitsi.py; README.md has the rest.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import re
import time
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Optional

import httpx

from ..schemas.platform import Platform
from ..utils.string import NonEmptyString
from .base import VideoPlatformClient
from .models import MeetingData, SessionData

if TYPE_CHECKING:
    from reflector.db.rooms import Room


class JitsiClient(VideoPlatformClient):
    """Its config has usher's public URL in api_url, a key of usher's with the
    scopes meetings:read, meetings:write and recordings:write in api_key, and
    the secret of usher's webhook endpoint in webhook_secret.

    Room names begin with a slash, as Whereby's do: process_recording puts one
    before the name that it finds in that of a file.
    """

    PLATFORM_NAME: Platform = "jitsi"
    TIMEOUT = 10  # seconds, for each try
    TRIES = 3  # while usher is away, as when another process takes over
    PAUSE = 2  # seconds between two tries
    TOLERANCE = 5 * 60  # seconds that usher's clock may be off

    async def create_meeting(
        self, room_name_prefix: NonEmptyString, end_date: datetime, room: "Room"
    ) -> MeetingData:
        """Makes a meeting, and a link for guests.

        Both URLs are that link: unlike Whereby's, a host's URL would be shown
        to everybody. Hosts get one of their own from create_join_url.
        """
        wanted: dict[str, Any] = {
            "end_at": _utc(end_date).isoformat(),
            "metadata": {"reflector_room": room.name},
        }
        prefix = re.sub(r"[^A-Za-z0-9._-]+", "-", room_name_prefix).strip("._-")[:40]
        if prefix:
            wanted["name_prefix"] = prefix
        if room.is_locked:
            wanted["lobby"] = True
        if room.recording_type == "cloud":
            wanted["recording"] = {"trigger": room.recording_trigger}
        meeting = await self._call("POST", "/v1/meetings", json=wanted)
        link = await self._call(
            "POST", f"/v1/meetings/{meeting['id']}/links", json={"role": "guest"}
        )
        return MeetingData(
            platform=self.PLATFORM_NAME,
            meeting_id=meeting["id"],
            room_name="/" + meeting["room"],
            room_url=link["url"],
            host_room_url=link["url"],
            extra_data=meeting,
        )

    async def get_room_sessions(self, room_name: str) -> list[SessionData]:
        """Lists the sessions of a room, the newest first.

        Reflector ends a meeting for good when it has had sessions and none is
        open. So while usher cannot see the room this raises, and while somebody
        is on the way the newest session counts as open.
        """
        room = {"room": room_name.strip("/")}
        usages = await self._list("/v1/insights/sessions", room)
        on_the_way = False
        for meeting in await self._list("/v1/meetings", room):
            if meeting["stale_since"] and meeting["state"] != "ended":
                raise RuntimeError(f"usher does not see the room {room['room']} now")
            on_the_way = on_the_way or meeting["occupancy"]["pending_joins"] > 0
        sessions = [
            SessionData(
                session_id=usage["session"]["id"],
                started_at=_time(usage["session"]["started_at"]),
                ended_at=_time(usage["session"]["ended_at"]),
            )
            for usage in usages
        ]
        sessions.sort(key=lambda session: session.started_at, reverse=True)
        if sessions and on_the_way:
            sessions[0].ended_at = None
        return sessions

    async def upload_logo(self, room_name: str, logo_path: str) -> bool:
        """Does nothing: the look of a Jitsi site is in its own configuration."""
        return True

    def verify_webhook_signature(
        self, body: bytes, signature: str, timestamp: Optional[str] = None
    ) -> bool:
        """Tells whether usher signed the body just now (Standard Webhooks 1.0.0).

        signature and timestamp are the headers Webhook-Signature and
        Webhook-Timestamp. What they sign begins with the header Webhook-Id,
        which is the id of the event in the body.
        """
        try:
            secret = self.config.webhook_secret.removeprefix("whsec_")
            key = base64.b64decode(secret, validate=True)
            event_id = json.loads(body)["id"]
            age = abs(time.time() - int(timestamp or ""))
        except (binascii.Error, ValueError, KeyError, TypeError):
            return False
        if not key or age > self.TOLERANCE:
            return False
        signed = f"{event_id}.{timestamp}.".encode() + body
        mac = hmac.new(key, signed, hashlib.sha256).digest()
        want = b"v1," + base64.b64encode(mac)
        # While the secret changes there is a signature for each of the two.
        return any(hmac.compare_digest(s.encode(), want) for s in signature.split())

    async def create_join_url(
        self,
        meeting_id: str,
        user_id: NonEmptyString,
        user_name: Optional[str] = None,
        is_owner: bool = False,
    ) -> str:
        """Makes a token for one user and returns the URL that enters with it.

        An owner may record, and moderates. Whoever was put out over usher's API
        gets in again by a new token.
        """
        user = {"id": user_id, "name": user_name} if user_name else {"id": user_id}
        ticket = await self._call(
            "POST",
            f"/v1/meetings/{meeting_id}/tokens",
            json={"user": user, "role": "host" if is_owner else "guest"},
        )
        return ticket["url"]

    async def get_participants(self, meeting_id: str) -> list[dict]:
        """Lists who is, or was, in the open or latest session: id, user_id, name,
        kind, role, joined_at, left_at (None while in) and present_seconds."""
        page = await self._call("GET", f"/v1/meetings/{meeting_id}/participants")
        return page["data"]

    async def get_meeting(self, meeting_id: str) -> dict:
        return await self._call("GET", f"/v1/meetings/{meeting_id}")

    async def end_meeting(self, meeting_id: str) -> dict:
        """Puts everybody out, and lets nobody in again. It may be repeated."""
        return await self._call("POST", f"/v1/meetings/{meeting_id}/end")

    async def start_recording(self, meeting_id: str) -> dict:
        """Asks for a recording, or returns the one that is under way."""
        return await self._call("POST", f"/v1/meetings/{meeting_id}/recordings")

    async def stop_recording(self, recording_id: str) -> dict:
        return await self._call("POST", f"/v1/recordings/{recording_id}/stop")

    async def get_recording(self, recording_id: str) -> dict:
        return await self._call("GET", f"/v1/recordings/{recording_id}")

    async def list_recordings(self, meeting_id: str) -> list[dict]:
        return await self._list(f"/v1/meetings/{meeting_id}/recordings", {})

    async def get_recording_url(self, recording_id: str, file: int = 0) -> str:
        """Returns a URL to a file, which needs no key and is good for an hour."""
        link = await self._call(
            "GET", f"/v1/recordings/{recording_id}/download", params={"file": file}
        )
        return link["url"]

    @staticmethod
    def get_track_keys(recording: dict) -> list[str]:
        """Returns the names of the files that hold one person's audio each."""
        return [f["name"] for f in recording["files"] if f.get("track")]

    async def _list(self, path: str, params: dict) -> list[dict]:
        """Returns all pages of a list."""
        found, cursor = [], None
        while True:
            query = {**params, "limit": 100, **({"cursor": cursor} if cursor else {})}
            page = await self._call("GET", path, params=query)
            found += page["data"]
            cursor = page["next_cursor"]
            if not cursor:
                return found

    async def _call(self, method: str, path: str, **request: Any) -> Any:
        """Sends a request to usher and returns the answer's JSON.

        Raises httpx.HTTPError; that of a refusal has usher's own words. The
        Idempotency-Key is the same at every try, so what usher has done already
        is not done twice.
        """
        headers = {
            "Authorization": f"Bearer {self.config.api_key}",
            "Idempotency-Key": str(uuid.uuid4()),
        }
        base = (self.config.api_url or "").rstrip("/")
        async with httpx.AsyncClient(base_url=base, timeout=self.TIMEOUT) as client:
            for left in reversed(range(self.TRIES)):
                try:
                    answer = await client.request(
                        method, path, headers=headers, **request
                    )
                except httpx.ConnectError:
                    if not left:
                        raise
                else:
                    if answer.status_code != 503 or not left:
                        break
                await asyncio.sleep(self.PAUSE)
        if not answer.is_success:
            raise httpx.HTTPStatusError(
                f"usher: {answer.status_code} to {method} {path}: {answer.text}",
                request=answer.request,
                response=answer,
            )
        return answer.json()


def _utc(moment: datetime) -> datetime:
    """Takes a time without a zone for one in UTC, as Reflector does."""
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _time(text: Optional[str]) -> Optional[datetime]:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
