"""
The same contract wherever the server is: a representative selection of test_session.py
and test_sessions.py, on both surfaces.
"""

import asyncio
import uuid

import pytest
from django.contrib.sessions.backends.base import UpdateError

from django_valkey_sessions import client, keys, sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.exceptions import SessionStoreUnavailable

from . import servers

#: All that the engine needs of the server, and what GLIDE does to connect.
RIGHTS = (
    "+get +set +getrange +exists +unlink +pexpire +pttl +eval +evalsha +scan "
    "+ping +info"
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return servers.Certificates(tmp_path_factory.mktemp("certificates"))


def tls_server(certificates, *arguments):
    server = servers.tls(certificates, *arguments)
    if server is None:
        pytest.skip("no server here has TLS: install redis-server")
    return server


@pytest.fixture(scope="module")
def tcp():
    server = servers.Server()
    yield {"LOCATION": server.url}
    server.close()


@pytest.fixture(scope="module")
def socket():
    server = servers.Server()
    if server.socket is None:
        server.close()
        pytest.skip("the unix socket of a container can't be reached from outside")
    yield {"LOCATION": f"unix://{server.socket}"}
    server.close()


@pytest.fixture(scope="module")
def tls(certificates):
    server = tls_server(certificates, "--tls-auth-clients", "no")
    trusted = {"root_pem_cacerts": certificates.authority.read_bytes()}
    yield {"LOCATION": server.url, "OPTIONS": trusted}
    server.close()


@pytest.fixture(scope="module")
def mutual_tls(certificates):
    """Both sides show a certificate."""
    server = tls_server(certificates, "--tls-auth-clients", "yes")
    trusted = {
        "root_pem_cacerts": certificates.authority.read_bytes(),
        "client_cert_pem": certificates.client.read_bytes(),
        "client_key_pem": certificates.client_key.read_bytes(),
    }
    yield {"LOCATION": server.url, "OPTIONS": trusted}
    server.close()


@pytest.fixture(scope="module")
def acl_user():
    """A user who may do nothing but what sessions need."""
    user = ["--user", "django", "on", ">p@ss/w:rd", "~test:*", *RIGHTS.split()]
    server = servers.Server(*user, password="default's")
    url = f"valkey://django:p%40ss%2Fw%3Ard@127.0.0.1:{server.port}"
    yield {"LOCATION": url}
    server.close()


@pytest.fixture(scope="module")
def primary_with_replicas():
    primary = servers.Server()
    others = [servers.replica(primary) for _ in range(2)]
    yield primary, others
    for server in (*others, primary):
        server.close()


@pytest.fixture(scope="module")
def replicas(primary_with_replicas):
    primary, others = primary_with_replicas
    # The primary comes last: it is found, whatever the order.
    return {"LOCATION": [server.url for server in (*others, primary)]}


@pytest.fixture(scope="module")
def sentinels(primary_with_replicas):
    watching = servers.sentinels(primary_with_replicas[0], "main")
    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in watching)
    yield {"LOCATION": f"sentinel://{hosts}/main"}
    for sentinel in watching:
        sentinel.close()


@pytest.fixture(scope="module")
def whole_cluster(cluster):
    return {"LOCATION": [node.url for node in cluster[:2]], "CLUSTER": True}


@pytest.fixture(
    scope="module",
    params=[
        "tcp",
        "socket",
        "tls",
        "mutual_tls",
        "acl_user",
        "replicas",
        "sentinels",
        "whole_cluster",
    ],
)
def topology(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def there(settings, topology):
    """The engine there, under a prefix that no other test has; its settings."""
    settings.SESSION_ENGINE = "django_valkey_sessions.backend"
    settings.VALKEY_SESSIONS = {**topology, "PREFIX": f"test:{uuid.uuid4().hex[:12]}:"}
    yield settings.VALKEY_SESSIONS
    sessions.clear()
    client.close()


def new_session(call, **data):
    session = SessionStore()
    call(session, "update", data)
    call(session, "save")
    return session


def loaded(call, session):
    return dict(call(SessionStore(session.session_key), "items"))


def test_what_is_saved_is_loaded(there, call):
    session = new_session(call, a=[1, "ü"], b=None)
    assert loaded(call, session) == {"a": [1, "ü"], "b": None}
    call(session, "update", {"a": 2})
    call(session, "save")
    assert loaded(call, session) == {"a": 2, "b": None}


def test_an_unknown_key_is_no_session(there, call):
    session = SessionStore(keys.new_session_key())
    assert call(session, "load") == {}
    assert session.session_key is None


def test_two_requests_at_once_lose_nothing(there, call):
    session = new_session(call, a=1, b=1)
    first, second = (SessionStore(session.session_key) for _ in range(2))
    call(first, "update", {"a": 2})
    call(second, "pop", "b")
    call(first, "save")
    call(second, "save")
    assert loaded(call, session) == {"a": 2}


def test_a_session_that_was_ended_is_not_revived(there, call):
    session = new_session(call, a=1)
    late = SessionStore(session.session_key)
    call(late, "update", {"a": 2})
    call(session, "delete")
    with pytest.raises(UpdateError):
        call(late, "save")
    assert call(session, "exists", session.session_key) is False


def test_a_new_key_takes_all_along(there, call):
    session = new_session(call, a=1)
    old, other = session.session_key, SessionStore(session.session_key)
    call(other, "update", {"theirs": 1})
    call(other, "save")
    call(session, "update", {"ours": 1})
    call(session, "cycle_key")
    assert loaded(call, session) == {"a": 1, "ours": 1, "theirs": 1}
    assert call(session, "exists", old) is False


def test_touching_renews_what_is_there(there, call, settings):
    settings.VALKEY_SESSIONS = {**there, "TOUCH_INTERVAL": 0}
    session = new_session(call, a=1)
    key = keys.stored_key(there["PREFIX"], keys.session_id(session.session_key))
    client.execute(["PEXPIRE", key, "1000"])
    assert call(session, "touch") is True
    assert client.execute(["PTTL", key]) > 1000
    call(session, "delete")
    assert call(session, "touch") is False


def test_a_session_ends_with_its_lifetime(there, call, settings):
    settings.VALKEY_SESSIONS = {**there, "TTL": 0.2}
    key = new_session(call, a=1).session_key
    servers.wait_until(lambda: not call(SessionStore(), "exists", key))
    assert call(SessionStore(key), "load") == {}


def test_sessions_are_counted_chosen_and_ended(there, call, settings):
    settings.VALKEY_SESSIONS = {**there, "SCAN_COUNT": 5}
    users = [new_session(call, _auth_user_id=str(n), n=n) for n in range(10)]
    for n in range(10):
        new_session(call, visit=n)
    ids = {keys.session_id(session.session_key) for session in users}
    assert {info.id for info in sessions.iterate() if info.user_id} == ids
    assert call(sessions, "count") == 20
    assert call(sessions, "clear", lambda info: info.user_id is None) == 10
    assert call(sessions, "revoke", ids.pop()) is True
    assert call(sessions, "clear") == 9
    assert call(sessions, "count") == 0


def test_what_the_server_does_not_expire_is_swept(there, call, settings):
    settings.VALKEY_SESSIONS = {**there, "EXPIRE": False, "TTL": 0.05}
    over = new_session(call, a=1)
    servers.wait_until(lambda: loaded(call, over) == {})
    settings.VALKEY_SESSIONS = {**there, "EXPIRE": False}
    alive = new_session(call, a=1)
    call(SessionStore, "clear_expired")
    assert call(sessions, "count") == 1
    assert loaded(call, alive) == {"a": 1}


def test_a_native_loop_does_the_same(there, settings):
    settings.VALKEY_SESSIONS = {**there, "ASYNC": "native"}

    async def serve():
        session = SessionStore()
        await session.aset("a", 1)
        await session.asave()
        other = SessionStore(session.session_key)
        await other.aset("b", 1)
        await session.aset("c", 1)
        await other.asave()
        await session.acycle_key()
        found = [info async for info in sessions.aiterate()]
        assert [info.decode() for info in found] == [{"a": 1, "b": 1, "c": 1}]
        assert await sessions.aclear() == 1

    asyncio.run(serve())


# TLS, and who is let in.


@pytest.fixture
def at(settings):
    """Use the engine with these settings."""

    def use(**names):
        settings.SESSION_ENGINE = "django_valkey_sessions.backend"
        settings.VALKEY_SESSIONS = names

    return use


def test_a_server_of_an_unknown_authority_is_refused(tls, at, tmp_path, call):
    other = servers.Certificates(tmp_path)
    patient = {"connection_timeout": 5000}  # GLIDE tries again before it says why.
    for options in ({}, {"root_pem_cacerts": other.authority.read_bytes()}):
        at(LOCATION=tls["LOCATION"], OPTIONS={**patient, **options})
        with pytest.raises(SessionStoreUnavailable, match="not trusted"):
            call(SessionStore(), "create")


def test_who_shows_no_certificate_is_refused(mutual_tls, at, certificates, call):
    trusted = {"root_pem_cacerts": certificates.authority.read_bytes()}
    at(LOCATION=mutual_tls["LOCATION"], OPTIONS=trusted)
    with pytest.raises(SessionStoreUnavailable):
        call(SessionStore(), "create")


def test_a_server_with_tls_does_not_answer_without(tls, at, call):
    at(LOCATION=tls["LOCATION"].replace("valkeys:", "valkey:"))
    with pytest.raises(SessionStoreUnavailable, match="TLS"):
        call(SessionStore(), "create")


def test_other_keys_are_not_the_users(acl_user, at, call):
    at(**acl_user, PREFIX="others:")
    with pytest.raises(SessionStoreUnavailable, match="does not permit"):
        call(SessionStore(), "create")


# Replicas.


def test_replicas_have_what_was_saved(primary_with_replicas, at, call):
    primary, others = primary_with_replicas
    at(LOCATION=[server.url for server in (*others, primary)], PREFIX="replicated:")
    id = keys.session_id(new_session(call, a=1).session_key)
    with primary.connect() as connection:
        assert connection.wait(2, 5000) == 2
    for replica in others:
        with replica.connect() as connection:
            assert connection.exists(keys.stored_key("replicated:", id)) == 1
