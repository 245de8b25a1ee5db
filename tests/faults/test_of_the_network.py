"""What can happen between a site and its server: see test_of_the_server.py."""

import time

#: Seconds that a reply is late, when there is still time for it, and when not.
SLOW, TOO_SLOW = 0.2, 2


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
