"""
Which sessions a user has: for each user a sorted set, whose members are ids of sessions
and whose scores are when these expire, in unix seconds.

Truth is the session, the index is a hint. What is in it and should not be is harmless:
who reads it looks at the sessions, too. What should be in it and is not would be missed
by "log out everywhere". So an entry is made in the round trip of the write, and goes
only when it is known that the session is gone; and no error of the index becomes one of
the session.

On one server a script does both, or neither. In a cluster the two are on different
nodes: the entry is sent together with the write; after it, if the session has a new key
(nobody has that yet, and who looks meanwhile takes a session that is not stored yet for
one that is gone); and it is removed after the session.
"""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from logging import getLogger
from typing import Any

from . import codec, keys
from .client import WrongType
from .conf import conf
from .exceptions import NotPermitted, ReplyLost, SessionStoreUnavailable
from .flow import Command, Flow
from .scripts import (
    BEGIN,
    FOLLOW,
    FORGET,
    LIMIT,
    LIST,
    SEND_AND_FOLLOW,
    SWAP,
    SWAP_AND_FOLLOW,
    TIDY,
    TOUCH,
    TOUCH_AND_FOLLOW,
    Call,
    Evaluation,
    Script,
    again,
    by_node,
    chunks,
    evaluated,
    key_of,
    keys_of,
    one,
    raise_first,
    together,
    twice,
)

logger = getLogger("django_valkey_sessions")

#: How many entries are read in one round trip.
PAGE = 1000
#: How often a login waits for another one of the same user that is ending sessions, and
#: how many seconds at the most each time.
TURNS, TURN_PAUSE = 20, 0.05
#: Milliseconds after which a login that began to end sessions is taken for dead.
TURN = 2000

#: Where django.contrib.auth keeps the user's id. Spelled out because the engine also
#: serves sites without users.
USER_KEY = "_auth_user_id"

#: What went wrong with the index in this process, to be logged once and not each time.
_noted: set[str] = set()


@dataclass(slots=True)
class Entry:
    """What a write means for the index."""

    id: str
    lifetime: int  # Milliseconds from now; 0 or less: the session ends.
    user: str | None = None  # Whose the session is from now on.
    former: str | None = None  # Whose it was.

    def words(self, indexes: list[tuple[str, bytes]]) -> tuple[str, str]:
        """Return what a script wants to know that lets these indexes follow."""
        return str(self.lifetime), "".join([sign for sign, _ in indexes])

    def following(self, sign: str, index: bytes) -> Evaluation:
        """Return what lets this index follow by itself."""
        words = (*self.words([(sign, index)]), self.id)
        return Evaluation(FOLLOW, [index], words)

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


def user_of(data: dict[str, Any]) -> str | None:
    """Return the id of the user who is logged in with these data of a session."""
    user = data.get(USER_KEY)
    return None if user is None else str(user)


def index_of(user: str) -> bytes:
    """Return the key under which Valkey holds the index of this user's sessions."""
    return keys.index_key(conf.PREFIX, user)


@dataclass(slots=True)
class Write:
    """Something done with a session, and what that means for the index."""

    plain: Call
    along: Script  # The same with the index, where they are on one server.
    key: str | bytes
    arguments: Sequence[str | bytes]
    entry: Entry
    done: tuple[Any, ...]  # The replies that say that it was done,
    gone: Any  # and that it was not, because there was no such session.
    is_new: bool = False  # The session has a new key.

    def call(self) -> Call:
        """Return what to send to the session's node."""
        if conf.CLUSTER or not (indexes := self.entry.indexes()):
            return self.plain
        found = [self.key, *[index for _, index in indexes]]
        words = self.entry.words(indexes)
        return Evaluation(self.along, found, [*words, *self.arguments])

    def additions(self) -> list[Call]:
        """Return what to send beside it or, if it is new, after it, in a cluster."""
        if not conf.CLUSTER or self.entry.lifetime <= 0:
            return []
        return [
            self.entry.following(sign, index)
            for sign, index in self.entry.indexes()
            if sign != "-"
        ]

    def deletions(self, reply: Any) -> list[Command]:
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
    key, arguments = key_of(id), (expected, blob, px)
    plain = Evaluation(SWAP, [key], arguments)
    done = (codec.stamp_of(blob),)
    return Write(plain, SWAP_AND_FOLLOW, key, arguments, entry, done, None)


def touch(id: str, expected: bytes, lifetime: int, user: str | None) -> Write:
    """Return what evaluates TOUCH on the session with this id, which is this user's."""
    arguments = (expected, str(lifetime))
    plain = Evaluation(TOUCH, [key_of(id)], arguments)
    entry = Entry(id, lifetime, user)
    return Write(plain, TOUCH_AND_FOLLOW, key_of(id), arguments, entry, (1,), 0)


def send(command: Command, entry: Entry) -> Write:
    """Return what sends a command on the session's key."""
    name, key, *words = command
    arguments, done, is_new = (name, *words), ("OK", 1), name == "SET"
    return Write(command, SEND_AND_FOLLOW, key, arguments, entry, done, 0, is_new)


def removal(id: str, user: str | None) -> Write:
    """Return what removes the session with this id, which is this user's."""
    return send(["UNLINK", key_of(id)], Entry(id, 0, user))


def ending(id: str, user: str | None) -> Write:
    """
    Return the same, unless what is stored there is no session but leads to one: then
    that stays, and is the reply. Else it is the stamp in what stands for a value here.
    """
    value = bytes(codec.STAMP_START) + os.urandom(codec.STAMP_END - codec.STAMP_START)
    return swap(id, b"", value, "0", Entry(id, 0, None, user))


def written(write: Write) -> Flow[Any]:
    """Do it, and let the index follow; return the reply of the session's node."""
    if conf.CLUSTER:
        return (yield from _written_apart(write))
    call = write.call()
    try:
        return _unpacked((yield from one(call)))
    except NotPermitted as error:
        if call is write.plain:
            raise
        # Perhaps it is only the index that the user has no right to.
        reply = yield from one(write.plain)
        note([error])
        return reply


def _written_apart(write: Write) -> Flow[Any]:
    additions = write.additions()
    if additions and not write.is_new:
        reply, *answers = yield from together([write.plain, *additions])
        raise_first([reply])
        note(answers)
    else:
        reply = yield from one(write.plain)
        if reply in write.done:
            yield from add_late(write)
    yield from _delete(write.deletions(reply))
    return reply


def add_late(write: Write) -> Flow[None]:
    """Make the entry of what is written, where it was not made with it."""
    for call in write.additions():
        try:
            note([(yield from one(call))])
        except (SessionStoreUnavailable, WrongType) as error:
            note([error])


def written_twice(write: Write) -> Flow[Any]:
    """Do what does no harm if it is done twice, and once more if that gets lost."""
    try:
        return (yield from again(lambda: written(write)))
    except ReplyLost as error:
        if not write.additions():
            raise
        # Perhaps it is only the index's node that does not answer.
        reply = yield from one(write.plain)
        note([error])
        return reply


def all_written(writes: Sequence[Write]) -> Flow[list[Any]]:
    """
    Do them all, removals and nothing else, in one round trip. Return the replies, with
    an exception in the place of each that failed.
    """
    calls = [write.call() for write in writes]
    replies = [_unpacked(reply) for reply in (yield from together(calls))]
    for number, (write, reply) in enumerate(zip(writes, replies, strict=True)):
        if isinstance(reply, NotPermitted) and calls[number] is not write.plain:
            replies[number] = yield from written(write)
    pairs = zip(writes, replies, strict=True)
    deletions = [write.deletions(reply) for write, reply in pairs]
    yield from _delete([command for commands in deletions for command in commands])
    return replies


def _unpacked(reply: Any) -> Any:
    """Return the session's part of a script's answer, and take note of the index's."""
    if not isinstance(reply, list):
        return reply
    reply, answer = reply
    if answer:
        note([answer])
    return reply


def _delete(commands: Sequence[Command]) -> Flow[None]:
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
            "The index of users' sessions can't be written. The sessions themselves "
            "are; but who ends all sessions of a user may miss some. %s",
            text,
        )


def _text(answer: Any) -> str:
    return answer.decode() if isinstance(answer, bytes) else str(answer)


# Reading and tidying.


def members(user: str, limit: int | None = None) -> Flow[list[str]]:
    """
    Return the ids in this user's index, those that expire first at the front; with a
    limit only so many, which expire last. One that is touched meanwhile may be missed
    by who has more than PAGE sessions.
    """
    if limit is not None:
        return (yield from page_of(user, -limit, limit))
    found: list[str] = []
    while True:
        page = yield from page_of(user, len(found), PAGE)
        found += page
        if len(page) < PAGE:
            return found


def page_of(user: str, start: int, count: int) -> Flow[list[str]]:
    """Return so many ids in this user's index, from this rank on."""
    words: Command = ["ZRANGE", index_of(user), str(start), str(start + count - 1)]
    try:
        found = yield from twice(words)
    except WrongType:
        raise _strange() from None
    return [member.decode(errors="replace") for member in found]


def size(user: str) -> Flow[int]:
    """Return how many entries this user's index has."""
    try:
        return int((yield from twice(["ZCARD", index_of(user)])))
    except WrongType:
        raise _strange() from None


def forget(user: str, stale: Sequence[tuple[str, bytes]]) -> Flow[None]:
    """
    Remove entries that were found not to be right: each with the stamp of its session,
    which is another user's, or with none if there is no such session.
    """
    if conf.CLUSTER:
        # What is another user's could be this one's by now: it may stay until it ends.
        gone = [id for id, stamp in stale if not stamp]
        yield from _delete([["ZREM", index_of(user), id] for id in gone])
        return
    for chunk in chunks(stale):
        found: list[str | bytes] = [index_of(user), *(key_of(id) for id, _ in chunk)]
        words: list[str | bytes] = [word for pair in chunk for word in pair]
        try:
            yield from one(Evaluation(FORGET, found, words))
        except (SessionStoreUnavailable, WrongType) as error:
            note([error])


def adding(entries: Sequence[Entry]) -> list[Evaluation]:
    """Return what enters sessions that are stored already, or together with these."""
    return [
        entry.following(">", index) for entry in entries for _, index in entry.indexes()
    ]


def add(entries: Sequence[Entry]) -> Flow[None]:
    """Enter sessions that are stored already. Raise an error if they may not be."""
    calls = adding(entries)
    if calls:
        replies = yield from together(calls)
        raise_first(replies)
        note(replies)


def tidy(found: Sequence[bytes]) -> Flow[None]:
    """Remove entries whose sessions are gone from the indexes among these keys."""
    users = {key: _indexed_user(key) for key in found}
    groups = by_node([key for key, user in users.items() if user is not None])
    if not groups:
        return
    pages = yield from evaluated(LIST, groups, str(PAGE - 1))
    entries: list[tuple[bytes, str]] = []
    for group, replies in zip(groups, pages, strict=True):
        for key, page in zip(group, replies, strict=True):
            if page is None:
                continue  # Another application's.
            ids = [member.decode(errors="replace") for member in page]
            if len(page) == PAGE:
                ids = yield from members(str(users[key]))
            # What is no id is not ours either.
            entries += [(key, id) for id in ids if keys.stored_id("", id)]
    for chunk in chunks(entries):
        yield from _tidied(chunk)


def _indexed_user(key: bytes) -> str | None:
    return keys.indexed_user(conf.PREFIX, key.decode(errors="replace"))


def _tidied(entries: Sequence[tuple[bytes, str]]) -> Flow[None]:
    if conf.CLUSTER:
        yield from _tidied_apart(entries)
        return
    ids = [id for _, id in entries]
    pairs = zip(entries, keys_of(ids), strict=True)
    found = [word for (index, _), key in pairs for word in (index, key)]
    try:
        yield from one(Evaluation(TIDY, found, ids))
    except (SessionStoreUnavailable, WrongType) as error:
        note([error])


def _tidied_apart(entries: Sequence[tuple[bytes, str]]) -> Flow[None]:
    stale = yield from _gone(entries)
    if stale:  # Twice, because a reply may have been another's.
        stale = yield from _gone(stale)
    yield from _delete([["ZREM", key, id] for key, id in stale])


def _gone(entries: Sequence[tuple[bytes, str]]) -> Flow[list[tuple[bytes, str]]]:
    """Return those of these entries whose sessions are gone."""
    groups = by_node(dict.fromkeys(keys_of(id for _, id in entries)))
    replies = yield from evaluated(BEGIN, groups, "1")
    gone = {
        key
        for group, heads in zip(groups, replies, strict=True)
        for key, head in zip(group, heads, strict=True)
        if head == b""
    }
    return [entry for entry in entries if key_of(entry[1]) in gone]


# A limit of sessions.


def end_surplus(
    user: str, most: int, candidates: Sequence[tuple[Entry, bytes]]
) -> Flow[list[str]]:
    """
    End sessions of this user, each given with its stamp, in this order, until the index
    has no more than ``most`` entries; return the ids of those that were ended. Not in a
    cluster.
    """
    found: list[str | bytes] = [index_of(user)]
    found += [key_of(entry.id) for entry, _ in candidates]
    words: list[str | bytes] = [str(most)]
    for entry, stamp in candidates:
        words += [entry.id, stamp, str(entry.lifetime + 1000)]
    return [id.decode() for id in (yield from one(Evaluation(LIMIT, found, words)))]


def begin_turn(user: str) -> Flow[bool]:
    """
    Wait until no other login of this user ends sessions. Return False if that takes too
    long. In a cluster, where no script can do all of it.
    """
    for _ in range(TURNS):
        words: Command = ["SET", _turn_of(user), "", "NX", "PX", str(TURN)]
        if (yield words) is not None:
            return True
        yield random.uniform(0, TURN_PAUSE)  # noqa: S311
    return False


def end_turn(user: str) -> Flow[None]:
    """Let the next one. If that is never said, TURN is over some time."""
    try:
        yield ["UNLINK", _turn_of(user)]
    except SessionStoreUnavailable as error:
        note([error])


def _turn_of(user: str) -> bytes:
    return keys.turn_key(conf.PREFIX, user)


def _strange() -> SessionStoreUnavailable:
    return SessionStoreUnavailable(
        "What Valkey holds in the place of the index of a user's sessions is no sorted "
        "set. Does another application use PREFIX in VALKEY_SESSIONS?"
    )
