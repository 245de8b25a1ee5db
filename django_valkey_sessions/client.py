"""
Carry commands to Valkey through GLIDE, blocking or awaiting.

One blocking client a process, shared by its threads; one awaiting client a process,
for an event loop that lives long. Everybody else waits for the blocking client in
a small pool of threads. The reasons are properties of GLIDE 2.6, each measured:

- A command run before a fork kills the watchdog of GLIDE's time-outs in the child.
  So clients are made when they are first used, by the process that uses them.
- The awaiting clients of a process share one pipe, read by the event loop that made
  the first of them. A second loop hangs when that one pauses or ends.
- Connecting blocks the event loop, unless it is left to the first command.
- A client keeps to the primary that it found first, and to a node that hangs. So it
  is replaced when that is the case: see _Link.
"""

import asyncio
import contextlib
import copy
import inspect
import os
import random
import re
import sys
import threading
import time
import warnings
import weakref
from binascii import crc_hqx
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache, partial
from logging import getLogger
from pathlib import Path
from typing import Any, cast

import django
from django.core.signals import setting_changed
from django.dispatch import receiver

from . import __version__
from .conf import Address, BadSetting, conf, shown
from .exceptions import (
    ConnectionLost,
    KeyNotPermitted,
    NotPermitted,
    ReplyLost,
    SessionStoreUnavailable,
)
from .flow import Call, Command, Flow, OnNode, Trip, arun, run

logger = getLogger("django_valkey_sessions")

REQUEST_TIMEOUT = 500  # Milliseconds, as all of GLIDE's.
CONNECTION_TIMEOUT = 500
#: (retries, milliseconds, base, jitter in percent): a refused connection is given up
#: after about 0.3 s, and a lost one is sought again at most every 0.2 s.
RECONNECT = (2, 50, 2, 20)

#: For so many seconds a failure to reach the server is remembered, so that those who
#: come next during an outage fail at once instead of waiting for time-outs in a row.
FAILURE_REMEMBERED = 1.0
#: A client is replaced if it fails so many seconds after it has failed, and nothing
#: was answered in between (the first failure may have taken a time-out by itself) ...
FAILING = 0.5
#: ... unless one was replaced within the last seconds.
REPLACED_EVERY = 2.0
#: So many parts do the keys of a cluster have here. A success in one says nothing of
#: the others, which may be on a node that hangs.
PARTS = 128
#: The server is said to be back when it has answered for so many seconds: while one
#: node of a cluster fails, others answer.
STEADY = 2.0
#: Milliseconds that replicas have to confirm a change.
CONFIRMATION = "100"
#: What needs no confirmation: it changes nothing, or nothing that would be missed.
HARMLESS = {"EXISTS", "GET", "GETRANGE", "PEXPIRE", "PTTL", "SCAN"}
#: Milliseconds that a sentinel has to accept a connection, and again to answer.
SENTINEL_TIMEOUT = 200
#: An event loop has proved to live long when it has sent so many round trips ...
LONG_LIVED_TRIPS = 32
#: ... over so many seconds.
LONG_LIVED_SECONDS = 1.0
#: Seconds for everything around GLIDE's own time-outs before an await is given up.
SLACK = 0.5
THREADS = 8
#: Where Linux shows the threads of this process, GLIDE's among them.
TASKS = Path("/proc/self/task")

#: Addresses that are tried together.
Place = tuple[Address, ...]


class WrongType(Exception):
    """The key holds something of another type than the command is for."""


class ScriptMissing(Exception):
    """The server does not know the script, and did nothing."""


class ReadOnly(SessionStoreUnavailable):
    """The server is a replica, and did nothing."""


class Redirected(SessionStoreUnavailable):
    """
    The node of the cluster is not the one that has the key, and did nothing. GLIDE
    follows this by itself; for commands that are sent together, not in any case.
    """


def execute(trip: Trip) -> Any:
    """
    Send a command, or a tuple of commands together; return the reply, or the list
    of their replies with an exception in the place of each that failed.

    Raise SessionStoreUnavailable if there is no answer, WrongType or ScriptMissing
    if the server says so.
    """
    _note(trip)
    _warn_in_loop()
    return _process().execute(trip)


async def aexecute(trip: Trip) -> Any:
    """See execute()."""
    _note(trip)
    return await _process().aexecute(trip)


#: The lists that the round trips of this context go into.
_records: ContextVar[tuple[list[tuple[str, ...]], ...]] = ContextVar(
    "records", default=()
)


@contextlib.contextmanager
def record() -> Iterator[list[tuple[str, ...]]]:
    """
    Record the round trips made in this context: for each, the names of the commands
    that were sent together.
    """
    trips: list[tuple[str, ...]] = []
    token = _records.set((*_records.get(), trips))
    try:
        yield trips
    finally:
        _records.reset(token)


def _note(trip: Trip) -> None:
    records = _records.get()
    if records:
        names = tuple(str(command[0]) for command in _commands(trip))
        for trips in records:
            trips.append(names)


def _commands(trip: Trip) -> Sequence[Command]:
    if isinstance(trip, OnNode):
        return (trip.command,)
    return trip if isinstance(trip, tuple) else (trip,)


def close() -> None:
    """
    Close the clients of this process; the next command makes new ones. Not while
    another thread may be in a command.
    """
    process = _processes.pop(os.getpid(), None)
    if process is not None:
        process.close()


@receiver(setting_changed, dispatch_uid="django_valkey_sessions.client")
def _follow_settings(*, setting: str, **kwargs: Any) -> None:
    """Let the next command use the settings that a test has overridden."""
    if setting == "VALKEY_SESSIONS":
        close()


#: Where the code is that uses sessions only because somebody else told it to.
_INSIDE = tuple(
    os.path.join(module.__path__[0], "")
    for module in (sys.modules[__package__], django)
)


def _warn_in_loop() -> None:
    """
    Warn if this thread runs an event loop, which then waits for Valkey with all that
    it serves. Python tells each place once.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(
        "A session was used blocking in an event loop, which has to wait meanwhile. In "
        "async code, await: for example `await request.session.aget(key)`.",
        RuntimeWarning,
        stacklevel=level,
    )


# The clients of a process. They are found by the process id, at each use: uWSGI forks
# without running Python's at-fork hooks.

_processes: dict[int, "_Process"] = {}
#: What a parent made before it forked. Kept, because GLIDE frees what is not its own.
_inherited: list["_Process"] = []


def _process() -> "_Process":
    pid = os.getpid()
    return _processes.get(pid) or _processes.setdefault(pid, _Process())


class _Process:
    def __init__(self) -> None:
        self.reach, self.replicas = Reach(), Replicas()
        self.blocking = _Blocking(self.reach, self.replicas)
        self.native: _Native | None = None
        # A lock of this process: the parent's may have been held when it forked.
        self.lock = threading.Lock()
        self.threads: ThreadPoolExecutor | None = None
        self.loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Seen] = (
            weakref.WeakKeyDictionary()
        )

    def execute(self, trip: Trip) -> Any:
        return run(self.blocking.delivery(trip), self.blocking.send)

    async def aexecute(self, trip: Trip) -> Any:
        loop = asyncio.get_running_loop()
        native = self.native
        if native is None or native.loop is not loop or native.given_up:
            native = self._native_for(loop)
        if native is not None:
            return await arun(native.delivery(trip), native.send)
        return await self._in_thread(loop, trip)

    def _native_for(self, loop: asyncio.AbstractEventLoop) -> "_Native | None":
        """Return the awaiting client if this loop may have it: the first to ask."""
        mode = conf.ASYNC
        if mode == "thread" or conf.CLIENT or (mode == "auto" and not self._long(loop)):
            return None
        with self.lock:
            if self.native is None or self.native.loop.is_closed():
                self.native = _Native(self.reach, self.replicas, loop, self.native)
            mine = self.native.loop is loop and not self.native.given_up
            return self.native if mine else None

    def _long(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return True if the loop has shown that it was not made for one request."""
        seen = self.loops.get(loop) or self.loops.setdefault(loop, _Seen())
        seen.trips += 1
        long = time.monotonic() - seen.since >= LONG_LIVED_SECONDS
        return long and seen.trips > LONG_LIVED_TRIPS

    async def _in_thread(self, loop: asyncio.AbstractEventLoop, trip: Trip) -> Any:
        with self.lock:
            if self.threads is None:
                self.threads = ThreadPoolExecutor(THREADS, "valkey-sessions")
        try:
            async with asyncio.timeout(_await_budget()):
                return await loop.run_in_executor(self.threads, self.execute, trip)
        except TimeoutError as error:
            raise _no_answer() from error

    def close(self) -> None:
        if self.threads is not None:
            self.threads.shutdown(wait=True)
        self.blocking.close()
        if self.native is not None:
            self.native.close()


class _Seen:
    """What is known of an event loop that has no client of its own yet."""

    def __init__(self) -> None:
        self.trips = 0
        self.since = time.monotonic()


class Outage:
    """Remembers for a moment that the server could not be reached."""

    def __init__(self) -> None:
        self.error: SessionStoreUnavailable | None = None
        self.until = 0.0

    @contextlib.contextmanager
    def remembered(self) -> Iterator[None]:
        """Fail at once during an outage; else try inside of this."""
        started = time.monotonic()
        if self.error is not None and started < self.until:
            raise type(self.error)(*self.error.args)
        try:
            yield
        except SessionStoreUnavailable as error:
            self.error = error
            # Not counted from now alone: the attempt may have taken half a second.
            self.until = max(
                started + FAILURE_REMEMBERED, time.monotonic() + FAILURE_REMEMBERED / 2
            )
            raise


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
            "Sessions can be reached again: %s answers, after %.1f s.", _server(), took
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
                _server(),
                count if isinstance(count, int) else "none",
                wanted,
            )
        if enough and self.ask_again_at is not None:
            logger.warning("Changes are confirmed by %d replicas again.", count)
        self.ask_again_at = None if enough else time.monotonic() + FAILURE_REMEMBERED


class _Link:
    """
    A client, and what GLIDE leaves to its user: to replace it when nothing but
    failures comes of it (a node of a cluster hangs, something on the way has forgotten
    the connection), and when the server has become a replica.

    ``send``, ``remake`` and ``close_old`` block in one kind and are awaited in the
    other; everything else is here, without a colour.
    """

    send: Callable[[Trip], Any]
    remake: Callable[[Any], Any]
    remake_soon: Callable[[Any], None]
    close_old: Callable[[], Any]
    connect: Callable[[Place], Any]

    def __init__(self, reach: Reach, replicas: Replicas) -> None:
        self.reach, self.replicas = reach, replicas
        self.in_cluster = conf.CLUSTER
        self.client: Any = None
        self.place: Place = ()
        self.replaced_at = -REPLACED_EVERY
        self.outage = Outage()
        # For each part of the keys, since when nothing but failures has come of it.
        self.failing: dict[int, float] = {}
        # Clients that were replaced, and from when on nobody waits for them any more.
        self.old: list[tuple[float, Any]] = []

    def delivery(self, trip: Trip) -> Flow[Any]:
        """Send, and let replicas confirm what that changes if the settings say so."""
        commands = _commands(trip)
        if all(command[0] in HARMLESS for command in commands):
            return (yield from self._delivery(trip))
        wanted = conf.REPLICAS_ACK
        if not wanted or not self.replicas.may_confirm():
            return (yield from self._delivery(trip))
        waiting: Command = ["WAIT", str(wanted), CONFIRMATION]
        *replies, count = yield from self._delivery((*commands, waiting))
        self.replicas.confirmed(count, wanted)
        return replies if isinstance(trip, tuple) else _only(replies)

    def _delivery(self, trip: Trip) -> Flow[Any]:
        """Send, and once more what was not done because it reached the wrong server."""
        used = self.client
        try:
            reply = yield trip
        except ReadOnly as error:
            self.reach.lost(error)
            if not self._may_replace(used):
                raise
            yield self._remaking(used)
            reply = yield trip
        except ReplyLost as error:
            self._failed(used, _commands(trip), error)
            raise
        if isinstance(trip, tuple):
            yield from self._completed(used, trip, reply)
        self._note(used, _commands(trip), reply if isinstance(trip, tuple) else [reply])
        if self.old and min(until for until, _ in self.old) < time.monotonic():
            yield Call(self.close_old, self.close_old)
        return reply

    def _completed(
        self, used: Any, commands: tuple[Command, ...], replies: list[Any]
    ) -> Flow[None]:
        """Put replies in the place of errors that say to ask somebody else."""
        refused = [n for n, reply in enumerate(replies) if isinstance(reply, ReadOnly)]
        if refused:
            self.reach.lost(replies[refused[0]])
            if self._may_replace(used):
                try:
                    yield self._remaking(used)
                    again = yield tuple(commands[n] for n in refused)
                except SessionStoreUnavailable as error:
                    again = [error] * len(refused)  # The others were done.
                for n, reply in zip(refused, again, strict=True):
                    replies[n] = reply
        for n, reply in enumerate(replies):
            if isinstance(reply, Redirected):
                try:
                    replies[n] = yield commands[n]
                except ReplyLost as error:
                    replies[n] = error
                    return  # The others may have to wait for the same node.
                except Exception as error:
                    replies[n] = error

    def _note(
        self, used: Any, commands: Sequence[Command], replies: Sequence[Any]
    ) -> None:
        """Take note of what was answered, and of what was not."""
        lost = []
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, ReplyLost):
                lost.append((command, reply))
            elif self.failing:
                self.failing.pop(self._part(command), None)
        if lost:
            self._failed(used, [command for command, _ in lost], lost[0][1])
        elif self.reach.lost_at is not None:
            self.reach.answered()

    def _failed(self, used: Any, commands: Sequence[Command], error: ReplyLost) -> None:
        self.reach.failed()
        if used is None or used is not self.client:
            return  # What has just been made, or replaced.
        now = time.monotonic()
        for command in commands:
            self.failing.setdefault(self._part(command), now)
        # A copy, because other threads change it; they may even have emptied it.
        since = min(list(self.failing.values()), default=now)
        if now - since >= FAILING:
            self.reach.lost(error, since)
            if self._may_replace(used):
                self.remake_soon(used)

    def _part(self, command: Command) -> int:
        """Return the part of the keys that this command's belongs to, in a cluster."""
        if not self.in_cluster:
            return 0
        prefix = conf.PREFIX
        keys = (w for w in command if isinstance(w, str) and w.startswith(prefix))
        return crc_hqx(next(keys, "").encode(), 0) % 16384 * PARTS // 16384

    def _may_replace(self, used: Any) -> bool:
        waited = time.monotonic() - self.replaced_at
        return used is not self.client or waited >= REPLACED_EVERY

    def _remaking(self, used: Any) -> Call:
        remake = partial(self.remake, used)
        return Call(remake, remake)

    def remade(self, used: Any) -> Flow[Any]:
        """
        Have a client made in the place of this one, and return it; not two at the same
        time. Raise SessionStoreUnavailable if there is no server for it.
        """
        if self.client is not used:
            return self.client  # Another request has done it.
        try:
            with self.outage.remembered():
                place, client = yield from _found(self.connect, self.place)
        except SessionStoreUnavailable as error:
            self.reach.lost(error)
            if not self.in_cluster:
                # It leads to nothing that a new one could not find. That of a cluster
                # may still be good for some of the nodes.
                self.use(None, 2 * _await_budget())
            raise
        if used is not None:
            self.replaced_at = time.monotonic()
        self.place = place
        self.use(client, 2 * _await_budget())
        return client

    def use(self, client: Any, patience: float) -> None:
        """Use this client, or none; close the one before after so many seconds."""
        before, self.client = self.client, client
        self.failing.clear()
        if before is not None:
            self.old.append((time.monotonic() + patience, before))

    def _due(self) -> list[Any]:
        """Take the clients that are to be closed now out of the old ones."""
        now = time.monotonic()
        due = [client for until, client in self.old if until < now]
        self.old = [one for one in self.old if one[0] >= now]
        return due

    def all(self) -> list[Any]:
        return [*filter(None, [self.client]), *(client for _, client in self.old)]


class _Blocking(_Link):
    """The blocking client of a process, shared by its threads."""

    def __init__(self, reach: Reach, replicas: Replicas) -> None:
        super().__init__(reach, replicas)
        self.lock = threading.Lock()
        self.watchdog_lives: bool | None = None  # None: nothing was sent yet.

    def send(self, trip: Trip) -> Any:
        client = self.client or self.remake(None)
        try:
            if isinstance(trip, tuple):
                return _replies(client.exec(*_batch(trip, self.in_cluster)))
            if isinstance(trip, OnNode):
                return client.custom_command(trip.command, _route(trip.slot))
            if self.in_cluster and trip[0] == "SCAN":
                return _scanned(client.scan(*_cluster_scan("glide_sync", trip)))
            if self.in_cluster and self.watchdog_lives:
                # Which follows where a slot has moved to, in any case.
                return client.custom_command(trip)
            # This needs no watchdog, and GLIDE does not print what the server refuses.
            return _only(_replies(client.exec(*_batch((trip,), self.in_cluster))))
        except _glide_error() as error:
            raise _translated(error) from _told(error)

    def remake(self, used: Any) -> Any:
        with self.lock:
            return run(self.remade(used), self.send)

    def remake_soon(self, used: Any) -> None:
        if not self.lock.locked():  # Else somebody is at it.
            threading.Thread(target=self._remake, args=[used], daemon=True).start()

    def _remake(self, used: Any) -> None:
        with contextlib.suppress(SessionStoreUnavailable):  # Which is logged.
            self.remake(used)

    def connect(self, addresses: Place) -> Any:
        client = _new_client(addresses)
        if self.watchdog_lives is None:
            self.watchdog_lives = _watchdog_lives(client)
        return client

    def close_old(self) -> None:
        if not self.lock.acquire(blocking=False):
            return  # A client is being made, which may take a second.
        due = self._due()
        self.lock.release()
        for client in due:
            if client is not self.client:  # CLIENT may have returned it again.
                client.close()

    def close(self) -> None:
        with self.lock:
            clients = {id(client): client for client in self.all()}
            self.client, self.old = None, []
        for client in clients.values():
            client.close()


class _Native(_Link):
    """The awaiting client of the one event loop that has it."""

    def __init__(
        self,
        reach: Reach,
        replicas: Replicas,
        loop: asyncio.AbstractEventLoop,
        predecessor: "_Native | None",
    ) -> None:
        super().__init__(reach, replicas)
        self.loop = loop
        self.lock = asyncio.Lock()
        self.expired = 0
        self.given_up = False
        self.budget = _await_budget()
        self.remaking: asyncio.Task[None] | None = None
        if predecessor is not None:
            # Nobody waits any more: their loop has ended.
            self.old = [(0.0, client) for client in predecessor.all()]

    async def send(self, trip: Trip) -> Any:
        client = self.client
        try:
            async with asyncio.timeout(self.budget):
                client = client or await self._connected()
                reply = await self._sent(client, trip)
            self.expired = 0
            return reply
        except TimeoutError as error:
            # GLIDE's own time-out did not arrive, so its pipe is not read.
            self._give_up(client)
            raise _no_answer() from error
        except _glide_error() as error:
            raise _translated(error) from _told(error)

    async def _sent(self, client: Any, trip: Trip) -> Any:
        if isinstance(trip, tuple):
            return _replies(await client.exec(*_batch(trip, self.in_cluster)))
        if isinstance(trip, OnNode):
            return await client.custom_command(trip.command, _route(trip.slot))
        if self.in_cluster and trip[0] == "SCAN":
            return _scanned(await client.scan(*_cluster_scan("glide", trip)))
        return await client.custom_command(trip)

    async def _connected(self) -> Any:
        client = await self._remake(None)
        await self.close_old()
        return client

    async def _remake(self, used: Any) -> Any:
        async with self.lock:
            return await arun(self.remade(used), self.send)

    async def remake(self, used: Any) -> Any:
        try:
            async with asyncio.timeout(self.budget):
                return await self._remake(used)
        except TimeoutError as error:
            self._give_up(used)
            raise _no_answer() from error

    def remake_soon(self, used: Any) -> None:
        if not self.lock.locked():
            self.remaking = self.loop.create_task(self._remake_aside(used))

    async def _remake_aside(self, used: Any) -> None:
        with contextlib.suppress(SessionStoreUnavailable):  # Which is logged.
            await self.remake(used)

    async def connect(self, addresses: Place) -> Any:
        return await _new_async_client(addresses)

    def _give_up(self, client: Any) -> None:
        """Replace the client; the second in a row that never answers is the last."""
        if client is not self.client:
            return  # Another request has noticed before.
        self.expired += 1
        self.given_up = self.expired > 1
        self.use(None, 0)
        if self.given_up:
            logger.warning(
                "GLIDE's awaiting client does not answer in this event loop. Async "
                "session access goes through threads from now on."
            )

    async def close_old(self) -> None:
        for client in self._due():
            await client.close()

    def close(self) -> None:
        if self.remaking is not None and self.loop.is_running():
            self.loop.call_soon_threadsafe(self.remaking.cancel)
        for client in self.all():
            if self.loop.is_running():
                asyncio.run_coroutine_threadsafe(client.close(), self.loop)
            else:
                # In a thread, because a loop may be running in this one.
                closing = threading.Thread(target=asyncio.run, args=[client.close()])
                closing.start()
                closing.join()


# Forking.


def _forget_parents_clients() -> None:
    """
    Forget what the parent made. GLIDE's own hook, which runs after this one, would
    also reconnect a client that CLIENT returned: that holds up the fork for seconds if
    the server is down, and nobody uses them here.
    """
    for process in _processes.values():
        for client in process.blocking.all():
            client._is_closed = True
    _inherited.extend(_processes.values())
    _processes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_clients)


def _watchdog_lives(client: Any) -> bool:
    """
    Run the first command of this process, which starts GLIDE's watchdog. Return
    False if it did not start, which is the case in a child whose parent has run a
    command before the fork: time-outs of single commands don't work here.
    """
    try:
        client.custom_command(["PING"])
    except _glide_error() as error:
        ours = _translated(error)
        if isinstance(ours, ReplyLost):
            client.close()
            raise ours from _told(error)
        # The server answered; whether it obeys is for the real command to tell.
    if TASKS.is_dir():
        lives = _has_watchdog()
    else:
        # No way to see GLIDE's threads here: judge by what our own clients did.
        lives = not _inherited and _processes.keys() <= {os.getpid()}
    if not lives:
        logger.warning(
            "A GLIDE command was run before process %d was forked, which ended "
            "GLIDE's time-outs in it. Sessions keep to theirs by another way; other "
            "uses of GLIDE here may hang. Run no command before the fork.",
            os.getpid(),
        )
    return lives


def _has_watchdog() -> bool:
    # A thread gives itself its name, so that of a new one can come a little late.
    for pause in (0, 0.001, 0.01, 0.1):
        time.sleep(pause)
        if any(map(_is_watchdog, TASKS.iterdir())):
            return True
    return False


def _is_watchdog(task: Path) -> bool:
    try:
        return (task / "comm").read_text().startswith("glide-timeout")
    except OSError:  # The thread ended meanwhile.
        return False


# Making clients. GLIDE takes 0.3 s and 20 MB to import, so it is not imported before
# the first command.


def _found(connect: Callable[[Place], Any], last: Place) -> Flow[tuple[Place, Any]]:
    """
    Connect to the first of the places where the server may be; return that place and
    the client. Raise SessionStoreUnavailable if it is at none of them, or there was no
    time to look further. Where it was the last time is looked for last.
    """
    _check_names()
    # Enough for another place after one that hangs.
    deadline = time.monotonic() + 1.2 * _timeouts()[1]
    places, failure = (yield from _places()), None
    for place in sorted(places, key=lambda place: place == last):
        if failure is not None and time.monotonic() > deadline:
            break
        connecting = partial(connect, place)
        try:
            return place, (yield Call(connecting, connecting))
        except SessionStoreUnavailable as error:
            failure = error
    raise cast(SessionStoreUnavailable, failure)


def _places() -> Flow[list[Place]]:
    """
    Return where the server may be: where sentinels say that it is; each node of a
    cluster by itself, because one that hangs would hold up the others; all addresses of
    a server and its replicas, among which GLIDE finds the primary.
    """
    location = conf.LOCATION
    if conf.CLIENT is not None or not (location.service or conf.CLUSTER):
        return [location.addresses]
    # In any order, so that the next attempt begins with another one.
    addresses = random.sample(location.addresses, len(location.addresses))
    if not location.service:
        return [(address,) for address in addresses]
    ask = partial(_named, addresses)
    named: list[Place] = yield Call(ask, partial(asyncio.to_thread, ask))
    return named


def _named(sentinels: list[Address]) -> list[Place]:
    """
    Return the primaries that sentinels name, all of which are asked at the same time:
    after a failover some may not have heard of it yet.
    """
    with ThreadPoolExecutor(len(sentinels)) as threads:
        answers = list(threads.map(_named_by, sentinels))
    named = [(one,) for one in answers if not isinstance(one, SessionStoreUnavailable)]
    if not named:
        raise cast(SessionStoreUnavailable, answers[0])
    return list(dict.fromkeys(named))


def _named_by(sentinel: Address) -> Address | SessionStoreUnavailable:
    """Return the primary that a sentinel names, or why it names none."""
    who = f"The sentinel at {shown([sentinel])}"
    service = conf.LOCATION.service
    import glide_sync

    _silence_glide()
    try:
        client = _kind(glide_sync.GlideClient).create(_asking(sentinel))
        try:
            words: Command = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", str(service)]
            answer = _only(_replies(client.exec(*_batch((words,), False))))
        finally:
            client.close()
    except SessionStoreUnavailable as error:
        return error
    except _glide_error() as error:
        # GLIDE does not say why, when it is told to ask nothing but this.
        unknown = SessionStoreUnavailable(
            f"{who} does not answer. Is it running, and are its address and "
            "sentinel_password in LOCATION in VALKEY_SESSIONS right?"
        )
        unknown.__cause__ = _told(error)
        return unknown
    if answer is None:
        return SessionStoreUnavailable(
            f"{who} knows no service {service!r}. Is LOCATION in VALKEY_SESSIONS right?"
        )
    host, port = answer
    return host.decode(), int(port)


def _asking(sentinel: Address) -> Any:
    """Return the configuration of a client that asks a sentinel and does no more."""
    import glide_shared.config as glide

    location = conf.LOCATION
    asking = configuration((sentinel,))
    asking.request_timeout = SENTINEL_TIMEOUT
    asking.advanced_config = copy.copy(asking.advanced_config)
    asking.advanced_config.connection_timeout = SENTINEL_TIMEOUT
    asking.reconnect_strategy = glide.BackoffStrategy(0, 10, 2)
    # Without this, GLIDE asks for things that a sentinel does not know.
    asking.node_discovery_mode = glide.NodeDiscoveryMode.STATIC
    asking.database_id = asking.credentials = None
    if location.sentinel_password:
        asking.credentials = glide.ServerCredentials(
            location.sentinel_password, location.sentinel_username
        )
    return asking


def _new_client(addresses: Place) -> Any:
    factory = conf.CLIENT
    try:
        if factory is not None:
            return factory()
        import glide_sync

        _silence_glide()
        kind = glide_sync.GlideClusterClient if conf.CLUSTER else glide_sync.GlideClient
        return _kind(kind).create(configuration(addresses))
    except _glide_error() as error:
        raise _translated(error) from _told(error)


@cache
def _kind(kind: Any) -> Any:
    """
    Return GLIDE's class of blocking clients, but for its hook that connects each client
    anew in a forked child: also those that have never found a server (0.3 s for each),
    all of which it keeps for that.
    """

    class Client(kind):  # type: ignore[misc]
        @property
        def _create_core_client(self) -> Callable[[], None]:
            maker, client = os.getpid(), weakref.ref(self)

            def create() -> None:
                made = client()
                if made is not None and os.getpid() == maker:
                    kind._create_core_client(made)

            return create

    return Client


async def _new_async_client(addresses: Place) -> Any:
    import glide

    _silence_glide()
    kind = glide.GlideClusterClient if conf.CLUSTER else glide.GlideClient
    lazy = configuration(addresses)
    # Without this, connecting would hold up the event loop.
    lazy.lazy_connect = True
    client = None
    try:
        client = await kind.create(lazy)
        await client.custom_command(["PING"])
    except BaseException as error:
        if client is not None:
            await client.close()
        if isinstance(error, _glide_error()):
            raise _translated(error) from _told(error)
        raise
    return client


def _check_names() -> None:
    # A misspelt name would be a setting silently without effect, where
    # "django_valkey_sessions" is not installed as an app and checks don't run.
    for bad in conf.unknown():
        raise bad


def _silence_glide() -> None:
    """Keep GLIDE's log off standard output, unless the site has set it up."""
    from glide_shared.logger import Level, Logger

    Logger.init(Level.OFF)


def configuration(addresses: Place | None = None) -> Any:
    """
    Return GLIDE's configuration object for these addresses, by default for all of
    LOCATION; of the same class for both clients. Raise BadSetting if GLIDE does not
    accept the settings.
    """
    import glide_shared.config as glide

    if conf.CLUSTER:
        kind: Any = glide.GlideClusterClientConfiguration
        advanced: Any = glide.AdvancedGlideClusterClientConfiguration
    else:
        kind = glide.GlideClientConfiguration
        advanced = glide.AdvancedGlideClientConfiguration
    location, options = conf.LOCATION, dict(conf.OPTIONS)
    try:
        tls = _taken(options, glide.TlsAdvancedConfiguration)
        fine = _taken(options, advanced)
        if "advanced_config" in options and (tls or fine):
            raise ValueError(
                f"advanced_config is given beside its own {', '.join([*tls, *fine])}"
            )
        fine.setdefault("connection_timeout", CONNECTION_TIMEOUT)
        if tls:
            fine["tls_config"] = glide.TlsAdvancedConfiguration(**tls)
        arguments = {
            "addresses": [
                glide.NodeAddress(host, port)
                for host, port in addresses or location.addresses
            ],
            "use_tls": location.tls,
            "request_timeout": REQUEST_TIMEOUT,
            "reconnect_strategy": glide.BackoffStrategy(*RECONNECT),
            "client_info_tag": f"django-valkey-sessions:{__version__}",
            "advanced_config": advanced(**fine),
        }
        if location.socket:
            arguments["addresses"] = [
                glide.NodeAddress(unix_socket_path=location.socket)
            ]
        if location.password:
            arguments["credentials"] = glide.ServerCredentials(
                location.password, location.username
            )
        if location.database:
            arguments["database_id"] = location.database
        made = kind(**{**arguments, **options})
        # GLIDE looks at most of them only when it connects, which does this.
        made._create_a_protobuf_conn_request(cluster_mode=conf.CLUSTER)
        return made
    except (AttributeError, TypeError, ValueError, _glide_error()) as error:
        raise BadSetting(
            "E009",
            f"GLIDE does not accept OPTIONS in VALKEY_SESSIONS: {error}.",
            "The names are the arguments of GLIDE's configuration classes "
            f"({kind.__name__}, {advanced.__name__}, TlsAdvancedConfiguration).",
        ) from None


def _taken(options: dict[str, Any], kind: type) -> dict[str, Any]:
    """Take those options that are arguments of the class out of the others."""
    names = inspect.signature(kind).parameters
    return {name: options.pop(name) for name in list(options) if name in names}


def _timeouts() -> tuple[float, float]:
    """Return GLIDE's time-outs for a request and for a connection, in seconds."""
    options = conf.OPTIONS
    advanced = options.get("advanced_config")
    connecting = options.get("connection_timeout") or CONNECTION_TIMEOUT
    if advanced is not None:
        connecting = getattr(advanced, "connection_timeout", None) or 2000  # GLIDE's.
    requesting = options.get("request_timeout") or REQUEST_TIMEOUT
    return requesting / 1000, connecting / 1000


def _await_budget() -> float:
    """Return after how many seconds nothing can be expected of GLIDE any more."""
    requesting, connecting = _timeouts()
    return requesting + (RECONNECT[0] + 1) * connecting + SLACK


# Commands and replies.


def _batch(commands: tuple[Command, ...], in_cluster: bool) -> tuple[Any, bool]:
    """Return the arguments of exec(): the commands, and not to raise at an error."""
    batch = _batch_kind(in_cluster)(is_atomic=False)
    for command in commands:
        batch.custom_command(command)
    return batch, False


@cache
def _batch_kind(in_cluster: bool) -> Any:
    from glide_shared.commands.batch import Batch, ClusterBatch

    return ClusterBatch if in_cluster else Batch


def _replies(replies: list[Any]) -> list[Any]:
    glide_error = _glide_error()
    return [
        _translated(reply) if isinstance(reply, glide_error) else reply
        for reply in replies
    ]


def _only(replies: list[Any]) -> Any:
    (reply,) = replies
    if isinstance(reply, Exception):
        raise reply
    return reply


def _cluster_scan(module: str, command: Command) -> tuple[Any, ...]:
    """
    Return the arguments of GLIDE's scan() over all primaries of a cluster. Its
    cursor is an object, which takes the place of the number in the command.
    """
    _, cursor, _, pattern, _, count = command
    if cursor == "0":
        return sys.modules[module].ClusterScanCursor(), pattern, int(count)
    return cursor, pattern, int(count)


def _route(slot: int) -> Any:
    from glide_shared.routes import SlotIdRoute, SlotType

    return SlotIdRoute(SlotType.PRIMARY, slot)


def _scanned(reply: list[Any]) -> list[Any]:
    cursor, keys = reply
    return [b"0" if cursor.is_finished() else cursor, keys]


# Errors: GLIDE's become ours here, once.


@cache
def _glide_error() -> Any:
    # The class is imported by whoever made the client; where nobody did, nothing
    # of GLIDE's can be on its way.
    from glide_shared.exceptions import GlideError

    return GlideError


def _told(error: Exception) -> Exception | None:
    """Return the error if it may be told: not if it repeats the words of a command."""
    return None if "args beginning with" in str(error) else error


def _translated(error: Exception) -> Exception:
    # Without the address, whose words mean nothing.
    text = re.sub(r"`[^`]*`", "", str(error).lower())
    if "wrongtype:" in text:
        return WrongType("WRONGTYPE: the key holds something of another type.")
    if "noscripterror" in text or "noscript:" in text:
        return ScriptMissing("The server does not know the script.")
    if command := re.search(r"no permissions to run the '([^']+)' command", text):
        return NotPermitted(
            f"{_server()} does not permit the user the command {command[1].upper()}."
        )
    if re.search("no permissions to access (a key|one of the keys)", text):
        return KeyNotPermitted(
            f"{_server()} does not permit the user keys that begin with PREFIX in "
            "VALKEY_SESSIONS."
        )
    ours = _kind_of(error, text)(f"{_server()} {_cause(text)}")
    # As "raise ... from" does it; those in a list of replies are not raised here.
    ours.__cause__ = _told(error)
    return ours


def _kind_of(error: Exception, text: str) -> type[SessionStoreUnavailable]:
    refused = ("readonly:", "readonly you", "wait cannot be used with")
    if any(words in text for words in refused):
        return ReadOnly
    if re.search(r"\b(moved|ask):", text):
        return Redirected
    return {"ConnectionError": ConnectionLost, "TimeoutError": ReplyLost}.get(
        type(error).__name__, SessionStoreUnavailable
    )


def _server() -> str:
    if conf.CLIENT is not None:
        return "The Valkey server that CLIENT in VALKEY_SESSIONS connects to"
    return f"Valkey at {conf.LOCATION}"


def _cause(text: str) -> str:
    for marks, cause in _CAUSES:
        if any(mark in text for mark in marks):
            return cause.format(request=_timeouts()[0], connect=_timeouts()[1])
    return "can't be used. GLIDE's error, from which this one was raised, says more."


def _no_answer() -> ReplyLost:
    return ReplyLost(f"{_server()} did not answer within {_await_budget():g} s.")


#: What GLIDE's error texts say, in lower case, and what that means; first match wins.
_CAUSES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("connection refused",),
        "refuses connections. Is it running, and is LOCATION in VALKEY_SESSIONS right?",
    ),
    (
        ("failed to lookup", "name or service not known", "nodename nor servname"),
        "is not found: its name is unknown. Is LOCATION in VALKEY_SESSIONS right?",
    ),
    (
        ("no such file or directory",),
        "is not there. Is the path in LOCATION in VALKEY_SESSIONS right?",
    ),
    (
        ("wrongpass", "noauth", "invalid username-password"),
        "refuses the user or password in LOCATION in VALKEY_SESSIONS.",
    ),
    (
        ("noperm", "permissiondenied", "no permissions"),
        "does not permit the user a command or a key that sessions need.",
    ),
    (
        ("loadingerror", "loading:"),
        "is still loading its data. It will answer in a moment.",
    ),
    (
        ("readonly:", "readonly you", "wait cannot be used with"),
        "is a replica and takes no writes. LOCATION in VALKEY_SESSIONS has to lead to "
        "the primary.",
    ),
    (
        ("oom:", "oom command", "out of memory"),
        "has used all the memory it may (maxmemory), and evicts nothing.",
    ),
    (("misconf",), "takes no writes because it can't save its data to disk (MISCONF)."),
    (
        ("noreplicas",),
        "takes no writes because too few of its replicas are connected (NOREPLICAS).",
    ),
    (
        ("clusterdown", "masterdown", "tryagain"),
        "is a cluster that is not complete at the moment.",
    ),
    (("certificate",), "has a TLS certificate that is not trusted."),
    (
        ("unexpectedly terminated",),
        "closed the connection at once. It may have too many clients (maxclients), or "
        "want TLS: valkeys:// in LOCATION in VALKEY_SESSIONS.",
    ),
    (("moved:",), "is part of a cluster: set CLUSTER in VALKEY_SESSIONS to True."),
    (
        ("no topology views",),
        "is not a cluster that answers, and CLUSTER in VALKEY_SESSIONS is True.",
    ),
    (
        ("no primary node found", "primary conflict"),
        "is not one primary. LOCATION in VALKEY_SESSIONS has to lead to the primary.",
    ),
    (
        ("unknown command",),
        "does not know a command that sessions need. Valkey 7.2 or later is needed.",
    ),
    (
        ("switch database",),
        "has no such database as LOCATION in VALKEY_SESSIONS says, or does not permit "
        "the user to SELECT it.",
    ),
    (
        ("inflight",),
        "has too many requests of this process under way (inflight_requests_limit).",
    ),
    (
        ("timed out", "connection"),
        "did not answer within {request:g} s, or {connect:g} s for connecting. Is it "
        "running?",
    ),
)
