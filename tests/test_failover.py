"""
Another server becomes the primary while sessions are written: the engine follows by
itself, keeps what it was told is saved, and saves nothing twice.
"""

import asyncio
import collections
import contextlib
import itertools
import logging
import threading
import time

import pytest
import valkey

from django_valkey_sessions import client
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.exceptions import SessionStoreUnavailable

from . import servers

#: Seconds within which sessions are saved again after the server's own failover. It is
#: meant to take two at the most, on a machine that has nothing else to do.
PATIENCE = 10


class Writers:
    """Two threads and an event loop that save sessions all the time."""

    def __init__(self):
        self.ended = threading.Event()
        self.keys = [self._new() for _ in range(12)]
        self.tried = collections.Counter()
        self.saved = {key: [] for key in self.keys}
        self.times = {key: [] for key in self.keys}
        self.unexpected = []
        mine = self.keys[::3], self.keys[1::3]
        self.threads = [
            *(threading.Thread(target=self._blocking, args=[keys]) for keys in mine),
            threading.Thread(
                target=asyncio.run, args=[self._awaiting(self.keys[2::3])]
            ),
        ]

    def _new(self):
        session = SessionStore()
        session["done"] = []
        session.save()
        return session.session_key

    def _blocking(self, keys):
        while not self.ended.wait(0.005):
            for key in keys:
                with self._attempt(key) as number:
                    session = SessionStore(key)
                    session["done"] = [*session["done"], number]
                    session.save()

    async def _awaiting(self, keys):
        while not self.ended.is_set():
            await asyncio.gather(*map(self._await_one, keys))
            await asyncio.sleep(0.005)

    async def _await_one(self, key):
        with self._attempt(key) as number:
            session = SessionStore(key)
            await session.aset("done", [*(await session.aget("done")), number])
            await session.asave()

    @contextlib.contextmanager
    def _attempt(self, key):
        self.tried[key] += 1
        number = self.tried[key]
        try:
            yield number
        except SessionStoreUnavailable:
            return
        except Exception as error:
            self.unexpected.append(error)
            return
        self.saved[key].append(number)
        self.times[key].append(time.monotonic())

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.wait_for_all()
        return self

    def wait_for_all(self, timeout=PATIENCE):
        """Wait until every session has been saved again."""
        now = time.monotonic()
        servers.wait_until(
            lambda: all(times and times[-1] > now for times in self.times.values()),
            timeout,
        )

    def __exit__(self, *error):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def gap(self):
        """Return the longest time for which one of the sessions was not saved."""
        return max(
            after - before
            for times in self.times.values()
            for before, after in itertools.pairwise(times)
        )

    def check(self):
        assert self.unexpected == []
        for key in self.keys:
            counts = collections.Counter(SessionStore(key)["done"])
            assert [n for n in self.saved[key] if counts[n] != 1] == []
            assert max(counts.values()) == 1


@pytest.fixture
def log(caplog):
    """What the engine tells the log."""
    caplog.set_level(logging.INFO, "django_valkey_sessions")
    return caplog


@pytest.fixture
def using(settings):
    """Use the engine, blocking and awaiting, with servers that end with the test."""
    started = []

    def use(location, nodes, **others):
        started.extend(nodes)
        settings.SESSION_ENGINE = "django_valkey_sessions.backend"
        settings.VALKEY_SESSIONS = {"LOCATION": location, "ASYNC": "native", **others}

    yield use
    client.close()
    for node in started:
        node.close()


def is_primary(server):
    # A sentinel breaks all connections to a server when it makes another one of it.
    with contextlib.suppress(valkey.ConnectionError), server.connect() as connection:
        return connection.execute_command("ROLE")[0] == b"master"


def follows(writers, fault, promoted):
    """Let the fault happen, and wait until all sessions are saved again."""
    began = time.monotonic()
    fault()
    servers.wait_until(promoted)
    took = time.monotonic() - began
    writers.wait_for_all()
    gap = writers.gap()
    print(f"primary after {took:.2f} s, saved after {gap:.2f}, {gap - took:.2f} more")


def told(log):
    """Wait until the log says that it is back; return which of its lines do."""
    servers.wait_until(lambda: any("again" in line for line in log.messages))
    return ["again" in line for line in log.messages]


# A server and a replica, both in LOCATION.


@pytest.fixture
def pair(using):
    primary = servers.Server()
    replica = servers.replica(primary)
    using([primary.url, replica.url], [primary, replica])
    return primary, replica


def test_primary_and_replica_change_places(pair, log):
    primary, replica = pair
    with Writers() as writers:
        follows(
            writers, lambda: servers.swap(primary, replica), lambda: is_primary(replica)
        )
        lines = told(log)
    writers.check()
    assert lines == [False, True]


def test_failover_on_command(pair):
    primary, replica = pair

    def failover():
        with primary.connect() as connection:
            connection.execute_command("FAILOVER")

    with Writers() as writers:
        follows(writers, failover, lambda: is_primary(replica))
    writers.check()


def promote(replica):
    with replica.connect() as connection:
        connection.replicaof("NO", "ONE")


@pytest.mark.parametrize("end", ["kill", "pause"])
def test_replica_takes_the_place_of_a_primary_that_is_gone(pair, end):
    primary, replica = pair

    def fault():
        getattr(primary, end)()
        promote(replica)

    with Writers() as writers:
        follows(writers, fault, lambda: is_primary(replica))
    writers.check()


# Sentinels.


@pytest.fixture
def watched(using):
    primary = servers.Server()
    replica = servers.replica(primary)
    watching = servers.sentinels(primary, "main")
    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in watching)
    using(f"sentinel://{hosts}/main", [primary, replica, *watching])
    return primary, replica, watching


@pytest.mark.parametrize("end", ["kill", "pause"])
def test_sentinels_name_the_new_primary(watched, end, log):
    primary, replica, watching = watched

    def named():
        for sentinel in watching:
            with sentinel.connect() as connection:
                if connection.sentinel_master("main")["port"] == replica.port:
                    return True
        return False

    with Writers() as writers:
        follows(writers, getattr(primary, end), named)
        lines = told(log)
    writers.check()
    assert lines == [False, True]


# A cluster.


@pytest.fixture(scope="module")
def nodes():
    """A cluster that loses nodes."""
    nodes = servers.cluster()
    yield nodes
    for node in nodes:
        node.close()


@pytest.mark.parametrize(("end", "number"), [("kill", 1), ("pause", 2)])
def test_cluster_promotes_a_replica(nodes, using, end, number, log):
    using([nodes[0].url, nodes[number].url], [], CLUSTER=True)
    with Writers() as writers:
        fault = getattr(nodes[number], end)
        follows(writers, fault, lambda: is_primary(nodes[number + 3]))
        lines = told(log)
    writers.check()
    assert lines == [False, True]
