"""
SessionMiddleware in a site, under WSGI and under ASGI: what it does beyond Django's.
That it does what Django's does is told by Django's own tests (django_contract).
"""

import asyncio
import contextvars
import json
import logging
import re
import threading
import time
import warnings
from datetime import timedelta
from http import HTTPStatus
from types import SimpleNamespace

import pytest
from asgiref.sync import SyncToAsync
from django.contrib.sessions.backends.base import UpdateError
from django.core.checks import run_checks
from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.http import parse_http_date
from django.views import View

from django_valkey_sessions import backend, client, keys, pages, writes
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.decorators import passive
from django_valkey_sessions.exceptions import SessionStoreUnavailable
from django_valkey_sessions.middleware import SessionMiddleware

from . import servers

FORTNIGHT = 14 * 86400
OURS = "django_valkey_sessions.middleware.SessionMiddleware"

pytestmark = pytest.mark.urls(__name__)


# The site. Its views exist twice; those that await stand under /a/.


def ignore(request):
    return HttpResponse()


def read(request):
    return HttpResponse(request.session.get("a"))


async def aread(request):
    return HttpResponse(await request.session.aget("a"))


def write(request):
    request.session["a"] = "written"
    return HttpResponse()


async def awrite(request):
    await request.session.aset("a", "written")
    return HttpResponse()


def append(request):
    """Change something inside of a value, which Django does not notice."""
    request.session["list"].append(1)
    return HttpResponse()


async def aappend(request):
    (await request.session.aget("list")).append(1)
    return HttpResponse()


def shorten(request):
    request.session.set_expiry(60)
    return HttpResponse()


async def ashorten(request):
    await request.session.aset_expiry(60)
    return HttpResponse()


def log_in(request):
    request.session["_auth_user_id"] = "1"
    return HttpResponse()


async def alog_in(request):
    await request.session.aset("_auth_user_id", "1")
    return HttpResponse()


def fail(request):
    request.session.get("a")
    return HttpResponse(status=500)


async def afail(request):
    await request.session.aget("a")
    return HttpResponse(status=500)


def break_down(request):
    raise ZeroDivisionError


async def abreak_down(request):
    raise ZeroDivisionError


def cope(request):
    try:
        return read(request)
    except SessionStoreUnavailable:
        return HttpResponse("no session")


async def acope(request):
    try:
        return await aread(request)
    except SessionStoreUnavailable:
        return HttpResponse("no session")


def rendered_late(request):
    return TemplateResponse(request, "late.html", {"text": lambda: read(request).text})


async def arendered_late(request):
    return rendered_late(request)


@method_decorator(passive, name="dispatch")
class Passive(View):
    def get(self, request):
        return read(request)


@method_decorator(passive, name="dispatch")
class APassive(View):
    async def get(self, request):
        return await aread(request)


VIEWS = {
    "ignore": (ignore, ignore),
    "read": (read, aread),
    "write": (write, awrite),
    "append": (append, aappend),
    "shorten": (shorten, ashorten),
    "login": (log_in, alog_in),
    "fail": (fail, afail),
    "break": (break_down, abreak_down),
    "cope": (cope, acope),
    "late": (rendered_late, arendered_late),
    "passive/function": (passive(read), passive(aread)),
    "passive/class": (Passive.as_view(), APassive.as_view()),
}
for name in ("ignore", "read", "write", "append", "shorten", "login"):
    VIEWS[f"poll/{name}"] = VIEWS[name]

urlpatterns = [
    path(f"{prefix}{name}/", view)
    for name, views in VIEWS.items()
    for prefix, view in zip(("", "a/"), views, strict=True)
]


# Middleware of the site, which stands inside of the session's.


def cookie_setter(get_response):
    """As those for CSRF and for messages, which set cookies of their own."""

    def middleware(request):
        response = get_response(request)
        response.set_cookie("other", "1")
        return response

    return middleware


def reader(get_response):
    def middleware(request):
        request.session.get("a")
        return get_response(request)

    return middleware


class ViewReader:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, *args):
        request.session.get("a")


def forgiver(get_response):
    """Has a page of its own for what goes wrong."""

    def middleware(request):
        response = get_response(request)
        return HttpResponse("sorry") if response.status_code >= 500 else response

    return middleware


# Its templates.

DJANGOS = "django.template.backends.django.DjangoTemplates"


def templates(**files):
    loader = ("django.template.loaders.locmem.Loader", files)
    return [{"BACKEND": DJANGOS, "OPTIONS": {"loaders": [loader]}}]


# The visitor.


class Visitor:
    """A browser, on one of the two surfaces."""

    def __init__(self, client, run, prefix):
        self.client, self.run, self.prefix = client, run, prefix

    def get(self, name, **headers):
        url = f"{self.prefix}{name}/"
        return self.run(self.client.get, url, headers=headers)

    @property
    def key(self):
        return self.client.cookies["sessionid"].value

    def take(self, session):
        """Use this session."""
        self.client.cookies["sessionid"] = session.session_key


@pytest.fixture(params=["WSGI", "ASGI"])
def stranger(request, settings):
    """A visitor without a session."""
    settings.MIDDLEWARE = [OURS]
    settings.TEMPLATES = [{"BACKEND": DJANGOS, "APP_DIRS": True}]
    if request.param == "WSGI":
        client = Client(raise_request_exception=False)
        yield Visitor(client, lambda get, *args, **kw: get(*args, **kw), "/")
        return
    with asyncio.Runner() as runner:

        def run(get, *args, **kw):
            context = contextvars.copy_context()
            return runner.run(get(*args, **kw), context=context)

        client = AsyncClient(raise_request_exception=False)
        yield Visitor(client, run, "/a/")


@pytest.fixture
def visitor(stranger, engine):
    """A visitor with a session, which was saved just now."""
    stranger.take(new_session(a="read", list=[]))
    return stranger


@pytest.fixture
def in_outage(stranger, own_engine):
    """A visitor with a session, whose server is gone."""
    stranger.take(new_session(a="read"))
    own_engine.kill()
    return stranger


def new_session(**data):
    session = SessionStore()
    session.update(data)
    session.save()
    return session


def key_of(session_key):
    return backend.key_of(keys.session_id(session_key))


@pytest.fixture
def due(visitor, valkey):
    """Let the visitor's session have only a part of its lifetime left."""
    valkey.expire(key_of(visitor.key), 1000)
    return visitor


def left(valkey, visitor):
    """Return the seconds that the visitor's session is going to live."""
    return valkey.pttl(key_of(visitor.key)) / 1000


def is_renewed(seconds):
    return FORTNIGHT - 100 < seconds <= FORTNIGHT


def cost(visitor, name):
    """Return the round trips of a request that goes well."""
    with client.record() as trips:
        assert visitor.get(name).status_code == 200
    return trips


READ = ("GET", "PTTL")


@pytest.fixture
def server_knows_the_script(engine):
    session = new_session(a=1)
    session["a"] = 2
    session.save()


# What requests cost.


def test_without_a_session_nothing_is_asked(stranger, engine):
    assert cost(stranger, "read") == []


def test_a_session_that_nobody_looks_at_is_not_asked_for(due, valkey):
    assert cost(due, "ignore") == []
    assert left(valkey, due) <= 1000


def test_reading(visitor):
    assert cost(visitor, "read") == [READ]


def test_reading_when_a_touch_is_due(due):
    assert cost(due, "read") == [READ, ("PEXPIRE",)]


def test_writing(server_knows_the_script, visitor):
    assert cost(visitor, "write") == [READ, ("EVALSHA",)]


def test_the_first_write(stranger, engine):
    assert cost(stranger, "write") == [("SET",)]


# Rolling sessions.


def test_a_session_that_is_read_is_renewed_and_its_cookie_with_it(due, valkey):
    response = due.get("read")
    assert response.content == b"read"
    assert is_renewed(left(valkey, due))
    cookie = response.cookies["sessionid"]
    assert cookie.value == due.key
    assert cookie["max-age"] == FORTNIGHT
    assert response.headers["Vary"] == "Cookie"


def test_a_session_that_was_renewed_just_now_is_left_alone(visitor):
    response = visitor.get("read")
    assert (response.content, response.cookies) == (b"read", {})
    assert response.headers["Vary"] == "Cookie"


def test_the_throttle_is_a_setting(visitor, valkey_sessions):
    valkey_sessions(TOUCH_INTERVAL=0)
    assert visitor.get("read").cookies["sessionid"].value == visitor.key


def test_nothing_is_renewed_if_touching_is_off(due, valkey_sessions):
    valkey_sessions(TOUCH=False)
    assert cost(due, "read") == [("GET",)]
    assert due.get("read").cookies == {}


def test_a_session_that_ends_with_the_browser_is_touched_and_its_cookie_stays(
    due, valkey, settings
):
    settings.SESSION_EXPIRE_AT_BROWSER_CLOSE = True
    assert due.get("read").cookies == {}
    assert is_renewed(left(valkey, due))


def test_the_cookie_ends_when_its_age_says(stranger, engine):
    cookie = stranger.get("write").cookies["sessionid"]
    end = parse_http_date(cookie["expires"])
    assert 0 <= time.time() + cookie["max-age"] - end < 100


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("vary", ["Accept", "Accept, Cookie", "*"])
def test_what_the_answer_varies_on_besides_stays(vary):
    def view(request):
        return HttpResponse(request.session.get("a"), headers={"Vary": vary})

    response = SessionMiddleware(view)(RequestFactory().get("/"))
    expected = "*" if vary == "*" else "Accept, Cookie"
    assert response.headers["Vary"] == expected


def test_the_cookie_of_a_session_that_ends_with_the_browser_has_no_end(
    stranger, engine, settings
):
    settings.SESSION_EXPIRE_AT_BROWSER_CLOSE = True
    cookie = stranger.get("write").cookies["sessionid"]
    assert (cookie["max-age"], cookie["expires"]) == ("", "")


def test_a_session_with_an_end_of_its_own_is_not_renewed(stranger, engine, valkey):
    session = new_session(a="read")
    session.set_expiry(timezone.now() + timedelta(seconds=500))
    session.save()
    stranger.take(session)
    assert cost(stranger, "read") == [READ]
    assert left(valkey, stranger) <= 500


def test_a_session_with_a_lifetime_of_its_own_is_renewed_for_that(
    due, stranger, valkey
):
    due.get("shorten")
    valkey.expire(key_of(due.key), 30)
    assert due.get("read").cookies["sessionid"]["max-age"] == 60
    assert 50 < left(valkey, due) <= 60


def test_a_session_without_key_expiry_is_renewed_too(stranger, engine, valkey_sessions):
    valkey_sessions(EXPIRE=False, TTL=1000)
    stranger.take(new_session(a="read"))
    valkey_sessions(TTL=None)
    assert stranger.get("read").cookies["sessionid"]["max-age"] == FORTNIGHT
    assert stranger.get("read").cookies == {}


def test_an_answer_that_failed_renews_nothing(due, valkey):
    response = due.get("fail")
    assert (response.status_code, response.cookies) == (500, {})
    assert left(valkey, due) <= 1000


def test_a_session_that_ends_before_it_is_touched_gets_no_new_cookie(
    due, valkey, before_each_trip
):
    key = due.key

    def end(trip):
        if trip[0] == "PEXPIRE":
            valkey.delete(key_of(key))

    before_each_trip(end)
    response = due.get("read")
    assert (response.content, response.cookies) == (b"read", {})


# Passive requests.

every_passive_way = pytest.mark.parametrize(
    "name", ["poll/read", "passive/function", "passive/class"]
)


@pytest.fixture
def poll(valkey_sessions):
    valkey_sessions(PASSIVE_PATHS=["/poll/", re.compile("/./poll/")])


@pytest.mark.usefixtures("poll")
@every_passive_way
def test_a_passive_request_renews_nothing(due, valkey, name):
    assert cost(due, name) == [READ]
    response = due.get(name)
    assert (response.content, response.cookies) == (b"read", {})
    assert left(valkey, due) <= 1000


@pytest.mark.usefixtures("poll")
def test_a_passive_change_is_saved_and_keeps_the_expiry(due, valkey):
    response = due.get("poll/write")
    assert (response.status_code, response.cookies) == (200, {})
    assert SessionStore(due.key)["a"] == "written"
    assert 900 < left(valkey, due) <= 1000


@pytest.mark.usefixtures("poll")
def test_a_passive_change_keeps_an_expiry_that_changes_meanwhile(
    due, valkey, before_each_trip
):
    key = due.key

    def touch(trip):
        if trip[0] in ("EVAL", "EVALSHA"):
            valkey.expire(key_of(key), 2000)

    before_each_trip(touch)
    due.get("poll/write")
    assert 1900 < left(valkey, due) <= 2000


@pytest.mark.usefixtures("poll")
def test_a_passive_change_merges_with_an_active_one_and_keeps_its_expiry(
    due, valkey, before_each_trip
):
    key, others = due.key, []

    def write():
        session = SessionStore(key)
        session["b"] = 1
        session.save()

    def act(trip):
        if trip[0] in ("EVAL", "EVALSHA") and not others:
            # In a thread, because a loop may be running in this one.
            others.append(threading.Thread(target=write))
            others[0].start()
            others[0].join()

    before_each_trip(act)
    due.get("poll/write")
    session = SessionStore(key)
    assert (session["a"], session["b"]) == ("written", 1)
    assert is_renewed(left(valkey, due))


def test_a_passive_change_without_key_expiry_keeps_the_expiry(
    stranger, engine, valkey_sessions
):
    settings = {"EXPIRE": False, "PASSIVE_PATHS": ["/poll/", "/a/poll/"]}
    valkey_sessions(**settings, TTL=1000)
    stranger.take(new_session(a="read"))
    valkey_sessions(**settings, TTL=None)
    assert stranger.get("poll/write").cookies == {}
    session = SessionStore(stranger.key)
    assert session["a"] == "written"
    assert session.touch_is_due() is True


@pytest.mark.usefixtures("poll")
def test_an_expiry_that_a_passive_request_sets_is_set(due, valkey):
    assert due.get("poll/shorten").cookies["sessionid"]["max-age"] == 60
    assert 0 < left(valkey, due) <= 60


@pytest.mark.usefixtures("poll")
def test_a_login_is_activity_whatever_the_path(due, valkey):
    assert due.get("poll/login").cookies["sessionid"]["max-age"] == FORTNIGHT
    assert is_renewed(left(valkey, due))


@pytest.mark.usefixtures("engine", "poll")
def test_a_session_that_a_passive_request_begins_gets_its_cookie(stranger):
    assert stranger.get("poll/write").cookies["sessionid"].value == stranger.key


@pytest.mark.usefixtures("poll")
def test_a_passive_session_past_its_lifetime_ends(stranger, valkey, valkey_sessions):
    stranger.take(new_session(a="read"))
    valkey_sessions(TTL=lambda session: 0)
    stranger.get("poll/write")
    assert valkey.exists(key_of(stranger.key)) == 0


@pytest.mark.usefixtures("poll")
@pytest.mark.parametrize(("name", "trips"), [("ignore", []), ("read", [READ])])
def test_passive_requests_are_that_also_where_every_request_saves(
    due, valkey, settings, name, trips
):
    settings.SESSION_SAVE_EVERY_REQUEST = True
    assert cost(due, f"poll/{name}") == trips
    assert due.get(f"poll/{name}").cookies == {}
    assert left(valkey, due) <= 1000


@pytest.mark.usefixtures("poll")
def test_where_every_request_saves_a_passive_change_inside_a_value_is_saved(
    due, valkey, settings
):
    settings.SESSION_SAVE_EVERY_REQUEST = True
    assert due.get("poll/append").cookies == {}
    assert SessionStore(due.key)["list"] == [1]
    assert left(valkey, due) <= 1000


def test_passive_on_a_method_is_a_mistake_that_is_told():
    class Page(View):
        @passive
        def get(self, request):
            return HttpResponse()

    with pytest.raises(TypeError, match="method_decorator"):
        Page.as_view()(RequestFactory().get("/"))


def test_a_passive_view_can_be_called_without_the_middleware():
    assert passive(ignore)(RequestFactory().get("/")).status_code == 200


# Cookies of sessions that are gone.


@pytest.mark.parametrize("save_every_request", [False, True])
@pytest.mark.parametrize("name", ["read", "ignore"])
def test_a_stray_cookie_makes_no_session(
    stranger, engine, valkey, settings, name, save_every_request
):
    settings.SESSION_SAVE_EVERY_REQUEST = save_every_request
    stranger.client.cookies["sessionid"] = "x" * 32
    response = stranger.get(name)
    assert list(valkey.scan_iter(f"{engine}*")) == []
    noticed = save_every_request or name == "read"
    expected = ["sessionid"] if noticed else []
    assert [n for n, c in response.cookies.items() if c["max-age"] == 0] == expected


# Outages.


def assert_is_the_503_page(response):
    assert response.status_code == 503
    assert response.headers["Retry-After"] == str(pages.RETRY_AFTER)
    assert "no-store" in response.headers["Cache-Control"]
    assert response.cookies == {}
    assert "You are not logged out" in response.text


SITES = {
    "the view": ["cookie_setter"],
    "a middleware": ["cookie_setter", "reader", "cookie_setter"],
    "a middleware before the view": ["cookie_setter", "ViewReader"],
}


@pytest.mark.parametrize("inner", SITES.values(), ids=SITES)
def test_an_outage_is_a_503_that_sets_no_cookie_wherever_it_is_met(
    in_outage, settings, inner
):
    settings.MIDDLEWARE = [OURS, *(f"{__name__}.{name}" for name in inner)]
    assert_is_the_503_page(in_outage.get("read"))


def test_an_outage_that_is_met_while_rendering_is_a_503(in_outage, settings):
    settings.TEMPLATES = templates(**{"late.html": "{{ text }}"})
    assert_is_the_503_page(in_outage.get("late"))


def test_an_outage_that_is_met_while_saving_is_a_503(stranger, own_engine):
    own_engine.kill()
    assert_is_the_503_page(stranger.get("write"))


def test_an_outage_that_the_view_copes_with_is_not_told(in_outage):
    response = in_outage.get("cope")
    assert (response.status_code, response.content) == (200, b"no session")
    assert response.cookies == {}


def test_a_page_that_the_site_has_made_of_the_error_stays(in_outage, settings):
    settings.MIDDLEWARE = [OURS, f"{__name__}.forgiver"]
    response = in_outage.get("read")
    assert (response.content, response.cookies) == (b"sorry", {})


def test_who_needs_no_session_notices_nothing(in_outage):
    assert in_outage.get("ignore").status_code == 200


def test_another_error_of_the_site_stays_what_it_is(visitor, caplog):
    assert visitor.get("break").status_code == 500
    assert "ZeroDivisionError" in caplog.text


def test_afterwards_the_session_is_there_again(in_outage, own_engine):
    assert in_outage.get("read").status_code == 503
    own_engine.start()
    servers.wait_until(lambda: in_outage.get("read").status_code == 200)
    assert in_outage.get("read").content == b"read"


def logged(caplog, level):
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= level and record.name.startswith("django")
    ]


def test_an_outage_is_logged_once_and_the_next_one_again(in_outage, own_engine, caplog):
    for _ in range(3):
        in_outage.get("read")
    (line,) = logged(caplog, logging.ERROR)
    assert line == f"Service Unavailable: {in_outage.prefix}read/"
    assert "Valkey at 127.0.0.1" in caplog.text
    own_engine.start()
    servers.wait_until(lambda: in_outage.get("read").status_code == 200)
    own_engine.kill()
    servers.wait_until(lambda: in_outage.get("read").status_code == 503)
    assert logged(caplog, logging.ERROR) == [line, line]


def test_nothing_secret_is_logged_or_shown(in_outage, settings, caplog):
    settings.DEBUG = True
    response = in_outage.get("read")
    assert in_outage.key not in response.text + caplog.text


# The page.


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"503.html": "{{ title }}, {{ user }}"}, "Out of order for the moment, "),
        ({"django_valkey_sessions/unavailable.html": "ours"}, "ours"),
        ({"django_valkey_sessions/unavailable.html": "ours", "503.html": "own"}, "own"),
    ],
)
def test_the_page_can_be_the_sites_own(in_outage, settings, files, expected):
    settings.TEMPLATES = templates(**files)
    assert in_outage.get("read").text == expected


@pytest.mark.parametrize("engines", [[], templates()], ids=["no engine", "no template"])
def test_the_page_needs_no_template(in_outage, settings, engines):
    expected = in_outage.get("read").text
    settings.TEMPLATES = engines
    assert in_outage.get("read").text == expected
    assert expected.startswith('<!doctype html>\n<html lang="en">')


def test_who_prefers_json_gets_json(in_outage):
    response = in_outage.get("read", accept="application/json, text/html;q=0.5")
    assert response.status_code == 503
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(response.content) == {"detail": pages.UNAVAILABLE.message}
    assert response.headers["Vary"] == "Accept, Cookie"


@pytest.mark.parametrize("debug", [True, False])
def test_the_reason_is_for_developers(in_outage, settings, own_engine, debug):
    settings.DEBUG = debug
    response = in_outage.get("read")
    assert ("Valkey at 127.0.0.1" in response.text) is debug


def test_a_session_that_others_keep_changing_is_a_409(visitor, monkeypatch, caplog):
    def lost(*args):
        """Answer as the script does if another request was faster."""
        return (yield ["GET", key_of(visitor.key)])

    monkeypatch.setattr(backend, "RETRIES", 0)
    monkeypatch.setattr(writes, "swap", lost)
    response = visitor.get("write")
    assert response.status_code == HTTPStatus.CONFLICT
    assert response.cookies == {}
    assert "Retry-After" not in response.headers
    assert "Too many other requests" in response.text
    assert logged(caplog, logging.WARNING) == [f"Conflict: {visitor.prefix}write/"]


# Sessions that end meanwhile.


def test_a_session_that_has_ended_is_a_400_and_the_log_says_why(
    visitor, valkey, before_each_trip, caplog
):
    key = visitor.key

    def end(trip):
        if trip[0] in ("EVAL", "EVALSHA"):
            valkey.delete(key_of(key))

    before_each_trip(end)
    response = visitor.get("write")
    assert (response.status_code, response.cookies) == (400, {})
    (line,) = [r for r in caplog.records if r.name == "django_valkey_sessions"]
    assert line.getMessage() == (
        f"Session {keys.session_id(key)[:8]}... was ended before its time, as by a "
        "logout, or removed by the server, since it was loaded."
    )
    assert key not in caplog.text


def test_of_a_session_whose_expiry_is_not_known_the_log_says_no_more_than_that(
    visitor, valkey, valkey_sessions, before_each_trip, caplog
):
    valkey_sessions(TOUCH=False)
    key = visitor.key

    def end(trip):
        if trip[0] in ("EVAL", "EVALSHA"):
            valkey.delete(key_of(key))
            valkey.rpush(key_of(key), "no session")

    before_each_trip(end)
    assert visitor.get("write").status_code == 400
    assert "... has expired or was ended, since it was loaded" in caplog.text


def test_a_session_that_expired_meanwhile_is_said_to_have(
    due, valkey, before_each_trip, caplog, monkeypatch
):
    key = due.key
    later = SimpleNamespace(time=time.time, monotonic=lambda: time.monotonic() + 1000)

    def expire(trip):
        if trip[0] in ("EVAL", "EVALSHA"):
            valkey.delete(key_of(key))
            monkeypatch.setattr(backend, "time", later)

    before_each_trip(expire)
    assert due.get("write").status_code == 400
    assert "... has expired, since it was loaded" in caplog.text


# Other engines, and Django's checks.


@pytest.mark.usefixtures("engine")
def test_another_engine_works_as_with_djangos_middleware(stranger, settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.VALKEY_SESSIONS = {"PASSIVE_PATHS": ["/poll/", "/a/poll/"]}
    assert stranger.get("write").cookies["sessionid"]["max-age"] == FORTNIGHT
    assert stranger.get("read").cookies == {}
    assert stranger.get("passive/function").content == b"written"
    assert stranger.get("poll/write").cookies["sessionid"]["max-age"] == FORTNIGHT


@pytest.mark.usefixtures("engine")
def test_what_another_engine_tells_of_a_cookie_is_awaited(
    stranger, settings, monkeypatch
):
    engine = "django.contrib.sessions.backends.signed_cookies"
    settings.SESSION_ENGINE = engine

    async def aget_expiry_age(self, **kwargs):
        return 77

    monkeypatch.setattr(f"{engine}.SessionStore.aget_expiry_age", aget_expiry_age)
    age = 77 if stranger.prefix == "/a/" else FORTNIGHT
    assert stranger.get("write").cookies["sessionid"]["max-age"] == age


def test_another_engines_session_that_has_ended_is_a_400(
    stranger, settings, monkeypatch
):
    engine = "django.contrib.sessions.backends.signed_cookies"
    settings.SESSION_ENGINE = engine

    def save(self, must_create=False):
        raise UpdateError

    monkeypatch.setattr(f"{engine}.SessionStore.save", save)
    assert stranger.get("write").status_code == 400


def test_the_admin_accepts_it(settings):
    assert OURS in settings.MIDDLEWARE
    assert [message.id for message in run_checks(tags=["admin"])] == []


def test_without_a_session_in_the_request_the_answer_passes():
    def view(request):
        del request.session
        return HttpResponse("made without")

    request = RequestFactory().get("/")
    assert SessionMiddleware(view)(request).content == b"made without"


# On the event loop.


async def aignore(request):
    return HttpResponse()


@pytest.mark.parametrize("view", [aread, awrite, aignore])
def test_under_asgi_everything_happens_in_the_loop(
    own_engine, settings, monkeypatch, view
):
    settings.VALKEY_SESSIONS = {
        **settings.VALKEY_SESSIONS,
        "ASYNC": "native",
        "TOUCH_INTERVAL": 0,
    }
    settings.SESSION_SAVE_EVERY_REQUEST = view is aignore
    key = new_session(a="read").session_key

    def hop(*args, **kwargs):
        raise AssertionError("Something goes to a thread.")

    async def serve():
        middleware = SessionMiddleware(view)
        request = RequestFactory().get("/")
        request.COOKIES["sessionid"] = key
        monkeypatch.setattr(SyncToAsync, "__call__", hop)
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", hop)
        monkeypatch.setattr(client, "execute", hop)
        response = await middleware(request)
        monkeypatch.undo()
        return response

    assert asyncio.run(serve()).cookies["sessionid"].value == key


@pytest.mark.parametrize("mode", ["native", "thread"])
def test_a_blocking_access_in_a_loop_works_and_is_warned_of_once_for_each_place(
    own_engine, settings, mode
):
    settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, "ASYNC": mode}
    key = new_session(a="read").session_key

    async def view(request):
        text = request.session["a"]  # Here it is loaded, and not awaited.
        return HttpResponse(text + (await request.session.aget("a")))

    async def serve():
        middleware = SessionMiddleware(view)
        for _ in range(3):
            request = RequestFactory().get("/")
            request.COOKIES["sessionid"] = key
            assert (await middleware(request)).content == b"readread"

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        asyncio.run(serve())
    (warning,) = caught
    assert issubclass(warning.category, RuntimeWarning)
    assert "await request.session.aget" in str(warning.message)
    assert warning.filename == __file__
    with open(__file__) as source:
        assert "not awaited" in source.readlines()[warning.lineno - 1]
