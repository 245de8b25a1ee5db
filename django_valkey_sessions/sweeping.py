"""
Go through all keys of the server, and remove what it does not remove itself: nothing
for requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from . import codec, index, keys
from .conf import conf
from .exceptions import ReplyLost
from .flow import Command, Flow
from .index import Entry
from .scripts import BEGIN, again, by_node, chunks, evaluated, keys_of, raise_first

#: How many ids a scan remembers, not to return one again.
REMEMBERED = 10_000


@dataclass(slots=True)
class Place:
    """Where a scan has got to, and what it has found lately."""

    cursor: Any
    recent: dict[str, None] = field(default_factory=dict)

    def new_among(self, ids: Sequence[str]) -> list[str]:
        """Return those of the ids that were not found lately, and remember them."""
        new = [id for id in dict.fromkeys(ids) if id not in self.recent]
        self.recent.update(dict.fromkeys(new))
        surplus = max(0, len(self.recent) - REMEMBERED)
        for id in list(islice(self.recent, surplus)):
            del self.recent[id]
        return new


def scan(cursor: Any) -> Flow[tuple[Any, list[str]]]:
    """
    Go one step of SCAN_COUNT keys through the server. Return the next cursor, and the
    ids of the sessions among the keys. The first cursor is "0", the last b"0".

    SCAN may return a key more than once, and GLIDE goes through a node of a cluster a
    second time if it hears meanwhile that something has changed there. That is not
    passed on, as long as it is not too long ago.
    """
    place = cursor if isinstance(cursor, Place) else Place(cursor)
    words = scanning(place.cursor, conf.SCAN_COUNT)
    place.cursor, names = yield from _scanned(words)
    ids = place.new_among(ids_among(names))
    return (b"0" if place.cursor == b"0" else place), ids


def _scanned(words: Command) -> Flow[tuple[Any, list[bytes]]]:
    try:
        cursor, found = yield words
    except ReplyLost:  # Of thousands of steps one may take too long.
        cursor, found = yield words
    return cursor, found


def scanning(cursor: Any, count: int) -> Command:
    """Return the command that looks for sessions among so many keys from here on."""
    pattern = keys.session_pattern(conf.PREFIX)
    return ["SCAN", cursor, "MATCH", pattern, "COUNT", str(count)]


def ids_among(names: Sequence[bytes]) -> list[str]:
    """Return the ids of the sessions among these keys."""
    prefix = conf.PREFIX
    found = [keys.stored_id(prefix, name.decode(errors="replace")) for name in names]
    return [id for id in found if id is not None]


def swap_out(id: str, head: bytes, user: str | None = None) -> index.Write:
    """
    Return what removes the session, of this user, if its value still has the stamp in
    these bytes, at which the value began. The reply is this stamp if that was done.
    """
    return index.swap(id, codec.stamp_of(head), head, "0", Entry(id, 0, None, user))


def sweep() -> Flow[None]:
    cursor: Any = "0"
    while cursor != b"0":
        cursor, ids = yield from scan(cursor)
        for chunk in chunks(ids):
            yield from _sweep_chunk(chunk)
    yield from tidy_indexes()


def _sweep_chunk(ids: Sequence[str]) -> Flow[None]:
    groups = by_node(keys_of(ids))
    replies = yield from evaluated(BEGIN, groups, str(codec.HEAD_SIZE))
    over = [
        swap_out(key[-keys.ID_SIZE :], head)
        for group, heads in zip(groups, replies, strict=True)
        for key, head in zip(group, heads, strict=True)
        if head is not None and codec.is_over(codec.expiry_of(head))
    ]
    if over:
        raise_first((yield from again(lambda: index.all_written(over))))


def tidy_indexes() -> Flow[None]:
    """Remove the entries of sessions that are gone from the indexes of all users."""
    cursor: Any = "0"
    pattern, count = keys.index_pattern(conf.PREFIX), str(conf.SCAN_COUNT)
    while cursor != b"0":
        words: Command = ["SCAN", cursor, "MATCH", pattern, "COUNT", count]
        cursor, names = yield from _scanned(words)
        for chunk in chunks(names):
            yield from index.tidy(chunk)
