import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import valkey

from .certificates import Certificates
from .choice import backend
from .waiting import wait_until

#: How many ports are tried: somebody else may take one before the server does.
TRIES = 5


class NotStarted(Exception):
    """The server does not start; the message is its log."""


class Server:
    """
    A Valkey of ours, which does not outlive the test run.

    The arguments are the server's. Its files are put into its folder; where an argument
    has to name that, it says {folder}.
    """

    def __init__(
        self,
        *arguments: str,
        password: str | None = None,
        tls: Certificates | None = None,
        program: str | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        self.arguments = arguments
        self._password = password
        self._tls = tls
        self._program = program
        self._files = {**(files or {}), **(tls.files() if tls else {})}
        for left in reversed(range(TRIES)):
            self._place = backend().place(self._program, self._files)
            self.port = self._place.port
            try:
                self.start()
                return
            except NotStarted as error:
                self.close()
                if not left or "already in use" not in str(error):
                    raise

    @property
    def url(self) -> str:
        scheme, host = (
            ("valkeys", "localhost") if self._tls else ("valkey", "127.0.0.1")
        )
        user = f":{quote(self._password, safe='')}@" if self._password else ""
        return f"{scheme}://{user}{host}:{self.port}/0"

    @property
    def socket(self) -> Path | None:
        """Its unix socket; None if that can't be reached from here."""
        return self._place.socket

    def start(self) -> None:
        """Start the server, on the port and in the folder it had before."""
        self._place.start(self._words())
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self._place.ended() or self.is_up(), timeout=10)
            if not self._place.ended():
                return
        raise NotStarted(self._place.log())

    def _words(self) -> list[str]:
        folder, port = self._place.folder, str(self.port)
        ports = ["--port", port]
        if self._tls is not None:
            ports = ["--port", "0", "--tls-port", port, *self._tls.options(folder)]
        guard = ["--requirepass", self._password] if self._password else []
        # Replicas are served at once, and not after seconds in which more might come.
        words = ["--save", "", "--repl-diskless-sync-delay", "0"]
        own = [argument.replace("{folder}", folder) for argument in self.arguments]
        # First: a configuration file has to be.
        first = [own.pop(0)] if own and not own[0].startswith("--") else []
        common = ["--dir", folder, *ports, *self._place.options(), *words]
        return [*first, *common, *guard, *own]

    def is_up(self) -> bool:
        """Return True if it answers, and has loaded its data."""
        try:
            with self.connect() as connection:
                return self._place.is_it(connection.info("server")["process_id"])
        except valkey.exceptions.AuthenticationError:
            return True
        except (
            valkey.exceptions.ConnectionError,
            valkey.exceptions.ResponseError,  # LOADING
        ):
            return False

    def connect(self, **options: Any) -> valkey.Valkey:
        """Return a client that has nothing to do with the one under test."""
        access = self._tls.access() if self._tls else {}
        if self._password:
            access["password"] = self._password
        return valkey.Valkey(port=self.port, retry=None, **{**access, **options})

    def kill(self) -> None:
        """End it at once, as if its machine were switched off."""
        self._place.kill()

    def pause(self) -> None:
        """Let it hang: connections stay, nothing is answered."""
        self._place.pause()

    def resume(self) -> None:
        self._place.resume()

    def close(self) -> None:
        self._place.close()
