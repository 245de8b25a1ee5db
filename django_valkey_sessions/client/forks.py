"""
The clients of a process, and what a fork does to them. They are found by the process
id, at each use: uWSGI forks without running Python's at-fork hooks.
"""

import os
import time
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..exceptions import ReplyLost
from .errors import told, translated
from .glides import glide_error

if TYPE_CHECKING:
    from .process import Process

logger = getLogger("django_valkey_sessions")

#: Where Linux shows the threads of this process, GLIDE's among them.
TASKS = Path("/proc/self/task")

processes: dict[int, "Process"] = {}
#: What a parent made before it forked. Kept, because GLIDE frees what is not its own.
inherited: list["Process"] = []


def _forget_parents_clients() -> None:
    """
    Forget what the parent made. GLIDE's own hook, which runs after this one, would
    also reconnect a client that CLIENT returned: that holds up the fork for seconds if
    the server is down, and nobody uses them here.
    """
    for process in processes.values():
        for client in process.blocking.all():
            client._is_closed = True
    inherited.extend(processes.values())
    processes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_clients)


def watchdog_lives(client: Any) -> bool:
    """
    Run the first command of this process, which starts GLIDE's watchdog. Return
    False if it did not start, which is the case in a child whose parent has run a
    command before the fork: time-outs of single commands don't work here.
    """
    try:
        client.custom_command(["PING"])
    except glide_error() as error:
        ours = translated(error)
        if isinstance(ours, ReplyLost):
            client.close()
            raise ours from told(error)
        # The server answered; whether it obeys is for the real command to tell.
    if TASKS.is_dir():
        lives = _has_watchdog()
    else:
        # No way to see GLIDE's threads here: judge by what our own clients did.
        lives = not inherited and processes.keys() <= {os.getpid()}
    if not lives:
        logger.warning(
            "A GLIDE command was run before process %d was forked, which ended "
            "GLIDE's time-outs in it. Sessions keep to theirs by another way; other "
            "uses of GLIDE here may hang. Run no command before the fork.",
            os.getpid(),
        )
    return lives


def _has_watchdog() -> bool:
    # A thread gives itself its name, so that of a new one can come a little late.
    for pause in (0, 0.001, 0.01, 0.1):
        time.sleep(pause)
        if any(map(_is_watchdog, TASKS.iterdir())):
            return True
    return False


def _is_watchdog(task: Path) -> bool:
    try:
        return (task / "comm").read_text().startswith("glide-timeout")
    except OSError:  # The thread ended meanwhile.
        return False
