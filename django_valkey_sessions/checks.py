"""
System checks. Each mistake has an id of its own, by which it can be silenced:

E001    VALKEY_SESSIONS is not a dictionary
E002    there is no setting of this name
E003    LOCATION: type
E004    LOCATION: not a URL that is understood
E005    LOCATION: URLs that contradict each other
E006    CLUSTER: type
E007    CLUSTER: with a unix socket
E008    OPTIONS: type
E009    OPTIONS: GLIDE does not accept them
E010    CLIENT: type or dotted path
E011    ASYNC: value
E012    CLIENT: beside settings that it replaces
E013    PREFIX: type, or empty
E014    TTL: type or dotted path
E015    EXPIRE: type
E016    TOUCH: type
E017    TOUCH_INTERVAL: type
E018    MAX_LIFETIME: type
E019    MERGE: type or dotted path
E020    SERIALIZER: type or dotted path
E021    SEAL: type
E022    DICTIONARY: type, or not a dictionary
E023    SCAN_COUNT: type
E024    OPTIONS: say what LOCATION says
E025    CLIENT: with ASYNC "native"
E026    CLUSTER: with sentinels
E027    REPLICAS_ACK: type, or in a cluster
E028    USER_INDEX: type
E029    MAX_SESSIONS_PER_USER: type
E030    PREVIOUS_ENGINE: type
E031    PREVIOUS_ENGINE: not a session engine, or can't be imported
E032    PREVIOUS_ENGINE: this engine
E033    PREVIOUS_ENGINE: its app is not installed
E034    PREVIOUS_ENGINE: with braces in PREFIX, in a cluster
E035    MAX_SESSIONS_PER_USER with USER_INDEX off
E036    RECORD_DEVICE: type or dotted path
E037    PASSIVE_PATHS: type, or no beginning of a path
E038    RENEW_AFTER: type, or too short
W001    unencrypted connection to another host (--deploy)
W002    SEAL is off (--deploy)
W003    TOUCH_INTERVAL with TOUCH off
W004    TOUCH_INTERVAL is longer than sessions live
W005    TTL is longer than the cookie lives
W006    TTL is longer than MAX_LIFETIME
W007    TTL counts from the last change, because nothing touches
W008    SESSION_SAVE_EVERY_REQUEST with TOUCH off
W009    PREFIX has a hash tag, in a cluster
W012    SessionMiddleware twice, or behind AuthenticationMiddleware
W013    RECORD_DEVICE with another session engine
W014    RENEW_AFTER, and nothing renews
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware as DjangosMiddleware
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from . import client, codec
from .conf import OURS, BadSetting, conf
from .middleware import SessionMiddleware

#: Spelled out, because a site without users can't import it.
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Check VALKEY_SESSIONS: names and types first, then what contradicts what."""
    wrong: list[CheckMessage] = [_error(bad) for bad in _wrong()]
    return wrong or [message for check in CONTRADICTIONS for message in check()]


def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Check what is fine on a laptop and not in production."""
    if any(_wrong()):
        return []  # check_settings() says so.
    return [message for check in DEPLOYMENT for message in check()]


def _wrong() -> Iterator[BadSetting]:
    try:
        yield from conf.unknown()
        codec.own_dictionaries(conf.DICTIONARY)
    except BadSetting as bad:
        yield bad
        if bad.id == "E001":
            return
    for name in conf.names():
        if name == "DICTIONARY":
            continue  # Read above, and its files with it.
        try:
            getattr(conf, name)
        except BadSetting as bad:
            yield bad


def _error(bad: BadSetting) -> Error:
    return Error(bad.msg, hint=bad.hint, id=f"valkey_sessions.{bad.id}")


def _warning(id: str, msg: str, hint: str) -> Warning:
    return Warning(msg, hint=hint, id=f"valkey_sessions.{id}")


def _lifetime() -> float | None:
    """Return the lifetime of an ordinary session in seconds; None if it varies."""
    ttl = conf.TTL
    if callable(ttl):
        return None
    return ttl or float(settings.SESSION_COOKIE_AGE)


# Contradictions.


def check_cluster_on_socket() -> Iterator[CheckMessage]:
    if conf.CLUSTER and conf.LOCATION.socket:
        yield Error(
            "CLUSTER in VALKEY_SESSIONS is True, and LOCATION is a unix socket.",
            hint="The nodes of a cluster are reached by TCP: valkey://host:port.",
            id="valkey_sessions.E007",
        )


def check_cluster_with_sentinels() -> Iterator[CheckMessage]:
    if conf.CLUSTER and conf.LOCATION.service:
        yield Error(
            "CLUSTER in VALKEY_SESSIONS is True, and LOCATION names sentinels.",
            hint="A cluster has no sentinels. Remove CLUSTER, or give the addresses of "
            "some of its nodes: valkey://host:port.",
            id="valkey_sessions.E026",
        )


def check_confirmation_in_cluster() -> Iterator[CheckMessage]:
    if conf.CLUSTER and conf.REPLICAS_ACK:
        yield Error(
            "VALKEY_SESSIONS has REPLICAS_ACK, and CLUSTER is True.",
            hint="While slots move, the replicas of another node might be asked, and "
            "confirm what they do not have. Remove REPLICAS_ACK; a node itself can "
            "refuse to write without replicas (min-replicas-to-write).",
            id="valkey_sessions.E027",
        )


def check_client_beside_location() -> Iterator[CheckMessage]:
    beside = [name for name in ("LOCATION", "OPTIONS") if conf.is_set(name)]
    if conf.CLIENT is not None and beside:
        yield Error(
            f"VALKEY_SESSIONS has both CLIENT and {' and '.join(beside)}.",
            hint="CLIENT returns a client that is connected already: remove the other.",
            id="valkey_sessions.E012",
        )


def check_client_is_blocking() -> Iterator[CheckMessage]:
    if conf.CLIENT is not None and conf.ASYNC == "native":
        yield Error(
            "VALKEY_SESSIONS has CLIENT, and ASYNC is 'native'.",
            hint="CLIENT returns a blocking client, which async code reaches through "
            "threads: remove ASYNC, or describe the server with LOCATION and OPTIONS.",
            id="valkey_sessions.E025",
        )


def check_options() -> Iterator[CheckMessage]:
    options = conf.OPTIONS
    repeated = [n for n in ("addresses", "use_tls", "database_id") if n in options]
    if repeated:
        yield Error(
            f"OPTIONS in VALKEY_SESSIONS has {', '.join(repeated)}.",
            hint="Say it in the URL: valkeys://host:port/database.",
            id="valkey_sessions.E024",
        )
    elif options and conf.CLIENT is None:
        # Makes GLIDE's configuration object; connects to nothing.
        try:
            client.configuration()
        except BadSetting as bad:
            yield _error(bad)


def check_touching() -> Iterator[CheckMessage]:
    interval, lifetime = conf.TOUCH_INTERVAL, _lifetime()
    if not conf.TOUCH and conf.is_set("TOUCH_INTERVAL"):
        yield _warning(
            "W003",
            "VALKEY_SESSIONS has TOUCH_INTERVAL, and TOUCH is False.",
            "Nothing is ever touched: remove one of the two.",
        )
    elif interval and lifetime and interval >= lifetime:
        yield _warning(
            "W004",
            f"TOUCH_INTERVAL in VALKEY_SESSIONS is {interval:.15g} s, and sessions "
            f"live for {lifetime:.15g} s.",
            "They expire before they are touched. Leave TOUCH_INTERVAL out: the "
            "default is 5% of the lifetime, at most 60 s.",
        )
    if not conf.TOUCH and settings.SESSION_SAVE_EVERY_REQUEST:
        yield _warning(
            "W008",
            "SESSION_SAVE_EVERY_REQUEST is True, and TOUCH in VALKEY_SESSIONS False.",
            "A session is renewed only when it is changed, whatever becomes of its "
            "cookie, so active users are logged out. Remove one of them.",
        )


def check_lifetimes() -> Iterator[CheckMessage]:
    ttl, age = conf.TTL, settings.SESSION_COOKIE_AGE
    if ttl is None or callable(ttl):
        return
    if ttl > age and not settings.SESSION_EXPIRE_AT_BROWSER_CLOSE:
        yield _warning(
            "W005",
            f"TTL in VALKEY_SESSIONS is {ttl:.15g} s, and SESSION_COOKIE_AGE {age} s.",
            "The browser forgets the session before the server does. Set "
            "SESSION_COOKIE_AGE to the longer of the two.",
        )
    if ttl < age and not (settings.SESSION_SAVE_EVERY_REQUEST or _is_rolling()):
        yield _warning(
            "W007",
            f"TTL in VALKEY_SESSIONS is {ttl:.15g} s, and only a change renews it.",
            f"A user who only reads is logged out after {ttl:.15g} s. Put "
            "django_valkey_sessions.middleware.SessionMiddleware in the place of "
            "Django's, which touches a session that is read.",
        )
    limit = conf.MAX_LIFETIME
    if limit is not None and ttl > limit:
        yield _warning(
            "W006",
            f"TTL in VALKEY_SESSIONS is {ttl:.15g} s, and MAX_LIFETIME {limit:.15g} s.",
            "No session reaches its TTL: remove it, or raise MAX_LIFETIME.",
        )


def check_renewing() -> Iterator[CheckMessage]:
    if conf.RENEW_AFTER is not None and not _has_ours():
        yield _warning(
            "W014",
            "VALKEY_SESSIONS has RENEW_AFTER, and MIDDLEWARE nothing that renews.",
            "Put django_valkey_sessions.middleware.SessionMiddleware in the place of "
            "Django's, which sends the new key.",
        )


def check_limit() -> Iterator[CheckMessage]:
    if conf.MAX_SESSIONS_PER_USER is not None and not conf.USER_INDEX:
        yield Error(
            "VALKEY_SESSIONS has MAX_SESSIONS_PER_USER, and USER_INDEX is False.",
            hint="The index tells which sessions a user has: remove one of the two.",
            id="valkey_sessions.E035",
        )


def check_recording() -> Iterator[CheckMessage]:
    if conf.RECORD_DEVICE and not _is_ours(settings.SESSION_ENGINE):
        yield _warning(
            "W013",
            "VALKEY_SESSIONS has RECORD_DEVICE, and SESSION_ENGINE is "
            f"{settings.SESSION_ENGINE!r}.",
            "With that engine nothing is recorded: remove RECORD_DEVICE, or set "
            f"SESSION_ENGINE to {OURS!r}.",
        )


def _is_ours(engine: str) -> bool:
    try:
        store: Any = import_string(f"{engine}.SessionStore")
    except ImportError:
        return True  # Django says so when it starts.
    return any(base.__module__ == OURS for base in store.__mro__)


def check_hash_tag() -> Iterator[CheckMessage]:
    prefix = conf.PREFIX
    if conf.CLUSTER and _has_hash_tag(prefix):
        yield _warning(
            "W009",
            f"PREFIX in VALKEY_SESSIONS is {prefix!r}, and CLUSTER is True.",
            "The braces are a hash tag, which puts every session on the same node of "
            "the cluster: leave them out.",
        )


def check_previous_engine() -> Iterator[CheckMessage]:
    model: Callable[[], Any] | None
    model = getattr(conf.PREVIOUS_ENGINE, "get_model_class", None)
    if model is None:
        return
    try:
        model()
    except RuntimeError as error:  # So says Django of models without an app.
        yield Error(
            f"PREVIOUS_ENGINE in VALKEY_SESSIONS has no table: {error}",
            hint="Leave 'django.contrib.sessions' in INSTALLED_APPS for as long as "
            "sessions are moved from its table.",
            id="valkey_sessions.E033",
        )


def check_previous_engine_in_cluster() -> Iterator[CheckMessage]:
    prefix = conf.PREFIX
    if not (conf.CLUSTER and conf.PREVIOUS_ENGINE):
        return
    if re.search("[{}]", prefix) and not _has_hash_tag(prefix):
        yield Error(
            f"PREFIX in VALKEY_SESSIONS is {prefix!r}, CLUSTER is True, and there is a "
            "PREVIOUS_ENGINE.",
            hint="What is noted of a session that was moved has to be on its node, "
            "which takes braces of its own: leave those in PREFIX out.",
            id="valkey_sessions.E034",
        )


def _has_hash_tag(prefix: str) -> bool:
    return re.match(r"[^{]*\{[^}]+\}", prefix) is not None


def check_middleware() -> Iterator[CheckMessage]:
    found = [name for name, _ in _session_middlewares()]
    if len(found) > 1:
        yield _warning(
            "W012",
            f"MIDDLEWARE has {' and '.join(found)}.",
            "Each gives the request another session: leave one of them.",
        )
    entries = list(settings.MIDDLEWARE)
    if found and AUTHENTICATION in entries[: entries.index(found[0])]:
        yield _warning(
            "W012",
            f"MIDDLEWARE has {found[0]} behind {AUTHENTICATION}.",
            "Users are found by their session: put it before.",
        )


def _is_rolling() -> bool:
    """Return True if a session that is only read is touched."""
    return conf.TOUCH and _has_ours()


def _has_ours() -> bool:
    found = _session_middlewares()
    return any(issubclass(kind, SessionMiddleware) for _, kind in found)


def _session_middlewares() -> list[tuple[str, type]]:
    """Return name and class of each in MIDDLEWARE that is Django's or made of it."""
    found = []
    for name in settings.MIDDLEWARE:
        try:
            kind = import_string(name)
        except ImportError:
            continue  # Django says so when it starts.
        if isinstance(kind, type) and issubclass(kind, DjangosMiddleware):
            found.append((name, kind))
    return found


# Deployment.


def check_transport() -> Iterator[CheckMessage]:
    location = conf.LOCATION
    if conf.CLIENT is not None or location.tls:
        return
    exposed = [host for host, _ in location.addresses if not _is_local(host)]
    if exposed:
        yield _warning(
            "W001",
            f"The connection to Valkey at {', '.join(exposed)} is not encrypted.",
            "Session ids and, without SEAL, session data can be read and changed on "
            "the way. Write valkeys:// in LOCATION in VALKEY_SESSIONS.",
        )


def check_seal() -> Iterator[CheckMessage]:
    if not conf.SEAL:
        yield _warning(
            "W002",
            "SEAL in VALKEY_SESSIONS is False.",
            "Whoever reads the server or its backups reads all session data, and "
            "whoever writes to it can log in as anybody. Remove SEAL.",
        )


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


Check = Callable[[], Iterator[CheckMessage]]

CONTRADICTIONS: tuple[Check, ...] = (
    check_cluster_on_socket,
    check_cluster_with_sentinels,
    check_confirmation_in_cluster,
    check_client_beside_location,
    check_client_is_blocking,
    check_options,
    check_touching,
    check_lifetimes,
    check_renewing,
    check_limit,
    check_recording,
    check_hash_tag,
    check_previous_engine,
    check_previous_engine_in_cluster,
    check_middleware,
)
DEPLOYMENT: tuple[Check, ...] = (check_transport, check_seal)
