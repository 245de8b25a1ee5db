"""
How long one operation takes, by the clock and in CPU time of the process, next to the
bare client; and how much of it is the engine's own Python.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from .crew import Crew, crew
from .engines import ENGINES, FLOORS, MINE, STORES, Place
from .figures import ratios
from .ground import Ground

#: (rounds, operations in each, awaited operations in each)
QUICK, FULL = (5, 50, 200), (9, 150, 600)
AT_ONCE = (1, 50, 200)
OPERATIONS = (
    *("load", "create", "save", "load and save", "load and renew"),
    *("cycle_key", "exists", "delete"),
)
#: Saving first: who can't await at all says so there, while Django's engine ``cache``
#: takes any error of loading for no session.
ASYNC_OPERATIONS = ("asave", "aload")
#: Those that are looked into.
INSIDE = ("load", "save")

Series = dict[str, dict[str, list[float]]]


def measure(ground: Ground, full: bool, failed: dict[str, str]) -> dict[str, Any]:
    rounds, count, async_count = FULL if full else QUICK
    names = [*STORES, *FLOORS]
    with crew(names, ground.place, ground.log, failed) as workers:
        blocking = operations(workers, OPERATIONS, rounds, count)
    # A database is awaited through a thread for each call, as Django's RedisCache is.
    names = [name for name in names if name in FLOORS or ENGINES[name].in_server]
    native = {"VALKEY_SESSIONS": {"ASYNC": "native"}}
    unable: dict[str, str] = {}
    with crew(names, ground.place, ground.log, unable, **native) as workers:
        awaiting = {
            str(at_once): _awaited(workers, rounds, async_count, at_once)
            for at_once in AT_ONCE
        }
    failed |= {f"{name}, awaiting": why for name, why in unable.items()}
    return {
        "blocking": blocking,
        "awaiting": awaiting,
        "inside": _inside(ground.place, ground.log, rounds, count),
    }


def operations(
    workers: Crew, names: tuple[str, ...], rounds: int, count: int
) -> dict[str, Any]:
    return {name: _timed(workers, "time", rounds, name, count) for name in names}


def _awaited(workers: Crew, rounds: int, count: int, at_once: int) -> dict[str, Any]:
    return {
        # One at a time takes longer, and tells as much with fewer.
        name: _timed(
            workers,
            "atime",
            rounds,
            name,
            count if at_once > 1 else count // 4,
            at_once,
        )
        for name in ASYNC_OPERATIONS
    }


def _timed(
    workers: Crew, how: str, rounds: int, name: str, *numbers: int
) -> dict[str, Any]:
    """Have all do it in turns; return the microseconds, and what they are of ours."""
    series: Series = defaultdict(lambda: defaultdict(list))
    able = [
        member
        for member in workers.each()
        if name
        in (workers.ask(member, "names" if how == "time" else "async_names") or ())
    ]
    for member in able:
        workers.ask(member, how, name, *numbers)  # The first time is another.
    for round in range(rounds):
        for member in workers.each(round):
            spent = workers.ask(member, how, name, *numbers) if member in able else None
            for kind, figures in (spent or {}).items():
                series[kind][member.name].append(figures)
    return {kind: ratios(rounds, MINE) for kind, rounds in series.items()}


def _inside(place: Place, log: Path, rounds: int, count: int) -> dict[str, Any]:
    """Return for each of some operations what of it is ours and what is GLIDE's."""
    with crew([MINE], place, log, {}) as workers:
        (member,) = workers.each()
        for name in INSIDE:
            member.ask("own_python", name, count)
        return {name: member.ask("own_python", name, rounds * count) for name in INSIDE}
