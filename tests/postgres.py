"""A real PostgreSQL for the tests: Debian's, or the one on PATH."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from demo.children import Child
from demo.ports import HOST

from .servers import free_port, wait_until

#: It refuses to run as root, so where the tests do, it runs as somebody else.
SOMEBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []}


class Postgres:
    """A PostgreSQL of ours, which does not outlive the test run."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = free_port()
        options: dict[str, Any] = {"cwd": self.folder, "stdin": subprocess.DEVNULL}
        if os.geteuid() == 0:
            shutil.chown(self.folder, SOMEBODY["user"])
            options.update(SOMEBODY)
        data = self.folder / "data"
        words = ["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"]
        subprocess.run(
            [find("initdb"), *words, "--no-locale", "--pgdata", str(data)],
            check=True,
            capture_output=True,
            **options,
        )
        with (self.folder / "log").open("wb") as log:
            self._child = Child(
                [
                    *(find("postgres"), "-D", str(data), "-p", str(self.port)),
                    *("-c", f"listen_addresses={HOST}", "-c", "fsync=off"),
                    *("-c", "unix_socket_directories="),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                **options,
            )
        wait_until(lambda: self._child.ended() or self._is_up())
        if self._child.ended():
            said = (self.folder / "log").read_text()
            raise RuntimeError(f"PostgreSQL does not start:\n{said}")

    def _is_up(self) -> bool:
        try:
            psycopg.connect(
                host=HOST, port=self.port, dbname="postgres", user="postgres"
            ).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def settings(self) -> dict[str, Any]:
        """What stands in DATABASES for it."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": HOST,
            "PORT": self.port,
            "NAME": "postgres",
            "USER": "postgres",
        }

    @property
    def pid(self) -> int:
        return self._child.pid

    def close(self) -> None:
        if not self._child.ended():
            os.kill(self.pid, signal.SIGINT)  # At once, whoever is connected.
        self._child.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def find(name: str) -> str:
    """Return the path of this program of PostgreSQL's, the newest there is."""
    debians = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    found = sorted(debians, key=lambda path: float(path.parts[-3]))
    on_path = shutil.which(name)
    if found or on_path:
        return str(found[-1] if found else on_path)
    raise RuntimeError(
        f"There is no {name}: the tests need a PostgreSQL. On Debian and Ubuntu it is "
        "the package postgresql; elsewhere, put its programs on PATH."
    )
