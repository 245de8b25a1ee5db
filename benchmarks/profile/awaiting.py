"""
What happens while many operations are awaited at once: the calls of Python functions
for each, and how its time is shared out among the packages.

The time is sampled. A timer interrupts, and what runs then is noted; what runs in C is
its caller's, so opening a seal is the engine's, and waiting is the event loop's. Unlike
a profiler this does not slow down what has many small functions.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from . import gil
from .owners import PAGE, owner
from .requests import calls_in

#: Operations for each of those that are at once.
EACH = 10
#: Seconds between two samples.
EVERY = 0.001

Prepare = Callable[[int], Any]
Work = Callable[[Any], Awaitable[Any]]


def awaited(
    runner: asyncio.Runner, prepare: Prepare, work: Work, at_once: int, seconds: float
) -> dict[str, Any]:
    """Return calls and microseconds of one operation, by whose they are."""
    count = at_once * EACH
    beginning = _beginning(runner, prepare, work, at_once)
    calls = calls_in(beginning())
    samples: Counter[str] = Counter()
    spent, rounds = 0.0, 0
    while spent < seconds:
        run = beginning()
        began = time.perf_counter()
        with sampled(samples):
            run()
        spent += time.perf_counter() - began
        rounds += 1
    each = spent / rounds / count * 1e6
    total = max(1, sum(samples.values()))
    return {
        "calls": {whose: number / count for whose, number in calls.items()},
        "microseconds": {
            whose: number / total * each for whose, number in samples.items()
        },
        "each": each,
    }


def gil_releases(
    runner: asyncio.Runner, prepare: Prepare, work: Work, at_once: int
) -> dict[str, float]:
    """Return how often one operation releases the GIL, by whose library does."""
    run = _beginning(runner, prepare, work, at_once)()
    count = at_once * EACH
    return {whose: number / count for whose, number in gil.releases(run).items()}


def _beginning(
    runner: asyncio.Runner, prepare: Prepare, work: Work, at_once: int
) -> Callable[[], Callable[[], None]]:
    """Return what prepares so many operations and returns what runs them."""

    def begin() -> Callable[[], None]:
        arguments = [prepare(number) for number in range(at_once * EACH)]

        async def visitor(start: int) -> None:
            for argument in arguments[start::at_once]:
                await work(argument)

        async def all_visitors() -> None:
            await asyncio.gather(*map(visitor, range(at_once)))

        return lambda: runner.run(all_visitors())

    begin()()  # Connects.
    return begin


@contextmanager
def sampled(samples: Counter[str]) -> Iterator[None]:
    """Note, again and again, whose code runs."""

    def note(_: int, frame: FrameType | None) -> None:
        samples[owner(frame) or PAGE] += 1

    before = signal.signal(signal.SIGALRM, note)
    signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
