"""What can happen to a process of the site: see test_of_the_server.py."""

import http.client

import pytest
from demo.walk import Visitor

from .load import log_in

LOGIN = {"username": "demo", "password": "demo"}


@pytest.fixture(scope="module")
def way():
    """One request at a time: a process takes nobody else's along when it ends."""
    return "gunicorn"


@pytest.fixture
def site(serve, own_server):
    middleware = "tests.faults.killed.after_one_change"
    with serve(middleware, LOCATION=own_server.url) as port:
        yield port


@pytest.mark.parametrize(
    ("user", "path", "fields"),
    [(None, "/login/", LOGIN), ("demo", "/cycle/", {})],
    ids=["login", "cycle"],
)
def test_killed_between_the_steps_to_a_new_key(
    site, own_server, visited, user, path, fields
):
    visitor = Visitor(site)
    visitor.get("/login/")  # For its CSRF token.
    if user is not None:
        log_in(visitor)
    visitor.post("/set/kept/", value="this")
    old = visitor.cookies["sessionid"]
    with visited(site) as load, own_server.connect() as valkey:
        before = sessions_in(valkey)
        with pytest.raises((OSError, http.client.HTTPException)):
            visitor.post(f"{path}?killed", **fields)
        assert sessions_in(valkey) == before + 1  # The new one, which nobody will use.
        assert visitor.cookies["sessionid"] == old
        assert has(visitor, user)
        assert visitor.post(path, **fields).status == 302
        assert visitor.cookies["sessionid"] != old
        assert has(visitor, "demo")
    assert load.errors() == {}


def sessions_in(valkey):
    return len([key for key in valkey.scan_iter("session:*") if b"user" not in key])


def has(visitor, user):
    """Return True if this is who they are, and they have what they had."""
    seen = visitor.get("/data/").json()
    return (seen["user"], seen["session"]["kept"]) == (user, "this")
