from .jitsi import JitsiClient
from .models import VideoPlatformConfig

config = VideoPlatformConfig(api_key="", webhook_secret="")


def create_platform_client(platform):
    assert platform == "jitsi", platform
    return JitsiClient(config)
