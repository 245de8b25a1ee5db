"""
Errors: GLIDE's become ours here, once.
"""

import re
from typing import Any

from ..conf import conf
from ..exceptions import (
    ConnectionLost,
    KeyNotPermitted,
    NotPermitted,
    ReplyLost,
    SessionStoreUnavailable,
)
from . import times


class WrongType(Exception):
    """The key holds something of another type than the command is for."""


class ScriptMissing(Exception):
    """The server does not know the script, and did nothing."""


class ReadOnly(SessionStoreUnavailable):
    """The server is a replica, and did nothing."""


class Redirected(SessionStoreUnavailable):
    """
    The node of the cluster is not the one that has the key, and did nothing. GLIDE
    follows this by itself; for commands that are sent together, not in any case.
    """


class WithErrors(list[Any]):
    """Replies to commands that were sent together, of which at least one failed."""


def only(replies: list[Any]) -> Any:
    (reply,) = replies
    if isinstance(reply, Exception):
        raise reply
    return reply


def told(error: Exception) -> Exception | None:
    """Return the error if it may be told: not if it repeats the words of a command."""
    return None if "args beginning with" in str(error) else error


def translated(error: Exception) -> Exception:
    # Without the address, whose words mean nothing.
    text = re.sub(r"`[^`]*`", "", str(error).lower())
    if "wrongtype:" in text:
        return WrongType("WRONGTYPE: the key holds something of another type.")
    if "noscripterror" in text or "noscript:" in text:
        return ScriptMissing("The server does not know the script.")
    if command := re.search(r"no permissions to run the '([^']+)' command", text):
        return NotPermitted(
            f"{server_name()} does not permit the user the command "
            f"{command[1].upper()}."
        )
    if re.search("no permissions to access (a key|one of the keys)", text):
        return KeyNotPermitted(
            f"{server_name()} does not permit the user keys that begin with PREFIX in "
            "VALKEY_SESSIONS."
        )
    ours = _kind_of(error, text)(f"{server_name()} {_cause(text)}")
    # As "raise ... from" does it; those in a list of replies are not raised here.
    ours.__cause__ = told(error)
    return ours


def _kind_of(error: Exception, text: str) -> type[SessionStoreUnavailable]:
    refused = ("readonly:", "readonly you", "wait cannot be used with")
    if any(words in text for words in refused):
        return ReadOnly
    if re.search(r"\b(moved|ask):", text):
        return Redirected
    return {"ConnectionError": ConnectionLost, "TimeoutError": ReplyLost}.get(
        type(error).__name__, SessionStoreUnavailable
    )


def server_name() -> str:
    if conf.CLIENT is not None:
        return "The Valkey server that CLIENT in VALKEY_SESSIONS connects to"
    return f"Valkey at {conf.LOCATION}"


def _cause(text: str) -> str:
    for marks, cause in _CAUSES:
        if any(mark in text for mark in marks):
            return cause.format(
                request=times.timeouts()[0], connect=times.timeouts()[1]
            )
    return "can't be used. GLIDE's error, from which this one was raised, says more."


def no_answer() -> ReplyLost:
    return ReplyLost(
        f"{server_name()} did not answer within {times.await_budget():g} s."
    )


#: What GLIDE's error texts say, in lower case, and what that means; first match wins.
_CAUSES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("connection refused",),
        "refuses connections. Is it running, and is LOCATION in VALKEY_SESSIONS right?",
    ),
    (
        ("failed to lookup", "name or service not known", "nodename nor servname"),
        "is not found: its name is unknown. Is LOCATION in VALKEY_SESSIONS right?",
    ),
    (
        ("no such file or directory",),
        "is not there. Is the path in LOCATION in VALKEY_SESSIONS right?",
    ),
    (
        ("wrongpass", "noauth", "invalid username-password"),
        "refuses the user or password in LOCATION in VALKEY_SESSIONS.",
    ),
    (
        ("noperm", "permissiondenied", "no permissions"),
        "does not permit the user a command or a key that sessions need.",
    ),
    (
        ("loadingerror", "loading:"),
        "is still loading its data. It will answer in a moment.",
    ),
    (
        ("readonly:", "readonly you", "wait cannot be used with"),
        "is a replica and takes no writes. LOCATION in VALKEY_SESSIONS has to lead to "
        "the primary.",
    ),
    (
        ("oom:", "oom command", "out of memory"),
        "has used all the memory it may (maxmemory), and evicts nothing.",
    ),
    (("misconf",), "takes no writes because it can't save its data to disk (MISCONF)."),
    (
        ("noreplicas",),
        "takes no writes because too few of its replicas are connected (NOREPLICAS).",
    ),
    (
        ("clusterdown", "masterdown", "tryagain"),
        "is a cluster that is not complete at the moment.",
    ),
    (("certificate",), "has a TLS certificate that is not trusted."),
    (
        ("unexpectedly terminated",),
        "closed the connection at once. It may have too many clients (maxclients), or "
        "want TLS: valkeys:// in LOCATION in VALKEY_SESSIONS.",
    ),
    (("moved:",), "is part of a cluster: set CLUSTER in VALKEY_SESSIONS to True."),
    (
        ("no topology views",),
        "is not a cluster that answers, and CLUSTER in VALKEY_SESSIONS is True.",
    ),
    (
        ("no primary node found", "primary conflict"),
        "is not one primary. LOCATION in VALKEY_SESSIONS has to lead to the primary.",
    ),
    (
        ("unknown command",),
        "does not know a command that sessions need. Valkey 7.2 or later is needed.",
    ),
    (
        ("switch database",),
        "has no such database as LOCATION in VALKEY_SESSIONS says, or does not permit "
        "the user to SELECT it.",
    ),
    (
        ("inflight",),
        "has too many requests of this process under way (inflight_requests_limit).",
    ),
    (
        ("timed out", "connection"),
        "did not answer within {request:g} s, or {connect:g} s for connecting. Is it "
        "running?",
    ),
)
