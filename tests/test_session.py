"""The contract of the engine, each test once, on both surfaces, on a real server."""

import asyncio
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.utils import timezone
from django.views.debug import ExceptionReporter

from django_valkey_sessions import client, codec, keys
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.exceptions import (
    SessionConflict,
    SessionStoreUnavailable,
)

pytestmark = pytest.mark.usefixtures("engine")


class Pickled:
    """A serializer for what JSON can't hold."""

    def dumps(self, obj):
        import pickle

        return pickle.dumps(obj)

    def loads(self, data):
        import pickle

        return pickle.loads(data)  # noqa: S301


UNKNOWN = "0123456789abcdefghijklmnopqrstuv"


@pytest.fixture
def stored(call, valkey, engine):
    """A stored session: its key in the cookie, and its key in the server."""

    class Stored:
        def __init__(self, **data):
            session = SessionStore()
            session._session_cache = dict(data)
            call(session, "save")
            self.session_key = session.session_key
            self.key = engine + keys.session_id(session.session_key)

        def open(self):
            return SessionStore(self.session_key)

        def data(self):
            session = self.open()
            return dict(call(session, "items"))

    return Stored


def set_(call, session, **values):
    call(session, "update", values)


# Storing and loading.


def test_a_session_comes_back_as_it_was_saved(stored):
    assert stored(a=1, b=["x", {"y": None}]).data() == {"a": 1, "b": ["x", {"y": None}]}


def test_the_first_save_is_one_round_trip(call):
    session = SessionStore()
    set_(call, session, a=1)
    with client.record() as trips:
        call(session, "save")
    assert trips == [("SET",)]


def test_the_key_of_a_new_session_is_as_long_as_djangos(call):
    session = SessionStore()
    call(session, "create")
    assert len(session.session_key) == 32


def test_djangos_own_way_to_a_new_key_asks_nobody():
    session = SessionStore()
    with client.record() as trips:
        key = asyncio.run(session._aget_or_create_session_key())
    assert (len(key), trips) == (32, [])


def test_load_is_one_command(call, stored):
    session = stored(a=1).open()
    with client.record() as trips:
        call(session, "load")
    assert trips == [("GET",)]


def test_load_of_an_unknown_key_writes_nothing(call, valkey, engine):
    session = SessionStore(UNKNOWN)
    assert call(session, "load") == {}
    assert session.session_key is None
    assert list(valkey.scan_iter(f"{engine}*")) == []


def test_load_without_a_key_asks_nobody(call):
    with client.record() as trips:
        assert call(SessionStore(), "load") == {}
    assert trips == []


def test_a_saved_session_expires_with_its_cookie(stored, valkey):
    assert 1209600 - 5 < valkey.ttl(stored(a=1).key) <= 1209600


def test_saving_under_a_taken_key_is_refused(call, stored):
    session = SessionStore(stored(a=1).session_key)
    with pytest.raises(CreateError):
        call(session, "save", must_create=True)


def test_must_create_does_not_replace_what_is_there(call, stored):
    one = stored(a=1)
    with pytest.raises(CreateError):
        call(SessionStore(one.session_key), "save", must_create=True)
    assert one.data() == {"a": 1}


def test_saving_an_unknown_session_is_refused(call, valkey, engine):
    session = SessionStore(UNKNOWN)
    with pytest.raises(UpdateError):
        call(session, "save")
    assert list(valkey.scan_iter(f"{engine}*")) == []


def test_exists(call, stored):
    one = stored(a=1)
    assert call(SessionStore(), "exists", one.session_key) is True
    assert call(SessionStore(), "exists", UNKNOWN) is False


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_key_does_not_exist_and_asks_nobody(call, nothing):
    with client.record() as trips:
        assert call(SessionStore(), "exists", nothing) is False
    assert trips == []


def test_delete_removes_the_session(call, stored, valkey):
    one = stored(a=1)
    call(one.open(), "delete")
    assert valkey.exists(one.key) == 0


def test_deleting_another_session_leaves_this_one(call, stored):
    one, other = stored(a=1), stored(b=2)
    session = one.open()
    call(session, "delete", other.session_key)
    assert one.data() == {"a": 1}
    assert other.data() == {}


def test_deleting_what_is_gone_is_no_error(call, stored):
    session = stored(a=1).open()
    call(session, "delete")
    call(session, "delete")


def test_deleting_an_empty_key_leaves_this_session(call, stored):
    one = stored(a=1)
    call(one.open(), "delete", "")
    assert one.data() == {"a": 1}


def test_a_deleted_session_is_not_touched(call, stored):
    session = stored(a=1).open()
    call(session, "get", "a")
    call(session, "delete")
    assert call(session, "touch") is False


def test_deleting_a_session_without_a_key_asks_nobody(call):
    with client.record() as trips:
        call(SessionStore(), "delete")
    assert trips == []


def test_flush_leaves_nothing(call, stored, valkey):
    one = stored(a=1)
    session = one.open()
    call(session, "flush")
    assert session.session_key is None
    assert dict(call(session, "items")) == {}
    assert valkey.exists(one.key) == 0


@pytest.mark.parametrize(
    "key", ["x" * 5000, "*" * 8, "{a}{a}{a}", "a\nb\r\nc\0d\n", "\ud800" * 8]
)
def test_whatever_a_client_sends_as_a_cookie_is_just_unknown(call, key):
    session = SessionStore(key)
    assert call(session, "load") == {}
    assert session.session_key is None


# Changes.


def test_a_changed_session_is_saved_in_one_round_trip(call, stored):
    one = stored(a=1)
    call(one.open(), "load")  # The script is known from here on at the latest.
    warm = one.open()
    set_(call, warm, a=2)
    call(warm, "save")
    session = one.open()
    set_(call, session, a=3)
    with client.record() as trips:
        call(session, "save")
    assert trips == [("EVALSHA",)]
    assert one.data() == {"a": 3}


def test_an_in_place_change_is_saved_although_django_does_not_see_it(call, stored):
    one = stored(cart={"apples": 1})
    session = one.open()
    call(session, "get", "cart")["apples"] = 2
    assert session.modified is False
    call(session, "save")
    assert one.data() == {"cart": {"apples": 2}}


def test_two_saves_in_a_row_need_no_merge(call, stored):
    one = stored(a=1)
    session = one.open()
    set_(call, session, a=2)
    call(session, "save")
    set_(call, session, b=3)
    call(session, "save")
    assert one.data() == {"a": 2, "b": 3}


def test_changes_of_two_requests_are_both_kept(call, stored):
    one = stored(a=1, b=1)
    first, second = one.open(), one.open()
    set_(call, first, a=2)
    set_(call, second, b=2)
    call(first, "save")
    call(second, "save")
    assert one.data() == {"a": 2, "b": 2}


def test_after_a_merge_the_session_in_memory_is_what_is_stored(call, stored):
    one = stored(a=1, gone=1)
    first, second = one.open(), one.open()
    call(first, "pop", "gone")
    set_(call, first, new=[1])
    call(first, "load")
    set_(call, second, b=2)
    call(first, "save")
    call(second, "save")
    assert dict(call(second, "items")) == {"a": 1, "b": 2, "new": [1]}


def test_a_deletion_survives_the_change_of_another_key(call, stored):
    one = stored(a=1, b=1)
    first, second = one.open(), one.open()
    call(first, "pop", "a")
    set_(call, second, b=2)
    call(second, "save")
    call(first, "save")
    assert one.data() == {"b": 2}


def test_the_last_writer_of_one_key_wins(call, stored):
    one = stored(a=1)
    first, second = one.open(), one.open()
    set_(call, first, a=2)
    set_(call, second, a=3)
    call(first, "save")
    call(second, "save")
    assert one.data() == {"a": 3}


def test_a_rule_decides_for_its_key(call, stored, valkey_sessions):
    valkey_sessions(MERGE={"visits": "django_valkey_sessions.merge.add"})
    one = stored(visits=1)
    first, second = one.open(), one.open()
    set_(call, first, visits=2)
    set_(call, second, visits=2)
    call(first, "save")
    call(second, "save")
    assert one.data() == {"visits": 3}


def test_the_object_in_memory_that_was_changed_stays_the_same_object(call, stored):
    one = stored(mine=[1], other=1)
    first, second = one.open(), one.open()
    mine = call(first, "get", "mine")
    mine.append(2)
    set_(call, second, other=2)
    call(second, "save")
    call(first, "save")
    assert call(first, "get", "mine") is mine


def test_clear_replaces_what_others_have_saved(call, stored):
    one = stored(a=1)
    session, other = one.open(), one.open()
    call(session, "get", "a")
    session.clear()
    set_(call, session, b=2)
    set_(call, other, c=3)
    call(other, "save")
    call(session, "save")
    assert one.data() == {"b": 2}


def test_an_explicit_load_of_an_ended_session_does_not_make_it_a_new_one(call, stored):
    one = stored(a=1)
    session = one.open()
    call(session, "get", "a")
    call(one.open(), "delete")
    assert call(session, "load") == {}
    set_(call, session, b=2)
    with pytest.raises(UpdateError):
        call(session, "save")


def test_keys_that_json_makes_texts_of_are_merged_as_texts(call):
    first = SessionStore()
    first._session_cache = {1: "one", 2: "two"}
    call(first, "save")
    second = SessionStore(first.session_key)
    call(second, "pop", "1")
    call(second, "save")
    set_(call, first, b=2)
    call(first, "save")
    assert dict(call(first, "items")) == {"2": "two", "b": 2}


class Thing:
    """As a Django model: the same if its id is the same."""

    def __init__(self, id, name):
        self.id, self.name = id, name

    def __eq__(self, other):
        return self.id == other.id

    __hash__ = None


def test_a_change_inside_an_object_of_ones_own_is_not_lost(
    call, stored, valkey_sessions
):
    valkey_sessions(SERIALIZER=Pickled)
    one = stored(thing=Thing(1, "before"))
    first, second = one.open(), one.open()
    set_(call, first, a=1)
    set_(call, second, thing=Thing(1, "after"))
    call(second, "save")
    call(first, "save")
    assert one.data()["thing"].name == "after"
    assert call(first, "get", "thing").name == "after"


def test_many_at_once_lose_nothing_and_nobody_is_turned_away(stored, valkey_sessions):
    valkey_sessions(MERGE={"n": "django_valkey_sessions.merge.add"})
    one = stored(n=0)

    def count(number):
        session = one.open()
        session["n"] += 1
        session[f"key{number}"] = number
        session.save()

    with ThreadPoolExecutor(50) as threads:
        list(threads.map(count, range(200)))
    data = SessionStore(one.session_key).load()
    assert data == {"n": 200, **{f"key{number}": number for number in range(200)}}


def test_an_explicit_second_load_does_not_hide_a_change_of_another(call, stored):
    one = stored(a=1)
    session, other = one.open(), one.open()
    call(session, "get", "a")
    set_(call, other, b=2)
    call(other, "save")
    call(session, "load")
    set_(call, session, a=2)
    call(session, "save")
    assert one.data() == {"a": 2, "b": 2}


def test_who_never_gets_through_is_told_and_overwrites_nothing(
    call, stored, valkey, before_each_trip
):
    one = stored(a=1)
    session = one.open()
    set_(call, session, a=2)
    others = iter(range(1, 100))

    def interfere(trip):
        if trip[0] in ("EVAL", "EVALSHA"):
            data = json.dumps({"a": 1, "n": next(others)}).encode()
            valkey.set(one.key, codec.pack(data, one.key[-32:], 1))

    before_each_trip(interfere)
    with pytest.raises(SessionConflict, match="21 times"):
        call(session, "save")
    assert one.data() == {"a": 1, "n": 21}


# Sessions that have ended.


def test_save_does_not_resurrect_a_deleted_session(call, stored, valkey):
    one = stored(a=1)
    session = one.open()
    set_(call, session, a=2)
    call(one.open(), "delete")
    with pytest.raises(UpdateError):
        call(session, "save")
    assert valkey.exists(one.key) == 0


def test_saving_the_unchanged_session_after_its_deletion_is_refused(call, stored):
    session = stored(a=1).open()
    call(session, "get", "a")
    call(session, "delete")
    with pytest.raises(UpdateError):
        call(session, "save")


def test_save_of_a_cleared_session_does_not_resurrect_it(call, stored, valkey):
    one = stored(a=1)
    session = one.open()
    call(session, "get", "a")
    session.clear()
    call(one.open(), "delete")
    with pytest.raises(UpdateError):
        call(session, "save")
    assert valkey.exists(one.key) == 0


def test_cycle_key_does_not_resurrect_a_deleted_session(call, stored, valkey, engine):
    one = stored(a=1)
    session = one.open()
    call(session, "get", "a")
    call(one.open(), "delete")
    call(session, "cycle_key")
    with pytest.raises(UpdateError):
        call(session, "save")
    assert list(valkey.scan_iter(f"{engine}*")) == []


# Another key.


def test_cycle_key_stores_the_new_before_it_removes_the_old(call, stored, valkey):
    one = stored(a=1)
    warm = stored(b=1).open()
    call(warm, "cycle_key")
    session = one.open()
    call(session, "get", "a")
    with client.record() as trips:
        call(session, "cycle_key")
    assert trips == [("SET",), ("EVALSHA",)]
    assert session.session_key != one.session_key
    assert valkey.exists(one.key) == 0
    assert dict(call(SessionStore(session.session_key), "items")) == {"a": 1}


def test_cycle_key_loses_nothing_that_a_parallel_request_has_saved(call, stored):
    one = stored(a=1)
    session, other = one.open(), one.open()
    set_(call, session, mine=1)
    set_(call, other, theirs=1)
    call(other, "save")
    call(session, "cycle_key")
    moved = SessionStore(session.session_key)
    assert dict(call(moved, "items")) == {"a": 1, "mine": 1, "theirs": 1}


def test_cycle_key_of_a_session_that_was_never_stored_stores_it(call):
    session = SessionStore()
    set_(call, session, a=1)
    call(session, "cycle_key")
    assert dict(call(SessionStore(session.session_key), "items")) == {"a": 1}


def test_the_change_after_cycle_key_is_saved_under_the_new_key(call, stored):
    session = stored(a=1).open()
    call(session, "cycle_key")
    set_(call, session, a=2)
    call(session, "save")
    assert dict(call(SessionStore(session.session_key), "items")) == {"a": 2}


# Expiry.


def test_the_sessions_own_expiry_is_the_servers(call, stored, valkey):
    one = stored(a=1)
    session = one.open()
    call(session, "set_expiry", 300)
    call(session, "save")
    assert 295 < valkey.ttl(one.key) <= 300


def test_milliseconds_arrive(call, stored, valkey, valkey_sessions):
    valkey_sessions(TTL=0.75)
    assert 0 < valkey.pttl(stored(a=1).key) <= 750


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        (900, 900),
        (timedelta(hours=1), 3600),
        (lambda session: 120, 120),
        (lambda session: timedelta(minutes=3), 180),
        (lambda session: None, 1209600),
        (lambda session: 60 if session.get("bot") else 7200, 60),
    ],
)
def test_ttl_can_be_a_number_a_timedelta_or_a_callable(
    stored, valkey, valkey_sessions, ttl, seconds
):
    valkey_sessions(TTL=ttl)
    assert seconds - 5 < valkey.ttl(stored(bot=True).key) <= seconds


def test_a_number_is_not_for_sessions_with_an_expiry_of_their_own(
    call, valkey, valkey_sessions, engine
):
    valkey_sessions(TTL=900)
    session = SessionStore()
    call(session, "set_expiry", 300)
    call(session, "save")
    assert valkey.ttl(engine + keys.session_id(session.session_key)) <= 300


def test_a_callable_wins_over_the_sessions_own_expiry(
    call, valkey, valkey_sessions, engine
):
    valkey_sessions(TTL=lambda session: 900)
    session = SessionStore()
    call(session, "set_expiry", 300)
    call(session, "save")
    assert 895 < valkey.ttl(engine + keys.session_id(session.session_key)) <= 900


@pytest.mark.parametrize("lifetime", ["soon", float("nan"), True, [1]])
def test_a_callable_that_returns_nonsense_is_an_error_that_names_it(
    call, valkey_sessions, lifetime
):
    valkey_sessions(TTL=lambda session: lifetime)
    with pytest.raises(TypeError, match="lifetime of a session is"):
        call(SessionStore(), "create")


@pytest.mark.parametrize("never", [float("-inf"), -(10**18)])
def test_a_callable_may_say_that_a_session_is_long_over(
    call, stored, valkey, valkey_sessions, never
):
    one = stored(a=1)
    valkey_sessions(TTL=lambda session: never)
    session = one.open()
    call(session, "get", "a")
    assert call(session, "touch") is False
    assert valkey.exists(one.key) == 0


def test_an_expiry_far_away_is_not_too_far_for_the_server(call, valkey, engine):
    session = SessionStore()
    call(session, "set_expiry", 10**15)
    call(session, "save")
    assert valkey.ttl(engine + keys.session_id(session.session_key)) > 99 * 365 * 86400


@pytest.mark.parametrize("over", [-10, timedelta(seconds=-10)])
def test_a_lifetime_that_is_over_removes_the_session(call, stored, valkey, over):
    one = stored(a=1)
    session = one.open()
    call(session, "set_expiry", over)
    call(session, "save")
    assert valkey.exists(one.key) == 0


def test_a_lifetime_that_is_over_is_still_an_update_error_on_a_missing_session(
    call, stored
):
    session = stored(a=1).open()
    call(session, "set_expiry", -10)
    call(session, "delete")
    with pytest.raises(UpdateError):
        call(session, "save")


def test_a_lifetime_that_is_over_stores_no_new_session(call, valkey, engine):
    session = SessionStore()
    call(session, "set_expiry", -10)
    call(session, "save")
    assert list(valkey.scan_iter(f"{engine}*")) == []


def test_a_new_session_that_is_over_still_does_not_take_a_taken_key(call, stored):
    one = stored(a=1)
    session = SessionStore(one.session_key)
    session._session_cache = {"_session_expiry": -10}
    with pytest.raises(CreateError):
        call(session, "save", must_create=True)
    assert one.data() == {"a": 1}


def test_no_session_outlives_its_maximum(call, valkey, valkey_sessions, engine):
    valkey_sessions(MAX_LIFETIME=100)
    session = SessionStore()
    set_(call, session, a=1)
    call(session, "save")
    assert 95 < valkey.ttl(engine + keys.session_id(session.session_key)) <= 100


def age(valkey, one, seconds):
    """Make a stored session older than it is."""
    id = one.key[-32:]
    envelope = codec.unpack(valkey.get(one.key), id)
    created = envelope.created - seconds
    valkey.set(one.key, codec.pack(envelope.payload, id, created), keepttl=True)


def test_the_maximum_counts_from_the_creation(call, stored, valkey, valkey_sessions):
    one = stored(a=1)
    age(valkey, one, 40)
    valkey_sessions(MAX_LIFETIME=100)
    session = one.open()
    set_(call, session, a=2)
    call(session, "save")
    assert 55 < valkey.ttl(one.key) <= 60


def test_the_creation_survives_cycle_key(call, stored, valkey, valkey_sessions, engine):
    one = stored(a=1)
    age(valkey, one, 40)
    valkey_sessions(MAX_LIFETIME=100)
    session = one.open()
    call(session, "cycle_key")
    assert 55 < valkey.ttl(engine + keys.session_id(session.session_key)) <= 60


def test_the_creation_is_new_for_a_new_user(call, stored, valkey, valkey_sessions):
    one = stored(a=1)
    age(valkey, one, 40)
    valkey_sessions(MAX_LIFETIME=100)
    session = one.open()
    set_(call, session, _auth_user_id="42")
    call(session, "save")
    assert 95 < valkey.ttl(one.key) <= 100


def test_the_creation_survives_clear(call, stored, valkey, valkey_sessions):
    one = stored(a=1)
    age(valkey, one, 40)
    valkey_sessions(MAX_LIFETIME=100)
    session = one.open()
    call(session, "get", "a")
    session.clear()
    call(session, "save")
    assert 55 < valkey.ttl(one.key) <= 60


def test_a_session_beyond_a_maximum_set_later_is_no_session(
    call, stored, valkey, valkey_sessions
):
    one = stored(a=1)
    age(valkey, one, 200)
    valkey_sessions(MAX_LIFETIME=100)
    session = one.open()
    assert call(session, "load") == {}
    assert session.session_key is None


# Touching.


def test_an_unchanged_session_is_touched_and_not_written(call, stored, valkey):
    one = stored(a=1)
    valkey.expire(one.key, 1000)
    before = valkey.get(one.key)
    session = one.open()
    call(session, "get", "a")
    with client.record() as trips:
        call(session, "save")
    assert trips == [("PEXPIRE",)]
    assert valkey.get(one.key) == before
    assert valkey.ttl(one.key) > 1209590


@pytest.fixture
def every_request(settings):
    settings.SESSION_SAVE_EVERY_REQUEST = True


@pytest.mark.usefixtures("every_request")
def test_value_and_expiry_are_loaded_in_one_round_trip(call, stored):
    session = stored(a=1).open()
    with client.record() as trips:
        call(session, "get", "a")
    assert trips == [("GET", "PTTL")]


@pytest.mark.usefixtures("every_request")
def test_a_session_refreshed_a_moment_ago_costs_nothing_to_save(call, stored):
    session = stored(a=1).open()
    call(session, "get", "a")
    with client.record() as trips:
        call(session, "save")
        assert call(session, "touch") is True
    assert trips == []


@pytest.mark.usefixtures("every_request")
def test_a_session_is_touched_when_the_interval_has_passed(call, stored, valkey):
    one = stored(a=1)
    valkey.expire(one.key, 1209600 - 61)
    session = one.open()
    call(session, "get", "a")
    call(session, "save")
    assert valkey.ttl(one.key) > 1209590


@pytest.mark.usefixtures("every_request")
def test_the_interval_of_a_short_session_is_a_twentieth_of_it(
    call, stored, valkey, valkey_sessions
):
    valkey_sessions(TTL=100)
    one = stored(a=1)
    valkey.expire(one.key, 94)
    session = one.open()
    call(session, "get", "a")
    call(session, "save")
    assert valkey.ttl(one.key) > 95


@pytest.mark.usefixtures("every_request")
def test_an_interval_of_zero_touches_every_time(call, stored, valkey_sessions):
    valkey_sessions(TOUCH_INTERVAL=0)
    session = stored(a=1).open()
    call(session, "get", "a")
    with client.record() as trips:
        call(session, "save")
    assert trips == [("PEXPIRE",)]


@pytest.mark.usefixtures("every_request")
def test_a_session_that_lives_shorter_than_the_interval_is_touched_in_time(
    call, stored, valkey, valkey_sessions
):
    valkey_sessions(TOUCH_INTERVAL=3600)
    one = stored(_session_expiry=100)
    valkey.expire(one.key, 49)
    session = one.open()
    call(session, "items")
    call(session, "save")
    assert valkey.ttl(one.key) > 95


@pytest.mark.usefixtures("every_request")
def test_a_lifetime_that_was_shortened_reaches_the_server(
    call, stored, valkey, valkey_sessions
):
    one = stored(a=1)
    valkey_sessions(TTL=900)
    session = one.open()
    call(session, "get", "a")
    call(session, "save")
    assert valkey.ttl(one.key) <= 900


@pytest.mark.usefixtures("every_request")
def test_a_key_without_expiry_gets_one(call, stored, valkey):
    one = stored(a=1)
    valkey.persist(one.key)
    session = one.open()
    call(session, "get", "a")
    call(session, "save")
    assert valkey.ttl(one.key) > 0


def test_without_touching_nothing_is_sent(call, stored, valkey, valkey_sessions):
    valkey_sessions(TOUCH=False)
    one = stored(a=1)
    valkey.expire(one.key, 1000)
    session = one.open()
    call(session, "get", "a")
    with client.record() as trips:
        call(session, "save")
        assert call(session, "touch") is True
    assert trips == []
    assert valkey.ttl(one.key) <= 1000


def test_touching_a_session_that_is_gone_says_so(call, stored):
    one = stored(a=1)
    session = one.open()
    call(session, "get", "a")
    call(one.open(), "delete")
    assert call(session, "touch") is False


def test_touching_an_unknown_session_says_so(call):
    assert call(SessionStore(UNKNOWN), "touch") is False


def test_saving_the_unchanged_session_that_another_ended_is_refused(call, stored):
    one = stored(a=1)
    session = one.open()
    call(session, "get", "a")
    call(one.open(), "delete")
    with pytest.raises(UpdateError):
        call(session, "save")


def test_touching_a_session_whose_time_is_over_removes_it(call, stored, valkey):
    soon = timezone.now() + timedelta(seconds=1.5)  # Django counts whole seconds.
    one = stored(_session_expiry=soon.isoformat())
    session = one.open()
    call(session, "items")
    valkey.persist(one.key)
    time.sleep(1.6)
    assert call(session, "touch") is False
    assert valkey.exists(one.key) == 0


# EXPIRE = False.


@pytest.fixture
def unexpiring(valkey_sessions):
    valkey_sessions(EXPIRE=False, TTL=0.3)


@pytest.mark.usefixtures("unexpiring")
def test_without_expiry_the_server_keeps_the_key(stored, valkey):
    assert valkey.ttl(stored(a=1).key) == -1


@pytest.mark.usefixtures("unexpiring")
def test_without_expiry_a_session_still_ends_in_time(call, stored, valkey):
    one = stored(a=1)
    assert one.data() == {"a": 1}
    time.sleep(0.35)
    assert one.data() == {}
    assert call(SessionStore(), "exists", one.session_key) is False
    assert valkey.exists(one.key) == 1


@pytest.mark.usefixtures("unexpiring")
def test_without_expiry_an_expired_session_is_not_resurrected(call, stored):
    session = stored(a=1).open()
    set_(call, session, a=2)
    time.sleep(0.35)
    with pytest.raises(UpdateError):
        call(session, "save")


@pytest.mark.usefixtures("unexpiring")
def test_without_expiry_touching_moves_the_end(call, stored, valkey_sessions):
    one = stored(a=1)
    valkey_sessions(TTL=900)
    session = one.open()
    call(session, "get", "a")
    assert call(session, "touch") is True
    time.sleep(0.35)
    assert one.data() == {"a": 1}


@pytest.mark.usefixtures("unexpiring")
def test_without_expiry_touching_does_not_undo_a_change(call, stored, valkey_sessions):
    one = stored(a=1)
    valkey_sessions(TTL=900)
    session, other = one.open(), one.open()
    call(session, "get", "a")
    set_(call, other, a=2)
    call(other, "save")
    assert call(session, "touch") is True
    assert one.data() == {"a": 2}


@pytest.mark.usefixtures("unexpiring")
def test_without_expiry_touching_a_session_that_is_gone_says_so(
    call, stored, valkey_sessions
):
    one = stored(a=1)
    valkey_sessions(TTL=900)
    session = one.open()
    call(session, "get", "a")
    call(one.open(), "delete")
    assert call(session, "touch") is False


@pytest.mark.usefixtures("unexpiring")
def test_clear_expired_removes_what_is_over_and_nothing_else(
    call, stored, valkey, valkey_sessions, engine
):
    over = [stored(a=n) for n in range(30)]
    valkey_sessions(TTL=900, SCAN_COUNT=7)
    alive = stored(b=1)
    valkey.set(f"{engine}another-application", "value")
    valkey.rpush(f"{engine}{'0' * 32}", "a list under an id")
    time.sleep(0.35)
    call(SessionStore, "clear_expired")
    assert valkey.exists(*(one.key for one in over)) == 0
    assert alive.data() == {"b": 1}
    assert valkey.exists(f"{engine}another-application", f"{engine}{'0' * 32}") == 2


@pytest.mark.usefixtures("unexpiring")
def test_clear_expired_removes_what_was_left_when_expiry_was_turned_on(
    call, stored, valkey, valkey_sessions
):
    over = stored(a=1)
    valkey_sessions(EXPIRE=True, TTL=900)
    alive = stored(b=1)
    time.sleep(0.35)
    call(SessionStore, "clear_expired")
    assert valkey.exists(over.key) == 0
    assert alive.data() == {"b": 1}


@pytest.mark.usefixtures("unexpiring")
def test_turning_expiry_on_again_gives_the_key_its_expiry(
    call, stored, valkey, valkey_sessions
):
    valkey_sessions(TTL=900)
    one = stored(a=1)
    valkey_sessions(EXPIRE=True, TTL=800)
    session = one.open()
    call(session, "get", "a")
    assert call(session, "touch") is True
    assert 795 < valkey.ttl(one.key) <= 800
    assert one.data() == {"a": 1}


@pytest.mark.usefixtures("unexpiring")
def test_without_expiry_a_session_that_is_over_is_not_touched(call, stored):
    session = stored(a=1).open()
    call(session, "get", "a")
    time.sleep(0.35)
    assert call(session, "touch") is False


@pytest.mark.usefixtures("unexpiring")
def test_without_expiry_what_is_no_session_is_left_alone(call, stored, valkey):
    one = stored(a=1)
    session = one.open()
    call(session, "get", "a")
    put_list(valkey, one.key)
    before = valkey.dump(one.key)
    assert call(SessionStore(), "exists", one.session_key) is False
    session._expires_at = None  # As if it had not been refreshed a moment ago.
    assert call(session, "touch") is False
    assert valkey.dump(one.key) == before


# Values that can't be read.


def put_string(valkey, key):
    valkey.set(key, "no envelope")


def put_nothing(valkey, key):
    valkey.set(key, "")


def put_number(valkey, key):
    valkey.set(key, 17)


def put_list(valkey, key):
    valkey.delete(key)
    valkey.rpush(key, "a", "b")


def put_hash(valkey, key):
    valkey.delete(key)
    valkey.hset(key, "a", "b")


def cut(valkey, key):
    valkey.set(key, valkey.get(key)[:-1])


def flip(valkey, key):
    value = bytearray(valkey.get(key))
    value[-1] ^= 1
    valkey.set(key, bytes(value))


DAMAGE = [put_string, put_nothing, put_number, put_list, put_hash, cut, flip]


@pytest.mark.parametrize("every_request", [False, True])
@pytest.mark.parametrize("damage", DAMAGE)
def test_an_unreadable_value_is_no_session_and_is_left_alone(
    call, stored, valkey, damage, settings, every_request, caplog
):
    settings.SESSION_SAVE_EVERY_REQUEST = every_request
    one = stored(a=1)
    damage(valkey, one.key)
    before = valkey.dump(one.key)
    session = one.open()
    assert call(session, "load") == {}
    assert session.session_key is None
    assert valkey.dump(one.key) == before
    (record,) = caplog.records
    assert (record.name, record.levelno) == (
        "django.security.SuspiciousSession",
        logging.WARNING,
    )
    assert one.session_key not in caplog.text
    assert one.key[-32:] not in caplog.text
    assert one.key[-32:][:8] in caplog.text


def test_what_is_gone_at_the_second_look_was_no_session(
    call, stored, valkey, before_each_trip, caplog
):
    one = stored(a=1)
    flip(valkey, one.key)
    session, trips = one.open(), []

    def end(trip):
        if trips:
            valkey.delete(one.key)
        trips.append(trip)

    before_each_trip(end)
    assert call(session, "load") == {}
    assert (len(trips), session.session_key, caplog.text) == (2, None, "")


@pytest.mark.parametrize("damage", DAMAGE)
def test_after_an_unreadable_value_a_new_session_works(call, stored, valkey, damage):
    one = stored(a=1)
    damage(valkey, one.key)
    session = one.open()
    set_(call, session, b=2)
    call(session, "save")
    assert session.session_key != one.session_key
    assert dict(call(SessionStore(session.session_key), "items")) == {"b": 2}


@pytest.mark.parametrize("damage", [put_string, put_number, put_list, put_hash])
def test_a_value_replaced_meanwhile_is_not_overwritten(call, stored, valkey, damage):
    one = stored(a=1)
    session = one.open()
    set_(call, session, a=2)
    damage(valkey, one.key)
    before = valkey.dump(one.key)
    with pytest.raises(UpdateError):
        call(session, "save")
    assert valkey.dump(one.key) == before


@pytest.mark.parametrize("damage", [cut, flip])
def test_damage_to_a_session_in_use_is_mended_by_its_next_save(
    call, stored, valkey, damage
):
    one = stored(a=1)
    session = one.open()
    set_(call, session, a=2)
    damage(valkey, one.key)
    call(session, "save")
    assert one.data() == {"a": 2}


def test_a_value_copied_from_another_session_is_unreadable(call, stored, valkey):
    one, other = stored(a=1), stored(secret=2)
    valkey.set(one.key, valkey.get(other.key))
    assert one.data() == {}


# Serializers and secrets.


def test_a_serializer_of_ones_own_is_used(stored, valkey_sessions):
    valkey_sessions(SERIALIZER=Pickled)
    assert stored(tags={1, 2}, when=timedelta(1)).data() == {
        "tags": {1, 2},
        "when": timedelta(1),
    }


def test_djangos_serializer_setting_is_used(stored, settings):
    settings.SESSION_SERIALIZER = f"{__name__}.Pickled"
    assert stored(tags={1, 2}).data() == {"tags": {1, 2}}


def test_a_new_secret_key_keeps_everybody_logged_in(call, stored, settings):
    one = stored(a=1)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another secret, just as long as the one before it was"
    assert one.data() == {"a": 1}
    session = one.open()
    set_(call, session, a=2)
    call(session, "save")
    settings.SECRET_KEY_FALLBACKS = []
    assert one.data() == {"a": 2}


def test_nothing_in_the_server_tells_a_key_or_data(stored, valkey, engine):
    one = stored(password="correct horse battery staple", name="Ada Lovelace" * 9)
    for key in valkey.scan_iter(f"{engine}*"):
        dump = key + valkey.get(key)
        assert one.session_key.encode() not in dump
        assert b"correct" not in dump
        assert b"Lovelace" not in dump


def test_unsealed_sessions_come_back_and_stay_with_their_id(
    call, stored, valkey, valkey_sessions
):
    valkey_sessions(SEAL=False)
    one, other = stored(a=1), stored(b=2)
    assert one.data() == {"a": 1}
    valkey.set(one.key, valkey.get(other.key))
    assert one.data() == {}


# Error reports, which show the variables of each function.


def refuse(base, ours, theirs):
    raise ValueError("This merges nothing.")


def unserializable(session):
    session["a"] = object()


def shown(caught):
    """Return what the report shows of the engine's functions, and of Django's."""
    reporter = ExceptionReporter(None, caught.type, caught.value, caught.tb)
    return str(
        [
            frame["vars"]
            for frame in reporter.get_traceback_frames()
            if "/tests/" not in frame["filename"]
        ]
    )


@pytest.fixture
def changed(call, stored, valkey_sessions):
    """A session with changes, on a server that would not hide them."""
    valkey_sessions(SEAL=False)
    session = stored(a="sesame").open()
    call(session, "update", {"b": "sesame"})
    return session


@pytest.mark.parametrize("name", ["save", "create", "cycle_key", "renew", "flush"])
def test_no_report_of_an_outage_shows_the_session(
    call, changed, before_each_trip, name
):
    def fail(trip):
        raise SessionStoreUnavailable("down")

    before_each_trip(fail)
    with pytest.raises(SessionStoreUnavailable) as caught:
        call(changed, name)
    assert "sesame" not in shown(caught)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda session: session.clear() or session.delete(), UpdateError),
        (unserializable, TypeError),
    ],
)
def test_no_report_of_a_save_shows_the_session(call, changed, spoil, error):
    session_key = changed.session_key
    spoil(SessionStore(session_key) if error is UpdateError else changed)
    with pytest.raises(error) as caught:
        call(changed, "save")
    assert "sesame" not in shown(caught)
    assert session_key not in shown(caught)


def test_no_report_of_a_conflict_shows_the_session(
    call, changed, valkey_sessions, monkeypatch
):
    monkeypatch.setattr("django_valkey_sessions.backend.RETRIES", 0)
    other = SessionStore(changed.session_key)
    other["b"] = "sesame, too"
    other.save()
    with pytest.raises(SessionConflict) as conflict:
        call(changed, "save")
    assert "sesame" not in shown(conflict)
    other["b"] = "sesame again"
    other.save()
    valkey_sessions(MERGE={"b": refuse})
    with pytest.raises(ValueError, match="nothing") as refusal:
        call(changed, "save")
    assert "sesame" not in shown(refusal)
