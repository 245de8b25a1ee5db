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
"""

import asyncio
import contextlib
import inspect
import os
import re
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from logging import getLogger
from pathlib import Path
from typing import Any

from django.core.signals import setting_changed
from django.dispatch import receiver

from . import __version__
from .conf import BadSetting, conf
from .exceptions import (
    ConnectionLost,
    KeyNotPermitted,
    NotPermitted,
    ReplyLost,
    SessionStoreUnavailable,
)
from .flow import Command, OnNode, Trip

logger = getLogger("django_valkey_sessions")

REQUEST_TIMEOUT = 500  # Milliseconds, as all of GLIDE's.
CONNECTION_TIMEOUT = 500
#: (retries, milliseconds, base, jitter in percent): a refused connection is given up
#: after about 0.3 s, and a lost one is sought again at most every 0.2 s.
RECONNECT = (2, 50, 2, 20)

#: For so many seconds a failure to reach the server is remembered, so that those who
#: come next during an outage fail at once instead of waiting for time-outs in a row.
FAILURE_REMEMBERED = 1.0
#: An event loop has proved to live long when it has sent so many round trips ...
LONG_LIVED_TRIPS = 32
#: ... over so many seconds.
LONG_LIVED_SECONDS = 1.0
#: Seconds for everything around GLIDE's own time-outs before an await is given up.
SLACK = 0.5
THREADS = 8
#: Where Linux shows the threads of this process, GLIDE's among them.
TASKS = Path("/proc/self/task")


class WrongType(Exception):
    """The key holds something of another type than the command is for."""


class ScriptMissing(Exception):
    """The server does not know the script, and did nothing."""


def execute(trip: Trip) -> Any:
    """
    Send a command, or a tuple of commands together; return the reply, or the list
    of their replies with an exception in the place of each that failed.

    Raise SessionStoreUnavailable if there is no answer, WrongType or ScriptMissing
    if the server says so.
    """
    _note(trip)
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


def _commands(trip: Trip) -> tuple[Command, ...]:
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
        self.client: Any = None
        # A lock of this process: the parent's may have been held when it forked.
        self.lock = threading.Lock()
        self.outage = Outage()
        self.watchdog_lives = True
        self.threads: ThreadPoolExecutor | None = None
        self.native: _Native | None = None
        self.loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Seen] = (
            weakref.WeakKeyDictionary()
        )

    # Blocking.

    def execute(self, trip: Trip) -> Any:
        client = self.client or self._connected()
        try:
            if isinstance(trip, tuple):
                return _replies(client.exec(*_batch(trip)))
            if isinstance(trip, OnNode):
                return client.custom_command(trip.command, _route(trip.slot))
            if not self.watchdog_lives:
                return _only(_replies(client.exec(*_batch((trip,)))))
            if trip[0] == "SCAN" and conf.CLUSTER:
                return _scanned(client.scan(*_cluster_scan("glide_sync", trip)))
            return client.custom_command(trip)
        except _glide_error() as error:
            raise _translated(error) from _told(error)

    def _connected(self) -> Any:
        with self.lock:
            if self.client is None:
                with self.outage.remembered():
                    client = _new_client()
                    self.watchdog_lives = _watchdog_lives(client)
                self.client = client
            return self.client

    # Awaiting.

    async def aexecute(self, trip: Trip) -> Any:
        loop = asyncio.get_running_loop()
        native = self.native
        if native is None or native.loop is not loop or native.given_up:
            native = self._native_for(loop)
        if native is not None:
            return await native.execute(trip)
        return await self._in_thread(loop, trip)

    def _native_for(self, loop: asyncio.AbstractEventLoop) -> "_Native | None":
        """Return the awaiting client if this loop may have it: the first to ask."""
        mode = conf.ASYNC
        if mode == "thread" or conf.CLIENT or (mode == "auto" and not self._long(loop)):
            return None
        with self.lock:
            if self.native is None or self.native.loop.is_closed():
                self.native = _Native(loop, self.native)
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
        if self.client is not None:
            self.client.close()
        if self.native is not None:
            self.native.close()


class Outage:
    """Remembers for a moment that the server could not be reached."""

    def __init__(self) -> None:
        self.error: SessionStoreUnavailable | None = None
        self.until = 0.0

    @contextlib.contextmanager
    def remembered(self) -> Iterator[None]:
        """Fail at once during an outage; else try inside of this."""
        if self.error is not None and time.monotonic() < self.until:
            raise type(self.error)(*self.error.args)
        try:
            yield
        except SessionStoreUnavailable as error:
            self.error = error
            self.until = time.monotonic() + FAILURE_REMEMBERED
            raise


class _Seen:
    """What is known of an event loop that has no client of its own yet."""

    def __init__(self) -> None:
        self.trips = 0
        self.since = time.monotonic()


class _Native:
    """The awaiting client of the one event loop that has it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, predecessor: "_Native | None"
    ) -> None:
        self.loop = loop
        self.client: Any = None
        self.lock = asyncio.Lock()
        self.outage = Outage()
        self.expired = 0
        self.given_up = False
        self.budget = _await_budget()
        # Clients that are to be closed: given up, or of a loop that has ended.
        self.retired: list[Any] = []
        if predecessor is not None and predecessor.client is not None:
            self.retired.append(predecessor.client)

    async def execute(self, trip: Trip) -> Any:
        client = self.client
        try:
            async with asyncio.timeout(self.budget):
                client = client or await self._connected()
                reply = await _send(client, trip)
            self.expired = 0
            return reply
        except TimeoutError as error:
            # GLIDE's own time-out did not arrive, so its pipe is not read.
            self._give_up(client)
            raise _no_answer() from error
        except _glide_error() as error:
            raise _translated(error) from _told(error)

    async def _connected(self) -> Any:
        async with self.lock:
            if self.client is None:
                with self.outage.remembered():
                    self.client = await _new_async_client()
                await self._close_retired()
            return self.client

    def _give_up(self, client: Any) -> None:
        """Replace the client; the second in a row that never answers is the last."""
        if client is not self.client:
            return  # Another request has noticed before.
        self.expired += 1
        self.given_up = self.expired > 1
        self.retired.append(client)
        self.client = None
        if self.given_up:
            logger.warning(
                "GLIDE's awaiting client does not answer in this event loop. Async "
                "session access goes through threads from now on."
            )

    async def _close_retired(self) -> None:
        while self.retired:
            await self.retired.pop().close()

    def close(self) -> None:
        for client in filter(None, (self.client, *self.retired)):
            if self.loop.is_running():
                asyncio.run_coroutine_threadsafe(client.close(), self.loop)
            else:
                # In a thread, because a loop may be running in this one.
                closing = threading.Thread(target=asyncio.run, args=[client.close()])
                closing.start()
                closing.join()


async def _send(client: Any, trip: Trip) -> Any:
    if isinstance(trip, tuple):
        return _replies(await client.exec(*_batch(trip)))
    if isinstance(trip, OnNode):
        return await client.custom_command(trip.command, _route(trip.slot))
    if trip[0] == "SCAN" and conf.CLUSTER:
        return _scanned(await client.scan(*_cluster_scan("glide", trip)))
    return await client.custom_command(trip)


# Forking.


def _forget_parents_clients() -> None:
    """
    Keep GLIDE's own hook, which runs after this one, from reconnecting the clients
    that the parent made: it would hold up the fork for seconds if the server is
    down, and nobody uses them here.
    """
    for process in _processes.values():
        if process.client is not None:
            process.client._is_closed = True
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
        lives = any(map(_is_watchdog, TASKS.iterdir()))
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


def _is_watchdog(task: Path) -> bool:
    try:
        return (task / "comm").read_text().startswith("glide-timeout")
    except OSError:  # The thread ended meanwhile.
        return False


# Making clients. GLIDE takes 0.3 s and 20 MB to import, so it is not imported before
# the first command.


def _new_client() -> Any:
    _check_names()
    factory = conf.CLIENT
    try:
        if factory is not None:
            return factory()
        import glide_sync

        _silence_glide()
        kind = glide_sync.GlideClusterClient if conf.CLUSTER else glide_sync.GlideClient
        return kind.create(configuration())
    except _glide_error() as error:
        raise _translated(error) from _told(error)


async def _new_async_client() -> Any:
    _check_names()
    import glide

    _silence_glide()
    kind = glide.GlideClusterClient if conf.CLUSTER else glide.GlideClient
    lazy = configuration()
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


def configuration() -> Any:
    """
    Return GLIDE's configuration object, of the same class for both clients. Raise
    BadSetting if GLIDE does not accept the settings.
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
                glide.NodeAddress(host, port) for host, port in location.addresses
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


def _batch(commands: tuple[Command, ...]) -> tuple[Any, bool]:
    """Return the arguments of exec(): the commands, and not to raise at an error."""
    from glide_shared.commands.batch import Batch, ClusterBatch

    batch: Any = (ClusterBatch if conf.CLUSTER else Batch)(is_atomic=False)
    for command in commands:
        batch.custom_command(command)
    return batch, False


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
    kind = {"ConnectionError": ConnectionLost, "TimeoutError": ReplyLost}.get(
        type(error).__name__, SessionStoreUnavailable
    )
    return kind(f"{_server()} {_cause(text)}")


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
        ("readonly:", "readonly you"),
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
    (("switch database",), "has no such database as LOCATION in VALKEY_SESSIONS says."),
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
