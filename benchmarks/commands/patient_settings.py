"""The demo's settings, for a machine that has other things to do."""

from testproject.settings import *  # noqa: F403
from testproject.settings import VALKEY_SESSIONS

VALKEY_SESSIONS = {
    **VALKEY_SESSIONS,
    "OPTIONS": {"request_timeout": 10_000, "connection_timeout": 10_000},
}
