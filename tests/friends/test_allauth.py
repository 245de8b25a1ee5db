"""django-allauth: what it keeps in sessions, and does with them."""

import uuid

import pytest
from demo.walk import Visitor
from django.conf import settings

from django_valkey_sessions import keys, sessions
from django_valkey_sessions.backend import SessionStore

from .conftest import stopped

#: Where allauth keeps how somebody has logged in.
METHODS = "account_authentication_methods"
PASSWORD = "correct horse battery"


@pytest.fixture
def visitor(site):
    """Somebody who has put something into the cart, and is not logged in."""
    return shopper(site)


def shopper(site):
    visitor = Visitor(site.port)
    visitor.get("/accounts/login/")
    assert visitor.post("/set/cart/", value="a book").status == 302
    return visitor


def log_in(visitor, **fields):
    fields = {"login": "demo", "password": "demo", **fields}
    reply = visitor.post("/accounts/login/", **fields)
    assert reply.status == 302, reply.body
    return reply


def key_of(visitor):
    return visitor.cookies["sessionid"]


def seen_by(visitor):
    seen = visitor.get("/data/").json()
    return seen["user"], seen["session"].get("cart")


def session_cookie(reply):
    (cookie,) = [one for one in reply.cookies if one.startswith("sessionid=")]
    return cookie.lower()


@pytest.mark.parametrize("how", ["signup", "login"])
def test_who_logs_in_keeps_the_cart_and_gets_a_new_key(site, visitor, how):
    before, name = key_of(visitor), "demo"
    if how == "login":
        log_in(visitor)
    else:
        name = uuid.uuid4().hex
        fields = {"username": name, "password1": PASSWORD, "password2": PASSWORD}
        reply = visitor.post("/accounts/signup/", **fields)
        assert reply.status == 302, reply.body
    assert seen_by(visitor) == (name, "a book")
    assert key_of(visitor) != before
    assert not SessionStore().exists(before)


@pytest.mark.parametrize("fields", [{}, {"remember": "on"}], ids=["forget", "remember"])
def test_remembering_decides_how_long_the_cookie_lives(site, visitor, fields):
    reply = log_in(visitor, **fields)
    assert ("max-age" in session_cookie(reply)) is bool(fields)
    with site.valkey.connect() as valkey:
        left = valkey.ttl(f"session:{keys.session_id(key_of(visitor))}")
    # The session waits either way: nobody knows when a browser is closed.
    assert settings.SESSION_COOKIE_AGE - 60 < left <= settings.SESSION_COOKIE_AGE


def test_a_logout_ends_the_session(site, visitor):
    log_in(visitor)
    key = key_of(visitor)
    assert visitor.post("/accounts/logout/").status == 302
    assert seen_by(visitor) == (None, None)
    assert not SessionStore().exists(key)


def test_an_action_waits_in_the_session_for_the_password(site, visitor):
    log_in(visitor)
    session = SessionStore(key_of(visitor))
    for method in session[METHODS]:
        method["at"] -= 3600
    session.modified = True
    session.save()
    address = f"{uuid.uuid4().hex}@example.com"
    reply = visitor.post("/accounts/email/", email=address, action_add="")
    assert reply.status == 302
    assert address not in visitor.get("/accounts/email/").body
    visitor.post("/accounts/reauthenticate/?next=/accounts/email/", password="demo")
    assert address in visitor.get("/accounts/email/").body
    assert seen_by(visitor) == ("demo", "a book")


def test_its_list_of_sessions_ends_the_others(site, visitor):
    other = shopper(site)
    for one in (visitor, other):
        log_in(one)
    assert visitor.get("/accounts/sessions/").status == 200
    assert visitor.post("/accounts/sessions/").status == 302
    assert seen_by(visitor) == ("demo", "a book")
    assert seen_by(other) == (None, None)
    # What ours says is the same.
    (mine,) = sessions.for_user("1")
    assert mine.id == keys.session_id(key_of(visitor))


def test_what_ours_ends_is_gone_from_its_list(site, visitor):
    log_in(visitor)
    other = shopper(site)
    log_in(other)
    before = visitor.get("/accounts/sessions/").body.count("<tr>")
    assert sessions.revoke(keys.session_id(key_of(other)))
    assert visitor.get("/accounts/sessions/").body.count("<tr>") == before - 1
    assert seen_by(other) == (None, None)


def test_an_outage_logs_nobody_out(site, visitor):
    log_in(visitor)
    cookies = dict(visitor.cookies)
    with stopped(site):
        for path in ("/accounts/email/", "/accounts/login/"):
            assert visitor.get(path).status == 503
    assert visitor.cookies == cookies
