"""
Whole requests under load: a site behind gunicorn, with processes and with threads, and
behind uvicorn. Each serves one page that reads its session, and one that changes it.
Requests a second, and the CPU that one takes: of the application and of the server.

One process of the site, one of the server, one that sends: the pages do nothing else,
so what differs between the engines is as large here as it can be on a site.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .crew import ROOT, Failed, Member, end, environment, pipes
from .engines import ENGINES, MINE
from .figures import ratios
from .ground import Ground, answers, servers

#: (rounds, seconds of load in each)
QUICK, FULL = (3, 0.7), (9, 4.0)
HOST = "127.0.0.1"
GUNICORN = "gunicorn --workers 1 --bind {host}:{port} --log-level error"

#: How sites are served: the command, how many connections at once, and the pages that
#: read and write.
KINDS: dict[str, tuple[str, int, dict[str, str]]] = {
    "gunicorn sync": (
        f"{GUNICORN} --worker-class sync benchmarks.app:wsgi()",
        2,
        {"read": "/read/", "write": "/write/"},
    ),
    "gunicorn gthread": (
        f"{GUNICORN} --worker-class gthread --threads 8 benchmarks.app:wsgi()",
        8,
        {"read": "/read/", "write": "/write/"},
    ),
    "uvicorn": (
        "uvicorn --host {host} --port {port} --factory --lifespan off "
        "--log-level error benchmarks.app:asgi",
        16,
        {"read": "/aread/", "write": "/awrite/"},
    ),
}

TICK = os.sysconf("SC_CLK_TCK")


def measure(ground: Ground, full: bool, failed: dict[str, str]) -> dict[str, Any]:
    rounds, seconds = FULL if full else QUICK
    found = {}
    for kind in KINDS:
        unable: dict[str, str] = {}
        found[kind] = _served(kind, ground, rounds, seconds, unable)
        failed |= {f"{name}, {kind}": why for name, why in unable.items()}
    return found


def _served(
    kind: str, ground: Ground, rounds: int, seconds: float, failed: dict[str, str]
) -> dict[str, Any]:
    _, _, paths = KINDS[kind]
    series: Any = {what: defaultdict(lambda: defaultdict(list)) for what in paths}
    with ExitStack() as stack:
        sites = _sites(kind, ground, failed, stack)
        for what, path in paths.items():
            for round in range(-1, rounds):
                for name, site in _in_turns(sites, round):
                    try:
                        spent = site.load(path, seconds)
                    except Failed as error:
                        failed[name] = str(error)
                        del sites[name]
                        continue
                    if round < 0:  # Not yet at its pace.
                        continue
                    for unit, figure in spent.items():
                        series[what][unit][name].append(figure)
    return {
        what: {unit: ratios(rounds, MINE) for unit, rounds in units.items()}
        for what, units in series.items()
    }


def _sites(
    kind: str, ground: Ground, failed: dict[str, str], stack: ExitStack
) -> "dict[str, Site]":
    sites = {}
    for name in ENGINES:
        try:
            sites[name] = stack.enter_context(serving(kind, name, ground))
        except (Failed, TimeoutError) as error:
            failed[name] = str(error)
    return sites


def _in_turns(sites: "dict[str, Site]", round: int) -> "list[tuple[str, Site]]":
    """Return all, in another order in each round."""
    items = [*sites.items()]
    start = round % len(items)
    return items[start:] + items[:start]


class Site:
    """One that is served, and a process that sends it requests."""

    def __init__(
        self,
        pid: int,
        cookie: str,
        sending: "subprocess.Popen[str]",
        servers: list[int],
    ) -> None:
        self._pid = pid
        self._cookie = cookie
        self._sending = sending
        self._servers = servers

    def load(self, path: str, seconds: float) -> dict[str, float]:
        """Return requests a second, their latencies, and the CPU of one."""
        application, server = cpu([self._pid]), cpu(self._servers)
        done = self._send(path=path, cookie=self._cookie, seconds=seconds)
        count = done["requests"]
        return {
            "rate": count / done["seconds"],
            "p50": done["p50"],
            "p99": done["p99"],
            "application": (cpu([self._pid]) - application) / count * 1e6,
            "server": (cpu(self._servers) - server) / count * 1e6,
        }

    def _send(self, **words: Any) -> dict[str, float]:
        to, back = pipes(self._sending)
        print(json.dumps(words), file=to, flush=True)
        answer = json.loads(back.readline())
        if "error" in answer:
            raise Failed(answer["error"])
        found: dict[str, float] = answer
        return found


@contextmanager
def serving(kind: str, name: str, ground: Ground) -> Iterator[Site]:
    """Serve the site with this engine, in this way."""
    command, connections, _ = KINDS[kind]
    port = servers.free_port()
    program, *words = command.format(host=HOST, port=port).split()
    with ExitStack() as stack:
        log = stack.enter_context(ground.log.open("ab"))
        child = subprocess.Popen(
            [str(Path(sys.executable).with_name(program)), *words],
            cwd=ROOT,
            env=environment(name, ground.place),
            stdout=log,
            stderr=log,
        )
        stack.callback(end, child)
        servers.wait_until(lambda: child.poll() is not None or answers(HOST, port))
        if child.poll() is not None:
            raise Failed(f"{program} does not serve it.")
        cookie = _cookie(name, ground, log)
        sending = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load", str(port), str(connections)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(end, sending)
        yield Site(child.pid, cookie, sending, _servers(name, ground))


def _cookie(name: str, ground: Ground, log: Any) -> str:
    member = Member(name, ground.place, log)
    try:
        return str(member.ask("cookie", "/login/", "/fill/"))
    finally:
        member.close()


def _servers(name: str, ground: Ground) -> list[int]:
    """Return the processes of the servers that this engine uses."""
    found = []
    if ENGINES[name].in_server or name.startswith("cached"):
        with ground.connect() as connection:
            found.append(int(connection.info("server")["process_id"]))
    if name.endswith("postgres") and ground.postgres:
        found.append(ground.postgres.pid)
    return found


def cpu(pids: list[int]) -> float:
    """Return the seconds of CPU that these processes and their children have used."""
    return sum(_cpu(pid) for pid in pids)


def _cpu(pid: int) -> float:
    try:
        # Behind the name, which may have spaces: utime the 12th word, stime the 13th.
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # It has ended.
        return 0.0
    own = (int(words[11]) + int(words[12])) / TICK
    return own + sum(_cpu(int(child)) for child in children)
