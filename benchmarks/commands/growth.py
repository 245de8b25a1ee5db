"""
How the commands grow with the number of sessions: seconds, and memory at its highest.

    python growth.py 50000 200000 1000000
"""

import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for folder in ("", "testproject", "benchmarks/dictionary"):
    sys.path.insert(0, str(ROOT / folder))
os.environ["DJANGO_SETTINGS_MODULE"] = "testproject.settings"

import django  # noqa: E402

django.setup()

import valkey  # noqa: E402
from corpus import corpus  # noqa: E402
from demo.ports import free_ports  # noqa: E402
from demo.server import Server  # noqa: E402

from django_valkey_sessions import codec, keys  # noqa: E402

COMMANDS = (
    ("list", "--format", "csv"),
    ("stats",),
    ("clear", "--all", "--noinput"),
)
#: So many sessions of each kind of site are made, and stored over and over.
VARIETY = 100
PIPELINE = 1000
AGES = range(60, 14 * 86400, 997)  # Seconds.


def fill(connection: valkey.Valkey, count: int) -> None:
    kinds = corpus(VARIETY).values()
    payloads = [payload for turn in zip(*kinds, strict=True) for payload in turn]
    now = int(time.time())
    numbers = iter(range(count))
    while batch := list(islice(numbers, PIPELINE)):
        with connection.pipeline(transaction=False) as pipe:
            for number in batch:
                id = keys.session_id(str(number))
                age = AGES[number % len(AGES)]
                blob = codec.pack(payloads[number % len(payloads)], id, now - age)
                pipe.set(f"session:{id}", blob, ex=14 * 86400 - age + 60)
            pipe.execute()


def measure(words: tuple[str, ...], url: str) -> tuple[float, float]:
    """Return how many seconds a command took, and how many MB were resident."""
    started = time.monotonic()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "manage.py", "valkey_sessions", *words],
        cwd=ROOT / "testproject",
        env={**os.environ, "PYTHONPATH": str(ROOT), "VALKEY_URL": url},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return time.monotonic() - started, used.ru_maxrss / 1024


def main() -> None:
    counts = [int(word) for word in sys.argv[1:]]
    print("| sessions | command | seconds | MB resident, peak |")
    print("| --: | --- | --: | --: |")
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start(free_ports(0))
        try:
            with valkey.from_url(server.url) as connection:
                for count in counts:
                    fill(connection, count)
                    assert connection.dbsize() == count
                    for words in COMMANDS:
                        seconds, size = measure(words, server.url)
                        shown = " ".join(words)
                        print(f"| {count:,} | `{shown}` | {seconds:.1f} | {size:.0f} |")
                        sys.stdout.flush()
                    assert connection.dbsize() == 0
        finally:
            server.stop()


if __name__ == "__main__":
    main()
