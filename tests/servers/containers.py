"""
Servers as containers of a Docker engine on this machine, from the image that
VALKEY_IMAGE names.

One container, the hub, publishes all ports, each under its own number on the loopback
address, and the others join its network. So a server has one address, for itself, for
the others and for clients: replicas and clusters need no translation.
"""

import contextlib
import gc
import io
import os
import socket
import tarfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker
from demo.ports import HOST, free_ports
from docker.errors import APIError, ContainerError, DockerException, ImageNotFound

IMAGE = "valkey/valkey:9.1"
FOLDER = "/data"
#: So many servers may run at once. Each port costs the engine a process.
PORTS = 24
#: Whose container it is: host and process id of the test run.
LABEL = "django-valkey-sessions.tests"


class NoDocker(Exception):
    """There is no engine with the image, and the message says why."""


class Container:
    """A server in a container, which keeps its files when it is killed and started."""

    folder = FOLDER
    #: Of a container it can't be reached from outside.
    socket: Path | None = None

    def __init__(
        self, engine: "Docker", port: int, program: str, files: Mapping[str, bytes]
    ) -> None:
        self._engine = engine
        self._program = program
        self._files = files
        self._container: Any = None
        self.port = port

    def options(self) -> list[str]:
        # What comes through a published port does not come from the loopback address.
        return ["--protected-mode", "no"]

    def start(self, words: list[str]) -> None:
        if self._container is None:
            self._container = self._engine.create([self._program, *words])
            self._container.put_archive(FOLDER, _archive(self._files))
        self._container.start()

    def is_it(self, process_id: int) -> bool:
        """Return True: nobody else can have the port."""
        return True

    def ended(self) -> bool:
        return self._status() not in ("running", "paused")

    def log(self) -> str:
        return str(self._container.logs(), errors="replace") + self._status()

    def kill(self) -> None:
        self._container.kill()
        self._container.wait()

    def pause(self) -> None:
        self._container.pause()

    def resume(self) -> None:
        self._container.unpause()

    def close(self) -> None:
        if self._container is not None:
            self._container.remove(force=True, v=True)
            self._container = None
            self._engine.take_back(self.port)

    def _status(self) -> str:
        self._container.reload()
        return str(self._container.status)


class Docker:
    """Makes servers that are containers. Raise NoDocker if that can't be done."""

    def __init__(self) -> None:
        self._image = os.environ.get("VALKEY_IMAGE", IMAGE)
        self._client = _engine()
        try:
            self.version = self._client.version()["Version"]
            _get(self._client, self._image)
        except BaseException:
            self._client.close()
            raise
        remove_orphans(self._client)
        self._hub: Any = None
        self._ports: list[int] = []

    def __str__(self) -> str:
        return f"docker engine {self.version}, image {self._image}"

    def has(self, program: str) -> bool:
        """Return True if the image has the program."""
        try:
            self._client.containers.run(
                self._image, [program, "--version"], remove=True, labels={LABEL: _me()}
            )
        except (APIError, ContainerError):  # Nothing was found that can be executed.
            return False
        return True

    def place(self, program: str | None, files: Mapping[str, bytes]) -> Container:
        """Return a place for a server."""
        if self._hub is None:
            self._start_hub()
        return Container(self, self._ports.pop(), program or "valkey-server", files)

    def take_back(self, port: int) -> None:
        """Let another server have the port."""
        self._ports.insert(0, port)

    def create(self, command: list[str]) -> Any:
        """Return a new container in the hub's network, which is not started yet."""
        return self._client.containers.create(
            self._image,
            command,
            network_mode=f"container:{self._hub.id}",
            labels={LABEL: _me()},
        )

    def _start_hub(self) -> None:
        self._ports = list(set(free_ports(0, PORTS)))
        self._hub = self._client.containers.run(
            self._image,
            # A server that nobody uses, because it has to do something.
            ["valkey-server", "--save", ""],
            ports={f"{port}/tcp": (HOST, port) for port in self._ports},
            labels={LABEL: _me()},
            detach=True,
        )

    def close(self) -> None:
        if self._hub is not None:
            self._hub.remove(force=True, v=True)
        self._client.close()


def remove_orphans(client: Any) -> None:
    """Remove the containers of test runs on this machine that were killed."""
    for container in client.containers.list(all=True, filters={"label": LABEL}):
        host, _, process = container.labels[LABEL].rpartition(":")
        if host == socket.gethostname() and not _lives(int(process)):
            # Another run may be about to remove it, too.
            with contextlib.suppress(APIError):
                container.remove(force=True, v=True)


def _engine() -> Any:
    """Return a client of the engine. Raise NoDocker if none answers on this machine."""
    client, reason = _connected()
    if client is None:
        raise NoDocker(f"no engine answers: {reason}")
    # Elsewhere the ports would be published there.
    if not client.api.base_url.startswith("http+docker://local"):
        client.close()
        raise NoDocker("the engine is on another machine")
    return client


def _connected() -> tuple[Any, str]:
    """Return a client; or None, and why there is none."""
    with warnings.catch_warnings():
        # The SDK leaves the socket open on which it did not get through.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return docker.from_env(), ""
        except DockerException as error:
            reason = str(error)
        gc.collect()
    return None, reason


def _get(client: Any, image: str) -> None:
    """Raise NoDocker if the engine neither has the image nor can get it."""
    try:
        client.images.get(image)
    except ImageNotFound:
        try:
            client.images.pull(image)
        except APIError as error:
            raise NoDocker(f"no image {image}: {error.explanation}") from error


def _archive(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _me() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
