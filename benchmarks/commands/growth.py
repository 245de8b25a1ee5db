"""
How the commands grow with the number of sessions: seconds, and memory at its highest.

    python growth.py 50000 200000 1000000
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("", "testproject", "benchmarks/dictionary", "benchmarks/commands")
sys.path[:0] = [str(ROOT / folder) for folder in FOLDERS]
os.environ["DJANGO_SETTINGS_MODULE"] = "patient_settings"

import django  # noqa: E402

django.setup()

import valkey  # noqa: E402
from corpus import corpus  # noqa: E402
from demo.ports import free_ports  # noqa: E402
from demo.server import Server  # noqa: E402
from django.core.signing import JSONSerializer  # noqa: E402
from valkey.client import Pipeline  # noqa: E402

from django_valkey_sessions import codec, keys  # noqa: E402

COMMANDS = (
    ("list", "--format", "csv"),
    ("stats",),
    ("clear", "--all", "--noinput"),
)
#: So many sessions of each kind of site are made, and stored over and over.
VARIETY = 100
PIPELINE = 1000
FORTNIGHT = 14 * 86400  # Seconds.
#: The last of them live for an hour.
AGES = range(60, FORTNIGHT - 3600, 997)


def fill(connection: valkey.Valkey, count: int) -> None:
    kinds = corpus(VARIETY).values()
    datas = [json.loads(text) for turn in zip(*kinds, strict=True) for text in turn]
    now = int(time.time())
    numbers = iter(range(count))
    while batch := list(islice(numbers, PIPELINE)):
        with connection.pipeline(transaction=False) as pipe:
            for number in batch:
                store(pipe, number, dict(datas[number % len(datas)]), now)
            pipe.execute()


def store(pipe: Pipeline, number: int, data: dict[str, Any], now: int) -> None:
    """Store a session as the engine does. A user has two of them."""
    id = keys.session_id(str(number))
    age = AGES[number % len(AGES)]
    expires = now - age + FORTNIGHT
    if "_auth_user_id" in data:
        data["_auth_user_id"] = user = str(number // 2)
        index = keys.index_key("session:", user)
        pipe.zadd(index, {id: expires})
        pipe.expireat(index, expires)
    blob = codec.pack(codec.serialize(data, JSONSerializer), id, now - age)
    pipe.set(f"session:{id}", blob, exat=expires)


def measure(words: tuple[str, ...], url: str) -> tuple[float, float]:
    """Return how many seconds a command took, and how many MB were resident."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "valkey_sessions", *words],
        cwd=ROOT / "testproject",
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path[: len(FOLDERS)]),
            "VALKEY_URL": url,
        },
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
