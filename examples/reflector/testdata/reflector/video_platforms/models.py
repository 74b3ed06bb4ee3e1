from datetime import datetime
from typing import Any, Optional

from pydantic import BaseModel

from reflector.schemas.platform import Platform
from reflector.utils.string import NonEmptyString


class SessionData(BaseModel):
    session_id: NonEmptyString
    started_at: datetime
    ended_at: Optional[datetime]


class MeetingData(BaseModel):
    platform: Platform
    meeting_id: NonEmptyString
    room_url: NonEmptyString
    host_room_url: NonEmptyString
    room_name: NonEmptyString
    extra_data: dict[str, Any] = {}


class VideoPlatformConfig(BaseModel):
    api_key: str
    webhook_secret: str
    api_url: Optional[str] = None
