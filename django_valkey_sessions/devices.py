"""
From where a user is logged in: browser and network, recorded at the login if
RECORD_DEVICE says so. They are a part of the session's data, and sealed with them.
"""

import ipaddress
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils.text import Truncator

from .backend import SessionStore
from .conf import conf

#: The key of the session under which they are kept.
KEY = "_device"
#: Characters. Real browsers need fewer, and a parser's time should have an end.
LONGEST_AGENT = 255
#: How much of an address is kept, by its version: what a provider gives to a place, and
#: not to a person.
PREFIX_LENGTHS = {4: 24, 6: 48}
#: Characters of an agent that is not understood.
SHOWN = 60


@dataclass(frozen=True, slots=True)
class Device:
    """
    What a user has logged in with. As a text it is for people: "Firefox 144, Linux", or
    the agent, shortened; empty if that is not known.
    """

    agent: str  # What the browser said it is, cut; empty: nothing.
    address: str  # The network: 192.0.2.0/24, 2001:db8:7::/48; empty: not known.
    at: datetime  # When that was: the last time, if they have logged in again.

    @property
    def browser(self) -> str | None:
        """The browser and its version; None if it is unknown, or without ua-parser."""
        found = _parsed(self.agent)
        if found is None or found.user_agent is None:
            return None
        version = found.user_agent.major
        return f"{found.user_agent.family} {version or ''}".rstrip()

    @property
    def system(self) -> str | None:
        """The operating system; None if it is unknown, or without ua-parser."""
        # Without a version: browsers don't tell the true one any more.
        found = _parsed(self.agent)
        return None if found is None or found.os is None else str(found.os.family)

    def __str__(self) -> str:
        known = ", ".join(filter(None, [self.browser, self.system]))
        return known or Truncator(self.agent).chars(SHOWN)


def record(request: Any, **kwargs: Any) -> None:
    """Put into the session of this request, which has just logged in, what it tells."""
    address = conf.RECORD_DEVICE
    session: Any = getattr(request, "session", None)
    if not address or not isinstance(session, SessionStore):
        return
    where = address(request) if callable(address) else request.META.get("REMOTE_ADDR")
    agent = request.META.get("HTTP_USER_AGENT", "")
    session[KEY] = {
        "agent": agent[:LONGEST_AGENT],
        "address": _network(where),
        "at": int(time.time()),
    }


def recorded(data: dict[str, Any]) -> Device | None:
    """Return what these data of a session tell; None: nothing was recorded."""
    match data.get(KEY):
        case {"agent": str(agent), "address": str(address), "at": int(at)}:
            return Device(agent, address, datetime.fromtimestamp(at, UTC))
    return None  # Also if it is something that the site itself keeps there.


def _network(address: Any) -> str:
    """Return the network of an address; nothing if it isn't one, as of a socket."""
    try:
        found = ipaddress.ip_address(str(address))
    except ValueError:
        return ""
    found = getattr(found, "ipv4_mapped", None) or found
    length = PREFIX_LENGTHS[found.version]
    return str(ipaddress.ip_network((found.packed, length), strict=False))


def _parsed(agent: str) -> Any:
    """Return what ua-parser makes of it; None where the extra is not installed."""
    if not agent:
        return None
    try:
        from ua_parser import parse
    except ImportError:
        return None
    return parse(agent)
