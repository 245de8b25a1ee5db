"""
What the server says about itself, for who runs it.

Blocking only, because no request asks for it. Every function raises
SessionStoreUnavailable if the server can't tell.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import client
from .client import ScriptMissing, WrongType
from .conf import conf
from .exceptions import SessionStoreUnavailable
from .flow import Command, Flow, run

#: Milliseconds that what is left of a probe lives, where it can't be removed.
PROBE_LIFETIME = "10000"


@dataclass(frozen=True, slots=True)
class Node:
    """A primary, and what its INFO says."""

    address: str  # Empty, if it is the only one.
    info: Mapping[str, str]

    def number(self, name: str) -> int:
        """Return the number of this name; 0 if the server does not know it."""
        return int(self.info.get(name, 0))

    def replicas(self) -> list[Mapping[str, str]]:
        """Return what is known of each replica: ip, port, state, offset, lag."""
        return [
            _pairs(self.info[f"slave{n}"].split(","), "=")
            for n in range(self.number("connected_slaves"))
            if f"slave{n}" in self.info
        ]


def nodes() -> list[Node]:
    """Return the server, or all primaries of the cluster."""
    return run(_nodes(), client.execute)


def cluster() -> Mapping[str, str]:
    """Return what CLUSTER INFO says. NotPermitted if the user may not ask."""
    return run(_cluster(), client.execute)


def snapshots() -> str | None:
    """
    Return when the server saves snapshots, as in its configuration: "" for never.
    None: it does not tell this user.
    """
    return run(_snapshots(), client.execute)


def round_trips(count: int) -> list[float]:
    """Return how many seconds each of so many round trips takes."""
    return run(_round_trips(count), client.execute)


def clock() -> float:
    """Return by how many seconds the server's clock is ahead of this host's."""
    return run(_clock(), client.execute)


def refusals() -> dict[str, Exception]:
    """
    Carry out each command that sessions need, on keys that are no session. Return
    the errors of those that the server refuses, by their names.
    """
    return run(_refusals(), client.execute)


# The flows.


def _nodes() -> Flow[list[Node]]:
    reply = yield ["INFO"]
    texts = reply if isinstance(reply, dict) else {b"": reply}
    found = [Node(name.decode(), _facts(text)) for name, text in texts.items()]
    return sorted(found, key=lambda node: node.address)


def _cluster() -> Flow[Mapping[str, str]]:
    return _facts((yield from _quietly(["CLUSTER", "INFO"])))


def _snapshots() -> Flow[str | None]:
    try:
        reply = yield from _quietly(["CONFIG", "GET", "save"])
    except SessionStoreUnavailable:  # Also where a provider has taken CONFIG away.
        return None
    found: bytes = reply[b"save"]
    return found.decode()


def _quietly(command: Command) -> Flow[Any]:
    """Ask for what may well be refused: GLIDE prints no error of several commands."""
    (reply,) = yield (command,)
    if isinstance(reply, Exception):
        raise reply
    return reply


def _round_trips(count: int) -> Flow[list[float]]:
    took = []
    for _ in range(count):
        started = time.perf_counter()
        yield ["PING"]
        took.append(time.perf_counter() - started)
    return took


def _clock() -> Flow[float]:
    before = time.time()
    seconds, microseconds = yield ["TIME"]
    # The server has looked at its clock about half of the round trip ago.
    return int(seconds) + int(microseconds) / 1e6 - (before + time.time()) / 2


def _refusals() -> Flow[dict[str, Exception]]:
    name = f"{conf.PREFIX}doctor:{uuid.uuid4().hex}"
    probes = _of_sessions(name)
    if conf.USER_INDEX:
        probes += _of_indexes(f"{name}:index")
    if conf.REPLICAS_ACK:
        probes += (["WAIT", "0", "1"],)
    replies = yield probes
    return {
        str(command[0]): reply
        for command, reply in zip(probes, replies, strict=True)
        if _is_refusal(reply)
    }


def _of_sessions(key: str) -> tuple[Command, ...]:
    """Return each command that sessions need, on a key that is removed at the end."""
    return (
        ["PING"],
        ["TIME"],
        ["SCAN", "0", "COUNT", "1"],
        ["SET", key, "", "NX", "PX", PROBE_LIFETIME],
        ["GET", key],
        ["GETRANGE", key, "0", "1"],
        ["EXISTS", key],
        ["PTTL", key],
        ["PEXPIRE", key, PROBE_LIFETIME],
        ["EVAL", "return 1", "1", key],
        ["EVALSHA", "0" * 40, "1", key],
        ["UNLINK", key],
    )


def _of_indexes(key: str) -> tuple[Command, ...]:
    """Return each command that the index of users' sessions needs in addition."""
    return (
        ["ZADD", key, "0", "member"],
        ["EXPIREAT", key, str(int(time.time()) + 10)],
        ["ZCARD", key],
        ["ZRANGE", key, "0", "-1"],
        ["ZREM", key, "another"],
        ["ZREMRANGEBYSCORE", key, "0", "0"],  # With its last member the key is gone.
    )


def _is_refusal(reply: Any) -> bool:
    harmless = (WrongType, ScriptMissing)
    return isinstance(reply, Exception) and not isinstance(reply, harmless)


def _facts(text: bytes) -> Mapping[str, str]:
    return _pairs(text.decode(errors="replace").splitlines(), ":")


def _pairs(texts: list[str], separator: str) -> Mapping[str, str]:
    return dict(text.split(separator, 1) for text in texts if separator in text)
