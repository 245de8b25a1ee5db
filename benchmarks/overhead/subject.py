"""Measure the engine that PYTHONPATH leads to; print the figures as JSON."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from django.conf import settings

URL = sys.argv[1]
settings.configure(
    SECRET_KEY="not a secret of any site",  # noqa: S106
    USE_TZ=True,
    VALKEY_SESSIONS={"LOCATION": URL, "ASYNC": "native"},
)

from django_valkey_sessions import client, keys  # noqa: E402
from django_valkey_sessions.backend import SessionStore  # noqa: E402

#: A small session: a login and five values.
DATA = {
    "_auth_user_id": "42",
    "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
    "_auth_user_hash": "8a1f0c5e7d2b49638a1f0c5e7d2b4963" * 2,
    "language": "en-gb",
    "cart": [17, 23, 42],
    "last_seen": "2026-11-24T12:00:00",
    "theme": "dark",
    "visits": 3,
}
#: Short enough to go undisturbed now and then, on a machine that does other work.
BLOCK, BLOCKS = 20, 500


class Fake:
    """A client that answers at once, as a server that has these values would."""

    def __init__(self, values: dict[str, bytes]) -> None:
        self.values = values
        self.last: tuple[Callable[..., Any], tuple[Any, ...]] = (len, ("",))

    def exec(self, *arguments: Any) -> list[Any]:
        self.last = self.exec, arguments
        return [self.reply(words) for _, words in arguments[0].commands]

    def custom_command(self, words: list[Any]) -> Any:
        self.last = self.custom_command, (words,)
        return self.reply(words)

    def get(self, key: Any) -> Any:
        self.last = self.get, (key,)
        return self.values[key]

    def reply(self, words: list[Any]) -> Any:
        if words[0] == "GET":
            return self.values[words[1]]
        if words[0] in ("EVAL", "EVALSHA"):
            stamp = words[-2][6:18]
            return stamp if words[2] == "1" else [stamp, b""]
        return b"OK"

    def close(self) -> None:
        pass


def cost(
    work: Callable[[], Any], clock: Callable[[], int] = time.thread_time_ns
) -> float:
    """
    Return how many microseconds a call takes: that of the best of many blocks, which
    others on the machine have disturbed the least.
    """
    took = []
    for _ in range(BLOCKS):
        started = clock()
        for _ in range(BLOCK):
            work()
        took.append((clock() - started) / BLOCK / 1000)
    return min(took)


def operations(session_keys: list[str]) -> dict[str, Callable[[], Any]]:
    """
    Return what is measured. Of more sessions than the engine keeps ciphers for: those
    of two requests are seldom the same.
    """
    them = itertools.cycle(session_keys)

    def read() -> None:
        SessionStore(next(them))["visits"]

    def request() -> None:
        session = SessionStore(next(them))
        session["visits"] += 1
        session.save()

    return {"read": read, "read and write": request}


def own_python(session_keys: list[str], values: dict[str, bytes]) -> dict[str, float]:
    """Return what is the engine's own, with a client that answers at once."""
    fake = Fake(values)
    settings.VALKEY_SESSIONS = {"LOCATION": URL, "CLIENT": lambda: fake}
    client.close()
    SessionStore(session_keys[0]).load()
    process().blocking.watchdog_lives = True
    found, before = {}, 0.0
    for name, work in operations(session_keys).items():
        whole = cost(work)
        call, arguments = fake.last
        # The second call of a write comes on top of that of its read.
        found[name] = whole - cost(partial(call, *arguments)) - before
        before = whole
    return {
        "read, own Python, µs": found["read"],
        "write, own Python, µs": found["read and write"],
    }


def with_server(session_keys: list[str]) -> dict[str, float]:
    settings.VALKEY_SESSIONS = {"LOCATION": URL}
    client.close()
    found = {
        f"{name}, whole, µs": cost(work, time.perf_counter_ns)
        for name, work in operations(session_keys).items()
    }
    glide = process().blocking.client
    words = ["GET", f"session:{keys.session_id(session_keys[0])}"]
    found["GLIDE, custom_command, µs"] = cost(
        lambda: glide.custom_command(words), time.perf_counter_ns
    )
    return found


def process() -> Any:
    """Return the clients of this process, in the version before too."""
    return client.current() if hasattr(client, "current") else client._process()


async def awaiting(key: str) -> dict[str, float]:
    settings.VALKEY_SESSIONS = {"LOCATION": URL, "ASYNC": "native"}
    client.close()
    await SessionStore(key).aload()
    found = {}
    for at_once in (1, 50, 200):
        found |= await at_concurrency(at_once, key)
    client.close()
    return found


async def at_concurrency(at_once: int, key: str) -> dict[str, float]:
    """Return what the engine costs, and how it compares with GLIDE alone."""
    glide = process().native.client
    sessions = [SessionStore(key) for _ in range(at_once)]
    for session in sessions:
        await session.acreate()
        await session.aset("visits", 1)
    names = [f"bare:{keys.session_id(str(one.session_key))}" for one in sessions]
    stored = f"session:{keys.session_id(key)}"
    value = await glide.get(stored)
    script = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])"

    async def load(number: int) -> None:
        await SessionStore(key).aload()

    async def bare_load(number: int) -> None:
        await glide.get(stored)

    async def save(number: int) -> None:
        await sessions[number].aset("visits", next(visits))
        await sessions[number].asave()

    async def bare_script(number: int) -> None:
        await glide.custom_command(
            ["EVAL", script, "1", names[number], value, "1209600000"]
        )

    async def bare_set(number: int) -> None:
        await glide.set(names[number], value)

    visits = itertools.count()
    works = (load, bare_load, save, bare_script, bare_set)
    took: dict[str, list[float]] = {work.__name__: [] for work in works}
    for _ in range(15):
        for work in works:
            took[work.__name__].append(await each_takes(work, at_once))
    best = {name: min(all) for name, all in took.items()}
    return {
        f"aload, {at_once} at once, µs": best["load"],
        f"aload, {at_once} at once, of bare": best["bare_load"] / best["load"],
        f"asave, {at_once} at once, µs": best["save"],
        f"asave, {at_once} at once, of bare script": best["bare_script"] / best["save"],
        f"asave, {at_once} at once, of bare SET": best["bare_set"] / best["save"],
    }


async def each_takes(work: Callable[[int], Awaitable[None]], at_once: int) -> float:
    """Return how many microseconds each takes, with so many under way."""
    each = max(2, 200 // at_once)

    async def worker(number: int) -> None:
        for _ in range(each):
            await work(number)

    started = time.perf_counter()
    await asyncio.gather(*map(worker, range(at_once)))
    return (time.perf_counter() - started) / at_once / each * 1e6


COMPILED = os.path.join(tempfile.gettempdir(), "valkey-sessions-compiled")
IMPORTING = """
import json, resource, time
from django.conf import settings
settings.configure(SECRET_KEY="x", VALKEY_SESSIONS={})
import django.contrib.sessions.backends.cache, django.contrib.sessions.middleware
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6
before, started = resident(), time.thread_time()
import django_valkey_sessions.backend
print(json.dumps([(time.thread_time() - started) * 1000, resident() - before]))
"""


def importing() -> dict[str, float]:
    """Return what the import adds to that of Django's own engine, compiled before."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": COMPILED}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", IMPORTING],
                env=environment,
                check=True,
                stdout=subprocess.PIPE,
            ).stdout
        )
        for _ in range(6)
    ]
    return {
        "import, ms": min(one[0] for one in done),
        "import, MB": min(one[1] for one in done),
    }


def main() -> None:
    sessions = [SessionStore() for _ in range(600)]
    for session in sessions:
        session.update(DATA)
        session.create()
    session_keys = [str(session.session_key) for session in sessions]
    names = [f"session:{keys.session_id(key)}" for key in session_keys]
    values = {name: client.execute(["GET", name]) for name in names}
    figures = {
        **own_python(session_keys, values),
        **with_server(session_keys),
        **asyncio.run(awaiting(session_keys[0])),
        **importing(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
