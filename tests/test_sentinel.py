"""Sentinels are asked where the primary is. What that is for: test_failover.py."""

import asyncio
import ssl

import pytest
import trustme

from django_valkey_sessions import client
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.client.process import current
from django_valkey_sessions.exceptions import SessionStoreUnavailable

from . import servers
from .proxies import Proxy


@pytest.fixture(scope="module")
def primary():
    primary = servers.Server()
    yield primary
    primary.close()


@pytest.fixture(scope="module")
def sentinels(primary):
    sentinels = servers.sentinels(primary, "main")
    yield sentinels
    for sentinel in sentinels:
        sentinel.close()


@pytest.fixture
def lone(primary):
    """A sentinel that the test may damage."""
    (sentinel,) = servers.sentinels(primary, "main", count=1)
    yield sentinel
    client.close()
    sentinel.close()


@pytest.fixture
def use(settings):
    def use(scheme, sentinels, behind, **others):
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        settings.SESSION_ENGINE = "django_valkey_sessions.backend"
        settings.VALKEY_SESSIONS = {"LOCATION": f"{scheme}{hosts}/{behind}", **others}

    yield use
    client.close()


def stored():
    """Store a session, and return how it is read again."""
    session = SessionStore()
    session["a"] = 1
    session.save()
    return SessionStore(session.session_key)["a"]


def refusal():
    with pytest.raises(SessionStoreUnavailable) as caught:
        stored()
    return str(caught.value)


def test_the_primary_that_they_name_is_used(primary, sentinels, use):
    use("sentinel://", sentinels, "main?db=3")
    assert stored() == 1
    with primary.connect(db=3) as valkey:
        assert valkey.dbsize() == 1


def test_a_native_loop_asks_them_too(sentinels, use):
    use("sentinel://", sentinels, "main", ASYNC="native")

    async def exists():
        return await SessionStore().aexists("a" * 32)

    assert asyncio.run(exists()) is False
    assert current().blocking.client is None


def test_the_user_is_that_of_the_server(primary, sentinels, use):
    with primary.connect() as valkey:
        valkey.execute_command("ACL", "SETUSER", "ada", "on", ">s3cret", "~*", "+@all")
    use("sentinel://ada:s3cret@", sentinels, "main")
    assert stored() == 1
    use("sentinel://ada:wrong@", sentinels, "main")
    assert "refuses the user or password" in refusal()


@pytest.mark.parametrize("who", ["", "sentinel_username=default&"])
def test_they_may_have_a_password_of_their_own(lone, use, who):
    with lone.connect() as valkey:
        valkey.execute_command("ACL", "SETUSER", "default", "resetpass", ">s3cret")
    use("sentinel://", [lone], f"main?{who}sentinel_password=s3cret")
    assert stored() == 1
    use("sentinel://", [lone], "main")
    said = refusal()
    assert said.startswith(f"The sentinel at 127.0.0.1:{lone.port} does not answer.")
    assert "sentinel_password" in said
    assert "s3cret" not in said


def test_tls_is_for_both(primary, lone, use):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    fronts = [Proxy(server.port, context) for server in (primary, lone)]
    with lone.connect() as valkey:
        valkey.execute_command(
            "SENTINEL", "MONITOR", "secret", "127.0.0.1", fronts[0].port, 1
        )
    options = {"root_pem_cacerts": authority.cert_pem.bytes()}
    use("sentinels://", [fronts[1]], "secret", OPTIONS=options)
    try:
        assert stored() == 1
    finally:
        client.close()
        for front in fronts:
            front.close()


def test_a_service_that_they_do_not_know_is_said(sentinels, use):
    use("sentinel://", sentinels, "nain")
    assert "knows no service 'nain'" in refusal()


def test_sentinels_that_are_not_there_are_said(lone, use):
    lone.kill()
    use("sentinel://", [lone], "main")
    assert refusal().startswith(
        f"The sentinel at 127.0.0.1:{lone.port} does not answer."
    )


def test_the_others_are_asked_if_one_is_not_there(lone, sentinels, use):
    lone.kill()
    for _ in range(5):  # The order is another one each time.
        use("sentinel://", [lone, *sentinels], "main")
        assert stored() == 1


def test_the_others_are_asked_if_one_hangs(lone, sentinels, use):
    lone.pause()
    for _ in range(5):
        use("sentinel://", [lone, *sentinels], "main")
        assert stored() == 1


def test_the_others_are_asked_if_one_names_a_server_that_is_gone(lone, sentinels, use):
    with lone.connect() as valkey:
        valkey.execute_command("SENTINEL", "REMOVE", "main")
        gone = servers.free_port()
        valkey.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", gone, 1)
    for _ in range(5):
        use("sentinel://", [lone, *sentinels], "main")
        assert stored() == 1
    use("sentinel://", [lone], "main")
    assert "refuses connections" in refusal()


def test_a_replica_that_they_name_is_not_taken_for_the_primary(primary, lone, use):
    replica = servers.replica(primary)
    with lone.connect() as valkey:
        valkey.execute_command(
            "SENTINEL", "MONITOR", "wrong", "127.0.0.1", replica.port, 1
        )
    use("sentinel://", [lone], "wrong")
    try:
        assert "is not one primary" in refusal()
    finally:
        replica.close()
