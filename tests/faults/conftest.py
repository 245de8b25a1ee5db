"""A site, served in each way, on a Valkey of its own."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .. import servers
from ..proxies import Proxy
from .load import Load

PASSWORD = "secret"
#: Lets a server keep what it has said is saved, whatever happens to it.
KEEPING = ("--appendonly", "yes", "--appendfsync", "always")

#: What was seen, a line for each fault in each way of serving.
_figures: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _figures:
        terminalreporter.write_line(line)


@pytest.fixture(scope="module", params=list(servers.APPLICATION_SERVERS))
def way(request: pytest.FixtureRequest) -> str:
    """How the site is served."""
    way: str = request.param
    return way


@pytest.fixture(scope="module")
def serve(
    way: str, site_data: Path
) -> Callable[..., contextlib.AbstractContextManager[int]]:
    """
    Serve the site with these settings of the engine, and with this middleware before
    its own if there is one; give its port.
    """

    def serve(
        middleware: str = "", **settings: object
    ) -> contextlib.AbstractContextManager[int]:
        return servers.serving(
            way,
            site_data,
            DJANGO_SETTINGS_MODULE="tests.faults.settings",
            VALKEY_SESSIONS=json.dumps(settings),
            FIRST_MIDDLEWARE=middleware,
            DEMO_DEBUG="1",  # Its pages name the cause of an error.
        )

    return serve


@pytest.fixture
def own_server() -> Iterator[servers.Server]:
    server = servers.Server(
        *KEEPING, "--enable-debug-command", "yes", password=PASSWORD
    )
    yield server
    server.close()


@pytest.fixture
def site(
    serve: Callable[..., contextlib.AbstractContextManager[int]],
    own_server: servers.Server,
) -> Iterator[int]:
    """The site on that server; its port."""
    with serve(LOCATION=own_server.url) as port:
        yield port


@pytest.fixture
def proxy(own_server: servers.Server) -> Iterator[Proxy]:
    proxy = Proxy(own_server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def far_site(
    serve: Callable[..., contextlib.AbstractContextManager[int]], proxy: Proxy
) -> Iterator[int]:
    """The site with something between it and that server; its port."""
    with serve(LOCATION=f"valkey://:{PASSWORD}@127.0.0.1:{proxy.port}/0") as port:
        yield port


@pytest.fixture
def visited(
    request: pytest.FixtureRequest,
) -> Callable[[int], contextlib.AbstractContextManager[Load]]:
    """
    Let visitors use a site while something happens to it. Afterwards they have to be
    able to go on, and must have lost nothing.
    """

    @contextlib.contextmanager
    def visited(port: int) -> Iterator[Load]:
        with Load(port) as load:
            yield load
            back = load.wait_until_saved()
        load.check()
        _figures.append(
            f"{request.node.name}: {sum(v.changes for v in load.visits)} changes, none "
            f"lost; {load.errors().total()} errors; slowest answer "
            f"{load.slowest():.2f} s; all go on after {back:.2f} s"
        )

    return visited
