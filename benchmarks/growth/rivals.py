"""
What sites do to the sessions of other engines where this one has commands. Run in a
process of its own, which is measured as the commands are:

    python rivals.py WHAT URL
"""

import json
import pickle
import sys
from typing import Any

import django
from django.conf import settings

BACKENDS = {
    "RedisCache": "django.core.cache.backends.redis.RedisCache",
    "django-redis": "django_redis.cache.RedisCache",
}
#: Which backend, and what is called.
DOINGS = {
    "RedisCache.clear()": ("RedisCache", lambda cache: cache.clear()),
    "django-redis delete_pattern()": (
        "django-redis",
        lambda cache: cache.delete_pattern("*"),
    ),
    "django-redis keys()": ("django-redis", lambda cache: len(cache.keys("*"))),
}


def store(pipe: Any, number: int, data: dict[str, Any], now: int) -> None:
    """Store a session as Django's cache engine does with Django's RedisCache."""
    key = f":1:django.contrib.sessions.cache{number:032x}"
    value = pickle.dumps(json.dumps(data), pickle.HIGHEST_PROTOCOL)
    pipe.set(key, value, ex=14 * 86400)


def main(what: str, url: str) -> None:
    backend, do = DOINGS[what]
    location = url.replace("valkey://", "redis://")
    caches = {"default": {"BACKEND": BACKENDS[backend], "LOCATION": location}}
    settings.configure(CACHES=caches)
    django.setup()
    from django.core.cache import cache

    do(cache)


if __name__ == "__main__":
    main(*sys.argv[1:])
