"""
Who is compared: the engines, each as its own documentation says. All cache libraries
are used through Django's engine ``cache``.
"""

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Settings = dict[str, Any]

STOCK = "django.contrib.sessions.middleware.SessionMiddleware"
OURS = "django_valkey_sessions.middleware.SessionMiddleware"
BACKENDS = "django.contrib.sessions.backends"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine finds what it needs."""

    valkey: int  # A port.
    postgres: int
    folder: str


@dataclass(frozen=True, slots=True)
class Engine:
    label: str
    settings: Callable[[Place], Settings]
    middleware: str = STOCK
    #: The packages whose versions are told, the engine's own first.
    packages: tuple[str, ...] = ()
    #: Whether its sessions are in the server whose memory is measured, and only there.
    in_server: bool = True

    def versions(self) -> dict[str, str]:
        return {name: importlib.metadata.version(name) for name in self.packages}


def _ours(place: Place) -> Settings:
    return {
        "SESSION_ENGINE": "django_valkey_sessions.backend",
        "VALKEY_SESSIONS": {
            "LOCATION": f"valkey://127.0.0.1:{place.valkey}/0",
            # A machine that is busy with benchmarks is no outage.
            "OPTIONS": {"request_timeout": 5000, "connection_timeout": 5000},
        },
    }


def _cache(backend: str, scheme: str = "redis") -> Callable[[Place], Settings]:
    def settings(place: Place) -> Settings:
        location = f"{scheme}://127.0.0.1:{place.valkey}/0"
        return {
            "SESSION_ENGINE": f"{BACKENDS}.cache",
            "CACHES": {"default": {"BACKEND": backend, "LOCATION": location}},
        }

    return settings


def _database(engine: str, kind: str) -> Callable[[Place], Settings]:
    def settings(place: Place) -> Settings:
        cache = _cache("django.core.cache.backends.redis.RedisCache")(place)
        return {
            "SESSION_ENGINE": f"{BACKENDS}.{engine}",
            "CACHES": cache["CACHES"],
            "DATABASES": {"default": _databases(place)[kind]},
        }

    return settings


def _databases(place: Place) -> dict[str, Settings]:
    return {
        # As Django's documentation advises for sites with more than one visitor.
        "sqlite": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": f"{place.folder}/sessions.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        },
        "postgres": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "PORT": place.postgres,
            "NAME": "postgres",
            "USER": "postgres",
            # Connections that stay would be used up under ASGI, where threads change.
            "OPTIONS": {"pool": True},
        },
    }


def _redis_sessions(place: Place) -> Settings:
    return {
        "SESSION_ENGINE": "redis_sessions.session",
        "SESSION_REDIS": {
            "host": "127.0.0.1",
            "port": place.valkey,
            "db": 0,
            "prefix": "session",
            "socket_timeout": 1,
        },
    }


#: The engine that the others are compared with.
MINE = "ours"
REDIS = ("redis", "hiredis")
VALKEY = ("valkey", "libvalkey")

ENGINES: dict[str, Engine] = {
    MINE: Engine(
        "django-valkey-sessions",
        _ours,
        OURS,
        ("valkey-glide-sync", "valkey-glide"),
    ),
    "ours-stock": Engine(
        "django-valkey-sessions, Django's middleware",
        _ours,
        packages=("valkey-glide-sync", "valkey-glide"),
    ),
    "django-cache": Engine(
        "cache, Django's RedisCache",
        _cache("django.core.cache.backends.redis.RedisCache"),
        packages=("django", *REDIS),
    ),
    "django-redis": Engine(
        "cache, django-redis",
        _cache("django_redis.cache.RedisCache"),
        packages=("django-redis", *REDIS),
    ),
    "django-valkey": Engine(
        "cache, django-valkey",
        _cache("django_valkey.cache.ValkeyCache", "valkey"),
        packages=("django-valkey", *VALKEY),
    ),
    "django-vcache": Engine(
        "cache, django-vcache",
        _cache("django_vcache.backend.ValkeyCache", "valkey"),
        packages=("django-vcache",),
    ),
    "django-cachex": Engine(
        "cache, django-cachex",
        _cache("django_cachex.cache.ValkeyCache", "valkey"),
        packages=("django-cachex", *VALKEY),
    ),
    "redis-sessions": Engine(
        "django-redis-sessions",
        _redis_sessions,
        packages=("django-redis-sessions", "redis"),
    ),
    "db-sqlite": Engine(
        "db, SQLite",
        _database("db", "sqlite"),
        packages=("django",),
        in_server=False,
    ),
    "db-postgres": Engine(
        "db, PostgreSQL",
        _database("db", "postgres"),
        packages=("django", "psycopg"),
        in_server=False,
    ),
    "cached-sqlite": Engine(
        "cached_db, SQLite and RedisCache",
        _database("cached_db", "sqlite"),
        packages=("django", *REDIS),
        in_server=False,
    ),
    "cached-postgres": Engine(
        "cached_db, PostgreSQL and RedisCache",
        _database("cached_db", "postgres"),
        packages=("django", *REDIS, "psycopg"),
        in_server=False,
    ),
}

#: Of these one is enough where the middleware plays no part.
STORES = [name for name in ENGINES if name != "ours-stock"]
#: Not engines but clients, which know nothing of sessions.
FLOORS = {
    "glide": "GLIDE itself",
    "socket": "a bare socket",
}
#: Ours with other settings, where that is measured.
NO_INDEX = "no-index"
#: With a dictionary that was trained on other sites' sessions than those measured.
OTHERS, OTHERS_NO_INDEX = "others", "others-no-index"
VARIANTS = {
    NO_INDEX: "django-valkey-sessions, USER_INDEX off",
    OTHERS: "django-valkey-sessions, other sites' dictionary",
    OTHERS_NO_INDEX: "django-valkey-sessions, other sites' dictionary, USER_INDEX off",
}


def label(name: str) -> str:
    """Return what an engine, a floor or a variant is called."""
    labels = {key: engine.label for key, engine in ENGINES.items()}
    return {**labels, **FLOORS, **VARIANTS}[name]
