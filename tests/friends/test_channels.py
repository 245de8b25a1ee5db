"""Consumers of Channels, reached by real WebSockets."""

import json
from contextlib import contextmanager

import pytest
from demo.walk import Visitor
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from django_valkey_sessions import keys, sessions

APPLICATION = "tests.friends.channels_site.asgi:application"
ENDED = 4401

each_consumer = pytest.mark.parametrize("consumer", ["blocking", "awaiting"])


@pytest.fixture(scope="module")
def way():
    return "uvicorn"


@pytest.fixture
def visitor(site):
    visitor = Visitor(site.port)
    log_in(visitor)
    return visitor


def log_in(visitor):
    visitor.get("/login/")
    assert visitor.post("/login/", username="demo", password="demo").status == 302


def id_of(visitor):
    return keys.session_id(visitor.cookies["sessionid"])


@contextmanager
def socket(site, visitor, consumer):
    cookie = f"sessionid={visitor.cookies['sessionid']}"
    url = f"ws://127.0.0.1:{site.port}/{consumer}/"
    with connect(url, additional_headers={"Cookie": cookie}) as socket:
        ask(socket)  # It is accepted, and the consumer follows its session.
        yield socket


def ask(socket, **content):
    socket.send(json.dumps(content))
    return json.loads(socket.recv(30))


def close_of(socket):
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(30)
    return closed.value.rcvd.code, closed.value.rcvd.reason


@each_consumer
def test_consumer_and_requests_lose_nothing_of_each_other(site, visitor, consumer):
    visitor.post("/set/before/", value="1")
    with socket(site, visitor, consumer) as desk:
        assert ask(desk)["before"] == "1"
        visitor.post("/set/parallel/", value="2")
        visitor.post("/aset/before/", value="changed")
        seen = ask(desk, set={"mine": 3})
    kept = visitor.get("/data/").json()["session"]
    assert (kept["before"], kept["parallel"], kept["mine"]) == ("changed", "2", 3)
    # Its save has brought in what the requests have changed.
    assert seen == kept


def log_out(site, visitor):
    assert visitor.post("/logout/").status == 200


def cycle(site, visitor):
    assert visitor.post("/cycle/").status == 302


@each_consumer
@pytest.mark.parametrize(("end", "reason"), [(log_out, "logout"), (cycle, "moved")])
def test_a_websocket_is_told_at_once(site, visitor, consumer, end, reason):
    with socket(site, visitor, consumer) as desk:
        end(site, visitor)
        assert close_of(desk) == (ENDED, reason)


def test_another_process_tells_at_once_if_it_has_imported_the_consumers(site, visitor):
    with socket(site, visitor, "awaiting") as desk:
        site.manage("valkey_sessions", "revoke", id_of(visitor))
        assert close_of(desk) == (ENDED, "revoked")


def revoke_silently(site, visitor):
    """As another process, which knows nothing of consumers."""
    assert sessions.revoke_user("1") >= 1


def let_expire(site, visitor):
    with site.valkey.connect() as valkey:
        assert valkey.pexpire(f"session:{id_of(visitor)}", 100)


@pytest.mark.parametrize("end", [revoke_silently, let_expire])
def test_what_nobody_tells_is_seen_soon(site, visitor, end):
    with socket(site, visitor, "looking") as desk:
        end(site, visitor)
        assert close_of(desk) == (ENDED, "gone")
