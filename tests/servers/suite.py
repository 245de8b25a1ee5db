"""
The server that those tests share which do nothing to it: the one at VALKEY_URL if that
is set, else one of ours. Tests that stop, pause or fill a server start their own.
"""

import os
import re
import time
from typing import Any

import valkey

from .choice import why
from .server import Server


class Given:
    """The server at VALKEY_URL, which is not ours to stop."""

    def __init__(self, url: str) -> None:
        self.url = url

    def connect(self, **options: Any) -> valkey.Valkey:
        return valkey.from_url(re.sub("^redis(s?):", r"valkey\1:", self.url), **options)

    def close(self) -> None:
        pass


def suite_server() -> tuple[Server | Given, str]:
    """Return the suite's server, and which it is and why."""
    url = os.environ.get("VALKEY_URL")
    started = time.monotonic()
    which = f"given (VALKEY_URL is set); others: {why()}" if url else why()
    server = Given(url) if url else Server()
    took = (time.monotonic() - started) * 1000
    with server.connect() as connection:
        info = connection.info("server")
    version = info.get("valkey_version") or f"Redis {info['redis_version']}"
    return server, f"valkey server: {version}, {which} [{took:.0f} ms]"
