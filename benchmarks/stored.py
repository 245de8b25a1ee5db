"""
How many bytes of the server's memory a session takes: sessions as a site has them, ten
thousand of them, saved by each engine into an empty server. On Valkey as it comes with
the tests, and on Debian's redis-server, whose memory comes from jemalloc as it does in
most images.
"""

import shutil
from pathlib import Path
from typing import Any

from . import data
from .crew import Crew, Member, crew
from .engines import ENGINES, MINE, NO_INDEX, STORES
from .ground import Ground, ground

SESSIONS = 10_000
#: So many of the large ones in a quick run.
QUICK_LARGE = 2_000


def measure(ground_: Ground, full: bool, failed: dict[str, str]) -> dict[str, Any]:
    return {
        "sessions": SESSIONS,
        "servers": {
            label: _server(program, kinds(program, full), failed)
            for program, label in programs().items()
        },
    }


def kinds(program: str, full: bool) -> dict[str, int]:
    """Return which sessions are measured on this server, and how many of each."""
    small = {data.SMALL: SESSIONS}
    if full:
        everything = (data.LARGE, *data.KINDS)
        return small | dict.fromkeys(everything, SESSIONS)
    # The large ones take long, and differ little from one allocator to the other.
    more = {data.LARGE: QUICK_LARGE, **dict.fromkeys(data.KINDS[:2], SESSIONS)}
    return small | more if program else small


def programs() -> dict[str, str]:
    """Return the servers there are: their programs, and what they are called."""
    found = {"": "Valkey"}
    if shutil.which("redis-server"):
        found["redis-server"] = "redis-server"
    return found


def _server(
    program: str, kinds: dict[str, int], failed: dict[str, str]
) -> dict[str, Any]:
    names = [name for name in STORES if ENGINES[name].in_server and name != MINE]
    found: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
    with ground(program or None, databases=False) as place:
        for kind, count in kinds.items():
            for name, settings in _ours(kind, place.folder).items():
                more = {"VALKEY_SESSIONS": settings}
                with crew([MINE], place.place, place.log, failed, **more) as workers:
                    for size in _of_all(workers, place, kind, count).values():
                        found[kind][name] = size
        with crew(names, place.place, place.log, failed) as workers:
            for kind, count in kinds.items():
                found[kind] |= _of_all(workers, place, kind, count)
        with place.connect() as connection:
            allocator = connection.info("memory")["mem_allocator"]
            about = connection.info("server")
    for sizes in found.values():
        for size in sizes.values():
            if MINE in sizes:
                size["ratio"] = size["bytes"] / sizes[MINE]["bytes"]
    return {
        "allocator": allocator,
        "version": about.get("valkey_version", about["redis_version"]),
        "sizes": found,
    }


def _ours(kind: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Return our settings, with the index that the others lack and without it."""
    settings: dict[str, Any] = {}
    if kind in data.KINDS:
        path = folder / f"without-{kind}.zdict"
        if not path.exists():
            path.write_bytes(data.dictionary_without(kind))
        settings["DICTIONARY"] = str(path)
    return {MINE: settings, NO_INDEX: {**settings, "USER_INDEX": False}}


def _of_all(
    workers: Crew, place: Ground, kind: str, count: int
) -> dict[str, dict[str, Any]]:
    sizes = {
        member.name: _bytes(workers, member, place, kind, count)
        for member in workers.each()
    }
    return {name: size for name, size in sizes.items() if size is not None}


def _bytes(
    workers: Crew, member: Member, place: Ground, kind: str, count: int
) -> dict[str, Any] | None:
    """Return how much the server's memory has grown for one session."""
    with place.connect() as connection:
        # What a first connection and a first script take is not of the sessions.
        workers.ask(member, "fill", kind, 10)
        connection.flushall()
        before = used(connection)
        plain = workers.ask(member, "fill", kind, count)
        after = used(connection)
        connection.flushall()
    if plain is None:
        return None
    return {"bytes": (after - before) / count, "plain": plain / count}


def used(connection: Any) -> int:
    """Return the memory that the data take, without what connections do."""
    memory = connection.info("memory")
    return int(memory["used_memory"]) - int(memory["mem_clients_normal"])
