"""
The engine that the site had before: what it holds, and how to read and end that.

Everything here blocks, as Django's own engines do: behind their awaiting methods stand
threads. A flow has it done as a call (see flow.py). Session keys are credentials, so
what handles them hides its variables from error reports.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.core.cache.backends.base import InvalidCacheKey
from django.core.exceptions import SuspiciousOperation
from django.db import router
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from . import keys
from .conf import LONGEST, conf
from .flow import Call

T = TypeVar("T")

#: So many sessions are read together, and stored in one round trip.
PAGE = 200


@dataclass(frozen=True, slots=True)
class Found:
    """A live session of the previous engine."""

    session_key: str = field(repr=False)  # Reprs get into error reports.
    data: dict[str, Any] = field(repr=False)
    lifetime: float  # Seconds from now; more than 0, at most LONGEST.

    @property
    def id(self) -> str:
        return keys.session_id(self.session_key)


@dataclass(frozen=True, slots=True)
class Missed:
    """A session that the previous engine does not have, or not any more."""

    id: str
    why: Literal["gone", "expired", "unreadable"]


class CantList(Exception):
    """The engine can't say which sessions it has. The message says why."""


class CantRead(Exception):
    """The engine's own store fails. The message says how, and has no session key."""


class Engine:
    """Any engine, by what all of them have."""

    def __init__(self, store: type[SessionBase]) -> None:
        self.store = store

    @sensitive_variables()
    def read(self, session_key: str) -> Found | Missed:
        """Look at a session, without changing it."""
        store = self._opened(session_key)
        if store is None:
            return Missed(keys.session_id(session_key), "gone")
        return self._read(store, session_key)

    @sensitive_variables()
    def end(self, session_key: str) -> float:
        """End the session. Return for how many seconds it could have lived on."""
        found = self.read(session_key)
        if isinstance(found, Missed):
            return 0.0
        self.store().delete(session_key)
        return found.lifetime

    @sensitive_variables()
    def still_has(self, sessions: Sequence[Found]) -> set[str]:
        """Return the ids of those of the sessions that are still there."""
        again = (self.read(found.session_key) for found in sessions)
        return {found.id for found in again if isinstance(found, Found)}

    def pages(self) -> Iterator[list[Found | Missed]]:
        """Yield all sessions, a page at a time. Raise CantList if nobody knows them."""
        session_keys = iter(self._keys())
        while page := [self.read(key) for key in islice(session_keys, PAGE)]:
            yield page

    def total(self) -> int | None:
        """Return how many sessions pages() will yield, if that is known."""
        return None

    # What differs from engine to engine.

    def _read(self, store: Any, session_key: str) -> Found | Missed:
        data = store.load()
        return self._found(session_key, data, lambda: _age(store, data))

    def _keys(self) -> Iterable[str]:
        store: Any = self.store
        if hasattr(store, "iterate_keys"):
            session_keys: Iterable[str] = store.iterate_keys()
            return session_keys
        raise CantList(
            f"The engine {self.store.__module__} can't be asked which sessions it has. "
            "Give its SessionStore a class method iterate_keys() that yields their "
            "session keys"
        )

    # What they share.

    def _opened(self, session_key: str) -> Any:
        # No session key that an engine has made looks otherwise, and some databases
        # and caches raise errors at what a client may send as a cookie.
        if not (session_key.isascii() and session_key.isprintable()):
            return None
        store = self.store(session_key)
        return None if store.session_key is None else store

    def _found(
        self, session_key: str, data: Any, age: Callable[[], float]
    ) -> Found | Missed:
        """Say what these data are. {} is what Django makes of data it can't read."""
        id = keys.session_id(session_key)
        if data is None:
            return Missed(id, "gone")
        if not isinstance(data, dict) or not data:
            return Missed(id, "unreadable")
        lifetime = min(age(), LONGEST)
        if lifetime < 0.001:  # Below what Valkey can count.
            return Missed(id, "expired")
        return Found(session_key, data, lifetime)


class Tables(Engine):
    """Django's db and cached_db: in the database is all that they know."""

    def total(self) -> int | None:
        count: int = self._rows.count()
        return count

    def pages(self) -> Iterator[list[Found | Missed]]:
        rows, store = self._rows.order_by("session_key"), self.store()
        # By key rather than with a cursor, which does not live as long as this may
        # take, nor behind every connection pooler.
        page = list(rows[:PAGE])
        while page:
            yield [self._row(store, row.session_key, row) for row in page]
            page = list(rows.filter(session_key__gt=page[-1].session_key)[:PAGE])

    @sensitive_variables()
    def still_has(self, sessions: Sequence[Found]) -> set[str]:
        session_keys = [found.session_key for found in sessions]
        rows = self._rows.filter(
            session_key__in=session_keys, expire_date__gt=timezone.now()
        )
        return set(map(keys.session_id, rows.values_list("session_key", flat=True)))

    def _read(self, store: Any, session_key: str) -> Found | Missed:
        row = self._rows.filter(session_key=session_key).first()
        return self._row(store, session_key, row)

    def _row(self, store: Any, session_key: str, row: Any) -> Found | Missed:
        if row is None:
            return Missed(keys.session_id(session_key), "gone")
        left: float = (row.expire_date - timezone.now()).total_seconds()
        if left <= 0:
            return Missed(keys.session_id(session_key), "expired")
        return self._found(session_key, store.decode(row.session_data), lambda: left)

    @property
    def _rows(self) -> Any:
        store: Any = self.store
        model = store.get_model_class()
        # A replica may be late to know of a login or a logout.
        return model.objects.using(router.db_for_write(model))


class Files(Engine):
    """Django's file. Its load() creates a session in the place of one that expired."""

    def _read(self, store: Any, session_key: str) -> Found | Missed:
        try:
            with open(store._key_to_file(), encoding="ascii") as file:
                text = file.read()
            data = store.decode(text) if text else {}
            expiry = store._expiry_date(data)
        except SuspiciousOperation:
            return Missed(keys.session_id(session_key), "gone")
        except UnicodeDecodeError:
            return Missed(keys.session_id(session_key), "unreadable")
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
                return Missed(keys.session_id(session_key), "gone")
            # Its text has the name of the file, which has the session key.
            raise OSError(error.errno, f"{error.strerror} (a session file)") from None
        return self._found(
            session_key, data, lambda: store.get_expiry_age(expiry=expiry)
        )

    def _keys(self) -> Iterator[str]:
        store: Any = self.store
        prefix = settings.SESSION_COOKIE_NAME
        with os.scandir(store._get_storage_path()) as entries:
            for entry in entries:
                if entry.name.startswith(prefix) and entry.is_file():
                    yield entry.name.removeprefix(prefix)


class Caches(Engine):
    """Django's cache, whose load() takes an outage for "no session"."""

    def pages(self) -> Iterator[list[Found | Missed]]:
        with _reading_a_cache():
            yield from super().pages()

    @sensitive_variables()
    def still_has(self, sessions: Sequence[Found]) -> set[str]:
        with _reading_a_cache():
            return super().still_has(sessions)

    def _read(self, store: Any, session_key: str) -> Found | Missed:
        try:
            data = store._cache.get(store.cache_key)
        except InvalidCacheKey:
            data = None
        return self._found(session_key, data, lambda: self._left(store, data))

    def _left(self, store: Any, data: dict[str, Any]) -> float:
        """Return the seconds that are left, from the cache if it can tell."""
        cache, age = store._cache, _age(store, data)
        if hasattr(cache, "pttl"):  # django-redis
            left = cache.pttl(store.cache_key)
        elif _is_redis(cache):
            key = cache.make_and_validate_key(store.cache_key)
            left = cache._cache.get_client(key).pttl(key)
        else:
            return age
        if left is None or left == -1:  # It never expires.
            return age
        return float(left) / 1000

    def _keys(self) -> Iterator[str]:
        store: Any = self.store()
        cache, prefix = store._cache, store.cache_key_prefix
        if hasattr(cache, "iter_keys"):  # django-redis
            found = cache.iter_keys(f"{prefix}*", itersize=PAGE)
            return (key.removeprefix(prefix) for key in found)
        head = cache.make_key(prefix)
        if not _is_redis(cache) or cache.make_key(f"{prefix}x") != f"{head}x":
            raise CantList(
                f"The cache {settings.SESSION_CACHE_ALIAS!r} can't be asked which "
                "sessions it has: Django's caches can't list their keys, except on "
                "Redis or Valkey without a KEY_FUNCTION of your own"
            )
        pattern = keys.match_pattern(head)
        found = cache._cache.get_client(head).scan_iter(match=pattern, count=PAGE)
        return (key.decode(errors="replace").removeprefix(head) for key in found)


@contextlib.contextmanager
def _reading_a_cache() -> Iterator[None]:
    """Make one error of those of all caches, whose texts may tell a session key."""
    try:
        yield
    except CantList:
        raise
    except Exception as error:
        raise CantRead(
            f"The cache {settings.SESSION_CACHE_ALIAS!r} can't be read: "
            f"{type(error).__name__}."
        ) from error


def engine_of(store: type[SessionBase]) -> Engine:
    """Return the engine with this SessionStore."""
    from django.contrib.sessions.backends import cache, cached_db, db, file

    load: Any = store.load
    # One that loads in its own way is read in its own way.
    kinds: dict[Any, type[Engine]] = {
        db.SessionStore.load: Tables,
        cached_db.SessionStore.load: Tables,
        file.SessionStore.load: Files,
        cache.SessionStore.load: Caches,
    }
    return kinds.get(load, Engine)(store)


# For flows. The calls hold the session key out of sight.


def in_use() -> Engine | None:
    """Return the engine that the settings name as the previous one; None if none."""
    store = conf.PREVIOUS_ENGINE
    return None if store is None else engine_of(store)


def reading(engine: Engine, session_key: str) -> Call:
    return _call(lambda: engine.read(session_key))


def ending(engine: Engine, session_key: str) -> Call:
    return _call(lambda: engine.end(session_key))


def looking_again(engine: Engine, sessions: Sequence[Found]) -> Call:
    return _call(lambda: engine.still_has(sessions))


def _call(act: Callable[[], T]) -> Call:
    hidden = sensitive_variables()(act)
    return Call(hidden, sync_to_async(hidden))


def _age(store: Any, data: dict[str, Any]) -> float:
    """Return the seconds that a session with these data lives if it is saved now."""
    age: float = store.get_expiry_age(expiry=data.get("_session_expiry"))
    return age


def _is_redis(cache: Any) -> bool:
    from django.core.cache.backends.redis import RedisCache

    return isinstance(cache, RedisCache)
