"""
The session engine: ``SESSION_ENGINE = "django_valkey_sessions.backend"``.

Each operation is a private flow, a generator that yields commands and receives
their replies; its public pair, blocking and awaiting, drives it (see flow.py).
"""

import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from logging import getLogger
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.dispatch import Signal
from django.views.decorators.debug import sensitive_variables

from . import client, codec, index, keys, lifetimes, previous, renewal, writes
from .arrivals import end_over_there, move_in, moved_key_of, over_there
from .client import WrongType
from .codec import Unreadable, Version
from .conf import LONGEST, conf
from .exceptions import ConnectionLost, SessionConflict, SessionStoreUnavailable
from .flow import Call, Command, Flow, arun, run
from .index import USER_KEY, Entry, user_of
from .lifetimes import EXPIRY_KEY
from .merge import merge, same
from .previous import Found
from .renewal import Bearer, Overtaken, Renewal
from .scripts import (
    NO_STRING,
    again,
    key_of,
    raise_first,
    surely_stored,
    twice,
)
from .signals import announce, session_created, session_ended, session_unreadable
from .sweeping import scan, sweep

if TYPE_CHECKING:
    from .sessions import SessionInfo

logger = getLogger("django.security.SuspiciousSession")

#: How often what others got in the way of, a save or an end, is tried again.
RETRIES = 20
#: Seconds that the pause before the third try lasts at the most; before each further
#: one it may be twice as long, up to LONGEST_PAUSE.
PAUSE, LONGEST_PAUSE = 0.008, 0.5
#: What TOUCH replies if there is what leads to a session.
LED_ON = 3


class Opened(NamedTuple):
    """A stored version, and its data."""

    version: Version
    data: dict[str, Any]

    def __repr__(self) -> str:
        return f"<Opened {self.version!r}>"


class SessionStore(SessionBase):
    """A session in Valkey."""

    #: Whether a session that is only read is going to be touched, as by this package's
    #: SessionMiddleware. For that it has to be known how long it lives yet.
    rolling = False
    #: Whether the request is no activity of the user: saving a change leaves the expiry
    #: as it is.
    passive = False
    #: Whether the session is that of a request that is answered by this package's
    #: SessionMiddleware: it is saved at the end, and the key it has by then is sent.
    with_cookie = False

    _session_cache: dict[str, Any]
    _session_key: str | None
    if TYPE_CHECKING:  # What django-stubs do not tell of SessionBase.

        def _get_session(self, no_load: bool = False) -> dict[str, Any]: ...
        async def _aget_session(self, no_load: bool = False) -> dict[str, Any]: ...

    # What the data in memory was loaded from, or last saved as. None: whatever the
    # server has is replaced.
    _base: Version | None = None
    # When the session was created, and for whom. Unlike the base it survives clear(),
    # which does not make the session any younger.
    _origin: tuple[int, str | None] | None = None
    # When the server lets the session expire, in time.monotonic()'s seconds, as far as
    # is known.
    _expires_at: float | None = None
    # Stock middleware asks for the session again after a view has failed to get it.
    _outage: client.Outage | None = None
    # A key that is not the session's yet. Not a local variable, because these are shown
    # in error reports.
    _next_key = ""
    # Under which key the server has the session, where that is not its own: from
    # cycle_key() to the next save, if that is sure to come.
    _left_key = ""
    # Which key the client has shown that it has: the id.
    _shown: str | None = None
    #: Whether the session has another key than the one it was asked for with, because
    #: another request has renewed it.
    followed = False
    #: Whether a save or a touch has asked the server about the session since it was
    #: loaded. The middleware sets it to False before its own. Without having asked it
    #: is not known whether another request has renewed the session.
    asked = False
    #: Whether the session got its key after it was loaded, and not by a renewal: there
    #: is nobody else who could renew that.
    fresh_key = False

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        conf.follow()
        self.serializer = conf.SERIALIZER or self.serializer
        # What was sent to be stored, by its stamp, since it was last known to be.
        self._sent: dict[bytes, Version] = {}

    # The public pairs.

    def load(self) -> dict[str, Any]:
        """
        Load the session and return its data; {} if it is unknown or has expired,
        which also takes its key from it. Raise SessionStoreUnavailable if the server
        can't tell.
        """
        return run(self._load(), client.execute)

    async def aload(self) -> dict[str, Any]:
        """See load()."""
        return await arun(self._load(), client.aexecute)

    def save(self, must_create: bool = False) -> None:
        """
        Save the session. Changes that others have saved meanwhile stay: see merge.py.
        An unchanged session is only touched; a passive one, not even that.

        Raise CreateError if must_create is True and the session exists, UpdateError
        if it is False and the session doesn't exist any more, SessionConflict if
        others kept getting in the way, SessionStoreUnavailable if the server does
        not say that it is saved.
        """
        if self.session_key is None:
            return self.create()
        self._get_session(no_load=must_create)
        return run(self._save(must_create), client.execute)

    async def asave(self, must_create: bool = False) -> None:
        """See save()."""
        if self.session_key is None:
            return await self.acreate()
        await self._aget_session(no_load=must_create)
        return await arun(self._save(must_create), client.aexecute)

    def create(self) -> None:
        """Save the session under a new key."""
        self._get_session(no_load=True)
        run(self._create(), client.execute)

    async def acreate(self) -> None:
        """See create()."""
        await self._aget_session(no_load=True)
        await arun(self._create(), client.aexecute)

    def cycle_key(self) -> None:
        """
        Give the session a new key, and then remove the old one. What others have
        saved under the old key meanwhile is kept. In a request with this package's
        middleware that is done with the next save, at the latest at the end: if the
        request fails, nothing has changed.

        If the session was ended meanwhile it stays ended: nothing is stored, and the
        next save raises UpdateError.
        """
        self._get_session()
        run(self._cycle_key(), client.execute)

    async def acycle_key(self) -> None:
        """See cycle_key()."""
        await self._aget_session()
        await arun(self._cycle_key(), client.aexecute)

    def renew(self) -> None:
        """
        Save the session, as save() does, under a new key. The old key leads to it until
        a minute after the new one was used for the first time (renewal.GRACE), so that
        requests under way lose nothing, and a response that gets lost logs nobody out.
        """
        if self.session_key is None:
            return self.create()
        self._get_session()
        return run(self._renew(), client.execute)

    async def arenew(self) -> None:
        """See renew()."""
        if self.session_key is None:
            return await self.acreate()
        await self._aget_session()
        return await arun(self._renew(), client.aexecute)

    def renewal_is_due(self) -> bool:
        """
        Return True if RENEW_AFTER has passed since the session got its key. Of one that
        was not loaded, or that has ended, nothing is due; nor before a key that was
        renewed has been used.
        """
        if conf.RENEW_AFTER is None or not hasattr(self, "_session_cache"):
            return False
        if self._base is None or self._left_key or self.followed:
            return False
        known = renewal.recorded(self._session_cache) or Renewal(self._age()[0])
        return known.left is None and known.at + conf.RENEW_AFTER <= time.time()

    def renewal_is_open(self) -> bool:
        """
        Return True if the old key of a session that was renewed still leads to it, and
        need not any more: the client has come with the new one. save() sees to that.
        """
        if self._shown is None or not hasattr(self, "_session_cache"):
            return False
        known = renewal.recorded(self._session_cache)
        if known is None or known.left is None:
            return False
        return self._shown == self._stored_id()

    def touch(self) -> bool:
        """
        Let the session live for its whole lifetime from now on. Return False if it
        is gone. A session that was refreshed less than TOUCH_INTERVAL ago is left
        as it is, and so is every session if TOUCH is off.
        """
        self._get_session()
        return run(self._touch(), client.execute)

    async def atouch(self) -> bool:
        """See touch()."""
        await self._aget_session()
        return await arun(self._touch(), client.aexecute)

    def look_again(self) -> bool:
        """
        Take over the key that another request has given the session since it was
        loaded, if one has. Return False if the session has ended meanwhile.
        """
        self._get_session()
        return run(self._look_again(), client.execute)

    async def alook_again(self) -> bool:
        """See look_again()."""
        await self._aget_session()
        return await arun(self._look_again(), client.aexecute)

    def touch_is_due(self) -> bool:
        """
        Return True if touch() would renew the session: TOUCH_INTERVAL has passed. Of a
        session that was not loaded, or that has ended, nothing is due.
        """
        if not hasattr(self, "_session_cache") or self.session_key is None:
            return False
        if not conf.TOUCH:
            return False
        return not lifetimes.is_fresh(lifetimes.milliseconds(self), self._expires_at)

    def keeps_expiry(self) -> bool:
        """
        Return True if save() would leave the expiry as it is: the session is passive,
        and neither its user nor its own expiry has been changed.
        """
        if not self.passive or self._base is None:
            return False
        base = self._stored_data()
        data = self._session_cache
        names = (EXPIRY_KEY, USER_KEY)
        return all(base.get(name) == data.get(name) for name in names)

    @sensitive_variables("session_key")
    def exists(self, session_key: str | None) -> bool:
        """Return True if there is a session with this key."""
        session_key = session_key or None
        reading = over_there(previous.reading, session_key)
        return run(self._exists(_bearer(session_key), reading), client.execute)

    @sensitive_variables("session_key")
    async def aexists(self, session_key: str | None) -> bool:
        """See exists()."""
        session_key = session_key or None
        reading = over_there(previous.reading, session_key)
        return await arun(self._exists(_bearer(session_key), reading), client.aexecute)

    @sensitive_variables("session_key", "own")
    def delete(self, session_key: str | None = None) -> None:
        """
        Delete the session with this key, by default this one. Deleting one that is
        already gone is not an error. The old key of a session that was renewed is as
        good as the new one. Raise SessionConflict, with the session still there, if
        others renew it all the time.
        """
        own = self._stored_key() if session_key is None else session_key
        ending = over_there(previous.ending, own)
        run(self._delete(_bearer(session_key), ending), client.execute)

    @sensitive_variables("session_key", "own")
    async def adelete(self, session_key: str | None = None) -> None:
        """See delete()."""
        own = self._stored_key() if session_key is None else session_key
        ending = over_there(previous.ending, own)
        await arun(self._delete(_bearer(session_key), ending), client.aexecute)

    @classmethod
    def clear_expired(cls) -> None:
        """
        Remove the expired sessions that the server does not remove itself, because
        they were saved with EXPIRE off.
        """
        conf.follow()
        run(sweep(), client.execute)

    @classmethod
    async def aclear_expired(cls) -> None:
        """See clear_expired()."""
        conf.follow()
        await arun(sweep(), client.aexecute)

    # All sessions, in the words of other stores. Each looks at every key of the server,
    # a page of SCAN_COUNT at a time, which is nothing for requests. sessions.py, which
    # does it, stands on this module: it is imported when it is needed.

    @classmethod
    def ids(cls) -> Iterator[str]:
        """
        Yield the ids of all sessions, in no order, in rare cases one twice. With
        RENEW_AFTER the id that leads to a session which was renewed a moment ago is
        among them, too.
        """
        conf.follow()
        cursor: Any = "0"
        while cursor != b"0":
            cursor, page = run(scan(cursor), client.execute)
            yield from page

    @classmethod
    async def aids(cls) -> AsyncIterator[str]:
        """See ids()."""
        conf.follow()
        cursor: Any = "0"
        while cursor != b"0":
            cursor, page = await arun(scan(cursor), client.aexecute)
            for id in page:
                yield id

    @classmethod
    def all(cls) -> "Iterator[SessionInfo]":
        """Yield what is known of all sessions: see ``sessions.iterate()``."""
        from . import sessions

        return sessions.iterate()

    @classmethod
    def aall(cls) -> "AsyncIterator[SessionInfo]":
        """See all()."""
        from . import sessions

        return sessions.aiterate()

    @classmethod
    def length(cls) -> int:
        """Return how many sessions there are: see ``sessions.count()``."""
        from . import sessions

        return sessions.count()

    @classmethod
    async def alength(cls) -> int:
        """See length()."""
        from . import sessions

        return await sessions.acount()

    @classmethod
    def clear_all(cls) -> int:
        """
        End all sessions; return how many these were: see ``sessions.clear()``. One that
        was renewed a moment ago counts twice.
        """
        from . import sessions

        return sessions.clear()

    @classmethod
    async def aclear_all(cls) -> int:
        """See clear_all()."""
        from . import sessions

        return await sessions.aclear()

    # What needs no server.

    def clear(self) -> None:
        """Empty the session. What the server has is replaced at the next save."""
        super().clear()
        self._base = None

    def idle_lifetime(self) -> timedelta | None:
        """
        Return how long the session lives after it was last used; None if its end is
        fixed, as by ``set_expiry(datetime)``. MAX_LIFETIME may end it before.
        """
        fixed = isinstance(self._session_cache.get(EXPIRY_KEY), (str, datetime))
        if fixed and not callable(conf.TTL):
            return None
        return timedelta(seconds=max(0, min(lifetimes.idle_seconds(self), LONGEST)))

    def _get_new_session_key(self) -> str:
        # No look whether it is taken: storing it under NX finds that out.
        return keys.new_session_key()

    async def _aget_new_session_key(self) -> str:
        return self._get_new_session_key()

    # The flows.

    def _load(self) -> Flow[dict[str, Any]]:
        if self._session_key is None:
            return {}
        id, led = keys.session_id(self._left_key or self._session_key), None
        if self._outage is not None:
            self._outage.check()
        started = time.monotonic()
        try:
            blob, expires_at = yield from self._fetch(id)
            if blob is None:
                blob = yield from self._move_in(id)
            found = yield from self._opened(blob, id)
            if found is not None and found[0].leads:
                bearer = Bearer(self._stored_key())
                led, found, expires_at = yield from self._led(bearer, found[0])
        except SessionStoreUnavailable as error:
            self._outage = self._outage or client.Outage()
            self._outage.note(error, started)
            raise
        # A second, explicit load() leaves the data in memory as they are, and so has
        # to leave what they were loaded from, and the key they belong to.
        first = not hasattr(self, "_session_cache")
        if found is None:
            if first:
                self._session_key = None
            return {}
        version, data = found
        if first:
            self._keep(version, expires_at)
            self.asked = False
            if led is not None:
                self._follow(led)
            elif self.with_cookie:
                self._shown = id
        return data

    def _fetch(self, id: str) -> Flow[tuple[Any, float | None]]:
        """Return the stored value, and when its key expires if that matters."""
        key = key_of(id)
        get: Command = ["GET", key]
        try:
            touching = self.rolling or settings.SESSION_SAVE_EVERY_REQUEST
            if not (touching and conf.TOUCH and conf.EXPIRE):
                return (yield from twice(get)), None
            blob, left = yield from twice((get, ["PTTL", key]))
        except WrongType:
            return NO_STRING, None
        expires = isinstance(left, int) and left >= 0
        return blob, time.monotonic() + left / 1000 if expires else None

    def _opened(self, blob: Any, id: str) -> Flow[Opened | None]:
        """Return the stored version and its data; None if there is no session."""
        if blob is None:
            return None
        found: Opened | None
        try:
            found = self._open(blob, id)
        except Unreadable:
            found = yield from self._opened_again(id)
        if found is None:
            return None
        version, _ = found
        limit = conf.MAX_LIFETIME
        too_old = limit is not None and version.created + limit <= time.time()
        if too_old or codec.is_over(version.expires):
            if not version.leads:
                yield from self._ended(id, version.user, "expired")
            return None
        return found

    def _opened_again(self, id: str) -> Flow[Opened | None]:
        blob = yield from surely_stored(id)
        if blob is None:
            return None
        try:
            return self._open(blob, id)
        except Unreadable as error:
            reason = str(error)
        yield from self._report(id, reason)
        return None

    def _report(self, id: str, reason: str) -> Flow[None]:
        logger.warning(
            "Session %s... can't be read: %s. It is taken for no session, and left "
            "alone.",
            id[:8],
            reason,
        )
        yield from announce(session_unreadable, type(self), id=id, reason=reason)

    def _move_in(self, id: str) -> Flow[Any]:
        """
        Move the session here if only the previous engine has it. Return the value that
        is stored then; None if there is no session.
        """
        engine = previous.in_use()
        if engine is None:
            return None
        reading = previous.reading(engine, self._stored_key())
        return (yield from move_in(engine, id, reading, self.serializer))

    def _save(self, must_create: bool) -> Flow[None]:
        if self.session_key is None:
            raise UpdateError  # It was gone when its data were loaded just now.
        if self._left_key:
            if must_create:
                raise CreateError
            self._next_key = self.session_key
            yield from self._change_key(writes.move)
            return
        if self.renewal_is_open():
            yield from self._close_renewal()
        id, payload = self._id(), self._payload()
        if self._base is None and not must_create:  # It may never have been loaded.
            yield from self._move_in(id)
        if must_create:
            yield from self._insert(id, payload)
        elif self._base is None or self._base.payload != payload:
            write = writes.amend if self.keeps_expiry() else writes.swap
            yield from self._replace(id, id, write, payload)
        elif not self.passive and not (yield from self._touch()):
            raise self._gone()

    def _create(self) -> Flow[None]:
        if self._left_key:
            yield from self._save(must_create=False)
        self._origin = None
        while True:
            self._next_key = self._get_new_session_key()
            try:
                id = keys.session_id(self._next_key)
                yield from self._insert(id, self._payload())
            except CreateError:
                continue  # The key was taken: draw another.
            self._session_key = self._next_key
            self.fresh_key = self.modified = True
            return

    def _insert(self, id: str, payload: bytes) -> Flow[None]:
        version, blob, lifetime = self._next(id, payload)
        if lifetime <= 0:  # Of a session that has expired nothing is stored.
            if (yield from twice(["EXISTS", key_of(id)])):
                raise CreateError
            return
        storing: Command = ["SET", key_of(id), blob, "NX", *writes.px_of(lifetime)]
        entry = Entry(id, lifetime, version.user)
        inserting = index.send(storing, entry)
        if (yield from writes.settled(inserting, id, blob)) is None:
            raise CreateError
        self._keep(version, _expires_at(lifetime))
        yield from self._announce(session_created, id, version.user, previous_id=None)
        yield from self._logged_in(id, version.user)

    def _replace(
        self, old: str, new: str, write: writes.Write, payload: bytes | None = None
    ) -> Flow[bool]:
        """
        Store what is in memory in the place of what is stored under the old id, which
        may also be the new one. Merge what others have stored there, and try again.
        Return False if its lifetime is over, and what was stored is now removed.
        """
        for attempt in range(RETRIES + 1):
            if self._base is not None and codec.is_over(self._base.expires):
                raise self._gone()
            kept = self._base if write is writes.amend else None
            version, blob, lifetime = self._next(new, payload or self._payload(), kept)
            expected = self._base.stamp if self._base else b""
            former = self._former()
            entry = Entry(new, lifetime, version.user, former)
            self._sent[version.stamp] = version
            try:
                reply = yield from write(old, expected, blob, entry)
            except WrongType:
                raise self._gone() from None
            if reply == version.stamp:
                self._keep(version, self._expires_at if kept else _expires_at(lifetime))
                if lifetime <= 0:
                    yield from self._ended(old, former, "expired")
                    return False
                if version.user != former:
                    yield from self._logged_in(new, version.user)
                return True
            if attempt:  # Two may meet by chance; more of them have to spread.
                pause = min(PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
                yield random.uniform(0, pause)  # noqa: S311
                reply, _ = yield from self._fetch(old)
            found, led = (yield from self._opened(reply, old)), False
            if found is not None and found[0].leads:
                found, before = (yield from self._catch_up(found[0])), old
                if found and write not in (writes.swap, writes.amend, writes.move):
                    raise Overtaken
                old = self._stored_id()
                led, new = new == before, old if new == before else new
            if found is None:
                raise self._gone()
            self._merge(*found)
            if led:  # What it knows of its key is the other's word.
                self._know_renewal(found[1])
            payload = None
        raise SessionConflict(
            f"The session was changed by others {RETRIES + 1} times in a row while it "
            "was being saved. Are there requests that save it all the time?"
        )

    @sensitive_variables()
    def _merge(self, theirs: Version, their_data: dict[str, Any]) -> None:
        """Bring what others have saved since the base into the data in memory."""
        if self._base is None:
            return  # Theirs is to be replaced.
        if theirs.stamp in self._sent:
            # Ours, although nobody said so: what has changed since then is the rest.
            self._keep(self._sent[theirs.stamp], None)
            return
        base = self._stored_data()
        ours = codec.deserialize(self._payload(), self.serializer)
        merged = merge(base, ours, their_data, conf.MERGE, self._alike)
        data = self._session_cache
        for name in [name for name in data if name not in merged]:
            del data[name]
        for name, value in merged.items():
            known = name in data and name in ours
            if not (known and same(value, ours[name], self._alike)):
                data[name] = value
        self._keep(theirs, None)

    def _stored_data(self) -> dict[str, Any]:
        """Return what is stored, as far as that is known; {}: nothing that counts."""
        if self._base is None:
            return {}
        return codec.deserialize(self._base.payload, self.serializer)

    def _alike(self, a: Any, b: Any) -> bool:
        """Compare what Python's == can't be trusted with: as it is stored."""
        first, second = ({"": value} for value in (a, b))
        return codec.serialize(first, self.serializer) == codec.serialize(
            second, self.serializer
        )

    def _cycle_key(self) -> Flow[None]:
        if self.session_key is None:
            yield from self._create()
            return
        self._next_key = self._get_new_session_key()
        self.modified = True
        self._reset_renewal()
        if self.with_cookie:
            # It is going to be saved: one write for both. And if the request fails,
            # the browser keeps the old key, and the session has to as well.
            self._left_key, self._session_key = self._stored_key(), self._next_key
            return
        try:
            yield from self._change_key(writes.move)
        except UpdateError:
            # Another request has ended the session. Under a new key it would be
            # revived; with the old one, the next save says what has happened.
            return

    def _renew(self) -> Flow[None]:
        if self.session_key is None:
            raise UpdateError  # It was gone when its data were loaded just now.
        if self._left_key:  # It gets a new key anyway.
            yield from self._save(must_create=False)
            return
        self._next_key = self._get_new_session_key()
        renewed = Renewal(int(time.time()), self._id())
        self._session_cache[renewal.KEY] = renewed.as_data()
        leave = self._leaving(Bearer(self._stored_key()), Bearer(self._next_key))
        try:
            yield from self._change_key(leave)
        except BaseException as error:
            # It must not believe that it has renewed itself.
            self._know_renewal(self._stored_data())
            if not isinstance(error, Overtaken):
                raise
            yield from self._save(must_create=False)

    def _change_key(self, write: writes.Write) -> Flow[None]:
        """Store the session under the next key, in the place of where it is."""
        id, new = self._stored_id(), keys.session_id(self._next_key)
        if self._base is None:  # It may never have been loaded.
            yield from self._move_in(id)
        yield from end_over_there(id, over_there(previous.ending, self._stored_key()))
        stored = yield from self._replace(id, new, write)
        before = self._stored_id()
        self._session_key, self._left_key = self._next_key, ""
        self.fresh_key = write is writes.move
        if stored:
            yield from self._announce(
                session_created, new, self._former(), previous_id=before
            )

    def _leaving(self, old: Bearer, new: Bearer) -> writes.Write:
        """Return what stores as writes.move() does, and leaves what leads on."""
        payload = renewal.leading(old, new)

        def write(id: str, expected: bytes, blob: bytes, entry: Entry) -> Flow[Any]:
            if entry.lifetime <= 0:
                return (yield from writes.move(id, expected, blob, entry))
            expires = None if conf.EXPIRE else codec.expiry_in(entry.lifetime)
            lead = codec.pack(payload, id, self._age()[0], expires, leads=True)
            return (yield from writes.leave(id, expected, blob, entry, lead))

        return write

    def _reset_renewal(self) -> None:
        """Let the session know that it gets a new key, which is not left behind."""
        self._session_cache.pop(renewal.KEY, None)
        # The login of a visitor creates it anew, and then it is as old as its key.
        if conf.RENEW_AFTER is not None and user_of(self._session_cache) is not None:
            known = Renewal(int(time.time()))
            self._session_cache[renewal.KEY] = known.as_data()

    @sensitive_variables("data")
    def _know_renewal(self, data: dict[str, Any]) -> None:
        """Let the session know of its key what these data know of it."""
        self._session_cache.pop(renewal.KEY, None)
        if renewal.KEY in data:
            self._session_cache[renewal.KEY] = data[renewal.KEY]

    def _close_renewal(self) -> Flow[None]:
        """Let the old key end, which the client does not need any more."""
        known = cast(Renewal, renewal.recorded(self._session_cache))
        left, grace = cast(str, known.left), str(renewal.GRACE * 1000)
        # Also with EXPIRE off: what ends is no session.
        yield from twice(["PEXPIRE", key_of(left), grace, "LT"])
        self._session_cache[renewal.KEY] = Renewal(known.at).as_data()

    def _led(
        self, bearer: Bearer, version: Version
    ) -> Flow[tuple[Bearer, Opened | None, float | None]]:
        """
        Go on from what this bearer has found, to the session that it leads to. Return
        who has that, the session as _opened() does, and when it expires.
        """
        found: Opened | None = Opened(version, {})
        expires_at: float | None = None
        for _ in range(renewal.STEPS):
            if found is None or not found[0].leads:
                return bearer, found, expires_at
            try:
                bearer = renewal.target(bearer, found[0].payload)
            except Unreadable as error:
                yield from self._report(bearer.id, str(error))
                break
            blob, expires_at = yield from self._fetch(bearer.id)
            found = yield from self._opened(blob, bearer.id)
        return bearer, None, None

    def _follow(self, bearer: Bearer) -> None:
        """Take over the key that another request has given the session."""
        self.followed = True
        if self._left_key:
            self._left_key = bearer.session_key
        else:
            self._session_key = bearer.session_key

    def _catch_up(self, version: Version) -> Flow[Opened | None]:
        """Go on as _led() does, and follow."""
        self.asked = True
        bearer = Bearer(self._stored_key())
        bearer, found, _ = yield from self._led(bearer, version)
        if found is not None:
            self._follow(bearer)
        return found

    def _look_again(self) -> Flow[bool]:
        """Follow if another request has renewed it. Return False if it has ended."""
        if self.session_key is None:
            return False
        id = self._stored_id()
        blob, _ = yield from self._fetch(id)
        found = yield from self._opened(blob, id)
        if found is not None and found[0].leads:
            found = yield from self._catch_up(found[0])
        return found is not None

    def _touch(self) -> Flow[bool]:
        if self.session_key is None:
            return False
        lifetime = lifetimes.milliseconds(self)
        if not conf.TOUCH or lifetimes.is_fresh(lifetime, self._expires_at):
            return True
        self.asked = True
        id = self._stored_id()
        if self._base is not None and not (conf.EXPIRE and self._base.expires is None):
            return (yield from self._rewrite(id, self._base, lifetime))
        # PEXPIRE removes the session if its lifetime is over.
        user = self._former()
        if user is None and conf.RENEW_AFTER is None:
            touched = yield from twice(["PEXPIRE", key_of(id), str(lifetime)])
        else:
            stamp = self._base.stamp if self._base else b""
            touching = index.touch(id, stamp, lifetime, user)
            try:
                touched = yield from index.written_twice(touching)
            except WrongType:
                return False
        if touched == LED_ON:  # Who has renewed it has touched it, too.
            return (yield from self._look_again())
        self._expires_at = _expires_at(lifetime)
        return bool(touched) and lifetime > 0

    def _rewrite(self, id: str, base: Version, lifetime: int) -> Flow[bool]:
        """Store what is stored already, with a new expiry in the envelope."""
        if codec.is_over(base.expires):
            return False
        expires = None if conf.EXPIRE else codec.expiry_in(lifetime)
        blob = codec.pack(base.payload, id, base.created, expires)
        try:
            entry = Entry(id, lifetime, base.user)
            reply = yield from writes.swap(id, base.stamp, blob, entry)
        except WrongType:
            return False
        version = replace(base, stamp=codec.stamp_of(blob), expires=expires)
        if reply == version.stamp:
            self._keep(version, _expires_at(lifetime))
        elif isinstance(reply, bytes) and codec.leads(reply):
            return (yield from self._look_again())
        # Another value is there: whoever has saved it has refreshed the session.
        return reply is not None and lifetime > 0

    def _exists(self, bearer: Bearer | None, reading: Call | None = None) -> Flow[bool]:
        if bearer is None or self._is_left(bearer):
            return False
        if self._left_key and bearer.id == self._id():
            bearer = Bearer(self._left_key)
        if (yield from self._exists_here(bearer)):
            return True
        if reading is None:
            return False
        moved = yield from twice(["EXISTS", moved_key_of(bearer.id)])
        if moved:  # Perhaps by another request just now.
            return (yield from self._exists_here(bearer))
        return isinstance((yield reading), Found)

    def _exists_here(self, bearer: Bearer) -> Flow[bool]:
        end = str(codec.HEAD_SIZE - 1)
        try:
            head = yield from twice(["GETRANGE", key_of(bearer.id), "0", end])
        except WrongType:
            return False
        if codec.leads(head):
            blob, _ = yield from self._fetch(bearer.id)
            found = yield from self._opened(blob, bearer.id)
            if found is not None:
                _, found, _ = yield from self._led(bearer, found[0])
            return found is not None
        return bool(head) and not codec.is_over(codec.expiry_of(head))

    def _is_left(self, bearer: Bearer) -> bool:
        """Return True if the session leaves this key with its next save."""
        return bool(self._left_key) and bearer.id == self._stored_id()

    def _delete(self, bearer: Bearer | None, ending: Call | None = None) -> Flow[None]:
        user, own = None, self.session_key is not None
        if bearer is None or (own and bearer.id == self._id()):
            if not own:
                return
            bearer, user = Bearer(self._stored_key()), self._former()
            self._base = self._expires_at = None
        elif self._is_left(bearer):
            return
        yield from end_over_there(bearer.id, ending)
        yield from self._end(bearer, user)
        if self._is_left(bearer):
            self._left_key = ""

    def _end(self, bearer: Bearer, user: str | None) -> Flow[None]:
        left: list[str] = []
        for _ in range(RETRIES + 1):
            ending = index.ending(bearer.id, user)
            try:
                reply = yield from index.written(ending)
                was_there = reply is not None
            except ConnectionLost:
                reply = yield from index.written(ending)
                was_there = True  # As far as anybody knows.
            except WrongType:
                break  # Nobody's session.
            if reply is None or reply in ending.done:
                if was_there:
                    yield from self._ended(bearer.id, user, "logout")
                break
            found = yield from self._opened(reply, bearer.id)
            if found is not None and found[0].leads:
                left.append(bearer.id)
                bearer, found, _ = yield from self._led(bearer, found[0])
            if found is None:
                break
        else:
            raise SessionConflict(
                f"The session was renewed by others {RETRIES + 1} times in a row while "
                "it was being ended."
            )
        if left:
            # After what it leads to: a try that fails can be repeated.
            removals = [index.removal(id, None) for id in left]
            raise_first((yield from again(lambda: index.all_written(removals))))

    # What others learn of it.

    def _announce(
        self, signal: Signal, id: str, user: str | None, **facts: Any
    ) -> Flow[None]:
        return announce(signal, type(self), id=id, user_id=user, **facts)

    def _ended(self, id: str, user: str | None, reason: str) -> Flow[None]:
        return self._announce(session_ended, id, user, reason=reason)

    def _logged_in(self, id: str, user: str | None) -> Flow[None]:
        """End sessions of a user who has just logged in and has too many of them."""
        most = conf.MAX_SESSIONS_PER_USER
        if most is None or not conf.USER_INDEX or user is None:
            return
        from . import sessions

        yield from sessions.end_surplus(user, most, id)

    # What the flows decide with.

    def _former(self) -> str | None:
        """Return whose session it is as it is stored, as far as that is known."""
        return None if self._origin is None else self._origin[1]

    def _id(self) -> str:
        return keys.session_id(cast(str, self._session_key))

    def _stored_key(self) -> str:
        """Return the key under which the server has the session."""
        return self._left_key or cast(str, self._session_key)

    def _stored_id(self) -> str:
        return keys.session_id(self._stored_key())

    def _payload(self) -> bytes:
        return codec.serialize(self._session_cache, self.serializer)

    def _open(self, blob: Any, id: str) -> Opened:
        if not isinstance(blob, bytes):
            raise Unreadable("it is no string")
        version = codec.unpack(blob, id)
        if version.leads:
            return Opened(version, {})
        data = codec.deserialize(version.payload, self.serializer)
        version.user = user_of(data)
        return Opened(version, data)

    def _next(
        self, id: str, payload: bytes, kept: Version | None = None
    ) -> tuple[Version, bytes, int]:
        """
        Return the version to store, its value, and its lifetime in milliseconds. In the
        value stands the expiry of the version that is to be kept, if there is one.
        """
        created, user = self._age()
        lifetime = lifetimes.milliseconds(self, created)
        expires = None if conf.EXPIRE else codec.expiry_in(lifetime)
        if kept is not None:
            expires = kept.expires
        blob = codec.pack(payload, id, created, expires)
        stamp = codec.stamp_of(blob)
        version = Version(payload, created, stamp, expires, user=user)
        return version, blob, lifetime

    def _age(self) -> tuple[int, str | None]:
        """Return when the session was created, which is anew for another user."""
        user = user_of(self._session_cache)
        if self._origin is not None and self._origin[1] == user:
            return self._origin
        return int(time.time()), user

    def _gone(self) -> UpdateError:
        """Return the error of a save that found no session; it says what is known."""
        if self._expires_at is None:
            how = "has expired or was ended"
        elif self._expires_at <= time.monotonic():
            how = "has expired"
        else:
            how = "was ended before its time, as by a logout, or removed by the server"
        id = self._stored_id()
        return UpdateError(f"Session {id[:8]}... {how}, since it was loaded.")

    def _keep(self, version: Version, expires_at: float | None) -> None:
        """Take note of what the server has."""
        self._sent.clear()
        self.asked = True
        self._base = version
        self._origin = version.created, version.user
        self._expires_at = expires_at
        if version.expires is not None:
            left = version.expires / 1000 - time.time()
            self._expires_at = time.monotonic() + left


def _bearer(session_key: str | None) -> Bearer | None:
    return None if session_key is None else Bearer(session_key)


def _expires_at(lifetime: int) -> float:
    """Return in time.monotonic()'s seconds when a lifetime that begins now is over."""
    return time.monotonic() + lifetime / 1000
