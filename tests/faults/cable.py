"""
A network for a site, another for its server, and a cable between them that may lose
packets. They are namespaces of Linux without a name: nothing else on the machine is in
them, and they are gone with the last process that is.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

#: Addresses that are meant for examples.
SITE, SERVER = "192.0.2.1", "192.0.2.2"


def missing() -> list[str]:
    """Return what a cable needs and this machine has not."""
    needed = {
        "Python 3.12, on Linux": hasattr(os, "unshare"),
        "root": os.geteuid() == 0,
        "ip, of iproute2": shutil.which("ip"),
        "iptables": shutil.which("iptables"),
    }
    return [name for name, there in needed.items() if not there]


class Cable:
    """
    Within a with statement this thread is in the site's network, and so is whatever it
    starts: processes, threads, connections.
    """

    def __enter__(self) -> "Cable":
        with contextlib.ExitStack() as stack:
            self._before = _current(stack)
            # Whatever fails below, what comes after this test is where it was.
            stack.callback(os.setns, self._before, os.CLONE_NEWNET)
            os.unshare(os.CLONE_NEWNET)
            self._servers = _current(stack)
            os.unshare(os.CLONE_NEWNET)
            there = f"/proc/{os.getpid()}/fd/{self._servers}"
            _run(f"ip link add cable type veth peer name cable netns {there}")
            _connect(SITE)
            with self.servers_end():
                _connect(SERVER)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def servers_end(self) -> Iterator[None]:
        """Be in the server's network."""
        with contextlib.ExitStack() as stack:
            here = _current(stack)
            os.setns(self._servers, os.CLONE_NEWNET)
            stack.callback(os.setns, here, os.CLONE_NEWNET)
            yield

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Lose all packets."""
        self._rules("-A INPUT -i cable", "-A OUTPUT -o cable")
        yield
        self._rules("-D INPUT -i cable", "-D OUTPUT -o cable")

    def forget(self, port: int) -> None:
        """Lose the packets of the connection that has this port at the site's end."""
        self._rules(
            f"-A INPUT -p tcp --sport {port}", f"-A OUTPUT -p tcp --dport {port}"
        )

    def _rules(self, *rules: str) -> None:
        with self.servers_end():
            for rule in rules:
                _run(f"iptables -w {rule} -j DROP")


def _current(stack: contextlib.ExitStack) -> int:
    """Open the network that this thread is in."""
    network = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    stack.callback(os.close, network)
    return network


def _connect(address: str) -> None:
    _run("ip link set lo up")
    _run(f"ip address add {address}/30 dev cable")
    _run("ip link set cable up")


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)
