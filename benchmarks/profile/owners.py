"""Whose code a function is."""

from functools import cache
from types import FrameType

ENGINE = "engine"
CLIENT = "client"
DJANGO = "Django"
LOOP = "event loop"
PAGE = "page"

#: By the beginning of the module's name. Django's sessions and caches are parts of the
#: engines, and its ORM is the client of those on a database.
_OWNERS: dict[str, str | None] = {
    "django": DJANGO,
    "asgiref": DJANGO,
    "django.contrib.sessions": ENGINE,
    "django.core.cache": ENGINE,
    "django_valkey_sessions": ENGINE,
    "django_redis": ENGINE,
    "django_valkey": ENGINE,
    "django_vcache": ENGINE,
    "django_cachex": ENGINE,
    "redis_sessions": ENGINE,
    "glide": CLIENT,
    "glide_shared": CLIENT,
    "glide_sync": CLIENT,
    "redis": CLIENT,
    "valkey": CLIENT,
    "django.db.backends": CLIENT,
    "django.db.models": CLIENT,
    "django.db.transaction": CLIENT,
    "psycopg": CLIENT,
    "psycopg_pool": CLIENT,
    "asyncio": LOOP,
    "selectors": LOOP,
    "benchmarks": PAGE,
    # Nobody's.
    "benchmarks.profile": None,
}


def owner(frame: FrameType | None) -> str | None:
    """
    Return whose code runs in this frame; None if nobody's. What belongs to none of
    them, such as Python's own library, is done for whoever calls it.
    """
    while frame is not None:
        name = _known(frame.f_globals.get("__name__", ""))
        if name:
            return _OWNERS[name]
        frame = frame.f_back
    return None


@cache
def _known(module: str) -> str:
    """Return the longest beginning of this name that stands in the list above."""
    while module and module not in _OWNERS:
        module = module.rpartition(".")[0]
    return module
