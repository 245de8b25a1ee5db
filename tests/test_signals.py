"""What an audit log is told: each test on both surfaces."""

import json
import time

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_valkey_sessions import client, codec, keys, sessions, signals
from django_valkey_sessions.backend import SessionStore

pytestmark = pytest.mark.usefixtures("engine")

SIGNALS = ("session_created", "session_ended", "session_unreadable")


@pytest.fixture(params=["blocking", "awaiting"])
def told(request):
    """What receivers are told, by receivers of one kind or the other."""
    told = []

    def receiver(name):
        def note(sender, signal, **facts):
            assert sender is SessionStore
            told.append((name, facts))

        async def anote(sender, signal, **facts):
            note(sender, signal, **facts)

        return anote if request.param == "awaiting" else note

    receivers = {name: receiver(name) for name in SIGNALS}
    for name, receive in receivers.items():
        getattr(signals, name).connect(receive, sender=SessionStore)
    yield told
    for name, receive in receivers.items():
        getattr(signals, name).disconnect(receive, sender=SessionStore)


def new_session(call, user=None, **data):
    session = SessionStore()
    session.update(data if user is None else {"_auth_user_id": user, **data})
    call(session, "save")
    return session


def id_of(session):
    return keys.session_id(session.session_key)


def created(session, user=None, previous=None):
    facts = {"id": id_of(session), "user_id": user, "previous_id": previous}
    return "session_created", facts


def ended(id, user, reason):
    return "session_ended", {"id": id, "user_id": user, "reason": reason}


def test_a_new_session_is_told_of_once(call, told):
    session = new_session(call, user="7")
    call(session, "update", {"a": 1})
    call(session, "save")
    assert told == [created(session, "7")]


def test_a_new_key_is_told_of_with_the_id_before(call, told):
    session = new_session(call, user="7")
    before = id_of(session)
    call(session, "cycle_key")
    assert told[1:] == [created(session, "7", before)]


def test_a_logout_is_told_of_once(call, told):
    session = new_session(call, user="7")
    id, other = id_of(session), SessionStore(session.session_key)
    call(session, "flush")
    call(other, "flush")
    assert told[1:] == [ended(id, "7", "logout")]


def test_what_is_revoked_is_told_of(call, told):
    one, two, three = (new_session(call, user="7", n=n) for n in range(3))
    visitor = new_session(call)
    told.clear()
    assert sessions.revoke(id_of(one)) is True
    assert sessions.revoke_user("7", keep=two) == 1
    assert sessions.clear(lambda info: info.user_id == "7") == 1
    assert sessions.clear() == 1
    assert told == [
        ended(id_of(one), "7", "revoked"),
        ended(id_of(three), "7", "revoked"),
        ended(id_of(two), "7", "revoked"),
        # Whose it was is not looked at when all are ended.
        ended(id_of(visitor), None, "revoked"),
    ]


def test_what_a_limit_ends_is_told_of(call, told, valkey_sessions):
    valkey_sessions(MAX_SESSIONS_PER_USER=1)
    old = new_session(call, user="7")
    new = new_session(call, user="7")
    assert told == [
        created(old, "7"),
        created(new, "7"),
        ended(id_of(old), "7", "limit"),
    ]


def test_a_session_that_saves_itself_as_expired_is_told_of(call, told):
    session = new_session(call, user="7")
    session.set_expiry(-1)
    call(session, "save")
    assert told[1:] == [ended(id_of(session), "7", "expired")]


def test_a_session_that_is_found_to_have_expired_is_told_of(call, told, engine):
    session = new_session(call, user="7")
    old = int(time.time() * 1000) - 1000
    payload = json.dumps({"_auth_user_id": "7"}).encode()
    blob = codec.pack(payload, id_of(session), int(time.time()), old)
    client.execute(["SET", keys.stored_key(engine, id_of(session)), blob])
    assert call(SessionStore(session.session_key), "load") == {}
    assert told[1:] == [ended(id_of(session), "7", "expired")]


def test_what_can_not_be_read_is_told_of(call, told, engine):
    session = new_session(call, user="7")
    client.execute(["SET", keys.stored_key(engine, id_of(session)), "damaged"])
    assert call(SessionStore(session.session_key), "load") == {}
    ((name, facts),) = told[1:]
    assert (name, facts["id"]) == ("session_unreadable", id_of(session))
    assert "only 7 bytes" in facts["reason"]


def test_what_a_receiver_raises_does_not_reach_the_session(call, caplog):
    def fail(**facts):
        raise RuntimeError("no disk")

    signals.session_created.connect(fail)
    try:
        session = new_session(call, a=1)
    finally:
        signals.session_created.disconnect(fail)
    assert SessionStore(session.session_key)["a"] == 1
    assert "no disk" in caplog.text


def test_no_session_key_is_told(call, told):
    session = new_session(call, user="7")
    seen = [session.session_key]
    call(session, "cycle_key")
    seen.append(session.session_key)
    call(session, "flush")
    assert len(told) == 3
    assert not any(key in repr(told) for key in seen)


@pytest.mark.django_db
def test_a_login_over_http_is_told_of(told, settings):
    User.objects.create_user("demo", password="demo")
    browser = Client()
    browser.post("/change/", {"what": "count"})
    visitor = browser.cookies["sessionid"].value
    browser.post("/login/", {"username": "demo", "password": "demo"})
    user = browser.cookies["sessionid"].value
    browser.post("/logout/")
    assert [name for name, _ in told] == [
        "session_created",
        "session_created",
        "session_ended",
    ]
    assert told[1][1]["previous_id"] == keys.session_id(visitor)
    assert told[2][1]["id"] == keys.session_id(user)
