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
  is replaced when that is the case: see delivery.Link.

A round trip goes from here to the clients of its process (process, forks), takes the
one that fits (links), and is seen through (delivery), whatever becomes of the server
(places, sentinels, reach). Only glides imports GLIDE; errors knows its error texts.
"""

import asyncio
import contextlib
import os
import sys
import warnings
from collections.abc import Awaitable, Iterator
from contextvars import ContextVar
from typing import Any

import django
from django.core.signals import setting_changed
from django.dispatch import receiver

from ..flow import Trip
from .delivery import commands_of
from .errors import ScriptMissing, WrongType
from .forks import processes
from .glides import configuration
from .process import current
from .reach import Outage

__all__ = [
    "Outage",
    "ScriptMissing",
    "WrongType",
    "aexecute",
    "close",
    "configuration",
    "execute",
    "record",
]


def execute(trip: Trip) -> Any:
    """
    Send a command, or a tuple of commands together; return the reply, or the list
    of their replies with an exception in the place of each that failed.

    Raise SessionStoreUnavailable if there is no answer, WrongType or ScriptMissing
    if the server says so.
    """
    if _records.get():
        _note(trip)
    # get_running_loop() raises an error where there is none, which is most often.
    if asyncio._get_running_loop() is not None:
        _warn_in_loop()
    process = processes.get(os.getpid()) or current()
    return process.blocking.carry(trip)


def aexecute(trip: Trip) -> Awaitable[Any]:
    """See execute()."""
    # No coroutine itself, as a task goes through all of its coroutines to go on.
    if _records.get():
        _note(trip)
    process = processes.get(os.getpid()) or current()
    return process.aexecute(trip)


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
    names = tuple(str(command[0]) for command in commands_of(trip))
    for trips in _records.get():
        trips.append(names)


def close() -> None:
    """
    Close the clients of this process; the next command makes new ones. Not while
    another thread may be in a command.
    """
    process = processes.pop(os.getpid(), None)
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
    for module in (sys.modules[__package__.partition(".")[0]], django)
)


def _warn_in_loop() -> None:
    """
    Warn that the event loop which this thread runs waits for Valkey, with all that it
    serves. Python tells each place once.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(
        "A session was used blocking in an event loop, which has to wait meanwhile. In "
        "async code, await: for example `await request.session.aget(key)`.",
        RuntimeWarning,
        stacklevel=level,
    )
