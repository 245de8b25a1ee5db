"""The admin's pages, as a browser gets them."""

import os
import re
import subprocess
import sys

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client
from django.urls import path

from django_valkey_sessions import admin as pages
from django_valkey_sessions import client, keys, sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.models import Session

pytestmark = pytest.mark.django_db

UNKNOWN = "0" * 32
LIST = "/admin/django_valkey_sessions/session/"
RIGHTS = ("view_session", "delete_session", "view_session_data")


def of(id, page="change"):
    return f"{LIST}{id}/{page}/"


def all_of(user):
    return f"{LIST}user/{user}/delete/"


def id_of(session):
    return keys.session_id(session.session_key)


def new_session(user=None, **data):
    session = SessionStore()
    session.update(data)
    if user is not None:
        session["_auth_user_id"] = str(getattr(user, "pk", user))
    session.save()
    return session


def alive(*those):
    return [sessions.get(id_of(session)) is not None for session in those]


def browser_of(user):
    browser = Client()
    browser.force_login(user)
    return browser


def staff(*rights):
    user = User.objects.create_user(f"staff{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return user


@pytest.fixture
def root(engine):
    return User.objects.create_superuser("root")


@pytest.fixture
def browser(root):
    return browser_of(root)


@pytest.fixture
def ada():
    return User.objects.create_user("ada")


def listed(response):
    """Return the ids of the sessions on a page of the list."""
    return {session.id for session in response.context["cl"].result_list}


def said(response):
    return [str(message) for message in response.context["messages"]]


def log():
    return [
        (entry.action_flag, entry.object_id, entry.user.username)
        for entry in LogEntry.objects.order_by("pk")
    ]


# What a model without a table must not break.


def test_there_is_nothing_to_migrate_and_nothing_to_dump(capsys):
    call_command("makemigrations", check=True, dry_run=True)
    call_command("dumpdata")
    assert '"django_valkey_sessions.session"' not in capsys.readouterr().out
    assert list(Session.objects.all()) == []


def in_a_site_with(apps, code):
    """Run the code in a process of its own, with these apps and no others."""
    code = f"""
import django, sys
from django.conf import settings
from django.core.management import call_command
settings.configure(
    INSTALLED_APPS={[*apps, "django_valkey_sessions"]!r},
    SESSION_ENGINE="django_valkey_sessions.backend",
    DATABASES={{
        "default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    }},
)
django.setup()
call_command("check", fail_level="WARNING")
{code}
"""
    path = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
    )


@pytest.mark.parametrize(
    "apps", [[], ["django.contrib.contenttypes", "django.contrib.auth"]]
)
def test_a_site_without_the_admin_is_none_the_worse(apps):
    in_a_site_with(
        apps,
        """
call_command("migrate", verbosity=0)
call_command("migrate", run_syncdb=True, verbosity=0)
call_command("makemigrations", check=True, verbosity=0)
assert "django.contrib.admin" not in sys.modules
assert "django_valkey_sessions.admin" not in sys.modules
""",
    )


def test_the_permissions_are_there():
    permissions = Permission.objects.filter(
        content_type__app_label="django_valkey_sessions"
    )
    assert {permission.codename for permission in permissions} == {*RIGHTS}


# The list.


def test_sessions_are_in_the_index_and_listed(browser, root, ada):
    mine, visit = new_session(ada), new_session()
    assert LIST in browser.get("/admin/").text
    response = browser.get(LIST)
    own = keys.session_id(browser.cookies["sessionid"].value)
    assert listed(response) == {id_of(mine), id_of(visit), own}
    names = re.findall(r'field-user">(.+?)<', response.text)
    assert sorted(names) == ["ada", "anonymous", "root"]
    assert response.text.count("<b>(yours)</b>") == 1


def test_a_user_who_is_gone_is_shown_as_an_id(browser):
    new_session(4711)
    new_session("no number")
    new_session("9" * 40)
    names = re.findall(r'field-user">(.+?)<', browser.get(LIST).text)
    assert sorted(names) == ["4711", "9" * 40, "no number", "root"]


def test_what_can_not_be_read_is_listed_shown_and_ended(browser, engine):
    client.execute(["SET", keys.stored_key(engine, UNKNOWN), "garbage"])
    assert 'field-user">unreadable<' in browser.get(LIST).text
    assert "It can't be read" in (page := browser.get(of(UNKNOWN)).text)
    assert "Show values" not in page
    assert "unreadable" in browser.get(of(UNKNOWN, "delete")).text
    browser.post(of(UNKNOWN, "delete"))
    assert sessions.get(UNKNOWN) is None


def test_filters(browser, engine, ada):
    user = id_of(new_session(ada, _session_expiry=600))
    visit = id_of(new_session(_session_expiry=7200))
    client.execute(["SET", keys.stored_key(engine, UNKNOWN), "garbage"])
    own = keys.session_id(browser.cookies["sessionid"].value)
    for query, expected in (
        ("", {user, visit, UNKNOWN, own}),
        ("state=user", {user, own}),
        ("state=anonymous", {visit}),
        ("state=unreadable", {UNKNOWN}),
        ("state=something", {user, visit, UNKNOWN, own}),
        ("expires=hour", {user}),
        ("expires=day", {user, visit}),
        ("expires=never", {UNKNOWN}),
        ("expires=day&state=anonymous", {visit}),
        ("q=ada&state=anonymous", set()),
    ):
        assert listed(browser.get(f"{LIST}?{query}")) == expected, query


def test_a_search_is_for_a_user_or_an_id(browser, ada, engine):
    other = User.objects.create_user("adalbert")
    of_ada, of_other = id_of(new_session(ada)), id_of(new_session(other))
    of_gone, visit = id_of(new_session(4711)), id_of(new_session())
    for text, expected in (
        ("ada", {of_ada}),
        (f" {ada.pk} ", {of_ada}),
        ("ADA", {of_ada, of_other}),
        ("dalb", {of_other}),
        ("4711", {of_gone}),
        (visit, {visit}),
        (visit[:12], set()),
        ("nobody", set()),
        (UNKNOWN, set()),
        ("9" * 40, set()),
    ):
        assert listed(browser.get(LIST, {"q": text})) == expected, text


def test_a_search_does_not_scan(browser, ada):
    new_session(ada)
    with client.record() as trips:
        browser.get(LIST, {"q": "ada"})
    assert ("SCAN",) not in trips


def test_a_search_that_finds_too_many_says_so(browser, ada, monkeypatch):
    for _ in range(3):
        new_session(ada)
    assert "There are more." not in browser.get(LIST, {"q": "ada"}).text
    monkeypatch.setattr(pages, "OF_EACH", 2)
    response = browser.get(LIST, {"q": "ada"})
    assert len(listed(response)) == 2
    assert "There are more." in response.text
    User.objects.create_user("adalbert")
    monkeypatch.setattr(pages, "USERS", 1)
    monkeypatch.setattr(pages, "OF_EACH", 9)
    assert "There are more." in browser.get(LIST, {"q": "AD"}).text


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(sessions, "PAGE_STEP", 5)
    monkeypatch.setattr(sessions, "PAGE", 5)
    monkeypatch.setattr(sessions, "PAGE_STEPS", 2)


def link(response, name):
    found = re.search(rf'<a href="([^"]*)">{name}</a>', response.text)
    return found and LIST + found[1].replace("&amp;", "&")


def test_from_page_to_page_all_sessions_are_seen(browser, small_pages):
    ids = {id_of(new_session(n=n)) for n in range(40)}
    seen, url = set(), LIST
    while url:
        response = browser.get(url)
        assert len(listed(response)) < 40
        seen |= listed(response)
        url = link(response, "Next page") or link(response, "Look further")
    assert ids <= seen
    assert link(response, "From the beginning") == f"{LIST}?"


def test_a_page_that_found_little_says_how_far_it_looked(browser, small_pages, ada):
    for n in range(60):
        new_session(n=n)
    wanted = {id_of(new_session(ada, _session_expiry=60))}
    seen, url, looked = set(), f"{LIST}?expires=hour", 0
    while url:
        response = browser.get(url)
        seen |= listed(response)
        url = link(response, "Look further")
        looked += "about 10 keys of the server" in response.text
    assert seen == wanted
    assert looked > 2


def test_a_page_that_begins_nowhere_is_the_first(browser):
    response = browser.get(f"{LIST}?p=x", follow=True)
    assert response.redirect_chain == [(f"{LIST}?e=1", 302)]
    assert len(listed(response)) == 1


# One session.


def test_a_session_is_shown_without_its_values(browser, ada):
    session = new_session(ada, cart={"tea": "first flush"})
    text = browser.get(of(id_of(session))).text
    assert id_of(session) in text
    assert re.search(r"cart</bdi></th><td><code>dict", text)
    assert "first flush" not in text
    assert session.session_key not in text
    assert f'href="/admin/auth/user/{ada.pk}/change/"' in text


def test_an_empty_session_is_shown_as_such(browser):
    assert "Nothing." in browser.get(of(id_of(new_session()))).text


def test_values_are_shown_on_demand_and_that_is_logged(browser, ada):
    session = new_session(
        ada,
        cart={"tea": "first flush", "token": "t0ken"},
        note="x" * 200,
        _password_reset_token="t0ken",
    )
    page = browser.get(of(id_of(session))).text
    (url,) = re.findall(r'formaction="(.+?)"', page)
    assert browser.get(url).status_code == 405
    assert log() == []
    response = browser.post(url)
    assert "first flush" in response.text
    assert "x" * 200 in response.text
    assert "t0ken" not in response.text
    assert session.session_key not in response.text
    assert "no-store" in response.headers["Cache-Control"]
    assert log() == [(CHANGE, id_of(session), "root")]
    history = browser.get(of(id_of(session), "history")).text
    assert "Looked at what it holds." in history


def test_the_own_session_is_marked(browser):
    own = keys.session_id(browser.cookies["sessionid"].value)
    assert "the session that you use now" in browser.get(of(own)).text
    assert "you will be logged out" in browser.get(of(own, "delete")).text
    other = id_of(new_session())
    assert "the session that you use now" not in browser.get(of(other)).text
    assert "you will be logged out" not in browser.get(of(other, "delete")).text


def test_a_user_is_linked_for_those_only_who_may_see_users(engine, ada):
    url = of(id_of(new_session(ada)))
    link = f'href="/admin/auth/user/{ada.pk}/change/"'
    assert link not in browser_of(staff("view_session")).get(url).text
    assert link in browser_of(staff("view_session", "view_user")).get(url).text


@pytest.mark.parametrize("page", ["change", "delete", "history", "data"])
@pytest.mark.parametrize("id", [UNKNOWN, "x", "A" * 32, "user:1", "%2A"])
def test_an_unknown_session_is_not_found(browser, id, page):
    send = browser.post if page == "data" else browser.get
    assert send(of(id, page)).status_code == 404


def test_nothing_is_added_and_nothing_changed(browser, ada):
    session = new_session(ada)
    assert browser.get(f"{LIST}add/").status_code == 403
    assert browser.post(of(id_of(session)), {"id": UNKNOWN}).status_code == 403


# What is recorded of a login.

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"


def device(agent, address="192.0.2.0/24"):
    return {"agent": agent, "address": address, "at": 1790000000}


def cells(response, name):
    found = re.findall(rf'class="field-{name}.*?">(.*?)<', response.text)
    return {text.replace("\xa0", " ") for text in found}


def test_the_list_has_browsers_where_they_are_recorded(browser, ada, valkey_sessions):
    new_session(ada, _device=device(FIREFOX))
    new_session(ada, _device=device("<b>me"))
    assert cells(browser.get(LIST), "device") == set()
    valkey_sessions(RECORD_DEVICE=True)
    response = browser.get(LIST)
    # The last is the session of who looks: force_login() has no browser.
    assert cells(response, "device") == {"Firefox 144, Linux", "&lt;b&gt;me", "-"}


def test_browsers_need_no_round_trip_of_their_own(browser, ada, valkey_sessions):
    for number in range(3):
        new_session(ada, _device=device(f"agent {number}"))
    trips = []
    for record in (False, True):
        valkey_sessions(RECORD_DEVICE=record)
        with client.record() as seen:
            browser.get(LIST)
        trips.append(len(seen))
    assert trips[0] == trips[1]


@pytest.mark.parametrize(
    ("agent", "address", "shown", "where"),
    [
        (FIREFOX, "192.0.2.0/24", f"Firefox 144, Linux {FIREFOX}", "192.0.2.0/24"),
        ("<b>me", "2001:db8:7::/48", "&lt;b&gt;me", "2001:db8:7::/48"),
        ("", "", "unknown", "unknown"),
    ],
)
def test_a_session_has_what_is_recorded_of_its_login(
    browser, ada, agent, address, shown, where
):
    session = new_session(ada, _device=device(agent, address))
    text = browser.get(of(id_of(session))).text
    rows = dict(
        re.findall(r"<label[^>]*>(.*?):</label>.*?readonly\">(.*?)</div>\s", text, re.S)
    )
    assert " ".join(re.sub("<.*?>", " ", rows["Browser"]).split()) == shown
    assert rows["Approximate address"] == where
    assert "Sept." in rows["Logged in"]


def test_a_session_without_a_record_has_no_empty_lines(browser, ada):
    text = browser.get(of(id_of(new_session(ada)))).text
    assert "User:</label>" in text
    assert "Browser:</label>" not in text
    assert "Approximate address:</label>" not in text


# Ending sessions.


def choose(*those, **data):
    ids = [id_of(session) for session in those]
    return {"action": "delete_selected", "_selected_action": ids, **data}


def test_selected_sessions_are_ended_after_a_question(browser, ada):
    one, two, other = new_session(ada), new_session(), new_session(ada)
    response = browser.post(LIST, choose(one, two, index="0"))
    assert "Whoever uses one of these" in response.text
    assert id_of(one)[:12] in response.text
    assert alive(one, two, other) == [True, True, True]
    response = browser.post(LIST, choose(one, two, post="yes"), follow=True)
    assert said(response) == ["2 sessions ended."]
    assert alive(one, two, other) == [False, False, True]
    assert {*log()} == {
        (DELETION, id_of(one), "root"),
        (DELETION, id_of(two), "root"),
    }


def test_what_is_selected_may_be_gone(browser):
    gone = new_session()
    gone.delete()
    for step in ({"index": "0"}, {"post": "yes"}):
        response = browser.post(LIST, choose(gone, **step), follow=True)
        assert said(response) == ["0 sessions ended."]
    assert log() == []


def test_nobody_selects_all_sessions_there_are(browser):
    session = new_session()
    chosen = choose(index="0", select_across="1")
    browser.post(LIST, {**chosen, "_selected_action": [UNKNOWN]})
    browser.post(LIST, {**chosen, "_selected_action": [UNKNOWN], "post": "yes"})
    assert alive(session) == [True]


def test_one_session_is_ended_after_a_question(browser, ada):
    session = new_session(ada)
    assert browser.get(of(id_of(session), "delete")).status_code == 200
    assert alive(session) == [True]
    response = browser.post(of(id_of(session), "delete"), follow=True)
    assert said(response) == ["1 session ended."]
    assert alive(session) == [False]
    assert log() == [(DELETION, id_of(session), "root")]


@pytest.mark.parametrize("every_request", [False, True])
def test_who_ends_the_own_session_is_logged_out(browser, settings, every_request):
    settings.SESSION_SAVE_EVERY_REQUEST = every_request
    own, other = browser.cookies["sessionid"].value, new_session()
    data = choose(other, post="yes")
    data["_selected_action"].insert(0, keys.session_id(own))
    response = browser.post(LIST, data, follow=True)
    assert response.redirect_chain[-1][0].startswith("/admin/login/")
    assert SessionStore().exists(own) is False
    assert alive(other) == [False]
    assert [user for _, _, user in log()] == ["root", "root"]


def test_all_sessions_of_a_user_are_ended_after_a_question(browser, ada):
    theirs, visit = [new_session(ada), new_session(ada)], new_session()
    response = browser.get(LIST, {"q": "ada"})
    (url,) = re.findall(r'href="([^"]+)">End all sessions of ada', response.text)
    assert url == all_of(ada.pk)
    assert url in browser.get(of(id_of(theirs[0]))).text
    response = browser.get(url)
    assert all(id_of(session)[:12] in response.text for session in theirs)
    assert alive(*theirs) == [True, True]
    response = browser.post(url, follow=True)
    assert said(response) == ["2 sessions ended."]
    assert alive(*theirs, visit) == [False, False, True]
    (entry,) = LogEntry.objects.all()
    assert str(entry) == "Deleted “All sessions of ada.”"
    assert entry.user.username == "root"
    assert browser.get(url).status_code == 404
    assert "All sessions of ada" in browser.get("/admin/").text


def test_who_ends_all_own_sessions_is_logged_out(browser, root, monkeypatch):
    own, other = browser.cookies["sessionid"].value, new_session(root)
    assert "you will be logged out" in browser.get(all_of(root.pk)).text
    monkeypatch.setattr(pages, "OF_EACH", 1)  # The question does not name the own one.
    other.set_expiry(10_000_000)
    other.save()
    question = browser.get(all_of(root.pk)).text
    assert "yours" not in question
    assert "you will be logged out" in question
    response = browser.post(all_of(root.pk), follow=True)
    assert response.redirect_chain[-1][0].startswith("/admin/login/")
    assert SessionStore().exists(own) is False
    assert alive(other) == [False]


def test_a_question_about_more_than_it_can_name_says_so(browser, ada, monkeypatch):
    for _ in range(3):
        new_session(ada)
    assert "beyond these" not in browser.get(all_of(ada.pk)).text
    monkeypatch.setattr(pages, "OF_EACH", 2)
    assert "beyond these" in browser.get(all_of(ada.pk)).text
    assert said(browser.post(all_of(ada.pk), follow=True)) == ["3 sessions ended."]


def test_an_id_of_a_user_may_be_anything(browser):
    session = new_session("a/b?_c d")
    page = browser.get(of(id_of(session))).text
    (url,) = re.findall(r'href="([^"]+)">End all sessions of', page)
    browser.post(url)
    assert alive(session) == [False]


# Who may do what.


REQUESTS = {
    "list": ("get", LIST, "view_session"),
    "search": ("get", f"{LIST}?q={{user}}", "view_session"),
    "session": ("get", f"{LIST}{{id}}/change/", "view_session"),
    "history": ("get", f"{LIST}{{id}}/history/", "view_session"),
    "question": ("get", f"{LIST}{{id}}/delete/", "delete_session"),
    "end": ("post", f"{LIST}{{id}}/delete/", "delete_session"),
    "question of all": ("get", f"{LIST}user/{{user}}/delete/", "delete_session"),
    "end all": ("post", f"{LIST}user/{{user}}/delete/", "delete_session"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_each_page_needs_its_right(engine, ada, name):
    method, url, right = REQUESTS[name]
    session = new_session(ada)
    url = url.format(id=id_of(session), user=ada.pk)
    send = lambda user: getattr(browser_of(user), method)(url)  # noqa: E731
    assert send(ada).headers["Location"].startswith("/admin/login/")
    assert send(staff()).status_code == 403
    others = [other for other in RIGHTS if other != right]
    assert send(staff(*others)).status_code == 403
    assert alive(session) == [True]
    assert log() == []
    assert send(staff(right)).status_code in (200, 302)


def test_values_need_a_right_of_their_own(engine, ada):
    session = new_session(ada, tea="first flush")
    url = of(id_of(session), "data")
    for rights in ((), ("view_session", "delete_session"), ("view_session_data",)):
        response = browser_of(staff(*rights)).post(url)
        assert response.status_code == 403
        assert "first flush" not in response.text
    assert log() == []
    reader = browser_of(staff("view_session", "view_session_data"))
    assert "first flush" in reader.post(url).text
    looker = browser_of(staff("view_session"))
    assert "Show values" not in looker.get(of(id_of(session))).text
    assert "Show values" in reader.get(of(id_of(session))).text


def test_the_selected_are_ended_by_those_only_who_may(engine, ada):
    session = new_session(ada)
    for rights in ((), ("view_session", "view_session_data"), ("delete_session",)):
        for step in ({"index": "0"}, {"post": "yes"}):
            browser_of(staff(*rights)).post(LIST, choose(session, **step))
    assert alive(session) == [True]
    ender = browser_of(staff("view_session", "delete_session"))
    ender.post(LIST, choose(session, post="yes"))
    assert alive(session) == [False]


def test_who_may_only_look_is_offered_no_more(engine, ada):
    session = new_session(ada)
    looker = browser_of(staff("view_session"))
    for url in (LIST, f"{LIST}?q=ada", of(id_of(session))):
        text = looker.get(url).text
        assert "delete" not in text.replace("change_list", "")
        assert "End " not in text


def test_the_index_shows_sessions_to_those_only_who_may(engine):
    assert LIST not in browser_of(staff()).get("/admin/").text
    assert LIST in browser_of(staff("view_session")).get("/admin/").text


def test_who_may_see_none_is_not_told_which_there_are(engine, ada):
    nobody = browser_of(staff())
    for id in (id_of(new_session()), UNKNOWN):
        for page in ("change", "delete", "history"):
            assert nobody.get(of(id, page)).status_code == 403


def test_a_form_of_another_site_ends_nothing(root, ada):
    session = new_session(ada)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(root)
    for url in (
        of(id_of(session), "delete"),
        of(id_of(session), "data"),
        all_of(ada.pk),
    ):
        assert browser.post(url).status_code == 403
    assert browser.post(LIST, choose(session, post="yes")).status_code == 403
    assert alive(session) == [True]


# When something is wrong.


def test_an_outage_is_a_message(settings, own_engine, ada):
    """The admin's own sessions are elsewhere here: else nobody would be logged in."""
    session = new_session(ada)
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    browser = browser_of(User.objects.create_superuser("root"))
    assert browser.get(LIST).status_code == 200
    own_engine.kill()
    for send, url, data in (
        (browser.get, LIST, {}),
        (browser.get, LIST, {"q": "ada"}),
        (browser.get, of(id_of(session)), {}),
        (browser.post, of(id_of(session), "data"), {}),
        (browser.post, of(id_of(session), "delete"), {}),
        (browser.post, all_of(ada.pk), {}),
        (browser.post, LIST, choose(session, post="yes")),
    ):
        response = send(url, data)
        assert response.status_code == 503
        assert "This can't be done now." in response.text
        assert "no-cache" in response.headers["Cache-Control"]
    assert log() == []


def test_a_server_that_does_not_permit_to_scan_still_has_all_the_rest(
    settings, own_engine, ada
):
    with own_engine.connect() as valkey:
        rights = ["on", ">x", "~*", "+@all", "-scan"]
        valkey.execute_command("ACL", "SETUSER", "poor", *rights)
    address = f"valkey://poor:x@127.0.0.1:{own_engine.port}"
    settings.VALKEY_SESSIONS = {"LOCATION": address}
    session = new_session(ada)
    browser = browser_of(User.objects.create_superuser("root"))
    response = browser.get(LIST)
    assert response.status_code == 503
    assert "SCAN" in response.text.upper()
    assert listed(browser.get(LIST, {"q": "ada"})) == {id_of(session)}
    browser.post(of(id_of(session), "delete"))
    assert alive(session) == [False]


def test_without_the_index_a_search_says_what_is_missing(browser, valkey_sessions, ada):
    valkey_sessions(USER_INDEX=False)
    response = browser.get(LIST, {"q": "ada"})
    assert response.status_code == 503
    assert "USER_INDEX in VALKEY_SESSIONS is False" in response.text


# Sites of their own.


class OwnSite(admin.AdminSite):
    site_header = "A site of its own"


own_site = OwnSite(name="own")
own_site.register(Session, pages.SessionAdmin)
urlpatterns = [path("own/", own_site.urls)]


def test_a_site_of_ones_own_works_alone(browser, settings, ada):
    settings.ROOT_URLCONF = __name__
    session = new_session(ada)
    start = "/own/django_valkey_sessions/session/"
    for url in (
        start,
        f"{start}?q=ada",
        f"{start}{id_of(session)}/change/",
        f"{start}{id_of(session)}/delete/",
        f"{start}{id_of(session)}/history/",
    ):
        response = browser.get(url)
        assert response.status_code == 200
        assert "A site of its own" in response.text
        assert 'href="/admin/' not in response.text
        assert "/auth/user/" not in response.text
    response = browser.post(f"{start}user/{ada.pk}/delete/")
    assert response.headers["Location"] == start
    assert alive(session) == [False]
