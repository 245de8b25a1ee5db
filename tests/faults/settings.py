"""The demo site's settings, with the engine's from the environment."""

import json
import os

from testproject.settings import *  # noqa: F403

VALKEY_SESSIONS = json.loads(os.environ["VALKEY_SESSIONS"])
