from abc import ABC, abstractmethod

from .models import VideoPlatformConfig


class VideoPlatformClient(ABC):
    def __init__(self, config: VideoPlatformConfig):
        self.config = config

    @abstractmethod
    async def create_meeting(self, room_name_prefix, end_date, room): ...

    @abstractmethod
    async def get_room_sessions(self, room_name): ...

    @abstractmethod
    async def upload_logo(self, room_name, logo_path): ...

    @abstractmethod
    def verify_webhook_signature(self, body, signature, timestamp=None): ...
