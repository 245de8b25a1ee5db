"""The tests' own servers: which they are, what they can, and that none is left over."""

import os
import signal
import subprocess
import sys

import docker
import pytest
import valkey as valkey_client
from demo.ports import HOST, answers

from . import servers
from .servers import containers

NOWHERE = "unix:///no/engine/is/here.sock"


def run_pytest(**environment):
    """Run a test that needs no server, in a process of its own; return how it went."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("VALKEY_")}
    test = "tests/test_flow.py::test_a_flow_without_a_trip_gives_its_result"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--quiet", test],
        cwd=servers.ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"VALKEY_BACKEND": "docker", "DOCKER_HOST": NOWHERE}, "no engine answers"),
        ({"VALKEY_BACKEND": "podman"}, "VALKEY_BACKEND is 'podman'"),
    ],
)
def test_a_backend_that_was_asked_for_and_is_missing_is_an_error(environment, said):
    done = run_pytest(**environment)
    assert done.returncode == 2
    assert said in done.stdout + done.stderr


def test_without_an_engine_the_servers_are_processes_and_that_is_said():
    done = run_pytest(DOCKER_HOST=NOWHERE)
    assert done.returncode == 0
    assert "embedded (docker not used: no engine answers" in done.stdout


# What they can.


def test_a_server_has_after_a_kill_what_it_had_appended(own_server):
    with own_server.connect() as valkey:
        valkey.config_set("appendfsync", "always")
        valkey.set("key", "value")
    own_server.kill()
    assert not own_server.is_up()
    own_server.start()
    with own_server.connect() as valkey:
        assert valkey.get("key") == b"value"


def test_a_server_that_hangs_answers_later(own_server):
    own_server.pause()
    with (
        own_server.connect(socket_timeout=0.2) as valkey,
        pytest.raises(valkey_client.TimeoutError),
    ):
        valkey.ping()
    own_server.resume()
    with own_server.connect() as valkey:
        assert valkey.ping()


def test_a_server_that_hangs_can_be_closed():
    server = servers.Server()
    server.pause()
    server.close()
    assert not server.is_up()


def test_a_server_that_does_not_start_is_an_error_that_says_why():
    with pytest.raises(servers.NotStarted, match="maxmemory"):
        servers.Server("--maxmemory", "a lot")


def test_sentinels_move_to_the_replica_when_the_primary_is_gone():
    primary = servers.Server()
    replica = servers.replica(primary)
    sentinels = servers.sentinels(primary, "sessions", count=1)

    def is_moved():
        with sentinels[0].connect() as sentinel:
            return sentinel.sentinel_master("sessions")["port"] == replica.port

    try:
        primary.kill()
        servers.wait_until(is_moved)
        with replica.connect() as valkey:
            assert valkey.info("replication")["role"] == "master"
    finally:
        for server in (*sentinels, replica, primary):
            server.close()


# What is left when a test run is killed.

RUN = """
import sys
sys.path[:0] = ["testproject", "."]
from tests import servers
print(servers.Server().port, flush=True)
sys.stdin.read()
"""


def kill_a_run(**environment):
    """Kill a run that has started a server; return its process id and the port."""
    run = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", RUN],
        cwd=servers.ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with run:
        port = int(run.stdout.readline())
        assert answers(HOST, port)
        run.send_signal(signal.SIGKILL)
    return run.pid, port


@pytest.mark.parametrize("path", [os.environ["PATH"], ""], ids=["setpriv", "watchdog"])
def test_a_killed_run_leaves_no_process(path):
    _, port = kill_a_run(VALKEY_BACKEND="embedded", PATH=path)
    servers.wait_until(lambda: not answers(HOST, port))


def test_the_next_run_removes_the_containers_of_a_killed_one():
    if not str(servers.backend()).startswith("docker"):
        pytest.skip("the tests' servers are no containers: see tests/with-docker")
    process, port = kill_a_run(VALKEY_BACKEND="docker")
    client = docker.from_env()
    try:
        runs = lambda: {run_of(container) for container in client.containers.list()}  # noqa: E731
        assert runs() == {process, os.getpid()}
        containers.remove_orphans(client)
        assert runs() == {os.getpid()}
    finally:
        client.close()
    assert not answers(HOST, port)


def run_of(container):
    return int(container.labels[containers.LABEL].rpartition(":")[2])
