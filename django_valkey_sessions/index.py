"""
Which sessions a user has: for each user a sorted set, whose members are ids of sessions
and whose scores are when these expire, in unix seconds.

Truth is the session, the index is a hint. What is in it and should not be is harmless:
who reads it looks at the sessions, too. What should be in it and is not would be missed
by "log out everywhere". So an entry is made in the round trip of the write, and goes
only when it is known that the session is gone; and no error of the index becomes one of
the session.

On one server a script does both, or neither. In a cluster the two are on different
nodes: the entry is sent together with the write, and removed after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from logging import getLogger
from typing import Any

from . import codec, keys
from .client import WrongType
from .conf import conf
from .exceptions import SessionStoreUnavailable
from .flow import Command, Flow
from .scripts import (
    FOLLOW,
    LIMIT,
    SEND_AND_FOLLOW,
    SWAP,
    SWAP_AND_FOLLOW,
    Call,
    Evaluation,
    Script,
    chunks,
    key_of,
    looked,
    one,
    raise_first,
    together,
    twice,
)

logger = getLogger("django_valkey_sessions")

#: What went wrong with the index in this process, to be logged once and not each time.
_noted: set[str] = set()


@dataclass(frozen=True, slots=True)
class Entry:
    """What a write means for the index."""

    id: str
    lifetime: int  # Milliseconds from now; 0 or less: the session ends.
    user: str | None = None  # Whose the session is from now on.
    former: str | None = None  # Whose it was.

    def words(self, indexes: list[tuple[str, bytes]]) -> tuple[str, str, str]:
        """Return what FOLLOW wants to know, for these indexes."""
        return self.id, str(self.lifetime), "".join(sign for sign, _ in indexes)

    def indexes(self) -> list[tuple[str, bytes]]:
        """Return the indexes to write: a sign as that of FOLLOW, and the key."""
        if not conf.USER_INDEX:
            return []
        # In a cluster two writes can reach the index in another order than the session.
        sign = ">" if conf.CLUSTER else "+"
        found = [] if self.user is None else [(sign, index_of(self.user))]
        if self.former is not None and self.former != self.user:
            found.append(("-", index_of(self.former)))
        return found


def index_of(user: str) -> bytes:
    """Return the key under which Valkey holds the index of this user's sessions."""
    return keys.index_key(conf.PREFIX, user)


@dataclass(frozen=True, slots=True)
class Write:
    """Something done with a session, and what that means for the index."""

    plain: Call
    along: Script  # The same with the index, where they are on one server.
    key: str | bytes
    arguments: Sequence[str | bytes]
    entry: Entry
    done: tuple[Any, ...]  # The replies that say that it was done,
    gone: Any  # and that it was not, because there was no such session.

    def call(self) -> Call:
        """Return what to send to the session's node."""
        indexes = self.entry.indexes()
        if conf.CLUSTER or not indexes:
            return self.plain
        found = [self.key, *(index for _, index in indexes)]
        words = self.entry.words(indexes)
        return Evaluation(self.along, found, [*words, *self.arguments])

    def enters(self) -> list[Call]:
        """Return what to send beside it, in a cluster."""
        if not conf.CLUSTER or self.entry.lifetime <= 0:
            return []
        return [
            Evaluation(FOLLOW, [index], self.entry.words([(sign, index)]))
            for sign, index in self.entry.indexes()
            if sign != "-"
        ]

    def leaves(self, reply: Any) -> list[Command]:
        """Return what to send after it, in a cluster."""
        is_gone = reply == self.gone
        if not (conf.CLUSTER and (is_gone or reply in self.done)):
            return []
        return [
            ["ZREM", index, self.entry.id]
            for sign, index in self.entry.indexes()
            if sign == "-" or is_gone or self.entry.lifetime <= 0
        ]


def swap(id: str, expected: bytes, blob: bytes, px: str, entry: Entry) -> Write:
    """Return what evaluates SWAP on the session with this id."""
    arguments = (expected, blob, px)
    plain = Evaluation(SWAP, [key_of(id)], arguments)
    done = (codec.stamp_of(blob),)
    return Write(plain, SWAP_AND_FOLLOW, key_of(id), arguments, entry, done, None)


def send(command: Command, entry: Entry) -> Write:
    """Return what sends a command on the session's key."""
    name, key, *words = command
    return Write(command, SEND_AND_FOLLOW, key, (name, *words), entry, ("OK", 1), 0)


def removal(id: str, user: str | None) -> Write:
    """Return what removes the session with this id, which is this user's."""
    return send(["UNLINK", key_of(id)], Entry(id, 0, user))


def written(write: Write) -> Flow[Any]:
    """Do it, and let the index follow; return the reply of the session's node."""
    enters = write.enters()
    if enters:
        reply, *answers = yield from together([write.call(), *enters])
        raise_first([reply])
        note(answers)
    else:
        reply = _unpacked((yield from one(write.call())))
    yield from _leave(write.leaves(reply))
    return reply


def all_written(writes: Sequence[Write]) -> Flow[list[Any]]:
    """Do them all, removals and nothing else, in one round trip. Return the replies."""
    replies = yield from together([write.call() for write in writes])
    raise_first(replies)
    replies = [_unpacked(reply) for reply in replies]
    pairs = zip(writes, replies, strict=True)
    leaves = [write.leaves(reply) for write, reply in pairs]
    yield from _leave([command for commands in leaves for command in commands])
    return replies


def _unpacked(reply: Any) -> Any:
    """Return the session's part of a script's answer, and take note of the index's."""
    if not isinstance(reply, list):
        return reply
    reply, answer = reply
    note([answer])
    return reply


def _leave(commands: Sequence[Command]) -> Flow[None]:
    """Remove entries whose sessions are gone. That it fails does no harm."""
    if not commands:
        return
    try:
        answers = yield tuple(commands)
    except SessionStoreUnavailable as error:
        answers = [error]
    note([answer for answer in answers if isinstance(answer, Exception)])


def note(answers: Sequence[Any]) -> None:
    """Log what went wrong with the index, if anything did, once."""
    for text in filter(None, map(_text, answers)):
        if text in _noted:
            continue
        _noted.add(text)
        logger.warning(
            "The index of users' sessions can't be written: %s. The sessions "
            "themselves are; but who ends all sessions of a user may miss some.",
            text.rstrip("."),
        )


def _text(answer: Any) -> str:
    return answer.decode() if isinstance(answer, bytes) else str(answer)


# Reading and tidying.


def members(user: str, limit: int | None = None) -> Flow[list[str]]:
    """
    Return the ids in this user's index, those that expire first at the front. With a
    limit only so many, which expire last.
    """
    start = "0" if limit is None else str(-limit)
    try:
        found = yield from twice(["ZRANGE", index_of(user), start, "-1"])
    except WrongType:
        raise _strange() from None
    return [member.decode(errors="replace") for member in found]


def first_members(user: str, count: int) -> Flow[tuple[int, list[str]]]:
    """Return how many entries this user's index has, and so many that expire first."""
    index = index_of(user)
    try:
        size, found = yield from twice(
            (["ZCARD", index], ["ZRANGE", index, "0", str(count - 1)])
        )
    except WrongType:
        raise _strange() from None
    return size, [member.decode(errors="replace") for member in found]


def forget(user: str, ids: Sequence[str]) -> Flow[None]:
    """Remove entries of sessions that are gone, or are not this user's."""
    if ids:
        yield from twice(["ZREM", index_of(user), *ids])


def entering(entries: Sequence[Entry]) -> list[Evaluation]:
    """Return what enters sessions that are stored already, or together with these."""
    return [
        Evaluation(FOLLOW, [index], entry.words([(">", index)]))
        for entry in entries
        for _, index in entry.indexes()
    ]


def enter(entries: Sequence[Entry]) -> Flow[None]:
    """Enter sessions that are stored already. Raise an error if they may not be."""
    calls = entering(entries)
    if calls:
        replies = yield from together(calls)
        raise_first(replies)
        note(replies)


def tidy(users: Sequence[str]) -> Flow[None]:
    """Remove the entries of sessions that are gone from the indexes of these users."""
    ranges: list[Command] = [["ZRANGE", index_of(u), "0", "-1"] for u in users]
    found = yield from looked(tuple(ranges))
    entries = [
        (user, str(id, errors="replace"))
        for user, ids in zip(users, found, strict=True)
        if isinstance(ids, list)
        for id in ids
    ]
    for chunk in chunks(entries):
        stale = chunk
        # Twice, because in a cluster an entry may be made before its session is stored.
        for _ in range(2):
            if not stale:
                break
            there = yield from looked(tuple(["EXISTS", key_of(i)] for _, i in stale))
            stale = [pair for pair, n in zip(stale, there, strict=True) if not n]
        if stale:
            yield from twice(tuple(["ZREM", index_of(user), id] for user, id in stale))


def end_surplus(
    user: str, most: int, candidates: Sequence[tuple[Entry, bytes]]
) -> Flow[list[str]]:
    """
    End sessions of this user, each given with its stamp, in this order, until the index
    has no more than ``most`` entries; return the ids of those that were ended.
    """
    found = [] if conf.CLUSTER else [key_of(entry.id) for entry, _ in candidates]
    words = [word for entry, stamp in candidates for word in (entry.id, stamp)]
    limiting = Evaluation(LIMIT, [index_of(user), *found], [str(most), *words])
    ended = [id.decode() for id in (yield from one(limiting))]
    if conf.CLUSTER and ended:
        try:
            yield from twice(tuple(["UNLINK", key_of(id)] for id in ended))
        except SessionStoreUnavailable:
            # They may live, and then have to be found.
            yield from enter([entry for entry, _ in candidates if entry.id in ended])
            raise
    return ended


def _strange() -> SessionStoreUnavailable:
    return SessionStoreUnavailable(
        "What Valkey holds in the place of the index of a user's sessions is no sorted "
        "set. Does another application use PREFIX in VALKEY_SESSIONS?"
    )
