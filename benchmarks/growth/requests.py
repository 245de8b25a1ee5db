"""
What the server has to do for a site, for sizing: its CPU, its network and its commands
for each kind of request; and its memory for each session, and for the index of users.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

from corpus import KINDS
from django.conf import settings
from django.core.signing import JSONSerializer
from django.test import override_settings

from django_valkey_sessions import codec
from django_valkey_sessions.backend import SessionStore
from tests.servers import Server

from ..data import dictionary_without, of_kind
from .filling import VARIETY, as_the_engine, datas, fill, large, without_index
from .ground import engine_on, one_server, server_cpu, show

THREADS = 16
#: Bytes of what is stored of a session that is large.
LARGE = 20_000
#: Any session's.
ID = "0" * 32


def measure(full: bool) -> dict[str, Any]:
    rounds, times = (5, 300) if full else (3, 100)
    rows = []
    with one_server() as server, engine_on(server):
        for name, (do, users) in DOINGS.items():
            costs = _measured(server, do, users, times, rounds)
            rows.append({"request": name, **costs})
            show(rows[-1])
    count = 250_000 if full else 50_000
    return {"rows": rows, "memory": _memory(count)}


def _read(session: SessionStore) -> None:
    session["seen"]


def _change(session: SessionStore) -> None:
    session["count"] = session.get("count", 0) + 1
    session.save()


def _touch(session: SessionStore) -> None:
    session["seen"]
    session.touch()


def _log_in(session: SessionStore) -> None:
    session["seen"]
    session.cycle_key()
    session["_auth_user_id"] = "7"
    session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    session["_auth_user_hash"] = "0" * 64
    session.save()


def _log_out(session: SessionStore) -> None:
    session["seen"]
    session.flush()


def _first(session: SessionStore) -> None:
    fresh = SessionStore()
    fresh["count"] = 1
    fresh.save()


Doing = Callable[[SessionStore], None]
#: What a request does with its session, and whether that is a user's.
DOINGS: dict[str, tuple[Doing, bool]] = {
    "read": (_read, False),
    "change": (_change, False),
    "change, of a user": (_change, True),
    "touch, of a user": (_touch, True),
    "first change": (_first, False),
    "login": (_log_in, False),
    "logout": (_log_out, True),
}


def _measured(
    server: Server, do: Doing, users: bool, times: int, rounds: int
) -> dict[str, Any]:
    """Return what it costs the server, alone, and with all threads at once."""
    alone, crowded = (
        _median(_costs(server, do, users, threads, times) for _ in range(rounds))
        for threads in (1, THREADS)
    )
    alone["server_us_crowded"] = crowded["server_us"]
    alone["per_second_crowded"] = crowded["per_second"]
    return alone


def _median(rounds: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure; the commands are the same in all rounds."""
    *_, last = found = [*rounds]
    middle = {
        name: median(costs[name] for costs in found)
        for name in last
        if name != "commands"
    }
    return {**middle, "commands": last["commands"]}


def _costs(
    server: Server, do: Doing, users: bool, threads: int, times: int
) -> dict[str, Any]:
    made = [[_stored(n, users) for _ in range(times)] for n in range(threads)]
    before = server_cpu(server)
    with server.connect() as connection:
        # Nobody else connects from here to the end, and is counted.
        connection.config_resetstat()
        started = time.monotonic()
        working = [threading.Thread(target=_work, args=[do, keys]) for keys in made]
        for thread in working:
            thread.start()
        for thread in working:
            thread.join()
        seconds = time.monotonic() - started
        stats, commands = connection.info("stats"), connection.info("commandstats")
    of_server = server_cpu(server) - before
    total = times * threads
    calls = {
        name.removeprefix("cmdstat_"): round(found["calls"] / total, 2)
        for name, found in commands.items()
    }
    return {
        "server_us": round(of_server / total * 1e6, 1),
        "bytes_in": round(stats["total_net_input_bytes"] / total),
        "bytes_out": round(stats["total_net_output_bytes"] / total),
        # As often as something has come in, and has gone out.
        "packets": round(
            (stats["total_reads_processed"] + stats["total_writes_processed"]) / total,
            1,
        ),
        "per_second": round(total / seconds),
        "commands": {name: count for name, count in calls.items() if count >= 0.5},
    }


def _work(do: Callable[[SessionStore], None], keys: list[str]) -> None:
    for key in keys:
        do(SessionStore(key))


def _stored(number: int, of_a_user: bool) -> str:
    session = SessionStore()
    session.update({"basket": [1, 2, 3], "language": "en", "seen": number})
    if of_a_user:
        session["_auth_user_id"] = str(number)
        session["_auth_user_hash"] = "0" * 64
    session.save()
    return str(session.session_key)


def _memory(count: int) -> dict[str, Any]:
    plain = _bytes_each(count, without_index)
    indexed = _bytes_each(count, as_the_engine)
    logged_in = sum("_auth_user_id" in data for data in datas()) / len(datas())
    few = max(1000, count // 50)
    values = [_value(data) for data in datas()]
    found = {
        "sessions": count,
        "session": plain["used"],
        "session_resident": plain["resident"],
        "value": round(mean(values)),
        "value_of_other_sites": round(mean(_of_other_sites())),
        "index_of_one_session": round((indexed["used"] - plain["used"]) / logged_in),
        "large_session": _bytes_each(few, large(LARGE))["used"],
        "stored_value_of_a_large_one": LARGE,
        "copied_while_the_append_only_file_is_rewritten": indexed["copied"],
    }
    show(found)
    return found


def _value(data: dict[str, Any]) -> int:
    """Return how many bytes the engine stores of a session."""
    return len(codec.pack(codec.serialize(data, JSONSerializer), ID, 0))


def _of_other_sites() -> Iterator[int]:
    """
    Yield how many bytes they are with a dictionary from other sites, which is what a
    site has for which none was made.
    """
    ours = settings.VALKEY_SESSIONS
    with TemporaryDirectory() as folder:
        for kind in KINDS:
            path = Path(folder) / kind
            path.write_bytes(dictionary_without(kind))
            with override_settings(VALKEY_SESSIONS={**ours, "DICTIONARY": str(path)}):
                yield from map(_value, of_kind(kind, VARIETY))


def _bytes_each(count: int, store: Any) -> dict[str, Any]:
    # It is rewritten when this says so, and not before.
    words = ("--appendonly", "yes", "--auto-aof-rewrite-percentage", "0")
    with one_server(*words) as server, server.connect() as connection:
        before = connection.info("memory")
        fill(connection, count, store)
        after = connection.info("memory")
        connection.bgrewriteaof()
        # Every session is saved once meanwhile, or as many as can be.
        fill(connection, count, store)
        while connection.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.1)
        copied = connection.info("persistence")["aof_last_cow_size"]
    used = after["used_memory"] - before["used_memory"]
    return {
        "used": round(used / count),
        "resident": round(
            (after["used_memory_rss"] - before["used_memory_rss"]) / count
        ),
        "copied": round(copied / used, 2),
    }
