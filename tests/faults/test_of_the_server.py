"""
What can happen to the server, while visitors use a site. After each of these they go
on, without a restart of the site: nobody was logged out, nothing that the site said was
saved is lost, no request hung, and the error named the cause.
"""

import time

import pytest

from .. import servers
from .conftest import KEEPING, PASSWORD

#: Seconds for which a server hangs.
HANGING = 5


def test_killed_and_started_again(site, own_server, visited):
    with visited(site) as load:
        own_server.kill()
        load.wait_for_error("Is it running")
        own_server.start()


def test_it_hangs(site, own_server, visited):
    with visited(site) as load:
        own_server.pause()
        load.wait_for_error("did not answer within")
        time.sleep(HANGING)
        own_server.resume()


def test_it_is_full_and_evicts_nothing(site, own_server, visited):
    with own_server.connect() as valkey, visited(site) as load:
        valkey.config_set("maxmemory", "1")
        load.wait_for_error("has used all the memory it may")
        valkey.config_set("maxmemory", "0")


def test_it_has_too_few_replicas_to_take_changes(site, own_server, visited):
    with own_server.connect() as valkey, visited(site) as load:
        valkey.config_set("min-replicas-to-write", "1")
        load.wait_for_error("NOREPLICAS")
        valkey.config_set("min-replicas-to-write", "0")


def test_its_password_is_another(site, own_server, visited):
    with own_server.connect() as valkey, visited(site) as load:
        valkey.config_set("requirepass", "another")
        disconnect(valkey)
        load.wait_for_error("refuses the user or password")
        valkey.config_set("requirepass", PASSWORD)


def test_it_takes_no_more_clients(site, own_server, visited):
    with own_server.connect() as valkey, visited(site) as load:
        valkey.config_set("maxclients", "1")
        disconnect(valkey)
        load.wait_for_error("too many clients")
        valkey.config_set("maxclients", "100")


def disconnect(valkey):
    """Break all connections but this one."""
    valkey.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_it_loads_its_data(site, own_server, visited):
    with own_server.connect() as valkey, visited(site) as load:
        for number in range(100):
            valkey.set(f"ballast:{number}", "x" * 2000)
        # So that it answers meanwhile, which it does after each such part.
        valkey.config_set("loading-process-events-interval-bytes", "1024")
        valkey.config_set("key-load-delay", "30000")
        valkey.execute_command("DEBUG", "RELOAD")
        load.wait_for_error("is still loading its data")


def test_it_forgets_its_scripts(site, own_server, visited):
    with own_server.connect() as valkey, visited(site) as load:
        for _ in range(20):
            valkey.script_flush()
            load.wait_until_saved()
    assert load.errors() == {}


@pytest.fixture
def pair():
    primary = servers.Server(*KEEPING)
    replica = servers.replica(primary)
    yield primary, replica
    replica.close()
    primary.close()


def test_it_becomes_a_replica(serve, pair, visited):
    with serve(LOCATION=[s.url for s in pair]) as site, visited(site) as load:
        for primary, replica in (pair, pair[::-1], pair):
            servers.swap(primary, replica)
            load.wait_until_saved()
    assert all(
        # Without writes for so long, while the replica got the last of them.
        "takes no writes" in text or "did not answer within" in text
        for text in load.errors()
    )


@pytest.fixture
def own_cluster():
    nodes = servers.cluster(*KEEPING, replicas=0)
    yield nodes
    for node in nodes:
        node.close()


def test_a_cluster_is_not_complete(serve, own_cluster, visited):
    locations = [node.url for node in own_cluster]
    with serve(LOCATION=locations, CLUSTER=True) as site, visited(site) as load:
        own_cluster[2].kill()
        servers.wait_until(lambda: not is_complete(own_cluster[0]))
        # GLIDE asks again as long as it may, and does not always say what it was told.
        load.wait_for_error("not complete at the moment", "did not answer within")
        own_cluster[2].start()


def is_complete(node):
    with node.connect() as connection:
        return b"cluster_state:ok" in connection.execute_command("CLUSTER", "INFO")
