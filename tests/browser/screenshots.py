"""
Take the pictures in docs/images: of the demo site, with sessions that are the same each
time, at a time that is.

    tox -e screenshots
"""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django
import time_machine
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from .. import servers
from . import chromium

IMAGES = servers.ROOT / "docs" / "images"
# In the middle of a minute, so that none is another because of a few seconds.
NOW = datetime(2026, 11, 24, 9, 41, 30, tzinfo=UTC)
#: Bytes. Who reads the README has to load them.
LARGEST = 150_000

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) "
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
EDGE = (
    f"{WINDOWS}AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 "
    "Edg/142.0.0.0"
)
CHROME = (
    f"{WINDOWS}AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1"
)
ANDROID = "Mozilla/5.0 (Android 15; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0"


@dataclass(frozen=True)
class Shown:
    """A session on the pictures."""

    name: str
    user: str | None
    agent: str
    address: str
    created: timedelta  # How long ago.
    active: timedelta
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()[:32]


def ago(**time: int) -> timedelta:
    return timedelta(**time)


BASKET = {"items": ["A-1042", "B-0077"], "currency": "EUR"}
ANNAS_OFFICE = Shown(
    "office", "anna", FIREFOX, "203.0.113.0/24", ago(days=2, hours=1), ago(), {
        "basket": BASKET, "colour": "green", "visits": 12,
    },
)  # fmt: skip
ANNAS_PHONE = Shown(
    "phone", "anna", IPHONE, "198.51.100.0/24", ago(days=5, hours=3), ago(minutes=52)
)
SESSIONS = (
    ANNAS_OFFICE,
    ANNAS_PHONE,
    Shown("home", "anna", EDGE, "2001:db8:7::/48", ago(days=9), ago(days=1, hours=13)),
    Shown(
        "marek",
        "marek",
        CHROME,
        "192.0.2.0/24",
        ago(hours=3),
        ago(minutes=4),
        {"basket": BASKET, "returns": "/orders/"},
    ),
    Shown("sofia", "sofia", ANDROID, "198.51.100.0/24", ago(days=1), ago(hours=2)),
    Shown("james", "james", CHROME, "192.0.2.0/24", ago(days=3), ago(days=2)),
    Shown(
        "visitor",
        None,
        "",
        "",
        ago(minutes=31),
        ago(minutes=9),
        {"basket": {"items": ["C-0310"], "currency": "EUR"}},
    ),
    Shown("another", None, "", "", ago(minutes=2), ago(minutes=2), {"colour": "blue"}),
)


def fill(server: servers.Server) -> None:
    """Make the users and the sessions."""
    from django.conf import settings
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import User
    from django.core.management import call_command

    from django_valkey_sessions import keys
    from django_valkey_sessions.backend import SessionStore

    call_command("migrate", verbosity=0)
    for name in dict.fromkeys(shown.user for shown in SESSIONS if shown.user):
        staff = name == "anna"
        password = make_password("demo", salt="ofthepictures")
        User.objects.create(
            username=name, password=password, is_staff=staff, is_superuser=staff
        )
    lifetime = timedelta(seconds=settings.SESSION_COOKIE_AGE)
    with server.connect() as connection:
        for shown in SESSIONS:
            began = NOW - shown.created
            with time_machine.travel(began):
                session = SessionStore()
                session.update(shown.data)
                if shown.user:
                    user = User.objects.get(username=shown.user)
                    session.update(
                        {
                            "_auth_user_id": str(user.pk),
                            "_auth_user_backend": settings.AUTHENTICATION_BACKENDS[0],
                            "_auth_user_hash": user.get_session_auth_hash(),
                            "_device": {
                                "agent": shown.agent,
                                "address": shown.address,
                                "at": int(began.timestamp()),
                            },
                        }
                    )
                session._session_key = shown.key
                session.save(must_create=True)
            key = keys.stored_key("session:", keys.session_id(shown.key))
            connection.pexpire(key, lifetime - shown.active)


class Photographer:
    def __init__(self, browser: Browser, port: int) -> None:
        self._browser, self._port = browser, port

    @contextmanager
    def looking(
        self, shown: Shown, width: int, height: int, language: str = "en"
    ) -> Iterator[Page]:
        """Give the site as who has this session sees it."""
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=1.5,
            locale=language,
            reduced_motion="reduce",
            base_url=f"http://127.0.0.1:{self._port}",
        )
        url = f"http://127.0.0.1:{self._port}"
        context.add_cookies([{"name": "sessionid", "value": shown.key, "url": url}])
        yield context.new_page()
        context.close()


def take(page: Page, name: str, whole: bool = True) -> None:
    """Keep what the page shows; fewer colours make it small."""
    taken = Image.open(
        io.BytesIO(page.screenshot(full_page=whole, animations="disabled"))
    )
    small = taken.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    path = IMAGES / f"{name}.png"
    small.save(path, optimize=True)
    size = path.stat().st_size
    print(
        f"{path.relative_to(servers.ROOT)}: {taken.width}x{taken.height}, {size} bytes"
    )
    if size > LARGEST:
        raise SystemExit(f"That is more than {LARGEST} bytes.")


def take_all(browser: Browser, port: int, server: servers.Server) -> None:
    photographer = Photographer(browser, port)
    with photographer.looking(ANNAS_OFFICE, 1000, 480) as page:
        page.goto("/account/sessions/")
        take(page, "devices")
        page.goto("/")
        page.get_by_role("button", name="Count", exact=True).click()
        take(page, "demo")
    with photographer.looking(ANNAS_PHONE, 390, 700, "de") as page:
        page.goto("/account/sessions/")
        take(page, "devices-phone")
    with photographer.looking(ANNAS_OFFICE, 1460, 700) as page:
        page.goto("/admin/django_valkey_sessions/session/")
        take(page, "admin-list")
        page.click("tr:has-text('Chrome') th a")
        page.wait_for_load_state("networkidle")
        take(page, "admin-session")
    with photographer.looking(ANNAS_OFFICE, 1000, 440) as page:
        server.kill()
        page.goto("/")
        take(page, "unavailable")


def main() -> None:
    # With this seed the server names the sessions in the same order each time.
    server = servers.Server("--hash-seed", "of the pictures")
    try:
        with tempfile.TemporaryDirectory() as folder:
            environment = {
                "DEMO_DATA": folder,
                "DJANGO_SETTINGS_MODULE": "tests.browser.settings",
                "VALKEY_URL": server.url,
                "DEMO_SAVE_EVERY_REQUEST": "1",
            }
            os.environ.update(environment)
            django.setup()
            fill(server)
            site = {**environment, "SITE_TIME": NOW.isoformat()}
            with (
                servers.serving("uvicorn", Path(folder), **site) as port,
                sync_playwright() as playwright,
            ):
                take_all(chromium.launch(playwright), port, server)
    finally:
        server.close()
        servers.close()


if __name__ == "__main__":
    main()
