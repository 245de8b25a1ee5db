# ruff: noqa: F811, fixtures of test_index.py
"""
Attacks on the index of a user's sessions. Each test here states a promise that the
index makes.
"""

import asyncio
import contextlib
import time
from threading import Thread

import pytest

from django_valkey_sessions import client, index, keys, scripts, sessions, signals
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.conf import BadSetting
from django_valkey_sessions.exceptions import ConnectionLost, SessionStoreUnavailable

from . import servers
from .test_index import (  # noqa: F401
    aged,
    change,
    entries,
    id_of,
    new_session,
    nothing_noted,
    opened,
)


def sent(script, trip):
    """Return True if this round trip sends the script."""
    commands = trip if isinstance(trip, tuple) else (trip,)
    return any(script in command or script.sha in command for command in commands)


def elsewhere(work):
    """Do it in a thread, because an event loop may be running in this one."""
    thread = Thread(target=work)
    thread.start()
    thread.join()


@pytest.fixture
def after_each_trip(monkeypatch):
    """Have something done when a reply has come, before it is passed on."""
    execute, aexecute = client.execute, client.aexecute

    def install(act):
        def blocking(trip):
            reply = execute(trip)
            act(trip)
            return reply

        async def awaiting(trip):
            reply = await aexecute(trip)
            act(trip)
            return reply

        monkeypatch.setattr(client, "execute", blocking)
        monkeypatch.setattr(client, "aexecute", awaiting)

    return install


# What one process takes for expired may live for the others.


def ahead(monkeypatch, seconds):
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + seconds)


@pytest.mark.parametrize("names", [{"EXPIRE": False}, {"MAX_LIFETIME": 3600}])
def test_a_look_with_a_wrong_clock_forgets_no_live_session(
    call, prefix, entries, change, monkeypatch, names
):
    change(TTL=3600, **names)
    session = new_session(call)
    with monkeypatch.context() as other_host:
        ahead(other_host, 4000)
        sessions.for_user("7")
    assert opened(call, session).session_key is not None
    assert list(entries()) == [id_of(session)]


@pytest.mark.parametrize("names", [{"EXPIRE": False}, {"MAX_LIFETIME": 3600}])
def test_revoking_with_a_wrong_clock_leaves_no_live_session(
    call, prefix, change, monkeypatch, names
):
    change(TTL=3600, **names)
    session = new_session(call)
    with monkeypatch.context() as other_host:
        ahead(other_host, 4000)
        sessions.revoke_user("7")
    assert opened(call, session).session_key is None


def test_revoking_ends_also_what_a_shorter_maximum_hides(call, prefix, change):
    """A setting that is rolled back must not bring back what was revoked."""
    session = new_session(call)
    change(MAX_LIFETIME=0.01)
    time.sleep(0.02)
    sessions.revoke_user("7")
    change(MAX_LIFETIME=None)
    assert opened(call, session).session_key is None


# Other applications' keys.


def test_tidying_leaves_another_applications_sorted_sets_alone(call, prefix):
    key = f"{prefix}user:online"
    client.execute(["ZADD", key, "1", "ada", "2", "bob"])
    call(SessionStore(), "clear_expired")
    left = client.execute(["ZRANGE", key, "0", "-1"])
    client.execute(["UNLINK", key])
    assert left == [b"ada", b"bob"]


def test_tidying_leaves_the_index_of_a_site_with_a_longer_prefix_alone(
    call, prefix, change
):
    change(PREFIX=f"{prefix}user:sessions:")
    session = new_session(call)
    change(PREFIX=prefix)
    call(SessionStore(), "clear_expired")
    change(PREFIX=f"{prefix}user:sessions:")
    found = [info.id for info in sessions.for_user("7")]
    sessions.clear()
    assert found == [id_of(session)]


def test_the_index_of_a_user_whose_id_is_no_text_is_tidied(call, prefix, entries):
    session = new_session(call, user="\ud800")
    client.execute(["UNLINK", keys.stored_key(prefix, id_of(session))])
    call(SessionStore(), "clear_expired")
    assert entries("\ud800") == {}


# The limit.


def test_a_new_limit_does_not_end_the_session_in_use(call, prefix, change, monkeypatch):
    """With so many sessions that one login can't look at all of them."""
    monkeypatch.setattr(sessions, "SURPLUS", 5)
    for _ in range(20):
        aged(prefix, new_session(call, _session_expiry=30 * 86400), 0)
    for id in list(SessionStore.ids()):
        # Not used for 20 days.
        client.execute(["PEXPIRE", keys.stored_key(prefix, id), str(10 * 86400_000)])
    brief = new_session(call, _session_expiry=3600)
    change(MAX_SESSIONS_PER_USER=2)
    new_session(call)
    assert opened(call, brief).session_key is not None


def test_the_limit_is_reached_although_much_can_not_be_read(
    call, prefix, change, monkeypatch
):
    monkeypatch.setattr(sessions, "SURPLUS", 5)
    for _ in range(10):
        damaged = new_session(call, _session_expiry=3600)
        client.execute(["SET", keys.stored_key(prefix, id_of(damaged)), "damaged"])
    for _ in range(10):
        new_session(call)
    change(MAX_SESSIONS_PER_USER=2)
    for _ in range(20):
        new_session(call)
    assert len(sessions.for_user("7")) == 2


def test_a_lost_reply_of_the_limit_leaves_no_session_without_an_entry(
    call, prefix, change, after_each_trip, entries
):
    change(MAX_SESSIONS_PER_USER=1)
    new_session(call)

    def lose(trip):
        if sent(scripts.LIMIT, trip):
            raise ConnectionLost("lost")

    after_each_trip(lose)
    new_session(call)
    assert set(SessionStore.ids()) <= set(entries())


def test_a_request_that_is_broken_off_at_the_limit_leaves_no_session_without_an_entry(
    clustered, change, monkeypatch, entries
):
    """A browser that goes away cancels its request, under ASGI."""
    change(MAX_SESSIONS_PER_USER=1)
    new_session(lambda s, n: getattr(s, n)())
    aexecute = client.aexecute

    async def cancelled(trip):
        reply = await aexecute(trip)
        if sent(scripts.LIMIT, trip):
            raise asyncio.CancelledError
        return reply

    monkeypatch.setattr(client, "aexecute", cancelled)

    async def log_in():
        session = SessionStore()
        session["_auth_user_id"] = "7"
        await session.asave()

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(log_in())
    assert set(SessionStore.ids()) <= set(entries())


def test_a_session_used_meanwhile_is_not_ended_in_a_cluster(
    call, clustered, change, before_each_trip
):
    change(MAX_SESSIONS_PER_USER=1)
    busy = new_session(call, n=0)
    used = []

    def use(trip):
        if isinstance(trip, tuple) and trip[0][-1] == "0" and not used:
            used.append(True)
            elsewhere(save)

    def save():
        other = SessionStore(busy.session_key)
        other["n"] = 1
        other.save()

    before_each_trip(use)
    new = new_session(call)
    assert used
    assert set(SessionStore.ids()) == {id_of(busy), id_of(new)}


def test_a_touched_session_is_not_ended(call, engine, change, before_each_trip):
    change(MAX_SESSIONS_PER_USER=1, TOUCH_INTERVAL=0)
    busy = aged(engine, new_session(call, n=0), 600)

    def use(trip):
        if sent(scripts.LIMIT, trip):
            elsewhere(lambda: SessionStore(busy.session_key).touch())

    before_each_trip(use)
    new = new_session(call)
    assert set(SessionStore.ids()) == {id_of(busy), id_of(new)}


def test_one_login_at_a_time_ends_sessions_in_a_cluster(
    call, clustered, change, monkeypatch, caplog
):
    change(MAX_SESSIONS_PER_USER=1)
    monkeypatch.setattr(index, "TURNS", 2)
    client.execute(["SET", keys.turn_key("session:", "7"), "", "PX", "60000"])
    first, second = new_session(call), new_session(call)
    assert set(SessionStore.ids()) == {id_of(first), id_of(second)}
    client.execute(["UNLINK", keys.turn_key("session:", "7")])
    third = new_session(call)
    assert set(SessionStore.ids()) == {id_of(third)}
    assert client.execute(["EXISTS", keys.turn_key("session:", "7")]) == 0


# The index off, with a limit.


def test_without_the_index_no_limit_ends_anything(call, prefix, change):
    """The check says that it is an error; a check can be silenced."""
    for _ in range(3):
        new_session(call)
    change(USER_INDEX=False, MAX_SESSIONS_PER_USER=1)
    new_session(call)
    assert SessionStore.length() == 4


# Touching by somebody who does not know whose it is by now.


def test_a_late_touch_does_not_renew_a_session_that_is_another_users_by_now(
    call, prefix, entries, change
):
    """Its entry would not be renewed with it."""
    change(TOUCH_INTERVAL=0)
    session = new_session(call)
    late = opened(call, session)
    call(session, "update", {"_auth_user_id": "8"})
    call(session, "save")
    key = keys.stored_key(prefix, id_of(session))
    client.execute(["PEXPIRE", key, "1000000"])
    assert call(late, "touch") is True
    assert client.execute(["PTTL", key]) <= 1000000
    assert call(opened(call, session), "touch") is True
    assert client.execute(["PTTL", key]) > 1000000


def test_touching_what_is_no_session_any_more_says_so(call, prefix, change):
    change(TOUCH_INTERVAL=0)
    session = opened(call, new_session(call))
    key = keys.stored_key(prefix, id_of(session))
    client.execute(["UNLINK", key])
    client.execute(["RPUSH", key, "another application's"])
    assert call(session, "touch") is False
    assert client.execute(["PTTL", key]) == -1
    client.execute(["UNLINK", key])


def test_a_late_touch_of_what_is_gone_says_so(call, prefix, entries, change):
    change(TOUCH_INTERVAL=0)
    session = new_session(call)
    late = opened(call, session)
    call(session, "flush")
    assert call(late, "touch") is False
    assert entries() == {}


# Looking and entering at the same time.


def test_looking_forgets_no_session_that_is_logged_in_to_meanwhile(
    call, engine, entries, before_each_trip
):
    session = new_session(call, user="8")
    client.execute(["ZADD", keys.index_key(engine, "7"), "4e9", id_of(session)])
    done = []

    def become(trip):
        if sent(scripts.FORGET, trip) and not done:
            done.append(True)
            other = SessionStore(session.session_key)
            other["_auth_user_id"] = "7"
            other.save()

    before_each_trip(become)
    sessions.for_user("7")
    assert done
    assert list(entries("7")) == [id_of(session)]


def test_in_a_cluster_what_may_be_a_users_by_now_is_not_forgotten(
    call, clustered, entries
):
    session = new_session(call, user="8")
    client.execute(["ZADD", keys.index_key("session:", "7"), "4e9", id_of(session)])
    assert sessions.for_user("7") == []
    assert list(entries("7")) == [id_of(session)]


# Signals.


@pytest.fixture
def receivers():
    connected = []

    def connect(signal, receiver):
        signal.connect(receiver)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


in_a_loop = pytest.mark.filterwarnings("ignore:A session was used blocking")


async def _areceiver(**facts):
    pass


@in_a_loop
def test_an_awaiting_receiver_does_not_reach_a_blocking_save_in_a_loop(
    engine, receivers
):
    receivers(signals.session_created, _areceiver)

    async def view():
        session = SessionStore()
        session["a"] = 1
        session.save()
        return session

    session = asyncio.run(view())
    assert SessionStore(session.session_key)["a"] == 1


@in_a_loop
def test_an_awaiting_receiver_does_not_keep_sessions_from_being_ended(
    engine, receivers
):
    for _ in range(3):
        new_session(lambda s, n: getattr(s, n)())
    receivers(signals.session_ended, _areceiver)

    async def view():
        return sessions.revoke_user("7")

    assert asyncio.run(view()) == 3


def test_a_receiver_may_use_sessions(call, engine, receivers):
    def note(**facts):
        other = SessionStore()
        other["log"] = 1
        with contextlib.suppress(RecursionError):
            if SessionStore.length() < 4:
                other.save()

    receivers(signals.session_created, note)
    new_session(call)
    assert SessionStore.length() == 4


# Ending twice, because a reply was lost.


def test_ending_counts_what_it_ended_although_a_reply_was_lost(
    api, call, prefix, after_each_trip, receivers
):
    told = []

    def note(reason, **facts):
        told.append(reason)

    receivers(signals.session_ended, note)
    session = new_session(call)
    lost = []

    def lose(trip):
        commands = trip if isinstance(trip, tuple) else (trip,)
        ends = sent(scripts.SEND_AND_FOLLOW, trip) or commands[0][0] == "UNLINK"
        if ends and not lost:
            lost.append(True)
            raise ConnectionLost("lost")

    after_each_trip(lose)
    assert api("revoke", id_of(session)) is True
    assert told == ["revoked"]


# What a site's own function raises for another session.


def test_a_lifetime_that_raises_for_another_session_does_not_reach_a_login(
    call, prefix, change, caplog
):
    new_session(call)
    change(MAX_SESSIONS_PER_USER=1, TTL=lambda session: session["remember"])
    session = new_session(call, remember=100)
    assert opened(call, session)["remember"] == 100


def test_a_session_of_a_host_whose_clock_is_ahead_is_not_the_last_used(
    call, prefix, change, monkeypatch
):
    change(MAX_SESSIONS_PER_USER=2)
    with monkeypatch.context() as other_host:
        ahead(other_host, 3600)
        old = new_session(call)
    aged(prefix, old, 600)
    used = new_session(call)
    new = new_session(call)
    assert set(SessionStore.ids()) == {id_of(used), id_of(new)}


# Tidying is no reason not to end, or not to show.


@pytest.fixture
def no_tidying(before_each_trip):
    """Refuse what removes entries and nothing else."""

    def refuse():
        def act(trip):
            if trip[0] == "ZREM":
                raise SessionStoreUnavailable("refused")

        before_each_trip(act)

    return refuse


def test_what_can_not_be_tidied_is_ended_all_the_same(call, prefix, no_tidying):
    alive, gone = new_session(call), new_session(call)
    client.execute(["UNLINK", keys.stored_key(prefix, id_of(gone))])
    no_tidying()
    with contextlib.suppress(SessionStoreUnavailable):
        sessions.revoke_user("7")
    assert opened(call, alive).session_key is None


def test_what_can_not_be_tidied_is_shown_all_the_same(call, prefix, no_tidying):
    alive, gone = new_session(call), new_session(call)
    client.execute(["UNLINK", keys.stored_key(prefix, id_of(gone))])
    no_tidying()
    assert [info.id for info in sessions.for_user("7")] == [id_of(alive)]


@pytest.fixture
def without_index_keys(settings):
    """The engine as a user who may use the sessions' keys and no others."""
    server = servers.Server("--requirepass", "default's")
    with server.connect(password="default's") as valkey:
        hexadecimal = "[0-9a-f]" * 8
        rights = [">x", "+@all", f"~session:{hexadecimal}*"]
        valkey.execute_command("ACL", "SETUSER", "poor", "on", *rights)
    url = f"valkey://poor:x@127.0.0.1:{server.port}"
    settings.VALKEY_SESSIONS = {"LOCATION": url}
    yield
    client.close()
    server.close()


def test_a_missing_right_to_the_indexs_keys_does_no_harm(call, without_index_keys):
    session = new_session(call)
    assert opened(call, session)["_auth_user_id"] == "7"


def test_reindexing_counts_what_it_entered(call, prefix, change):
    new_session(call)
    change(USER_INDEX=False)
    with contextlib.suppress(BadSetting):  # It may as well refuse.
        assert sessions.reindex() == 0


def test_what_was_ended_is_told_of_although_another_was_not(
    call, engine, monkeypatch, receivers
):
    told = []

    def note(id, **facts):
        told.append(id)

    receivers(signals.session_ended, note)
    for _ in range(3):
        new_session(call)
    execute = client.execute

    def blocking(trip):
        if isinstance(trip, tuple) and sent(scripts.SEND_AND_FOLLOW, trip):
            return [*execute(trip[:-1]), SessionStoreUnavailable("node down")]
        return execute(trip)

    monkeypatch.setattr(client, "execute", blocking)
    with pytest.raises(SessionStoreUnavailable):
        sessions.revoke_user("7")
    assert SessionStore.length() == 1
    assert len(told) == 2


def test_no_round_trip_asks_for_all_of_an_index(call, prefix, before_each_trip):
    """
    A million entries keep the server busy for 0.7 s, and take longer to come than
    request_timeout: then nothing of this ever succeeds.
    """
    new_session(call)
    asked = []

    def note(trip):
        for command in trip if isinstance(trip, tuple) else (trip,):
            if command[0] == "ZRANGE" and command[2:] == ["0", "-1"]:
                asked.append(command)

    before_each_trip(note)
    sessions.for_user("7")
    sessions.revoke_user("7")
    SessionStore.clear_expired()
    assert asked == []


def test_a_login_at_a_high_limit_reads_a_bounded_number_of_sessions(
    call, prefix, change, before_each_trip
):
    for _ in range(300):
        new_session(lambda s, n: getattr(s, n)())
    change(MAX_SESSIONS_PER_USER=300)
    sizes = []

    def note(trip):
        if isinstance(trip, tuple) and trip[0][0] == "GET":
            sizes.append(len(trip) // 2)

    before_each_trip(note)
    new_session(call)
    assert sum(sizes) <= sessions.SURPLUS


def test_the_index_in_a_native_loop(prefix, change):
    change(ASYNC="native", MAX_SESSIONS_PER_USER=2, TOUCH_INTERVAL=0)

    async def serve():
        opened = []
        for _ in range(4):
            session = SessionStore()
            await session.aset("_auth_user_id", "7")
            await session.asave()
            opened.append(session)
        await opened[-1].acycle_key()
        assert await opened[-1].atouch() is True
        infos = await sessions.afor_user("7")
        assert id_of(opened[-1]) in {info.id for info in infos}
        assert len(infos) == 2
        assert await sessions.arevoke_user("7", keep=opened[-1]) == 1
        await opened[-1].aflush()
        return await sessions.afor_user("7")

    assert asyncio.run(serve()) == []
