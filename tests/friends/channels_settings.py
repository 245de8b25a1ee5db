"""The demo site with Channels, whose layer is on the Valkey of the sessions."""

import os

from testproject.settings import *  # noqa: F403

INSTALLED_APPS += ["tests.friends.channels_site"]  # noqa: F405

CHANNEL_LAYERS = (
    {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {
                "hosts": [os.environ["VALKEY_URL"].replace("valkey:", "redis:")]
            },
        }
    }
    if "VALKEY_URL" in os.environ
    else {}
)

# Of the fast kind: the tests log in often.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
