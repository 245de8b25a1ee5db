"""
How many bytes of the server's memory a session takes: sessions as a site has them, ten
thousand of them, saved by each engine into an empty server. On Valkey as it comes with
the tests, and on Debian's redis-server, whose memory comes from jemalloc as it does in
most images.
"""

import shutil
from typing import Any

from . import data
from .crew import Crew, Member, crew
from .engines import ENGINES, MINE, STORES
from .ground import Ground, ground

SESSIONS = 10_000
#: Kinds of sites that are measured besides in a quick run.
QUICK_KINDS = data.KINDS[:2]


def measure(ground_: Ground, full: bool, failed: dict[str, str]) -> dict[str, Any]:
    found = {}
    for program, label in programs().items():
        # The large ones take long, and differ little from one allocator to the other.
        kinds = [data.SMALL, data.LARGE] if full or program else [data.SMALL]
        with ground(program or None, databases=False) as place:
            found[label] = {"sizes": _sizes(place, kinds, failed)}
            if program or full:
                other = data.KINDS if full else QUICK_KINDS
                found[label]["held out"] = {
                    kind: _held_out(place, kind, failed) for kind in other
                }
            with place.connect() as connection:
                info = {**connection.info("server"), **connection.info("memory")}
            found[label]["version"] = info.get("valkey_version", info["redis_version"])
            found[label]["allocator"] = info["mem_allocator"]
    return {"sessions": SESSIONS, "servers": found}


def programs() -> dict[str, str]:
    """Return the servers there are: their programs, and what they are called."""
    found = {"": "Valkey"}
    if shutil.which("redis-server"):
        found["redis-server"] = "redis-server"
    return found


def _sizes(place: Ground, kinds: list[str], failed: dict[str, str]) -> dict[str, Any]:
    names = [name for name in STORES if ENGINES[name].in_server]
    with crew(names, place.place, place.log, failed) as workers:
        return {kind: _of_all(workers, place, kind) for kind in kinds}


def _held_out(place: Ground, kind: str, failed: dict[str, str]) -> dict[str, Any]:
    """Measure sessions of a kind of site that our dictionary does not know."""
    dictionary = place.folder / f"without-{kind}.zdict"
    dictionary.write_bytes(data.dictionary_without(kind))
    names = [name for name in STORES if ENGINES[name].in_server and name != MINE]
    with crew(names, place.place, place.log, failed) as workers:
        found = _of_all(workers, place, kind)
    own = {"VALKEY_SESSIONS": {"DICTIONARY": str(dictionary)}}
    with crew([MINE], place.place, place.log, failed, **own) as workers:
        return {**_of_all(workers, place, kind), **found}


def _of_all(workers: Crew, place: Ground, kind: str) -> dict[str, Any]:
    found = {}
    for member in workers.each():
        size = _bytes(workers, member, place, kind)
        if size is not None:
            found[member.name] = size
    for size in found.values():
        size["ratio"] = size["bytes"] / found[MINE]["bytes"] if MINE in found else None
    return found


def _bytes(
    workers: Crew, member: Member, place: Ground, kind: str
) -> dict[str, Any] | None:
    """Return how much the server's memory has grown for one session."""
    with place.connect() as connection:
        # What a first connection and a first script take is not of the sessions.
        workers.ask(member, "fill", kind, 10)
        connection.flushall()
        before = used(connection)
        plain = workers.ask(member, "fill", kind, SESSIONS)
        after = used(connection)
        connection.flushall()
    if plain is None:
        return None
    return {"bytes": (after - before) / SESSIONS, "plain": plain / SESSIONS}


def used(connection: Any) -> int:
    """Return the memory that the data take, without what connections do."""
    memory = connection.info("memory")
    return int(memory["used_memory"]) - int(memory["mem_clients_normal"])
