"""
The interface to many sessions: each test on both surfaces, on one server and on a
cluster.
"""

import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.sessions.backends.base import UpdateError

from django_valkey_sessions import client, codec, keys, scripts, sessions, sweeping
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.codec import Unreadable
from django_valkey_sessions.exceptions import ConnectionLost, SessionStoreUnavailable
from django_valkey_sessions.signals import session_ended

from . import servers
from .conftest import evaluates

UNKNOWN = "0" * 32


def new_session(user=None, **data):
    session = SessionStore()
    session.update(data if user is None else {"_auth_user_id": user, **data})
    session.save()
    return session


def id_of(session):
    return keys.session_id(session.session_key)


# Many at once.


@pytest.mark.parametrize(
    "key", ["session:7", "{a}b", "a{b}c{d}", "a{}b", "a{b", "}a{b}", "{{a}}", "ä{}"]
)
def test_a_keys_slot_is_where_the_cluster_keeps_it(clustered, key):
    with clustered[0].connect() as connection:
        assert keys.slot(key.encode()) == connection.cluster("KEYSLOT", key)


def test_of_large_sessions_few_are_read_at_a_time(api, prefix, monkeypatch):
    monkeypatch.setattr(scripts, "ENOUGH", "1000")
    # Of seven, one of three nodes has three, and two are enough.
    sizes = [600] * 7 + [0, 5000]
    for size in sizes:
        new_session(noise=os.urandom(size).hex())
    with client.record() as trips:
        found = list(api("iterate"))
    assert len(found) == len(sizes)
    assert sum(trip[0].startswith("EVAL") for trip in trips) > 1


@pytest.mark.parametrize("reply", [b"OK", [b"another mark", b"a session", 1]])
def test_the_reply_to_another_look_is_an_error(reply):
    flow = scripts.stored([UNKNOWN])
    next(flow)
    with pytest.raises(SessionStoreUnavailable, match="do not belong"):
        flow.send([reply])


def test_what_is_gone_after_a_lost_reply_was_cleared(prefix, monkeypatch):
    told, lost = [], []
    ids = {id_of(new_session()) for _ in range(3)}
    execute = client.execute

    def lose(trip):
        reply = execute(trip)
        if evaluates(trip, scripts.REMOVE) and not lost:
            lost.append(trip)
            raise ConnectionLost("lost")
        return reply

    def note(sender, id, user_id, reason, **kwargs):
        told.append((id, user_id, reason))

    session_ended.connect(note)
    monkeypatch.setattr(client, "execute", lose)
    try:
        assert sessions.clear() == 3
    finally:
        session_ended.disconnect(note)
    assert sorted(told) == sorted((id, None, "revoked") for id in ids)


# The interface.


def test_what_is_known_of_a_session(api, prefix):
    session = new_session("7", cart=[1, 2], _session_expiry=900)
    info = api("get", id_of(session))
    now = datetime.now(UTC)
    assert (info.id, info.user_id) == (id_of(session), "7")
    assert timedelta() <= now - info.created < timedelta(seconds=5)
    assert timedelta(seconds=895) < info.expires - now <= timedelta(seconds=900)
    assert info.decode()["cart"] == [1, 2]
    stored = client.execute(["GET", keys.stored_key(prefix, info.id)])
    assert info.size == len(stored)
    assert "cart" not in repr(info)
    assert str(info.decode()) not in repr(info)


def test_without_expiry_the_envelope_says_when_a_session_expires(api, prefix, settings):
    settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, "EXPIRE": False, "TTL": 0.3}
    session = new_session("7")
    assert api("get", id_of(session)).expires > datetime.now(UTC)
    time.sleep(0.35)
    assert api("get", id_of(session)) is None
    assert list(api("iterate")) == []


def test_of_what_can_not_be_read_only_the_outside_is_known(api, prefix):
    client.execute(["SET", keys.stored_key(prefix, UNKNOWN), "garbage"])
    info = api("get", UNKNOWN)
    assert (info.user_id, info.created, info.expires, info.size) == (
        None,
        None,
        None,
        7,
    )
    with pytest.raises(Unreadable):
        info.decode()


def test_a_site_may_have_no_time_zones(api, prefix, settings):
    settings.USE_TZ = False
    session = new_session("7")
    (info,) = api("for_user", "7")
    assert info.id == id_of(session)
    assert timedelta() <= datetime.now(UTC) - info.last_active < timedelta(minutes=1)


def test_an_unknown_session_is_none(api, prefix):
    assert api("get", UNKNOWN) is None
    assert api("revoke", UNKNOWN) is False


@pytest.mark.parametrize("wrong", ["", "a" * 31, "A" * 32, "user:7", "*"])
def test_what_is_no_id_is_refused(api, wrong):
    for name in ("get", "revoke"):
        with pytest.raises(ValueError, match="32 hexadecimal digits"):
            api(name, wrong)


def test_revoking_ends_a_session_also_for_a_request_under_way(api, prefix, call):
    session = SessionStore(new_session("7").session_key)
    call(session, "update", {"a": 1})
    assert api("revoke", id_of(session)) is True
    with pytest.raises(UpdateError):
        call(session, "save")


def strange_keys(prefix):
    """Keys of others that begin as ours do, or nearly so."""
    return [
        f"{prefix}another",
        f"{prefix}{'0' * 31}",
        f"{prefix}{'A' * 32}",
        f"{prefix}sub:{UNKNOWN}",
        f"x{prefix}{UNKNOWN}",
    ]


@pytest.mark.parametrize("glob", ["", "a[1]*?\\:"])
def test_only_sessions_are_counted_listed_and_cleared(
    api, settings, prefix, others, glob
):
    prefix = f"{prefix}{glob}"
    settings.VALKEY_SESSIONS = {
        **settings.VALKEY_SESSIONS,
        "PREFIX": prefix,
        "SCAN_COUNT": 5,
    }
    strange = [*strange_keys(prefix), prefix.replace("a[1]*?", "a1zz") + "1" * 32]
    strange = [key for key in strange if keys.stored_id(prefix, key) is None]
    for key in strange:
        others("SET", key, "not ours")
    ours = {id_of(new_session("7")) for _ in range(20)} | {id_of(new_session())}
    assert api("count") == 21
    assert {info.id for info in api("iterate")} == ours
    assert api("clear") == 21
    assert api("count") == 0
    for key in strange:
        assert others("UNLINK", key) == 1


def test_clearing_may_choose(api, prefix):
    user, visitor = new_session("7"), new_session()
    assert api("clear", lambda info: info.user_id is None) == 1
    assert {info.id for info in api("iterate")} == {id_of(user)}
    assert api("clear", lambda info: info.user_id == "7") == 1
    assert SessionStore().exists(visitor.session_key) is False


@pytest.mark.parametrize("every", [None, lambda info: True])
def test_clearing_removes_what_can_not_be_read(api, prefix, every):
    for value in ("", "x", "garbage", "z" * 100):
        key = keys.stored_key(prefix, keys.session_id(value))
        client.execute(["SET", key, value])
    assert api("clear", every) == 4
    assert api("count") == 0


def test_a_session_that_changes_while_it_is_cleared_is_judged_again(
    engine, call, before_each_trip
):
    visitor, bystander = new_session(a=1), new_session(a=2)

    def log_in(trip):
        if trip[0][0].startswith("EVAL") and visitor.get("_auth_user_id") is None:
            visitor["_auth_user_id"] = "7"
            visitor.save()

    before_each_trip(log_in)
    assert sessions.clear(lambda info: info.user_id is None) == 1
    assert SessionStore().exists(visitor.session_key) is True
    assert SessionStore().exists(bystander.session_key) is False


def test_a_session_that_never_stops_changing_is_left_in_the_end(
    engine, before_each_trip
):
    session = new_session(n=0)

    def change(trip):
        if isinstance(trip, tuple) and evaluates(trip, scripts.SWAP):
            other = SessionStore(session.session_key)
            other["n"] += 1
            other.save()

    before_each_trip(change)
    assert sessions.clear(lambda info: True) == 0
    assert session.load()["n"] == sessions.ROUNDS


def test_an_error_is_never_no_session(engine, api, guarded_reading):
    ids = guarded_reading
    for look in (lambda: api("get", ids[0]), lambda: list(api("iterate"))):
        with pytest.raises(SessionStoreUnavailable, match="does not permit"):
            look()


@pytest.fixture
def guarded_reading(settings):
    """The ids of sessions on a server whose user may not read one of them."""
    server = servers.Server("--requirepass", "default's")
    where = f"127.0.0.1:{server.port}"
    settings.VALKEY_SESSIONS = {"LOCATION": f"valkey://:default's@{where}"}
    ids = [id_of(new_session(n=n)) for n in range(3)]
    with server.connect(password="default's") as valkey:
        rights = [">x", "+@all", *(f"~session:{id}" for id in ids[1:])]
        valkey.execute_command("ACL", "SETUSER", "poor", "on", *rights)
    settings.VALKEY_SESSIONS = {"LOCATION": f"valkey://poor:x@{where}"}
    yield ids
    client.close()
    server.close()


def test_no_session_is_known_that_has_lived_for_its_maximum(api, prefix, settings):
    session = new_session(a=1)
    key = keys.stored_key(prefix, id_of(session))
    old = codec.pack(b'{"a":1}', id_of(session), int(time.time()) - 100)
    client.execute(["SET", key, old])
    settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, "MAX_LIFETIME": 200}
    assert timedelta(seconds=95) < expires_in(api("get", id_of(session)))
    settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, "MAX_LIFETIME": 50}
    assert api("get", id_of(session)) is None


def test_an_expiry_beyond_every_calendar_is_no_error(api, prefix):
    session = new_session(a=1)
    key = keys.stored_key(prefix, id_of(session))
    client.execute(["PEXPIRE", key, str(2**60)])
    assert expires_in(api("get", id_of(session))) > timedelta(days=30_000)


def test_a_list_under_an_id_is_no_session(api, prefix, others):
    others("RPUSH", keys.stored_key(prefix, UNKNOWN), "a")
    assert api("get", UNKNOWN) is None
    assert list(api("iterate")) == []


def test_looking_goes_on_when_the_connection_breaks(engine, before_each_trip):
    session = new_session(a=1)
    broken = []

    def break_once(trip):
        name = trip[0] if isinstance(trip, list) else "GET"
        if name in ("SCAN", "GET") and name not in broken:
            broken.append(name)
            raise ConnectionLost("broken")

    before_each_trip(break_once)
    assert [info.id for info in sessions.iterate()] == [id_of(session)]
    assert broken == ["SCAN", "GET"]


def expires_in(info):
    return info.expires - datetime.now(UTC)


def test_with_a_limit_a_user_has_the_sessions_that_expire_last(api, prefix):
    ids = [id_of(new_session("7", _session_expiry=900 + n)) for n in range(4)]
    assert {info.id for info in api("for_user", "7", limit=2)} == set(ids[2:])


# Pages.


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(sessions, "PAGE_STEP", 5)
    monkeypatch.setattr(sessions, "PAGE", 5)
    monkeypatch.setattr(sessions, "PAGE_STEPS", 3)


def all_pages(api, where=None):
    start, pages = None, []
    while start is not None or not pages:
        pages.append(api("page", start, where))
        start = pages[-1].next
    return pages


def test_what_a_scan_finds_twice_is_one_session(prefix, monkeypatch):
    """As SCAN may return keys, and GLIDE goes through a node of a cluster again."""
    ids = {sessions.id_of(new_session()) for _ in range(5)}
    scanned = sweeping._scanned
    steps = []

    def twice(words):
        cursor, names = yield from scanned(words)
        steps.append(cursor)
        return (cursor if len(steps) > 1 else "0"), [*names, *names]

    monkeypatch.setattr(sweeping, "_scanned", twice)
    assert sessions.count() == 5
    steps.clear()
    assert sorted(SessionStore.ids()) == sorted(ids)
    steps.clear()
    assert sorted(info.id for info in sessions.iterate()) == sorted(ids)


def test_a_scan_remembers_so_many_ids_and_no_more(monkeypatch):
    monkeypatch.setattr(sweeping, "REMEMBERED", 3)
    place = sweeping.Place("0")
    assert place.new_among(["a", "b", "a"]) == ["a", "b"]
    assert place.new_among(["b", "c", "d"]) == ["c", "d"]
    assert list(place.recent) == ["b", "c", "d"]


def test_pages_have_all_sessions_and_only_these(api, prefix, others, small_pages):
    for key in strange_keys(prefix):
        others("SET", key, "not ours")
    ours = {id_of(new_session("7")) for _ in range(30)} | {id_of(new_session())}
    pages = all_pages(api)
    assert len(pages) > 1
    assert {info.id for page in pages for info in page.infos} == ours


def test_a_page_looks_at_so_many_keys_and_no_more(api, prefix, small_pages):
    wanted = {id_of(new_session(n=n)) for n in range(60)}
    pages = all_pages(api, lambda info: info.user_id is not None)
    assert [page.infos for page in pages] == [[]] * len(pages)
    assert {page.looked_at for page in pages[:-1]} == {15}
    assert len(pages) > 2
    wanted.add(id_of(new_session("7")))
    pages = all_pages(api, lambda info: info.user_id is not None)
    assert [info.user_id for page in pages for info in page.infos] == ["7"]


def test_an_empty_server_has_one_empty_page(api, prefix):
    (page,) = all_pages(api)
    assert (page.infos, page.next) == ([], None)


@pytest.mark.parametrize(
    "wrong", ["", "x", "-1", "1:2:3", "0:", str(1 << 64), "16384:0", f"0:{1 << 64}"]
)
def test_a_page_begins_nowhere_else(api, prefix, wrong):
    with pytest.raises(ValueError, match="page before"):
        api("page", wrong)


def test_a_page_of_a_cluster_is_none_of_a_single_server(engine, clustered, settings):
    """As after the setting was changed, from a link in an old browser window."""
    with pytest.raises(ValueError, match="page before"):
        sessions.page("0")
    settings.VALKEY_SESSIONS = {"LOCATION": "valkey://127.0.0.1:1"}
    with pytest.raises(ValueError, match="page before"):
        sessions.page("0:0")


def test_a_page_may_be_asked_for_while_the_connection_breaks(
    api, prefix, before_each_trip
):
    session = new_session(a=1)
    broken = []

    def break_once(trip):
        if not broken:
            broken.append(trip)
            raise ConnectionLost("broken")

    before_each_trip(break_once)
    assert [info.id for page in all_pages(api) for info in page.infos] == [
        id_of(session)
    ]
    assert broken


def test_the_trips_of_a_page_are_recorded(prefix):
    with client.record() as trips:
        sessions.page()
    assert trips[0] == ("SCAN",)
