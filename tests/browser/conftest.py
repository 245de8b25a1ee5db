"""The demo site, served blocking and awaiting, and browsers that look at it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from .. import servers
from . import chromium
from .visitors import Open, Visitor

SETTINGS = "tests.browser.settings"
USERS = """
import django; django.setup()
from django.contrib.auth.models import User
for name in ("ada", "bob"):
    User.objects.create_user(name, password=name)
"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def users(site_data: Path) -> Path:
    """The folder of a site with the users demo, who may do everything, ada and bob."""
    environment = servers.site_environment(site_data, DJANGO_SETTINGS_MODULE=SETTINGS)
    subprocess.run(
        [sys.executable, "-c", USERS],
        cwd=servers.ROOT / "testproject",
        env=environment,
        check=True,
    )
    return site_data


@pytest.fixture(scope="session")
def own_server() -> Iterator[servers.Server]:
    server = servers.Server("--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.close()


@pytest.fixture(scope="session", params=["gthread", "uvicorn"])
def site(
    request: pytest.FixtureRequest, users: Path, own_server: servers.Server
) -> Iterator[str]:
    """The address of the site."""
    with servers.serving(
        request.param,
        users,
        DJANGO_SETTINGS_MODULE=SETTINGS,
        DEMO_SAVE_EVERY_REQUEST="1",
        VALKEY_URL=own_server.url,
    ) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def visitor(browser: Browser, site: str, own_server: servers.Server) -> Iterator[Open]:
    """
    Open a browser that knows nothing of the others. No page that it is shown may have
    an error in the console, or ask somebody else for something.
    """
    with own_server.connect() as connection:
        connection.flushall()
    visitors: list[Visitor] = []

    def open(**options: object) -> Visitor:
        visitors.append(Visitor(browser, site, **options))
        return visitors[-1]

    yield open
    for visitor in visitors:
        visitor.context.close()
    assert [visitor.problems for visitor in visitors] == [[] for _ in visitors]
