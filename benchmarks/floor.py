"""
Clients without an engine: what a value of the small session's size costs that is only
fetched or stored.
"""

import socket
from typing import Any

#: What the small session is stored as has about this size.
VALUE = bytes(range(256))[:240]
LIFETIME = 1_209_600


class BareSocket:
    """Speaks the protocol over a socket, and can do nothing else."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, key: str) -> bytes:
        return self._sent(b"GET", key.encode())

    def set(self, key: str, value: bytes) -> bytes:
        return self._sent(b"SET", key.encode(), value, b"EX", b"%d" % LIFETIME)

    def _sent(self, *words: bytes) -> bytes:
        parts = [b"*%d\r\n" % len(words)]
        parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self._socket.sendall(b"".join(parts))
        # The replies are small, and one is awaited at a time.
        return self._socket.recv(65536)


class Glide:
    """GLIDE's blocking client."""

    def __init__(self, port: int) -> None:
        import glide_sync

        address = glide_sync.NodeAddress("127.0.0.1", port)
        configuration = glide_sync.GlideClientConfiguration([address])
        self._client = glide_sync.GlideClient.create(configuration)

    def get(self, key: str) -> Any:
        return self._client.get(key)

    def set(self, key: str, value: bytes) -> Any:
        return self._client.custom_command(["SET", key, value, "EX", str(LIFETIME)])


class AsyncGlide:
    """GLIDE's awaiting client, of the loop in which it is made."""

    client: Any

    @classmethod
    async def made(cls, port: int) -> "AsyncGlide":
        import glide

        new = cls()
        address = glide.NodeAddress("127.0.0.1", port)
        # As many at once as anybody wants.
        configuration = glide.GlideClientConfiguration([address])
        new.client = await glide.GlideClient.create(configuration)
        return new

    async def get(self, key: str) -> Any:
        return await self.client.get(key)

    async def set(self, key: str, value: bytes) -> Any:
        words = ["SET", key, value, "EX", str(LIFETIME)]
        return await self.client.custom_command(words)
