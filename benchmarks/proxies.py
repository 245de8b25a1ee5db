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


Seen = Callable[[bytes], None]


class Relay:
    """
    Passes on what comes over each connection. A subclass says what is done with it
    before, in each direction.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # Closed.
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[near], daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, socket.create_connection((HOST, self.target)) as far:
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sent, received = self.connected()
            back = threading.Thread(target=_pump, args=[far, near, received])
            back.start()
            _pump(near, far, sent)
            back.join()

    def connected(self) -> tuple[Seen, Seen]:
        """Return what sees the data of a new connection: there, and back."""
        raise NotImplementedError

    def close(self) -> None:
        """Take no more connections. Those that there are end with their clients."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # Wakes who waits in accept().
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

    def connected(self) -> tuple[Seen, Seen]:
        waiting = threading.Event()

        def sent(data: bytes) -> None:
            self.counts.sent += len(data)
            if not waiting.is_set():
                self.counts.trips += 1
                waiting.set()

        def received(data: bytes) -> None:
            self.counts.received += len(data)
            waiting.clear()

        return sent, received


class Delaying(Relay):
    """Delays all that passes, by half of the round trip in each direction."""

    def __init__(self, target: int, round_trip: float) -> None:
        self._seconds = round_trip / 2
        super().__init__(target)

    def connected(self) -> tuple[Seen, Seen]:
        def wait(data: bytes) -> None:
            time.sleep(self._seconds)

        return wait, wait


def _pump(source: socket.socket, target: socket.socket, seen: Seen) -> None:
    with suppress(OSError):  # One of the ends has closed.
        while data := source.recv(1 << 20):
            seen(data)
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    relay = Delaying(int(sys.argv[1]), float(sys.argv[2]) / 1000)
    print(relay.port, flush=True)
    sys.stdin.read()  # Until whoever started it is gone.
