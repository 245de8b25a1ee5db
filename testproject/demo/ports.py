"""Ports of this machine, on the loopback address only."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

HOST = "127.0.0.1"


def free_ports(first: int, count: int = 100) -> Iterator[int]:
    """Yield the free ports among so many from the first on; any, if that is 0."""
    for offset in range(count):
        with suppress(OSError), socket.socket() as probe:
            if os.name == "posix":  # A port that was in use a moment ago is free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, first and first + offset))
            port = probe.getsockname()[1]
            probe.close()
            yield port


def is_free(port: int) -> bool:
    return next(free_ports(port, 1), None) is not None


def answers(host: str, port: int) -> bool:
    """Return True if somebody accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
