"""
What a request costs, as the server counts it: the calls of each command in
``INFO commandstats``, in the steady state; with the stock middleware first.

Commands that a script calls are counted there, too: an EVALSHA of ours calls GETRANGE,
and then SET, or UNLINK where it removes a session that has got a new key; and those for
the index of the user's sessions.
"""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_valkey_sessions import client
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.conf import Conf

pytestmark = pytest.mark.usefixtures("stock_middleware")

SAVED = {"evalsha": 1, "getrange": 1, "set": 1}
MOVED = {"set": 1, "evalsha": 1, "getrange": 1, "unlink": 1}
INDEXED = dict.fromkeys(("time", "zremrangebyscore", "zadd", "zrange", "expireat"), 1)


@pytest.fixture
def cost(own_engine, settings):
    """Do something; return what it cost: commands, and round trips."""
    # The server knows the scripts.
    warm = SessionStore()
    warm.create()
    warm.cycle_key()
    warm["_auth_user_id"] = "0"
    warm.save()
    warm.cycle_key()
    before = settings.VALKEY_SESSIONS
    settings.VALKEY_SESSIONS = {**before, "TOUCH_INTERVAL": 0}
    warm.touch()
    settings.VALKEY_SESSIONS = before
    warm.flush()

    def cost(work):
        with own_engine.connect() as valkey:
            valkey.config_resetstat()
            with client.record() as trips:
                work()
            stats = valkey.info("commandstats")
        counts = {
            name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()
        }
        # What this very question costs.
        for name in ("config|resetstat", "info", "client|setinfo"):
            counts.pop(name, None)
        return counts, len(trips)

    return cost


@pytest.fixture
def our_middleware(stock_middleware, settings):
    settings.MIDDLEWARE = [
        name.replace("contrib.sessions.middleware", "valkey").replace(
            "django.valkey", "django_valkey_sessions.middleware"
        )
        for name in settings.MIDDLEWARE
    ]


@pytest.fixture
def visitor(db, settings):
    # Django's own takes seconds, on purpose.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    User.objects.create_user("demo", password="demo")
    return Client()


@pytest.fixture
def with_session(visitor):
    visitor.post("/change/", {"what": "count"})
    return visitor


@pytest.fixture
def logged_in(visitor):
    assert visitor.login(username="demo", password="demo")
    return visitor


def together(*counts):
    names = {name for count in counts for name in count}
    return {name: sum(count.get(name, 0) for count in counts) for name in names}


def test_without_a_session_nothing_is_asked(cost, visitor):
    assert cost(lambda: visitor.get("/data/")) == ({}, 0)


def test_reading(cost, logged_in):
    assert cost(lambda: logged_in.get("/data/")) == ({"get": 1}, 1)


@pytest.mark.parametrize("path", ["/change/", "/achange/"])
def test_modifying(cost, with_session, path):
    work = lambda: with_session.post(path, {"what": "count"})  # noqa: E731
    assert cost(work) == (together({"get": 1}, SAVED), 2)


def test_modifying_while_logged_in(cost, logged_in):
    work = lambda: logged_in.post("/change/", {"what": "count"})  # noqa: E731
    assert cost(work) == (together({"get": 1}, SAVED, INDEXED), 2)


def test_without_the_index_it_costs_nothing(cost, logged_in, settings):
    settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, "USER_INDEX": False}
    logged_in.get("/data/")  # Connects anew.
    work = lambda: logged_in.post("/change/", {"what": "count"})  # noqa: E731
    assert cost(work) == (together({"get": 1}, SAVED), 2)


def test_the_first_change(cost, visitor):
    work = lambda: visitor.post("/change/", {"what": "count"})  # noqa: E731
    assert cost(work) == ({"set": 1}, 1)


def test_touching_within_the_throttle(cost, logged_in, settings):
    settings.SESSION_SAVE_EVERY_REQUEST = True
    assert cost(lambda: logged_in.get("/data/")) == ({"get": 1, "pttl": 1}, 1)


def test_touching_beyond_the_throttle(cost, logged_in, settings, own_engine):
    settings.SESSION_SAVE_EVERY_REQUEST = True
    with own_engine.connect() as valkey:
        for key in valkey.scan_iter("session:*"):
            valkey.expire(key, 1000)
    counts = {"get": 1, "pttl": 1, "evalsha": 1, "getrange": 1, "pexpire": 1, **INDEXED}
    assert cost(lambda: logged_in.get("/data/")) == (counts, 2)


def log_in(visitor):
    reply = visitor.post("/login/", {"username": "demo", "password": "demo"})
    assert reply.status_code == 302


def test_logging_in_with_a_session(cost, with_session):
    counts = together({"get": 1}, MOVED, SAVED, INDEXED)
    assert cost(lambda: log_in(with_session)) == (counts, 4)


def test_logging_in_without_a_session(cost, visitor):
    counts = together({"set": 1}, SAVED, INDEXED)
    assert cost(lambda: log_in(visitor)) == (counts, 2)


def test_logging_out(cost, logged_in):
    counts = {"get": 1, "evalsha": 1, "getrange": 1, "unlink": 1, "zrem": 1}
    assert cost(lambda: logged_in.post("/logout/")) == (counts, 2)


# With our middleware.

READ = {"get": 1, "pttl": 1}


@pytest.mark.usefixtures("our_middleware")
def test_logging_in_with_a_session_is_one_write_with_ours(cost, with_session):
    # A script stores it, because its entry in the index comes with it.
    counts = together(READ, MOVED, INDEXED, {"evalsha": 1})
    assert cost(lambda: log_in(with_session)) == (counts, 3)


@pytest.fixture
def renewing(our_middleware, own_engine, settings):
    settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, "RENEW_AFTER": 3600}


@pytest.mark.usefixtures("renewing")
def test_renewing_costs_something_only_when_it_is_due(cost, logged_in, monkeypatch):
    read = lambda: logged_in.get("/data/")  # noqa: E731
    write = lambda: logged_in.post("/change/", {"what": "count"})  # noqa: E731
    assert cost(read) == (READ, 1)
    assert cost(write) == (together(READ, SAVED, INDEXED), 2)
    with monkeypatch.context() as patch:
        patch.setattr(Conf, "RENEW_AFTER", property(lambda conf: 0.0))
        # The new session and its entry, then what leads to it and an entry less.
        counts = together(READ, {"evalsha": 1, "set": 1}, SAVED, INDEXED, {"zrem": 1})
        old = logged_in.cookies["sessionid"].value
        assert cost(read) == (counts, 3)
    new = logged_in.cookies["sessionid"].value
    # To the old key, on to the session, and whether that was renewed as well.
    logged_in.cookies["sessionid"] = old
    assert cost(read) == (together(READ, READ, READ), 3)
    assert logged_in.cookies["sessionid"].value == new
    # That it was received, once.
    confirmed = together(READ, {"pexpire": 1}, SAVED, INDEXED)
    assert cost(read) == (confirmed, 3)
    assert cost(read) == (READ, 1)
