"""The browser: Chromium, as the system has it."""

import os
import shutil

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",  # Which it can't have where root starts it, as CI does.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The same letters on each machine that has the same fonts.
    "--font-render-hinting=none",
    "--force-color-profile=srgb",
)


def find() -> str:
    """Return the path of the browser. Raise FileNotFoundError if there is none."""
    named = os.environ.get("CHROMIUM")
    found = (
        shutil.which(named)
        if named
        else next(filter(None, map(shutil.which, NAMES)), None)
    )
    if found:
        return found
    raise FileNotFoundError(
        f"There is no browser: {named or ', '.join(NAMES)}. Install Chromium (Debian: "
        "apt-get install chromium), or set CHROMIUM to the path of a browser that is "
        "made from it."
    )


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=find(), args=[*FLAGS])
