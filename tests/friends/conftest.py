"""
Sites with the packages that others use beside sessions, served for real. Each has
settings of its own, ``<friend>_settings.py``, and a Valkey.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .. import servers

#: What is served by ASGI, unless the tests name another application.
APPLICATION = "testproject.asgi:application"


@dataclass(frozen=True)
class Site:
    port: int
    valkey: servers.Server
    environment: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *words: str) -> None:
        manage(self.environment, *words)


def manage(environment: dict[str, str], *words: str) -> None:
    """Run manage.py with that site's settings."""
    subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=servers.ROOT / "testproject",
        env={**environment, "DJANGO_SUPERUSER_PASSWORD": "demo"},
        check=True,
    )


@pytest.fixture(scope="module")
def data(request: Any, tmp_path_factory: Any) -> tuple[Path, dict[str, str]]:
    """The folder of the friend's site with the user demo, and its environment."""
    friend = request.module.__name__.rpartition("test_")[2]
    folder = tmp_path_factory.mktemp(friend)
    environment = servers.site_environment(
        folder, DJANGO_SETTINGS_MODULE=f"tests.friends.{friend}_settings"
    )
    manage(environment, "migrate", "--verbosity", "0")
    user = ("--username", "demo", "--email", "demo@example.com")
    manage(environment, "createsuperuser", "--noinput", "--verbosity", "0", *user)
    return folder, environment


@pytest.fixture(scope="module", params=["gthread", "uvicorn"])
def way(request: pytest.FixtureRequest) -> str:
    """How the site is served: blocking in threads, or awaiting."""
    return str(request.param)


@pytest.fixture(scope="module")
def site(request: Any, way: str, data: tuple[Path, dict[str, str]]) -> Iterator[Site]:
    folder, environment = data
    application = getattr(request.module, "APPLICATION", APPLICATION)
    with contextlib.closing(servers.Server()) as valkey:
        environment = {**environment, "VALKEY_URL": valkey.url}
        with servers.serving(way, folder, application, **environment) as port:
            yield Site(port, valkey, environment)


@pytest.fixture(autouse=True)
def here(request: pytest.FixtureRequest) -> None:
    """Let the engine of the tests look into the site's Valkey."""
    if "site" in request.fixturenames:
        settings = request.getfixturevalue("settings")
        site = request.getfixturevalue("site")
        settings.VALKEY_SESSIONS = {"LOCATION": site.valkey.url}


@contextlib.contextmanager
def stopped(site: Site) -> Iterator[None]:
    """Let its Valkey be away for a while."""
    site.valkey.kill()
    try:
        yield
    finally:
        site.valkey.start()
