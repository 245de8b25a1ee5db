"""
How the tests' servers run. VALKEY_BACKEND is docker, embedded, or auto: docker if an
engine on this machine answers and has the image VALKEY_IMAGE, or can get it; else
embedded. VALKEY_SERVER, the path of a binary, means embedded.
"""

import os

from demo.server import NoServer

from .containers import Docker, NoDocker
from .embedded import Embedded

_picked: tuple[Docker | Embedded, str] | None = None


class NoBackend(Exception):
    """The servers can't be run in the way that was asked for."""


def backend() -> Docker | Embedded:
    """Return what makes the servers. Raise NoBackend if it can't be had."""
    return _pick()[0]


def why() -> str:
    """Return which backend it is, and why."""
    return "{} ({})".format(*_pick())


def close() -> None:
    """Remove what all servers had in common; after the servers themselves."""
    global _picked
    if _picked is not None:
        _picked[0].close()
        _picked = None


def _pick() -> tuple[Docker | Embedded, str]:
    """Return the backend, which is always the same, and why it is that one."""
    global _picked
    if _picked is None:
        try:
            _picked = _new()
        except (NoDocker, NoServer) as error:
            raise NoBackend(str(error)) from error
    return _picked


def _new() -> tuple[Docker | Embedded, str]:
    asked = os.environ.get("VALKEY_BACKEND", "auto")
    if asked not in ("auto", "docker", "embedded"):
        raise NoBackend(f"VALKEY_BACKEND is {asked!r}: say docker, embedded or auto.")
    if asked == "embedded":
        return Embedded(), "VALKEY_BACKEND says so"
    if asked == "docker":
        return Docker(), "VALKEY_BACKEND says so"
    if "VALKEY_SERVER" in os.environ:
        return Embedded(), "VALKEY_SERVER is set"
    try:
        return Docker(), "an engine answers"
    except NoDocker as error:
        return Embedded(), f"docker not used: {error}"
