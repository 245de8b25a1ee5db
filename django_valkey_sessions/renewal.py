"""
A new key for a session that goes on: what is left in the place of the old one, and what
the session itself knows of it.

In the place of the old session is left a value that leads to the new one. Who has the
old key can read the new key from it, and nobody else, sealed or not: it is hidden with
the old key, which is not on the server. Not hidden is the new id, so that who ends the
session by its old id ends it, too.

It ends GRACE seconds after the new key was used for the first time. Before that nobody
knows whether the browser has got it: a response can be lost.
"""

import hmac
from dataclasses import dataclass, field
from typing import Any

from . import keys
from .codec import Unreadable

#: Seconds for which the old key still leads to the session when the new one was used:
#: enough for requests that were under way then.
GRACE = 60
#: The key of the session under which it knows when it got its key.
KEY = "_renewed"
#: How many values that lead on are followed. No key is renewed before the one before it
#: was used, and so the one before that is over or about to be.
STEPS = 5

_ID_SIZE = 16


class Overtaken(Exception):
    """Another request has renewed the session meanwhile: it has that key now."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """A session key, out of the sight of error reports."""

    session_key: str = field(repr=False)

    @property
    def id(self) -> str:
        return keys.session_id(self.session_key)


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a session knows of its key."""

    at: int  # Unix seconds: when it got it.
    #: The id under which a value is left that leads here; None: that is not known to be
    #: needed any more, because the new key was used.
    left: str | None = None

    def as_data(self) -> dict[str, Any]:
        """Return it as the session keeps it under KEY."""
        return (
            {"at": self.at} if self.left is None else {"at": self.at, "from": self.left}
        )


def recorded(data: dict[str, Any]) -> Renewal | None:
    """Return what these data of a session tell; None: its key is as old as itself."""
    match data.get(KEY):
        case {"at": int(at), "from": str(left)}:
            return Renewal(at, left)
        case {"at": int(at)}:
            return Renewal(at)
    return None


def leading(old: Bearer, new: Bearer) -> bytes:
    """Return the payload that leads from the old key to the new one."""
    id = bytes.fromhex(new.id)
    return id + _masked(old, id, new.session_key.encode())


def target(old: Bearer, payload: bytes) -> Bearer:
    """Return where it leads to. Raise Unreadable if it is damaged."""
    id, hidden = payload[:_ID_SIZE], payload[_ID_SIZE:]
    new = Bearer(_masked(old, id, hidden).decode(errors="replace"))
    if new.id == id.hex():
        return new
    raise Unreadable("it leads nowhere")


def target_id(payload: bytes) -> str:
    """Return the same to who does not have the old key: the id."""
    return payload[:_ID_SIZE].hex()


def _masked(old: Bearer, id: bytes, session_key: bytes) -> bytes:
    """Hide a key, or show it again. The id of the new one makes each mask another."""
    info = b"django_valkey_sessions.renewal.1" + id
    mask = hmac.digest(old.session_key.encode("utf-8", "surrogatepass"), info, "sha256")
    return bytes(a ^ b for a, b in zip(session_key, mask, strict=False))
