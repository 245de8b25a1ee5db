"""
A new key in a request with our middleware, as at a login: it is stored with the save at
the end. What the view, and what it calls, sees of the session until then.
"""

import pytest
from django.contrib.auth import authenticate, login, update_session_auth_hash
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.http import HttpResponse
from django.test import Client
from django.urls import path

from django_valkey_sessions import client, keys, sessions, signals
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.exceptions import SessionStoreUnavailable

from .test_renewal import items

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def old(call):
    """The key of a session from before the login."""
    session = SessionStore()
    session["a"] = 1
    call(session, "save")
    return session.session_key


@pytest.fixture
def session(call, old):
    """That session in a request, after its key was changed, and before it is saved."""
    session = SessionStore(old)
    session.with_cookie = True
    call(session, "get", "a")
    with client.record() as trips:
        call(session, "cycle_key")
    assert trips == []
    session["_auth_user_id"] = "7"
    return session


LOGGED_IN = {"a": 1, "_auth_user_id": "7"}


def stored():
    return [info.id for info in sessions.iterate()]


def test_nothing_has_changed_before_the_save(call, session, old):
    assert session.session_key != old
    assert session.modified
    assert items(call, old) == {"a": 1}
    assert items(call, session.session_key) == {}


def test_the_save_stores_it_under_the_new_key_and_no_other(call, session, old):
    call(session, "save")
    assert items(call, session.session_key) == LOGGED_IN
    assert items(call, old) == {}
    session["b"] = 2
    call(session, "save")
    assert items(call, session.session_key) == {**LOGGED_IN, "b": 2}
    assert stored() == [keys.session_id(session.session_key)]


def test_what_others_have_saved_meanwhile_is_kept(call, session, old):
    other = SessionStore(old)
    call(other, "update", {"b": 2})
    call(other, "save")
    call(session, "save")
    assert items(call, session.session_key) == {**LOGGED_IN, "b": 2}


def test_a_session_that_ended_meanwhile_stays_ended(call, session, old):
    call(SessionStore(old), "flush")
    for _ in range(2):
        with pytest.raises(UpdateError):
            call(session, "save")
    assert stored() == []


def test_a_session_that_was_renewed_meanwhile_is_followed(call, session, old):
    other = SessionStore(old)
    call(other, "update", {"b": 2})
    call(other, "renew")
    call(session, "save")
    assert items(call, session.session_key) == {**LOGGED_IN, "b": 2}
    for session_key in (old, other.session_key):
        assert items(call, session_key) == {}


def test_an_outage_leaves_the_session_as_it_was(call, session, old, monkeypatch):
    def unavailable(trip):
        raise SessionStoreUnavailable("full")

    async def aunavailable(trip):
        unavailable(trip)

    with monkeypatch.context() as patch:
        patch.setattr(client, "execute", unavailable)
        patch.setattr(client, "aexecute", aunavailable)
        with pytest.raises(SessionStoreUnavailable):
            call(session, "save")
    assert items(call, old) == {"a": 1}
    call(session, "save")
    assert items(call, session.session_key) == LOGGED_IN


def test_only_the_new_key_exists(call, session, old):
    assert call(session, "exists", session.session_key)
    assert not call(session, "exists", old)
    call(SessionStore(old), "flush")
    assert not call(session, "exists", session.session_key)


def test_it_can_be_loaded(call, session):
    assert call(session, "load") == {"a": 1}
    assert dict(session) == LOGGED_IN


@pytest.mark.parametrize("how", ["delete", "flush", "delete by its key"])
def test_ending_it_ends_what_is_stored(call, session, old, how):
    if how == "delete by its key":
        call(session, "delete", session.session_key)
    else:
        call(session, how)
    assert items(call, old) == {}
    assert stored() == []


def test_removing_the_old_key_is_not_the_end(call, session, old):
    """As it is not where the key has changed already."""
    call(session, "delete", old)
    call(session, "save")
    assert items(call, session.session_key) == LOGGED_IN


def test_a_second_new_key_is_the_one_that_counts(call, session, old):
    first = session.session_key
    call(session, "cycle_key")
    call(session, "save")
    assert items(call, session.session_key) == LOGGED_IN
    assert items(call, first) == items(call, old) == {}


def test_a_renewal_is_the_save(call, session, old):
    call(session, "renew")
    assert items(call, session.session_key) == LOGGED_IN
    assert items(call, old) == {}
    assert len(stored()) == 1


def test_a_touch_is_one_of_what_is_stored(call, session, old, valkey_sessions, valkey):
    valkey_sessions(TOUCH_INTERVAL=0)
    (key,) = valkey.scan_iter(f"*{keys.session_id(old)}")
    valkey.expire(key, 100)
    assert call(session, "touch")
    assert valkey.ttl(key) > 100


def test_it_exists_and_can_not_be_created(call, session):
    with pytest.raises(CreateError):
        call(session, "save", must_create=True)


def test_another_one_can_be_created(call, session, old):
    before = session.session_key
    call(session, "create")
    assert items(call, old) == {}
    assert items(call, before) == LOGGED_IN
    assert items(call, session.session_key) == LOGGED_IN


def test_a_session_that_was_cleared_replaces_what_is_stored(call, session, old):
    session.clear()
    session["b"] = 2
    call(session, "save")
    assert items(call, session.session_key) == {"b": 2}
    assert items(call, old) == {}


def test_it_is_told_when_it_is_stored(call, session, old):
    told = []
    receive = lambda **facts: told.append(facts)  # noqa: E731
    signals.session_created.connect(receive)
    try:
        call(session, "save")
    finally:
        signals.session_created.disconnect(receive)
    (facts,) = told
    assert facts["id"] == keys.session_id(session.session_key)
    assert facts["previous_id"] == keys.session_id(old)
    assert facts["user_id"] == "7"


# A site.


def log_in(request):
    user = authenticate(request, username="ada", password="secret")
    login(request, user)
    return HttpResponse(status=int(request.GET.get("status", 200)))


def log_in_and_break_down(request):
    log_in(request)
    raise ZeroDivisionError


def set_password(request):
    """And end all other sessions, as the README says."""
    request.user.set_password("secret")
    request.user.save()
    update_session_auth_hash(request, request.user)
    return HttpResponse(sessions.revoke_user(request.user, keep=request.session))


def who(request):
    visits = request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(f"{request.user} {visits}")


def look(request):
    return HttpResponse(str(request.session.load()["visits"]))


urlpatterns = [
    path("look/", look),
    path("login/", log_in),
    path("broken/", log_in_and_break_down),
    path("password/", set_password),
    path("who/", who),
]


@pytest.fixture
def visitor(db, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.ROOT_URLCONF = __name__
    User.objects.create_user("ada", password="secret")
    visitor = Client(raise_request_exception=False)
    visitor.get("/who/")
    return visitor


def test_a_view_may_load_the_session_and_do_nothing_else_with_it(visitor):
    assert visitor.get("/look/").text == "1"


@pytest.mark.parametrize("path", ["/login/?status=503", "/broken/"])
def test_a_login_that_fails_leaves_the_visitor_the_session(visitor, path):
    before = visitor.cookies["sessionid"].value
    assert visitor.get(path).status_code >= 500
    assert visitor.cookies["sessionid"].value == before
    assert visitor.get("/who/").text == "AnonymousUser 2"


def test_a_login_gives_the_visitor_another_key_and_leaves_the_old_nothing(visitor):
    before = visitor.cookies["sessionid"].value
    visitor.get("/login/")
    assert visitor.get("/who/").text == "ada 2"
    visitor.cookies["sessionid"] = before
    assert visitor.get("/who/").text == "AnonymousUser 1"


def test_who_ends_all_others_in_the_request_that_changes_the_key_stays(visitor):
    visitor.get("/login/")
    elsewhere = Client()
    elsewhere.get("/login/")
    before = visitor.cookies["sessionid"].value
    assert visitor.get("/password/").text == "1"
    assert visitor.cookies["sessionid"].value != before
    assert visitor.get("/who/").text == "ada 2"
    assert elsewhere.get("/who/").text == "AnonymousUser 1"
