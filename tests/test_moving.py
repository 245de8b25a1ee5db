"""Sessions of the engine that the site had before go on here, and end in both."""

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from demo.walk import Visitor
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.contrib.sessions.backends.file import SessionStore as FileStore
from django.core.cache.backends.base import InvalidCacheKey, memcache_key_warnings
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections
from django.test import Client
from django.utils import timezone
from django.views.debug import ExceptionReporter

from django_valkey_sessions import backend, client, keys, previous, sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.flow import Call
from django_valkey_sessions.moving import move
from django_valkey_sessions.renewal import Bearer
from django_valkey_sessions.scripts import ADOPT

from . import servers
from .test_project import at_once, logged_in

pytestmark = [
    pytest.mark.usefixtures("engine"),
    # The other surface is another thread, which has to see what is stored.
    pytest.mark.django_db(transaction=True),
]

#: Django's engines that keep sessions, and so can end them.
KEEPING = ("db", "cached_db", "file", "cache")


class Kept(SessionBase):
    """An engine as somebody may have written it, of what every engine has to have."""

    sessions = {}

    def load(self):
        return json.loads(self.sessions.get(self.session_key, "{}"))

    def save(self, must_create=False):
        if self.session_key is None:
            self._session_key = self._get_new_session_key()
        self.sessions[self.session_key] = json.dumps(self._get_session(must_create))

    create = save

    def exists(self, session_key):
        return session_key in self.sessions

    def delete(self, session_key=None):
        self.sessions.pop(session_key or self.session_key, None)


class Old:
    """The previous engine, and what it has."""

    def __init__(self, store):
        self.store = store

    def create(self, **values):
        session = self.store()
        session.update(values)
        session.save()
        return session.session_key

    def has(self, session_key):
        return bool(self.store(session_key).load())


@pytest.fixture
def move_from(settings, valkey_sessions, tmp_path, monkeypatch):
    """Choose the previous engine."""
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": str(tmp_path),
        }
    }
    monkeypatch.setattr(FileStore, "_storage_path", str(tmp_path), raising=False)
    monkeypatch.setattr(Kept, "sessions", {})
    module = type(sys)("engine_of_somebody")
    module.SessionStore = Kept
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def choose(name):
        own = name == module.__name__
        path = name if own else f"django.contrib.sessions.backends.{name}"
        valkey_sessions(PREVIOUS_ENGINE=path)
        return Old(previous.in_use().store)

    return choose


@pytest.fixture(params=[*KEEPING, "engine_of_somebody"])
def old(request, move_from):
    return move_from(request.param)


@pytest.fixture
def db(move_from):
    return move_from("db")


def id_of(session_key):
    return keys.session_id(session_key)


def items(call, session_key):
    """Return what this engine has of the session."""
    return dict(call(SessionStore(session_key), "items"))


# Moving.


def test_a_session_of_the_previous_engine_goes_on(call, old):
    session_key = old.create(a=1, b=["x", {"y": None}])
    session = SessionStore(session_key)
    assert dict(call(session, "items")) == {"a": 1, "b": ["x", {"y": None}]}
    assert session.session_key == session_key


def test_once_moved_a_session_is_here(call, old, valkey, engine):
    session_key = old.create(a=1)
    items(call, session_key)
    assert valkey.exists(engine + id_of(session_key))
    old.store().delete(session_key)
    assert items(call, session_key) == {"a": 1}


def test_the_old_copy_is_left_for_hosts_with_the_old_settings(call, old):
    session_key = old.create(a=1)
    items(call, session_key)
    assert old.has(session_key)


def test_a_moved_session_is_saved_here(call, old):
    session_key = old.create(a=1)
    session = SessionStore(session_key)
    call(session, "update", {"b": 2})
    call(session, "save")
    assert items(call, session_key) == {"a": 1, "b": 2}
    assert old.store(session_key).load() == {"a": 1}


def test_a_session_that_was_never_loaded_is_moved_when_it_is_saved(call, old):
    session_key = old.create(a=1)
    session = SessionStore(session_key)
    session.clear()
    call(session, "update", {"b": 2})
    call(session, "save")
    assert items(call, session_key) == {"b": 2}


def test_a_session_that_was_never_loaded_is_moved_to_its_new_key(call, old):
    session_key = old.create(a=1)
    session = SessionStore(session_key)
    session.clear()
    call(session, "update", {"b": 2})
    call(session, "cycle_key")
    assert items(call, session.session_key) == {"b": 2}
    assert not old.has(session_key)
    assert items(call, session_key) == {}


def test_a_session_of_signed_cookies_goes_on_until_it_ends(call, move_from):
    old = move_from("signed_cookies")
    session_key = old.create(a=1)
    session = SessionStore(session_key)
    assert dict(call(session, "items")) == {"a": 1}
    call(session, "flush")
    assert old.has(session_key)  # Which is how this engine is.
    assert items(call, session_key) == {}


def test_a_session_of_signed_cookies_ends_before_it_was_moved(call, move_from):
    session_key = move_from("signed_cookies").create(a=1)
    call(SessionStore(), "delete", session_key)
    assert items(call, session_key) == {}


def test_only_a_miss_asks_the_previous_engine(call, old, monkeypatch):
    session = SessionStore()
    session["a"] = 1
    call(session, "save")
    monkeypatch.setattr(previous.Engine, "read", None)
    assert items(call, session.session_key) == {"a": 1}
    call(SessionStore(session.session_key), "save")
    assert call(SessionStore(), "exists", session.session_key) is True


def test_moving_is_two_round_trips_once(call, old):
    session_key = old.create(a=1)
    with client.record() as first:
        items(call, session_key)
    with client.record() as second:
        items(call, session_key)
    assert first in (
        [("GET",), ("EXISTS", "GET"), ("EVALSHA",)],
        [("GET",), ("EXISTS", "GET"), ("EVAL",)],  # The first one of this process.
    )
    assert second == [("GET",)]


def test_a_session_that_began_here_leaves_nothing_when_it_ends(
    call, old, valkey, engine
):
    session = SessionStore()
    call(session, "update", {"a": 1})
    call(session, "save")
    with client.record() as trips:
        call(session, "flush")
    assert len(trips) == 1
    assert list(valkey.scan_iter(f"{engine}*")) == []


def test_a_session_that_nobody_has_is_no_session(call, old, valkey, engine):
    session = SessionStore("0123456789abcdefghijklmnopqrstuv")
    assert dict(call(session, "items")) == {}
    assert session.session_key is None
    assert list(valkey.scan_iter(f"{engine}*")) == []


@pytest.mark.parametrize(
    "cookie",
    [
        "short",
        "a\x00b" * 9,
        "../../../../etc/passwd",
        "a" * 5000,
        "\udcff" * 9,
        "é" * 9,
    ],
    ids=ascii,
)
@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
def test_a_cookie_that_was_made_up_is_no_session(call, old, cookie):
    session = SessionStore(cookie)
    assert dict(call(session, "items")) == {}
    assert call(SessionStore(), "exists", cookie) is False
    call(SessionStore(), "delete", cookie)


def test_empty_data_are_nothing_to_move(call, old, valkey, engine):
    session_key = old.create()
    assert items(call, session_key) == {}
    assert not valkey.exists(engine + id_of(session_key))


def test_what_the_previous_engine_can_not_read_is_nothing_to_move(call, db, settings):
    session_key = db.create(a=1)
    settings.SECRET_KEY = "another"
    assert items(call, session_key) == {}


def test_data_that_the_serializer_can_not_take_are_an_error(call, move_from):
    session_key = move_from("cache").create(now=timezone.now())
    with pytest.raises(TypeError, match="datetime is not JSON serializable"):
        items(call, session_key)


@pytest.mark.parametrize("kept", [[], {}, "x"], ids=repr)
def test_a_value_that_is_no_session_is_none(call, move_from, kept):
    store = move_from("cache").store("k" * 32)
    store._cache.set(store.cache_key, kept)
    assert items(call, "k" * 32) == {}


class Strict(LocMemCache):
    """Refuses what memcached does."""

    def validate_key(self, key):
        for warning in memcache_key_warnings(key):
            raise InvalidCacheKey(warning)


def test_a_cookie_that_the_cache_refuses_is_no_session(call, move_from, settings):
    old = move_from("cache")
    backend = f"{Strict.__module__}.{Strict.__qualname__}"
    settings.CACHES = {"default": {"BACKEND": backend}}
    assert items(call, old.create(a=1)) == {"a": 1}
    assert items(call, "made up " * 4) == {}


def test_exists_tells_of_both_engines(call, old):
    session_key = old.create(a=1)
    assert call(SessionStore(), "exists", session_key) is True
    call(SessionStore(session_key), "flush")
    assert call(SessionStore(), "exists", session_key) is False
    assert call(SessionStore(), "exists", None) is False


def test_without_expiry_of_keys_exists_tells_of_both_engines(
    call, old, valkey_sessions
):
    valkey_sessions(EXPIRE=False)
    session_key = old.create(a=1)
    assert call(SessionStore(), "exists", session_key) is True
    items(call, session_key)
    assert call(SessionStore(), "exists", session_key) is True


# How long it lives.


def test_the_expiry_is_kept(call, old, valkey, engine):
    session_key = old.create(a=1, _session_expiry=300)
    items(call, session_key)
    assert 295 < valkey.ttl(engine + id_of(session_key)) <= 300


@pytest.mark.parametrize("name", ["db", "cached_db"])
def test_the_expiry_of_a_table_is_that_of_the_row(
    call, move_from, name, valkey, engine
):
    old = move_from(name)
    session_key = old.create(a=1)
    rows = old.store.get_model_class().objects.filter(session_key=session_key)
    rows.update(expire_date=timezone.now() + timedelta(seconds=100))
    items(call, session_key)
    assert 95 < valkey.ttl(engine + id_of(session_key)) <= 100


def test_the_expiry_of_a_file_is_counted_from_its_last_change(
    call, move_from, tmp_path, valkey, engine, settings
):
    session_key = move_from("file").create(a=1)
    then = time.time() - settings.SESSION_COOKIE_AGE + 100
    os.utime(tmp_path / f"sessionid{session_key}", (then, then))
    items(call, session_key)
    assert 95 < valkey.ttl(engine + id_of(session_key)) <= 100


@pytest.mark.parametrize("name", ["db", "cached_db"])
def test_an_expired_row_is_no_session(call, move_from, name):
    old = move_from(name)
    session_key = old.create(a=1)
    old.store.get_model_class().objects.update(expire_date=timezone.now())
    assert items(call, session_key) == {}


def test_an_expired_file_is_no_session_and_left_alone(call, move_from, tmp_path):
    session_key = move_from("file").create(a=1)
    os.utime(tmp_path / f"sessionid{session_key}", (1, 1))
    assert items(call, session_key) == {}
    assert [path.name for path in tmp_path.iterdir()] == [f"sessionid{session_key}"]


def test_a_moved_session_does_not_outlive_max_lifetime(
    call, old, valkey, engine, valkey_sessions
):
    valkey_sessions(MAX_LIFETIME=60)
    session_key = old.create(a=1)
    items(call, session_key)
    assert 55 < valkey.ttl(engine + id_of(session_key)) <= 60


def test_without_expiry_of_keys_the_envelope_keeps_it(
    call, old, valkey, engine, valkey_sessions
):
    valkey_sessions(EXPIRE=False)
    session_key = old.create(a=1, _session_expiry=300)
    items(call, session_key)
    assert valkey.ttl(engine + id_of(session_key)) == -1
    expires = sessions.get(id_of(session_key)).expires
    assert 290 < (expires - timezone.now()).total_seconds() <= 300


# When it has ended here.


def test_logging_out_ends_it_in_both(call, old):
    session_key = old.create(a=1)
    session = SessionStore(session_key)
    call(session, "items")
    call(session, "flush")
    assert not old.has(session_key)
    assert items(call, session_key) == {}


def test_a_session_is_ended_in_both_before_it_was_moved(call, old):
    session_key = old.create(a=1)
    call(SessionStore(), "delete", session_key)
    assert not old.has(session_key)
    assert items(call, session_key) == {}


def test_deleting_no_session_ends_none(call, old):
    session_key = old.create(a=1)
    call(SessionStore(session_key), "delete", "")
    call(SessionStore(), "delete")
    assert old.has(session_key)


def test_a_new_key_ends_the_old_one_in_both(call, old):
    session_key = old.create(a=1)
    session = SessionStore(session_key)
    call(session, "cycle_key")
    assert not old.has(session_key)
    assert items(call, session_key) == {}
    assert items(call, session.session_key) == {"a": 1}


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_what_ended_here_does_not_come_back_from_there(call, old, valkey, engine, how):
    session_key = old.create(a=1)
    items(call, session_key)
    if how == "revoked":
        assert sessions.revoke(id_of(session_key))
    else:
        valkey.delete(engine + id_of(session_key))
    assert old.has(session_key)
    assert items(call, session_key) == {}
    assert call(SessionStore(), "exists", session_key) is False
    session = SessionStore(session_key)
    session.clear()
    with pytest.raises(UpdateError):
        call(session, "save")


def test_ending_all_sessions_ends_those_that_were_moved(call, old):
    session_key = old.create(a=1)
    items(call, session_key)
    assert sessions.clear() == 1
    assert items(call, session_key) == {}


def test_it_is_noted_for_as_long_as_it_could_come_back(
    call, old, valkey, engine, settings
):
    session_key = old.create(a=1, _session_expiry=300)
    items(call, session_key)
    left = valkey.ttl(keys.moved_key(engine, id_of(session_key)))
    assert 290 < left - settings.SESSION_COOKIE_AGE <= 300


def test_what_was_moved_is_noted_where_no_session_is(call, old):
    items(call, old.create(a=1))
    assert [info.size > 0 for info in sessions.iterate()] == [True]
    assert sessions.count() == 1


# Races.


def test_ten_parallel_first_requests_move_it_once(old, before_each_trip, monkeypatch):
    session_key = old.create(a=1)
    found, adopted, barrier = [], [], threading.Barrier(10)
    execute = client.execute

    def recording(trip):
        reply = execute(trip)
        if isinstance(trip, tuple) and trip[0][1] in (ADOPT, ADOPT.sha):
            adopted.append(reply[0])
        return reply

    monkeypatch.setattr(client, "execute", recording)

    def load(number):
        barrier.wait()
        session = SessionStore(session_key)
        found.append((dict(session.items()), session._base.stamp))
        for used in connections.all(initialized_only=True):
            if used.connection is not None:  # Django does not close one in memory.
                used.connection.close()

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(load, range(10)))
    assert [values for values, _ in found] == [{"a": 1}] * 10
    assert len({stamp for _, stamp in found}) == 1
    assert [reply for reply in adopted if len(reply) == 12] == [found[0][1]]


def stepping(flow, before):
    """Drive a flow, with something done before each of its steps."""
    resume, reply = flow.send, None
    while True:
        try:
            step = resume(reply)
        except StopIteration as done:
            return done.value
        before(step)
        try:
            reply = step.blocking() if isinstance(step, Call) else client.execute(step)
            resume = flow.send
        except Exception as error:
            resume, reply = flow.throw, error


def steps_of_a_first_load(old):
    steps = []
    stepping(SessionStore(old.create(a=1))._load(), steps.append)
    return len(steps)


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("how", ["flush", "delete", "cycle_key"])
def test_a_session_that_ends_while_it_is_moved_stays_ended(call, old, how, at):
    assert steps_of_a_first_load(old) == 5
    session_key = old.create(a=1)
    steps = []

    def end(step):
        if len(steps) == at:
            if how == "delete":
                call(SessionStore(), "delete", session_key)
            else:
                call(SessionStore(session_key), how)
        steps.append(step)

    stepping(SessionStore(session_key)._load(), end)
    assert len(steps) > at
    assert items(call, session_key) == {}
    assert not old.has(session_key)


@pytest.mark.parametrize("at", range(5))
def test_a_logout_on_a_host_with_the_old_settings_stays_one(call, old, at):
    session_key = old.create(a=1)
    steps = []

    def end(step):
        if len(steps) == at:
            old.store().delete(session_key)
        steps.append(step)

    found = stepping(SessionStore(session_key)._load(), end)
    assert len(steps) > at
    assert found == {}
    assert items(call, session_key) == {}


def test_what_others_saved_meanwhile_ends_with_the_session(call, old):
    session_key = old.create(a=1)
    steps = []

    def save_and_log_out_over_there(step):
        if len(steps) == 4:
            session = SessionStore(session_key)
            session["b"] = 2
            session.save()
            old.store().delete(session_key)
        steps.append(step)

    loading = SessionStore(session_key)._load()
    assert stepping(loading, save_and_log_out_over_there) == {}
    assert steps[5:] == [(["UNLINK", backend.key_of(id_of(session_key))],)]
    assert items(call, session_key) == {}


@pytest.mark.parametrize("at", range(4))
def test_one_that_another_request_has_moved_is_read_here(call, old, at):
    session_key = old.create(a=1)
    steps = []

    def move(step):
        if len(steps) == at:
            session = SessionStore(session_key)
            session["b"] = 2
            session.save()
        steps.append(step)

    assert stepping(SessionStore(session_key)._load(), move) == {"a": 1, "b": 2}
    assert len(steps) > at


@pytest.mark.parametrize("at", range(3))
def test_one_that_another_request_has_moved_exists(call, old, at):
    session_key = old.create(a=1)
    bearer, steps = Bearer(session_key), []
    reading = previous.reading(previous.in_use(), session_key)

    def move(step):
        if len(steps) == at:
            items(call, session_key)
        steps.append(step)

    assert stepping(SessionStore()._exists(bearer, reading), move) is True
    assert len(steps) > at or at == 2


def test_a_value_that_somebody_else_puts_there_is_no_session(call, old, valkey, engine):
    session_key = old.create(a=1)
    steps = []

    def put(step):
        if len(steps) == 3:
            valkey.lpush(engine + id_of(session_key), "x")
        steps.append(step)

    assert stepping(SessionStore(session_key)._load(), put) == {}
    assert valkey.lrange(engine + id_of(session_key), 0, -1) == [b"x"]


def test_a_cluster_takes_sessions_over_and_ends_them(clustered, move_from, call):
    old = move_from("db")
    session_keys = [old.create(number=n) for n in range(20)]  # Some on every node.
    for number, session_key in enumerate(session_keys):
        assert call(SessionStore(), "exists", session_key) is True
        assert items(call, session_key) == {"number": number}
        assert sessions.revoke(id_of(session_key))
        assert items(call, session_key) == {}
    assert all(map(old.has, session_keys))


def test_a_cluster_takes_pages_of_sessions_over(clustered, move_from):
    old = move_from("db")
    for number in range(20):
        old.create(number=number)
    engine = previous.in_use()
    assert [one.what for one in move(engine, dry_run=True)] == ["moved"] * 20
    assert [one.what for one in move(engine)] == ["moved"] * 20
    assert [one.what for one in move(engine)] == ["here"] * 20


def test_what_is_no_session_is_not_replaced_by_one_from_there(
    call, old, valkey, engine
):
    session_key = old.create(a=1)
    valkey.lpush(engine + id_of(session_key), "x")
    session = SessionStore(session_key)
    session.clear()
    call(session, "update", {"b": 2})
    with pytest.raises(UpdateError):
        call(session, "save")
    assert items(call, session_key) == {}


# Failures.


def break_table(old, session_key, monkeypatch, tmp_path):
    def fail():
        raise OperationalError

    monkeypatch.setattr(old.store, "get_model_class", fail)


def break_file(old, session_key, monkeypatch, tmp_path):
    path = tmp_path / f"sessionid{session_key}"
    path.unlink()
    path.mkdir()


def break_cache(old, session_key, monkeypatch, tmp_path):
    def fail(key):
        raise OSError

    monkeypatch.setattr(old.store()._cache, "get", fail)


def break_load(old, session_key, monkeypatch, tmp_path):
    def fail(self):
        raise OSError

    monkeypatch.setattr(old.store, "load", fail)


BREAKS = {
    "db": break_table,
    "cached_db": break_table,
    "file": break_file,
    "cache": break_cache,
    "engine_of_somebody": break_load,
}


@pytest.fixture(params=BREAKS)
def broken(request, move_from, monkeypatch, tmp_path):
    """A session that can't be read, because the previous engine is down."""
    old = move_from(request.param)
    session_key = old.create(a=1)

    def break_it():
        BREAKS[request.param](old, session_key, monkeypatch, tmp_path)
        return session_key

    return session_key, break_it


DOWN = (OperationalError, OSError)


def test_an_outage_over_there_is_never_no_session(call, broken, valkey, engine):
    session_key, break_it = broken
    break_it()
    session = SessionStore(session_key)
    with pytest.raises(DOWN):
        call(session, "items")
    assert session.session_key == session_key
    with pytest.raises(DOWN):
        call(SessionStore(), "exists", session_key)
    assert list(valkey.scan_iter(f"{engine}*")) == []


def test_an_outage_over_there_is_nothing_to_what_was_moved(call, broken):
    session_key, break_it = broken
    items(call, session_key)
    break_it()
    assert items(call, session_key) == {"a": 1}


@pytest.mark.parametrize("how", ["flush", "cycle_key"])
def test_what_can_not_be_ended_over_there_is_not_ended_here(call, broken, how):
    session_key, break_it = broken
    session = SessionStore(session_key)
    call(session, "items")
    break_it()
    with pytest.raises(DOWN):
        call(session, how)
    assert items(call, session_key) == {"a": 1}


@pytest.mark.parametrize("name", ["exists", "delete"])
def test_a_wrong_setting_does_not_show_the_session_key(call, valkey_sessions, name):
    valkey_sessions(PREVIOUS_ENGINE="nowhere")
    session_key = keys.new_session_key()
    with pytest.raises(ImproperlyConfigured) as caught:
        call(SessionStore(), name, session_key)
    assert session_key not in shown(caught)


@pytest.mark.parametrize("name", ["items", "exists", "delete"])
def test_no_error_report_has_the_session_key_in_it(call, broken, name):
    session_key, break_it = broken
    break_it()
    session = SessionStore(session_key if name == "items" else None)
    arguments = () if name == "items" else (session_key,)
    with pytest.raises(DOWN) as caught:
        call(session, name, *arguments)
    assert "previous.py" in shown(caught)
    assert session_key not in shown(caught)


def shown(caught):
    """Return what the error report shows of an exception, outside of the tests."""
    reporter = ExceptionReporter(None, caught.type, caught.value, caught.tb)
    frames = [
        (frame["filename"], frame["vars"])
        for frame in reporter.get_traceback_frames()
        if "/tests/" not in frame["filename"]
    ]
    return f"{caught.value} {frames}"


# A browser.


@pytest.fixture
def browser(db, settings):
    """A browser that has logged in before the site was deployed with this engine."""
    ada = User.objects.create_user("ada", password="ada")
    now, settings.SESSION_ENGINE = settings.SESSION_ENGINE, db.store.__module__
    before = Client()
    before.force_login(ada)
    settings.SESSION_ENGINE = now
    browser = Client()
    browser.cookies = before.cookies
    return browser


def test_a_browser_stays_logged_in(browser):
    assert browser.get("/data/").json()["user"] == "ada"
    assert browser.get("/data/").json()["user"] == "ada"


def test_a_browser_that_logs_out_is_logged_out_in_both(browser, db):
    session_key = browser.cookies["sessionid"].value
    browser.post("/logout/")
    assert not db.has(session_key)
    browser.cookies["sessionid"] = session_key
    assert browser.get("/data/").json()["user"] != "ada"


@pytest.fixture
def hosts(own_server, site_data):
    """Serve the demo site on a host with the old settings, or with the new ones."""

    def serve(kind, settings):
        return servers.serving(
            kind,
            site_data,
            VALKEY_URL=own_server.url,
            DJANGO_SETTINGS_MODULE="tests.moving_site",
            HOST_IS=settings,
        )

    return serve


@pytest.mark.parametrize("kind", ["gthread", "uvicorn"])
def test_a_site_is_deployed_and_nobody_notices(hosts, kind, own_server):
    with hosts(kind, "old") as port:
        visitor = logged_in(port)
        cookies = dict(visitor.cookies)
    with hosts(kind, "new") as port:
        visitor = Visitor(port)
        visitor.cookies = cookies
        first = at_once(*(lambda: visitor.copy().get("/data/") for _ in range(10)))
        assert [reply.json()["user"] for reply in first] == ["demo"] * 10
        assert visitor.cookies == cookies
        with own_server.connect() as valkey:
            stored = {key.partition(b":")[2][:6] for key in valkey.scan_iter()}
        # The session, the note that it was moved, and the index of its user.
        assert len(stored) == 3
        assert {b"moved:", b"user:1"} < stored
        assert visitor.copy().post("/logout/").status == 200
        again = visitor.copy().get("/data/")
        assert again.json()["user"] != "demo"
    with hosts(kind, "old") as port:
        visitor = Visitor(port)
        visitor.cookies = cookies
        assert visitor.get("/data/").json()["user"] != "demo"


def test_a_session_that_is_moved_enters_the_index_of_its_user(call, old, engine):
    session_key = old.create(_auth_user_id="7", a=1)
    call(SessionStore(session_key), "load")
    id = keys.session_id(session_key)
    assert [info.id for info in sessions.for_user("7")] == [id]
    assert sessions.revoke_user("7") == 1
    assert call(SessionStore(session_key), "load") == {}


def test_while_some_hosts_are_old_each_goes_on_with_its_copy(hosts):
    with hosts("gthread", "old") as old, hosts("gthread", "new") as new:
        before = logged_in(old)
        on_new, on_old = Visitor(new), before.copy()
        on_new.cookies = dict(before.cookies)
        assert on_new.get("/data/").json()["user"] == "demo"
        on_new.post("/set/new/", value="1")
        on_old.post("/set/old/", value="1")
        assert "old" not in on_new.get("/data/").json()["session"]
        assert "new" not in on_old.get("/data/").json()["session"]
        on_new.post("/logout/")
        assert before.get("/data/").json()["user"] != "demo"


def test_who_logs_in_on_a_new_host_is_unknown_to_an_old_one(hosts):
    with hosts("gthread", "old") as old, hosts("gthread", "new") as new:
        there = Visitor(old)
        there.cookies = dict(logged_in(new).cookies)
        reply = there.get("/data/")
        assert reply.json()["user"] != "demo"
        assert "sessionid" not in there.cookies
