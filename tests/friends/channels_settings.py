"""The demo site with Channels, whose layer is on the Valkey of the sessions."""

import os

from tests.friends.settings import *  # noqa: F403

INSTALLED_APPS += ["tests.friends.channels_site"]  # noqa: F405

VALKEY = os.environ.get("VALKEY_URL", "valkey://127.0.0.1:6379/0")

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            "hosts": [
                {
                    "address": VALKEY.replace("valkey", "redis", 1),
                    # Else redis-py 8 breaks off what channels-redis 4.3 waits for.
                    "socket_timeout": None,
                }
            ]
        },
    }
}
