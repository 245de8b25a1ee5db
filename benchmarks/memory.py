"""
How many bytes of the server's memory a session takes, here and in other engines.

    python memory.py                              with the server that the tests use
    VALKEY_SERVER=/usr/bin/redis-server python memory.py --count 10000

It needs redis, hiredis, django-redis and django-vcache beside what the tests need. What
comes out is a table, and with --json the same for other programs.
"""

import argparse
import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "testproject")]

import django  # noqa: E402
import valkey  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.sessions.backends.base import SessionBase  # noqa: E402
from django.core.cache import caches  # noqa: E402
from django.core.management.utils import get_random_secret_key  # noqa: E402
from django.test import override_settings  # noqa: E402

from tests.servers import Server  # noqa: E402

#: Cache backends of others, by the names under which they are shown.
RIVALS = {
    "Django's RedisCache": "django.core.cache.backends.redis.RedisCache",
    "django-redis": "django_redis.cache.RedisCache",
    "django-vcache": "django_vcache.backend.ValkeyCache",
}
COUNT = 10_000

Session = dict[str, Any]
Make = Callable[[Random, int], Session]


def login(rng: Random, number: int) -> Session:
    return {
        "_auth_user_id": str(100_000 + number),
        "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
        "_auth_user_hash": rng.randbytes(32).hex(),
    }


def small(rng: Random, number: int) -> Session:
    """Return three keys of a login, and five values of the site's own."""
    return login(rng, number) | {
        "theme": rng.choice(("light", "dark")),
        "language": rng.choice(("en", "de", "fr", "pt-br")),
        "last_seen": 1_700_000_000 + rng.randrange(10**8),
        "items_per_page": rng.choice((10, 25, 50, 100)),
        "cart": {str(rng.randrange(10_000)): rng.randint(1, 9) for _ in range(3)},
    }


def anonymous(rng: Random, number: int) -> Session:
    """Return the five values of ``small`` without the login."""
    data = small(rng, number)
    return {key: data[key] for key in data if not key.startswith("_")}


def large(rng: Random, number: int) -> Session:
    """Return some 20 KB: a login, and rows of a table that repeat little but names."""
    rows = [
        {
            "id": rng.randrange(10**6),
            "name": "".join(rng.choices("abcdefghiklmnoprstuvw ", k=24)),
            "price": f"{rng.uniform(1, 999):.2f}",
            "available": rng.random() < 0.8,
            "seen": 1_700_000_000 + rng.randrange(10**8),
        }
        for _ in range(192)
    ]
    return login(rng, number) | {"rows": rows}


KINDS: dict[str, Make] = {"small": small, "anonymous": anonymous, "20 KB": large}


def bytes_per_session(
    make_store: Callable[[], SessionBase],
    count: int,
    make: Make,
    server: valkey.Valkey,
) -> float:
    """
    Save so many sessions into an empty server, and return by how many bytes each has
    made its memory larger.
    """
    rng = Random(1)
    _save(make_store(), make(rng, 0))  # Connections and scripts take memory, too.
    server.execute_command("FLUSHALL", "SYNC")
    before = used_memory(server)
    for number in range(count):
        _save(make_store(), make(rng, number))
    return (used_memory(server) - before) / count


def used_memory(server: valkey.Valkey) -> int:
    return int(server.info("memory")["used_memory"])


def _save(store: SessionBase, data: Session) -> None:
    store.update(data)
    store.save(must_create=True)


def configure(url: str) -> None:
    settings.configure(
        SECRET_KEY=get_random_secret_key(),
        SESSION_ENGINE="django_valkey_sessions.backend",
        INSTALLED_APPS=["django_valkey_sessions"],
        VALKEY_SESSIONS={"LOCATION": url},
        CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
        | {
            name: {"BACKEND": path, "LOCATION": url.replace("valkey:", "redis:", 1)}
            for name, path in RIVALS.items()
        },
    )
    django.setup()


def stores(url: str, dictionary: str | None) -> dict[str, tuple[Any, Any]]:
    """Return for each engine the settings it needs and how a session is made."""
    ours = import_module("django_valkey_sessions.backend").SessionStore
    cached = import_module("django.contrib.sessions.backends.cache").SessionStore
    base = {"LOCATION": url} | ({"DICTIONARY": dictionary} if dictionary else {})
    made: dict[str, tuple[Any, Any]] = {
        "ours": ({"VALKEY_SESSIONS": base}, ours),
        "ours, USER_INDEX off": (
            {"VALKEY_SESSIONS": base | {"USER_INDEX": False}},
            ours,
        ),
    }
    for name in RIVALS:
        made[name] = ({"SESSION_CACHE_ALIAS": name}, cached)
    return made


def measure(server: Server, count: int, dictionary: str | None) -> dict[str, Any]:
    configure(server.url)
    figures: dict[str, dict[str, float]] = {}
    with server.connect() as connection:
        info = connection.info()
        for name, (changed, store) in stores(server.url, dictionary).items():
            figures[name] = {}
            with override_settings(**changed):
                for kind, make in KINDS.items():
                    number = count if kind != "20 KB" else max(count // 20, 100)
                    figures[name][kind] = bytes_per_session(
                        store, number, make, connection
                    )
    caches.close_all()
    return {
        "server": f"{info.get('server_name', 'redis')} "
        f"{info.get('valkey_version', info['redis_version'])}",
        "allocator": info["mem_allocator"],
        "count": count,
        "bytes": figures,
    }


def table(result: dict[str, Any]) -> str:
    figures = result["bytes"]
    best = {kind: min(figures[name][kind] for name in RIVALS) for kind in KINDS}
    lines = [
        "| engine | " + " | ".join(f"{kind} | ratio" for kind in KINDS) + " |",
        "| --- |" + " --: | --: |" * len(KINDS),
    ]
    for name, row in figures.items():
        cells = (f"{row[kind]:.0f} | {row[kind] / best[kind]:.2f}" for kind in KINDS)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().split("\n")[0])
    parser.add_argument("--count", type=int, default=COUNT, help="of small sessions")
    parser.add_argument("--dictionary", help="of one's own, instead of the shipped one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    server = Server()
    try:
        result = measure(server, options.count, options.dictionary)
    finally:
        server.close()
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['server']}, {result['allocator']}; ratio to the best of the others")
    print(table(result))


if __name__ == "__main__":
    main()
