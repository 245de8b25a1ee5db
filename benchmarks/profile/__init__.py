"""
Why the other measures find what they find. It looks into a request and an operation:

    owners      whose code a function is
    requests    one request through WSGI: calls of Python functions, releases of the GIL
    gil, gil.c  count how often the GIL is released
    stages      what this engine does for a read and a write, by the clock
    awaiting    many operations awaited at once: calls and time, by package

What is counted is exact, and on each machine the same for the same versions.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..crew import Crew, crew
from ..engines import ENGINES, MINE
from . import gil

if TYPE_CHECKING:  # Who only looks at results needs none of the rivals.
    from ..ground import Ground

#: Those of the requests in visits.py that are looked into.
REQUESTS = ("anonymous", "read", "write")

#: Who is awaited: the fastest rival, and the client without an engine.
AWAITED = (MINE, "django-vcache", "glide")
OPERATIONS = ("aload", "asave")
AT_ONCE = 50

#: GLIDE's awaiting client from the beginning.
NATIVE = {"VALKEY_SESSIONS": {"ASYNC": "native"}}
#: (times that a stage is measured, seconds of an awaited operation)
QUICK, FULL = (1000, 1.0), (5000, 5.0)


def measure(
    ground: "Ground",
    full: bool,
    failed: dict[str, str],
    engines: Iterable[str] = tuple(ENGINES),
    awaited: Iterable[str] = AWAITED,
    amount: tuple[int, float] | None = None,
) -> dict[str, Any]:
    times, seconds = amount or (FULL if full else QUICK)
    place, log = ground.place, ground.log
    with crew(engines, place, log, failed) as workers:
        found = {"calls": _of_all(workers, "calls")}
    found["gil"] = _gil(ground, engines, awaited, failed)
    with crew([MINE], place, log, failed) as workers:
        for member in workers.each():
            found["stages"] = workers.ask(member, "stages", times, place.valkey)
    unable: dict[str, str] = {}
    with crew(awaited, place, log, unable, **NATIVE) as workers:
        found["awaiting"] = {
            name: _of_each(workers, "awaited", name, AT_ONCE, seconds)
            for name in OPERATIONS
        }
    failed |= {f"{name}, awaiting": why for name, why in unable.items()}
    return found


def _of_all(workers: Crew, what: str) -> dict[str, Any]:
    """Return what each engine's worker says of each request."""
    return {request: _of_each(workers, what, request) for request in REQUESTS}


def _of_each(workers: Crew, what: str, *words: Any) -> dict[str, Any]:
    answers = {
        member.name: workers.ask(member, what, *words) for member in workers.each()
    }
    return {name: answer for name, answer in answers.items() if answer is not None}


def _gil(
    ground: "Ground",
    engines: Iterable[str],
    awaited: Iterable[str],
    failed: dict[str, str],
) -> dict[str, Any]:
    unable: dict[str, str] = {}
    try:
        library = gil.compiled(ground.folder)
    except gil.NotCountable as error:
        return {"impossible": str(error)}
    with (
        gil.preloaded(library),
        crew(engines, ground.place, ground.log, unable) as workers,
    ):
        found = _of_all(workers, "gil_releases")
        if not workers.members:  # It is not one of them that fails.
            return {"impossible": next(iter(unable.values()))}
    with (
        gil.preloaded(library),
        crew(awaited, ground.place, ground.log, unable, **NATIVE) as workers,
    ):
        found |= {
            f"{name}, {AT_ONCE} at once": _of_each(
                workers, "awaited_gil_releases", name, AT_ONCE
            )
            for name in OPERATIONS
        }
    failed |= {f"{name}, with the GIL watched": why for name, why in unable.items()}
    return found
