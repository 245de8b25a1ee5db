"""
Carry commands over and bring replies back, blocking or awaiting.

A flow is a generator that yields commands and receives their replies. It holds
every decision of an operation and does no I/O, so it has no colour; the two
drivers below are the only place where the colours differ.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

#: The words of one command, as they go over the wire.
Command = list[str | bytes]


class Reading(list[str | bytes]):
    """A command that only reads, although its name does not say so."""


@dataclass(frozen=True, slots=True)
class OnNode:
    """A command for one node of a cluster: the primary of this slot."""

    slot: int
    command: Command


#: One round trip: one command, or several sent together. Several are answered
#: by a list that holds, in their order, each reply or the error in its place.
Trip = Command | OnNode | tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """
    Something outside of Valkey that a flow has done for it, such as sending a signal:
    what to call, and what to await instead. Its result is the reply.
    """

    blocking: Callable[[], Any]
    awaiting: Callable[[], Awaitable[Any]]


#: What a flow yields: a round trip, a call, or the seconds to pause before it goes on.
Step = Trip | Call | float

Flow = Generator[Step, Any, T]


def run(flow: Flow[T], execute: Callable[[Trip], Any]) -> T:
    """Drive the flow to its end with a blocking ``execute``; return its result."""
    step: Callable[[Any], Step] = flow.send
    value: Any = None
    while True:
        try:
            trip = step(value)
        except StopIteration as done:
            result: T = done.value
            return result
        if isinstance(trip, float):
            time.sleep(trip)
            step, value = flow.send, None
            continue
        try:
            if isinstance(trip, Call):
                step, value = flow.send, trip.blocking()
            else:
                step, value = flow.send, execute(trip)
        except Exception as error:  # The flow may catch it where it yielded.
            step, value = flow.throw, error


async def arun(flow: Flow[T], execute: Callable[[Trip], Awaitable[Any]]) -> T:
    """Drive the flow to its end with an awaitable ``execute``; return its result."""
    step: Callable[[Any], Step] = flow.send
    value: Any = None
    while True:
        try:
            trip = step(value)
        except StopIteration as done:
            result: T = done.value
            return result
        if isinstance(trip, float):
            await asyncio.sleep(trip)
            step, value = flow.send, None
            continue
        try:
            if isinstance(trip, Call):
                step, value = flow.send, await trip.awaiting()
            else:
                step, value = flow.send, await execute(trip)
        except Exception as error:  # The flow may catch it where it yielded.
            step, value = flow.throw, error
