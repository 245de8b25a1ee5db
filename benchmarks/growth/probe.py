"""
Another client: asks for a key about every millisecond, until its standard input ends.
Then it writes how long the answers took, in milliseconds, as JSON.

    python probe.py PORT [PORT ...]

With several ports it asks one after the other. It imports nothing that is not needed,
and does nothing else, so that it waits for the server only.
"""

import json
import select
import socket
import sys
import time

ASK = b"*2\r\n$3\r\nGET\r\n$5\r\nprobe\r\n"
PAUSE = 0.001  # Seconds.


def main() -> None:
    servers = [socket.create_connection(("127.0.0.1", int(p))) for p in sys.argv[1:]]
    took = []
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        for server in servers:
            started = time.perf_counter()
            server.sendall(ASK)
            server.recv(1000)
            took.append((time.perf_counter() - started) * 1000)
    took.sort()
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "worst": 1}
    figures = {
        name: round(took[min(int(len(took) * share), len(took) - 1)], 2)
        for name, share in shares.items()
    }
    print(json.dumps({"asked": len(took), **figures}))


if __name__ == "__main__":
    main()
