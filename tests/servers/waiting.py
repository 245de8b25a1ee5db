"""What is outside of this process: free ports, and things that take their time."""

import time
from collections.abc import Callable

from demo.ports import free_ports


def free_port() -> int:
    return next(free_ports(0))


def wait_until(condition: Callable[[], object], timeout: float = 20) -> None:
    """Wait for something that happens outside of this process."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("What the test waits for does not happen.")
        time.sleep(0.02)
