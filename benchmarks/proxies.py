"""
What stands between an engine and its server: it counts what passes, or delays it.

    python -m benchmarks.proxies PORT MILLISECONDS

starts one that delays, in a process of its own, and prints its port.
"""

import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

HOST = "127.0.0.1"


@dataclass(slots=True)
class Counts:
    """What has passed since the last reset."""

    sent: int = 0  # Bytes, to the server.
    received: int = 0
    trips: int = 0


class Relay:
    """Passes on what comes over each connection, through the hooks of a subclass."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # Closed.
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((HOST, self.target))
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connected(near, far)

    def connected(self, near: socket.socket, far: socket.socket) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._listener.close()


class Counting(Relay):
    """
    Counts bytes and round trips. What is sent without a reply between is one trip,
    in however many pieces it comes.
    """

    def __init__(self, target: int) -> None:
        self.counts = Counts()
        super().__init__(target)

    def reset(self) -> None:
        self.counts = Counts()

    def connected(self, near: socket.socket, far: socket.socket) -> None:
        waiting = threading.Event()

        def sent(data: bytes) -> None:
            self.counts.sent += len(data)
            if not waiting.is_set():
                self.counts.trips += 1
                waiting.set()

        def received(data: bytes) -> None:
            self.counts.received += len(data)
            waiting.clear()

        _pump(near, far, sent)
        _pump(far, near, received)


class Delaying(Relay):
    """Delays all that passes, by half of the round trip in each direction."""

    def __init__(self, target: int, round_trip: float) -> None:
        self._seconds = round_trip / 2
        super().__init__(target)

    def connected(self, near: socket.socket, far: socket.socket) -> None:
        def wait(data: bytes) -> None:
            time.sleep(self._seconds)

        _pump(near, far, wait)
        _pump(far, near, wait)


def _pump(
    source: socket.socket, target: socket.socket, passing: Callable[[bytes], None]
) -> None:
    def pump() -> None:
        with suppress(OSError):  # One of the ends has closed.
            while data := source.recv(1 << 20):
                passing(data)
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    threading.Thread(target=pump, daemon=True).start()


if __name__ == "__main__":
    relay = Delaying(int(sys.argv[1]), float(sys.argv[2]) / 1000)
    print(relay.port, flush=True)
    sys.stdin.read()  # Until whoever started it is gone.
