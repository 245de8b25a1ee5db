"""
What one operation costs with sessions of 100 bytes to 1 MB, here and in Django's cache
engine on Django's RedisCache: time, CPU of both sides, memory of the server, and what
Python holds at most meanwhile.
"""

import random
import time
import tracemalloc
from statistics import median
from typing import Any

from corpus import corpus
from django.contrib.sessions.backends import cache as cache_engine
from django.test import override_settings
from train import TESTING

from django_valkey_sessions.backend import SessionStore
from tests.servers import Server

from .filling import VARIETY
from .ground import engine_on, one_server, server_cpu, show

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
ENGINES = {"this": SessionStore, "cache on RedisCache": cache_engine.SessionStore}
ROUNDS = 5
#: Pieces of the text are between so many characters long.
PIECES = (20, 200)


def measure(full: bool) -> dict[str, Any]:
    times = 400 if full else 60
    rows = []
    with (
        one_server() as server,
        engine_on(server),
        override_settings(CACHES=_on(server)),
    ):
        for size in SIZES:
            rows += _rows(server, size, max(10, times * 1000 // max(size, 1000)))
    return {"rows": rows}


def _on(server: Server) -> dict[str, Any]:
    location = f"redis://127.0.0.1:{server.port}"
    backend = "django.core.cache.backends.redis.RedisCache"
    return {"default": {"BACKEND": backend, "LOCATION": location}}


def text_of(size: int) -> str:
    """Return so many characters, pieces of what sites keep in sessions."""
    chance = random.Random(size)
    source = b"".join(
        b"".join(texts) for texts in corpus(VARIETY, TESTING).values()
    ).decode()
    pieces: list[str] = []
    while len(pieces) * PIECES[0] < size:
        start = chance.randrange(len(source))
        pieces.append(source[start : start + chance.randint(*PIECES)])
    return "".join(pieces)[:size]


def _rows(server: Server, size: int, times: int) -> list[dict[str, Any]]:
    text = text_of(size)
    kept = {}
    rows: dict[str, dict[str, Any]] = {}
    for name, store in ENGINES.items():
        before = _used(server)
        session = store()
        session["text"] = text
        session.save()
        kept[name] = session.session_key
        rows[name] = {"size": size, "engine": name, "stored": _used(server) - before}
    measured: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for _ in range(ROUNDS):  # In turns, so that a busy moment meets all of them.
        for name, store in ENGINES.items():
            for doing, do in DOINGS.items():
                figures = _measured(server, lambda: do(store(kept[name])), times)  # noqa: B023
                measured.setdefault((name, doing), []).append(figures)
    for (name, doing), rounds in measured.items():
        wall, cpu, of_server = (median(column) for column in zip(*rounds, strict=True))
        rows[name] |= {
            f"{doing}_us": round(wall),
            f"{doing}_cpu_us": round(cpu),
            f"{doing}_server_us": round(of_server),
        }
    for name, store in ENGINES.items():
        rows[name]["held_bytes"] = _held(lambda: _change(store(kept[name])))  # noqa: B023
        show(rows[name])
    return list(rows.values())


def _read(session: Any) -> None:
    session["text"]


def _change(session: Any) -> None:
    session["count"] = session.get("count", 0) + 1
    session.save()


DOINGS = {"read": _read, "change": _change}


def _measured(server: Server, do: Any, times: int) -> tuple[float, ...]:
    """Return microseconds: the median one, of CPU here, and of CPU in the server."""
    took = []
    before, of_server = time.process_time(), server_cpu(server)
    for _ in range(times):
        started = time.perf_counter()
        do()
        took.append(time.perf_counter() - started)
    cpu = time.process_time() - before
    of_server = server_cpu(server) - of_server
    return median(took) * 1e6, cpu / times * 1e6, of_server / times * 1e6


def _held(do: Any) -> int:
    """Return how many bytes Python holds at most during a read and a change."""
    do()
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _used(server: Server) -> int:
    """Return the bytes of all keys, without what connections have as buffers."""
    with server.connect() as connection:
        keys = connection.keys("*")
        return sum(connection.memory_usage(key) or 0 for key in keys)
