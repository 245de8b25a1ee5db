"""Start a process that ends with its parent, however that ends."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

#: Ends the process whose id it is given as soon as the parent is gone, which closes
#: the pipe it reads.
WATCHDOG = """
import os, signal, sys
sys.stdin.read()
os.kill(int(sys.argv[1]), getattr(signal, "SIGKILL", signal.SIGTERM))
"""

#: Seconds that a process is given to end by itself.
PATIENCE = 10


class Child:
    """A running process. Start it from the main thread: Linux ends it with that."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        self._watchdog: subprocess.Popen[bytes] | None = None
        if _has_setpriv():
            # It becomes the command, so the process id is the command's.
            command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        self._process = subprocess.Popen(command, **options)
        self.pid = self._process.pid
        if not _has_setpriv():
            self._watchdog = subprocess.Popen(
                [sys.executable, "-c", WATCHDOG, str(self.pid)],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )

    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> int:
        """Wait until it has ended by itself; return its exit code."""
        return self._process.wait()

    def stop(self) -> None:
        """End it, with force if need be. If it has ended already, that is fine."""
        if self._watchdog is not None:
            # First: it must not meet another process under the same id.
            _end(self._watchdog, signal.SIGTERM)
            self._watchdog = None
        _end(self._process, signal.SIGTERM)


def _end(process: subprocess.Popen[bytes], how: int) -> None:
    process.send_signal(how)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        if process.stdin is not None:
            process.stdin.close()


@lru_cache
def _has_setpriv() -> bool:
    """Return True if there is one that can do it: Busybox's can't."""
    if sys.platform != "linux" or shutil.which("setpriv") is None:
        return False
    trial = ["setpriv", "--pdeathsig", "KILL", "--", "true"]
    return subprocess.run(trial, capture_output=True).returncode == 0
