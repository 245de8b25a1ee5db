"""
Whether an operation notices how many sessions there are: two servers, one with few and
one with very many, asked in turns.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from django_valkey_sessions.backend import SessionStore
from tests.servers import Server

from .filling import copies
from .ground import engine_on, one_server, server_cpu, show

FEW = 10_000
ROUNDS = 8


def measure(full: bool) -> dict[str, Any]:
    many, times = (10_000_000, 1000) if full else (1_000_000, 300)
    with one_server() as small, one_server() as large:
        places = {FEW: small, many: large}
        for count, server in places.items():
            copies(server, count)
        rounds: dict[tuple[int, str], list[tuple[float, float]]] = {}
        for _ in range(ROUNDS):
            for count, server in places.items():
                with engine_on(server):
                    for name, figures in _round(server, times).items():
                        rounds.setdefault((count, name), []).append(figures)
        rows = []
        for (count, name), found in rounds.items():
            wall, of_server = (median(column) for column in zip(*found, strict=True))
            row: dict[str, Any] = {"keys": count, "operation": name}
            row |= {"us": round(wall, 1), "server_us": round(of_server, 1)}
            show(row)
            rows.append(row)
        used = {count: _used(server) for count, server in places.items()}
    return {"rows": rows, "server_bytes": used}


def _round(server: Server, times: int) -> dict[str, tuple[float, float]]:
    session = SessionStore()
    session["count"] = 0
    session.save()
    key = session.session_key

    def change() -> None:
        found = SessionStore(key)
        found["count"] += 1
        found.save()

    def create_and_end() -> None:
        fresh = SessionStore()
        fresh.create()
        fresh.delete()

    doings = {
        "load": lambda: SessionStore(key).load(),
        "load of none": lambda: SessionStore("0" * 32).load(),
        "load and save": change,
        "create and delete": create_and_end,
    }
    return {name: _measured(server, do, times) for name, do in doings.items()}


def _measured(
    server: Server, do: Callable[[], object], times: int
) -> tuple[float, float]:
    """Return microseconds: the median, and of the server's CPU the mean."""
    do()
    took = []
    of_server = server_cpu(server)
    for _ in range(times):
        started = time.perf_counter()
        do()
        took.append(time.perf_counter() - started)
    of_server = server_cpu(server) - of_server
    return median(took) * 1e6, of_server / times * 1e6


def _used(server: Server) -> int:
    with server.connect() as connection:
        return int(connection.info("memory")["used_memory"])
