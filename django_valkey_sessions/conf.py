"""
Shadow Django's settings: each property is one key of ``VALKEY_SESSIONS``, read when it
is first used, with its default, its type and what can be wrong with it.
"""

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar, overload
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from .merge import Rule

PLAIN_SCHEMES = ("valkey", "redis")
TLS_SCHEMES = ("valkeys", "rediss", "sentinels")
SENTINEL_SCHEMES = ("sentinel", "sentinels")
SCHEMES = (*PLAIN_SCHEMES, *TLS_SCHEMES, "sentinel", "unix")
DEFAULT_PORT, SENTINEL_PORT = 6379, 26379

#: The module of our own engine.
OURS = "django_valkey_sessions.backend"

#: Host and port.
Address = tuple[str, int]
#: Addresses that are tried together.
Place = tuple[Address, ...]

#: Seconds. No session is meant to live longer, and much more overflows in the server.
LONGEST = 100 * 365 * 86400
#: Seconds. As long as renewal.GRACE: else more and more keys would lead to a session.
SHORTEST_RENEWAL = 60


class BadSetting(ImproperlyConfigured):
    """A value in ``VALKEY_SESSIONS`` that can't be used, and the way out."""

    def __init__(self, id: str, msg: str, hint: str):
        super().__init__(f"{msg} {hint}")
        self.id = id
        self.msg = msg
        self.hint = hint


@dataclass(frozen=True)
class Location:
    """Where the server is, as the URLs in LOCATION say."""

    #: Of the sentinels, if there is a service.
    addresses: tuple[Address, ...] = ()
    socket: str | None = None
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    #: What the sentinels know the primary and its replicas as.
    service: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Return the address for messages: without user and password."""
        if self.service:
            return f"{self.service!r} of the sentinels at {shown(self.addresses)}"
        return self.socket or shown(self.addresses)


def shown(addresses: Iterable[Address]) -> str:
    """Return addresses as they are written in a URL."""
    return ", ".join(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        for host, port in addresses
    )


#: What VALKEY_SESSIONS is where the site has none.
NOTHING: dict[str, Any] = {}
#: Stands for settings that Django has not set up.
NOT_SET_UP: Any = object()

#: Past LazyObject's, which is written in Python. Of a setting this finds only what that
#: has found before, which Django forgets when it changes.
_past_django = object.__getattribute__

T = TypeVar("T")


class setting(Generic[T]):
    """
    A property that is computed once for each state of VALKEY_SESSIONS. From then on it
    is an attribute of the object like any other: a request asks for some twenty, and
    each would be a call.
    """

    def __init__(self, compute: "Callable[[Conf], T]") -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, conf: None, kind: Any = None) -> "setting[T]": ...
    @overload
    def __get__(self, conf: "Conf", kind: Any = None) -> T: ...
    def __get__(self, conf: "Conf | None", kind: Any = None) -> "setting[T] | T":
        if conf is None:
            return self
        return conf.remember(self.compute)


class Conf:
    def __init__(self) -> None:
        # VALKEY_SESSIONS, what was in it, and what that means as far as somebody has
        # asked.
        self._source: Any = NOT_SET_UP
        self._content: Any = None
        self._known: dict[str, Any] = {}
        # Django's settings, if they had no VALKEY_SESSIONS when they were last asked.
        self._without: Any = NOT_SET_UP

    @setting
    def LOCATION(self) -> Location:
        value = self._get("LOCATION", "valkey://127.0.0.1:6379/0")
        urls = [value] if isinstance(value, str) else value
        if not (
            isinstance(urls, (list, tuple))
            and urls
            and all(isinstance(url, str) for url in urls)
        ):
            raise BadSetting(
                "E003",
                f"LOCATION in VALKEY_SESSIONS is {_kind(value)}.",
                "Give a URL such as 'valkey://127.0.0.1:6379/0', or a list of URLs.",
            )
        return _location(tuple(urls))

    @setting
    def CLUSTER(self) -> bool:
        return self._flag("CLUSTER", False, "E006")

    @setting
    def REPLICAS_ACK(self) -> int:
        value = self._get("REPLICAS_ACK", None)
        if value is None:
            return 0
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        raise BadSetting(
            "E027",
            f"REPLICAS_ACK in VALKEY_SESSIONS is {_shown(value)}.",
            "Give how many replicas have to confirm a change: a whole number, or None.",
        )

    @setting
    def OPTIONS(self) -> Mapping[str, Any]:
        value = self._get("OPTIONS", {})
        if not (isinstance(value, dict) and all(isinstance(k, str) for k in value)):
            raise BadSetting(
                "E008",
                f"OPTIONS in VALKEY_SESSIONS is {_kind(value)}.",
                "Give a dictionary of arguments of GLIDE's configuration classes, "
                "for example {'request_timeout': 250}.",
            )
        return value

    @setting
    def CLIENT(self) -> Callable[[], Any] | None:
        factory: Callable[[], Any] | None = self._imported("CLIENT", "E010")
        if factory is None or callable(factory):
            return factory
        raise BadSetting(
            "E010",
            f"CLIENT in VALKEY_SESSIONS is {_kind(factory)}.",
            "Give a callable without arguments that returns a client of "
            "glide_sync, or the dotted path of one.",
        )

    @setting
    def ASYNC(self) -> str:
        value = self._get("ASYNC", "auto")
        if value in ("auto", "native", "thread"):
            return str(value)
        raise BadSetting(
            "E011",
            f"ASYNC in VALKEY_SESSIONS is {value!r}.",
            "It can be 'auto', 'native' or 'thread'.",
        )

    @setting
    def PREFIX(self) -> str:
        value = self._get("PREFIX", "session:")
        if isinstance(value, str) and value:
            return value
        raise BadSetting(
            "E013",
            f"PREFIX in VALKEY_SESSIONS is {_shown(value)}.",
            "Give a text that begins no other application's keys, for example "
            "'session:'. Without a prefix every key of the server would be ours.",
        )

    @setting
    def TTL(self) -> float | Callable[..., Any] | None:
        value: Any = self._imported("TTL", "E014")
        if callable(value):
            compute: Callable[..., Any] = value
            return compute
        return self._seconds("TTL", value, "E014", "or a callable that takes a session")

    @setting
    def EXPIRE(self) -> bool:
        return self._flag("EXPIRE", True, "E015")

    @setting
    def TOUCH(self) -> bool:
        return self._flag("TOUCH", True, "E016")

    @setting
    def TOUCH_INTERVAL(self) -> float | None:
        value = self._get("TOUCH_INTERVAL", None)
        if value in (0, timedelta(0)) and not isinstance(value, bool):
            return 0.0
        return self._seconds("TOUCH_INTERVAL", value, "E017", "or 0 for every request")

    @setting
    def MAX_LIFETIME(self) -> float | None:
        value = self._get("MAX_LIFETIME", None)
        return self._seconds("MAX_LIFETIME", value, "E018", "or None for no limit")

    @setting
    def RENEW_AFTER(self) -> float | None:
        value = self._get("RENEW_AFTER", None)
        seconds = self._seconds("RENEW_AFTER", value, "E038", "or None for never")
        if seconds is None or seconds >= SHORTEST_RENEWAL:
            return seconds
        raise BadSetting(
            "E038",
            f"RENEW_AFTER in VALKEY_SESSIONS is {_shown(value)}.",
            f"Give at least {SHORTEST_RENEWAL} s: for so long the key before it is "
            "valid as well.",
        )

    @setting
    def MERGE(self) -> Mapping[str, Rule]:
        value = self._get("MERGE", {})
        if not (isinstance(value, dict) and all(isinstance(k, str) for k in value)):
            raise BadSetting(
                "E019", f"MERGE in VALKEY_SESSIONS is {_kind(value)}.", MERGE_HINT
            )
        return {key: self._rule(key, rule) for key, rule in value.items()}

    @setting
    def SERIALIZER(self) -> Any:
        serializer = self._imported("SERIALIZER", "E020")
        methods = (getattr(serializer, name, None) for name in ("dumps", "loads"))
        if serializer is None or (callable(serializer) and all(map(callable, methods))):
            return serializer
        raise BadSetting(
            "E020",
            f"SERIALIZER in VALKEY_SESSIONS, {_kind(serializer)}, is no class with "
            "dumps() and loads().",
            "Give a class like Django's django.core.signing.JSONSerializer, or "
            "its dotted path.",
        )

    @setting
    def SEAL(self) -> bool:
        return self._flag("SEAL", True, "E021")

    @setting
    def DICTIONARY(self) -> tuple[Path | None, ...]:
        value = self._get("DICTIONARY", None)
        if value is None:
            return ()
        paths = list(value) if isinstance(value, (list, tuple)) else [value]
        # None in the first place is the dictionary that ships.
        first = paths[:1] if paths[:1] == [None] and paths[1:] else []
        rest = paths[len(first) :]
        if rest and all(isinstance(path, (str, Path)) and path for path in rest):
            return (*first, *map(Path, rest))
        raise BadSetting(
            "E022",
            f"DICTIONARY in VALKEY_SESSIONS is {_shown(value)}.",
            "Give the path of a zstd dictionary, or a list of them: the first "
            "compresses, the others stay readable. None in the first place stands for "
            "the one that ships.",
        )

    @setting
    def SCAN_COUNT(self) -> int:
        value = self._get("SCAN_COUNT", 1000)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
        raise BadSetting(
            "E023",
            f"SCAN_COUNT in VALKEY_SESSIONS is {_shown(value)}.",
            "Give how many keys the server looks at in one step: a whole number "
            "from 1 on.",
        )

    @setting
    def USER_INDEX(self) -> bool:
        return self._flag("USER_INDEX", True, "E028")

    @setting
    def MAX_SESSIONS_PER_USER(self) -> int | None:
        value = self._get("MAX_SESSIONS_PER_USER", None)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
        raise BadSetting(
            "E029",
            f"MAX_SESSIONS_PER_USER in VALKEY_SESSIONS is {_shown(value)}.",
            "Give a whole number from 1 on, or None for no limit.",
        )

    @setting
    def RECORD_DEVICE(self) -> bool | Callable[[Any], str | None]:
        value: Any = self._imported("RECORD_DEVICE", "E036")
        if value is None:
            return False
        if isinstance(value, bool):
            return value
        if callable(value):
            compute: Callable[[Any], str | None] = value
            return compute
        raise BadSetting(
            "E036",
            f"RECORD_DEVICE in VALKEY_SESSIONS is {_kind(value)}.",
            "Give True or False; or a callable that takes a request and returns the "
            "address from which it came, or the dotted path of one.",
        )

    @setting
    def PREVIOUS_ENGINE(self) -> type[SessionBase] | None:
        value = self._get("PREVIOUS_ENGINE", None)
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise BadSetting(
                "E030",
                f"PREVIOUS_ENGINE in VALKEY_SESSIONS is {_shown(value)}.",
                "Give what SESSION_ENGINE was before, for example "
                "'django.contrib.sessions.backends.db'.",
            )
        path = f"{value}.SessionStore"
        store = _import("PREVIOUS_ENGINE in VALKEY_SESSIONS", path, "E031")
        if not (isinstance(store, type) and issubclass(store, SessionBase)):
            raise BadSetting(
                "E031",
                f"PREVIOUS_ENGINE in VALKEY_SESSIONS, {path!r}, is no session engine.",
                "It has to be a class that derives from Django's SessionBase.",
            )
        if any(base.__module__ == OURS for base in store.__mro__):
            raise BadSetting(
                "E032",
                f"PREVIOUS_ENGINE in VALKEY_SESSIONS is {value!r}, which is this "
                "engine.",
                "Give what SESSION_ENGINE was before, or leave it out.",
            )
        return store

    @setting
    def PASSIVE_PATHS(self) -> tuple[str | re.Pattern[str], ...]:
        value = self._get("PASSIVE_PATHS", ())
        if isinstance(value, (list, tuple)) and all(map(_is_path, value)):
            return tuple(value)
        raise BadSetting(
            "E037",
            f"PASSIVE_PATHS in VALKEY_SESSIONS is {_shown(value)}.",
            "Give a list of what paths begin with, for example ['/poll/'], or of "
            "compiled regular expressions.",
        )

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of all settings."""
        return [
            name
            for name, _ in inspect.getmembers(cls, lambda m: isinstance(m, setting))
        ]

    def is_set(self, name: str) -> bool:
        """Return True if the site's settings give a value for this name."""
        return name in self._all()

    def unknown(self) -> Iterator[BadSetting]:
        """Yield what is wrong with each name that is no setting of ours."""
        self.follow()
        names = self.names()
        for name in self._all():
            if name not in names:
                close = difflib.get_close_matches(str(name).upper(), names, n=1)
                hint = (
                    f"Did you mean {close[0]}?"
                    if close
                    else f"The names are {', '.join(names)}."
                )
                yield BadSetting(
                    "E002", f"VALKEY_SESSIONS has no setting {name!r}.", hint
                )

    def remember(self, compute: Callable[["Conf"], T]) -> T:
        """Return what a property is, and let it be that until they change."""
        self.follow()
        known, name = self._known, compute.__name__
        value = compute(self)
        known[name] = vars(self)[name] = value
        if known is not self._known:  # They have, in another thread.
            vars(self).pop(name, None)
        return value

    def follow(self) -> None:
        """
        Take note of what VALKEY_SESSIONS are now: for who begins something. Of most
        changes Django tells, and they are followed at once; but not where they were
        assigned to, changed inside, or deleted.
        """
        try:
            value = _past_django(settings, "VALKEY_SESSIONS")
        except AttributeError:
            value = self._all()
        if value is not self._source or value != self._content:
            content = {name: _kept(one) for name, one in self._all().items()}
            self.forget()
            self._source, self._content = value, content

    def forget(self) -> None:
        """Have each property computed anew."""
        before, self._known = self._known, {}
        for name in [*before]:
            vars(self).pop(name, None)

    def _all(self) -> dict[str, Any]:
        holder = _past_django(settings, "_wrapped")
        if holder is self._without and "VALKEY_SESSIONS" not in vars(holder):
            return NOTHING  # There was none in the same settings before.
        value = getattr(settings, "VALKEY_SESSIONS", NOTHING)
        self._without = holder if value is NOTHING else NOT_SET_UP
        if isinstance(value, dict):
            return value
        raise BadSetting(
            "E001",
            f"VALKEY_SESSIONS is {_kind(value)}.",
            "Give a dictionary, for example {'LOCATION': 'valkey://127.0.0.1:6379/0'}.",
        )

    def _get(self, name: str, default: Any) -> Any:
        return self._all().get(name, default)

    def _flag(self, name: str, default: bool, id: str) -> bool:
        value = self._get(name, default)
        if isinstance(value, bool):
            return value
        raise BadSetting(
            id, f"{name} in VALKEY_SESSIONS is {_shown(value)}.", "Give True or False."
        )

    def _imported(self, name: str, id: str) -> Any:
        value = self._get(name, None)
        if not isinstance(value, str):
            return value
        return _import(f"{name} in VALKEY_SESSIONS", value, id)

    def _rule(self, key: str, value: Any) -> Rule:
        name = f"MERGE[{key!r}] in VALKEY_SESSIONS"
        rule: Rule = _import(name, value, "E019") if isinstance(value, str) else value
        if callable(rule):
            return rule
        raise BadSetting("E019", f"{name} is {_kind(rule)}.", MERGE_HINT)

    def _seconds(self, name: str, value: Any, id: str, other: str) -> float | None:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if value is None:
            return None
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and 0 < value <= LONGEST:
            return float(value)
        raise BadSetting(
            id,
            f"{name} in VALKEY_SESSIONS is {_shown(value)}.",
            f"Give seconds, more than 0, for example 3600; or a timedelta, {other}.",
        )


MERGE_HINT = (
    "Give a dictionary of session keys and rules, for example "
    "{'visits': 'django_valkey_sessions.merge.add'}."
)


def _kept(value: Any) -> Any:
    """Return what tells later whether a value was changed inside."""
    return value.copy() if isinstance(value, (list, dict)) else value


def _is_path(value: object) -> bool:
    if isinstance(value, re.Pattern):
        return isinstance(value.pattern, str)
    return isinstance(value, str) and value.startswith("/")


def _import(name: str, path: str, id: str) -> Any:
    try:
        return import_string(path)
    except (ImportError, TypeError, ValueError) as error:  # Also of relative paths.
        raise BadSetting(
            id, f"{name} is {path!r}, which can't be imported: {error}.", "Is it right?"
        ) from error


def _kind(value: object) -> str:
    """Name the kind of a value that may hold something secret."""
    if value is None or value == "" or value == [] or value == ():
        return "empty" if value is not None else "None"
    name = value.__name__ if isinstance(value, type) else type(value).__name__
    return f"of type {name}"


def _shown(value: object) -> str:
    """Show a short value that holds nothing secret; name the kind of a long one."""
    text = repr(value)
    return text if len(text) <= 80 else _kind(value)


@lru_cache(maxsize=8)
def _location(urls: tuple[str, ...]) -> Location:
    locations = [_parse(one) for url in urls for one in _one_host_each(url)]
    first = locations[0]
    for other in locations[1:]:
        if first.socket or other.socket:
            raise BadSetting(
                "E005",
                "LOCATION in VALKEY_SESSIONS lists a unix socket beside others.",
                "A server on a unix socket is the only one: give one URL.",
            )
        for part in SHARED:
            if getattr(first, part) != getattr(other, part):
                raise BadSetting(
                    "E005",
                    f"The URLs in LOCATION in VALKEY_SESSIONS differ in their {part}.",
                    "They are nodes of one installation, so all but host and port "
                    "has to be the same in each.",
                )
    addresses = tuple(address for one in locations for address in one.addresses)
    return replace(first, addresses=addresses)


#: What has to be the same in all URLs of LOCATION.
SHARED = (
    *("service", "tls", "username", "password", "database"),
    *("sentinel_username", "sentinel_password"),
)


#: User and password, hosts, and what is behind them.
SENTINELS = re.compile(r"(sentinels?://(?:[^/?#]*@)?)([^/?#]*)(.*)", re.I | re.S)


def _one_host_each(url: str) -> list[str]:
    """Return a URL for each host that a URL lists, as one of sentinels may."""
    listing = re.fullmatch(SENTINELS, url)
    if listing is None:
        return [url]
    head, hosts, tail = listing.groups()
    return [f"{head}{host}{tail}" for host in hosts.split(",")]


def _parse(url: str) -> Location:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # Whose text may hold a part of the password.
        raise _bad_url(url, "is no URL") from None
    if parts.scheme not in SCHEMES:
        raise _bad_url(url, "has no scheme that is known")
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if username and not password:
        raise _bad_url(url, "has a user but no password")
    location = Location(
        tls=parts.scheme in TLS_SCHEMES,
        username=username or None,
        password=password or None,
        **_behind_the_host(url, parts),
    )
    if parts.scheme == "unix":
        if not parts.path.startswith("/") or parts.hostname:
            raise _bad_url(url, "has no absolute path")
        return replace(location, socket=unquote(parts.path))
    if not parts.hostname:
        raise _bad_url(url, "has no host")
    if port == 0:
        raise _bad_url(url, "has the port 0")
    default = SENTINEL_PORT if location.service else DEFAULT_PORT
    return replace(location, addresses=((parts.hostname, port or default),))


def _behind_the_host(url: str, parts: SplitResult) -> dict[str, Any]:
    """Return what path and query say."""
    sentinel = parts.scheme in SENTINEL_SCHEMES
    names = {"db", *(("sentinel_username", "sentinel_password") if sentinel else ())}
    query = parse_qs(parts.query, keep_blank_values=True)
    if (
        parts.fragment
        or set(query) - names
        or any(len(values) > 1 for values in query.values())
    ):
        raise _bad_url(url, "has something behind the path that is not understood")
    said: dict[str, Any] = {name: value[0] or None for name, value in query.items()}
    path = "" if parts.scheme == "unix" else parts.path.strip("/")
    if sentinel:
        said["service"] = unquote(path)
        if not path or "/" in path:
            raise _bad_url(url, "names no service, which is the path")
        if "sentinel_username" in said and "sentinel_password" not in said:
            raise _bad_url(url, "has a user of the sentinels but no password")
        path = ""
    if path and "db" in said:
        raise _bad_url(url, "names a database twice")
    text = said.pop("db", path) or "0"
    if not (text.isascii() and text.isdecimal()):
        raise _bad_url(url, "names a database that is no number")
    return {**said, "database": int(text)}


def _bad_url(url: str, what: str) -> BadSetting:
    # Whatever stands before the last @, or behind a ?, may be a password.
    head, at, tail = url.rpartition("@")
    scheme = head.partition("://")[0]
    known = scheme in SCHEMES
    tail = "" if "?" in head else tail
    shown = f"{scheme}://***@{tail}" if at and known else f"***@{tail}" if at else url
    return BadSetting(
        "E004",
        f"LOCATION in VALKEY_SESSIONS, {shown.partition('?')[0]!r}, {what}.",
        "Write valkey://user:password@host:6379/0, valkeys://… for TLS, "
        "unix:///path/of/the/socket?db=0, or sentinel://host,host/service?db=0; "
        "special characters in a password are percent-encoded.",
    )


conf = Conf()


@receiver(setting_changed, dispatch_uid="django_valkey_sessions.conf")
def _follow_django(*, setting: str, **kwargs: Any) -> None:
    if setting == "VALKEY_SESSIONS":
        conf.forget()
