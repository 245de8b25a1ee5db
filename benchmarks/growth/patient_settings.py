"""The demo's settings, for a machine that has other things to do, or a cluster."""

import os

from testproject.settings import *  # noqa: F403
from testproject.settings import VALKEY_SESSIONS

VALKEY_SESSIONS = {
    **VALKEY_SESSIONS,
    "CLUSTER": "VALKEY_CLUSTER" in os.environ,
    "OPTIONS": {"request_timeout": 10_000, "connection_timeout": 10_000},
}
