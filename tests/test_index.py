"""
The index of a user's sessions: each test on both surfaces, on one server and on a
cluster. Evidence is what the server has.
"""

import time
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import UpdateError

from django_valkey_sessions import client, index, keys, scripts, sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.conf import BadSetting, conf
from django_valkey_sessions.exceptions import (
    ReplyLost,
    SessionConflict,
    SessionStoreUnavailable,
)

from . import servers
from .conftest import evaluates

FORTNIGHT = 14 * 86400
UNKNOWN = "0" * 32
#: A user's id that would be something else in a pattern, an address or a shell.
STRANGE = "a*[b]?{c}: \N{SNOWMAN}\n7"


@pytest.fixture(autouse=True)
def nothing_noted(monkeypatch):
    monkeypatch.setattr(index, "_noted", set())


@pytest.fixture
def entries():
    """Return a user's entries and their scores, as the server has them."""

    def entries(user="7"):
        words = ["ZRANGE", keys.index_key(conf.PREFIX, user), "0", "-1", "WITHSCORES"]
        return {id.decode(): score for id, score in client.execute(words).items()}

    return entries


@pytest.fixture
def change(settings):
    """Change the engine's settings."""

    def change(**names):
        settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, **names}

    return change


def new_session(call, user="7", **data):
    session = SessionStore()
    session.update(data if user is None else {"_auth_user_id": user, **data})
    call(session, "save")
    return session


def opened(call, session):
    """Return the session as another request has it."""
    other = SessionStore(session.session_key)
    call(other, "items")
    return other


def id_of(session):
    return keys.session_id(session.session_key)


def lifetime(prefix, id):
    return client.execute(["PTTL", keys.stored_key(prefix, id)]) / 1000


# What is written.


def test_a_login_enters_its_session_with_its_expiry(call, prefix, entries):
    session = new_session(call)
    ((id, score),) = entries().items()
    assert id == id_of(session)
    assert 0 <= score - (time.time() + lifetime(prefix, id)) < 1.5
    left = client.execute(["PTTL", keys.index_key(prefix, "7")]) / 1000
    assert FORTNIGHT - 60 < left <= FORTNIGHT + 1


def test_a_visitor_is_in_no_index(call, prefix):
    new_session(call, user=None, cart=[1])
    assert list(SessionStore.ids()) != []
    cursor, names = "0", []
    while cursor != b"0":
        cursor, found = client.execute(
            ["SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", "1000"]
        )
        names += found
    assert len(names) == 1


def test_any_text_can_be_the_id_of_a_user(call, prefix, entries):
    session = new_session(call, user=STRANGE)
    assert list(entries(STRANGE)) == [id_of(session)]
    assert [info.id for info in sessions.for_user(STRANGE)] == [id_of(session)]


def test_a_change_renews_the_entry(call, prefix, entries):
    session = new_session(call, _session_expiry=100)
    first = entries()[id_of(session)]
    session.set_expiry(1000)
    call(session, "save")
    assert 895 < entries()[id_of(session)] - first <= 905


def test_on_one_server_the_entry_follows_a_shorter_expiry(call, engine, entries):
    session = new_session(call, _session_expiry=1000)
    first = entries()[id_of(session)]
    session.set_expiry(100)
    call(session, "save")
    assert -960 <= entries()[id_of(session)] - first < -895


def test_touching_renews_the_entry(call, prefix, entries, change):
    change(TOUCH_INTERVAL=0)
    session = new_session(call)
    key = keys.index_key(prefix, "7")
    client.execute(["ZADD", key, str(int(time.time()) + 10), id_of(session)])
    assert call(opened(call, session), "touch") is True
    assert entries()[id_of(session)] > time.time() + FORTNIGHT - 60


def test_touching_brings_a_lost_entry_back(call, prefix, entries, change):
    change(TOUCH_INTERVAL=0)
    session = new_session(call)
    client.execute(["UNLINK", keys.index_key(prefix, "7")])
    call(opened(call, session), "save")
    assert list(entries()) == [id_of(session)]


def test_a_new_key_moves_the_entry(call, prefix, entries):
    session = new_session(call)
    old = id_of(session)
    call(session, "cycle_key")
    assert list(entries()) == [id_of(session)]
    assert id_of(session) != old


def test_a_visitor_who_logs_in_is_entered(call, prefix, entries):
    session = new_session(call, user=None, cart=[1])
    call(session, "cycle_key")
    call(session, "update", {"_auth_user_id": "7"})
    call(session, "save")
    assert list(entries()) == [id_of(session)]


@pytest.mark.parametrize("end", ["flush", "delete"])
def test_logging_out_removes_the_entry(call, prefix, entries, end):
    session, other = new_session(call), new_session(call)
    call(opened(call, session), end)
    assert list(entries()) == [id_of(other)]
    call(opened(call, other), end)
    assert entries() == {}


def test_another_user_in_the_same_session_moves_the_entry(call, prefix, entries):
    session = new_session(call)
    call(session, "update", {"_auth_user_id": "8"})
    call(session, "save")
    assert (entries("7"), list(entries("8"))) == ({}, [id_of(session)])
    call(session, "pop", "_auth_user_id")
    call(session, "save")
    assert entries("8") == {}


def test_an_expired_lifetime_removes_the_entry(call, prefix, entries):
    session = new_session(call)
    session.set_expiry(-1)
    call(session, "save")
    assert entries() == {}


def test_the_entry_ends_with_the_maximum_lifetime(call, prefix, entries, change):
    change(MAX_LIFETIME=500)
    session = new_session(call)
    assert 440 < entries()[id_of(session)] - time.time() <= 502


def test_without_expiry_the_entry_has_that_of_the_envelope(
    call, prefix, entries, change
):
    change(EXPIRE=False, TTL=500)
    session = new_session(call)
    assert 440 < entries()[id_of(session)] - time.time() <= 502
    call(session, "update", {"a": 1})
    call(session, "save")
    assert list(entries()) == [id_of(session)]


def test_writing_trims_what_is_over(call, prefix, entries):
    key = keys.index_key(prefix, "7")
    client.execute(["ZADD", key, str(int(time.time()) - 10), UNKNOWN])
    session = new_session(call)
    assert list(entries()) == [id_of(session)]


def test_the_index_expires_with_its_last_session(call, prefix):
    new_session(call, _session_expiry=1000)
    new_session(call, _session_expiry=100)
    left = client.execute(["PTTL", keys.index_key(prefix, "7")]) / 1000
    assert 940 < left <= 1001


def test_without_the_index_nothing_is_entered(call, prefix, change):
    change(USER_INDEX=False)
    session = new_session(call)
    call(session, "cycle_key")
    assert client.execute(["EXISTS", keys.index_key(prefix, "7")]) == 0
    for name in ("for_user", "revoke_user"):
        with pytest.raises(BadSetting, match="USER_INDEX"):
            getattr(sessions, name)("7")


def test_a_save_that_is_refused_enters_nothing(call, prefix, entries):
    session = new_session(call)
    late = opened(call, session)
    call(session, "flush")
    call(late, "update", {"a": 1})
    with pytest.raises(UpdateError):
        call(late, "save")
    assert entries() == {}


def test_a_conflict_that_logs_out_is_followed(call, engine, entries):
    session = new_session(call)
    mine, theirs = opened(call, session), opened(call, session)
    call(theirs, "pop", "_auth_user_id")
    call(theirs, "save")
    call(mine, "update", {"a": 1})
    call(mine, "save")
    assert "_auth_user_id" not in opened(call, session)
    assert entries() == {}


# An error of the index is none of the session.


def test_a_foreign_key_in_place_of_the_index_does_no_harm(call, prefix, api, caplog):
    client.execute(["SET", keys.index_key(prefix, "7"), "not ours"])
    session = new_session(call)
    call(session, "update", {"a": 1})
    call(session, "save")
    call(session, "cycle_key")
    assert opened(call, session)["a"] == 1
    assert "index of users' sessions can't be written" in caplog.text
    assert "WRONGTYPE" in caplog.text
    assert len(caplog.records) <= 2  # One for each of the server's ways to say it.
    for name in ("for_user", "revoke_user"):
        with pytest.raises(SessionStoreUnavailable, match="no sorted set"):
            api(name, "7")
    call(session, "flush")
    assert client.execute(["GET", keys.index_key(prefix, "7")]) == b"not ours"
    client.execute(["UNLINK", keys.index_key(prefix, "7")])


@pytest.fixture
def without_rights(settings):
    """The engine as a user who may not write sorted sets."""
    server = servers.Server("--requirepass", "default's")
    with server.connect(password="default's") as valkey:
        rights = [">x", "+@all", "-zadd", "-zrem", "~*"]
        valkey.execute_command("ACL", "SETUSER", "poor", "on", *rights)
    url = f"valkey://poor:x@127.0.0.1:{server.port}"
    settings.VALKEY_SESSIONS = {"LOCATION": url}
    yield
    client.close()
    server.close()


def test_a_missing_right_to_the_index_does_no_harm(call, without_rights, caplog):
    session = new_session(call)
    call(session, "cycle_key")
    assert opened(call, session)["_auth_user_id"] == "7"
    call(session, "flush")
    assert list(SessionStore.ids()) == []
    assert "index of users' sessions can't be written" in caplog.text
    # About ZADD and about ZREM; Redis does not name them, and it is the same text.
    texts = {record.getMessage() for record in caplog.records}
    assert len(texts) == len(caplog.records) <= 2


# Who has which.


def test_the_sessions_of_a_user_the_last_used_first(call, api, prefix):
    old = new_session(call, n=1)
    new = new_session(call, n=2)
    new_session(call, user="8")
    key = keys.stored_key(prefix, id_of(old))
    client.execute(["PEXPIRE", key, str((FORTNIGHT - 3600) * 1000)])
    infos = api("for_user", "7")
    assert [info.decode()["n"] for info in infos] == [2, 1]
    assert infos[0].id == id_of(new)
    assert infos[0].last_active - infos[1].last_active < timedelta(seconds=5)


def test_a_user_can_be_given_as_such(call, api, prefix):
    session = new_session(call)
    assert [info.id for info in api("for_user", User(pk=7))] == [id_of(session)]


def test_nobody_has_sessions_that_nobody_has(api, prefix):
    assert api("for_user", "7") == []
    assert api("revoke_user", "7") == 0


def test_looking_removes_the_entries_of_what_is_gone(call, api, prefix, entries):
    gone, alive = new_session(call), new_session(call)
    client.execute(["UNLINK", keys.stored_key(prefix, id_of(gone))])
    assert [info.id for info in api("for_user", "7")] == [id_of(alive)]
    assert list(entries()) == [id_of(alive)]


def test_looking_removes_the_entries_of_other_users(call, api, prefix, entries):
    other = new_session(call, user="8")
    key = keys.index_key(prefix, "7")
    client.execute(["ZADD", key, str(int(time.time()) + 100), id_of(other)])
    assert api("for_user", "7") == []
    assert api("revoke_user", "7") == 0
    # In a cluster that can't be done without a risk.
    assert entries() == {} or conf.CLUSTER
    assert list(entries("8")) == [id_of(other)]


def test_what_can_not_be_read_is_not_shown_but_ended(call, api, prefix, entries):
    session = new_session(call)
    key = keys.stored_key(prefix, id_of(session))
    client.execute(["SET", key, "damaged"])
    assert api("for_user", "7") == []
    assert list(entries()) == [id_of(session)]
    assert api("revoke_user", "7") == 1
    assert client.execute(["EXISTS", key]) == 0


# When a session was last used.


def test_a_session_was_last_used_when_its_lifetime_began(call, api, prefix):
    session = new_session(call, _session_expiry=1000)
    key = keys.stored_key(prefix, id_of(session))
    client.execute(["PEXPIRE", key, "700000"])
    info = api("get", id_of(session))
    assert info.last_active == max(info.created, info.expires - timedelta(seconds=1000))


def test_of_a_fixed_end_nobody_can_tell_when_it_was_last_used(call, api, prefix):
    session = new_session(call, user=None)
    session.set_expiry(timedelta(days=1))
    call(session, "save")
    info = api("get", id_of(session))
    assert info.last_active == info.created


# Ending them.


def test_all_sessions_of_a_user_are_ended_but_one(call, api, prefix, entries):
    mine, *others = [new_session(call) for _ in range(4)]
    bystander = new_session(call, user="8")
    assert api("revoke_user", "7", keep=mine) == 3
    assert list(entries()) == [id_of(mine)]
    alive = set(SessionStore.ids())
    assert alive == {id_of(mine), id_of(bystander)}
    assert api("revoke_user", "7", keep=id_of(mine)) == 0
    assert api("revoke_user", User(pk=7)) == 1
    for session in others:
        call(session, "update", {"a": 1})
        with pytest.raises(UpdateError):
            call(session, "save")


@pytest.mark.parametrize("wrong", ["", "A" * 32, "7"])
def test_what_is_kept_has_to_be_an_id(api, prefix, wrong):
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        api("revoke_user", "7", keep=wrong)


def test_a_session_without_a_key_keeps_nothing(call, api, prefix):
    new_session(call)
    assert api("revoke_user", "7", keep=SessionStore()) == 1


def test_a_session_that_gets_a_new_key_meanwhile_is_ended_too(
    call, prefix, entries, before_each_trip
):
    session = new_session(call)
    moved = []

    def move(trip):
        # After the index was read, before the session is.
        if evaluates(trip, scripts.READ) and not moved:
            moved.append(session)
            other = SessionStore(session.session_key)
            other.cycle_key()
            moved.append(other)

    before_each_trip(move)
    assert sessions.revoke_user("7") == 1
    assert len(moved) == 2
    assert list(SessionStore.ids()) == []
    assert entries() == {}


def test_a_user_who_logs_in_all_the_time_is_a_conflict(call, prefix, before_each_trip):
    new_session(call)
    busy = []

    def log_in(trip):
        if trip[0] == "ZRANGE" and not busy:
            busy.append(True)
            _log_in()
            busy.clear()

    def _log_in():
        session = SessionStore()
        session["_auth_user_id"] = "7"
        session.save()

    before_each_trip(log_in)
    with pytest.raises(SessionConflict, match="new sessions each"):
        sessions.revoke_user("7")


def test_revoking_races_against_new_keys(engine):
    """Whatever the order: no session of the user is left."""
    for _ in range(150):
        session = SessionStore()
        session["_auth_user_id"] = "7"
        session.save()
        moving = SessionStore(session.session_key)
        moving.items()
        start = Barrier(2)

        def cycle(moving=moving, start=start):
            start.wait()
            moving.cycle_key()

        thread = Thread(target=cycle)
        thread.start()
        start.wait()
        sessions.revoke_user("7")
        thread.join()
        # The thread may have stored the session anew after the last look, but then it
        # has seen that the old one was gone, and has taken it back.
        assert SessionStore.length() == 0
    assert client.execute(["EXISTS", keys.index_key(engine, "7")]) == 0


def test_ending_one_session_removes_its_entry(call, api, prefix, entries):
    session, other = new_session(call), new_session(call)
    assert api("revoke", id_of(session)) is True
    assert list(entries()) == [id_of(other)]


def test_clearing_by_choice_removes_the_entries(call, api, prefix, entries):
    new_session(call)
    assert api("clear", lambda info: info.user_id == "7") == 1
    assert entries() == {}


def test_clearing_all_leaves_no_index(call, api, prefix, valkey):
    for user in ("7", "8", None):
        new_session(call, user)
    assert api("clear") == 3
    for user in ("7", "8"):
        assert client.execute(["EXISTS", keys.index_key(prefix, user)]) == 0


# Tidying.


def test_clear_expired_removes_the_entries_of_what_is_gone(call, prefix, entries):
    gone, alive = new_session(call), new_session(call)
    client.execute(["UNLINK", keys.stored_key(prefix, id_of(gone))])
    call(SessionStore(), "clear_expired")
    assert list(entries()) == [id_of(alive)]


def test_clear_expired_removes_many_entries(call, prefix, entries, monkeypatch):
    monkeypatch.setattr(index, "PAGE", 100)
    key = keys.index_key(prefix, "7")
    words = [w for n in range(250) for w in (str(2**31 + n), f"{n:032x}")]
    client.execute(["ZADD", key, *words])
    session = new_session(call)
    call(SessionStore(), "clear_expired")
    assert list(entries()) == [id_of(session)]


@pytest.mark.parametrize(
    ("script", "is_left"), [(scripts.LIST, False), (scripts.TIDY, True)]
)
def test_a_reply_that_gets_lost_does_not_stop_the_tidying(
    engine, before_each_trip, script, is_left
):
    """What is looked at is looked at again, and an entry may stay until next time."""
    session = SessionStore()
    session["_auth_user_id"] = "7"
    session.save()
    client.execute(["UNLINK", keys.stored_key(engine, id_of(session))])
    lost = []

    def lose(trip):
        if evaluates(trip, script) and not lost:
            lost.append(trip)
            raise ReplyLost("lost")

    before_each_trip(lose)
    SessionStore.clear_expired()
    assert lost
    left = client.execute(["EXISTS", keys.index_key(engine, "7")])
    assert bool(left) is is_left


def test_clear_expired_leaves_foreign_keys_alone(call, prefix, others):
    foreign = keys.index_key(prefix, "list")
    others("RPUSH", foreign, "a")
    call(SessionStore(), "clear_expired")
    assert others("LLEN", foreign) == 1
    client.execute(["UNLINK", foreign])


def test_reindexing_enters_what_is_not(call, api, prefix, entries):
    one, two = new_session(call, "7"), new_session(call, "8")
    new_session(call, None)
    for user in ("7", "8"):
        client.execute(["UNLINK", keys.index_key(prefix, user)])
    assert api("reindex") == 2
    assert list(entries("7")) == [id_of(one)]
    assert list(entries("8")) == [id_of(two)]
    assert -60 < entries("7")[id_of(one)] - time.time() - FORTNIGHT < 2


def test_reindexing_does_not_shorten_an_entry(call, api, prefix, entries):
    session = new_session(call)
    later = int(time.time()) + 2 * FORTNIGHT
    client.execute(["ZADD", keys.index_key(prefix, "7"), str(later), id_of(session)])
    assert api("reindex") == 1
    assert entries()[id_of(session)] == later


# A limit of sessions.


def aged(prefix, session, seconds):
    """Let the session have been used last so many seconds ago."""
    id = id_of(session)
    left = int((FORTNIGHT - seconds) * 1000)
    client.execute(["PEXPIRE", keys.stored_key(prefix, id), str(left)])
    return session


def test_a_login_beyond_the_limit_ends_the_least_recently_used(
    call, prefix, entries, change, monkeypatch
):
    change(MAX_SESSIONS_PER_USER=2)
    # Sessions can only have been used after they were created.
    monkeypatch.setattr(time, "time", _an_hour_ago(time.time))
    first, second = new_session(call), new_session(call)
    monkeypatch.undo()
    monkeypatch.setattr(index, "_noted", set())
    aged(prefix, second, 600)
    aged(prefix, first, 60)
    third = new_session(call)
    assert set(SessionStore.ids()) == {id_of(first), id_of(third)}
    assert set(entries()) == {id_of(first), id_of(third)}


def _an_hour_ago(clock):
    return lambda: clock() - 3600


def test_a_long_lived_session_is_not_kept_for_being_long_lived(call, prefix, change):
    """What counts is when it was used, not when it expires."""
    change(MAX_SESSIONS_PER_USER=2)
    long = new_session(call, _session_expiry=30 * 86400)
    key = keys.stored_key(prefix, id_of(long))
    client.execute(["PEXPIRE", key, str(20 * 86400 * 1000)])
    short = new_session(call, _session_expiry=600)
    new = new_session(call)
    assert long.session_key
    assert set(SessionStore.ids()) in (
        {id_of(short), id_of(new)},
        # Both were created in this second.
        {id_of(long), id_of(new)},
    )


def test_who_logs_in_stays_whatever_its_expiry(call, change, prefix):
    change(MAX_SESSIONS_PER_USER=1)
    new_session(call)
    brief = new_session(call, _session_expiry=60)
    assert list(SessionStore.ids()) == [id_of(brief)]


def test_only_a_login_ends_others(call, prefix, change):
    first, second = new_session(call), new_session(call)
    change(MAX_SESSIONS_PER_USER=1)
    call(second, "update", {"a": 1})
    call(second, "save")
    call(first, "cycle_key")
    assert SessionStore.length() == 2


def test_other_users_and_visitors_are_not_counted(call, prefix, change):
    change(MAX_SESSIONS_PER_USER=1)
    for user in ("7", "8", None, None):
        new_session(call, user)
    assert SessionStore.length() == 4


def test_sessions_that_are_gone_are_not_counted(call, prefix, entries, change):
    change(MAX_SESSIONS_PER_USER=2)
    first, gone = new_session(call), new_session(call)
    client.execute(["UNLINK", keys.stored_key(prefix, id_of(gone))])
    third = new_session(call)
    assert set(SessionStore.ids()) == {id_of(first), id_of(third)}
    assert set(entries()) == {id_of(first), id_of(third)}


def test_another_users_session_is_never_ended(call, prefix, change):
    change(MAX_SESSIONS_PER_USER=1)
    other = new_session(call, user="8")
    key = keys.index_key(prefix, "7")
    client.execute(["ZADD", key, str(int(time.time()) + 10), id_of(other)])
    mine = new_session(call)
    assert set(SessionStore.ids()) == {id_of(other), id_of(mine)}


def test_what_can_not_be_read_is_neither_counted_nor_ended(call, prefix, change):
    change(MAX_SESSIONS_PER_USER=2)
    damaged, first = new_session(call), new_session(call)
    client.execute(["SET", keys.stored_key(prefix, id_of(damaged)), "damaged"])
    second = new_session(call)
    alive = {id_of(session) for session in (damaged, first, second)}
    assert set(SessionStore.ids()) == alive


def test_a_new_limit_is_reached_in_steps(call, prefix, change, monkeypatch):
    monkeypatch.setattr(sessions, "SURPLUS", 5)
    for _ in range(20):
        new_session(call)
    change(MAX_SESSIONS_PER_USER=2)
    counts = []
    for _ in range(25):
        new_session(call)
        counts.append(SessionStore.length())
    assert counts[-1] == 2
    assert counts == sorted(counts, reverse=True)


def test_a_session_that_is_used_meanwhile_is_not_ended(
    call, engine, change, before_each_trip
):
    change(MAX_SESSIONS_PER_USER=1)
    busy = new_session(call, n=0)

    def use(trip):
        if scripts.LIMIT in trip or scripts.LIMIT.sha in trip:
            # In a thread, because an event loop may be running in this one.
            using = Thread(target=change_it)
            using.start()
            using.join()

    def change_it():
        other = SessionStore(busy.session_key)
        other["n"] = 1
        other.save()

    before_each_trip(use)
    new = new_session(call)
    assert set(SessionStore.ids()) == {id_of(busy), id_of(new)}


def test_logins_at_the_same_time_leave_as_many_as_allowed(prefix, change):
    # Who is not answered in time leaves it to the next login.
    change(MAX_SESSIONS_PER_USER=2, OPTIONS={"request_timeout": 5000})
    for _ in range(40):
        start = Barrier(4)

        def log_in(start=start):
            session = SessionStore()
            session["_auth_user_id"] = "7"
            start.wait()
            session.save()

        threads = [Thread(target=log_in) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert SessionStore.length() == 2
        assert len(sessions.for_user("7")) == 2


def test_an_outage_while_others_are_ended_does_not_undo_the_login(
    call, engine, change, before_each_trip, caplog
):
    change(MAX_SESSIONS_PER_USER=1)
    old = new_session(call)

    def fail(trip):
        if scripts.LIMIT in trip or scripts.LIMIT.sha in trip:
            raise SessionStoreUnavailable("down")

    before_each_trip(fail)
    new = new_session(call)
    assert set(SessionStore.ids()) == {id_of(old), id_of(new)}
    assert "could not be ended: down" in caplog.text


# The store's own words for all sessions.


def test_the_words_of_other_stores(call, prefix):
    ids = {id_of(new_session(call)) for _ in range(3)}
    assert set(SessionStore.ids()) == ids
    assert {info.id for info in SessionStore.all()} == ids
    assert call(SessionStore, "length") == 3
    assert call(SessionStore, "clear_all") == 3
    assert call(SessionStore, "length") == 0


def test_the_same_awaiting(prefix):
    import asyncio

    async def walk():
        session = SessionStore()
        session["_auth_user_id"] = "7"
        await session.asave()
        ids = [id async for id in SessionStore.aids()]
        return ids, [info.id async for info in SessionStore.aall()]

    ids, infos = asyncio.run(walk())
    assert ids == infos
    assert len(ids) == 1


def test_an_index_that_others_replace_while_it_is_tidied_is_left_alone(
    engine, valkey, before_each_trip
):
    key = index.index_of("7")
    valkey.zadd(key, {UNKNOWN: 4102444800})

    def replace_it(trip):
        if evaluates(trip, scripts.TIDY):
            valkey.set(key, "theirs")

    before_each_trip(replace_it)
    SessionStore.clear_expired()
    assert valkey.get(key) == b"theirs"
