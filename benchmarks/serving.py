"""
Whole requests under load: a site behind gunicorn, with processes and with threads, and
behind uvicorn. Each serves one page that takes no look at its session, one that reads
it, and one that changes it. Requests a second, and the CPU that one takes: of the
application and of the server.

One process of the site, one of the server, one that sends: the pages do nothing else,
so what differs between the engines is as large here as it can be on a site.
"""

import http.client
import json
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .crew import ROOT, Failed, end, environment, pipes
from .engines import ENGINES, MINE
from .figures import ratios
from .ground import Child, Ground, answers, servers

#: (rounds, seconds of load in each)
QUICK, FULL = (3, 0.4), (5, 0.6)
HOST = "127.0.0.1"
GUNICORN = "gunicorn --workers 1 --bind {host}:{port} --log-level error"

UVICORN = (
    "uvicorn --host {host} --port {port} --factory --lifespan off "
    "--log-level error benchmarks.app:asgi"
)


#: What its pages do with the session: "anonymous" takes no look at it.
PAGES = ("anonymous", "read", "write")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a site is served."""

    command: str
    connections: int  # At once.
    awaiting: bool = False
    #: Whether the middleware of sessions is the only one.
    alone: bool = False

    @property
    def paths(self) -> dict[str, str]:
        return {page: f"/{'a' * self.awaiting}{page}/" for page in PAGES}


KINDS = {
    "gunicorn sync": Kind(f"{GUNICORN} --worker-class sync benchmarks.app:wsgi()", 2),
    "gunicorn gthread": Kind(
        f"{GUNICORN} --worker-class gthread --threads 8 benchmarks.app:wsgi()", 8
    ),
    "uvicorn": Kind(UVICORN, 16, awaiting=True),
    "uvicorn alone": Kind(UVICORN, 16, awaiting=True, alone=True),
}


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
    paths = KINDS[kind].paths
    series: Any = {what: defaultdict(lambda: defaultdict(list)) for what in paths}
    with _sites(kind, ground, failed) as sites:
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


@contextmanager
def _sites(
    kind: str, ground: Ground, failed: dict[str, str]
) -> "Iterator[dict[str, Site]]":
    """Serve the site with each engine; yield those that answer."""
    with ExitStack() as stack:
        sending = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(end, sending)
        # All are started before the first is waited for.
        started = {}
        for name in ENGINES:
            started[name] = Site(kind, name, ground, sending)
            stack.callback(started[name].close)
        sites = {}
        for name, site in started.items():
            try:
                site.enter()
                sites[name] = site
            except (Failed, OSError, TimeoutError) as error:
                failed[name] = str(error)
        yield sites


def _in_turns(sites: "dict[str, Site]", round: int) -> "list[tuple[str, Site]]":
    """Return all, in another order in each round."""
    items = [*sites.items()]
    start = round % max(1, len(items))
    return items[start:] + items[:start]


class Site:
    """One that is served, with one of the engines."""

    def __init__(
        self, kind: str, name: str, ground: Ground, sending: "subprocess.Popen[str]"
    ) -> None:
        self._kind = KINDS[kind]
        self._port = servers.free_port()
        program, *words = self._kind.command.format(host=HOST, port=self._port).split()
        more = {"MIDDLEWARE": [ENGINES[name].middleware]} if self._kind.alone else {}
        with ground.log.open("ab") as log:
            self._process = Child(
                [str(Path(sys.executable).with_name(program)), *words],
                cwd=ROOT,
                env=environment(name, ground.place, **more),
                stdout=log,
                stderr=log,
            )
        self._sending = sending
        self._servers = _servers(name, ground)
        self._cookies: list[str] = []

    def enter(self) -> None:
        """Wait until it answers, and log in. Raise Failed if that can't be done."""
        servers.wait_until(
            lambda: self._process.ended() or answers(HOST, self._port), 60
        )
        if self._process.ended():
            raise Failed("The application server has ended.")
        for _ in range(self._kind.connections):
            cookie = self._visit("/login/")
            self._cookies.append(self._visit("/fill/", cookie) or cookie)

    def _visit(self, path: str, cookie: str = "") -> str:
        """Get a page; return the session's cookie, if one is set."""
        connection = http.client.HTTPConnection(HOST, self._port, timeout=60)
        headers = {"Cookie": f"sessionid={cookie}"} if cookie else {}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        connection.close()
        if response.status != 200:
            raise Failed(f"{path} is answered with {response.status}.")
        found = re.search(r"sessionid=(\w+)", response.headers.get("Set-Cookie", ""))
        return found[1] if found else ""

    def load(self, path: str, seconds: float) -> dict[str, float]:
        """
        Return requests a second, their latencies, and of one the CPU, also that of some
        threads, and how often one of the application has waited or was made to wait.
        """
        mine = [self._process.pid]
        application, server = cpu(mine), cpu(self._servers)
        before = (*switches(mine), *threads(self._process.pid))
        done = self._send(path=path, seconds=seconds)
        count = done["requests"]
        after = (*switches(mine), *threads(self._process.pid))
        waits, preemptions, loop, native = (
            (now - then) / count for now, then in zip(after, before, strict=True)
        )
        found = {
            "rate": count / done["seconds"],
            "p50": done["p50"],
            "p99": done["p99"],
            "application": (cpu(mine) - application) / count * 1e6,
            "server": (cpu(self._servers) - server) / count * 1e6,
            "waits": waits,
            "preemptions": preemptions,
        }
        if self._kind.awaiting:
            found |= {"loop": loop * 1e6, "native": native * 1e6}
        return found

    def _send(self, **words: Any) -> dict[str, float]:
        words |= {"port": self._port, "cookies": self._cookies}
        to, back = pipes(self._sending)
        print(json.dumps(words), file=to, flush=True)
        answer = json.loads(back.readline())
        if "error" in answer:
            raise Failed(answer["error"])
        found: dict[str, float] = answer
        return found

    def close(self) -> None:
        self._process.stop()


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
    spent = 0.0
    with suppress(OSError):  # It has ended just now.
        # Linux's number of the clock that all threads of this process have driven, also
        # those that have ended. In /proc the same stands in ticks of 10 ms.
        spent = time.clock_gettime((~pid << 3) | 2)
    return spent + sum(map(_cpu, _children(pid)))


def threads(pid: int) -> tuple[float, float]:
    """
    Return the seconds of CPU of two kinds of a process's threads: of the first, which
    is the event loop's under ASGI, and of those that a library has started without
    Python. Such have names of their own, and those of Python 3.13 the process's.
    """
    tasks = Path(f"/proc/{pid}/task")
    first = native = 0.0
    with suppress(OSError):  # It has ended.
        name = (tasks / str(pid) / "comm").read_text()
        for task in tasks.iterdir():
            with suppress(OSError):  # It has ended just now.
                spent = int((task / "schedstat").read_text().split()[0]) / 1e9
                if task.name == str(pid):
                    first = spent
                elif (task / "comm").read_text() != name:
                    native += spent
    return first, native


def _children(pid: int) -> list[int]:
    children: list[str] = []
    with suppress(OSError):  # One of its threads has ended just now.
        for task in Path("/proc").glob(f"{pid}/task/*/children"):
            children += task.read_text().split()
    return [*map(int, children)]


def switches(pids: list[int]) -> tuple[int, int]:
    """
    Return how often a thread of these processes and their children has waited for
    something, and how often one had to wait because another was to run.
    """
    voluntary, involuntary = 0, 0
    for pid in pids:
        for status in Path("/proc").glob(f"{pid}/task/*/status"):
            with suppress(OSError):  # It has ended just now.
                words = dict(re.findall(r"^(\w+):\s+(\d+)$", status.read_text(), re.M))
                voluntary += int(words["voluntary_ctxt_switches"])
                involuntary += int(words["nonvoluntary_ctxt_switches"])
        more = switches(_children(pid))
        voluntary, involuntary = voluntary + more[0], involuntary + more[1]
    return voluntary, involuntary
