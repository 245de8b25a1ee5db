"""
Many sessions: find, count and end them.

They are spoken of by their ids. These are no credentials: they can be shown, and nobody
can log in with one. Every function has an awaiting twin; each raises
SessionStoreUnavailable if the server can't tell.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from . import client, codec, keys
from .backend import SessionStore, key_of, removal, scan, twice, user_of
from .client import WrongType
from .codec import Unreadable
from .conf import LONGEST, conf
from .exceptions import ConnectionLost
from .flow import Command, Flow, arun, run

#: How many values are read together. Some sessions are large.
CHUNK = 100
#: How often a session that is changed meanwhile is judged again.
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What is known of a session to who does not have its key."""

    id: str
    #: As django.contrib.auth keeps it; None: nobody is logged in, or it is unreadable.
    user_id: str | None
    created: datetime | None  # None: it is unreadable.
    expires: datetime | None  # None: never.
    size: int  # Bytes of the stored value.
    _blob: bytes = field(repr=False)

    def decode(self) -> dict[str, Any]:
        """Return the session's data. Raise codec.Unreadable if that can't be done."""
        envelope = codec.unpack(self._blob, self.id)
        return codec.deserialize(envelope.payload, SessionStore().serializer)


#: Decides about a session.
Where = Callable[[SessionInfo], bool]


def get(id: str) -> SessionInfo | None:
    """Return what is known of the session with this id; None if there is none."""
    return run(_get(_checked(id)), client.execute)


async def aget(id: str) -> SessionInfo | None:
    """See get()."""
    return await arun(_get(_checked(id)), client.aexecute)


def revoke(id: str) -> bool:
    """
    End the session with this id. A request that is using it can't save it any more.
    Return False if there is none.
    """
    return run(_revoke(_checked(id)), client.execute)


async def arevoke(id: str) -> bool:
    """See revoke()."""
    return await arun(_revoke(_checked(id)), client.aexecute)


def iterate() -> Iterator[SessionInfo]:
    """
    Yield all sessions, in no order, a page of SCAN_COUNT at a time. One that comes or
    goes meanwhile may be yielded or not, and in rare cases one comes twice: see
    https://valkey.io/commands/scan/. Looks at every key of the server, which is nothing
    for requests.
    """
    cursor: Any = "0"
    while cursor != b"0":
        cursor, ids = run(scan(cursor), client.execute)
        for chunk in _chunks(ids):
            yield from run(_read(chunk), client.execute)


async def aiterate() -> AsyncIterator[SessionInfo]:
    """See iterate()."""
    cursor: Any = "0"
    while cursor != b"0":
        cursor, ids = await arun(scan(cursor), client.aexecute)
        for chunk in _chunks(ids):
            for info in await arun(_read(chunk), client.aexecute):
                yield info


def count() -> int:
    """
    Return how many sessions the server holds; with EXPIRE off, also expired ones. Looks
    at every key of the server, which is nothing for requests.
    """
    return run(_count(), client.execute)


async def acount() -> int:
    """See count()."""
    return await arun(_count(), client.aexecute)


def clear(where: Where | None = None) -> int:
    """
    End the sessions of which this is true, by default all; return how many these were.
    A session that begins meanwhile may live on. Looks at every key of the server, a
    page at a time, which is nothing for requests; but these do not wait for it.
    """
    return run(_clear(where), client.execute)


async def aclear(where: Where | None = None) -> int:
    """See clear()."""
    return await arun(_clear(where), client.aexecute)


# The flows.


def _get(id: str) -> Flow[SessionInfo | None]:
    found = yield from _read([id])
    return found[0] if found else None


def _revoke(id: str) -> Flow[bool]:
    return bool((yield from twice(["UNLINK", key_of(id)])))


def _count() -> Flow[int]:
    total = 0
    cursor: Any = "0"
    while cursor != b"0":
        cursor, ids = yield from scan(cursor)
        total += len(ids)
    return total


def _clear(where: Where | None) -> Flow[int]:
    total = 0
    cursor: Any = "0"
    while cursor != b"0":
        cursor, ids = yield from scan(cursor)
        for chunk in _chunks(ids):
            if where is None:
                removed = yield from twice(tuple(["UNLINK", key_of(i)] for i in chunk))
                total += sum(removed)
            else:
                total += yield from _end(chunk, where)
    return total


def _end(ids: list[str], where: Where) -> Flow[int]:
    """End those of the sessions of which this is true, as they are when they end."""
    ended = 0
    for _ in range(ROUNDS):
        chosen = [info for info in (yield from _read(ids)) if where(info)]
        if not chosen:
            break
        heads = [info._blob[: codec.HEAD_SIZE] for info in chosen]
        removals = map(removal, (info.id for info in chosen), heads)
        replies = yield from twice(tuple(removals))
        stamps = map(codec.stamp_of, heads)
        done = [reply == stamp for reply, stamp in zip(replies, stamps, strict=True)]
        ended += sum(done)
        pairs = zip(chosen, replies, done, strict=True)
        # Changed since it was judged: somebody may have logged in with it.
        ids = [info.id for info, reply, gone in pairs if not (gone or reply is None)]
        if not ids:
            break
    return ended


def _read(ids: list[str]) -> Flow[list[SessionInfo]]:
    """Return what is known of those of the sessions that are there and alive."""
    commands: list[Command] = []
    for id in ids:
        commands += [["GET", key_of(id)], ["PTTL", key_of(id)]]
    try:
        replies = yield tuple(commands)
    except ConnectionLost:
        replies = yield tuple(commands)
    for reply in replies:
        if isinstance(reply, Exception) and not isinstance(reply, WrongType):
            raise reply  # An error is never "no session".
    pairs = zip(ids, replies[::2], replies[1::2], strict=True)
    infos = [_info(id, blob, left) for id, blob, left in pairs]
    return [info for info in infos if info is not None]


def _info(id: str, blob: Any, left: Any) -> SessionInfo | None:
    if not isinstance(blob, bytes):
        return None  # Gone, or a list, a set, a hash ... and so no session.
    now = time.time()
    ends = [now + left / 1000] if isinstance(left, int) and left >= 0 else []
    try:
        envelope = codec.unpack(blob, id)
        data = codec.deserialize(envelope.payload, SessionStore().serializer)
    except Unreadable:
        return SessionInfo(id, None, None, _moment(ends), len(blob), blob)
    if envelope.expires is not None:
        ends.append(envelope.expires / 1000)
    if conf.MAX_LIFETIME is not None:
        ends.append(envelope.created + conf.MAX_LIFETIME)
    if ends and min(ends) <= now:
        return None
    created = _moment([envelope.created])
    return SessionInfo(id, user_of(data), created, _moment(ends), len(blob), blob)


def _moment(seconds: list[float]) -> datetime | None:
    """Return the first of these moments, which are given in unix seconds."""
    if not seconds:
        return None
    # No calendar goes as far as what others may have set.
    return datetime.fromtimestamp(min(*seconds, time.time() + LONGEST), UTC)


def _chunks(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]


def _checked(id: str) -> str:
    if keys.stored_id("", id) is None:
        raise ValueError("A session's id consists of 32 hexadecimal digits.")
    return id
