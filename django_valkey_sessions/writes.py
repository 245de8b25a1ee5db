"""
The ways to store a session: in its place, with its expiry left as it is, under another
id, or under another id with a value left that leads there.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from . import codec, index
from .client import WrongType
from .conf import conf
from .exceptions import ReplyLost
from .flow import Command, Flow
from .index import Entry
from .scripts import again, key_of

#: (old id, expected stamp, value, entry of the new id) -> a reply as that of SWAP.
Write = Callable[[str, bytes, bytes, Entry], Flow[Any]]


def swap(id: str, expected: bytes, blob: bytes, entry: Entry) -> Flow[Any]:
    px = str(entry.lifetime) if conf.EXPIRE or entry.lifetime <= 0 else ""
    swapping = index.swap(id, expected, blob, px, entry)
    return (yield from settled(swapping, id, blob))


def amend(id: str, expected: bytes, blob: bytes, entry: Entry) -> Flow[Any]:
    """Store as swap() does, but let the session expire when it would have."""
    if entry.lifetime <= 0:
        return (yield from swap(id, expected, blob, entry))
    # For the index nothing changes: neither whose the session is, nor its expiry.
    entry = Entry(id, entry.lifetime)
    amending = index.swap(id, expected, blob, "KEEPTTL", entry)
    return (yield from settled(amending, id, blob))


def move(old: str, expected: bytes, blob: bytes, entry: Entry) -> Flow[Any]:
    """
    Store under the new id, and then remove from under the old one. Not in one round
    trip: if the server hangs, it carries out later what nobody waits for any more, and
    the browser would be left with the old key and no session.
    """
    new, stamp = entry.id, codec.stamp_of(blob)
    if entry.lifetime > 0:
        storing: Command = ["SET", key_of(new), blob, *px_of(entry.lifetime)]
        entering = index.send(storing, replace(entry, former=None))
        yield from settled(entering, new, blob)
    head = blob[: codec.STAMP_END]  # Of what is not stored the stamp is enough.
    leaving = index.swap(old, expected, head, "0", Entry(old, 0, None, entry.former))
    taking_back = index.removal(new, entry.user)
    try:
        reply = yield from index.written(leaving)
    except ReplyLost:
        if (yield ["EXISTS", key_of(old)]):
            yield from again(lambda: index.written(taking_back))
            raise
        return stamp
    except WrongType:
        reply = None
    if reply != stamp:
        yield from again(lambda: index.written(taking_back))
    return reply


def leave(
    old: str, expected: bytes, blob: bytes, entry: Entry, lead: bytes
) -> Flow[Any]:
    """
    Store under the new id, and then under the old one what leads there. If it is not
    known whether the second was done, the new session stays: it may be done later.
    """
    new = entry.id
    storing: Command = ["SET", key_of(new), blob, *px_of(entry.lifetime)]
    entering = index.send(storing, replace(entry, former=None))
    yield from settled(entering, new, blob)
    px = str(entry.lifetime) if conf.EXPIRE else ""
    leaving = index.swap(old, expected, lead, px, Entry(old, 0, None, entry.former))
    try:
        reply = yield from settled(leaving, old, lead)
    except WrongType:
        reply = None
    if reply == codec.stamp_of(lead):
        return codec.stamp_of(blob)
    taking_back = index.removal(new, entry.user)
    yield from again(lambda: index.written(taking_back))
    return reply


def settled(write: index.Write, id: str, blob: bytes) -> Flow[Any]:
    """
    Store a value. If the reply is lost, look whether it was stored: sending it again
    could undo what another request has stored since.
    """
    stamp = codec.stamp_of(blob)
    try:
        return (yield from index.written(write))
    except ReplyLost:
        start, end = str(codec.STAMP_START), str(codec.STAMP_END - 1)
        if (yield ["GETRANGE", key_of(id), start, end]) != stamp:
            raise
        # In a cluster it may be the entry that was lost.
        yield from index.add_late(write)
        return stamp


def px_of(lifetime: int) -> Command:
    return ["PX", str(lifetime)] if conf.EXPIRE else []
