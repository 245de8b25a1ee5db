"""
A process that asks a site for one page as fast as it answers, over a few connections.

    python -m benchmarks.load

reads lines of JSON, {"port", "path", "cookies", "seconds"}, and answers each with
how many requests that were, and how long they took. For each cookie there is a visitor
with a connection; where the site closes that, another is made.
"""

import asyncio
import json
import statistics
import sys
import time
from typing import Any


async def visit(port: int, request: bytes, until: float, took: list[float]) -> None:
    """Be one connection, until it is time."""
    reader: Any = None
    writer: Any = None
    while (began := time.perf_counter()) < until:
        if writer is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(head[:60].decode("latin-1"))
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        took.append(time.perf_counter() - began)
        if b"connection: close" in head:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


async def load(
    port: int, path: str, cookies: list[str], seconds: float
) -> dict[str, float]:
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: sessionid="
    requests = [f"{head}{cookie}\r\n\r\n".encode() for cookie in cookies]
    took: list[float] = []
    began = time.perf_counter()
    until = began + seconds
    await asyncio.gather(*(visit(port, request, until, took) for request in requests))
    spent = time.perf_counter() - began
    took.sort()
    return {
        "requests": len(took),
        "seconds": spent,
        "p50": statistics.median(took) * 1e3,
        "p99": took[len(took) * 99 // 100] * 1e3,
    }


def main() -> None:
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            try:
                answer: Any = runner.run(load(**json.loads(line)))
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
