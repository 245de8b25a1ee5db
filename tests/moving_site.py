"""
Settings of the demo site while its sessions are moved: of a host that was not deployed
yet, and of one that was.
"""

import os

from testproject.settings import *  # noqa: F403
from testproject.settings import VALKEY_SESSIONS

PREVIOUS = "django.contrib.sessions.backends.db"

if os.environ["HOST_IS"] == "old":
    SESSION_ENGINE = PREVIOUS
else:
    VALKEY_SESSIONS["PREVIOUS_ENGINE"] = PREVIOUS
