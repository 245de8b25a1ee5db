"""
How long ``manage.py valkey_sessions import`` takes, and how much memory, from SQLite
and from a real PostgreSQL. In the root of a checkout, where the tests can be run:

    python benchmarks/moving/measure.py [SESSIONS]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "testproject")]

from tests import servers  # noqa: E402
from tests.postgres import Postgres  # noqa: E402

#: A user who is logged in, with a basket: 350 to 400 bytes in Django's table.
FILL = """
import sys, django; django.setup()
from datetime import timedelta
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
model, store = SessionStore.get_model_class(), SessionStore()
expire_date = timezone.now() + timedelta(days=7)
def session(number):
    return {
        "_auth_user_id": str(number),
        "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
        "_auth_user_hash": f"{number:064x}",
        "basket": [{"article": number * 7 + n, "count": n} for n in range(4)],
    }
for start in range(0, int(sys.argv[1]), 5000):
    model.objects.bulk_create(
        model(store._get_new_session_key(), store.encode(session(n)), expire_date)
        for n in range(start, min(start + 5000, int(sys.argv[1])))
    )
"""


def main(count: int) -> None:
    postgres, valkey = Postgres(), servers.Server()
    try:
        with tempfile.TemporaryDirectory() as folder:
            sqlite = {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": f"{folder}/db.sqlite3",
            }
            for name, database in {
                "SQLite": sqlite,
                "PostgreSQL": postgres.settings,
            }.items():
                measure(name, database, Path(folder), valkey, count)
    finally:
        postgres.close()
        valkey.close()


def measure(name, database, folder, valkey, count) -> None:
    (folder / "measured.py").write_text(
        f"from testproject.settings import *\nDATABASES = {{'default': {database!r}}}\n"
    )
    environment = {
        **servers.site_environment(folder, VALKEY_URL=valkey.url),
        "DJANGO_SETTINGS_MODULE": "measured",
    }
    environment["PYTHONPATH"] += f":{folder}:{ROOT / 'testproject'}"
    manage = [sys.executable, str(ROOT / "testproject" / "manage.py")]
    importing = [*manage, "valkey_sessions", "import", "--from", "db"]

    def run(*words):
        subprocess.run(words, env=environment, check=True)

    run(*manage, "migrate", "--verbosity", "0")
    took(f"{name}, no session", importing, environment)
    run(sys.executable, "-c", FILL, str(count))
    took(f"{name}, --dry-run", [*importing, "--dry-run"], environment)
    before = memory(valkey)
    took(f"{name}, {count:,} sessions", importing, environment)
    after = memory(valkey)
    print(f"{name}: {(after - before) / count:.0f} bytes of the server a session")
    took(f"{name}, again", importing, environment)
    with valkey.connect() as connection:
        notes = list(connection.scan_iter("session:moved:*", count=10_000))
        for start in range(0, len(notes), 1000):
            connection.unlink(*notes[start : start + 1000])
        print(f"{name}: {(after - memory(valkey)) / count:.0f} of them the note")
        connection.flushall()


def took(what, command, environment) -> None:
    started = time.monotonic()
    child = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0
    seconds = time.monotonic() - started
    print(f"{what}: {seconds:.1f} s, {usage.ru_maxrss / 1024:.0f} MB", flush=True)


def memory(valkey) -> int:
    with valkey.connect() as connection:
        return int(connection.info("memory")["used_memory"])


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100_000)
