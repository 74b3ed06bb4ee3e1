from typing import Literal

Platform = Literal["whereby", "daily", "jitsi"]
