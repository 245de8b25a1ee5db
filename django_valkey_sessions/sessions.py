"""
Many sessions: find, count and end them.

They are spoken of by their ids. These are no credentials: they can be shown, and nobody
can log in with one. Every function has an awaiting twin; each raises
SessionStoreUnavailable if the server can't tell.
"""

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from logging import getLogger
from typing import Any, TypeVar

from django.contrib.sessions.backends.base import SessionBase

from . import client, codec, devices, index, keys, renewal
from .backend import SessionStore
from .codec import Unreadable
from .conf import LONGEST, BadSetting, conf
from .devices import Device
from .exceptions import ReplyLost, SessionConflict, SessionStoreUnavailable
from .flow import Flow, OnNode, arun, run
from .index import Entry, user_of
from .scripts import (
    CHUNK,
    REMOVE,
    Evaluation,
    by_node,
    chunks,
    keys_of,
    raise_first,
    stored,
    together,
    twice,
)
from .signals import announce, session_ended
from .sweeping import ids_among, scan, scanning, swap_out, tidy_indexes

logger = getLogger("django_valkey_sessions")

T = TypeVar("T")

#: How often a session that is changed meanwhile is judged again.
ROUNDS = 5
#: How often the sessions of a user are ended who keeps getting new ones.
REVOCATIONS = 20
#: How many of a user's sessions a login looks at when there are too many. They have to
#: be read; if there are still more, the next logins end those. Of those that can't be
#: read it looks at so many times as many.
SURPLUS, PAGES = 100, 10

#: How many keys one step of a page looks at, and how many sessions are enough for one.
PAGE_STEP, PAGE = 100, 50
#: How many steps a page may take. If few of the sessions are wanted, or few of the keys
#: are sessions, it ends after that with what it has.
PAGE_STEPS = 100

#: Where a page begins: SCAN's cursor; before it, in a cluster, a slot of the node.
_CURSOR = re.compile(r"(?:([0-9]{1,5}):)?([0-9]{1,20})", re.ASCII)


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
        version = codec.unpack(self._blob, self.id)
        return codec.deserialize(version.payload, SessionStore().serializer)

    @property
    def device(self) -> Device | None:
        """
        What the user has logged in with; None if nobody has, RECORD_DEVICE was off
        then, or the session is unreadable.
        """
        return None if self.created is None else devices.recorded(self.decode())

    @property
    def logged_in(self) -> datetime | None:
        """
        When the user logged in for the last time, if there is a record of that; else
        when the session was created, which the first login does anew. None if it is
        unreadable.
        """
        device = self.device
        return self.created if device is None else device.at

    @property
    def last_active(self) -> datetime | None:
        """
        When the session was last saved or touched, as far as its expiry tells: that is
        renewed only once in a TOUCH_INTERVAL, and not at all where it is fixed, as with
        ``set_expiry(datetime)`` or near MAX_LIFETIME. At the earliest it is when the
        session was created; None if it is unreadable.
        """
        if self.created is None:
            return None
        session = SessionStore()
        session._session_cache = self.decode()
        lifetime = session.idle_lifetime()
        if self.expires is None or lifetime is None:
            return self.created
        renewed = self.expires - lifetime
        # A host whose clock was ahead has created it later than now.
        ahead = self.created >= datetime.now(UTC)
        return renewed if ahead else max(self.created, renewed)


#: Decides about a session.
Where = Callable[[SessionInfo], bool]


def get(id: str) -> SessionInfo | None:
    """Return what is known of the session with this id; None if there is none."""
    return _run(_get(_checked(id)))


async def aget(id: str) -> SessionInfo | None:
    """See get()."""
    return await _arun(_get(_checked(id)))


def id_of(session: SessionBase) -> str | None:
    """
    Return the id of a session such as ``request.session``; None if it has no key. After
    a login, it is the id from before until the session is saved.
    """
    key = session.session_key
    if key is not None and isinstance(session, SessionStore):
        return session._stored_id()
    return None if key is None else keys.session_id(key)


def revoke(id: str) -> bool:
    """
    End the session with this id. A request that is using it can't save it any more.
    Return False if there is none.
    """
    return _run(_revoke(_checked(id)))


async def arevoke(id: str) -> bool:
    """See revoke()."""
    return await _arun(_revoke(_checked(id)))


def iterate() -> Iterator[SessionInfo]:
    """
    Yield all sessions, in no order, a page of SCAN_COUNT at a time. One that comes or
    goes meanwhile may be yielded or not, and in rare cases one comes twice: see
    https://valkey.io/commands/scan/. Looks at every key of the server, which is nothing
    for requests.
    """
    for infos in _pages():
        yield from infos


def _pages() -> Iterator[list[SessionInfo]]:
    cursor: Any = "0"
    while cursor != b"0":
        cursor, ids = _run(scan(cursor))
        while ids:
            infos, ids = _run(_some(ids))
            yield infos


async def aiterate() -> AsyncIterator[SessionInfo]:
    """See iterate()."""
    async for infos in _apages():
        for info in infos:
            yield info


async def _apages() -> AsyncIterator[list[SessionInfo]]:
    cursor: Any = "0"
    while cursor != b"0":
        cursor, ids = await _arun(scan(cursor))
        while ids:
            infos, ids = await _arun(_some(ids))
            yield infos


@dataclass(frozen=True, slots=True)
class Page:
    """Some sessions, and where to go on."""

    infos: list[SessionInfo]
    looked_at: int  # About how many keys of the server were looked at for them.
    next: str | None  # What to call page() with for more; None: there are no more.


def page(start: str | None = None, where: Where | None = None) -> Page:
    """
    Return some sessions of which this is true, by default of any, in no order.
    ``start`` is the ``next`` of the page before, also one that another process has
    returned; None: from the beginning.

    At most about PAGE_STEP times PAGE_STEPS keys of the server are looked at, however
    many there are. So a page has usually PAGE to PAGE plus PAGE_STEP sessions, but it
    may have fewer, or none, and yet not be the last.
    What iterate() says of sessions that come or go is true of pages too, and in a
    cluster also of sessions that move to another node meanwhile.

    Raise ValueError if ``start`` is something else.
    """
    return _run(_page(_begun(start), where))


async def apage(start: str | None = None, where: Where | None = None) -> Page:
    """See page()."""
    return await _arun(_page(_begun(start), where))


def count() -> int:
    """
    Return how many sessions the server holds; with EXPIRE off, also expired ones, and
    with RENEW_AFTER twice those that were renewed a moment ago. Looks at every key of
    the server, which is nothing for requests.
    """
    return _run(_count())


async def acount() -> int:
    """See count()."""
    return await _arun(_count())


def clear(where: Where | None = None) -> int:
    """
    End the sessions of which this is true, by default all; return how many these were:
    with RENEW_AFTER, where all end, twice those that were renewed a moment ago.
    A session that begins meanwhile may live on. Looks at every key of the server, a
    page at a time, which is nothing for requests; but these do not wait for it.
    """
    return _run(_clear(where))


async def aclear(where: Where | None = None) -> int:
    """See clear()."""
    return await _arun(_clear(where))


def for_user(user: Any, limit: int | None = None) -> list[SessionInfo]:
    """
    Return the sessions in which this user, or the user with this id, is logged in: the
    last used first. With a limit, which is at least 1, not more than so many: those
    that expire last. Sessions that were saved with USER_INDEX off are not found.
    """
    return _run(_for_user(_user_id(user), limit))


async def afor_user(user: Any, limit: int | None = None) -> list[SessionInfo]:
    """See for_user()."""
    return await _arun(_for_user(_user_id(user), limit))


def revoke_user(user: Any, keep: str | SessionBase | None = None) -> int:
    """
    End the sessions in which this user, or the user with this id, is logged in; return
    how many these were. ``keep`` is one that stays: ``request.session``, or an id.
    Requests that are using one of the others can't save it any more, and a key that is
    changed meanwhile saves no session.

    Raise SessionConflict if the user gets new sessions all the time. Sessions that were
    saved with USER_INDEX off are not found.
    """
    return _run(_revoke_user(_user_id(user), _kept(keep)))


async def arevoke_user(user: Any, keep: str | SessionBase | None = None) -> int:
    """See revoke_user()."""
    return await _arun(_revoke_user(_user_id(user), _kept(keep)))


def reindex() -> int:
    """
    Enter all sessions with a user in the index of this user, as after USER_INDEX was
    switched on, or the index was lost; return how many these were. Looks at every key
    of the server, which is nothing for requests.
    """
    _check_index()
    return sum(_run(_entered(infos)) for infos in _pages())


async def areindex() -> int:
    """See reindex()."""
    _check_index()
    total = 0
    async for infos in _apages():
        total += await _arun(_entered(infos))
    return total


def _run(flow: Flow[T]) -> T:
    conf.follow()
    return run(flow, client.execute)


async def _arun(flow: Flow[T]) -> T:
    conf.follow()
    return await arun(flow, client.aexecute)


# The flows.


def _get(id: str) -> Flow[SessionInfo | None]:
    found = yield from _read([id])
    return found[0] if found else None


def _revoke(id: str) -> Flow[bool]:
    for _ in range(ROUNDS):
        found = yield from _read_all([id])  # Whose it is, for the index.
        if not found:
            before, id = id, (yield from _renewed_as(id))
            if id == before:
                return False
            continue
        # As it was seen: it may have been renewed since, and live on elsewhere.
        (outcome,) = yield from _swapped_out(found, "revoked")
        if outcome is not False:
            return bool(outcome)
    (done,) = yield from _removed([(id, None)], "revoked")
    return done


def _renewed_as(id: str) -> Flow[str]:
    """Return the id that a session has since it was renewed, the same if it was not."""
    for _ in range(renewal.STEPS):
        blob, _ = (yield from stored([id]))[id]
        if not (isinstance(blob, bytes) and codec.leads(blob)):
            break
        try:
            id = renewal.target_id(codec.unpack(blob, id).payload)
        except Unreadable:
            break
    return id


def _page(start: str, where: Where | None) -> Flow[Page]:
    position: str | None = start
    infos: list[SessionInfo] = []
    steps = 0
    while position is not None and steps < PAGE_STEPS and len(infos) < PAGE:
        position, ids = yield from _step(position)
        steps += 1
        for chunk in chunks(ids):
            found = yield from _read(chunk)
            infos += [info for info in found if where is None or where(info)]
    return Page(infos, steps * PAGE_STEP, position)


def _step(position: str) -> Flow[tuple[str | None, list[str]]]:
    """
    Look at some keys from here on. Return where to go on, and the ids of the sessions.

    Not scan(): GLIDE's cursor for a cluster is worth nothing to another process. So the
    nodes are gone through one after the other, each named by the first of its slots.
    """
    slot, _, cursor = position.rpartition(":")
    command = scanning(cursor, PAGE_STEP)
    trip = OnNode(int(slot), command) if slot else command
    reached, names = yield from twice(trip)
    ids = ids_among(names)
    if reached != b"0":
        return f"{slot}:{reached.decode()}" if slot else reached.decode(), ids
    following = (yield from _node_after(int(slot))) if slot else None
    return following, ids


def _node_after(slot: int) -> Flow[str | None]:
    """Return where the keys begin of the node after the one with this first slot."""
    firsts: dict[bytes, int] = {}
    for first, _, primary, *_ in (yield from twice(["CLUSTER", "SLOTS"])):
        _, _, node, *_ = primary
        firsts[node] = min(first, firsts.get(node, first))
    following = [first for first in firsts.values() if first > slot]
    return f"{min(following)}:0" if following else None


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
        while ids and where is not None:
            infos, ids = yield from _some(ids)
            total += yield from _end(infos, where)
        for chunk in chunks(ids):
            total += yield from _end_all(chunk)
    if where is None:
        yield from tidy_indexes()
    return total


def _end_all(ids: Sequence[str]) -> Flow[int]:
    """End these sessions, whosever they are; return how many were still there."""
    groups = by_node(keys_of(ids))
    removals = [Evaluation(REMOVE, group, ()) for group in groups]
    was_lost = False
    try:
        replies = yield from together(removals)
    except ReplyLost:  # What is gone then may have been removed all the same.
        was_lost = True
        replies = yield from together(removals)
    ended: list[str] = []
    for group, reply in zip(groups, replies, strict=True):
        if not isinstance(reply, Exception):
            pairs = zip(group, reply, strict=True)
            ended += [key[-keys.ID_SIZE :] for key, done in pairs if done or was_lost]
    if session_ended.has_listeners(SessionStore):
        for id in ended:
            yield from _announce(id, None, "revoked")
    raise_first(replies)
    return len(ended)


def _end(infos: Sequence[SessionInfo], where: Where) -> Flow[int]:
    """End those of the sessions of which this is true, as they are when they end."""
    ended = 0
    for _ in range(ROUNDS):
        chosen = [info for info in infos if where(info)]
        if not chosen:
            break
        outcomes = yield from _swapped_out(chosen, "revoked")
        ended += sum(outcome is True for outcome in outcomes)
        # Changed since it was judged: somebody may have logged in with it.
        pairs = zip(chosen, outcomes, strict=True)
        changed = [info.id for info, outcome in pairs if outcome is False]
        if not changed:
            break
        infos = yield from _read(changed)
    return ended


def _swapped_out(infos: Sequence[SessionInfo], reason: str) -> Flow[list[bool | None]]:
    """
    End these sessions as they were seen. Return for each True if that was done, False
    if it has changed since, and None if it was gone.
    """
    heads = [info._blob[: codec.HEAD_SIZE] for info in infos]
    removals = [
        swap_out(info.id, head, info.user_id)
        for info, head in zip(infos, heads, strict=True)
    ]
    replies, was_lost = yield from _done(removals)
    outcomes: list[bool | None] = []
    for info, head, reply in zip(infos, heads, replies, strict=True):
        done = reply == codec.stamp_of(head) or (was_lost and reply is None)
        if done:
            yield from _announce(info.id, info.user_id, reason)
        outcomes.append(True if done else None if reply is None else False)
    raise_first(replies)
    return outcomes


def _removed(pairs: Sequence[tuple[str, str | None]], reason: str) -> Flow[list[bool]]:
    """
    End sessions that were there a moment ago, each given by its id and its user. Return
    which were still there.
    """
    removals = [index.removal(id, user) for id, user in pairs]
    replies, was_lost = yield from _done(removals)
    outcomes = []
    for (id, user), reply in zip(pairs, replies, strict=True):
        failed = isinstance(reply, Exception)
        outcomes.append(not failed and bool(reply or was_lost))
        if outcomes[-1]:
            yield from _announce(id, user, reason)
    raise_first(replies)
    return outcomes


def _done(removals: Sequence[index.Write]) -> Flow[tuple[list[Any], bool]]:
    """
    Do these removals. Return the replies, and True if those to a first try were lost:
    then what is gone may have been removed by it.
    """
    try:
        return (yield from index.all_written(removals)), False
    except ReplyLost:
        return (yield from index.all_written(removals)), True


def _announce(id: str, user: str | None, reason: str) -> Flow[None]:
    return announce(session_ended, SessionStore, id=id, user_id=user, reason=reason)


# The sessions of a user.


def _for_user(user: str, limit: int | None) -> Flow[list[SessionInfo]]:
    found: list[SessionInfo] = []
    for ids in chunks((yield from index.members(user, limit))):
        found += yield from _look(user, ids)
    shown = [info for info in found if info.created is not None and _is_alive(info)]
    return sorted(shown, key=_last_used, reverse=True)


def _revoke_user(user: str, keep: str | None) -> Flow[int]:
    total = 0
    # Until there are none: a session whose key is changed meanwhile is seen by none of
    # the looks but the next one.
    before: list[str] = []
    for _ in range(REVOCATIONS):
        members = yield from index.members(user)
        if keep is not None:
            keep = yield from _renewed_as(keep)
        others = [id for id in members if id != keep]
        seen = 0
        for ids in chunks(others):
            # Also what can't be read here, or has expired by the clock or the settings
            # of this host: that may be otherwise elsewhere.
            found = yield from _look(user, ids)
            pairs = [(info.id, user) for info in found if not _is_next(info, keep)]
            seen += len(pairs)
            if pairs:
                total += sum((yield from _removed(pairs, "revoked")))
        # Some entries may not be removed, and lead nowhere.
        if not others or (not seen and others == before):
            return total
        before = others
    raise SessionConflict(
        f"The user had new sessions each of the {REVOCATIONS} times that all of them "
        "were ended. Who logs in all the time?"
    )


def _look(user: str, ids: Sequence[str]) -> Flow[list[SessionInfo]]:
    """
    Return what is known of the sessions that the index says are this user's, and can't
    be said not to be. Remove the entries of the others.
    """
    found: list[SessionInfo] = []
    stale: dict[str, bytes] = {}
    # Twice, because a reply may have been another's.
    for _ in range(2):
        stale = dict.fromkeys(ids, b"")
        for info in (yield from _read_all(ids)):
            if info.created is None or info.user_id == user:
                found.append(info)
                del stale[info.id]
            else:
                stale[info.id] = codec.stamp_of(info._blob)
        if not stale:
            return found
        ids = list(stale)
    yield from index.forget(user, list(stale.items()))
    return found


def _is_next(info: SessionInfo, id: str | None) -> bool:
    """Return True if it is what the session with this id is just becoming."""
    if id is None or info.created is None:
        return False
    known = renewal.recorded(info.decode())
    return known is not None and known.left == id


def end_surplus(user: str, most: int, keep: str) -> Flow[None]:
    """
    End the sessions of a user that have not been used for the longest time, so that so
    many are left. ``keep`` is the session that has just been logged in to, and stays.

    Those that can't be ended now are for the next login to end: the login itself is
    stored already, and not undone.
    """
    try:
        if (yield from index.size(user)) <= most:
            return
        if not conf.CLUSTER:
            yield from _end_surplus(user, most, keep)
        elif (yield from index.begin_turn(user)):
            yield from _end_surplus(user, most, keep)
            yield from index.end_turn(user)
    except SessionStoreUnavailable as error:
        logger.warning("Surplus sessions of a user could not be ended: %s", error)


def _end_surplus(user: str, most: int, keep: str) -> Flow[None]:
    found, ignored = yield from _by_use(user, keep)
    most += ignored
    if conf.CLUSTER:
        excess = (yield from index.size(user)) - most
        if excess > 0 and found:
            yield from _swapped_out(found[:excess], "limit")
        return
    # All of them: other logins may have ended the first ones already.
    candidates = [(_entry(info), codec.stamp_of(info._blob)) for info in found]
    ended = yield from index.end_surplus(user, most, candidates)
    for info in found:
        if info.id in ended:
            yield from _announce(info.id, user, "limit")


def _by_use(user: str, keep: str) -> Flow[tuple[list[SessionInfo], int]]:
    """
    Return the sessions of a user that may be ended, the longest unused first, and how
    many there are that do not count, because they can't be read: nobody is logged in
    with them here.
    """
    readable: list[SessionInfo] = []
    ignored = seen = 0
    while True:
        ids = yield from index.page_of(user, seen, SURPLUS)
        found = yield from _look(user, [id for id in ids if id != keep])
        readable += [info for info in found if info.created is not None]
        ignored += sum(info.created is None for info in found)
        seen += len(ids)
        readable.sort(key=_last_used)
        if len(ids) < SURPLUS:
            return readable, ignored
        if len(readable) + 1 >= SURPLUS or seen >= SURPLUS * PAGES:
            # Among those that expire later, which are not looked at, may be others that
            # were not used for longer.
            return readable[: max(1, len(readable) // 2)], ignored


def _entered(infos: Sequence[SessionInfo]) -> Flow[int]:
    entries = [_entry(info) for info in infos if info.user_id is not None]
    yield from index.add(entries)
    return len(entries)


def _entry(info: SessionInfo) -> Entry:
    left = timedelta(seconds=LONGEST)
    if info.expires is not None:
        left = info.expires - datetime.now(UTC)
    return Entry(info.id, int(left.total_seconds() * 1000), info.user_id)


def _some(ids: list[str]) -> Flow[tuple[list[SessionInfo], list[str]]]:
    """
    Return what is known of some of the sessions, at most CHUNK, if they are there and
    alive; and which are left to be looked at. What is returned is never very large.
    """
    chunk = ids[:CHUNK]
    found = yield from stored(chunk)
    infos = [info for info in _infos(found) if _is_alive(info)]
    return infos, [id for id in chunk if id not in found] + ids[CHUNK:]


def _read(ids: Sequence[str]) -> Flow[list[SessionInfo]]:
    """Return what is known of those of the sessions that are there and alive."""
    return [info for info in (yield from _read_all(ids)) if _is_alive(info)]


def _read_all(ids: Sequence[str]) -> Flow[list[SessionInfo]]:
    """The same, also of those that have expired and are still there."""
    found: list[SessionInfo] = []
    left = ids
    while left:
        some = yield from stored(left)
        found += _infos(some)
        left = [id for id in left if id not in some]
    return found


def _infos(found: dict[str, tuple[Any, Any]]) -> list[SessionInfo]:
    serializer = SessionStore().serializer  # Once: making a store takes its time.
    infos = [_info(id, *pair, serializer) for id, pair in found.items()]
    return [info for info in infos if info is not None]


def _info(id: str, blob: Any, left: Any, serializer: Any) -> SessionInfo | None:
    if not isinstance(blob, bytes):
        return None  # Gone, or a list, a set, a hash ... and so no session.
    if codec.leads(blob):
        return None
    now = time.time()
    ends = [now + left / 1000] if isinstance(left, int) and left >= 0 else []
    try:
        version = codec.unpack(blob, id)
        data = codec.deserialize(version.payload, serializer)
    except Unreadable:
        return SessionInfo(id, None, None, _moment(ends), len(blob), blob)
    if version.expires is not None:
        ends.append(version.expires / 1000)
    if conf.MAX_LIFETIME is not None:
        ends.append(version.created + conf.MAX_LIFETIME)
    created = _moment([version.created])
    return SessionInfo(id, user_of(data), created, _moment(ends), len(blob), blob)


def _moment(seconds: list[float]) -> datetime | None:
    """Return the first of these moments, which are given in unix seconds."""
    if not seconds:
        return None
    # No calendar goes as far as what others may have set.
    return datetime.fromtimestamp(min(*seconds, time.time() + LONGEST), UTC)


def _is_alive(info: SessionInfo) -> bool:
    return (
        info.expires is None or info.created is None or info.expires > datetime.now(UTC)
    )


def _last_used(info: SessionInfo) -> datetime:
    try:
        used = info.last_active
    except Exception:  # Of a callable TTL, which was not made for this session.
        used = info.created
    return used or datetime.min.replace(tzinfo=UTC)


def _user_id(user: Any) -> str:
    """Return the user's id as django.contrib.auth keeps it in sessions."""
    _check_index()
    return str(user._meta.pk.value_to_string(user) if hasattr(user, "_meta") else user)


def _check_index() -> None:
    conf.follow()
    if not conf.USER_INDEX:
        raise BadSetting(
            "E028",
            "USER_INDEX in VALKEY_SESSIONS is False, so it is not known which sessions "
            "a user has.",
            "Remove it; or go through all sessions, with iterate() or clear().",
        )


def _kept(keep: str | SessionBase | None) -> str | None:
    if not isinstance(keep, SessionBase):
        return None if keep is None else _checked(keep)
    return id_of(keep)


def _begun(start: str | None) -> str:
    """Return where the page begins, as _step() takes it."""
    if start is None:
        return "0:0" if conf.CLUSTER else "0"
    match = _CURSOR.fullmatch(start)
    if match and bool(match[1]) is conf.CLUSTER:
        slot, cursor = int(match[1] or 0), int(match[2])
        if slot < keys.SLOTS and cursor < 1 << 64:
            return start
    raise ValueError("A page begins with None, or with what the page before says.")


def _checked(id: str) -> str:
    if keys.stored_id("", id) is None:
        raise ValueError("A session's id consists of 32 hexadecimal digits.")
    return id
