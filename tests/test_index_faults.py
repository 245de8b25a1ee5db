# ruff: noqa: F811, fixtures of test_index.py
"""
The index of a user's sessions in a cluster, when the node that holds it, or that of the
session, hangs, dies, or is late. Each test states a promise.
"""

import contextlib
import time
from threading import Event, Thread

import pytest

from django_valkey_sessions import client, index, keys, scripts, sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.exceptions import ReplyLost, SessionStoreUnavailable

from .test_index import (  # noqa: F401
    change,
    entries,
    id_of,
    new_session,
    nothing_noted,
    opened,
)


@pytest.fixture(autouse=True)
def taught(clustered):
    """
    Let the nodes know the scripts, as after the first requests: whether another test
    has taught them is chance, and who has to send a script twice loses it only once.
    """
    for node in clustered:
        with node.connect() as connection:
            for script in (scripts.SWAP, scripts.FOLLOW, scripts.TOUCH):
                connection.script_load(script)


def node_of(nodes, key):
    """Return the primary that has this key."""
    with nodes[0].connect() as connection:
        slot = connection.execute_command("CLUSTER", "KEYSLOT", key)
    return nodes[min(2, slot * 3 // 16384)]


@pytest.fixture
def hung(clustered):
    """Let the node of a user's index hang, for a block."""

    @contextlib.contextmanager
    def hung(user="7"):
        node = node_of(clustered, keys.index_key("session:", user))
        node.pause()
        try:
            yield
        finally:
            node.resume()

    return hung


@pytest.fixture
def elsewhere(clustered):
    """Return a new session that is not on the node of its user's index."""

    def elsewhere(call, user="7", **data):
        index_node = node_of(clustered, keys.index_key("session:", user))
        while True:
            session = new_session(call, user, **data)
            node = node_of(clustered, keys.stored_key("session:", id_of(session)))
            if node is not index_node:
                return session

    return elsewhere


def test_touching_does_not_fail_because_the_index_hangs(call, elsewhere, hung, change):
    change(TOUCH_INTERVAL=0)
    session = opened(call, elsewhere(call))
    with hung():
        assert call(session, "touch") is True


def test_saving_does_not_fail_because_the_index_hangs(call, elsewhere, hung):
    session = opened(call, elsewhere(call))
    with hung():
        call(session, "update", {"a": 1})
        call(session, "save")
        assert opened(call, session)["a"] == 1


def test_a_new_key_does_not_fail_because_the_index_hangs(call, elsewhere, hung):
    session = opened(call, elsewhere(call))
    with hung(), contextlib.suppress(SessionStoreUnavailable):
        # The new one may be on the node that hangs.
        call(session, "cycle_key")
    assert opened(call, session).session_key is not None


def test_logging_out_does_not_fail_because_the_index_hangs(call, elsewhere, hung):
    session = opened(call, elsewhere(call))
    key = session.session_key
    with hung():
        call(session, "flush")
        assert SessionStore(key).load() == {}


def test_a_save_without_an_entry_is_told_of(call, elsewhere, hung, caplog):
    session = opened(call, elsewhere(call))
    with hung():
        call(session, "update", {"a": 1})
        call(session, "save")
    assert "index of users' sessions can't be written" in caplog.text


@pytest.fixture
def lossy(monkeypatch):
    """
    Lose the connection of the index's node before it gets anything, with the whole
    round trip, until told otherwise.
    """
    execute, aexecute = client.execute, client.aexecute
    losing = []

    def remains(trip):
        lost = isinstance(trip, tuple) and any(
            index.FOLLOW in command or index.FOLLOW.sha in command for command in trip
        )
        if not (losing and lost):
            return trip, False
        return trip[:1], True

    def blocking(trip):
        trip, lost = remains(trip)
        reply = execute(trip)
        if lost:
            raise ReplyLost("lost")
        return reply

    async def awaiting(trip):
        trip, lost = remains(trip)
        reply = await aexecute(trip)
        if lost:
            raise ReplyLost("lost")
        return reply

    monkeypatch.setattr(client, "execute", blocking)
    monkeypatch.setattr(client, "aexecute", awaiting)
    return losing


def test_a_save_whose_reply_is_lost_enters_its_session(call, clustered, lossy, entries):
    session = opened(call, new_session(call, None))
    lossy.append(True)
    call(session, "update", {"_auth_user_id": "7"})
    call(session, "save")
    lossy.clear()
    assert opened(call, session)["_auth_user_id"] == "7"
    assert list(entries()) == [id_of(session)]


def test_a_node_that_hangs_and_dies_leaves_no_login_without_an_entry(
    call, clustered, entries, monkeypatch, caplog
):
    """As the index's node is stopped and replaced; its queue is lost with it."""
    session = opened(call, new_session(call, None))
    while node_of(clustered, keys.stored_key("session:", id_of(session))) is node_of(
        clustered, keys.index_key("session:", "7")
    ):
        session = opened(call, new_session(call, None))
    node = node_of(clustered, keys.index_key("session:", "7"))
    node.pause()
    try:
        call(session, "update", {"_auth_user_id": "7"})
        call(session, "save")
    finally:
        node.resume()
    # It carries out what is in its queue, if the connection stood.
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline and not entries():
        time.sleep(0.05)
    assert list(entries()) == [id_of(session)]


def test_a_late_write_is_not_forgotten_before_it_comes(clustered, monkeypatch, entries):
    """Nobody can see the entry of a session that is not stored yet."""
    execute = client.execute
    begun, looked = Event(), Event()

    def blocking(trip):
        if trip[0] == "SET" and not begun.is_set():
            begun.set()
            looked.wait(5)
        return execute(trip)

    monkeypatch.setattr(client, "execute", blocking)
    session = SessionStore()
    session["_auth_user_id"] = "7"
    login = Thread(target=session.save)
    login.start()
    assert begun.wait(5)
    assert sessions.for_user("7") == []
    looked.set()
    login.join()
    assert list(entries()) == [id_of(session)]
