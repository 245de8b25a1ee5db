"""
What is known of the server: whether it can be reached, and whether its replicas confirm
changes. Tells the log when that changes.
"""

import threading
import time
from logging import getLogger
from typing import Any

from ..exceptions import SessionStoreUnavailable
from .errors import server_name

logger = getLogger("django_valkey_sessions")

#: For so many seconds a failure to reach the server is remembered, so that those who
#: come next during an outage fail at once instead of waiting for time-outs in a row.
FAILURE_REMEMBERED = 1.0
#: The server is said to be back when it has answered for so many seconds: while one
#: node of a cluster fails, others answer.
STEADY = 2.0


class Outage:
    """Remembers for a moment that the server could not be reached."""

    def __init__(self) -> None:
        self.error: SessionStoreUnavailable | None = None
        self.started = self.until = 0.0

    def __enter__(self) -> None:
        """Fail at once during an outage; else try inside of this, one at a time."""
        self.started = time.monotonic()
        self.check()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, SessionStoreUnavailable):
            self.note(error, self.started)

    def check(self) -> None:
        """Raise the error again if it came a moment ago."""
        if self.error is not None and time.monotonic() < self.until:
            raise type(self.error)(*self.error.args)

    def note(self, error: SessionStoreUnavailable, started: float) -> None:
        """Remember the error of an attempt that was begun then."""
        self.error = error
        # Not counted from now alone: the attempt may have taken half a second.
        self.until = max(
            started + FAILURE_REMEMBERED,
            time.monotonic() + FAILURE_REMEMBERED / 2,
        )


class Reach:
    """Whether the server can be reached. Tells the log when that changes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lost_at: float | None = None
        self.failed_at = 0.0
        self.answered_at: float | None = None

    def failed(self) -> None:
        """Take note of a failure, which alone does not mean much."""
        self.failed_at, self.answered_at = time.monotonic(), None

    def lost(self, error: SessionStoreUnavailable, since: float | None = None) -> None:
        """Take note that it can't be reached, since this time.monotonic() or now."""
        with self.lock:
            self.failed()
            if self.lost_at is not None:
                return
            self.lost_at = self.failed_at if since is None else since
        logger.warning("Sessions can't be reached. %s", error)

    def answered(self) -> None:
        """Take note of an answer, of which several in a row mean that it is back."""
        with self.lock:
            now = time.monotonic()
            self.answered_at = self.answered_at or now
            if self.lost_at is None or now - self.failed_at < STEADY:
                return
            took, self.lost_at = self.answered_at - self.lost_at, None
        logger.warning(
            "Sessions can be reached again: %s answers, after %.1f s.",
            server_name(),
            took,
        )


class Replicas:
    """Whether enough replicas confirm changes. Tells the log when that changes."""

    def __init__(self) -> None:
        self.ask_again_at: float | None = None

    def may_confirm(self) -> bool:
        """
        Return False if they did not a moment ago: who waits for them holds up all other
        threads. After that moment one request finds out for all.
        """
        if self.ask_again_at is None:
            return True
        now = time.monotonic()
        if now < self.ask_again_at:
            return False
        self.ask_again_at = now + FAILURE_REMEMBERED
        return True

    def confirmed(self, count: Any, wanted: int) -> None:
        """Take note of the reply of WAIT."""
        enough = isinstance(count, int) and count >= wanted
        if not enough and self.ask_again_at is None:
            logger.warning(
                "Changes are stored by %s, but %s of %d replicas have confirmed them "
                "(REPLICAS_ACK in VALKEY_SESSIONS): a failover could lose them.",
                server_name(),
                count if isinstance(count, int) else "none",
                wanted,
            )
        if enough and self.ask_again_at is not None:
            logger.warning("Changes are confirmed by %d replicas again.", count)
        self.ask_again_at = None if enough else time.monotonic() + FAILURE_REMEMBERED
