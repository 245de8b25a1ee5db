"""
What the project wants to reach, as ratios within one run, and what it has reached.
None of it is a test: what is timed depends on the machine. What is counted is tested
too, in tests/test_benchmarks.py.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .data import ANONYMOUS, LARGE, MADE
from .engines import ENGINES, MINE, NO_INDEX, OTHERS, OTHERS_NO_INDEX

Results = dict[str, Any]
#: Django's engine ``cache``, with each of the libraries.
CACHES = [name for name in ENGINES if name.startswith("django-")]


@dataclass(frozen=True, slots=True)
class Target:
    what: str
    limit: float
    value: float | None
    #: Whether more is better.
    least: bool = False
    #: The goal beyond, where there is one.
    goal: float | None = None

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        if not self._meets(self.limit):
            return "missed"
        if self.goal is not None and self._meets(self.goal):
            return "reached, and the goal"
        return "reached"

    def _meets(self, limit: float) -> bool:
        assert self.value is not None
        return self.value >= limit if self.least else self.value <= limit


#: Round trips of a request.
TRIPS = {
    "read": 1,
    "read and renew": 1,
    "write": 2,
    "first write": 1,
    "login with a session": 3,
    "fresh login": 2,
    "logout": 2,
}
#: Bytes to the server.
SENT = {"read and renew": 100, "fresh login": 560, "login with a session": 560}
#: With a millisecond between, of any engine on Django's ``cache``.
AFAR = {
    "create": 0.55,
    "save": 0.55,
    "load and save": 0.75,
    "cycle_key": 0.40,
    "load and renew": 0.37,
}
#: Ours in the memory of the server.
MEMORY = {
    MINE: "",
    NO_INDEX: " (USER_INDEX off)",
    OTHERS: " (other sites' dictionary)",
    OTHERS_NO_INDEX: " (other sites' dictionary, USER_INDEX off)",
}
#: Requests a second: (server, what, engine, least, goal).
RATES = (
    ("gunicorn sync", "read", "django-cache", 1.0, None),
    ("gunicorn sync", "write", "django-cache", 1.15, None),
    ("gunicorn sync", "read", "django-redis", 0.9, None),
    ("gunicorn sync", "write", "django-redis", 1.1, None),
    ("gunicorn sync", "read", "django-vcache", 0.8, 1.0),
    ("gunicorn sync", "write", "django-vcache", 0.8, 1.0),
    ("gunicorn gthread", "read", "django-redis", 1.1, None),
    ("gunicorn gthread", "write", "django-redis", 1.25, None),
    ("gunicorn gthread", "read", "django-vcache", 0.85, 1.0),
    ("gunicorn gthread", "write", "django-vcache", 0.85, 1.0),
    ("uvicorn", "read", "django-vcache", 1.2, 1.5),
    ("uvicorn", "write", "django-vcache", 1.2, 1.5),
    ("uvicorn", "read", "django-cache", 3.5, None),
    ("uvicorn", "write", "django-cache", 3.5, None),
)


def all_of_them(results: Results) -> Iterator[Target]:
    costs = _found(results, "costs")
    for name, trips in TRIPS.items():
        value = _at(costs, name, MINE, "trips")
        goal = 2 if name == "login with a session" else None
        yield Target(f"round trips, {name}", trips, value, goal=goal)
    for name, sent in SENT.items():
        yield Target(f"bytes sent, {name}", sent, _at(costs, name, MINE, "sent"))
    afar = _at(_found(results, "network"), "operations") or {}
    for name, limit in AFAR.items():
        value = _worst(_theirs(afar, name, CACHES))
        yield Target(f"1 ms away, {name}, of the best on cache", limit, value)
    best = _worst(_theirs(afar, "load", [*CACHES, "redis-sessions"]))
    yield Target("1 ms away, load, of the best", 1.08, best)
    yield from _sizes(_found(results, "stored"))
    yield from _served(_found(results, "serving"))
    yield from _looked_into(_found(results, "latency"))
    started = _found(results, "startup")
    for unit, limit in (("ms", 60), ("mb", 12)):
        value = _at(started, "import", unit, MINE, "median")
        yield Target(f"import, {unit}", limit, value)


def _served(served: Any) -> Iterator[Target]:
    for kind, what, other, least, goal in RATES:
        value = _inverse(_at(served, kind, what, "rate", other, "ratio"))
        text = f"{kind}, {what}, requests a second, of {other}"
        yield Target(text, least, value, least=True, goal=goal)
    for what in ("read", "write"):
        cpu = _at(served, "uvicorn", what, "application", "django-vcache", "ratio")
        text = f"uvicorn, {what}, CPU of a request, of django-vcache"
        yield Target(text, 0.85, _inverse(cpu))


def _looked_into(latency: Any) -> Iterator[Target]:
    for at_once in ("50", "200"):
        for name in ("aload", "asave"):
            # The bare client's time, as a part of ours.
            value = _at(latency, "awaiting", at_once, name, "wall", "glide", "ratio")
            text = f"{name}, {at_once} at once, speed of the bare client's"
            yield Target(text, 0.65, value, least=True, goal=0.8)
    for name, limit in (("load", 20), ("save", 30)):
        value = _at(latency, "inside", name, "own")
        yield Target(f"own Python, {name}, microseconds", limit, value)


def _sizes(memory: Any) -> Iterator[Target]:
    for server, found in (_at(memory, "servers") or {}).items():
        for kind, sizes in found["sizes"].items():
            if kind == ANONYMOUS:
                continue
            limit, goal = (1.0, None) if kind == LARGE else (0.70, 0.65)
            for name, note in MEMORY.items():
                # The dictionary that ships knows the kinds of the corpus.
                if kind in MADE or name in (OTHERS, OTHERS_NO_INDEX):
                    text = f"memory, {kind} session, {server}, of the smallest rival"
                    value = _size(sizes, name)
                    yield Target(text + note, limit, value, goal=goal)


def _size(sizes: Any, name: str) -> float | None:
    """Return which part of the smallest rival's bytes this one of ours takes."""
    mine = _at(sizes, name, "bytes")
    rivals = {*ENGINES} - {MINE}
    others = [size["bytes"] for key, size in sizes.items() if key in rivals]
    return mine / min(others) if mine and others else None


def _theirs(operations: Any, name: str, engines: Iterable[str]) -> list[float]:
    """Return our time as a part of each of theirs."""
    found = [_at(operations, name, "wall", engine, "ratio") for engine in engines]
    return [1 / ratio for ratio in found if ratio]


def _worst(values: list[float]) -> float | None:
    return max(values, default=None)


def _inverse(value: float | None) -> float | None:
    return 1 / value if value else None


def _found(results: Results, measure: str) -> Any:
    return _at(results, measure, "found")


def _at(found: Any, *names: str) -> Any:
    """Return what stands there; None if it was not measured."""
    for name in names:
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


def rows(results: Results) -> list[tuple[str, str, str, str]]:
    return [
        (
            target.what,
            ("at least " if target.least else "at most ") + f"{target.limit:g}",
            "" if target.value is None else f"{target.value:.3g}",
            target.verdict,
        )
        for target in all_of_them(results)
    ]


def text(results: Results) -> str:
    """Return all targets, a line each."""
    lines = [
        f"{verdict:<22}{value:>7}  {limit:<14} {what}"
        for what, limit, value, verdict in rows(results)
    ]
    return "\n".join(lines)
