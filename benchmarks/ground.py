"""The servers that all engines use: one Valkey, one PostgreSQL, and a folder."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "testproject")]

import valkey  # noqa: E402
from demo.children import Child as Child  # noqa: E402
from demo.ports import answers as answers  # noqa: E402

from tests import servers  # noqa: E402
from tests.postgres import Postgres  # noqa: E402

from .crew import Member, end, pipes  # noqa: E402
from .engines import Place  # noqa: E402


class Ground:
    """What there is for the engines to stand on."""

    def __init__(self, folder: Path, server: Any, postgres: Postgres | None) -> None:
        self.folder = folder
        self.server = server
        self.postgres = postgres
        self.log = folder / "log"

    @property
    def place(self) -> Place:
        return self.behind(self.server.port, self.postgres and self.postgres.port)

    def behind(self, valkey: int, postgres: int | None = None) -> Place:
        """Return the same place, seen through other ports."""
        return Place(valkey, postgres or 0, str(self.folder))

    def connect(self) -> valkey.Valkey:
        found: valkey.Valkey = self.server.connect()
        return found

    def migrate(self) -> None:
        """Make the tables, once for each database."""
        with self.log.open("ab") as log:
            for name in ("db-sqlite", "db-postgres"):
                member = Member(name, self.place, log)
                try:
                    member.ask("migrate")
                finally:
                    member.close()


@contextmanager
def ground(program: str | None = None, databases: bool = True) -> Iterator[Ground]:
    """Start servers of our own: this program, by default the tests' Valkey."""
    # As processes, whose memory and CPU can be seen.
    os.environ["VALKEY_BACKEND"] = "embedded"
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = servers.Server(program=program)
        stack.callback(server.close)
        postgres = Postgres() if databases else None
        if postgres:
            stack.callback(postgres.close)
        found = Ground(folder, server, postgres)
        if databases:
            found.migrate()
        yield found


@contextmanager
def delay(target: int, milliseconds: float) -> Iterator[int]:
    """Put a network of this round trip before a port; yield the port to use."""
    command = [sys.executable, "-m", "benchmarks.proxies", str(target)]
    relay = subprocess.Popen(
        [*command, str(milliseconds)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        _, back = pipes(relay)
        yield int(back.readline())
    finally:
        end(relay)
