"""
How many bytes of the server's memory a session takes: sessions as a site has them,
saved by each engine into an empty server. On Valkey as it comes with the tests, and on
Debian's redis-server, whose memory comes from jemalloc as it does in most images. Ours
with the dictionary that ships, and with one that was trained on other sites' sessions.

With a dictionary of your own, on the server that the tests use:

    python -m benchmarks.stored DICTIONARY
"""

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

from . import data
from .crew import Crew, Member, crew
from .engines import ENGINES, MINE, NO_INDEX, OTHERS, OTHERS_NO_INDEX, STORES, label
from .ground import Ground, ground

SESSIONS = 10_000
#: So many of those that are not small. The server's table of keys is as full with them:
#: it has a power of two as its size.
FEWER = SESSIONS // 4
#: Seconds after which the server has moved its table of keys, that has grown, and has
#: freed the smaller one.
SETTLING = 0.5


def measure(ground_: Ground, full: bool, failed: dict[str, str]) -> dict[str, Any]:
    return {
        "sessions": {"small": SESSIONS, "others": FEWER},
        "servers": {
            label: _server(program, kinds(program, full), failed)
            for program, label in programs().items()
        },
    }


def kinds(program: str, full: bool) -> dict[str, int]:
    """Return which sessions are measured on this server, and how many of each."""
    small = {data.SMALL: SESSIONS}
    if not full and not program:
        return small
    more = (data.ANONYMOUS, data.LARGE, *data.KINDS[: None if full else 2])
    return small | dict.fromkeys(more, FEWER)


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
                size = _of_ours(settings, place, kind, count, failed)
                if size is not None:
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
    path = folder / f"without-{kind}.zdict"
    path.write_bytes(data.dictionary_without(kind))
    others = {"DICTIONARY": str(path)}
    return {
        MINE: {},
        NO_INDEX: {"USER_INDEX": False},
        OTHERS: others,
        OTHERS_NO_INDEX: {**others, "USER_INDEX": False},
    }


def _of_ours(
    settings: dict[str, Any],
    place: Ground,
    kind: str,
    count: int,
    failed: dict[str, str],
) -> dict[str, Any] | None:
    more = {"VALKEY_SESSIONS": settings}
    with crew([MINE], place.place, place.log, failed, **more) as workers:
        return _of_all(workers, place, kind, count).get(MINE)


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
        time.sleep(SETTLING)
        after = used(connection)
        connection.flushall()
    if plain is None:
        return None
    return {"bytes": (after - before) / count, "plain": plain / count}


def used(connection: Any) -> int:
    """Return the memory that the data take, without what connections do."""
    # The sum of them in INFO is as old as the server's last round over its clients.
    connections = sum(int(client["tot-mem"]) for client in connection.client_list())
    return int(connection.info("memory")["used_memory"]) - connections


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stored")
    parser.add_argument("dictionary", type=Path, metavar="DICTIONARY")
    path = parser.parse_args().dictionary.resolve(strict=True)
    settings: dict[str, dict[str, Any]] = {MINE: {"DICTIONARY": str(path)}}
    settings[NO_INDEX] = {**settings[MINE], "USER_INDEX": False}
    failed: dict[str, str] = {}
    with ground(databases=False) as place:
        for kind, count in kinds("", full=True).items():
            for name, ours in settings.items():
                size = _of_ours(ours, place, kind, count, failed)
                shown = failed.get(MINE) if size is None else f"{size['bytes']:,.0f}"
                print(f"{label(name)}, {kind}: {shown}", flush=True)


if __name__ == "__main__":
    main()
