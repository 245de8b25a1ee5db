"""
How the commands grow with the number of sessions, and how long another client of the
server waits meanwhile; and what other engines' ways cost it.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valkey.cluster import ValkeyCluster

from tests.servers import Server

from . import rivals
from .environment import ROOT
from .filling import copies, fill, large
from .ground import (
    first,
    one_server,
    process_id,
    server_cpu,
    show,
    three_primaries,
)

HERE = Path(__file__).parent
COMMANDS = (
    ("list", "--format", "csv"),
    ("stats",),
    ("clear",),
    ("clear", "--all", "--noinput"),
)
#: Of these only reading and ending differ with the size, or in a cluster.
SHORT = (COMMANDS[0], COMMANDS[-1])
#: So many sessions do the ways to end all of them have before them.
MANY = 1_000_000
#: Bytes of a session that is large.
LARGE = 20_000


def measure(full: bool) -> dict[str, Any]:
    counts = (10_000, 100_000, 1_000_000) if full else (10_000, 50_000)
    rows = []
    with one_server() as server:
        rows.append({"sessions": 0, "what": "nothing, for 10 s", **_idle(server)})
        show(rows[-1])
        for count in counts:
            _fill(server, count)
            rows += [_row(server, count, words) for words in COMMANDS]
            _assert_empty(server)
        few = counts[-1] // 50
        _fill(server, few, large(LARGE))
        rows += [_row(server, few, words, f"{LARGE:,} bytes: ") for words in SHORT]
        copies(server, MANY, index="session:user:")
        rows.append(_row(server, MANY, COMMANDS[-1]))
        _assert_empty(server)
        for what in rivals.DOINGS:
            copies(server, MANY, rivals.PREFIX)
            command = [str(HERE / "rivals.py"), what, server.url]
            rows.append({"sessions": MANY, "what": what})
            rows[-1] |= _measured([server], command)
            show(rows[-1])
            with server.connect() as connection:
                connection.flushall(asynchronous=True)
    with three_primaries() as nodes:
        with ValkeyCluster("127.0.0.1", nodes[0].port) as connection:
            fill(connection, counts[-2])
        rows += [_row(nodes, counts[-2], words, "3 primaries: ") for words in SHORT]
    return {"rows": rows}


def _fill(server: Server, *what: Any) -> None:
    with server.connect() as connection:
        fill(connection, *what)


def _assert_empty(server: Server) -> None:
    with server.connect() as connection:
        assert connection.dbsize() == 0


def _row(
    servers: Server | list[Server], count: int, words: Sequence[str], note: str = ""
) -> dict[str, Any]:
    nodes = servers if isinstance(servers, list) else [servers]
    command = ["testproject/manage.py", "valkey_sessions", *words]
    row = {"sessions": count, "what": note + " ".join(words)}
    row |= _measured(nodes, command)
    show(row)
    return row


def _measured(nodes: list[Server], command: list[str]) -> dict[str, Any]:
    """Return what a command took in a process of its own, and what others waited."""
    cluster = {"VALKEY_CLUSTER": "1"} if len(nodes) > 1 else {}
    environment = {**os.environ, "VALKEY_URL": nodes[0].url, **cluster}
    before = server_cpu(*nodes)
    probe = _Probe(nodes)
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    status, used, peak = _ended(process.pid)
    seconds = time.monotonic() - started
    assert os.waitstatus_to_exitcode(status) == 0
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(peak / 1024),
        "server_cpu_seconds": round(server_cpu(*nodes) - before, 2),
        "waited_ms": probe.end(),
    }


def _ended(process: int) -> tuple[int, Any, int]:
    """Return how a process ended, what it used, and KB that were resident at most."""
    peak = 0
    while True:
        # Not of what it used: that begins with the memory of who has started it.
        status = Path(f"/proc/{process}/status").read_text()
        if found := re.search(r"VmHWM:\s*(\d+)", status):
            peak = max(peak, int(found[1]))
        ended, how, used = os.wait4(process, os.WNOHANG)
        if ended:
            return how, used, peak
        time.sleep(0.02)


def _idle(server: Server) -> dict[str, Any]:
    """Return what another client waits if there is nothing: the machine's own share."""
    probe = _Probe([server])
    time.sleep(10)
    return {"waited_ms": probe.end()}


class _Probe:
    def __init__(self, nodes: list[Server]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "probe.py"), *(str(n.port) for n in nodes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        first(self._process.pid, *(process_id(node) for node in nodes))
        assert self._process.stdout is not None
        self._process.stdout.readline()  # It is ready.

    def end(self) -> dict[str, float]:
        text, _ = self._process.communicate()
        figures: dict[str, float] = json.loads(text)
        return figures
