"""
A process that uses one engine. It reads what to do from standard input, a line of JSON
each, and answers on standard output, also a line of JSON.

    python -m benchmarks.worker NAME PORT

NAME is an engine's, whose settings are in the environment, or a floor's.
"""

import asyncio
import gc
import itertools
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from . import data, floor

Work = Callable[[Any], Any]
#: What an operation needs is prepared before the clock runs: (prepare, work).
Operation = tuple[Callable[[int], Any], Work]

AsyncWork = Callable[[Any], Awaitable[Any]]

# Of the engines


class Store:
    """The operations of the engine that the settings name."""

    def __init__(self) -> None:
        from importlib import import_module

        import django
        from django.conf import settings

        django.setup()
        self.SessionStore = import_module(settings.SESSION_ENGINE).SessionStore
        self._keys: dict[int, str] = {}
        self._changes = itertools.count(1000)
        self.renews = hasattr(self.SessionStore, "touch")

    def operations(self) -> dict[str, Operation]:
        return {
            "load": (self.key, self._load),
            "create": (self._unsaved, self._save),
            "save": (self._changed, self._save),
            "load and save": (self.key, self._load_and_save),
            "load and renew": (self.key, self._load_and_renew),
            "cycle_key": (self._fresh, lambda session: session.cycle_key()),
            "exists": (self.key, lambda key: self.SessionStore().exists(key)),
            "delete": (self._fresh, lambda session: session.delete()),
        }

    def async_operations(self) -> dict[str, tuple[Callable[[int], Any], AsyncWork]]:
        return {
            "aload": (self.key, self._aload),
            "asave": (self._changed, lambda session: session.asave()),
        }

    def _unsaved(self, number: int) -> Any:
        session = self.SessionStore()
        session.update(data.small(number))
        return session

    def key(self, number: int) -> str:
        """Return the key of the saved session with this number."""
        if number not in self._keys:
            session = self._unsaved(number)
            session.save()
            self._keys[number] = str(session.session_key)
        return self._keys[number]

    def _fresh(self, number: int) -> Any:
        """Return a session that nobody else has, loaded."""
        session = self._unsaved(number)
        session.save()
        return self._loaded(session.session_key)

    def _loaded(self, key: str) -> Any:
        session = self.SessionStore(key)
        assert session["theme"] == "dark"
        return session

    def _changed(self, number: int) -> Any:
        session = self._loaded(self.key(number))
        session["visits"] = next(self._changes)
        return session

    def _load(self, key: str) -> None:
        assert self.SessionStore(key)["theme"] == "dark"

    def _save(self, session: Any) -> None:
        session.save()

    def _load_and_save(self, key: str) -> None:
        session = self.SessionStore(key)
        session["visits"] += 1
        session.save()

    def _load_and_renew(self, key: str) -> None:
        """Do what a request does that reads a session and keeps it alive."""
        session = self.SessionStore(key)
        if not self.renews:
            assert session["theme"] == "dark"
            return session.save()
        session.rolling = True
        assert session["theme"] == "dark"
        return session.touch()

    async def _aload(self, key: str) -> None:
        assert await self.SessionStore(key).aget("theme") == "dark"


class Floor:
    """The operations of a client without an engine."""

    def __init__(self, name: str, port: int) -> None:
        self._port = port
        make = {"glide": floor.Glide, "socket": floor.BareSocket}[name]
        self._client: Any = make(port)
        self._native: Any = None

    def operations(self) -> dict[str, Operation]:
        save = lambda key: self._client.set(key, floor.VALUE)  # noqa: E731
        return {
            "load": (self._key, self._client.get),
            "create": (self._key, save),
            "save": (self._key, save),
        }

    def async_operations(self) -> dict[str, tuple[Callable[[int], Any], AsyncWork]]:
        if isinstance(self._client, floor.BareSocket):
            return {}
        return {"aload": (self._key, self._aget), "asave": (self._key, self._aset)}

    def _key(self, number: int) -> str:
        key = f"floor:{number:032x}"
        self._client.set(key, floor.VALUE)
        return key

    async def _made(self) -> Any:
        if self._native is None:
            self._native = await floor.AsyncGlide.made(self._port)
        return self._native

    async def _aget(self, key: str) -> Any:
        return await (await self._made()).get(key)

    async def _aset(self, key: str) -> Any:
        return await (await self._made()).set(key, floor.VALUE)


# What can be asked for


class Worker:
    def __init__(self, name: str, port: int) -> None:
        floors = ("glide", "socket")
        self.store: Any = Floor(name, port) if name in floors else Store()
        self._runner = asyncio.Runner()
        self._visitor: Any = None

    def names(self) -> list[str]:
        return [*self.store.operations()]

    def async_names(self) -> list[str]:
        return [*self.store.async_operations()]

    def time(self, operation: str, count: int) -> dict[str, float]:
        """
        Return the microseconds of an operation, by the clock and of CPU, and how often
        a thread of this process waited in it.
        """
        prepare, work = self.store.operations()[operation]
        arguments = [prepare(number) for number in range(count)]
        gc.collect()
        before = _now()
        for argument in arguments:
            work(argument)
        return _spent(before, count)

    def atime(self, operation: str, count: int, at_once: int) -> dict[str, float]:
        """Return the same where so many are awaited at once."""
        prepare, work = self.store.async_operations()[operation]
        arguments = [prepare(number) for number in range(count)]

        async def some(mine: list[Any]) -> None:
            for argument in mine:
                await work(argument)

        async def all_of_them() -> dict[str, float]:
            await some(arguments[:1])  # Connects, if nobody has yet.
            before = _now()
            parts = [arguments[start::at_once] for start in range(at_once)]
            await asyncio.gather(*map(some, parts))
            return _spent(before, count)

        gc.collect()
        return self._runner.run(all_of_them())

    def migrate(self) -> None:
        """Make the tables of the database that the settings name."""
        from django.core.management import call_command

        call_command("migrate", verbosity=0)

    # Whole requests

    def visit(self, *paths: str) -> None:
        """Come as a new visitor to these pages."""
        from django.test import Client

        self._visitor = Client()
        for path in paths:
            self.request(path)

    def request(self, path: str, renewing: bool = False) -> int:
        """
        Let the visitor ask for a page, of a site that may have
        SESSION_SAVE_EVERY_REQUEST; return how many statements that took.
        """
        from django.db import connection
        from django.test import override_settings

        statements = 0

        def count(execute: Any, *arguments: Any) -> Any:
            nonlocal statements
            statements += 1
            return execute(*arguments)

        site = override_settings(SESSION_SAVE_EVERY_REQUEST=renewing)
        with site, connection.execute_wrapper(count):
            reply = self._visitor.get(path)
        assert reply.status_code == 200, reply.status_code
        return statements

    # Many sessions

    def fill(self, kind: str, count: int) -> int:
        """Save sessions of this kind; return how many bytes of JSON these are."""
        size = 0
        for contents in data.sessions(kind, count):
            session = self.store.SessionStore()
            session.update(contents)
            session.save()
            size += len(json.dumps(contents, separators=(",", ":")))
        return size

    def own_python(self, operation: str, count: int) -> dict[str, float]:
        """Return the microseconds of an operation that are not GLIDE's."""
        from . import inside

        prepare, work = self.store.operations()[operation]
        return inside.median([prepare(number) for number in range(count)], work)

    # See profile/

    def calls(self, request: str) -> dict[str, int]:
        from .profile import requests

        return requests.calls(request)

    def gil_releases(self, request: str) -> dict[str, int]:
        from .profile import requests

        return requests.gil_releases(request)

    def stages(self, times: int, port: int) -> list[dict[str, Any]]:
        from .profile import stages

        return stages.stages(times, port)

    def awaited(self, operation: str, at_once: int, seconds: float) -> dict[str, Any]:
        from .profile import awaiting

        prepare, work = self.store.async_operations()[operation]
        return awaiting.awaited(self._runner, prepare, work, at_once, seconds)

    def awaited_gil_releases(self, operation: str, at_once: int) -> dict[str, float]:
        from .profile import awaiting

        prepare, work = self.store.async_operations()[operation]
        return awaiting.gil_releases(self._runner, prepare, work, at_once)


def _now() -> tuple[float, float, int]:
    """Return clock, CPU, and how often one of the threads had to wait for something."""
    waits = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    return time.perf_counter(), time.process_time(), waits


def _spent(before: tuple[float, float, int], count: int) -> dict[str, float]:
    """Return what has been spent since then for each of so many: see Worker.time()."""
    wall, cpu, waits = (now - then for now, then in zip(_now(), before, strict=True))
    return {
        "wall": wall / count * 1e6,
        "cpu": cpu / count * 1e6,
        "waits": waits / count,
    }


def main(name: str, port: str) -> None:
    # What libraries print must not get among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker: Worker | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, Any]
        try:
            worker = worker or Worker(name, int(port))
            answer = {"is": getattr(worker, asked["do"])(*asked["with"])}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
