"""What can happen between a site and its server: see test_of_the_server.py."""

import time

import pytest

from .. import servers
from .cable import SERVER, SITE, Cable, missing
from .conftest import KEEPING, PASSWORD

#: Seconds that a reply is late, when there is still time for it, and when not.
SLOW, TOO_SLOW = 0.2, 2
#: Seconds for which no packet arrives.
LOST = 5


def test_connections_break(far_site, proxy, visited):
    with visited(far_site) as load:
        for _ in range(10):
            proxy.cut()
            load.wait_until_saved()


def test_connections_are_forgotten_on_the_way(far_site, proxy, visited):
    with visited(far_site) as load:
        proxy.forget()
        load.wait_for_error("did not answer within")


def test_nothing_comes_through(far_site, proxy, visited):
    with visited(far_site) as load:
        proxy.on_reply = lambda data, send: None
        load.wait_for_error("did not answer within")
        proxy.on_reply = None
        proxy.cut()


def test_replies_are_slow(far_site, proxy, visited):
    with visited(far_site) as load:
        proxy.on_reply = late(SLOW)
        for _ in range(3):
            load.wait_until_saved()
        proxy.on_reply = None
    assert load.errors() == {}


def test_replies_are_too_slow(far_site, proxy, visited):
    with visited(far_site) as load:
        proxy.on_reply = late(TOO_SLOW)
        load.wait_for_error("did not answer within")
        proxy.on_reply = None


def late(seconds):
    def pass_on(data, send):
        time.sleep(seconds)
        send(data)

    return pass_on


def test_replies_are_garbage(far_site, proxy, visited):
    with visited(far_site) as load:
        proxy.on_reply = lambda data, send: send(bytes(byte ^ 0x55 for byte in data))
        load.wait_for_error("Valkey at")
        proxy.on_reply = None


@pytest.mark.parametrize("seal", [True, False])
def test_replies_come_twice(serve, proxy, visited, seal):
    location = f"valkey://:{PASSWORD}@127.0.0.1:{proxy.port}/0"
    with serve(LOCATION=location, SEAL=seal) as site, visited(site) as load:
        proxy.on_reply = lambda data, send: send(data + data)
        for _ in range(20):
            load.wait_until_saved()
        proxy.on_reply = None
    assert all("do not belong" in text for text in load.errors())


# Packets, as a firewall or a router loses them.


@pytest.fixture
def cable():
    if lacking := missing():
        pytest.skip(f"a network of one's own needs {' and '.join(lacking)}")
    if isinstance(servers.backend(), servers.Docker):
        pytest.skip("a container has a network already")
    with Cable() as cable:
        yield cable


@pytest.fixture
def distant_server(cable):
    """A server at the other end of the cable."""
    with cable.servers_end():
        server = servers.Server(
            *KEEPING, "--bind", f"127.0.0.1 {SERVER}", password=PASSWORD
        )
    yield server
    server.close()


@pytest.fixture
def distant_site(serve, distant_server):
    location = f"valkey://:{PASSWORD}@{SERVER}:{distant_server.port}/0"
    with serve(LOCATION=location) as port:
        yield port


def test_packets_are_lost_for_a_while(distant_site, cable, visited):
    with visited(distant_site) as load, cable.cut():
        load.wait_for_error("did not answer within")
        time.sleep(LOST)


def test_packets_of_old_connections_are_lost_for_good(
    distant_site, cable, distant_server, visited
):
    with visited(distant_site) as load:
        for port in ports_at_the_site(cable, distant_server):
            cable.forget(port)
        load.wait_for_error("did not answer within")


def ports_at_the_site(cable, server):
    """Return which ports the connections of the site have there."""
    with cable.servers_end(), server.connect() as valkey:
        ends = (client["addr"].rsplit(":", 1) for client in valkey.client_list())
    return [int(port) for host, port in ends if host == SITE]
