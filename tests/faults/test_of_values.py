"""What can stand in the server in the place of a session: a new login always works."""

import pytest

from django_valkey_sessions import codec, keys

from .. import servers
from .load import log_in, logged_in


@pytest.fixture(scope="module")
def server():
    server = servers.Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def site(serve, server):
    with serve(LOCATION=server.url) as port:
        yield port


def cut(blob):
    return blob[: len(blob) // 2]


def damage(blob):
    return blob[:-1] + bytes([blob[-1] ^ 1])


def foreign(blob):
    return b'{"_auth_user_id": "1"}'


def huge(blob):
    return blob * 100_000


def empty(blob):
    return b""


def of_another(blob):
    """A value that is whole, but sealed for another session, with the same secret."""
    return codec.pack(b'{"_auth_user_id":"1"}', "0" * 32, 1)


@pytest.mark.parametrize("make", [cut, damage, foreign, huge, empty, of_another])
def test_what_is_unreadable_is_no_session_and_stays(site, server, make):
    with server.connect() as valkey:
        visitor, key = session_at(site)
        value = make(valkey.get(key))
        valkey.set(key, value)
        a_new_login_works(site, visitor)
        assert valkey.get(key) == value


@pytest.mark.parametrize("kind", ["hash", "list", "set"])
def test_what_is_no_string_is_no_session_and_stays(site, server, kind):
    with server.connect() as valkey:
        visitor, key = session_at(site)
        valkey.delete(key)
        if kind == "hash":
            valkey.hset(key, "_auth_user_id", "1")
        elif kind == "list":
            valkey.rpush(key, "1")
        else:
            valkey.sadd(key, "1")
        a_new_login_works(site, visitor)
        assert valkey.type(key) == kind.encode()


def session_at(site):
    """Return a visitor who is logged in, and where the server has the session."""
    visitor = logged_in(site)
    id = keys.session_id(visitor.cookies["sessionid"])
    return visitor, keys.stored_key("session:", id)


def a_new_login_works(site, visitor):
    old = visitor.cookies["sessionid"]
    assert visitor.get("/data/").json() == {"user": None, "session": {}}
    assert log_in(visitor).status == 302
    assert visitor.get("/data/").json()["user"] == "demo"
    assert visitor.cookies["sessionid"] != old
