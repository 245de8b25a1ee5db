"""
How much is done with 1 to 16 threads and 1 to 500 tasks at once, on one server and on
a cluster of three primaries. Each loads a session of its own, changes and saves it,
over and over.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from django_valkey_sessions.backend import SessionStore
from tests.servers import Server

from .ground import engine_on, one_server, server_cpu, show, three_primaries

THREADS = (1, 2, 4, 8, 16)
TASKS = (1, 10, 50, 200, 500)

Row = dict[str, Any]


def measure(full: bool) -> dict[str, Any]:
    rounds, seconds = (3, 2.0) if full else (1, 1.0)
    found: dict[tuple[str, str, int], list[Row]] = {}
    with one_server() as server, three_primaries() as nodes:
        places = {"1 server": [server], "3 primaries": nodes}
        for _ in range(rounds):  # In turns, so that a busy moment meets both.
            for name, place in places.items():
                for kind, count, figures in _round(place, seconds):
                    found.setdefault((name, kind, count), []).append(figures)
    rows = []
    for (name, kind, count), of in found.items():
        middle = {figure: median(row[figure] for row in of) for figure in of[0]}
        rows.append({"place": name, kind: count, **middle})
        show(rows[-1])
    return {"rows": rows}


def _round(place: list[Server], seconds: float) -> Iterator[tuple[str, int, Row]]:
    with engine_on(*place):
        for count in THREADS:
            yield "threads", count, _row(count, place, seconds)
    # A client of one event loop, which it keeps to itself.
    with engine_on(*place, ASYNC="native"), asyncio.Runner() as runner:
        for count in TASKS:
            yield "tasks", count, _row(count, place, seconds, runner)


def _row(
    count: int,
    nodes: list[Server],
    seconds: float,
    runner: asyncio.Runner | None = None,
) -> Row:
    keys = [_stored() for _ in range(count)] if runner is None else []
    if runner is not None:
        keys = [runner.run(_astored()) for _ in range(count)]
    cpu, of_server = time.process_time(), server_cpu(*nodes)
    started = time.monotonic()
    end = started + seconds
    if runner is None:
        done = _in_threads(keys, end)
    else:
        done = runner.run(_in_tasks(keys, end))
    took = time.monotonic() - started
    connections = max(map(_connections, nodes))
    return {
        "per_second": round(done / took),
        "cpu_us": round((time.process_time() - cpu) / done * 1e6),
        "server_us": round((server_cpu(*nodes) - of_server) / done * 1e6, 1),
        "connections": connections,
    }


def _connections(node: Server) -> int:
    """Return how many connections of the engine a server has."""
    with node.connect() as connection:
        others = int(connection.info("clients")["connected_clients"])
    return others - 1  # One has asked.


def _stored() -> str:
    session = SessionStore()
    session["count"] = 0
    session.save()
    return str(session.session_key)


async def _astored() -> str:
    session = SessionStore()
    await session.aset("count", 0)
    await session.asave()
    return str(session.session_key)


def _in_threads(keys: list[str], end: float) -> int:
    counts: list[int] = []

    def work(key: str) -> None:
        count = 0
        while time.monotonic() < end:
            session = SessionStore(key)
            session["count"] += 1
            session.save()
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=work, args=[key]) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


async def _in_tasks(keys: list[str], end: float) -> int:
    async def work(key: str) -> int:
        count = 0
        while time.monotonic() < end:
            session = SessionStore(key)
            await session.aset("count", await session.aget("count") + 1)
            await session.asave()
            count += 1
        return count

    return sum(await asyncio.gather(*map(work, keys)))
