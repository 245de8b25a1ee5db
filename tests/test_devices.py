"""
With what a user is logged in: what is recorded of it, and the page on which users see
and end that. The pages are those of the demo site, through Django's test client.
"""

import re
import sys
from asyncio import run
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import alogin, login
from django.contrib.auth.models import User
from django.contrib.sessions.backends import signed_cookies
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from django.utils import timezone

from django_valkey_sessions import client, keys, sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.devices import KEY, Device
from django_valkey_sessions.views import SessionsView
from testproject import urls as demo

from . import servers

PAGE = "/account/sessions/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0"
)
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1"
)
UNKNOWN = "0" * 32
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"


def as_proxy_says(request):
    return request.META.get("HTTP_X_REAL_IP")


@pytest.fixture
def recording(valkey_sessions):
    valkey_sessions(RECORD_DEVICE=True)


@pytest.fixture(params=["site", "stock"])
def page(request, settings, recording, db):
    """The site, with its own session middleware, and with Django's."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    if request.param == "stock":
        settings.MIDDLEWARE = [
            DJANGOS if name.endswith(".SessionMiddleware") else name
            for name in settings.MIDDLEWARE
        ]
    User.objects.create_user("ada", password="demo")
    User.objects.create_user("bob", password="demo")


def browser(user="ada", agent=FIREFOX, **options):
    """Return a browser that is logged in."""
    visitor = Client(headers={"user-agent": agent} if agent else {}, **options)
    reply = visitor.post("/login/", {"username": user, "password": "demo"})
    assert reply.status_code == 302
    return visitor


def user_of(visitor):
    return visitor.get("/data/").json()["user"]


def id_of(visitor):
    return keys.session_id(visitor.cookies["sessionid"].value)


def listed(visitor):
    """Return the ids for which the page has buttons."""
    page = visitor.get(PAGE).content.decode()
    return re.findall('name="end" value="([0-9a-f]{32})"', page)


def rows(visitor):
    """Return the text of the table's cells."""
    page = visitor.get(PAGE).content.decode()
    body = re.search("<tbody>(.*)</tbody>", page, re.DOTALL)[1]
    found = re.findall("<tr>(.*?)</tr>", body, re.DOTALL)
    cells = [re.findall("<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL) for row in found]
    return [[" ".join(re.sub("<.*?>", "", c).split()) for c in row] for row in cells]


def messages(reply):
    return [str(message) for message in reply.context["messages"]]


def new_session(**data):
    session = SessionStore()
    session.update(data)
    session.save()
    return session


def info_of(session):
    return sessions.get(keys.session_id(session.session_key))


# What is recorded.


async def awaited_login(request, user):
    await alogin(request, user)
    await request.session.asave()


def blocking_login(request, user):
    login(request, user)
    request.session.save()


@pytest.fixture(params=["blocking", "awaiting"])
def logged_in(request, engine):
    """Log in with what a request tells; return the session."""

    def logged_in(session=None, **meta):
        arrived = RequestFactory().get("/", **meta)
        arrived.session = SessionStore() if session is None else session
        user = User(pk=7, last_login=timezone.now())
        user.backend = "django.contrib.auth.backends.ModelBackend"
        user.save = lambda **options: None  # The time of the login, and no database.
        if request.param == "blocking":
            blocking_login(arrived, user)
        else:
            run(awaited_login(arrived, user))
        return arrived.session

    return logged_in


def test_a_login_records_browser_network_and_time(logged_in, recording):
    before = datetime.now(UTC).replace(microsecond=0)
    info = info_of(logged_in(HTTP_USER_AGENT=FIREFOX, REMOTE_ADDR="203.0.113.77"))
    assert info.device == Device(FIREFOX, "203.0.113.0/24", info.logged_in)
    assert before <= info.logged_in <= datetime.now(UTC)


def test_who_logs_in_again_has_logged_in_later(logged_in, recording):
    session = logged_in(HTTP_USER_AGENT=FIREFOX)
    session[KEY] = {**session[KEY], "at": 1_000_000_000}
    session.save()
    before = info_of(session)
    after = info_of(logged_in(session, HTTP_USER_AGENT=IPHONE))
    assert (after.created, after.device.agent) == (before.created, IPHONE)
    assert before.logged_in.year == 2001
    assert datetime.now(UTC) - after.logged_in < timedelta(minutes=1)


def test_without_a_record_the_login_is_when_the_session_was_created(logged_in):
    info = info_of(logged_in(HTTP_USER_AGENT=FIREFOX))
    assert info.logged_in == info.created


def test_by_default_nothing_is_recorded(logged_in):
    session = logged_in(HTTP_USER_AGENT=FIREFOX)
    assert KEY not in session
    assert info_of(session).device is None


def test_a_session_of_another_engine_is_left_alone(logged_in, recording):
    session = logged_in(signed_cookies.SessionStore(), HTTP_USER_AGENT=FIREFOX)
    assert KEY not in session


def test_a_login_that_tells_nothing_is_recorded_as_that(logged_in, recording):
    session = logged_in(REMOTE_ADDR="")
    device = info_of(session).device
    assert (device.agent, device.address) == ("", "")


NETWORKS = [
    ("203.0.113.77", "203.0.113.0/24"),
    ("127.0.0.1", "127.0.0.0/24"),
    ("2001:db8:7:1:2:3:4:5", "2001:db8:7::/48"),
    ("::1", "::/48"),
    ("::ffff:203.0.113.77", "203.0.113.0/24"),
    ("fe80::1%eth0", "fe80::/48"),
    ("203.0.113.77, 10.0.0.1", ""),
    ("unknown", ""),
    (None, ""),
]


@pytest.mark.parametrize(("address", "network"), NETWORKS)
def test_of_an_address_only_the_network_is_kept(
    logged_in, valkey_sessions, address, network
):
    valkey_sessions(RECORD_DEVICE=lambda request: address)
    session = logged_in(REMOTE_ADDR="198.51.100.1")
    assert info_of(session).device.address == network


def test_a_site_behind_a_proxy_says_where_the_address_is(logged_in, valkey_sessions):
    valkey_sessions(RECORD_DEVICE=f"{__name__}.as_proxy_says")
    session = logged_in(REMOTE_ADDR="10.0.0.1", HTTP_X_REAL_IP="203.0.113.77")
    assert info_of(session).device.address == "203.0.113.0/24"


def test_an_endless_agent_is_cut(logged_in, recording):
    session = logged_in(HTTP_USER_AGENT="x" * 100_000)
    assert info_of(session).device.agent == "x" * 255


def test_nothing_of_it_is_stored_in_clear(logged_in, recording, engine, valkey):
    logged_in(HTTP_USER_AGENT=FIREFOX, REMOTE_ADDR="203.0.113.77")
    (blob,) = [
        valkey.get(name)
        for name in valkey.scan_iter(f"{engine}*")
        if valkey.type(name) == b"string"
    ]
    assert not [word for word in (b"Firefox", b"203.0", b"_device") if word in blob]


def test_recording_costs_no_round_trip(logged_in, valkey_sessions):
    costs = []
    for on in (False, True):
        valkey_sessions(RECORD_DEVICE=on)
        with client.record() as trips:
            logged_in(new_session(cart=[1]), HTTP_USER_AGENT=FIREFOX)
        costs.append(trips)
    assert costs[0] == costs[1] != []


def test_of_a_visitor_nothing_is_known(engine):
    assert info_of(new_session(cart=[1])).device is None


def test_of_what_can_not_be_read_nothing_is_known(engine):
    client.execute(["SET", keys.stored_key(engine, UNKNOWN), "garbage"])
    info = sessions.get(UNKNOWN)
    assert (info.device, info.logged_in) == (None, None)


def test_what_a_site_itself_keeps_there_does_no_harm(engine):
    for theirs in ("tablet", {"agent": 7, "address": "", "at": 0}, {"agent": ""}):
        info = info_of(new_session(**{KEY: theirs}))
        assert (info.device, info.logged_in) == (None, info.created)


# What it is called.


def named(agent):
    return Device(agent, "", datetime.now(UTC))


NAMES = [
    (FIREFOX, "Firefox 144", "Linux"),
    (EDGE, "Edge 142", "Windows"),
    (IPHONE, "Mobile Safari 26", "iOS"),
]


@pytest.mark.parametrize(("agent", "browser", "system"), NAMES)
def test_a_known_browser_has_a_name(agent, browser, system):
    device = named(agent)
    assert (device.browser, device.system) == (browser, system)
    assert str(device) == f"{browser}, {system}"


def test_a_browser_without_a_system_has_a_name():
    assert str(named("curl/8.5")) == "curl 8"


def test_an_unknown_browser_is_called_what_it_says_it_is():
    device = named("Nobody knows this one " * 10)
    assert (device.browser, device.system) == (None, None)
    assert len(str(device)) == 60
    assert str(device).startswith("Nobody knows this one")


def test_without_the_extra_a_browser_is_called_what_it_says_it_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "ua_parser", None)
    device = named(FIREFOX)
    assert (device.browser, device.system) == (None, None)
    assert str(device) == "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Fi…"


def test_who_says_nothing_has_no_name():
    assert str(named("")) == ""


# The page.


def test_users_see_their_own_sessions_this_one_first(page):
    phone, bob, here = browser(agent=IPHONE), browser("bob"), browser()
    assert listed(here) == [id_of(here), id_of(phone)]
    assert listed(phone) == [id_of(phone), id_of(here)]
    assert listed(bob) == [id_of(bob)]


def test_a_row_tells_browser_network_and_what_can_be_done(page):
    browser(agent=IPHONE)
    here, phone = rows(browser())
    assert here[:2] == ["Firefox 144, Linux This browser", "127.0.0.0/24"]
    assert here[3:] == ["Now", "Log out"]
    assert phone[:2] == ["Mobile Safari 26, iOS", "127.0.0.0/24"]
    assert phone[4:] == ["End session"]


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize(
    ("language", "shown"),
    [("en", "Nov. 2, 2026, 3:45 a.m."), ("de", "2. November 2026 03:45")],
)
def test_times_are_shown_as_the_site_shows_them(
    page, settings, use_tz, language, shown
):
    settings.TIME_ZONE, settings.USE_TZ = "Asia/Kolkata", use_tz
    settings.LANGUAGE_CODE = language
    visitor = browser()
    session = SessionStore(visitor.cookies["sessionid"].value)
    at = datetime(2026, 11, 1, 22, 15, tzinfo=UTC)
    session[KEY] = {**session[KEY], "at": int(at.timestamp())}
    session.save()
    assert rows(visitor)[0][2] == shown


def test_who_has_told_nothing_is_an_unknown_browser(page):
    here = browser(agent="")
    assert rows(here)[0][:2] == ["Unknown browser This browser", "127.0.0.0/24"]


def test_without_a_record_there_is_a_row_all_the_same(page, valkey_sessions):
    valkey_sessions(RECORD_DEVICE=False)
    assert rows(browser())[0][:2] == ["Unknown browser This browser", "Unknown"]


def test_what_a_browser_says_is_no_markup(page):
    here = browser(agent='"><script>alert(1)</script>')
    text = here.get(PAGE).content.decode()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_a_session_that_is_ended_is_logged_out(page):
    phone, here = browser(agent=IPHONE), browser()
    reply = here.post(PAGE, {"end": id_of(phone)}, follow=True)
    assert reply.redirect_chain == [(PAGE, 302)]
    assert messages(reply) == ["The session was ended."]
    assert (user_of(phone), user_of(here)) == (None, "ada")
    assert listed(here) == [id_of(here)]


def test_all_others_can_be_ended_at_once(page):
    others, bob, here = [browser(), browser()], browser("bob"), browser()
    reply = here.post(PAGE, {"end": "others"}, follow=True)
    assert messages(reply) == ["2 other sessions were ended."]
    assert [user_of(other) for other in others] == [None, None]
    assert (user_of(here), user_of(bob)) == ("ada", "bob")


def test_the_button_for_all_others_needs_others(page):
    here = browser()
    assert 'value="others"' not in here.get(PAGE).content.decode()
    browser()
    assert 'value="others"' in here.get(PAGE).content.decode()


@pytest.mark.parametrize(
    ("after", "address"), [(None, "/login/"), ("home", "/"), ("/bye/", "/bye/")]
)
def test_ending_this_one_is_a_logout(page, settings, after, address):
    settings.LOGOUT_REDIRECT_URL = after
    phone, here = browser(agent=IPHONE), browser()
    id = id_of(here)
    reply = here.post(PAGE, {"end": id})
    assert (reply.status_code, reply["Location"]) == (302, address)
    assert reply.cookies["sessionid"].value == ""
    assert (user_of(here), user_of(phone)) == (None, "ada")
    assert sessions.get(id) is None


def test_one_that_has_ended_already_is_no_error(page):
    phone, here = browser(agent=IPHONE), browser()
    id = id_of(phone)
    phone.post("/logout/")
    reply = here.post(PAGE, {"end": id}, follow=True)
    assert messages(reply) == ["That session had ended already."]


def test_the_query_stays_and_leads_nowhere_else(page):
    reply = browser().post(f"{PAGE}?tab=2", {"end": UNKNOWN})
    assert reply["Location"] == f"{PAGE}?tab=2"


# What is refused.

SENT = {
    "somebody else's": lambda bob, visitor: id_of(bob),
    "a visitor's": lambda bob, visitor: id_of(visitor),
    "somebody else's key": lambda bob, visitor: bob.cookies["sessionid"].value,
    "no session's": lambda bob, visitor: UNKNOWN,
    "no id": lambda bob, visitor: "*",
    "a text without end": lambda bob, visitor: "0" * 100_000,
    "binary": lambda bob, visitor: b"\x00\xff",
    "empty": lambda bob, visitor: "",
}


@pytest.mark.parametrize("sent", SENT)
def test_nobody_ends_what_is_not_theirs(page, sent):
    phone, bob, visitor, here = browser(), browser("bob"), Client(), browser()
    visitor.post("/change/", {"what": "count"})
    before = {info.id for info in sessions.iterate()}
    for reply in (
        here.post(PAGE, {"end": SENT[sent](bob, visitor)}, follow=True),
        here.post(PAGE, {"id": id_of(bob)}, follow=True),
        here.post(PAGE, follow=True),
    ):
        # The same words whether there is such a session or not.
        assert messages(reply) == ["That session had ended already."]
    assert {info.id for info in sessions.iterate()} == before
    assert len(before) == 4
    assert (user_of(bob), user_of(phone)) == ("bob", "ada")


def test_a_key_of_ones_own_is_no_id(page):
    phone, here = browser(), browser()
    for visitor in (phone, here):
        here.post(PAGE, {"end": visitor.cookies["sessionid"].value})
    assert (user_of(phone), user_of(here)) == ("ada", "ada")


def test_a_get_ends_nothing(page):
    phone, here = browser(), browser()
    for end in (id_of(phone), id_of(here), "others"):
        assert here.get(PAGE, {"end": end}).status_code == 200
    assert (user_of(phone), user_of(here)) == ("ada", "ada")


@pytest.mark.parametrize("method", ["put", "delete", "patch"])
def test_other_methods_end_nothing(page, method):
    phone, here = browser(), browser()
    reply = getattr(here, method)(f"{PAGE}?end={id_of(phone)}")
    assert reply.status_code == 405
    assert user_of(phone) == "ada"


@pytest.mark.parametrize("csrf", ["middleware", "no middleware"])
def test_a_post_without_the_token_ends_nothing(page, settings, csrf):
    phone, bare = browser(), browser()
    if csrf == "no middleware":
        settings.MIDDLEWARE = [m for m in settings.MIDDLEWARE if "Csrf" not in m]
    here = Client(enforce_csrf_checks=True)
    here.cookies = bare.cookies
    for end in (id_of(phone), id_of(bare), "others"):
        assert here.post(PAGE, {"end": end}).status_code == 403
    assert (user_of(phone), user_of(bare)) == ("ada", "ada")
    # The page brings the token along.
    page = here.get(PAGE).content.decode()
    token = re.search('name="csrfmiddlewaretoken" value="(.*?)"', page)[1]
    here.post(PAGE, {"end": id_of(phone), "csrfmiddlewaretoken": token})
    assert user_of(phone) is None


def test_who_is_not_logged_in_sees_and_ends_nothing(page):
    phone, gone = browser(), browser()
    id = id_of(phone)
    gone.post("/logout/")
    for visitor in (gone, Client()):
        for reply in (visitor.get(PAGE), visitor.post(PAGE, {"end": id})):
            assert reply.status_code == 302
            assert reply["Location"] == f"/login/?next={PAGE}"
        assert visitor.post(PAGE, {"end": "others"}).status_code == 302
    assert user_of(phone) == "ada"


def test_no_cache_keeps_the_page(page):
    here = browser()
    for reply in (here.get(PAGE), Client().get(PAGE), here.post(PAGE)):
        assert "no-store" in reply["Cache-Control"]
        assert "private" in reply["Cache-Control"]


def test_the_page_tells_no_key(page):
    phone, here = browser(), browser()
    text = here.get(PAGE).content.decode()
    assert phone.cookies["sessionid"].value not in text
    assert here.cookies["sessionid"].value not in text


# What a site can change.


class CarefulView(SessionsView):
    """Ends something only for who has just proved who they are."""

    def reauthenticate(self, request):
        if request.session.get("proved"):
            return None
        return HttpResponse("Your password, please.", status=401)


urlpatterns = [path("careful/", CarefulView.as_view()), *demo.urlpatterns]


@pytest.mark.urls(__name__)
def test_a_site_can_ask_again_who_it_is(page):
    phone, here = browser(), browser()
    for end in (id_of(phone), id_of(here), "others"):
        assert here.post("/careful/", {"end": end}).status_code == 401
    assert (user_of(phone), user_of(here)) == ("ada", "ada")
    assert here.get("/careful/").status_code == 200
    session = SessionStore(here.cookies["sessionid"].value)
    session["proved"] = True
    session.save()
    reply = here.post("/careful/", {"end": id_of(phone)})
    assert (reply.status_code, reply["Location"]) == (302, "/careful/")
    assert (user_of(phone), user_of(here)) == (None, "ada")


def test_without_the_messages_app_it_works(page, settings):
    settings.MIDDLEWARE = [m for m in settings.MIDDLEWARE if "messages" not in m]
    phone, here = browser(), browser()
    assert here.post(PAGE, {"end": id_of(phone)}).status_code == 302
    assert user_of(phone) is None


# Languages.


@pytest.fixture
def in_many_languages(page, settings):
    locale = "django.middleware.locale.LocaleMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, locale]


def test_the_page_is_in_german(in_many_languages):
    phone, here = browser(agent=IPHONE), browser()
    german = {"headers": {"accept-language": "de"}}
    text = here.get(PAGE, **german).content.decode()
    for words in (
        *("<h1>Ihre Sitzungen</h1>", "<caption>2 Sitzungen</caption>"),
        *("Ungefähre Adresse", "Angemeldet", "Zuletzt aktiv", "Dieser Browser"),
        *("Jetzt", "Abmelden", "Sitzung beenden", "Alle anderen Sitzungen beenden"),
    ):
        assert words in text
    reply = here.post(PAGE, {"end": id_of(phone)}, follow=True, **german)
    assert messages(reply) == ["Die Sitzung wurde beendet."]
    assert "<caption>1 Sitzung</caption>" in reply.content.decode()


@pytest.mark.parametrize(
    ("others", "language", "said"),
    [
        (1, "de", "1 andere Sitzung wurde beendet."),
        (2, "de", "2 andere Sitzungen wurden beendet."),
        (0, "en", "0 other sessions were ended."),
        (1, "en", "1 other session was ended."),
    ],
)
def test_what_was_done_is_told_in_good_grammar(
    in_many_languages, others, language, said
):
    here = browser()
    for _ in range(others):
        browser()
    headers = {"accept-language": language}
    reply = here.post(PAGE, {"end": "others"}, follow=True, headers=headers)
    assert messages(reply) == [said]


# What fails.


def test_with_another_engine_the_page_says_so(page, settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    with pytest.raises(ImproperlyConfigured, match="signed_cookies"):
        browser().get(PAGE)


def test_without_the_index_the_page_says_so(page, valkey_sessions):
    valkey_sessions(USER_INDEX=False)
    with pytest.raises(ImproperlyConfigured, match="USER_INDEX"):
        browser().get(PAGE)


def test_an_outage_tells_no_key_and_logs_nobody_out(page, own_engine, settings, caplog):
    with own_engine.connect() as valkey:
        valkey.config_set("appendfsync", "always")  # Else a killed one may lose it.
    here = browser()
    key = here.cookies["sessionid"].value
    here.raise_request_exception = False
    own_engine.kill()
    for reply in (here.get(PAGE), here.post(PAGE, {"end": "others"})):
        assert reply.status_code >= 500
        assert not reply.cookies
        assert key not in reply.content.decode()
    assert key not in caplog.text
    own_engine.start()
    servers.wait_until(lambda: here.get(PAGE).status_code == 200)
    assert user_of(here) == "ada"
