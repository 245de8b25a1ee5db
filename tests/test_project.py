"""The demo site, served for real, used over HTTP."""

import random
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from demo.walk import Visitor

from django_valkey_sessions import keys
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.client.reach import FAILURE_REMEMBERED

from . import servers

ROUNDS = 1000
LATE = ("/set/late/?slow=5", "/aset/late/?slow=5")
#: Any 32 letters are a CSRF secret, if cookie and form agree.
TOKEN = "c" * 32
#: Looks at the demo as if nobody had installed these packages.
WITHOUT = """
import sys
sys.modules.update({"allauth": None, "rest_framework": None})
import django; django.setup()
from django.core.management import call_command
call_command("check")
from django.test import Client
page = Client(SERVER_NAME="localhost").get("/")
assert page.status_code == 200
assert b"other packages" not in page.content
"""


@pytest.fixture
def site(own_engine, site_data, request):
    """The site on a Valkey of its own; its port."""
    with servers.serving(request.param, site_data, VALKEY_URL=own_engine.url) as port:
        yield port


on_each_server = pytest.mark.parametrize(
    "site", list(servers.APPLICATION_SERVERS), indirect=True
)
on_threads_and_on_a_loop = pytest.mark.parametrize(
    "site", ["gthread", "uvicorn"], indirect=True
)


def logged_in(port):
    visitor = Visitor(port)
    visitor.get("/login/")
    reply = visitor.post("/login/", username="demo", password="demo")
    assert reply.status == 302
    return visitor


def visitor_with_session(port, **data):
    """Return a visitor whose session was made here, which is faster than a login."""
    session = SessionStore()
    session.update(data)
    session.save()
    visitor = Visitor(port)
    visitor.cookies = {"sessionid": session.session_key, "csrftoken": TOKEN}
    return visitor


def at_once(*calls):
    with ThreadPoolExecutor(len(calls)) as threads:
        futures = [threads.submit(call) for call in calls]
        return [future.result() for future in futures]


@on_each_server
def test_an_outage_is_a_fast_error_and_logs_nobody_out(site, own_engine):
    visitor = logged_in(site)
    cookies = dict(visitor.cookies)
    own_engine.kill()
    for path in ("/", "/data/"):
        reply = visitor.get(path)
        assert (reply.status, reply.cookies) == (503, ())
        assert "You are not logged out" in reply.body
        assert reply.milliseconds < 1500
    own_engine.start()

    def all_workers_are_back():
        return all(visitor.get("/data/").status == 200 for _ in range(10))

    servers.wait_until(all_workers_are_back, timeout=5)
    # All ten may have been answered by one of two, and the other remembers the outage.
    time.sleep(FAILURE_REMEMBERED)
    assert visitor.get("/data/").json()["user"] == "demo"
    assert visitor.cookies == cookies


@on_each_server
def test_what_is_stored_tells_nothing(site, own_engine):
    visitor = logged_in(site)
    visitor.post("/set/secret/", value="correct horse battery staple")
    reply = visitor.get("/data/")
    assert "correct horse" in reply.body
    secrets = [visitor.cookies["sessionid"], "correct", "_auth_user_id", "ModelBackend"]
    with own_engine.connect() as valkey:
        id = keys.session_id(secrets[0]).encode()
        assert set(valkey.scan_iter()) == {b"session:" + id, b"session:user:1"}
        assert valkey.zrange("session:user:1", 0, -1) == [id]
        memory = b"session:user:1" + id + valkey.get(b"session:" + id)
    assert [secret for secret in secrets if secret.encode() in memory] == []


def set_left_and_right(visitor, value):
    return at_once(
        lambda: visitor.copy().post("/set/left/?slow=1", value=value),
        lambda: visitor.copy().post("/aset/right/?slow=1", value=value),
    )


@on_threads_and_on_a_loop
def test_two_parallel_requests_lose_nothing(site):
    visitor = visitor_with_session(site)
    for number in range(ROUNDS):
        replies = set_left_and_right(visitor, str(number))
        assert [reply.status for reply in replies] == [302, 302]
        session = visitor.get("/data/").json()["session"]
        assert (session["left"], session["right"]) == (str(number), str(number))


def save_late_and_log_out(visitor, path):
    def log_out():
        time.sleep(random.uniform(0, 0.012))
        return visitor.copy().post("/logout/")

    return at_once(lambda: visitor.copy().post(path, value="late"), log_out)


@on_threads_and_on_a_loop
def test_a_logout_stays_a_logout_whatever_is_saved_late(site, own_engine):
    statuses, ended = [], []
    for number in range(ROUNDS):
        visitor = visitor_with_session(site, number=number)
        ended.append(f"session:{keys.session_id(visitor.cookies['sessionid'])}")
        late, logout = save_late_and_log_out(visitor, LATE[number % 2])
        assert logout.status == 200
        statuses.append(late.status)
    # Saved in time, or refused; or so late that there was no session to load any more.
    assert set(statuses) <= {302, 400}
    assert statuses.count(400) > ROUNDS / 20
    with own_engine.connect() as valkey:
        assert valkey.exists(*ended) == 0


def test_every_link_of_the_first_page_leads_somewhere(client):
    page = client.get("/").content.decode()
    links = {*re.findall('<a [^>]*href="(.*?)"', page)}
    assert {"/", "/stored/", "/login/"} <= links
    for link in links:
        assert link
        assert client.get(link).status_code == 200, link


def test_the_demo_needs_nothing_of_others(site_data):
    subprocess.run(
        [sys.executable, "-c", WITHOUT],
        cwd=servers.ROOT / "testproject",
        env=servers.site_environment(site_data),
        check=True,
    )
