"""
The same operations with a network between that takes a millisecond for the round trip:
a relay in a process of its own (see proxies.py), because a kernel need not have the
module that delays packets.
"""

from typing import Any

from .crew import crew
from .engines import ENGINES, STORES
from .ground import Ground, delay
from .latency import OPERATIONS, operations

MILLISECONDS = 1.0
#: (rounds, operations in each)
QUICK, FULL = (5, 12), (9, 40)


def measure(ground: Ground, full: bool, failed: dict[str, str]) -> dict[str, Any]:
    rounds, count = FULL if full else QUICK
    names = [name for name in STORES if ENGINES[name].in_server]
    with (
        delay(ground.server.port, MILLISECONDS) as port,
        crew(names, ground.behind(port), ground.log, failed) as workers,
    ):
        return {
            "milliseconds": MILLISECONDS,
            "operations": operations(workers, OPERATIONS, rounds, count),
        }
