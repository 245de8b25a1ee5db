"""
A session that goes on under a new key: RENEW_AFTER. Who comes with the old one, early,
late, or in between, finds the session, loses no change, and is logged out by nobody but
the user.
"""

import asyncio
import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.module_loading import import_string
from hypothesis import HealthCheck, example, given
from hypothesis import settings as searching
from hypothesis import strategies as st

from django_valkey_sessions import (
    backend,
    client,
    codec,
    flow,
    keys,
    renewal,
    scripts,
    sessions,
)
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.conf import conf
from django_valkey_sessions.exceptions import (
    ReplyLost,
    SessionConflict,
    SessionStoreUnavailable,
)
from django_valkey_sessions.middleware import SessionMiddleware
from django_valkey_sessions.renewal import Bearer
from django_valkey_sessions.signals import session_created

FORTNIGHT = 14 * 86400 * 1000


@pytest.fixture
def change(settings, prefix):
    """Change the engine's settings, on one server and in a cluster."""

    def change(**names):
        settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, **names}

    change(RENEW_AFTER=3600)
    return change


@pytest.fixture
def stored(call, change):
    """A stored session, loaded as by a request that is under way."""
    return opened(call, created(call, a=1))


def created(call, **data):
    session = SessionStore()
    session.update(data)
    call(session, "save")
    return session.session_key


def opened(call, session_key):
    session = SessionStore(session_key)
    call(session, "get", "anything")
    return session


def items(call, session_key):
    """Return what the site finds under this key, without what the engine keeps."""
    data = dict(call(SessionStore(session_key), "load"))
    data.pop(renewal.KEY, None)
    return data


def key_of(session_key):
    return scripts.key_of(keys.session_id(session_key))


def lives(session_key):
    """Return for how many milliseconds there is something under this key."""
    return client.execute(["PTTL", key_of(session_key)])


def age(session_key, seconds=3600):
    """Let so much time have passed since the session got its key."""
    id = keys.session_id(session_key)
    envelope = codec.unpack(client.execute(["GET", key_of(session_key)]), id)
    data = json.loads(envelope.payload)
    if renewal.KEY in data:
        data[renewal.KEY]["at"] -= seconds
    blob = codec.pack(
        json.dumps(data, separators=(",", ":")).encode(),
        id,
        envelope.created - seconds,
        envelope.expires,
    )
    client.execute(["SET", key_of(session_key), blob, "KEEPTTL"])


# The old key and the new one.


def test_renewing_saves_the_session_under_a_new_key(call, stored):
    old = stored.session_key
    stored["b"] = 2
    call(stored, "renew")
    assert stored.session_key != old
    assert items(call, stored.session_key) == {"a": 1, "b": 2}


def test_renewing_a_session_that_has_no_key_yet_creates_it(call, change):
    session = SessionStore()
    session["a"] = 1
    call(session, "renew")
    assert items(call, session.session_key) == {"a": 1}


def test_the_old_key_leads_to_the_session(call, stored):
    old = stored.session_key
    call(stored, "renew")
    session = opened(call, old)
    assert session["a"] == 1
    assert session.session_key == stored.session_key
    assert session.followed
    assert call(SessionStore(), "exists", old)


def test_the_old_key_leads_on_where_nothing_renews_any_more(call, stored, change):
    old = stored.session_key
    call(stored, "renew")
    change(RENEW_AFTER=None)
    session = opened(call, old)
    session["b"] = 2
    call(session, "save")
    assert items(call, stored.session_key) == {"a": 1, "b": 2}


def test_the_old_key_leads_on_after_the_secret_was_changed(call, stored, settings):
    old = stored.session_key
    call(stored, "renew")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-one"
    assert items(call, old) == {"a": 1}


def test_a_second_load_follows_and_leaves_what_is_in_memory(call, stored):
    other, old = opened(call, stored.session_key), stored.session_key
    stored["b"] = 2
    call(stored, "renew")
    assert call(other, "load")["b"] == 2
    assert other.session_key == old
    assert "b" not in other


def test_what_was_changed_under_the_old_key_meanwhile_is_kept(call, stored):
    """Three requests that were under way, and save in their turn."""
    late = [opened(call, stored.session_key) for _ in range(3)]
    stored["mine"] = 0
    call(stored, "renew")
    for number, session in enumerate(late):
        session[f"late{number}"] = number
        call(session, "save")
        assert session.session_key == stored.session_key
    found = items(call, stored.session_key)
    assert found == {"a": 1, "mine": 0, "late0": 0, "late1": 1, "late2": 2}


def test_what_was_saved_before_the_renewal_is_kept(call, stored):
    other = opened(call, stored.session_key)
    other["theirs"] = 1
    call(other, "save")
    stored["mine"] = 1
    call(stored, "renew")
    assert items(call, stored.session_key) == {"a": 1, "mine": 1, "theirs": 1}


def test_of_two_that_renew_the_second_follows(call, stored, prefix):
    other, old = opened(call, stored.session_key), stored.session_key
    call(stored, "renew")
    other["theirs"] = 1
    call(other, "renew")
    assert other.session_key == stored.session_key
    assert items(call, old) == {"a": 1, "theirs": 1}
    assert len(list(sessions.iterate())) == 1


def test_of_two_that_renew_without_a_change_the_second_lets_it_be(call, stored):
    other, old = opened(call, stored.session_key), stored.session_key
    call(stored, "renew")
    before = client.execute(["GET", key_of(stored.session_key)])
    call(other, "renew")
    assert client.execute(["GET", key_of(stored.session_key)]) == before
    assert items(call, old) == {"a": 1}
    assert len(list(sessions.iterate())) == 1


@pytest.mark.parametrize("how", ["save", "renew"])
def test_what_another_renewal_has_left_is_not_forgotten(call, stored, how):
    call(stored, "renew")
    slow, quick = (SessionStore(stored.session_key) for _ in range(2))
    for session in slow, quick:
        session.with_cookie = True
        call(session, "get", "a")
    call(quick, "save")
    call(quick, "renew")
    slow["b"] = 2
    call(slow, how)
    data = call(SessionStore(quick.session_key), "load")
    assert data["b"] == 2
    assert renewal.recorded(data).left == keys.session_id(stored.session_key)


def test_a_session_that_was_cleared_replaces_the_renewed_one(call, stored):
    other, old = opened(call, stored.session_key), stored.session_key
    call(stored, "renew")
    other.clear()
    other["b"] = 2
    call(other, "save")
    assert items(call, stored.session_key) == {"b": 2}
    assert items(call, old) == {"b": 2}


@pytest.mark.parametrize("expire", [True, False])
@pytest.mark.parametrize("user", [None, "7"])
def test_who_touches_follows_and_prolongs_nothing(call, change, expire, user):
    change(EXPIRE=expire, TOUCH_INTERVAL=0)
    old = created(call, a=1, **({"_auth_user_id": user} if user else {}))
    first, second = opened(call, old), opened(call, old)
    call(first, "renew")
    client.execute(["PEXPIRE", key_of(old), "30000"])
    assert call(second, "touch") is True
    assert second.session_key == first.session_key
    assert lives(old) <= 30000
    call(SessionStore(), "delete", first.session_key)
    assert call(opened(call, old), "touch") is False


@pytest.mark.parametrize("expire", [True, False])
def test_what_leads_on_ends_with_the_session(call, change, expire):
    change(EXPIRE=expire)
    session = opened(call, created(call, a=1))
    old = session.session_key
    session.set_expiry(1000)
    call(session, "renew")
    if expire:
        assert 990_000 < lives(old) <= 1_000_000
        return
    head = client.execute(["GET", key_of(old)])[: codec.HEAD_SIZE]
    assert 990 < codec.expiry_of(head) / 1000 - time.time() <= 1000


def test_a_session_whose_lifetime_is_over_leaves_nothing(call, stored):
    old = stored.session_key
    stored.set_expiry(-1)
    call(stored, "renew")
    assert client.execute(["GET", key_of(old)]) is None
    assert client.execute(["GET", key_of(stored.session_key)]) is None


def test_what_leads_on_leads_nowhere_when_the_session_is_gone(call, stored):
    old = stored.session_key
    call(stored, "renew")
    assert sessions.revoke(keys.session_id(stored.session_key))
    assert not call(SessionStore(), "exists", old)
    session = opened(call, old)
    assert session.session_key is None
    assert dict(session) == {}


def test_what_leads_in_a_circle_leads_nowhere(call, stored):
    bearer = Bearer(stored.session_key)
    lead = codec.pack(renewal.leading(bearer, bearer), bearer.id, 1, leads=True)
    client.execute(["SET", key_of(bearer.session_key), lead])
    assert items(call, bearer.session_key) == {}


def test_what_leads_on_and_is_damaged_leads_nowhere(call, stored, caplog):
    bearer = Bearer(stored.session_key)
    lead = codec.pack(bytes(48), bearer.id, 1, leads=True)
    client.execute(["SET", key_of(bearer.session_key), lead])
    assert items(call, bearer.session_key) == {}
    assert "it leads nowhere" in caplog.text


def test_the_creation_survives_and_ends_the_session_in_time(call, stored, change):
    old = stored.session_key
    age(old, 500)
    session = opened(call, old)
    call(session, "renew")
    change(MAX_LIFETIME=600)
    assert items(call, old) == {"a": 1}
    change(MAX_LIFETIME=400)
    assert items(call, old) == {}
    assert items(call, session.session_key) == {}


def test_a_renewal_is_told_as_a_new_key(call, stored):
    told = []
    receive = lambda **facts: told.append(facts)  # noqa: E731
    old = keys.session_id(stored.session_key)
    session_created.connect(receive)
    try:
        call(stored, "renew")
    finally:
        session_created.disconnect(receive)
    (facts,) = told
    assert facts["previous_id"] == old
    assert facts["id"] == keys.session_id(stored.session_key)


def test_a_session_that_has_ended_is_not_renewed(call, stored):
    other = opened(call, stored.session_key)
    call(other, "flush")
    with pytest.raises(UpdateError):
        call(stored, "renew")
    assert stored.session_key
    assert list(sessions.iterate()) == []
    assert renewal.KEY not in stored


# Ending.


def test_ending_what_is_renewed_all_the_time_says_so_and_ends_nothing(
    call, stored, monkeypatch
):
    old = stored.session_key
    call(stored, "renew")
    monkeypatch.setattr(backend, "RETRIES", 0)
    with pytest.raises(SessionConflict, match="renewed by others 1 times"):
        call(SessionStore(), "delete", old)
    assert items(call, old) == {"a": 1}
    monkeypatch.setattr(backend, "RETRIES", 1)
    call(SessionStore(), "delete", old)
    assert items(call, old) == items(call, stored.session_key) == {}


@pytest.mark.parametrize("how", ["flush", "delete", "delete of another", "in flight"])
def test_a_logout_with_the_old_key_ends_the_session(call, stored, how):
    late, old = opened(call, stored.session_key), stored.session_key
    call(stored, "renew")
    if how == "delete of another":
        call(SessionStore(), "delete", old)
    else:
        session = late if how == "in flight" else opened(call, old)
        call(session, "flush" if how == "in flight" else how)
    assert items(call, stored.session_key) == {}
    assert client.execute(["GET", key_of(stored.session_key)]) is None
    if how in ("in flight", "delete of another"):
        assert client.execute(["GET", key_of(old)]) is None


def test_a_login_with_the_old_key_leaves_it_without_a_session(call, stored):
    late, old = opened(call, stored.session_key), stored.session_key
    call(stored, "renew")
    call(late, "cycle_key")
    late["_auth_user_id"] = "7"
    call(late, "save")
    assert items(call, late.session_key) == {"a": 1, "_auth_user_id": "7"}
    assert items(call, old) == {}
    assert items(call, stored.session_key) == {}


def test_a_renewal_after_a_login_brings_nothing_back(call, stored):
    late, old = opened(call, stored.session_key), stored.session_key
    call(stored, "cycle_key")
    with pytest.raises(UpdateError):
        call(late, "renew")
    assert items(call, old) == {}
    assert len(list(sessions.iterate())) == 1


def test_who_ends_it_by_its_old_id_ends_it(api, change, prefix):
    call = lambda session, name, *args: getattr(session, name)(*args)  # noqa: E731
    session = opened(call, created(call, a=1))
    old = keys.session_id(session.session_key)
    session.renew()
    assert api("get", old) is None
    assert api("revoke", old) is True
    assert api("revoke", old) is False
    assert list(sessions.iterate()) == []


def test_a_session_renewed_while_it_is_ended_is_ended(change, before_each_trip):
    call = lambda session, name, *args: getattr(session, name)(*args)  # noqa: E731
    session = opened(call, created(call, a=1))
    old = keys.session_id(session.session_key)
    trips = count()

    def renew(trip):
        if next(trips) == 1:  # It was seen, and is not removed yet.
            session.renew()

    before_each_trip(renew)
    assert sessions.revoke(old) is True
    assert list(sessions.iterate()) == []


def test_the_own_session_is_kept_also_if_it_was_renewed_meanwhile(call, change):
    mine, others = (created(call, _auth_user_id="7") for _ in range(2))
    late = opened(call, mine)
    call(opened(call, mine), "renew")
    assert sessions.revoke_user("7", keep=late) == 1
    assert items(call, mine) == {"_auth_user_id": "7"}
    assert items(call, others) == {}


def test_the_own_session_is_kept_also_between_the_steps_of_a_renewal(
    change, before_each_trip
):
    mine, others = (created(now, _auth_user_id="7") for _ in range(2))
    session, late, trips, ended = opened(now, mine), opened(now, mine), count(), []

    def end_others(trip):
        if next(trips) == 1:  # The new session is stored, and nothing leads to it.
            ended.append(sessions.revoke_user("7", keep=late))

    before_each_trip(end_others)
    session.renew()
    assert ended == [1]
    assert items(now, mine) == items(now, session.session_key) == {"_auth_user_id": "7"}
    assert items(now, others) == {}


def test_a_user_has_one_session_and_not_two(call, change):
    change(MAX_SESSIONS_PER_USER=2)
    first, second = (created(call, _auth_user_id="7") for _ in range(2))
    session = opened(call, first)
    call(session, "renew")
    listed = {info.id for info in sessions.for_user("7")}
    assert listed == {keys.session_id(key) for key in (session.session_key, second)}
    assert len(list(sessions.iterate())) == 2
    SessionStore.clear_expired()
    assert client.execute(["ZCARD", keys.index_key(conf.PREFIX, "7")]) == 2


def test_what_leads_on_is_swept_when_it_is_over(call, change):
    change(EXPIRE=False)
    session = opened(call, created(call, a=1))
    old = session.session_key
    call(session, "renew")
    bearer = Bearer(old)
    leading = renewal.leading(bearer, Bearer(session.session_key))
    past = int(time.time() * 1000) - 1000
    lead = codec.pack(leading, bearer.id, int(time.time()), past, leads=True)
    client.execute(["SET", key_of(old), lead])
    assert items(call, old) == {}
    SessionStore.clear_expired()
    assert client.execute(["GET", key_of(old)]) is None
    assert items(call, session.session_key) == {"a": 1}


def test_a_session_that_was_moved_here_leaves_nothing_over_there(
    call, change, settings, tmp_path
):
    """Else its old key would find it there when it does not lead on any more."""
    settings.SESSION_FILE_PATH = tmp_path
    engine = "django.contrib.sessions.backends.file"
    there = import_string(f"{engine}.SessionStore")()
    there["a"] = 1
    there.save()
    change(PREVIOUS_ENGINE=engine)
    session = opened(call, there.session_key)
    call(session, "renew")
    assert items(call, there.session_key) == {"a": 1}
    assert list(tmp_path.iterdir()) == []
    client.execute(["UNLINK", key_of(there.session_key)])
    assert items(call, there.session_key) == {}
    assert items(call, session.session_key) == {"a": 1}


# What is in the server.


@pytest.mark.parametrize("seal", [True, False])
def test_the_server_has_neither_key(call, change, seal):
    change(SEAL=seal)
    session = opened(call, created(call, _auth_user_id="7"))
    old = session.session_key
    call(session, "renew")
    dump = b""
    for key in (old, session.session_key):
        dump += client.execute(["DUMP", key_of(key)])
        dump += client.execute(["GET", key_of(key)])
    for key in (old, session.session_key):
        assert key.encode() not in dump
    assert items(call, old) == {"_auth_user_id": "7"}


def test_the_new_key_is_only_to_be_had_with_the_old_one(change):
    old, new, other = (Bearer(keys.new_session_key()) for _ in range(3))
    payload = renewal.leading(old, new)
    assert renewal.target(old, payload) == new
    with pytest.raises(codec.Unreadable):
        renewal.target(other, payload)
    assert renewal.target_id(payload) == new.id
    assert new.session_key not in repr(new)


@pytest.mark.parametrize("leads", [True, False])
def test_the_script_knows_what_leads_on_as_the_codec_does(leads):
    blob = codec.pack(bytes(48), keys.session_id("a"), 1, leads=leads)
    assert (blob[0] == 1 and blob[1] % 64 >= 32) is leads
    assert codec.leads(blob[:18]) is leads
    assert not codec.leads(b"")


# What fails.


@pytest.mark.parametrize("error", [ReplyLost, ConnectionError])
def test_whenever_it_dies_the_old_key_has_the_session(call, change, error, monkeypatch):
    """Killed before and after each of its round trips."""
    for done in (False, True):
        for at in count():
            old = created(call, a=1)
            session = opened(call, old)
            session["b"] = 2
            trips = interrupted(monkeypatch, at, done, error)
            with contextlib.suppress(error, SessionStoreUnavailable):
                call(session, "renew")
            monkeypatch.undo()
            found = items(call, old)
            assert found in ({"a": 1}, {"a": 1, "b": 2})
            assert items(call, session.session_key) == found
            if len(trips) <= at:
                assert found == {"a": 1, "b": 2}
                break
        assert at >= 2


def interrupted(monkeypatch, at, done, error):
    """Let this round trip fail, before or after it has done what it does."""
    execute, aexecute, trips = client.execute, client.aexecute, []

    def is_it():
        trips.append(None)
        return len(trips) == at + 1

    def blocking(trip):
        if not is_it():
            return execute(trip)
        if done:
            execute(trip)
        raise error("lost")

    async def awaiting(trip):
        if not is_it():
            return await aexecute(trip)
        if done:
            await aexecute(trip)
        raise error("lost")

    monkeypatch.setattr(client, "execute", blocking)
    monkeypatch.setattr(client, "aexecute", awaiting)
    return trips


def test_what_a_hanging_server_does_later_leads_to_the_session(
    call, stored, monkeypatch
):
    """The second step is carried out when it was given up long ago."""
    old, late = stored.session_key, []
    execute, aexecute = client.execute, client.aexecute

    def hangs(trip):
        if trip[0] in ("EVAL", "EVALSHA") and key_of(old) in trip[3:4]:
            late.append(trip)
            raise ReplyLost("silence")

    def blocking(trip):
        hangs(trip)
        return execute(trip)

    async def awaiting(trip):
        hangs(trip)
        return await aexecute(trip)

    monkeypatch.setattr(client, "execute", blocking)
    monkeypatch.setattr(client, "aexecute", awaiting)
    with pytest.raises(ReplyLost):
        call(stored, "renew")
    assert stored.session_key == old
    monkeypatch.setattr(client, "execute", execute)
    monkeypatch.setattr(client, "aexecute", aexecute)
    assert items(call, old) == {"a": 1}
    client.execute(late[0])
    assert opened(call, old).session_key != old
    assert items(call, old) == {"a": 1}


@pytest.mark.parametrize("rounds", [100])
def test_no_change_is_lost_when_two_renew_and_one_saves(prefix, change, rounds):
    """In three threads at the same moment."""
    call = lambda session, name, *args: getattr(session, name)(*args)  # noqa: E731
    together = Barrier(3)

    def work(session, name, how):
        session[name] = 1
        together.wait()
        call(session, how)
        return session.session_key

    with ThreadPoolExecutor(3) as pool:
        for _ in range(rounds):
            old = created(call, a=1)
            requests = [opened(call, old) for _ in range(3)]
            new = set(pool.map(work, requests, "bcd", ["renew", "renew", "save"]))
            assert items(call, old) == dict.fromkeys("abcd", 1)
            # One that has saved before the others renewed does not know of it.
            assert len(new - {old}) == 1
            for session_key in new:
                assert items(call, session_key) == dict.fromkeys("abcd", 1)
            SessionStore.clear_all()


# In requests. A view is a flow of what it does with the session, and may return the
# status of its response.


def reads(session):
    yield ["get", "a"]


def writes(session):
    yield ["update", {"b": 2}]


def fails(session):
    yield ["update", {"b": 2}]
    return 500


def done(session, step, prefix=""):
    """Do a step of a view, with the session of the request if it names no other."""
    if isinstance(step[0], SessionStore):
        session, *step = step
    name, *arguments = step
    return getattr(session, prefix + name)(*arguments)


def ignores(session):
    yield from ()


def is_passive(session):
    session.passive = True
    yield ["get", "a"]


def writes_passively(session):
    session.passive = True
    yield ["update", {"b": 2}]


def logs_out(session):
    yield ["flush"]


def logs_in(session):
    yield ["cycle_key"]
    yield ["update", {"_auth_user_id": "7"}]


@pytest.fixture(params=["sync", "async"])
def visit(request, change):
    """Answer a request that comes with this key; return the key that is sent back."""

    def answer(view, session_key, middleware):
        incoming = RequestFactory().get("/")
        incoming.COOKIES["sessionid"] = session_key
        return middleware(view)(incoming)

    def response_of(status):
        return HttpResponse(status=status or 200)

    def blocking(view):
        def get_response(request):
            session = request.session
            work = lambda step: done(session, step)  # noqa: E731
            return response_of(flow.run(view(session), work))

        return SessionMiddleware(get_response)

    def awaiting(view):
        async def get_response(request):
            session = request.session
            work = lambda step: done(session, step, "a")  # noqa: E731
            return response_of(await flow.arun(view(session), work))

        return SessionMiddleware(get_response)

    def sent(response):
        cookie = response.cookies.get("sessionid")
        return None if cookie is None else cookie.value

    if request.param == "sync":
        yield lambda view, key: sent(answer(view, key, blocking))
        return
    with asyncio.Runner() as runner:

        async def awaited(view, key):
            return await answer(view, key, awaiting)

        yield lambda view, key: sent(runner.run(awaited(view, key)))


def now(session, name, *args):
    return getattr(session, name)(*args)


@pytest.fixture
def due(change):
    """The key of a session whose renewal is due."""
    session_key = created(now, a=1)
    age(session_key)
    return session_key


@pytest.mark.parametrize("view", [reads, writes])
def test_a_request_renews_a_key_that_is_old(visit, due, view):
    new = visit(view, due)
    assert new not in (None, due)
    expected = {"a": 1} if view is reads else {"a": 1, "b": 2}
    assert items(now, new) == items(now, due) == expected


@pytest.mark.parametrize(
    "view",
    [ignores, fails, is_passive, writes_passively],
    ids=lambda view: view.__name__,
)
def test_a_request_that_is_no_activity_or_fails_renews_nothing(visit, due, view):
    assert visit(view, due) is None
    assert not codec.leads(client.execute(["GET", key_of(due)]))


def test_a_key_that_is_not_old_is_not_renewed(visit, due, change):
    change(RENEW_AFTER=7200)
    assert visit(reads, due) is None
    change(RENEW_AFTER=None)
    assert visit(reads, due) is None


def test_a_session_that_ended_during_a_read_is_not_renewed(visit, due):
    def reads_while_it_ends(session):
        yield ["get", "a"]
        yield [SessionStore(due), "flush"]

    assert visit(reads_while_it_ends, due) is None
    assert list(sessions.iterate()) == []


def test_a_read_is_not_refused_because_others_save_all_the_time(
    visit, due, monkeypatch
):
    monkeypatch.setattr(backend, "RETRIES", 0)

    def reads_while_it_is_saved(session):
        yield ["get", "a"]
        other = SessionStore(due)
        yield [other, "update", {"b": 2}]
        yield [other, "save"]

    assert visit(reads_while_it_is_saved, due) is None
    assert visit(reads, due) not in (None, due)


def test_a_session_that_ended_during_a_change_is_interrupted(visit, due):
    def writes_while_it_ends(session):
        yield ["update", {"b": 2}]
        yield [SessionStore(due), "flush"]

    with pytest.raises(SessionInterrupted):
        visit(writes_while_it_ends, due)
    assert list(sessions.iterate()) == []


def test_the_old_key_has_no_end_until_the_new_one_is_used(visit, due):
    """The response was lost on its way: a day later the browser still has the old."""
    new = visit(reads, due)
    for _ in range(3):
        assert FORTNIGHT - 60_000 < lives(due) <= FORTNIGHT
        assert visit(reads, due) == new
    # Used: from here on the old one is for requests that were under way.
    assert visit(reads, new) == new
    assert 50_000 < lives(due) <= 60_000
    assert visit(reads, due) == new
    client.execute(["UNLINK", key_of(due)])
    assert visit(ignores, due) is None
    assert items(now, due) == {}
    assert items(now, new) == {"a": 1}


def test_a_key_is_not_renewed_again_before_it_was_used(visit, due):
    new = visit(reads, due)
    age(new)
    assert visit(reads, due) == new
    assert visit(reads, new) == new  # Now it is used.
    assert visit(reads, new) not in (None, due, new)


def test_a_passive_request_shows_that_the_new_key_was_received(visit, due):
    new = visit(reads, due)
    client.execute(["PEXPIRE", key_of(new), "900000"])
    visit(is_passive, new)
    assert lives(due) <= 60_000
    assert lives(new) <= 900_000


@pytest.mark.parametrize("view", [reads, writes, is_passive, writes_passively])
def test_every_response_to_the_old_key_brings_the_new_one(visit, due, view):
    new = visit(reads, due)
    assert visit(view, due) == new
    assert visit(ignores, due) is None
    assert visit(fails, due) is None


@pytest.mark.parametrize("touched", [True, False])
@pytest.mark.parametrize("change_too", [True, False])
@pytest.mark.parametrize("due_too", [True, False])
@pytest.mark.parametrize("save_every_request", [True, False])
def test_a_slow_response_does_not_bring_the_old_key_back(
    visit, due, change, settings, touched, change_too, due_too, save_every_request
):
    settings.SESSION_SAVE_EVERY_REQUEST = save_every_request
    if not due_too:
        change(RENEW_AFTER=7200)
    if touched:
        client.execute(["PEXPIRE", key_of(due), "900000"])
    renewed = []

    def is_slow(session):
        yield ["get", "a"]
        if change_too:
            yield ["update", {"b": 2}]
        other = SessionStore(due)
        yield [other, "renew"]
        renewed.append(other.session_key)

    sent = visit(is_slow, due)
    asked = touched or change_too or due_too
    assert sent == (renewed[0] if asked else None)


@pytest.mark.parametrize("how", ["save", "touch"])
def test_the_cookie_follows_what_a_view_has_stored_itself(
    visit, due, change, settings, how
):
    settings.SESSION_SAVE_EVERY_REQUEST = True
    change(RENEW_AFTER=7200)
    client.execute(["PEXPIRE", key_of(due), "900000"])

    def stores(session):
        if how == "save":
            yield ["set_expiry", 600_000]
        yield [how]

    assert visit(stores, due) == due


@pytest.mark.parametrize("how", ["save", "touch", "renew"])
def test_a_view_that_has_stored_it_and_is_slow_does_not_bring_the_old_key_back(
    visit, due, change, how
):
    change(RENEW_AFTER=7200)
    client.execute(["PEXPIRE", key_of(due), "900000"])
    renewed = []

    def stores_and_is_slow(session):
        yield ["update", {"b": 2}]
        yield [how]
        if how == "touch":
            yield ["save"]
        other = SessionStore(session.session_key)
        yield [other, "renew"]
        renewed.append(other.session_key)

    assert visit(stores_and_is_slow, due) == renewed[0]
    assert items(now, due) == {"a": 1, "b": 2}


def test_a_touched_session_that_has_ended_is_not_sent_after_a_login(visit, due):
    """The browser may have another one by then."""
    new = visit(reads, due)
    client.execute(["PEXPIRE", key_of(new), "900000"])

    def reads_while_it_ends(session):
        yield ["get", "a"]
        yield [SessionStore(new), "flush"]

    assert visit(reads_while_it_ends, due) is None


def stores_by_itself(session):
    yield ["update", {"b": 2}]
    yield ["save"]


def logs_in_by_itself(session):
    yield from logs_in(session)
    yield ["save"]


def begins_anew_by_itself(session):
    yield from logs_out(session)
    yield ["update", {"a": 1}]
    yield ["create"]


@pytest.fixture
def losing(visit, monkeypatch):
    """Visit, and lose the server when the view is done; return whether that was met."""

    def losing(view, session_key):
        tried = []

        def lost(*args):
            tried.append(args)
            raise SessionStoreUnavailable("lost")

        def then_loses(session):
            yield from view(session)
            patch.setattr(client, "execute", lost)
            patch.setattr(client, "aexecute", lost)

        with monkeypatch.context() as patch:
            sent = visit(then_loses, session_key)
        return sent, bool(tried)

    return losing


@pytest.mark.parametrize("view", [reads, is_passive, stores_by_itself])
def test_an_outage_when_a_key_is_looked_up_again_costs_no_response(
    visit, losing, due, view
):
    new = visit(reads, due)
    assert losing(view, due) == (None, True)
    expected = {"a": 1, "b": 2} if view is stores_by_itself else {"a": 1}
    assert items(now, due) == items(now, new) == expected


@pytest.mark.parametrize("view", [logs_in_by_itself, begins_anew_by_itself])
@pytest.mark.parametrize("when", ["never", "before", "meanwhile"])
def test_a_key_that_the_request_has_made_is_sent_without_a_look(
    visit, losing, due, change, view, when
):
    """Also where the session had been renewed by another."""
    if when == "before":
        visit(reads, due)
    change(RENEW_AFTER=7200)

    def in_time(session):
        yield ["get", "a"]
        if when == "meanwhile":
            yield [SessionStore(due), "renew"]
        yield from view(session)

    sent, asked = losing(in_time, due)
    assert not asked
    assert items(now, sent)["a"] == 1
    assert items(now, due) == {}


def test_a_logout_with_the_old_key_ends_it_for_the_new_one(visit, due):
    new = visit(reads, due)
    visit(logs_out, due)
    assert items(now, new) == items(now, due) == {}
    assert list(sessions.iterate()) == []


def test_a_login_with_the_old_key_leads_nobody_else_to_it(visit, due):
    new = visit(reads, due)
    third = visit(logs_in, due)
    assert third not in (None, due, new)
    assert items(now, third) == {"a": 1, "_auth_user_id": "7"}
    assert items(now, new) == items(now, due) == {}


def test_a_key_changed_at_a_login_is_as_new_as_it_is(visit, due):
    """Not as old as the session: where the user stays the same, that goes on."""
    client.execute(["UNLINK", key_of(due)])
    session_key = created(now, _auth_user_id="7")
    age(session_key)
    new = visit(logs_in, session_key)
    assert visit(reads, new) is None
    age(new)
    assert visit(reads, new) not in (None, new)


def test_the_old_key_is_sent_the_new_one_also_with_the_stock_middleware(
    due, settings, change
):
    from django.contrib.sessions.middleware import SessionMiddleware as Stock

    session = opened(now, due)
    session.renew()
    change(RENEW_AFTER=None)
    request = RequestFactory().get("/")
    request.COOKIES["sessionid"] = due

    def view(request):
        request.session["b"] = 2
        return HttpResponse()

    response = Stock(view)(request)
    assert response.cookies["sessionid"].value == session.session_key
    assert items(now, due) == {"a": 1, "b": 2}
    assert lives(due) > 60_000


# Whatever happens, in whatever order.

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 2)),
        st.tuples(st.just("write"), st.integers(0, 2)),
        st.tuples(
            st.just("store"),
            st.integers(0, 2),
            st.sampled_from(["save", "touch", "renew"]),
        ),
        st.tuples(st.just("end"), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("end"), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("log_in"), st.integers(0, 2)),
        st.tuples(st.just("log_out"), st.integers(0, 2)),
        st.tuples(st.just("grace"), st.none()),
    ),
    min_size=10,
    max_size=30,
)

#: The key that it was asked with is renewed by another, and the new one is used.
LATE_RESPONSE = [
    ("begin", 0),
    ("begin", 2),
    ("end", 0, True),
    ("begin", 0),
    ("end", 0, False),
    ("end", 2, True),
    ("grace", None),
]
#: It was led to the new key, which is renewed in its turn, and that one used.
LATE_FOLLOWER = [
    ("begin", 0),
    ("end", 0, False),
    ("begin", 2),
    *[("begin", 0), ("end", 0, True)] * 3,
    ("begin", 0),
    ("end", 0, False),
    ("end", 2, True),
    ("grace", None),
]
#: The same after its view has saved a change by itself.
LATE_WRITER = [
    *LATE_FOLLOWER[:3],
    ("write", 2),
    ("store", 2, "save"),
    *LATE_FOLLOWER[3:],
]


class Browser:
    """Three requests at a time, whose responses come or get lost."""

    def __init__(self):
        self.middleware = SessionMiddleware(lambda request: HttpResponse())
        self.requests = {}
        self.numbers = count(1)
        self.arrive()

    def arrive(self):
        self.cookie, self.saved = created(now, n=0), {"n": 0}

    def begin(self, number):
        if number in self.requests:
            return
        request = RequestFactory().get("/")
        request.COOKIES["sessionid"] = self.cookie
        self.middleware.process_request(request)
        request.session.get("n")
        self.requests[number] = request, {}

    def write(self, number):
        if number in self.requests:
            request, changes = self.requests[number]
            name = f"change{next(self.numbers)}"
            request.session[name] = changes[name] = 1

    def store(self, number, how):
        """A view does it by itself, and goes on."""
        if number in self.requests:
            request, changes = self.requests[number]
            getattr(request.session, how)()
            if how != "touch":
                self.saved.update(changes)

    def log_in(self, number):
        """The other requests are interrupted by that, as ever."""
        if number not in self.requests:
            return
        self.requests[number][0].session.cycle_key()
        self.end(number, True)
        self.interrupt_others()

    def log_out(self, number):
        if number not in self.requests:
            return
        self.requests[number][0].session.flush()
        self.end(number, True)
        self.interrupt_others()
        assert list(sessions.iterate()) == []
        self.arrive()

    def interrupt_others(self):
        for other in [*self.requests]:
            self.requests[other][0].session["late"] = 1
            with pytest.raises(SessionInterrupted):
                self.end(other, True)
            del self.requests[other]

    def end(self, number, received):
        if number not in self.requests:
            return
        request, changes = self.requests[number]
        response = self.middleware.process_response(request, HttpResponse())
        del self.requests[number]
        self.saved.update(changes)
        if received and "sessionid" in response.cookies:
            self.cookie = response.cookies["sessionid"].value

    def grace(self, _):
        """A minute passes in which nothing is under way."""
        if self.requests:
            return
        for name in found():
            if 0 <= client.execute(["PTTL", name]) <= 60_000:
                client.execute(["UNLINK", name])


def found():
    return [scripts.key_of(id) for id in SessionStore.ids()]


def test_no_visitor_is_logged_out_and_no_change_lost(
    prefix, change, settings, monkeypatch
):
    monkeypatch.setattr("django_valkey_sessions.conf.SHORTEST_RENEWAL", 0)
    settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, "RENEW_AFTER": 1e-9}
    monkeypatch.setattr(renewal, "STEPS", 30)

    @searching(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.booleans(), st.booleans(), STEPS)
    @example(False, False, LATE_RESPONSE)
    @example(True, True, LATE_RESPONSE)
    @example(False, False, LATE_FOLLOWER)
    @example(True, True, LATE_FOLLOWER)
    @example(True, False, LATE_WRITER)
    def check(expire, save_every_request, steps):
        settings.VALKEY_SESSIONS["EXPIRE"] = expire
        settings.SESSION_SAVE_EVERY_REQUEST = save_every_request
        SessionStore.clear_all()
        browser = Browser()
        for what, *arguments in steps:
            getattr(browser, what)(*arguments)
            assert items(now, browser.cookie) == browser.saved
            assert len(list(sessions.iterate())) == 1

    check()
