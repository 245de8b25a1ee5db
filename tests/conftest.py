"""
Fixtures. One server for the run, a key prefix for each test; tests that damage a
server get one of their own.
"""

import asyncio
import contextvars
import io
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import valkey as valkey_client
from django.core.management import call_command
from django.core.management.base import CommandError

from django_valkey_sessions import client, sessions
from django_valkey_sessions.conf import conf
from django_valkey_sessions.flow import Trip
from django_valkey_sessions.scripts import Script

from . import servers

_server: Any = None
_report = ""


def pytest_configure(config: pytest.Config) -> None:
    global _server, _report
    # Development mode has it tell of slow event loops, which is for tests of logs to
    # take for what they wait for; and slow is what a busy machine makes all of them.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    if not config.option.collectonly:
        try:
            _server, _report = servers.suite_server()
        except servers.NoBackend as error:
            pytest.exit(f"No server for the tests: {error}", 2)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Function]
) -> None:
    """Where the engine's user is to have few rights, leave out where it has all."""
    if not os.environ.get("VALKEY_ADMIN_URL"):
        return
    elsewhere = {"own_server", "cluster"}
    left_out = [item for item in items if elsewhere & {*item.fixturenames}]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_unconfigure(config: pytest.Config) -> None:
    if _server is not None:
        _server.close()
    servers.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(_report)


@pytest.fixture
def server() -> Any:
    """The suite's server."""
    return _server


@pytest.fixture
def valkey() -> Iterator[valkey_client.Valkey]:
    """
    The evidence: a client that has nothing to do with the one under test. Where the
    engine's user has few rights, VALKEY_ADMIN_URL names one who has all.
    """
    admin = os.environ.get("VALKEY_ADMIN_URL")
    with valkey_client.from_url(admin) if admin else _server.connect() as client:
        yield client


@pytest.fixture
def own_server() -> Iterator[servers.Server]:
    """A server that the test may stop, pause and fill."""
    server = servers.Server("--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.close()


@pytest.fixture
def engine(settings: Any, server: Any, valkey: Any) -> Iterator[str]:
    """The engine on the suite's server, under a prefix that no other test has."""
    # Below the default one, because a user of the server may have rights to that only.
    prefix = f"session:test:{uuid.uuid4().hex[:12]}:"
    settings.SESSION_ENGINE = "django_valkey_sessions.backend"
    settings.VALKEY_SESSIONS = {"LOCATION": server.url, "PREFIX": prefix}
    yield prefix
    for key in valkey.scan_iter(f"{prefix}*"):
        valkey.delete(key)


@pytest.fixture
def valkey_sessions(settings: Any, engine: str) -> Callable[..., dict[str, Any]]:
    """Change the engine's settings: those that are given, and no others."""

    def change(**names: Any) -> dict[str, Any]:
        # A new dictionary, so that the change is seen and undone.
        settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, **names}
        return settings.VALKEY_SESSIONS

    return change


@pytest.fixture
def own_engine(settings: Any, own_server: servers.Server) -> servers.Server:
    """The engine on a server of the test's own."""
    settings.SESSION_ENGINE = "django_valkey_sessions.backend"
    settings.VALKEY_SESSIONS = {"LOCATION": own_server.url}
    return own_server


@pytest.fixture
def stock_middleware(settings: Any) -> None:
    """Django's SessionMiddleware in the place of ours."""
    settings.MIDDLEWARE = [
        name.replace("django_valkey_sessions.", "django.contrib.sessions.")
        for name in settings.MIDDLEWARE
    ]


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Call a session's method by its blocking name, on either surface."""
    if request.param == "sync":
        yield lambda session, name, *args, **kw: getattr(session, name)(*args, **kw)
        return
    with asyncio.Runner() as runner:
        yield lambda session, name, *args, **kw: runner.run(
            # Else the runner would keep the context of its first use.
            getattr(session, f"a{name}")(*args, **kw),
            context=contextvars.copy_context(),
        )


@pytest.fixture
def before_each_trip(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have something done before each round trip, until the test is over."""
    execute, aexecute = client.execute, client.aexecute

    def install(act: Callable[[Trip], None]) -> None:
        def blocking(trip: Trip) -> Any:
            act(trip)
            return execute(trip)

        async def awaiting(trip: Trip) -> Any:
            act(trip)
            return await aexecute(trip)

        monkeypatch.setattr(client, "execute", blocking)
        monkeypatch.setattr(client, "aexecute", awaiting)

    return install


def evaluates(trip: Trip, script: str) -> bool:
    """Return True if a round trip begins with this script."""
    first = trip[0] if isinstance(trip, tuple) else trip
    if not isinstance(script, Script) or not isinstance(first, list):
        return False
    return first[1] in (script, script.sha)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Said:
    """What a command has written."""

    def __init__(self, out: io.StringIO, err: io.StringIO) -> None:
        self.out, self.err = out.getvalue(), err.getvalue()


@pytest.fixture
def run(engine: str) -> Callable[..., Said]:
    """Run a subcommand of valkey_sessions in this process."""

    def run(*words: str, terminal: bool = False, **options: Any) -> Said:
        out, err = (Terminal() if terminal else io.StringIO() for _ in range(2))
        try:
            call_command("valkey_sessions", *words, stdout=out, stderr=err, **options)
        except (CommandError, SystemExit) as error:
            error.said = Said(out, err)  # type: ignore[union-attr]
            raise
        return Said(out, err)

    return run


@pytest.fixture(params=["rich", "plain"])
def look(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With rich, and where it is not installed."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    if request.param != "rich":
        monkeypatch.setitem(sys.modules, "rich", None)
    return str(request.param)


@pytest.fixture(scope="session")
def cluster() -> Iterator[list[servers.Server]]:
    """A cluster of three primaries, each with a replica."""
    nodes = servers.cluster()
    yield nodes
    for node in nodes:
        node.close()


@pytest.fixture
def clustered(
    cluster: list[servers.Server], settings: Any
) -> Iterator[list[servers.Server]]:
    """The engine on that cluster, which is empty before and after."""
    settings.SESSION_ENGINE = "django_valkey_sessions.backend"
    settings.VALKEY_SESSIONS = {
        "LOCATION": [node.url for node in cluster[:2]],
        "CLUSTER": True,
    }
    yield cluster
    client.close()
    for node in cluster[:3]:
        with node.connect() as connection:
            connection.flushall()


@pytest.fixture(scope="session")
def site_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site whose database has the user demo."""
    folder = tmp_path_factory.mktemp("site")
    create = (
        "import django; django.setup();"
        "from django.contrib.auth.models import User;"
        "User.objects.create_superuser('demo', password='demo')"
    )
    for command in (
        ["manage.py", "migrate", "--verbosity", "0"],
        ["-c", create],
    ):
        subprocess.run(
            [sys.executable, *command],
            cwd=servers.ROOT / "testproject",
            env=servers.site_environment(folder),
            check=True,
        )
    return folder


@pytest.fixture(params=["server", "cluster"])
def prefix(request):
    """The prefix of an engine that holds no sessions."""
    if request.param == "server":
        return request.getfixturevalue("engine")
    request.getfixturevalue("clustered")
    return "session:"


@pytest.fixture
def others(request: pytest.FixtureRequest, prefix: str) -> Callable[..., Any]:
    """Send a command as somebody else, who has more rights than the engine may have."""
    if conf.CLUSTER:
        return lambda *words: client.execute([*words])
    valkey = request.getfixturevalue("valkey")
    return lambda *words: valkey.execute_command(*words)


@pytest.fixture(params=["sync", "async"])
def api(request, prefix):
    """Call a function of the interface by its blocking name, on either surface."""
    if request.param == "sync":
        yield lambda name, *args, **kw: getattr(sessions, name)(*args, **kw)
        return
    with asyncio.Runner() as runner:

        async def awaited(name, *args, **kw):
            if name == "iterate":
                return [info async for info in sessions.aiterate()]
            return await getattr(sessions, f"a{name}")(*args, **kw)

        yield lambda name, *args, **kw: runner.run(
            awaited(name, *args, **kw), context=contextvars.copy_context()
        )
