"""What stands between a client and a server, and what can go wrong there."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

#: Gets (bytes, pass them on): is called for what the server says, and may do else.
Reply = Callable[[bytes, Callable[[bytes], None]], None]


class Proxy:
    """A TCP relay to a server, whose replies a test can drop or change."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.target = port
        self.context = context
        self.on_reply: Reply | None = None
        self.forgotten: set[socket.socket] = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[near], daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            if self.context is not None:
                near = self.context.wrap_socket(near, server_side=True)
            far = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            near.close()
            return
        self.sockets += [near, far]
        threading.Thread(
            target=self._pump, args=[near, far, far.sendall], daemon=True
        ).start()
        self._pump(far, near, lambda data: self._reply(data, near))

    def _reply(self, data: bytes, near: socket.socket) -> None:
        send = near.sendall
        if near in self.forgotten:
            return
        if self.on_reply is None:
            send(data)
        else:
            self.on_reply(data, send)

    def _pump(
        self,
        source: socket.socket,
        target: socket.socket,
        send: Callable[[bytes], Any],
    ) -> None:
        with contextlib.suppress(OSError):  # Cut, by a test or by an end.
            while data := source.recv(65536):
                send(data)
        for end in (source, target):
            _cut(end)

    def cut(self) -> None:
        """Break all connections."""
        for end in self.sockets:
            _cut(end)
        self.sockets.clear()

    def forget(self) -> None:
        """Let the connections there are hang, as something on the way may do it."""
        self.forgotten.update(self.sockets)

    def close(self) -> None:
        self.listener.close()
        self.cut()


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # It may be cut already.
        end.shutdown(socket.SHUT_RDWR)
    end.close()
