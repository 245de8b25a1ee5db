import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from demo.children import Child
from demo.ports import HOST, answers, free_ports
from demo.server import NoServer, Server
from demo.walk import WEBSOCKETS, Seen, Walk, all_well, everything_ended, table
from django_valkey_sessions.conf import conf

SITE_PORT = 8000
VALKEY_PORT = 6390
USER = PASSWORD = "demo"

MANAGE = str(settings.BASE_DIR / "manage.py")

#: Seconds to wait for a site that starts.
START = 60

WHAT_TO_TRY = """
  Change the session, and look at "Stored" for what the server has of it.
  Press "Both at once": two requests load the session, each changes a key of its
  own, both save. Both changes are there.
  Press one of the slow buttons, and log out meanwhile in another tab.
  Log in with two browsers, and let one end the session of the other, whose page says so
  at once; or look at all of them under "Admin"."""


class Command(BaseCommand):
    help = (
        "Serves the demo site, with a Valkey server of its own unless VALKEY_URL names "
        "one. Ctrl-C ends both; at the next start all sessions are there again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--port",
            type=_port,
            help=f"port of the site; else the first free one from {SITE_PORT} on",
        )
        parser.add_argument(
            "--valkey-port",
            type=_port,
            help=f"port of the server; else the first free one from {VALKEY_PORT} on",
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="walk through a demo of its own over HTTP, and tell what was seen",
        )

    def handle(self, **options: Any) -> None:
        with _ending_well():
            if options["check"]:
                self._check(options["port"], options["valkey_port"])
            else:
                with contextlib.suppress(KeyboardInterrupt):
                    self._demo(options["port"], options["valkey_port"])

    # The demo.

    def _demo(self, port: int | None, valkey_port: int | None) -> None:
        port = _free_port(port, SITE_PORT, "--port")
        with self._valkey(valkey_port) as (url, server):
            self._prepare()
            environ = {"VALKEY_URL": url, "DEMO_SAVE_EVERY_REQUEST": "1"}
            log = settings.DATA_DIR / f"site-{port}.log"
            with _serving(port, _server_of_the_site(port), environ, log) as site:
                self._say(f"Site:   http://{HOST}:{port}/, its log in {log}")
                if settings.DEBUG:
                    self._say(f"User:   {USER}, password {PASSWORD}")
                self._say(WHAT_TO_TRY)
                self._toggle(server)
                if site.wait():
                    raise CommandError("The site ended by itself. See its log.")

    @contextlib.contextmanager
    def _valkey(self, port: int | None) -> Iterator[tuple[str, Server | None]]:
        """Give the server's address; the server too if it is ours to stop."""
        if url := os.environ.get("VALKEY_URL"):
            _look_for_yours()
            self._say(f"Valkey: yours at {conf.LOCATION}, as VALKEY_URL says")
            yield url, None
            return
        with _stopping(Server(settings.DATA_DIR / "valkey")) as server:
            if server.find():
                if port not in (None, server.port):
                    raise CommandError(
                        f"Another demo runs, with Valkey at port {server.port}: end "
                        "it, or leave out --valkey-port."
                    )
                self._say(f"Valkey: that of another demo, at port {server.port}")
                yield server.url, None
                return
            server.start(_valkey_ports(port, VALKEY_PORT))
            self._say(f"Valkey: port {server.port}, data in {server.folder}")
            yield server.url, server

    def _prepare(self) -> None:
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        call_command("migrate", verbosity=0)
        users: Any = get_user_model()._default_manager
        # A password that everybody knows is for nobody but the demo.
        if settings.DEBUG and not users.filter(username=USER).exists():
            users.create_superuser(USER, password=PASSWORD)

    def _toggle(self, server: Server | None) -> None:
        """Let the Enter key stop and start the server, where there is a key."""
        if server is None or not sys.stdin.isatty():
            self._say("  End it with Ctrl-C.\n")
            return
        self._say("  Press Enter to stop Valkey, and again to start it. Ctrl-C ends.\n")
        if hasattr(signal, "SIGTTIN"):
            # In the background, reading fails instead of pausing the process.
            signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        with contextlib.suppress(OSError):
            for _ in sys.stdin:
                if server.pid:
                    server.stop()
                    self._say("Valkey is stopped. Look at the site, then press Enter.")
                else:
                    server.start([server.port])
                    self._say("Valkey runs again: reload, and you are still logged in.")

    # The check.

    def _check(self, port: int | None, valkey_port: int | None) -> None:
        port = _free_port(port, 0, "--port")
        rows: list[Seen] = []
        with (
            tempfile.TemporaryDirectory(prefix="demo-") as name,
            _stopping(Server(Path(name) / "valkey")) as server,
        ):
            server.start(_valkey_ports(valkey_port, 0))
            log = Path(name) / "check.log"
            environ = {"DEMO_DATA": name, "DEMO_DEBUG": "1", "VALKEY_URL": server.url}
            try:
                demo = [MANAGE, "demo", f"--port={port}"]
                with _serving(port, demo, environ, log):
                    rows += Walk(port, server).steps()
            finally:
                if not all_well(rows):
                    self._tell(log, Path(name) / f"site-{port}.log")
        rows.append(everything_ended(port, server.port))
        for line in table(rows):
            self._say(line)
        if not all_well(rows):
            raise CommandError("Not everything is as it should be.")

    def _tell(self, *logs: Path) -> None:
        for log in filter(Path.exists, logs):
            self.stderr.write(log.read_text(errors="replace")[-5000:])

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


@contextlib.contextmanager
def _ending_well() -> Iterator[None]:
    """Stop what was started, however the command is ended, before it ends."""
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            if number := getattr(signal, name, None):
                handlers[number] = signal.signal(number, _exit)
    try:
        yield
    except NoServer as error:
        raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _exit(number: int, frame: object) -> None:
    sys.exit(128 + number)


@contextlib.contextmanager
def _stopping(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def _serving(
    port: int, words: list[str], environ: dict[str, str], log: Path
) -> Iterator[Child]:
    """Run Python with these words, which serves the port; wait until it does."""
    # What can be imported here can be imported there, also under pytest.
    path = os.pathsep.join(filter(None, sys.path))
    with log.open("wb") as output:
        child = Child(
            [sys.executable, *words],
            env={**os.environ, "PYTHONPATH": path, **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START
        while not answers(HOST, port):
            if child.ended() or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-2000:]
                raise CommandError(f"The site did not start. It said:\n{said}")
            time.sleep(0.05)
        yield child
    finally:
        child.stop()


def _server_of_the_site(port: int) -> list[str]:
    """Return the words for Python that serve the site, with WebSockets if it can."""
    if not all(map(find_spec, WEBSOCKETS)):
        return [MANAGE, "runserver", "--noreload", f"{HOST}:{port}"]
    return [
        *("-m", "uvicorn", "--host", HOST, "--port", str(port), "--lifespan", "off"),
        # Of the pages that are open each has a WebSocket, which it keeps.
        *("--timeout-graceful-shutdown", "1", "testproject.asgi:application"),
    ]


def _look_for_yours() -> None:
    """Raise CommandError if nobody answers where VALKEY_URL points."""
    location = conf.LOCATION
    addresses = location.addresses
    if addresses and not any(answers(host, port) for host, port in addresses):
        raise CommandError(
            f"Nobody answers at {location}. Set VALKEY_URL to where your Valkey server "
            "is, or leave it out to let the demo start one."
        )


def _valkey_ports(asked: int | None, first: int) -> Iterator[int]:
    if asked is None:
        return free_ports(first)
    return iter([_free_port(asked, first, "--valkey-port")])


def _free_port(asked: int | None, first: int, option: str) -> int:
    ports = free_ports(first) if asked is None else free_ports(asked, 1)
    port = next(ports, None)
    if port is None:
        which = f"Port {asked} is" if asked else f"The ports from {first} on are all"
        raise CommandError(f"{which} in use: name another with {option}.")
    return port


def _port(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise ArgumentTypeError(f"{text!r} is no port: give a number from 1 to 65535.")
