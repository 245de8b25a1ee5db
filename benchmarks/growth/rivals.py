"""
What sites do to the sessions of other engines where this one has commands. Run in a
process of its own, which is measured as the commands are:

    python rivals.py WHAT URL
"""

import sys

import django
from django.conf import settings

BACKENDS = {
    "RedisCache": "django.core.cache.backends.redis.RedisCache",
    "django-redis": "django_redis.cache.RedisCache",
}
#: With what the names of sessions begin then.
PREFIX = ":1:django.contrib.sessions.cache"
#: Which backend, and what is called.
DOINGS = {
    "RedisCache.clear()": ("RedisCache", lambda cache: cache.clear()),
    "django-redis delete_pattern()": (
        "django-redis",
        lambda cache: cache.delete_pattern("*"),
    ),
    "django-redis keys()": ("django-redis", lambda cache: len(cache.keys("*"))),
}


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
