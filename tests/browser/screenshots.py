"""
Take the pictures in docs/images: of the demo site, with sessions that are the same each
time, at a time that is.

    tox -e screenshots
"""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from .. import servers
from . import chromium

IMAGES = servers.ROOT / "docs" / "images"
#: Bytes. Who reads the README has to load them.
LARGEST = 150_000
#: Of them nobody misses one on pages like these, and they make the pictures small.
COLOURS = 24


@contextmanager
def looking(
    browser: Browser, port: int, key: str, width: int, height: int, language: str = "en"
) -> Iterator[Page]:
    """Give a page for who has the session of this key."""
    url = f"http://127.0.0.1:{port}"
    context = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": height},
        device_scale_factor=2,  # With a fraction, where lines end is a matter of luck.
        locale=language,
    )
    context.add_cookies([{"name": "sessionid", "value": key, "url": url}])
    yield context.new_page()
    context.close()


def take(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")  # Scripts change what the admin shows.
    shot = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    picture = shot.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    path = IMAGES / f"{name}.png"
    picture.save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path}: {shot.width}x{shot.height}, {size} bytes")
    if size > LARGEST:
        raise SystemExit(f"These are more than {LARGEST}.")


def take_all(browser: Browser, port: int, server: servers.Server) -> None:
    from . import shown

    office = shown.ANNAS_OFFICE.key
    with looking(browser, port, office, 1000, 480) as page:
        page.goto("/account/sessions/")
        take(page, "devices")
        page.goto("/")
        page.get_by_role("button", name="Count", exact=True).click()
        take(page, "demo")
    with looking(browser, port, shown.ANNAS_PHONE.key, 390, 700, "de") as page:
        page.goto("/account/sessions/")
        take(page, "devices-phone")
    with looking(browser, port, office, 1460, 700) as page:
        page.goto("/admin/django_valkey_sessions/session/")
        take(page, "admin-list")
        page.get_by_role("row", name=shown.MAREK.user).get_by_role("link").click()
        take(page, "admin-session")
    with looking(browser, port, office, 1000, 440) as page:
        server.kill()
        page.goto("/")
        take(page, "unavailable")


def main() -> None:
    # With this seed the server names the sessions in the same order each time.
    server = servers.Server("--hash-seed", "of the pictures")
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["DEMO_DATA"] = folder
            os.environ["DEMO_SAVE_EVERY_REQUEST"] = "1"
            os.environ["DJANGO_SETTINGS_MODULE"] = "tests.browser.settings"
            os.environ["VALKEY_URL"] = server.url
            django.setup()
            _take(server, Path(folder))
    finally:
        server.close()
        servers.close()


def _take(server: servers.Server, folder: Path) -> None:
    from . import shown  # Which needs the settings.

    shown.fill(server)
    site = {name: os.environ[name] for name in ("DJANGO_SETTINGS_MODULE", "VALKEY_URL")}
    site["SITE_TIME"] = shown.NOW.isoformat()
    with (
        servers.serving("uvicorn", folder, **site) as port,
        sync_playwright() as playwright,
    ):
        take_all(chromium.launch(playwright), port, server)


if __name__ == "__main__":
    main()
