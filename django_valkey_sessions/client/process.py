"""
One process's clients: which of them a round trip goes through.
"""

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..conf import conf
from ..flow import Trip
from . import times
from .errors import no_answer
from .forks import processes
from .links import Blocking, Native
from .reach import Reach, Replicas

#: An event loop has proved to live long when it has sent so many round trips ...
LONG_LIVED_TRIPS = 32
#: ... over so many seconds.
LONG_LIVED_SECONDS = 1.0
THREADS = 8


def current() -> "Process":
    pid = os.getpid()
    return processes.get(pid) or processes.setdefault(pid, Process())


class Process:
    def __init__(self) -> None:
        self.reach, self.replicas = Reach(), Replicas()
        self.blocking = Blocking(self.reach, self.replicas)
        self.native: Native | None = None
        # A lock of this process: the parent's may have been held when it forked.
        self.lock = threading.Lock()
        self.threads: ThreadPoolExecutor | None = None
        self.loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Seen] = (
            weakref.WeakKeyDictionary()
        )

    def aexecute(self, trip: Trip) -> Awaitable[Any]:
        loop = asyncio.get_running_loop()
        native = self.native
        if native is None or native.loop is not loop or native.given_up:
            native = self._native_for(loop)
        return self._in_thread(loop, trip) if native is None else native.carry(trip)

    def _native_for(self, loop: asyncio.AbstractEventLoop) -> "Native | None":
        """Return the awaiting client if this loop may have it: the first to ask."""
        mode = conf.ASYNC
        if mode == "thread" or conf.CLIENT or (mode == "auto" and not self._long(loop)):
            return None
        with self.lock:
            if self.native is None or self.native.loop.is_closed():
                self.native = Native(self.reach, self.replicas, loop, self.native)
            mine = self.native.loop is loop and not self.native.given_up
            return self.native if mine else None

    def _long(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return True if the loop has shown that it was not made for one request."""
        seen = self.loops.get(loop) or self.loops.setdefault(loop, Seen())
        seen.trips += 1
        long = time.monotonic() - seen.since >= LONG_LIVED_SECONDS
        return long and seen.trips > LONG_LIVED_TRIPS

    async def _in_thread(self, loop: asyncio.AbstractEventLoop, trip: Trip) -> Any:
        with self.lock:
            if self.threads is None:
                self.threads = ThreadPoolExecutor(THREADS, "valkey-sessions")
        try:
            async with asyncio.timeout(times.await_budget()):
                return await loop.run_in_executor(
                    self.threads, self.blocking.carry, trip
                )
        except TimeoutError as error:
            raise no_answer() from error

    def close(self) -> None:
        if self.threads is not None:
            self.threads.shutdown(wait=True)
        self.blocking.close()
        if self.native is not None:
            self.native.close()


class Seen:
    """What is known of an event loop that has no client of its own yet."""

    def __init__(self) -> None:
        self.trips = 0
        self.since = time.monotonic()
